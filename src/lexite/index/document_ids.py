"""Which documents are meant: ids and numbers of an opened index, looked up and checked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexite.errors import ArgumentError, CorpusError, ModelError
from lexite.index.config import DocumentLike
from lexite.index.ids import encode_text, hash_ids
from lexite.index.segment import Segment
from lexite.wording import counted

Among = Sequence[str] | Sequence[Sequence[str]] | Sequence[NDArray[np.int64]]
"""Ids of the only documents that may be hits: a list for all queries, or a list for each; or an array of numbers for each."""


class DocumentIds(Collection[str]):
    """The ids of an index, in document order. They are read from the index as they are gone through.

    Args:
        segments: of the index, in document order.

    >>> from lexite.index import BM25Index
    >>> from scipy.sparse import csr_array
    >>> ids = BM25Index.in_memory(csr_array([[0.0, 4.0], [1.0, 1.0]]), ["a", "b"]).ids
    >>> list(ids), len(ids), "b" in ids
    (['a', 'b'], 2, True)
    """

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = segments
        self._first = np.concatenate([[0], np.cumsum([segment.n_documents for segment in segments])]).astype(np.int64)

    def __len__(self) -> int:
        return sum(segment.n_live for segment in self._segments)

    def __iter__(self) -> Iterator[str]:
        return (segment.ids.id(document) for segment in self._segments for document in segment.live_documents())

    def __contains__(self, identifier: object) -> bool:
        return isinstance(identifier, str) and self.find([identifier])[0] >= 0

    def __repr__(self) -> str:
        return f"<the ids of {counted(len(self))}>"

    def find(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """The number of the document of each id; -1 where there is none.

        Raises:
            ArgumentError: an id is no text.
        """
        encoded = [encode_id(identifier) for identifier in ids]
        hashes = hash_ids(encoded)
        numbers = np.full(len(ids), -1, dtype=np.int64)
        for first, segment in zip(self._first, self._segments, strict=False):
            found = segment.ids.find(encoded, hashes, segment.deleted)
            numbers = np.where(found >= 0, found + first, numbers)
        return numbers

    def numbers(self, documents: Iterable[int | str] | str | int) -> NDArray[np.int64]:
        """The numbers of documents that are given by number or by id.

        Raises:
            CorpusError: there is no document of this id.
            IndexError: there is none of this number.
            ArgumentError: something is neither text nor a whole number.
        """
        listed = [documents] if isinstance(documents, (str, int, np.integer)) else list(documents)
        ids = [document for document in listed if isinstance(document, str)]
        if not ids:
            return np.array([self._checked(each) for each in listed], dtype=np.int64)
        found = self.find(ids)
        if (found < 0).any():
            raise CorpusError(f"The index has no document '{ids[int(np.argmin(found))]}'.")
        places = iter(found.tolist())
        return np.array([next(places) if isinstance(each, str) else self._checked(each) for each in listed], dtype=np.int64)

    def allowed(self, among: Among, n_queries: int) -> list[NDArray[np.int64]]:
        """For each query, the numbers of the documents that may be hits.

        Raises:
            CorpusError: there is no document of an id.
            ModelError: there are lists, but not one for each query.
        """
        given: list[Any] = listed_ids(among)
        if all(isinstance(entry, str) for entry in given):
            return [self.numbers(given)] * n_queries
        if len(given) != n_queries:
            raise ModelError(f"Documents to search among are given for {len(given)} queries, but {n_queries} are asked.")
        if given and all(isinstance(entry, np.ndarray) and entry.dtype.kind == "i" for entry in given):
            for number in (number for entry in given if len(entry) for number in (entry.min(), entry.max())):
                self._checked(number)
            return given
        lists = [listed_ids(entry) for entry in given]
        different = list(dict.fromkeys(identifier for ids in lists for identifier in ids))
        for identifier in different:
            encode_id(identifier)  # refuses what is no text
        places = dict(zip(different, self.numbers(different).tolist(), strict=True))
        return [np.array([places[identifier] for identifier in ids], dtype=np.int64) for ids in lists]

    def _checked(self, document: object) -> int:
        if isinstance(document, bool) or not isinstance(document, (int, np.integer)):
            raise ArgumentError(f"A document is given by its number or its id, not by a {type(document).__name__}.")
        if not 0 <= document < self._first[-1]:
            raise IndexError(f"There is no document number {document}; the index has {self._first[-1]}.")
        return int(document)


def encode_id(identifier: object) -> bytes:
    """An id as it is stored.

    Raises:
        ArgumentError: it is no text.
    """
    if not isinstance(identifier, str):
        raise ArgumentError(f"Ids are text, but {identifier!r} is a {type(identifier).__name__}. Write '{identifier}'.")
    return encode_text(identifier)


def encode_ids(documents: Sequence[DocumentLike]) -> list[bytes]:
    """The ids of documents that are written, as they are stored.

    Raises:
        CorpusError: an id is empty or occurs twice, or something is no text.
    """
    ids: list[bytes] = []
    seen: set[bytes] = set()
    for document in documents:
        if not isinstance(document.id, str) or not document.id:
            raise CorpusError(f"A document has the id {document.id!r}, but an id must be text and not empty.")
        if not isinstance(document.text, str) or not isinstance(document.title, str):
            raise CorpusError(f"Title and text of document '{document.id}' must be text; where there is none, it is empty.")
        identifier = encode_text(document.id)
        if identifier in seen:
            raise CorpusError(f"The document id '{document.id}' occurs twice.")
        seen.add(identifier)
        ids.append(identifier)
    return ids


def listed_ids(ids: Iterable[Any] | str) -> list[Any]:
    """Ids as a list; one id that is given alone is meant as such.

    Raises:
        ArgumentError: they are neither text nor a list.

    >>> listed_ids("12"), listed_ids(["1", "2"])
    (['12'], ['1', '2'])
    """
    if isinstance(ids, str):
        return [ids]
    if not isinstance(ids, Iterable):
        raise ArgumentError(f"Ids are text, or a list of texts, not a {type(ids).__name__}.")
    return list(ids)
