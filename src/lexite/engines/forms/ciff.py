"""CIFF, the common index file format (Lin et al. 2020): posting lists of whole numbers, one file of protobuf messages.

*Supporting Interoperability Between Open-Source Search Engines with the Common Index File Format*, SIGIR. A header, the
posting lists in the order of their terms' bytes, then the documents; before each message its length. Documents have numbers
from 0 on, and a posting holds the distance to the document before.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexite.engines.documents import passage_ids
from lexite.engines.forms.base import Collection, LinePart, not_unicode
from lexite.engines.queries import EngineQuery
from lexite.engines.routes import RouteName, stored_values
from lexite.errors import ArgumentError, CorpusError

if TYPE_CHECKING:
    from lexite.engines.statistics import Statistics
    from lexite.index import BM25Index

POSTINGS_AT_ONCE = 16_000_000
_MOST = (1 << 31) - 1
_VARINT, _DOUBLE, _BYTES = 0, 1, 2


class CiffForm:
    """CIFF, by whole numbers: relative frequencies for BM25 with b = 0, or impacts."""

    routes: tuple[RouteName, ...] = ("frequencies", "integers")
    suffix = ".ciff"
    most_terms: int | None = None
    most_hits: int | None = None
    holds_texts = False
    most_terms_of_document: int | None = None

    def id_problem(self, identifier: str) -> str | None:
        """Ids are text."""
        return not_unicode(identifier)

    def field_problem(self, name: str) -> str | None:
        """Posting lists go without fields."""
        return "CIFF holds no fields"

    def setup(self, collection: Collection) -> Mapping[str, str]:
        """Nothing: the file describes itself."""
        return {}

    def part(self, file: IO[bytes], collection: Collection) -> LinePart:
        """Not possible: a CIFF is one file of the whole index."""
        raise ArgumentError("A CIFF is one file of a whole index. Write it with write().")

    def body(self, query: EngineQuery, collection: Collection, top_k: int) -> dict[str, Any]:
        """Terms and weights; CIFF says nothing of queries."""
        names = collection.names.of(query.terms.tolist())
        return {"terms": dict(zip(names, query.weights.tolist(), strict=True)), "k1": query.pivot, "b": 0.0, "limit": top_k}

    def write(self, file: IO[bytes], index: BM25Index, statistics: Statistics, collection: Collection) -> tuple[int, int]:
        """Writes the file; returns how many passages and how many bytes.

        The index is read once for each 16 million postings, and once more for the lengths.

        Raises:
            CorpusError: there are more passages than CIFF counts.
        """
        if index.n_passages > _MOST:
            raise CorpusError(f"A CIFF holds {_MOST:,} documents at most, but the index has {index.n_passages:,} passages.")
        lengths = np.concatenate([np.empty(0, np.int64), *(c.lengths for c in _chunks(index, statistics, collection))])
        known = np.flatnonzero(statistics.document_frequency)
        names = collection.names.of(known.tolist())
        order = sorted(range(len(known)), key=lambda place: names[place].encode())
        terms = known[np.array(order, dtype=np.int64)]
        sink = _Sink(file)
        sink.message(_header(len(terms), lengths, collection))
        for group in _groups(statistics.document_frequency[terms]):
            chosen = terms[group]
            place = np.full(collection.n_terms, -1, dtype=np.int64)
            place[chosen] = np.arange(len(chosen))
            self._write_lists(sink, chosen, place, index, statistics, collection)
        for number, (identifier, _) in enumerate(passage_ids(index)):
            length = min(int(lengths[number]), _MOST)
            sink.message(_number(1, number) + _text(2, identifier) + _number(3, length))
        return len(lengths), sink.n_bytes

    def _write_lists(
        self,
        sink: _Sink,
        chosen: NDArray[np.int64],
        place: NDArray[np.int64],
        index: BM25Index,
        statistics: Statistics,
        collection: Collection,
    ) -> None:
        """Writes the lists of some terms, whose places ``place`` gives by term."""
        places, documents, values = [], [], []
        for chunk in _chunks(index, statistics, collection):
            own = place[chunk.terms]
            kept = own >= 0
            places.append(own[kept])
            documents.append(chunk.documents[kept])
            values.append(chunk.values[kept])
        owner = np.concatenate(places)
        order = np.argsort(owner, kind="stable")
        document, value = np.concatenate(documents)[order], np.concatenate(values)[order]
        bounds = np.searchsorted(owner[order], np.arange(len(chosen) + 1)).tolist()
        for name, begin, end in zip(collection.names.of(chosen.tolist()), bounds, bounds[1:], strict=False):
            gaps = np.diff(document[begin:end], prepend=0).tolist()
            counts = value[begin:end].tolist()
            postings = b"".join(_message(4, _number(1, gap) + _number(2, n)) for gap, n in zip(gaps, counts, strict=True))
            sink.message(_text(1, name) + _number(2, end - begin) + _number(3, sum(counts)) + postings)


class _Chunk(NamedTuple):
    terms: NDArray[np.int32]
    documents: NDArray[np.int64]
    values: NDArray[np.int64]
    lengths: NDArray[np.int64]


def _chunks(index: BM25Index, statistics: Statistics, collection: Collection) -> Iterator[_Chunk]:
    """The postings of the index in the order of documents, and the sums of their values by passage."""
    first, scoring = 0, statistics.scoring
    for chunk in index.iterate_passages(scoring.document_transform):
        bounds = chunk.rows.indptr.astype(np.int64)
        average = statistics.average_length
        values = stored_values(collection.route, chunk.rows.data, bounds, chunk.lengths, average, scoring)
        sizes = np.diff(bounds)
        documents = np.repeat(np.arange(first, first + len(sizes)), sizes)
        sums = np.concatenate([[0], np.cumsum(values)])
        yield _Chunk(chunk.rows.indices, documents, values, sums[bounds[1:]] - sums[bounds[:-1]])
        first += len(sizes)


def _groups(frequencies: NDArray[np.int64]) -> Iterator[slice]:
    """Runs of terms whose postings fit in memory together; one term at least."""
    sums = np.concatenate([[0], np.cumsum(frequencies)])
    begin = 0
    while begin < len(frequencies):
        end = int(np.searchsorted(sums, sums[begin] + POSTINGS_AT_ONCE, side="right")) - 1
        end = max(end, begin + 1)
        yield slice(begin, end)
        begin = end


def _header(n_lists: int, lengths: NDArray[np.int64], collection: Collection) -> bytes:
    n, total = len(lengths), int(lengths.sum())
    route = collection.route
    kind = f"BM25 with k1 = {collection.pivot:g} and b = 0" if route.saturates else "dot product of impacts"
    numbers = b"".join(_number(field, value) for field, value in enumerate((1, n_lists, n, n_lists, n, total), start=1))
    average = _tag(7, _DOUBLE) + struct.pack("<d", total / n if n else 0.0)
    return numbers + average + _text(8, f"lexite {collection.name}: {kind}")


class _Sink:
    """A file of messages, each behind its length."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.n_bytes = 0

    def message(self, content: bytes) -> None:
        data = varint(len(content)) + content
        self._file.write(data)
        self.n_bytes += len(data)


def varint(value: int) -> bytes:
    """A number from 0 on as protobuf writes it, seven bits a byte, the lowest first.

    >>> varint(1).hex(), varint(300).hex()
    ('01', 'ac02')
    """
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _tag(field: int, kind: int) -> bytes:
    return varint(field << 3 | kind)


def _number(field: int, value: int) -> bytes:
    return _tag(field, _VARINT) + varint(value) if value else b""  # protobuf leaves zeros out


def _message(field: int, content: bytes) -> bytes:
    return _tag(field, _BYTES) + varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())
