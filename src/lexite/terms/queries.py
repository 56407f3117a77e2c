"""Encoded queries: one object that every index and every engine is asked with."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lexite.errors import ArgumentError
from lexite.scoring.rows import MAX_WEIGHT, SparseRows, as_rows, slice_rows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SETTINGS = ("k_queries", "floor_queries", "query_prompt", "long")
"""What decides, beside the vocabulary, which terms a query gets. An index records them."""
WordWeights = Mapping[str, float]
"""Literal words of a query, as an index has them, with their raw weights: a word that occurs n times in a text has n."""


@dataclass(frozen=True, eq=False)
class EncodedQueries:
    """Raw weights of queries with their texts, and how they were encoded.

    ``LatentTermEncoder.encode_queries`` and static tables make it; ``BM25Index.search`` takes it. Weights that come from
    elsewhere are wrapped: ``EncodedQueries(rows)``. Then nothing is compared with what an index recorded.

    Attributes:
        rows: raw weights of latent terms, CSR, ``(n_queries, n_latents)``.
        texts: of the queries, for their literal words; None where there are none.
        fingerprint: of the vocabulary whose terms they are; empty where that is not known.
        settings: how they were encoded, by the names in :data:`SETTINGS`; a name that is missing is not known.
        deliberate: the names of the settings that the caller chose on purpose. An index does not refuse queries for these.
        word_weights: for each query the literal words that are searched in place of those of its text, with their weights, or
            None for those of its text; None for those of all texts. Words are looked up as they are written here, so they
            are in lower case as an index has them. Expanded queries have such weights (:mod:`lexite.search.expansion`).

    Raises:
        ArgumentError: ``rows`` are no sparse rows, there is not a text or a mapping of words for each, or a word's weight is
            no number from 0 to 1e18.

    >>> from scipy.sparse import csr_array
    >>> queries = EncodedQueries(csr_array([[0.0, 2.0], [1.0, 0.0]]), ["plants", "light"])
    >>> queries
    EncodedQueries(2 queries, 1.0 terms each)
    >>> queries[1:].texts
    ('light',)
    """

    rows: SparseRows
    texts: Sequence[str] | None = None
    fingerprint: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    deliberate: frozenset[str] = frozenset()
    word_weights: Sequence[WordWeights | None] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", as_rows(self.rows, "Queries"))
        if self.word_weights is not None:
            object.__setattr__(self, "word_weights", checked_words(self.word_weights, len(self)))
        if self.texts is None:
            return
        if isinstance(self.texts, (str, bytes)):
            raise ArgumentError("texts is one text. Give a list with a text for each query.")
        object.__setattr__(self, "texts", tuple(self.texts))
        wrong = [type(text).__name__ for text in self.texts if not isinstance(text, str)]
        if wrong:
            raise ArgumentError(f"A text of the queries is a {wrong[0]}, not text.")
        if len(self.texts) != len(self):
            raise ArgumentError(f"There are {len(self)} queries, but {len(self.texts)} texts. Give a text for each query.")

    def __len__(self) -> int:
        return int(self.rows.shape[0])

    def __iter__(self) -> Iterator[EncodedQueries]:
        return (self[number : number + 1] for number in range(len(self)))

    def __getitem__(self, part: slice | int) -> EncodedQueries:
        """Some of the queries: a slice, or one by its number."""
        if not isinstance(part, slice):
            number = range(len(self))[part]
            part = slice(number, number + 1)
        first, last, step = part.indices(len(self))
        if step != 1:
            raise ArgumentError("A slice of queries has no step. Take them one by one.")
        last = max(first, last)
        texts = None if self.texts is None else self.texts[first:last]
        words = None if self.word_weights is None else self.word_weights[first:last]
        return dataclasses.replace(self, rows=slice_rows(self.rows, first, last), texts=texts, word_weights=words)

    def __repr__(self) -> str:
        terms = len(self.rows.data) / max(len(self), 1)
        noun = "query" if len(self) == 1 else "queries"
        return f"EncodedQueries({len(self)} {noun}, {terms:.1f} terms each)"

    @property
    def shape(self) -> tuple[int, int]:
        """Number of queries, number of latent terms."""
        return int(self.rows.shape[0]), int(self.rows.shape[1])

    def to_csr(self) -> csr_array[np.float32]:
        """The rows as a matrix of scipy, float32, sharing memory where they can."""
        from scipy.sparse import csr_array

        parts = (self.rows.data, self.rows.indices, self.rows.indptr)
        return csr_array(parts, shape=self.shape, dtype=np.float32)

    @property
    def n_terms(self) -> int:
        """Entries of all rows together."""
        return len(self.rows.data)

    @property
    def expanded_words(self) -> bool:
        """Whether a query has words of its own with weights, which not every engine can search."""
        return any(weights is not None for weights in self.word_weights or ())


def checked_words(given: Sequence[WordWeights | None], n_queries: int) -> tuple[WordWeights | None, ...]:
    """Weights of words, one mapping or None for each query, checked.

    Raises:
        ArgumentError: they are something else.
    """
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Sequence) or len(given) != n_queries:
        found = f"{len(given)} of them" if isinstance(given, Sequence) else f"a {type(given).__name__}"
        raise ArgumentError(f"word_weights needs a mapping, or None, for each of the {n_queries} queries, but is {found}.")
    for weights in given:
        if weights is None:
            continue
        if not isinstance(weights, Mapping):
            raise ArgumentError(f"The words of a query are a mapping of words to weights, not a {type(weights).__name__}.")
        for word, weight in weights.items():
            if not isinstance(word, str):
                raise ArgumentError(f"A word of a query is text, not a {type(word).__name__}.")
            number = isinstance(weight, (int, float, np.integer, np.floating)) and not isinstance(weight, bool)
            if not number or not math.isfinite(weight) or not 0 <= weight <= MAX_WEIGHT:
                raise ArgumentError(f"The weight of the word '{word}' is {weight!r}, but must be a number from 0 to 1e18.")
    return tuple(None if weights is None else dict(weights) for weights in given)
