"""Reading documents, queries and relevance judgements, as streams that are checked record by record.

Names are loaded on first use, so that a search does not import what reads files.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lexite.corpus.builtin import builtin_documents as builtin_documents
    from lexite.corpus.collection import Collection as Collection
    from lexite.corpus.collection import open_collection as open_collection
    from lexite.corpus.documents import read_documents as read_documents
    from lexite.corpus.options import ReadOptions as ReadOptions
    from lexite.corpus.options import ReadReport as ReadReport
    from lexite.corpus.qrels import check_qrels as check_qrels
    from lexite.corpus.qrels import read_qrels as read_qrels
    from lexite.corpus.queries import read_queries as read_queries
    from lexite.corpus.records import Document as Document
    from lexite.corpus.records import FieldValue as FieldValue
    from lexite.corpus.records import Qrels as Qrels
    from lexite.corpus.records import Query as Query

_HOMES = {
    "Collection": "collection",
    "Document": "records",
    "FieldValue": "records",
    "Qrels": "records",
    "Query": "records",
    "ReadOptions": "options",
    "ReadReport": "options",
    "builtin_documents": "builtin",
    "check_qrels": "qrels",
    "open_collection": "collection",
    "read_documents": "documents",
    "read_qrels": "qrels",
    "read_queries": "queries",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Loads an exported name from its file on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lexite.corpus' has no attribute {name!r}")
    value = getattr(import_module(f"lexite.corpus.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The exported names, loaded or not."""
    return sorted({*globals(), *_HOMES})
