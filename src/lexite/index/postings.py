"""Compressed posting lists of a segment: built from its rows of raw weights, written, mapped.

Impacts are computed for one scoring and one average length. Everything else in a score (idf, query weights, another k1 or b)
acts later, on the impacts or on the raw weights, which stay beside them. ``lexite.kernels.impacts`` describes the lists;
``lexite.index.scorer`` decides when they can be used.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexite.errors import IndexFormatError
from lexite.files import storage_errors
from lexite.index.packed_rows import Entries, damaged_rows
from lexite.index.storage import FileRecord, FileWriter, map_array, map_bytes, read_ahead, read_part, write_array
from lexite.kernels.posting_lists import CHUNK, ImpactForm, PostingLists
from lexite.scoring.config import BM25Config, Transform
from lexite.scoring.formula import Saturation, length_norms, saturation_form
from lexite.scoring.transform import TRANSFORMS

N_LEVELS = 256
LARGEST_DRIFT = 1.05  # impacts are used while average lengths differ by less than this factor
SPILL_BYTES = 64 << 20  # more encoded lists than this wait on the disk for the other chunks
MERGE_BYTES = 32 << 20
MOST_THREADS = 4  # each takes about 16 bytes for every posting of a chunk


@dataclass(frozen=True, slots=True)
class ImpactScoring:
    """What an impact depends on: ``tf · scale / (tf + k1 · (1 - b + b · dl / average_length)) + delta``.

    Attributes:
        k1: BM25's k1.
        b: BM25's b.
        document_transform: from raw weight to tf.
        scale: 1, and k1 + 1 for bm25+.
        delta: 0, and BM25+'s delta for bm25+.
        average_length: mean length of the living documents when the lists were built.
    """

    k1: float
    b: float
    document_transform: Transform
    scale: float
    delta: float
    average_length: float

    @classmethod
    def of(cls, scoring: BM25Config, average_length: float) -> ImpactScoring:
        """The part of a scoring that impacts depend on."""
        scale, delta = saturation_form(scoring)
        return cls(scoring.k1, scoring.b, scoring.document_transform, float(scale), float(delta), average_length)

    @property
    def largest(self) -> float:
        """No impact is larger."""
        return self.scale + self.delta

    @property
    def saturation(self) -> Saturation:
        """Scale and delta, as the formula takes them."""
        return Saturation(np.float32(self.scale), np.float32(self.delta))

    @property
    def form(self) -> ImpactForm:
        """Code of the transform, scale and delta, as the kernels take them."""
        return ImpactForm(TRANSFORMS.index(self.document_transform), *self.saturation)

    def drift(self, other: ImpactScoring) -> float | None:
        """The factor, 1 or more, by which the impacts of two scorings can differ; None when they cannot be compared.

        Norms of different average lengths a and a' have a ratio between 1 and a / a', and so have the impacts.
        """
        mine, theirs = self.average_length, other.average_length
        if (self.k1, self.b, self.document_transform, self.scale, self.delta) != (
            other.k1,
            other.b,
            other.document_transform,
            other.scale,
            other.delta,
        ):
            return None
        if mine == theirs or self.b == 0.0 or self.k1 == 0.0:
            return 1.0
        return max(mine / theirs, theirs / mine) if mine > 0.0 and theirs > 0.0 else None


@dataclass(frozen=True, slots=True)
class Postings:
    """The lists of a segment. Those of one term, chunk after chunk, are neighbours.

    Attributes:
        scoring: the scoring that the impacts were built for.
        lists: uint8, all lists.
        offsets: (n_terms * n_chunks + 1,) uint32 or uint64, begin of the list of term t and chunk c at t * n_chunks + c.
        kinds: (n_terms * n_chunks,) uint8, the form of each list.
        tops: (n_terms * n_chunks,) uint8, the level of each list's largest impact.
    """

    scoring: ImpactScoring
    lists: NDArray[np.uint8]
    offsets: NDArray[Any]
    kinds: NDArray[np.uint8]
    tops: NDArray[np.uint8]

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        return self.lists.nbytes + self.offsets.nbytes + self.kinds.nbytes + self.tops.nbytes

    @property
    def levels(self) -> NDArray[np.float32]:
        """The impacts that levels stand for, (256,)."""
        return impact_levels(self.scoring.largest)

    @property
    def arrays(self) -> PostingLists:
        """The lists as the kernels take them."""
        return PostingLists(self.lists, self.offsets, self.kinds, self.tops, self.levels)

    def places(
        self, terms: NDArray[np.int32], n_terms: int, chunks: tuple[int, int] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the lists of terms begin and end in ``lists``, in bytes, (n,) each.

        Args:
            terms: (n,) terms that the segment knows.
            n_terms: number of terms that the segment knows.
            chunks: the first chunk, and the one behind the last; None for all.
        """
        n_chunks = len(self.kinds) // n_terms
        first, end = chunks or (0, n_chunks)
        begin = terms.astype(np.int64) * n_chunks
        return self.offsets[begin + first].astype(np.int64), self.offsets[begin + end].astype(np.int64)

    def read_ahead(self, terms: NDArray[np.int32], n_terms: int, chunks: tuple[int, int] | None = None) -> None:
        """Lets the system read the lists of terms from the disk, where they are not in memory yet; chunks as above."""
        read_ahead(self.lists, *self.places(terms, n_terms, chunks))

    def read_directory_ahead(self, terms: NDArray[np.int32], n_terms: int) -> None:
        """The same for what says where these lists are."""
        n_chunks = len(self.kinds) // n_terms
        first = terms.astype(np.int64) * n_chunks
        for array, more in ((self.offsets, 1), (self.kinds, 0), (self.tops, 0)):
            read_ahead(array, first * array.itemsize, (first + n_chunks + more) * array.itemsize)


