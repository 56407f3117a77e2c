"""Second stages that come with lexite, one file each. :mod:`lexite.search.strategy` says what a strategy is.

:data:`STRATEGIES` has them by name, for the command line and for evaluation. A file is imported when its strategy is asked for;
``from lexite.search.strategies import Hybrid`` works for each of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lexite.search.strategies.chain import Chain as Chain

if TYPE_CHECKING:
    from lexite.search.strategies.cascade import Cascade as Cascade
    from lexite.search.strategies.cross_encoder import Rerank as Rerank
    from lexite.search.strategies.feedback import Feedback as Feedback
    from lexite.search.strategies.hybrid import Hybrid as Hybrid
    from lexite.search.strategies.hybrid import Rescore as Rescore
    from lexite.search.strategies.maxsim import MaxSim as MaxSim
    from lexite.search.strategies.neighbours import Neighbours as Neighbours
    from lexite.search.strategies.outside import Outside as Outside
    from lexite.search.strategies.steering import Steer as Steer
    from lexite.search.strategies.vector_feedback import VectorFeedback as VectorFeedback


class StrategyTable(Mapping[str, type[Any]]):
    """Classes of strategies by the name that a chain has for them; each is imported at its first use.

    Args:
        homes: file and class of each, as ``"hybrid:Hybrid"``.

    >>> "rescore" in STRATEGIES, STRATEGIES["hybrid"].__name__
    (True, 'Hybrid')
    """

    def __init__(self, homes: Mapping[str, str]) -> None:
        self._homes = dict(homes)

    def __getitem__(self, name: str) -> type[Any]:
        file, _, cls = self._homes[name].partition(":")
        found: type[Any] = getattr(import_module(f"{__name__}.{file}"), cls)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._homes)

    def __len__(self) -> int:
        return len(self._homes)

    def name_of(self, cls: str) -> str | None:
        """The name of a class of strategies, by the name of the class; None where it is not in the table."""
        return next((name for name, home in self._homes.items() if home.partition(":")[2] == cls), None)


STRATEGIES = StrategyTable(
    {
        "hybrid": "hybrid:Hybrid",
        "rescore": "hybrid:Rescore",
        "outside": "outside:Outside",
        "maxsim": "maxsim:MaxSim",
        "neighbours": "neighbours:Neighbours",
        "rerank": "cross_encoder:Rerank",
        "cascade": "cascade:Cascade",
        "feedback": "feedback:Feedback",
        "vector-feedback": "vector_feedback:VectorFeedback",
        "steer": "steering:Steer",
    }
)


def __getattr__(name: str) -> Any:
    """Loads a class of the table from its file on first use."""
    known = STRATEGIES.name_of(name)
    if known is None:
        raise AttributeError(f"module 'lexite.search.strategies' has no attribute {name!r}")
    return STRATEGIES[known]


__all__ = ["STRATEGIES", "Chain"]
