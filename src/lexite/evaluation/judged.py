"""Judged collections: opened, read once, checked, counted and digested before any system starts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lexite.corpus import Collection, Document, Qrels, Query, ReadOptions, check_qrels, open_collection
from lexite.errors import ConfigError, CorpusError


@dataclass(frozen=True)
class JudgedCollection:
    """Documents, queries and judgements, read and checked.

    Attributes:
        name: name of the collection's folder.
        path: the folder.
        document_ids: ids in the order of the corpus; a document's number is its place here.
        queries: the queries that have judgements.
        qrels: judgements of those queries.
        read: opens a new stream of the documents, from the first.
        digest: SHA-256 over the texts of the documents, in order.
    """

    name: str
    path: Path
    document_ids: list[str]
    queries: list[Query]
    qrels: Qrels
    read: Callable[[], Iterator[Document]]
    digest: str

    def texts(self) -> Iterator[str]:
        """The documents' texts, each with its title before it, in order."""
        return (document.full_text for document in self.read())

    @property
    def query_texts(self) -> list[str]:
        """The queries' texts, in order."""
        return [query.text for query in self.queries]


class TextDigest:
    """SHA-256 over texts in their order; each is preceded by its length, so that no two lists share a digest."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, text: str) -> None:
        """Takes the next text."""
        data = text.encode("utf-8", "surrogatepass")
        self._digest.update(len(data).to_bytes(8, "little"))
        self._digest.update(data)

    def hexdigest(self) -> str:
        """The digest of the texts so far, in hexadecimal."""
        return self._digest.hexdigest()


def digest_texts(texts: Iterable[str]) -> str:
    """The digest of a list of texts.

    >>> digest_texts(["ab", "c"]) == digest_texts(["a", "bc"])
    False
    """
    digest = TextDigest()
    for text in texts:
        digest.add(text)
    return digest.hexdigest()


def open_collections(paths: Sequence[str | Path], split: str) -> list[Collection]:
    """Opens BEIR folders without reading their documents.

    Raises:
        ConfigError: no path, or two folders of one name.
        CorpusError: a folder or its qrels are missing or unusable.
    """
    if not paths:
        raise ConfigError("There is nothing to evaluate on. Name at least one folder of a collection.")
    collections = [open_collection(path, split) for path in paths]
    names = [collection.name for collection in collections]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"Two collections are called '{twice}'. Results are named by folder: rename one of the folders.")
    return collections


def read_collection(collection: Collection, options: ReadOptions) -> JudgedCollection:
    """Reads a collection once, and checks that its parts fit each other.

    Raises:
        CorpusError: a record is unusable, there are no queries, or the qrels name an unknown query or document.
    """
    queries, options = collection.queries(), options.for_texts()
    ids, digest = [], TextDigest()
    for document in collection.documents(options):
        ids.append(document.id)
        digest.add(document.full_text)
    check_qrels(collection.qrels, set(ids), collection.qrels_path)

    def read() -> Iterator[Document]:
        n_read = 0
        for document in collection.documents(options):
            yield document
            n_read += 1
        if n_read != len(ids):
            raise CorpusError(f"{collection.path} changed while it was evaluated: {len(ids)} documents before, {n_read} now.")

    return JudgedCollection(collection.name, collection.path, ids, queries, collection.qrels, read, digest.hexdigest())
