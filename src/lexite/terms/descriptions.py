"""What is told of each latent beside its label: its kind, whether the label can be trusted, examples, relatives."""

from __future__ import annotations

import bz2
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from lexite.errors import ModelError, StorageError
from lexite.files import atomic_write

KINDS = ("lexical", "narrow", "broad", "function", "unclear", "dead")
"""Kinds of latents; :mod:`lexite.labelling.kinds` has the rule."""
TRUSTED = 0.88
"""The bar from which a name is trusted and shown."""
_EARLIER_BAR = 0.85  # of vocabularies that do not tell theirs
CONTEXTS_NAME = "contexts.bz2"
OPENING, CLOSING = "⟦", "⟧"
EXAMPLES = 2
FOR_EXAMPLE = "e.g. "
_STEPS = 250  # of a trust in the file, which has a byte for it
_UNMEASURED = 255


@dataclass(frozen=True, slots=True)
class Context:
    """A few words of a text in which a latent fires.

    Attributes:
        text: the words.
        marks: where it fires: beginning and end in characters, in order.
        strength: its largest activation there, as a share of its largest in the sample.

    >>> Context("on the river bank", ((13, 17),), 1.0).marked()
    'on the river [bank]'
    """

    text: str
    marks: tuple[tuple[int, int], ...]
    strength: float

    def marked(self, opening: str = "[", closing: str = "]") -> str:
        """The text with signs around what fires."""
        parts, end = [], 0
        for start, stop in self.marks:
            parts += [self.text[end:start], opening, self.text[start:stop], closing]
            end = stop
        return "".join([*parts, self.text[end:]])


