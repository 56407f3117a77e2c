"""The index: raw weights in posting lists, BM25 over them, files on disk, adding and removing documents.

Opening and describing an index needs numpy only; the first search loads the compiled kernels, the first change the writer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lexite.index.bm25 import BM25Index as BM25Index
from lexite.index.config import StoredDocument as StoredDocument
from lexite.index.config import VocabularyInfo as VocabularyInfo
from lexite.index.explanation import ExplainedTerm as ExplainedTerm
from lexite.index.explanation import Explanation as Explanation
from lexite.index.index_folder import check_index_folder as check_index_folder
from lexite.ranking.hits import Hit as Hit
from lexite.ranking.rankings import Run as Run
from lexite.ranking.trec import read_trec_run as read_trec_run
from lexite.ranking.trec import run_from_hits as run_from_hits
from lexite.ranking.trec import write_trec_qrels as write_trec_qrels
from lexite.ranking.trec import write_trec_run as write_trec_run
from lexite.scoring.config import BM25Config as BM25Config
from lexite.scoring.words import LiteralConfig as LiteralConfig
from lexite.terms.queries import EncodedQueries as EncodedQueries

if TYPE_CHECKING:
    from lexite.index.writer import IndexWriter as IndexWriter

__all__ = [
    "BM25Config",
    "BM25Index",
    "EncodedQueries",
    "ExplainedTerm",
    "Explanation",
    "Hit",
    "IndexWriter",
    "LiteralConfig",
    "Run",
    "StoredDocument",
    "VocabularyInfo",
    "check_index_folder",
    "read_trec_run",
    "run_from_hits",
    "write_trec_qrels",
    "write_trec_run",
]


def __getattr__(name: str) -> Any:
    """Loads the writer on first use: a search needs none."""
    if name != "IndexWriter":
        raise AttributeError(f"module 'lexite.index' has no attribute {name!r}")
    from lexite.index.writer import IndexWriter

    globals()[name] = IndexWriter
    return IndexWriter
