"""The literal words of an index: word number w is the term n_latents + w.

The dictionary only grows, so a segment that was written when it had fewer words stays right: it has no postings of the others.
Its files lie in a folder of their own. A commit that brings new words writes them all anew, under its number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexite.corpus.text_fields import FieldTexts
from lexite.errors import IndexFormatError, ModelError
from lexite.index.ids import VERIFY, IdTable, encode_text, hash_ids
from lexite.index.storage import FileRecord, FileWriter, map_array, map_bytes, new_files, verify_file, write_array
from lexite.scoring.rows import Rows
from lexite.scoring.words import LiteralConfig

WORDS_NAME = "words"


@dataclass(frozen=True, slots=True)
class WordsRecord:
    """The dictionary as the commit point describes it.

    Attributes:
        generation: number of the commit that wrote its files.
        n_words: words in it.
        files: its files.
    """

    generation: int
    n_words: int
    files: Mapping[str, FileRecord]


def word_files(generation: int) -> tuple[str, str, str, str]:
    """Names of the words, their bounds, their sorted hashes and the word of each hash, as written by a commit.

    >>> word_files(3)[0]
    'words-00000003.bin'
    """
    number = f"{generation:08d}"
    return f"words-{number}.bin", f"word_bounds-{number}.npy", f"word_hashes-{number}.npy", f"word_order-{number}.npy"


class WordRows(NamedTuple):
    """The words of passages, counted and weighed already.

    Attributes:
        words: the words that occur, each once.
        indptr: (n_passages + 1,) row bounds.
        numbers: (n_entries,) the place in ``words`` of each entry. Within a row they are in the order in which the words came.
        values: (n_entries,) float32, raw weights.
    """

    words: Sequence[str]
    indptr: NDArray[np.int64]
    numbers: NDArray[np.int32]
    values: NDArray[np.float32]


class Dictionary:
    """The words of an opened index.

    Args:
        table: the words, as ids are kept.
    """

    def __init__(self, table: IdTable) -> None:
        self.table = table

    def __len__(self) -> int:
        return len(self.table.order)

    def word(self, number: int) -> str:
        """The word with a number.

        Raises:
            IndexError: there is none.
            IndexFormatError: the files are damaged.
        """
        if not 0 <= number < len(self):
            raise IndexError(f"There is no word number {number}; the index has {len(self)}.")
        return self.table.id(number)

    def find(self, words: Sequence[str]) -> NDArray[np.int64]:
        """The number of each word, or -1.

        Raises:
            IndexFormatError: the files are damaged.
        """
        encoded = [encode_text(word) for word in words]
        try:
            return self.table.find(encoded, hash_ids(encoded), None)
        except IndexFormatError:
            place = self.table.place or "the index"
            raise IndexFormatError(f"The literal words of {place} are damaged. {VERIFY}") from None

    def add_to(self, rows: Rows, n_latents: int, words_of: Sequence[Mapping[str, float]]) -> Rows:
        """Rows of queries with their words; a word that is not here, or has the weight 0, is dropped.

        Args:
            rows: weights of latent terms.
            n_latents: number of latent terms.
            words_of: for each query its words with their weights: how often they occur in its text, or other ones.

        Raises:
            IndexFormatError: the files are damaged.
        """
        words, owners, values = _entries(words_of)
        numbers = self.find(words)
        known = (numbers >= 0) & (values.astype(np.float32) > 0)
        return _with_words(rows, n_latents, owners[known], numbers[known], values[known].astype(np.float32))


class GrowingDictionary:
    """The words of an index that is being written, in memory. New ones get the next numbers.

    Args:
        known: the words of the last commit.
    """

    def __init__(self, known: IdTable | None = None) -> None:
        self._known = IdTable.build([]) if known is None else known
        self._numbers = {word: number for number, word in enumerate(self._known.all())}

    def __len__(self) -> int:
        return len(self._numbers)

    def take(self, words: IdTable, used: NDArray[np.bool_]) -> NDArray[np.int32]:
        """Takes in words of another dictionary, in its order.

        Args:
            words: of the other dictionary.
            used: (n_words,) which of them are wanted.

        Returns:
            (n_words,) int32, the number that each has here; -1 for those that are not wanted.
        """
        known = self._numbers
        numbers = np.full(len(used), -1, dtype=np.int32)
        for place in np.flatnonzero(used).tolist():
            numbers[place] = known.setdefault(words.id(place), len(known))
        return numbers

    def add_to(
        self, rows: Rows, n_latents: int, texts: Sequence[str], literal: LiteralConfig, fields: FieldTexts | None = None
    ) -> Rows:
        """Rows of documents with the words of their texts, which are taken in where they are new.

        Args:
            rows: weights of latent terms.
            n_latents: number of latent terms.
            texts: of the documents, or of their fields.
            literal: how words are taken and weighed.
            fields: how the words of fields are added up; None: each text is that of a row.
        """
        counts: Sequence[Mapping[str, float]] = [literal.words_of(text) for text in texts]
        words, owners, values = _entries(counts if fields is None else fields.summed_counts(counts))
        known = self._numbers
        numbers = np.array([known.setdefault(word, len(known)) for word in words], dtype=np.int64)
        return _with_words(rows, n_latents, owners, numbers, (values * literal.literal_weight_documents).astype(np.float32))

    def add_counted(self, rows: Rows, n_latents: int, words: WordRows) -> Rows:
        """Rows of documents with words that were counted already.

        Args:
            rows: weights of latent terms.
            n_latents: number of latent terms.
            words: of the same passages.

        Raises:
            ModelError: they are of another number of passages, or name words that do not exist.
        """
        indptr, numbers = np.asarray(words.indptr, dtype=np.int64), np.asarray(words.numbers)
        whole = len(indptr) == rows.n_rows + 1 and indptr[0] == 0 and indptr[-1] == len(numbers) == len(words.values)
        if (
            not whole
            or np.any(np.diff(indptr) < 0)
            or (len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(words.words))
        ):
            raise ModelError("The words of some passages do not fit their weights. Encode them again.")
        if not np.all(words.values > 0) or not np.all(np.isfinite(words.values)):
            raise ModelError("Raw weights of words must be above 0 and finite. Encode the passages again.")
        used, first = np.unique(numbers, return_index=True)
        known = self._numbers
        own = np.full(len(words.words), -1, dtype=np.int64)
        for place in used[np.argsort(first)].tolist():  # in the order in which one after the other would be taken in
            own[place] = known.setdefault(words.words[place], len(known))
        owners = np.repeat(np.arange(rows.n_rows), np.diff(indptr))
        return _with_words(rows, n_latents, owners, own[numbers], np.asarray(words.values, dtype=np.float32))

    @property
    def has_new(self) -> bool:
        """Whether there are words that the last commit did not have."""
        return len(self) > len(self._known.order)

    def committed(self) -> IdTable:
        """All words, for a commit to write. From then on none of them counts as new."""
        new = [encode_text(word) for word in islice(self._numbers, len(self._known.order), None)]
        self._known = _joined(self._known, IdTable.build(new))
        return self._known


def _joined(first: IdTable, second: IdTable) -> IdTable:
    """Two tables as one: the ids of the first, then the ids of the second."""
    hashes = np.concatenate([first.hashes, second.hashes])
    order = np.concatenate([first.order, second.order + np.int32(len(first.order))])
    sorting = np.argsort(hashes, kind="stable")
    bounds = np.concatenate([first.bounds, second.bounds[1:] + first.bounds[-1]])
    return IdTable(np.concatenate([first.data, second.data]), bounds, hashes[sorting], order[sorting])


def write_words(folder: Path, generation: int, table: IdTable) -> WordsRecord:
    """Writes a dictionary durably.

    Args:
        folder: of the index.
        generation: number of the commit that will name it.
        table: all words.

    Raises:
        StorageError: it cannot be written.
    """
    place, names = folder / WORDS_NAME, word_files(generation)
    with new_files(place, names):
        with FileWriter(place / names[0]) as file:
            file.write(table.data)
        files = {
            names[0]: file.record,
            names[1]: write_array(place / names[1], table.bounds),
            names[2]: write_array(place / names[2], table.hashes),
            names[3]: write_array(place / names[3], table.order),
        }
    return WordsRecord(generation, len(table.order), files)


def open_words(folder: Path, record: WordsRecord) -> IdTable:
    """Maps the dictionary of an index.

    Raises:
        IndexFormatError: a file is missing, or damaged so that its length or header is wrong.
    """
    place, names = folder / WORDS_NAME, word_files(record.generation)
    missing = next((name for name in names if name not in record.files), None)
    if missing:
        raise IndexFormatError(f"{place / missing} is not listed by the commit point; the index is damaged.")
    n, files = record.n_words, record.files
    return IdTable(
        map_bytes(place / names[0], files[names[0]]),
        map_array(place / names[1], files[names[1]], "<i8", (n + 1,)),
        map_array(place / names[2], files[names[2]], "<u8", (n,)),
        map_array(place / names[3], files[names[3]], "<i4", (n,)),
        place,
    )


def verify_words(folder: Path, record: WordsRecord) -> None:
    """Compares the files of a dictionary with their checksums; raises IndexFormatError."""
    for name, file in record.files.items():
        verify_file(folder / WORDS_NAME / name, file)


def _entries(counts: Sequence[Mapping[str, float]]) -> tuple[list[str], NDArray[np.int64], NDArray[np.float64]]:
    """The words of each text, or of each sum of fields, the number of that, and how often the word occurs there."""
    owners = np.repeat(np.arange(len(counts)), np.array([len(count) for count in counts], dtype=np.int64))
    values = np.array([n for count in counts for n in count.values()], dtype=np.float64)
    return [word for count in counts for word in count], owners, values


def _with_words(
    rows: Rows, n_latents: int, owners: NDArray[np.int64], numbers: NDArray[np.int64], values: NDArray[np.float32]
) -> Rows:
    """Adds words to rows of latent terms.

    Args:
        rows: weights of latent terms.
        n_latents: number of latent terms; the first word is the next one.
        owners: (n_entries,) ascending, the row of each word.
        numbers: (n_entries,) the words, each once in a row.
        values: (n_entries,) their raw weights.
    """
    sizes = np.bincount(owners, minlength=rows.n_rows)
    bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    order = np.lexsort((numbers, owners))
    n_entries = len(rows.terms) + len(numbers)
    terms, raw = np.empty(n_entries, np.int32), np.empty(n_entries, np.float32)
    latent_places = np.arange(len(rows.terms)) + np.repeat(bounds[:-1], np.diff(rows.indptr))
    word_places = np.arange(len(numbers)) + np.repeat(rows.indptr[1:], sizes)  # after the latent terms of the row
    terms[latent_places], raw[latent_places] = rows.terms, rows.values
    terms[word_places], raw[word_places] = n_latents + numbers[order], values[order]
    return Rows(rows.indptr + bounds, terms, raw)
