"""Several strategies as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lexite.search.strategy import Answer, Strategy, depth_of, run_strategies, strategies_of


@dataclass(frozen=True)
class Chain:
    """Strategies that are called one after the other.

    Chains are associative: ``Chain([Chain([a, b]), c])``, ``Chain([a, Chain([b, c])])`` and ``[a, b, c]`` give the same.

    Attributes:
        strategies: the strategies, in their order; or a single one.

    Raises:
        ArgumentError: one is no function, or a class that was not called.
    """

    strategies: Sequence[Strategy]

    def __post_init__(self) -> None:
        object.__setattr__(self, "strategies", strategies_of(self.strategies))

    @property
    def candidates(self) -> int:
        """The hits that the strategy that wants most wants to see."""
        return depth_of(self.strategies, 0)

    @property
    def needs(self) -> frozenset[str]:
        """What any of them needs."""
        return frozenset().union(*(getattr(strategy, "needs", ()) for strategy in self.strategies))

    @property
    def static_first(self) -> bool:
        """Whether it begins with a cascade, which spares the model."""
        return bool(self.strategies) and bool(getattr(self.strategies[0], "static_first", False))

    def __call__(self, answer: Answer) -> Answer:
        """Hands an answer from one to the next."""
        return run_strategies(answer, self.strategies)
