"""Documents that an index cannot find, or only by their words: what the vocabulary cannot read, told once they are in."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexite.scoring.rows import SparseRows
from lexite.scoring.words import LiteralConfig

if TYPE_CHECKING:
    from lexite.corpus import Document
    from lexite.terms.piece_counts import PieceCounts

logger = logging.getLogger("lexite")
MOST = 0.5  # share of a document's word pieces
IDS_SHOWN = 3


@dataclass
class UnreadDocuments:
    """Counts documents that the vocabulary cannot read.

    Attributes:
        without_terms: ids of documents that have neither latent terms nor literal words, so that no query finds them.
        mostly_unknown: ids of other documents, more than half of whose word pieces the vocabulary cannot read.
    """

    without_terms: list[str] = field(default_factory=list)
    mostly_unknown: list[str] = field(default_factory=list)

    def note(
        self,
        documents: Sequence[Document],
        rows: SparseRows,
        counts: PieceCounts | None,
        literal: LiteralConfig | None,
        bounds: NDArray[np.int64] | None = None,
        text_bounds: NDArray[np.int64] | None = None,
    ) -> None:
        """Looks at documents that an index takes.

        Args:
            documents: the documents.
            rows: raw weights of latent terms, a row for each document or for each of its parts.
            counts: the word pieces of each text that was encoded; None where they were not counted.
            literal: how words are indexed; None: they are not.
            bounds: (n_documents + 1,) the rows of each document; None: one each.
            text_bounds: (n_documents + 1,) the encoded texts of each document; None: those of its rows.
        """
        bounds = np.arange(len(documents) + 1) if bounds is None else bounds
        terms = np.diff(np.asarray(rows.indptr)[bounds])
        without = [i for i in np.flatnonzero(terms == 0).tolist() if not (literal and literal.words_of(documents[i].full_text))]
        self.without_terms += [documents[i].id for i in without]
        if counts is not None:
            owned = bounds if text_bounds is None else text_bounds
            sums = [np.concatenate([[0], np.cumsum(part)])[owned] for part in (counts.pieces, counts.not_read)]
            pieces, not_read = (np.diff(part) for part in sums)
            unknown = set(np.flatnonzero(not_read > MOST * pieces).tolist()).difference(without)
            self.mostly_unknown += [documents[i].id for i in sorted(unknown)]

    def tell(self) -> None:
        """Warns of them, in one line for each kind."""
        if self.without_terms:
            tail = "has no term at all, so nothing finds it", "have no term at all, so nothing finds them"
            logger.warning("%s", _line(self.without_terms, *tail))
        if self.mostly_unknown:
            tail = (
                "is mostly of word pieces that the vocabulary cannot read",
                "are mostly of word pieces that the vocabulary cannot read",
            )
            logger.warning("%s", _line(self.mostly_unknown, *tail))

    def to_json(self) -> dict[str, Any]:
        """Counts and ids, as JSON values."""
        return {
            "without_terms": len(self.without_terms),
            "without_terms_ids": self.without_terms,
            "mostly_unknown": len(self.mostly_unknown),
            "mostly_unknown_ids": self.mostly_unknown,
        }


def _line(ids: Sequence[str], one: str, several: str) -> str:
    shown = ", ".join(ids[:IDS_SHOWN]) + (" …" if len(ids) > IDS_SHOWN else "")
    return f"{len(ids):,} document{f' {one}' if len(ids) == 1 else f's {several}'}: {shown}"