@dataclass(frozen=True, eq=False)
class Descriptions:
    """Kinds, trust, relatives and contexts of the latents of a vocabulary.

    Attributes:
        kinds: ``(n_latents,)`` uint8, places in :data:`KINDS`.
        trust: ``(n_latents,)`` float32, from 0 to 1: how well the name alone told passages that hold the latent from others, on
            text that it was not made from; NaN where there were too few.
        related: ``(n_latents, r)`` int32, the latents that it fires with most, the nearest first; -1 where there are no more.
        contexts: examples of each latent's use, the strongest first.
        made: how they were made: passages, tokens, source, labeller, the bar for trust.
    """

    kinds: NDArray[np.uint8]
    trust: NDArray[np.float32]
    related: NDArray[np.int32]
    contexts: Sequence[tuple[Context, ...]]
    made: Mapping[str, Any]

    def __post_init__(self) -> None:
        sizes = {len(self.kinds), len(self.trust), len(self.related), len(self.contexts)}
        if len(sizes) > 1:
            raise ModelError("The kinds, trust, relatives and contexts of a vocabulary are of different lengths.")

    def kind(self, term: int) -> str:
        """The kind of a latent."""
        return KINDS[int(self.kinds[term])]

    @property
    def bar(self) -> float:
        """The trust from which names were shown when it was labelled; what is below has examples for a label."""
        return float(self.made.get("trusted_from", _EARLIER_BAR))

    def trusted(self, term: int) -> bool:
        """Whether the label of a latent is shown as a name."""
        return bool(self.trust[term] >= self.bar)

    def reordered(self, terms: NDArray[np.int64]) -> Descriptions:
        """Those of latents in another order, or of only some of them."""
        places = np.full(len(self.kinds) + 1, -1, dtype=np.int32)
        places[terms] = np.arange(len(terms), dtype=np.int32)  # a latent that is left out, or -1, stays -1
        related = places[self.related[terms]]
        order = np.argsort(related < 0, axis=1, kind="stable")
        return replace(
            self,
            kinds=self.kinds[terms],
            trust=self.trust[terms],
            related=np.take_along_axis(related, order, axis=1),
            contexts=tuple(self.contexts[int(term)] for term in terms),
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays as a file has them."""
        trust = np.where(np.isnan(self.trust), _UNMEASURED, np.round(np.nan_to_num(self.trust) * _STEPS)).astype(np.uint8)
        small = len(self.kinds) < np.iinfo(np.uint16).max
        related = np.where(self.related < 0, np.iinfo(np.uint16).max, self.related).astype(np.uint16) if small else self.related
        return {"kinds": self.kinds, "trust": trust, "related": np.ascontiguousarray(related)}

    def save_contexts(self, folder: Path) -> str:
        """Writes the contexts; returns the file's name."""
        lines = [
            json.dumps([f"{round(100 * each.strength)} {each.marked(OPENING, CLOSING)}" for each in own], ensure_ascii=False)
            for own in self.contexts
        ]
        with atomic_write(folder / CONTEXTS_NAME) as file:
            file.write(bz2.compress("\n".join(lines).encode()))
        return CONTEXTS_NAME

    @classmethod
    def load(cls, folder: Path, arrays: Mapping[str, NDArray[Any]], made: Mapping[str, Any]) -> Descriptions | None:
        """Reads descriptions, the contexts when one is asked for; None where a vocabulary has none.

        Raises:
            ModelError: a part is missing or damaged.
        """
        if "kinds" not in arrays:
            return None
        if missing := {"trust", "related"} - set(arrays):
            raise ModelError(f"{folder} has kinds of latents, but no '{min(missing)}'. Copy the whole folder again.")
        kinds, trust, related = arrays["kinds"].astype(np.uint8), arrays["trust"], arrays["related"]
        if len(kinds) and int(kinds.max()) >= len(KINDS):
            raise ModelError(f"{folder} has a kind of latents that this lexite does not know. Install a newer lexite.")
        shares = np.where(trust == _UNMEASURED, np.nan, trust.astype(np.float32) / _STEPS).astype(np.float32)
        if related.dtype == np.uint16:
            related = np.where(related == np.iinfo(np.uint16).max, -1, related.astype(np.int32))
        return cls(kinds, shares, related.astype(np.int32), _ContextFile(folder / CONTEXTS_NAME, len(kinds)), dict(made))


class _ContextFile(Sequence[tuple[Context, ...]]):
    """The contexts of a folder, read when the first is asked for."""

    def __init__(self, path: Path, n_latents: int) -> None:
        self._path, self._n_latents = path, n_latents
        self._lines: list[str] | None = None

    def __len__(self) -> int:
        return self._n_latents

    @overload
    def __getitem__(self, number: int) -> tuple[Context, ...]: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[tuple[Context, ...]]: ...

    def __getitem__(self, number: int | slice) -> tuple[Context, ...] | Sequence[tuple[Context, ...]]:
        if isinstance(number, slice):
            return tuple(self[each] for each in range(*number.indices(len(self))))
        lines = self._read()
        try:
            return tuple(_context(written) for written in json.loads(lines[number]))
        except (ValueError, TypeError, AttributeError) as problem:
            raise ModelError(f"{self._path}: the examples of latent {number} are damaged: {problem}.") from problem

    def _read(self) -> list[str]:
        if self._lines is None:
            try:
                lines = bz2.decompress(self._path.read_bytes()).decode().split("\n")
            except FileNotFoundError:
                raise ModelError(f"{self._path} does not exist. Copy the whole folder again.") from None
            except OSError as problem:
                raise _unreadable(self._path, problem) from problem
            except (ValueError, EOFError) as problem:
                raise ModelError(f"{self._path} is damaged and cannot be read: {problem}.") from problem
            if len(lines) != self._n_latents:
                raise ModelError(f"{self._path} has examples of {len(lines)} latents, but there are {self._n_latents}.")
            self._lines = lines
        return self._lines


def _unreadable(path: Path, problem: OSError) -> ModelError | StorageError:
    if problem.errno is None:  # bz2 says so of bytes that are not its own
        return ModelError(f"{path} is damaged and cannot be read: {problem}.")
    return StorageError(f"{path} cannot be read: {problem.strerror or problem}.")


def _context(written: str) -> Context:
    """A context from its line: strength in hundredths, a blank, and the text with marks."""
    strength, _, text = written.partition(" ")
    parts: list[str] = []
    marks: list[tuple[int, int]] = []
    length = 0
    for number, piece in enumerate(text.split(OPENING)):
        inside, closing, after = piece.partition(CLOSING)
        if number and closing:
            marks.append((length, length + len(inside)))
        parts += [inside, after]
        length += len(inside) + len(after)
    return Context("".join(parts), tuple(marks), int(strength) / 100)


def shown_examples(phrases: Sequence[str]) -> str:
    """What stands in place of a name that cannot be trusted.

    >>> shown_examples(("river bank", "bank holiday", "bank"))
    'e.g. “river bank”, “bank holiday”'
    """
    return FOR_EXAMPLE + ", ".join(f"“{phrase}”" for phrase in phrases[:EXAMPLES])


def in_steps(trust: float) -> float:
    """A trust as a file has it, in steps of .004, so that a name that is trusted stays so.

    >>> in_steps(0.8501)
    0.852
    """
    return math.ceil(round(trust * _STEPS, 6)) / _STEPS if math.isfinite(trust) else trust


def is_name(label: str) -> bool:
    """Whether a label is a name, and not examples in place of one, or a number.

    >>> is_name("river bank"), is_name("e.g. “river bank”, “bank”"), is_name("latent 7")
    (True, False, False)
    """
    return not (label.startswith(FOR_EXAMPLE) or re.fullmatch(r"latent \d+", label))
