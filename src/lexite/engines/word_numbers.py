"""Numbers of literal words in engines whose terms are numbers, and fields of documents as JSON."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lexite.engines.driver import PassageParts
from lexite.engines.queries import EngineQuery
from lexite.engines.term_names import TermNames
from lexite.index.field_types import in_utc, json_value

WORDS_FROM = 1 << 24
"""The number of the first word. Latents have their own numbers, and no vocabulary has so many."""


def latent_number(name: str) -> int | None:
    """The number of a latent, by its name; None for a word.

    >>> latent_number("t17"), latent_number("w_17")
    (17, None)
    """
    return None if name.startswith("w_") else int(name[1:])


class WordNumbers:
    """The numbers of terms by their names, as an engine keeps them. Those that were asked for are remembered.

    Args:
        find: gives the numbers of those among some words that the engine knows.
        create: gives the numbers of new words, and has the engine keep them.
    """

    def __init__(
        self, find: Callable[[list[str]], Mapping[str, int]], create: Callable[[list[str]], Mapping[str, int]]
    ) -> None:
        self._find, self._create = find, create
        self._known: dict[str, int] = {}

    def of(self, names: Sequence[str], *, create: bool = False) -> list[int]:
        """The numbers of terms; -1 for a word that the engine does not know.

        Args:
            names: of the terms.
            create: whether words that it does not know get a number.
        """
        known = self._known
        new = list(dict.fromkeys(name for name in names if name.startswith("w_") and name not in known))
        if new:
            known.update(self._find(new))
            missing = [name for name in new if name not in known] if create else []
            if missing:
                known.update(self._create(missing))
        found = []
        for name in names:
            latent = latent_number(name)
            found.append(known.get(name, -1) if latent is None else latent)
        return found

    def of_terms(self, names: TermNames, terms: Iterable[int], *, create: bool = False) -> list[int]:
        """The same for terms by the numbers that they have elsewhere."""
        return self.of(names.of(terms), create=create)

    def forget(self) -> None:
        """Forgets all numbers."""
        self._known.clear()


def parts_of(
    query: EngineQuery,
    numbers: Sequence[int],
    stored: Mapping[int, float],
    span: tuple[int, int] | None,
    length: float,
) -> PassageParts:
    """What the terms of a query add to the dot product with a passage.

    Args:
        query: the query.
        numbers: of its terms in the engine.
        stored: values of the passage by number.
        span: of the passage.
        length: of the passage.
    """
    weights = query.weights.tolist()
    parts = {
        place: float(np.float32(weights[place]) * np.float32(stored[number]))
        for place, number in enumerate(numbers)
        if number in stored
    }
    return PassageParts(span, length, parts)


def json_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a document as JSON values, times in UTC."""
    return {name: json_value(in_utc(value) if isinstance(value, datetime.datetime) else value) for name, value in given.items()}
