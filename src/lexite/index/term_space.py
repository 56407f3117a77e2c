"""Documents and queries as vectors over the terms of an index, for feedback and steering: what BM25 multiplies and adds up.

The score of a document is the sum over terms of ``query vector · worth · document vector``. So vectors of queries can be mixed,
compared and learned as vectors are, and :meth:`TermSpace.encoded` makes queries of them again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexite.errors import ArgumentError
from lexite.index.ranker import Ranker
from lexite.index.row_reading import read_passages
from lexite.ranking.hits import Hit
from lexite.scoring.config import BM25Config
from lexite.scoring.formula import impacts, length_norms, saturation_form
from lexite.scoring.rows import MAX_WEIGHT
from lexite.scoring.transform import raw_weights, transform_weights
from lexite.terms.queries import EncodedQueries

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True)
class DocumentVectors:
    """Documents as vectors over the terms of an index.

    Attributes:
        impacts: ``(n, n_terms)`` what each term adds to a score for a factor of 1: saturated, and normalised by length.
        shares: ``(n, n_terms)`` the part of the document's length that each term has: its transformed weight by their sum.
    """

    impacts: csr_array[np.float64]
    shares: csr_array[np.float64]


class TermSpace:
    """The terms of an opened index under one scoring: latents first, literal words after them.

    Args:
        ranker: of the index; it knows its passages, words and ids.
        scoring: how to score.
    """

    def __init__(self, ranker: Ranker, scoring: BM25Config) -> None:
        self._ranker, self.scoring = ranker, scoring
        self.n_latents, self.n_terms = ranker.scorer.n_latents, ranker.scorer.n_terms

    @property
    def has_words(self) -> bool:
        """Whether literal words count in this scoring."""
        return self._ranker.literal is not None and self.scoring.literal_weight > 0

    def word(self, term: int) -> str:
        """The literal word of a term.

        Raises:
            IndexError: the term is a latent, or does not exist.
        """
        return self._ranker.words.word(term - self.n_latents)

    def find_words(self, words: Sequence[str]) -> NDArray[np.int64]:
        """The terms of literal words, as the index has them; -1 for those that it does not have."""
        numbers = self._ranker.words.find(words)
        return np.where(numbers >= 0, numbers + self.n_latents, -1)

    def worth(self) -> NDArray[np.float64]:
        """(n_terms,) what a query's weight of each term is multiplied by (:func:`lexite.scoring.formula.worth_of_terms`)."""
        return self._ranker.scorer.worth(self.scoring)

    def queries(self, queries: EncodedQueries) -> csr_array[np.float64]:
        """``(n_queries, n_terms)`` the transformed weights of queries, those of their literal words included.

        Raises:
            ArgumentError, IndexFormatError, ModelError: as a search with them.
        """
        from scipy.sparse import csr_array

        rows = self._ranker.rows(queries, self.scoring)
        values = transform_weights(rows.values, self.scoring.query_transform).astype(np.float64)
        return csr_array((values, rows.terms, rows.indptr), shape=(rows.n_rows, self.n_terms))

    def documents(self, documents: Iterable[Hit | int | str]) -> DocumentVectors:
        """Documents as vectors: of a hit that has a span, the passage that was found; else the mean of all passages.

        Args:
            documents: hits, numbers or ids.

        Raises:
            CorpusError: the index has no document of an id.
            IndexError: it has none of a number.
        """
        from scipy.sparse import csr_array

        listed = list(documents)
        numbers = self._ranker.ids.numbers([each.id if isinstance(each, Hit) else each for each in listed])
        passages = [self._passages_of(each, number) for each, number in zip(listed, numbers.tolist(), strict=True)]
        sizes = np.array([len(own) for own in passages], dtype=np.int64)
        together = np.concatenate([np.empty(0, np.int64), *passages])
        rows = read_passages(self._ranker.numbering, self.n_terms, together)
        tf = transform_weights(rows.data, self.scoring.document_transform)
        owners = np.repeat(np.arange(len(together)), np.diff(rows.indptr))
        lengths = np.bincount(owners, weights=tf, minlength=len(together))
        average = self._ranker.scorer.average_length(self.scoring.document_transform)
        norms = length_norms(lengths.astype(np.float32), average, self.scoring)
        parts = impacts(tf, norms[owners], saturation_form(self.scoring)), tf / np.maximum(lengths[owners], 1e-30)
        bounds = np.concatenate([[0], np.cumsum(sizes)])
        means = csr_array(
            (np.repeat(1.0 / np.maximum(sizes, 1), sizes), np.arange(len(together)), bounds), shape=(len(listed), len(together))
        )
        made = [
            csr_array(means @ csr_array((part.astype(np.float64), rows.indices, rows.indptr), shape=rows.shape))
            for part in parts
        ]
        return DocumentVectors(*made)

    def _passages_of(self, document: Hit | int | str, number: int) -> NDArray[np.int64]:
        numbering = self._ranker.numbering
        own = np.arange(*numbering.passages(number), dtype=np.int64)
        if isinstance(document, Hit) and document.span is not None and len(own) > 1:
            found = [passage for passage in own.tolist() if numbering.span(passage) == document.span]
            return np.array(found[:1] or own, dtype=np.int64)
        return own

    def encoded(self, vectors: csr_array[np.float64], queries: EncodedQueries) -> EncodedQueries:
        """Queries that have these vectors.

        Args:
            vectors: ``(n_queries, n_terms)`` transformed weights, 0 or more.
            queries: that they were made from; texts, fingerprint and settings are theirs. Where literal words do not count,
                their words are theirs too.

        Raises:
            ArgumentError: there is not a vector for each query, or a weight is negative or no number.
        """
        from scipy.sparse import csr_array

        if vectors.shape != (len(queries), self.n_terms):
            raise ArgumentError(f"{len(queries)} queries need vectors of the shape {(len(queries), self.n_terms)}.")
        values = np.where(vectors.data >= 0, raw_weights(np.maximum(vectors.data, 0), self.scoring.query_transform), np.nan)
        if not np.all(values <= MAX_WEIGHT):  # which NaN is not
            raise ArgumentError("The weights of expanded queries must be numbers, and not negative.")
        raw = csr_array((values, vectors.indices, vectors.indptr), shape=vectors.shape)
        raw.eliminate_zeros()
        raw.sort_indices()
        latents = csr_array(raw[:, : self.n_latents]).astype(np.float32)
        words = [self._words(raw, row) for row in range(len(queries))] if self.has_words else queries.word_weights
        return dataclasses.replace(queries, rows=latents, word_weights=words)

    def _words(self, raw: csr_array[np.float64], row: int) -> Mapping[str, float]:
        own = slice(raw.indptr[row], raw.indptr[row + 1])
        pairs = zip(raw.indices[own].tolist(), raw.data[own].tolist(), strict=True)
        return {self.word(term): weight for term, weight in pairs if term >= self.n_latents}