RowReader = Callable[[int, int], Entries]
"""Gives the rows of a segment from the first to below the second argument, for building lists from them."""


@functools.cache
def impact_levels(largest: float) -> NDArray[np.float32]:
    """The 256 largest impacts that a list can have, to which its impacts are relative: from ``largest`` down, 16 an octave.

    >>> impact_levels(1.0)[[0, 16, 32]].tolist()
    [1.0, 0.5, 0.25]
    """
    return (largest * np.exp2(-np.arange(N_LEVELS) / 16)).astype(np.float32)


def posting_files(generation: int) -> tuple[str, str, str, str]:
    """Names of the lists, their offsets, kinds and tops, as written by a commit.

    >>> posting_files(3)[0]
    'lists-00000003.bin'
    """
    number = f"{generation:08d}"
    return f"lists-{number}.bin", f"list_offsets-{number}.npy", f"list_kinds-{number}.npy", f"list_tops-{number}.npy"


@dataclass(frozen=True, slots=True)
class _Chunk:
    """The encoded lists of one chunk, in memory or from ``start`` on in the spill file, and the size of each."""

    start: int
    lists: NDArray[np.uint8] | None
    sizes: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    tops: NDArray[np.uint8]


def build_postings(
    rows: RowReader, norms: NDArray[np.float32], n_terms: int, scoring: ImpactScoring, place: Path | None
) -> Postings:
    """Builds the lists in memory.

    Args:
        rows: raw weights.
        norms: (n_documents,) norms of the documents under ``scoring``.
        n_terms: number of terms.
        scoring: scoring to build the impacts for.
        place: the folder of the segment, for an error; None in memory.

    Raises:
        IndexFormatError: a row names a term that does not exist.
    """
    chunks = list(_encode_chunks(rows, norms, n_terms, scoring, place))
    offsets = _offsets(chunks, n_terms)
    lists = np.concatenate([np.empty(0, np.uint8), *_term_blocks(chunks, offsets, n_terms, None)])
    return Postings(scoring, lists, offsets, *_directories(chunks))


def write_postings(
    folder: Path, generation: int, rows: RowReader, norms: NDArray[np.float32], n_terms: int, scoring: ImpactScoring
) -> dict[str, FileRecord]:
    """Builds the lists and writes them, with memory for a few chunks.

    Args:
        folder: of the segment.
        generation: number of the commit that writes them.
        rows: raw weights.
        norms: (n_documents,) norms of the documents under ``scoring``.
        n_terms: number of terms.
        scoring: scoring to build the impacts for.

    Raises:
        IndexFormatError: a row names a term that does not exist.
        StorageError: the files cannot be written.
    """
    names = posting_files(generation)
    spill = folder / "spill.tmp"
    for name in (*names, spill.name):  # left by a commit that failed
        (folder / name).unlink(missing_ok=True)
    chunks: list[_Chunk] = []
    spilled, waiting = 0, 0
    try:
        with storage_errors(spill), open(spill, "wb") as file:
            for chunk in _encode_chunks(rows, norms, n_terms, scoring, folder):
                assert chunk.lists is not None
                size = chunk.lists.nbytes
                waiting += size
                if waiting > SPILL_BYTES:
                    chunk.lists.tofile(file)
                    chunk = dataclasses.replace(chunk, start=spilled, lists=None)
                    spilled += size
                chunks.append(chunk)
        offsets = _offsets(chunks, n_terms)
        with FileWriter(folder / names[0]) as writer:
            for block in _term_blocks(chunks, offsets, n_terms, spill):
                writer.write(block)
    finally:
        spill.unlink(missing_ok=True)
    kinds, tops = _directories(chunks)
    return {
        names[0]: writer.record,
        names[1]: write_array(folder / names[1], offsets),
        names[2]: write_array(folder / names[2], kinds),
        names[3]: write_array(folder / names[3], tops),
    }


