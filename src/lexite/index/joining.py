"""Several indexes as one: what they must have in common, and how their words become those of one dictionary."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexite.config import differing
from lexite.errors import ArgumentError, CorpusError, IndexFormatError
from lexite.index.config import SEGMENT_POSTINGS, VocabularyInfo
from lexite.index.dictionary import GrowingDictionary, verify_words
from lexite.index.field_types import FieldType, joined_type
from lexite.index.file_table import KnownFile, read_file_table
from lexite.index.ids import IdTable, decode_text
from lexite.index.manifest import COMMIT_NAME, SEGMENTS_NAME, Commit
from lexite.index.merging import Source
from lexite.index.opening import OpenedFiles, open_newest
from lexite.index.segment import Segment
from lexite.index.term_numbers import TermNumbers
from lexite.index.writer_opening import create_index

if TYPE_CHECKING:
    from lexite.terms.static import StaticTable

PASSAGES_OF_SEGMENT = 1 << 30  # numbers of documents and passages are 32 bits wide


@dataclass(frozen=True)
class OpenedIndex:
    """An index that is joined with others.

    Attributes:
        path: its folder.
        files: its files, mapped.
    """

    path: Path
    files: OpenedFiles

    @property
    def commit(self) -> Commit:
        """Its state."""
        return self.files.commit

    @property
    def segments(self) -> Sequence[Segment]:
        """Its segments."""
        return self.files.segments

    def used_words(self) -> NDArray[np.bool_]:
        """(n_words,) which words a living document has."""
        n_latents = self.commit.vocabulary.n_terms
        counts = np.zeros(self.commit.n_terms - n_latents, dtype=np.int64)
        for segment in self.segments:
            own = segment.document_frequency[n_latents:]
            counts[: len(own)] += own
        return counts > 0


def open_several(paths: Sequence[str | Path]) -> list[OpenedIndex]:
    """Opens indexes that are to be one.

    Raises:
        IndexFormatError: one is missing or damaged; or they were made with other vocabularies or settings.
        ArgumentError: none is given, or one is given twice.
    """
    if not paths:
        raise ArgumentError("No index was named.")
    folders = [Path(path) for path in paths]
    real = [folder.resolve() for folder in folders]
    if twice := next((folder for number, folder in enumerate(folders) if real[number] in real[:number]), None):
        raise ArgumentError(f"{twice} is named twice.")

    def opened(folder: Path) -> OpenedIndex:
        return open_newest(folder, lambda files: OpenedIndex(folder, files))

    indexes = [opened(folder) for folder in folders]
    for index in indexes[1:]:
        _check_alike(indexes[0], index)
    joined_fields(indexes)
    return indexes


def _check_alike(one: OpenedIndex, other: OpenedIndex) -> None:
    first, second = one.commit, other.commit
    if _identity(first.vocabulary) != _identity(second.vocabulary):
        names = f"'{first.vocabulary.name}' ({first.vocabulary.fingerprint[:12]})"
        others = f"'{second.vocabulary.name}' ({second.vocabulary.fingerprint[:12]})"
        same = first.vocabulary.fingerprint == second.vocabulary.fingerprint
        how = f"with other settings, {_encodings(first, second)}" if same else f"by other vocabularies, {names} and {others}"
        raise IndexFormatError(f"{one.path} and {other.path} cannot be one index: their texts were encoded {how}.")
    if different := differing(_settings(first), _settings(second)):
        raise IndexFormatError(
            f"{one.path} and {other.path} cannot be one index: they differ in {different}. "
            "Build one of them again with the settings of the other."
        )


def _settings(commit: Commit) -> dict[str, Any]:
    """What indexes that are to be one must have in common, by names for people."""
    return {
        "scoring": commit.scoring,
        "literal words": commit.literal,
        "passages": commit.passages,
        "weights of fields": commit.field_weights,
        "side files": commit.side_data,
        "bits of the mantissa of weights": commit.mantissa,
        "whether texts are kept": commit.store_text,
        "whether fields are kept": commit.fields is not None,
    }


def _encodings(first: Commit, second: Commit) -> str:
    """In what the encodings of one vocabulary differ, in words."""
    ours, theirs = ({"terms": each.vocabulary.n_terms, **each.vocabulary.terms_config} for each in (first, second))
    return differing(ours, theirs)


def _identity(vocabulary: VocabularyInfo) -> tuple[str, int, dict[str, Any]]:
    return vocabulary.fingerprint, vocabulary.n_terms, dict(vocabulary.terms_config)


def joined_fields(indexes: Sequence[OpenedIndex]) -> dict[str, FieldType]:
    """The types of the fields of all indexes.

    Raises:
        IndexFormatError: a field has types that cannot stand beside each other.
    """
    joined: dict[str, FieldType] = {}
    for index in indexes:
        for name, kind in (index.commit.fields or {}).items():
            both = joined_type(joined.get(name, kind), kind)
            if both is None:
                raise IndexFormatError(
                    f"The field '{name}' is {kind} in {index.path}, but {joined[name]} in an index before it. Build one of "
                    f"them again with --field-type {name}={joined[name]}."
                )
            joined[name] = both
    return joined


def joined_words(indexes: Sequence[OpenedIndex]) -> tuple[GrowingDictionary, list[NDArray[np.int32] | None]]:
    """One dictionary of the words that living documents have, and for each index the numbers that its terms have there.

    A word is where the first index that has it puts it. So words, and sums over them, come in the order in which a build of
    all documents would take them in.

    Returns:
        The dictionary; for each index (n_terms,) int32, -1 for words that are left out, or None where all numbers stay.
    """
    dictionary = GrowingDictionary()
    numbers: list[NDArray[np.int32] | None] = []
    for index in indexes:
        n_latents, table = index.commit.vocabulary.n_terms, index.files.words
        latents = np.arange(n_latents, dtype=np.int32)
        own = dictionary.take(IdTable.build([]) if table is None else table, index.used_words())
        own[own >= 0] += n_latents
        all_numbers = np.concatenate([latents, own])
        numbers.append(None if np.array_equal(all_numbers, np.arange(len(all_numbers))) else all_numbers)
    return dictionary, numbers


def check_ids(indexes: Sequence[OpenedIndex]) -> None:
    """Refuses indexes that have a document of the same id.

    Raises:
        CorpusError: two have; the message names the id and both.
    """
    hashes, owners, places = [], [], []
    segments = [(number, segment) for number, index in enumerate(indexes) for segment in index.segments]
    for number, (_, segment) in enumerate(segments):
        live = np.ones(segment.n_documents, dtype=bool) if segment.deleted is None else ~segment.deleted
        kept = live[segment.ids.order]
        hashes.append(segment.ids.hashes[kept])
        places.append(segment.ids.order[kept])
        owners.append(np.full(int(kept.sum()), number, dtype=np.int32))
    every = np.concatenate([np.empty(0, np.uint64), *hashes])
    order = np.argsort(every, kind="stable")
    owner, place = (np.concatenate([np.empty(0, np.int32), *parts])[order] for parts in (owners, places))
    every = every[order]
    begin = 0
    for at in np.flatnonzero(every[1:] == every[:-1]).tolist():  # equal hashes of other ids do no harm
        begin = at
        while begin and every[begin - 1] == every[at]:
            begin -= 1
        identifier = segments[owner[at + 1]][1].ids.encoded(int(place[at + 1]))
        for before in range(begin, at + 1):
            if segments[owner[before]][1].ids.encoded(int(place[before])) == identifier:
                one, other = (indexes[segments[owner[i]][0]].path for i in (before, at + 1))
                raise CorpusError(
                    f"{one} and {other} both have a document '{decode_text(identifier)}'. Delete it from one of them."
                )


class JoinedStatic:
    """The static table of several indexes, made when it is first asked for.

    Args:
        indexes: each with a table.
    """

    def __init__(self, indexes: Sequence[OpenedIndex]) -> None:
        self._indexes = indexes

    @functools.cached_property
    def table(self) -> StaticTable:
        """The table, rounded as one that is stored; errors are those of a table that is damaged."""
        table = joined_static(self._indexes)
        assert table is not None
        return type(table).from_bytes(table.to_bytes(), table.tokenizer, "The static table")


class JoinedFiles(NamedTuple):
    """What several indexes hold, as one.

    Attributes:
        commit: the state of the first, with the segments and fields of all.
        segments: in the order of the indexes.
        words: the literal words of all.
        static: the table of all; None where one has none.
        generation: the sum of theirs, which a commit to any of them changes.
    """

    commit: Commit
    segments: list[Segment]
    words: IdTable
    static: JoinedStatic | None
    generation: int


def opened_as_one(paths: Sequence[str | Path]) -> JoinedFiles:
    """Opens several indexes to search them as one. Statistics are those of all: frequencies, counts, average lengths.

    Args:
        paths: folders of indexes of the same vocabulary and settings.

    Raises:
        IndexFormatError, ArgumentError: as :func:`open_several`.
        CorpusError: two have a document of the same id.
    """
    indexes = open_several(paths)
    check_ids(indexes)
    dictionary, numbers = joined_words(indexes)
    n_terms = indexes[0].commit.vocabulary.n_terms + len(dictionary)
    segments: list[Segment] = []
    for index, own in zip(indexes, numbers, strict=True):
        term_numbers = None if own is None else TermNumbers(own, n_terms)
        segments += [dataclasses.replace(segment, numbers=term_numbers) for segment in index.segments]
    records = tuple(record for index in indexes for record in index.commit.segments)
    fields, generation = _kept_fields(indexes), sum(index.commit.generation for index in indexes)
    with_static = all(index.files.static is not None for index in indexes)
    state = dataclasses.replace(
        indexes[0].commit,
        segments=records,
        fields=fields,
        words=None,
        static=None,
        files=None,
        generation=generation,
        average_lengths={},
    )
    return JoinedFiles(state, segments, dictionary.committed(), JoinedStatic(indexes) if with_static else None, generation)


@contextlib.contextmanager
def _removed_on_error(folder: Path) -> Iterator[None]:
    """Removes the folder of an index that was new where nothing was committed to it."""
    new = not folder.exists()
    try:
        yield
    finally:
        if new and not (folder / COMMIT_NAME).exists():
            shutil.rmtree(folder, ignore_errors=True)


def join_indexes(
    paths: Sequence[str | Path],
    target: str | Path,
    *,
    overwrite: bool = False,
    segment_postings: int = SEGMENT_POSTINGS,
) -> list[OpenedIndex]:
    """Writes one index of several: the one that a build of all their documents, in their order, would give.

    Files are copied piece by piece. Memory is a few megabytes, some 60 bytes for each document, and the literal words. What was
    deleted is left out. The static table is near to that of one build
    (:func:`lexite.terms.static_counts.merged_tables`); all else is the same, score for score.

    Args:
        paths: folders of the indexes, of the same vocabulary and settings.
        target: folder of the new index; none of theirs.
        overwrite: whether an index there may be replaced.
        segment_postings: postings after which a segment is closed and the next one begun.

    Returns:
        The indexes as they were read.

    Raises:
        IndexFormatError: an index is damaged, or they were made with other vocabularies or settings.
        CorpusError: two have a document of the same id.
        ArgumentError: an index is named twice, or is the target.
        StorageError: the target cannot be written.
    """
    indexes = open_several(paths)
    if any(index.path.resolve() == Path(target).resolve() for index in indexes):
        raise ArgumentError(f"{target} is one of the indexes that are merged. Name another folder for the result.")
    check_ids(indexes)
    for index in indexes:
        if index.commit.words:
            verify_words(index.path, index.commit.words)
    words, numbers = joined_words(indexes)
    state = dataclasses.replace(
        indexes[0].commit, generation=0, segments=(), words=None, static=None, files=None, fields=_kept_fields(indexes)
    )
    with _removed_on_error(Path(target)):
        writer = create_index(target, state, segment_postings, overwrite=overwrite)
        with writer:
            writer.adopt(_groups(_sources(indexes, numbers), segment_postings), words, joined_fields(indexes))
            writer.set_static(joined_static(indexes))
            files: dict[str, KnownFile] = {}
            for index in indexes:
                files |= read_file_table(index.path, index.commit.files)
            writer.set_files(files)
            writer.commit()
    return indexes


def _kept_fields(indexes: Sequence[OpenedIndex]) -> dict[str, FieldType] | None:
    return None if indexes[0].commit.fields is None else joined_fields(indexes)


def joined_static(indexes: Sequence[OpenedIndex]) -> StaticTable | None:
    """One static table for several indexes; None where one of them has none."""
    from lexite.terms.static_counts import merged_tables

    tables = [index.files.static.table for index in indexes if index.files.static is not None]
    if len(tables) < len(indexes):
        return None
    return tables[0] if len(tables) == 1 else merged_tables(tables)


def _sources(indexes: Sequence[OpenedIndex], numbers: Sequence[NDArray[np.int32] | None]) -> Iterator[Source]:
    for index, own in zip(indexes, numbers, strict=True):
        for record, segment in zip(index.commit.segments, index.segments, strict=True):
            terms = None if own is None else own[: segment.n_terms]
            yield Source(index.path / SEGMENTS_NAME / record.name, record, segment, terms)


def _groups(sources: Iterator[Source], segment_postings: int) -> Iterator[list[Source]]:
    """Neighbours that become one segment."""
    group: list[Source] = []
    postings = passages = 0
    for source in sources:
        own = source.record.n_postings
        if group and (postings + own > segment_postings or passages + source.record.n_passages > PASSAGES_OF_SEGMENT):
            yield group
            group, postings, passages = [], 0, 0
        if source.segment.n_live:
            group.append(source)
            postings, passages = postings + own, passages + source.record.n_passages
    if group:
        yield group
