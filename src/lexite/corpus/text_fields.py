"""Title, headings and body as fields with weights of their own, encoded apart and added up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexite.errors import ConfigError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

LARGEST_WEIGHT = 1000.0


@dataclass(frozen=True, slots=True)
class FieldWeights:
    """How much the fields of a text count. A weight of 0 leaves a field out.

    Attributes:
        title: the document's title, in each of its passages.
        headings: the headings above a passage and within it.
        body: the rest.

    >>> FieldWeights(title=2.0)
    FieldWeights(title=2.0, headings=1.0, body=1.0)
    """

    title: float = 1.0
    headings: float = 1.0
    body: float = 1.0

    def __post_init__(self) -> None:
        for name, weight in asdict(self).items():
            number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
            if not number or not (weight == 0 or 0.001 <= weight <= LARGEST_WEIGHT):
                raise ConfigError(
                    f"The weight of the field '{name}' is {weight!r}, but must be 0, or a number from 0.001 to "
                    f"{LARGEST_WEIGHT:,.0f}."
                )
            object.__setattr__(self, name, float(weight))
        if not (self.title or self.headings or self.body):
            raise ConfigError(
                "All fields have the weight 0, so that nothing of a text would be left. Give one a weight above 0."
            )


NAMES = tuple(field.name for field in fields(FieldWeights))


def field_weights_of(given: object) -> FieldWeights | None:
    """Settings from what a person writes: some weights by name, ``NAME=NUMBER`` each, or all of them.

    Args:
        given: a mapping, texts, or :class:`FieldWeights`. None, or none of them: fields are encoded together.

    Raises:
        ConfigError: there is no such field, or a weight is no number.

    >>> field_weights_of({"title": 2}), field_weights_of(["title=2", "headings=0.5"]), field_weights_of([])
    (FieldWeights(title=2.0, headings=1.0, body=1.0), FieldWeights(title=2.0, headings=0.5, body=1.0), None)
    """
    if given is None or isinstance(given, FieldWeights):
        return given
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, Mapping):
        if not isinstance(given, Iterable):
            raise ConfigError(f"field_weights is {given!r}, but must be weights by name, such as {{'title': 2.0}}.")
        given = _written(given)
    strange = next((name for name in given if name not in NAMES), None)
    if strange is not None:
        raise ConfigError(f"There is no field '{strange}' that can have a weight. There are {', '.join(NAMES)}.")
    return FieldWeights(**given) if given else None


def _written(texts: Iterable[object]) -> dict[str, float]:
    """Weights from texts such as ``title=2``."""
    found: dict[str, float] = {}
    for text in texts:
        name, equals, number = str(text).partition("=")
        name = name.strip()
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not equals or math.isnan(weight):
            raise ConfigError(f"'{text}' is no weight of a field. Write the name of a field and a number: title=2.")
        if name in found:
            raise ConfigError(f"The field '{name}' has two weights. Leave one of them out.")
        found[name] = weight
    return found


@dataclass(frozen=True, slots=True)
class FieldTexts:
    """The fields of passages, as they are encoded and added up: a title that passages share is encoded once.

    Attributes:
        texts: of fields, document after document, each text of a document once.
        bounds: (n_passages + 1,) int64; passage i has the entries ``bounds[i]`` to below ``bounds[i + 1]``.
        parts: (n_entries,) int64, the text of each entry.
        weights: (n_entries,) float32, what its weights are multiplied by.
        text_bounds: (n_documents + 1,) int64; document i has the texts ``text_bounds[i]`` to below ``text_bounds[i + 1]``.
    """

    texts: list[str]
    bounds: NDArray[np.int64]
    parts: NDArray[np.int64]
    weights: NDArray[np.float32]
    text_bounds: NDArray[np.int64]

    def part(self, start: int, stop: int, first: int, last: int) -> FieldTexts:
        """The documents from ``start`` to below ``stop``, whose passages are ``first`` to below ``last``."""
        low, high = int(self.bounds[first]), int(self.bounds[last])
        begin, end = int(self.text_bounds[start]), int(self.text_bounds[stop])
        bounds, text_bounds = self.bounds[first : last + 1] - low, self.text_bounds[start : stop + 1] - begin
        return FieldTexts(self.texts[begin:end], bounds, self.parts[low:high] - begin, self.weights[low:high], text_bounds)

    def summed(self, rows: Any) -> csr_array[np.float32]:
        """Raw weights of passages: the sum over their fields of the field's weight times its raw weights.

        Args:
            rows: raw weights of :attr:`texts`, ``(len(texts), n_terms)``, CSR.
        """
        from scipy.sparse import csr_array

        shape = (len(self.bounds) - 1, len(self.texts))
        sums = csr_array((self.weights, self.parts, self.bounds), shape=shape) @ csr_array(rows)
        sums.sort_indices()
        return sums

    def summed_counts(self, counts: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
        """The same for words.

        Args:
            counts: how often each word occurs in each of :attr:`texts`.
        """
        sums = []
        for begin, end in zip(self.bounds[:-1].tolist(), self.bounds[1:].tolist(), strict=True):
            total: dict[str, float] = {}
            for part, weight in zip(self.parts[begin:end].tolist(), self.weights[begin:end].tolist(), strict=True):
                for word, count in counts[part].items():
                    total[word] = total.get(word, 0.0) + weight * count
            sums.append(total)
        return sums


class FieldCollector:
    """Gathers the fields of passages.

    Args:
        weights: of the fields.
    """

    def __init__(self, weights: FieldWeights) -> None:
        self.weights = weights
        self._texts: list[str] = []
        self._known: dict[str, int] = {}
        self._bounds, self._parts, self._weights = [0], list[int](), list[float]()
        self._text_bounds = list[int]()

    def begin_document(self) -> None:
        """Begins another document, whose passages come next."""
        self._known = {}
        self._text_bounds.append(len(self._texts))

    def add(self, title: str, headings: Sequence[str], body: str) -> None:
        """Takes the fields of a passage."""
        own = ((title, self.weights.title), (" ".join(headings), self.weights.headings), (body, self.weights.body))
        for text, weight in own:
            if weight and text and not text.isspace():
                if text not in self._known:
                    self._known[text] = len(self._texts)
                    self._texts.append(text)
                self._parts.append(self._known[text])
                self._weights.append(weight)
        self._bounds.append(len(self._parts))

    def collected(self) -> FieldTexts:
        """All that was taken."""
        parts, bounds = np.array(self._parts, dtype=np.int64), np.array(self._bounds, dtype=np.int64)
        text_bounds = np.array([*self._text_bounds, len(self._texts)], dtype=np.int64)
        return FieldTexts(self._texts, bounds, parts, np.array(self._weights, dtype=np.float32), text_bounds)
