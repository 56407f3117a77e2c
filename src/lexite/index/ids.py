"""From ids to documents and back, without a table of all ids in memory.

A segment keeps its ids as one run of UTF-8 with bounds, and the sorted 64-bit hashes of the ids with the document of each.
Looking an id up is a binary search on the mapped hashes; the id itself is then compared, so equal hashes do no harm.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexite.errors import IndexFormatError

VERIFY = "Run 'lexite info --verify' on the index."


def encode_text(text: str) -> bytes:
    """UTF-8, with the lone surrogates that JSON may hold kept as they are."""
    return text.encode("utf-8", "surrogatepass")


def decode_text(data: bytes, place: Path | None = None) -> str:
    """The inverse of :func:`encode_text`; raises :class:`IndexFormatError` when the bytes cannot have come from it.

    Args:
        data: the bytes.
        place: the folder that they come from, for the message.
    """
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        where = f"{place}: an" if place else "An"
        raise IndexFormatError(f"{where} id or a text in the index is damaged. {VERIFY}") from None


def hash_ids(ids: Sequence[bytes]) -> NDArray[np.uint64]:
    """64-bit BLAKE2b hashes of encoded ids, (n,).

    >>> int(hash_ids([b"a"])[0]) == int.from_bytes(hashlib.blake2b(b"a", digest_size=8).digest(), "little")
    True
    """
    digests = b"".join([hashlib.blake2b(identifier, digest_size=8).digest() for identifier in ids])
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64, copy=False)


@dataclass(frozen=True, slots=True)
class IdTable:
    """The ids of a segment.

    Attributes:
        data: all ids one after the other, encoded.
        bounds: (n + 1,) int64, where each begins.
        hashes: (n,) uint64, ascending; equal ones in document order.
        order: (n,) int32, the document of each hash.
        place: the folder with the files; None in memory.
    """

    data: NDArray[np.uint8]
    bounds: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    order: NDArray[np.int32]
    place: Path | None = None

    @classmethod
    def build(cls, ids: Sequence[bytes]) -> IdTable:
        """A table of encoded ids."""
        bounds = np.zeros(len(ids) + 1, dtype=np.int64)
        np.cumsum([len(identifier) for identifier in ids], out=bounds[1:])
        hashes = hash_ids(ids)
        order = np.argsort(hashes, kind="stable").astype(np.int32)
        return cls(np.frombuffer(b"".join(ids), dtype=np.uint8), bounds, hashes[order], order)

    def encoded(self, document: int) -> bytes:
        """The id of a document, encoded."""
        return self.data[self.bounds[document] : self.bounds[document + 1]].tobytes()

    def id(self, document: int) -> str:
        """The id of a document."""
        return decode_text(self.encoded(document), self.place)

    def all(self) -> list[str]:
        """All ids, in document order; many times quicker than one after the other by :meth:`id`."""
        data, bounds = self.data.tobytes(), self.bounds.tolist()
        parts = (data[begin:end] for begin, end in zip(bounds, bounds[1:], strict=False))
        return [decode_text(part, self.place) for part in parts]

    def find(self, ids: Sequence[bytes], hashes: NDArray[np.uint64], deleted: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """The living document of each encoded id, or -1; (n,).

        Args:
            ids: encoded ids.
            hashes: their hashes.
            deleted: (n_documents,) which documents do not count; None when none is deleted.

        Raises:
            IndexFormatError: the order names documents that do not exist.
        """
        found = np.full(len(ids), -1, dtype=np.int64)
        first = np.searchsorted(self.hashes, hashes, side="left")
        last = np.searchsorted(self.hashes, hashes, side="right")
        alone = np.flatnonzero(last - first == 1)
        documents = self._checked(self.order[first[alone]])
        same = self._has_ids(documents, [ids[i] for i in alone.tolist()])
        if deleted is not None:
            same &= ~deleted[documents]
        found[alone[same]] = documents[same]
        for i in np.flatnonzero(last - first > 1).tolist():  # ids whose hashes are equal, and deleted documents of the same id
            for document in self._checked(self.order[first[i] : last[i]]).tolist():
                if self.encoded(document) == ids[i] and (deleted is None or not deleted[document]):
                    found[i] = document
        return found

    def damaged(self) -> IndexFormatError:
        """The error for numbers that cannot be, with the folder where they are."""
        return IndexFormatError(f"The ids of {self.place or 'the index'} are damaged. {VERIFY}")

    def _checked(self, documents: NDArray[np.int32]) -> NDArray[np.int32]:
        if np.any(documents < 0) or np.any(documents >= len(self.bounds) - 1):
            raise self.damaged()
        return documents

    def _has_ids(self, documents: NDArray[np.int32], ids: Sequence[bytes]) -> NDArray[np.bool_]:
        """Whether each of some documents has the id that stands at its place in ``ids``, (n,)."""
        begins, ends = self.bounds[documents], self.bounds[documents + 1]
        sizes = np.array([len(identifier) for identifier in ids], dtype=np.int64)
        same: NDArray[np.bool_] = (ends - begins == sizes) & (begins >= 0) & (ends <= len(self.data))
        wanted = np.frombuffer(b"".join(compress(ids, same)), dtype=np.uint8)
        begins, sizes = begins[same], sizes[same]
        places = np.arange(len(wanted)) + np.repeat(begins - np.cumsum(sizes) + sizes, sizes)
        equal = np.ones(len(sizes), dtype=bool)
        equal[np.repeat(np.arange(len(sizes)), sizes)[self.data[places] != wanted]] = False
        same[same] = equal
        return same
