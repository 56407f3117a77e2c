"""Reading documents, queries and relevance judgements, as streams that are checked record by record."""

from lexite.corpus.builtin import builtin_documents
from lexite.corpus.collection import Collection, open_collection
from lexite.corpus.documents import read_documents
from lexite.corpus.options import ReadOptions, ReadReport
from lexite.corpus.qrels import check_qrels, read_qrels
from lexite.corpus.queries import read_queries
from lexite.corpus.records import Document, Qrels, Query

__all__ = [
    "Collection",
    "Document",
    "Qrels",
    "Query",
    "ReadOptions",
    "ReadReport",
    "builtin_documents",
    "check_qrels",
    "open_collection",
    "read_documents",
    "read_qrels",
    "read_queries",
]
