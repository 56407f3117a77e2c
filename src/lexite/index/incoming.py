"""Documents on their way into an index, checked before anything is changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lexite.corpus.passages import CutDocuments, cut_documents
from lexite.errors import CorpusError
from lexite.index.checks import check_weights
from lexite.index.config import DocumentLike
from lexite.index.document_ids import encode_ids
from lexite.index.manifest import Commit
from lexite.index.side_files import SideRows, check_side_rows
from lexite.scoring.rows import Rows, SparseRows, as_rows


class Incoming(NamedTuple):
    """Documents with what an index keeps of them.

    Attributes:
        documents: the documents.
        ids: their encoded ids, each once.
        rows: weights of their passages.
        cut: which passages belong to which document.
        side: side data of the passages; None where the index keeps none.
    """

    documents: Sequence[DocumentLike]
    ids: list[bytes]
    rows: Rows
    cut: CutDocuments
    side: SideRows | None


def checked(
    documents: Sequence[DocumentLike], weights: SparseRows, cut: CutDocuments | None, side: SideRows | None, state: Commit
) -> Incoming:
    """Documents that fit an index; arguments and errors as for ``IndexWriter.add``.

    Args:
        documents: the documents.
        weights: of their passages.
        cut: their passages; None: each is one.
        side: side data of the passages.
        state: of the index.
    """
    ids = encode_ids(documents)
    cut = cut_documents(documents, None, state.field_weights) if cut is None else cut

    def place(row: int) -> str:
        return f"document '{documents[int(np.searchsorted(cut.bounds, row, side='right')) - 1].id}'"

    n_rows = as_rows(weights, "Weights").shape[0]
    if len(cut.bounds) != len(documents) + 1 or n_rows != len(cut.texts):
        passages = "" if len(cut.texts) == len(documents) else f" with {len(cut.texts)} passages"
        raise CorpusError(f"There are {len(documents)} documents{passages}, but weights for {n_rows}.")
    rows = check_weights(weights, state.vocabulary.n_terms, place)
    check_side_rows(side, state.side_data, n_rows)
    return Incoming(documents, ids, rows, cut, side)