def open_postings(
    folder: Path, generation: int, files: Mapping[str, FileRecord], n_terms: int, n_documents: int, scoring: ImpactScoring
) -> Postings:
    """Maps the lists of a segment; raises IndexFormatError when a file is missing or has the wrong length."""
    names = posting_files(generation)
    missing = next((name for name in names if name not in files), None)
    if missing:
        raise IndexFormatError(f"{folder / missing} is not listed by the commit point; the index is damaged.")
    count = n_terms * n_chunks_of(n_documents)
    lists = map_bytes(folder / names[0], files[names[0]], scattered=True)
    offsets = map_array(folder / names[1], files[names[1]], _offset_type(lists.nbytes), (count + 1,), scattered=True)
    kinds, tops = (map_array(folder / name, files[name], "|u1", (count,), scattered=True) for name in names[2:])
    return Postings(scoring, lists, offsets, kinds, tops)


def n_chunks_of(n_documents: int) -> int:
    """Chunks of a segment."""
    return (n_documents + CHUNK - 1) // CHUNK


def norms_of(lengths: NDArray[np.float32], average: float, scoring: BM25Config) -> NDArray[np.float32]:
    """Norms of a segment's documents, from its lengths (3, n_documents)."""
    return length_norms(lengths[TRANSFORMS.index(scoring.document_transform)], average, scoring)


def _offset_type(nbytes: int) -> str:
    return "<u4" if nbytes < 1 << 32 else "<u8"


def _offsets(chunks: list[_Chunk], n_terms: int) -> NDArray[Any]:
    offsets = np.zeros(n_terms * len(chunks) + 1, dtype=np.int64)
    for number, chunk in enumerate(chunks):
        offsets[1 + number :: len(chunks)] = chunk.sizes
    np.cumsum(offsets, out=offsets)
    return offsets.astype(_offset_type(int(offsets[-1])))


def _directories(chunks: list[_Chunk]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    if not chunks:
        return np.empty(0, np.uint8), np.empty(0, np.uint8)
    return np.stack([chunk.kinds for chunk in chunks], axis=1).ravel(), np.stack([c.tops for c in chunks], axis=1).ravel()


def _encode_chunks(
    rows: RowReader, norms: NDArray[np.float32], n_terms: int, scoring: ImpactScoring, place: Path | None
) -> Iterator[_Chunk]:
    """Encodes chunk after chunk, on all cores."""
    from lexite.kernels.hardware import n_threads
    from lexite.kernels.impacts import MAX_BYTES_PER_POSTING, encode_chunk

    levels = impact_levels(scoring.largest)

    def encode(begin: int) -> _Chunk:
        end = min(begin + CHUNK, len(norms))
        bounds, terms, weights = rows(begin, end)
        out = np.empty(int(MAX_BYTES_PER_POSTING * len(terms)) + 1, dtype=np.uint8)
        sizes, kinds, tops = np.empty(n_terms, np.int64), np.empty(n_terms, np.uint8), np.empty(n_terms, np.uint8)
        count = encode_chunk(bounds, terms, weights, norms[begin:end], scoring.form, levels, out, sizes, kinds, tops)
        if count < 0:
            raise damaged_rows(place)
        return _Chunk(0, out[:count].copy(), sizes, kinds, tops)

    begins = range(0, len(norms), CHUNK)
    threads = min(n_threads(), len(begins), MOST_THREADS)
    if threads < 2:
        yield from map(encode, begins)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="lexite-postings") as pool:
        for first in range(0, len(begins), threads):  # a few at a time, since the map of a pool would run ahead of the writer
            yield from pool.map(encode, begins[first : first + threads])


def _term_blocks(chunks: list[_Chunk], offsets: NDArray[Any], n_terms: int, spill: Path | None) -> Iterator[NDArray[np.uint8]]:
    """The lists in their final order, in blocks of whole terms."""
    from lexite.kernels.impacts import gather_lists

    of_terms = offsets[:: max(len(chunks), 1)].astype(np.int64) if chunks else np.zeros(n_terms + 1, np.int64)
    starts = [np.concatenate([[0], np.cumsum(chunk.sizes)]) for chunk in chunks]
    first = 0
    while first < n_terms:
        last = max(first + 1, int(np.searchsorted(of_terms, of_terms[first] + MERGE_BYTES, side="right")) - 1)
        out = np.empty(of_terms[last] - of_terms[first], dtype=np.uint8)
        for number, chunk in enumerate(chunks):
            low, high = int(starts[number][first]), int(starts[number][last])
            if chunk.lists is not None:
                source = chunk.lists[low:high]
            else:
                assert spill is not None
                source = read_part(spill, "|u1", chunk.start + low, high - low)
            targets = offsets[first * len(chunks) + number : last * len(chunks) : len(chunks)].astype(np.int64)
            targets -= of_terms[first]
            gather_lists(source, starts[number][first:last] - low, chunk.sizes[first:last], out, targets)
        yield out
        first = last
