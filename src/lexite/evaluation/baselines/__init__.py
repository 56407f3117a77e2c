"""What a vocabulary is compared with: each baseline is a system in a file of its own, and has a name in :data:`BASELINES`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from lexite.errors import ConfigError
from lexite.evaluation.baselines.bm25f import BM25FSystem, bm25f_of
from lexite.evaluation.baselines.dense import DenseSystem
from lexite.evaluation.baselines.encoders import SparseEncoderSystem
from lexite.evaluation.baselines.files import RunFileSystem, VectorFilesSystem
from lexite.evaluation.baselines.lexical import LexicalSystem
from lexite.evaluation.baselines.weights import Cut as Cut
from lexite.evaluation.systems import System

if TYPE_CHECKING:
    from lexite.backbone.base import Backbone
    from lexite.evaluation.cache import StateCache

__all__ = ["BASELINES", "Baseline", "Cut", "Surroundings", "baselines_of"]


@dataclass(frozen=True)
class Surroundings:
    """What a baseline may use of the evaluation.

    Attributes:
        backbone: of the vocabulary under test.
        cache: where token states and vectors are kept; None: nowhere.
        show_progress: whether progress is shown on stderr.
    """

    backbone: Backbone
    cache: StateCache | None = None
    show_progress: bool = False

    @property
    def device(self) -> str | None:
        """Where models run; None where the backbone does not say."""
        device = getattr(self.backbone, "device", None)
        return None if device is None else str(device)


@dataclass(frozen=True)
class Baseline:
    """A kind of baseline.

    Attributes:
        make: makes the system from what stands behind the colon, and the evaluation.
        argument: what stands behind the colon, for people; empty: nothing may.
        needed: whether it must stand there.
        check: looks at the argument before a model is loaded.
    """

    make: Callable[[str, Surroundings], System]
    argument: str = ""
    needed: bool = False
    check: Callable[[str], object] = str


BASELINES: dict[str, Baseline] = {
    "dense": Baseline(lambda _, given: DenseSystem(given.backbone, given.cache, given.show_progress)),
    "bm25": Baseline(lambda _, given: LexicalSystem()),
    "bm25f": Baseline(lambda numbers, given: BM25FSystem(bm25f_of(numbers)), "title=N:headings=N:body=N", check=bm25f_of),
    "sparse": Baseline(
        lambda model, given: SparseEncoderSystem(model, given.device, given.show_progress), "MODEL", needed=True
    ),
    "vectors": Baseline(lambda folder, given: VectorFilesSystem(folder), "FOLDER", needed=True),
    "run": Baseline(lambda file, given: RunFileSystem(file), "FILE", needed=True),
}
"""Name -> baseline."""


def baselines_of(written: Sequence[str]) -> dict[str, Callable[[Surroundings], System]]:
    """Baselines from what a person writes: ``NAME``, or ``NAME:ARGUMENT``.

    Args:
        written: one text each.

    Returns:
        Name of the system in tables and files -> a function that makes it.

    Raises:
        ConfigError: there is no such baseline, its argument is wrong, or two have one name.

    >>> list(baselines_of(["dense", "sparse:naver/splade-v3", "run:runs/{collection}.mine.run"]))
    ['dense', 'sparse-splade-v3', 'run-mine']
    """
    made: dict[str, Callable[[Surroundings], System]] = {}
    for text in written:
        name, _, argument = text.partition(":")
        baseline = BASELINES.get(name)
        if baseline is None:
            raise ConfigError(f"'{name}' is not a baseline. Choose among {listed_baselines()}.")
        if bool(argument) and not baseline.argument:
            raise ConfigError(f"The baseline {name} takes nothing behind a colon. Leave '{argument}' out.")
        if not argument and baseline.needed:
            raise ConfigError(f"The baseline {name} needs to know which. Write {name}:{baseline.argument}.")
        baseline.check(argument)
        system = _system_name(name, argument)
        if system in made:
            raise ConfigError(f"Two baselines are called '{system}'. Leave one out, or rename its file.")
        made[system] = lambda given, make=baseline.make, argument=argument: make(argument, given)  # type: ignore[misc]
    return made


def listed_baselines() -> str:
    """All baselines as they are written."""
    return ", ".join(f"{name}:{baseline.argument}" if baseline.needed else name for name, baseline in BASELINES.items())


def _system_name(name: str, argument: str) -> str:
    """A name that fits into a table and into the name of a file."""
    if name == "run":
        argument = PurePath(argument).name.replace("{collection}", "").removesuffix(".gz")
        argument = argument.removesuffix(".run").removesuffix(".trec").removesuffix(".txt")
    elif name != "bm25f":
        argument = PurePath(argument.replace("{collection}", "")).name
    own = re.sub(r"[^\w.=]+", "-", argument).strip("-._")
    return f"{name}-{own}" if own else name
