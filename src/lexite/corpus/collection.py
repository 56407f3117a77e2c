"""Test collections in BEIR form: documents, queries and relevance judgements in one folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lexite.corpus.documents import iterate_documents
from lexite.corpus.options import ReadOptions, ReadReport
from lexite.corpus.qrels import read_qrels
from lexite.corpus.queries import read_queries
from lexite.corpus.records import Document, Qrels, Query
from lexite.corpus.sources import find_member, find_source
from lexite.corpus.streams import COMPRESSIONS
from lexite.errors import CorpusError


@dataclass(frozen=True)
class Collection:
    """A test collection; made by :func:`open_collection`.

    Attributes:
        name: the folder's name.
        path: the folder.
        split: which judgements are used (``test``).
        qrels_path: the file they were read from.
        qrels: query id -> document id -> grade.
    """

    name: str
    path: Path
    split: str
    qrels_path: Path
    qrels: Qrels = field(repr=False)

    def documents(self, options: ReadOptions | None = None, report: ReadReport | None = None) -> Iterator[Document]:
        """Reads the documents, in order.

        Documents without any text are kept: a published collection is measured as it is, and Cranfield has two of them.

        Raises:
            CorpusError: a record is bad, an id occurs twice, or there is no document.
        """
        sources = [find_source(self.path)]
        return iterate_documents(sources, options or ReadOptions(), report or ReadReport(), keep_empty=True)

    def queries(self) -> list[Query]:
        """The queries that have judgements in this split, in the order of the file.

        Raises:
            CorpusError: a record is bad, or a judged query is not in the file.
        """
        queries = [query for query in read_queries(self.path) if query.id in self.qrels]
        if len(queries) < len(self.qrels):
            missing = next(iter(self.qrels.keys() - {query.id for query in queries}))
            source = find_source(self.path, "queries").name
            raise CorpusError(f"{self.qrels_path}: the judgements name the query {missing!r}, which is not in {source}.")
        return queries


def open_collection(folder: str | Path, split: str = "test") -> Collection:
    """Opens a BEIR folder: ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/SPLIT.tsv``, each plain or compressed.

    Args:
        folder: its path.
        split: which of the files in ``qrels/`` holds the judgements.

    Raises:
        CorpusError: a part is missing, or the judgements cannot be read. Documents and queries are read later.
    """
    path = Path(folder)
    if not path.is_dir():
        problem = "is a file, not a BEIR folder" if path.exists() else "does not exist"
        raise CorpusError(f"{folder} {problem}.")
    for part in ("corpus", "queries"):
        if find_member(path, part) is None:
            raise CorpusError(f"{folder} is not a BEIR folder: {part}.jsonl is missing (also .gz, .xz, .zst).")
    qrels_path = find_member(path / "qrels", split, ".tsv")
    if qrels_path is None:
        there = ", ".join(_splits(path)) or "none"
        raise CorpusError(f"{folder}: there is no qrels/{split}.tsv. Splits that are there: {there}.")
    return Collection(os.path.basename(os.path.abspath(path)), path, split, qrels_path, read_qrels(qrels_path))


def _splits(folder: Path) -> list[str]:
    endings = tuple(f".tsv{compression}" for compression in ("", *COMPRESSIONS))
    files = folder.glob("qrels/*") if folder.is_dir() else ()
    return sorted({file.name[: file.name.index(".tsv")] for file in files if file.name.endswith(endings)})
