"""What an index has beside its segments, as the next commit will have it: literal words, static table, table of files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from lexite.corpus.passages import CutDocuments
from lexite.index.dictionary import GrowingDictionary, WordRows, open_words, verify_words, write_words
from lexite.index.file_table import FileTable, write_file_table
from lexite.index.manifest import Commit
from lexite.index.static import StoredStatic, check_static, write_static
from lexite.scoring.rows import Rows
from lexite.scoring.words import LiteralConfig

if TYPE_CHECKING:
    from lexite.terms.static import StaticTable


class UncommittedTables:
    """The tables that were changed since the last commit; the others are read from it.

    Args:
        folder: of the index.

    Attributes:
        words: the literal words with new ones; None while they are those of the last commit.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.words: GrowingDictionary | None = None
        self._static: StaticTable | None = None
        self._static_is_new = False
        self._files: FileTable | None = None

    def n_terms(self, last: Commit) -> int:
        """Number of terms of the index, literal words included; ``last`` is the last commit, here and below."""
        return last.n_terms if self.words is None else last.vocabulary.n_terms + len(self.words)

    def with_words(self, rows: Rows, cut: CutDocuments, literal: LiteralConfig, counted: WordRows | None, last: Commit) -> Rows:
        """The rows of passages with the literal words of their texts, or those that were counted already."""
        if self.words is None:
            if last.words is not None:
                verify_words(self._folder, last.words)  # damage must not be copied under a new checksum
            self.words = GrowingDictionary(None if last.words is None else open_words(self._folder, last.words))
        n_latents = last.vocabulary.n_terms
        if counted is not None:
            return self.words.add_counted(rows, n_latents, counted)
        return self.words.add_to(rows, n_latents, cut.encoded_texts, literal, cut.fields)

    def static(self, last: Commit) -> StaticTable | None:
        """The static table.

        Raises:
            IndexFormatError: that of the last commit is damaged.
        """
        if self._static_is_new or last.static is None:
            return self._static
        return StoredStatic(self._folder, last.static, last.vocabulary.n_terms).table

    def set_static(self, table: StaticTable | None, last: Commit) -> None:
        """Takes another static table, or none.

        Raises:
            IndexFormatError: it gives another number of terms than the index has latent terms.
        """
        if table is not None:
            check_static(table, last.vocabulary.n_terms)
        self._static, self._static_is_new = table, True

    def set_files(self, table: FileTable) -> None:
        """Takes another table of files; an empty one removes it."""
        self._files = table

    def write(self, state: Commit) -> Commit:
        """Writes what is new for a commit.

        Args:
            state: of the commit, with the tables of the one before.

        Returns:
            The commit with these tables.

        Raises:
            StorageError: a table cannot be written.
        """
        words, static, files = state.words, state.static, state.files
        if self.words is not None and self.words.has_new:
            words = write_words(self._folder, state.generation, self.words.committed())
        if self._static_is_new:
            static = None if self._static is None else write_static(self._folder, state.generation, self._static)
        if self._files is not None:
            files = write_file_table(self._folder, state.generation, self._files) if self._files else None
        return dataclasses.replace(state, words=words, static=static, files=files)

    def committed(self) -> None:
        """Forgets what the commit has now; words stay, to be added to."""
        self._static, self._static_is_new, self._files = None, False, None
