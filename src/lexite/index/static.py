"""The static table of an index, which encodes queries without the model.

Its two files lie in a folder of their own. A commit that brings a new table writes both, with the number of the commit in their
names.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lexite.errors import IndexFormatError, ModelError
from lexite.index.storage import FileRecord, FileWriter, map_bytes, new_files, verify_file

if TYPE_CHECKING:
    from lexite.terms.static import StaticTable

STATIC_NAME = "static"


@dataclass(frozen=True, slots=True)
class StaticRecord:
    """The table as the commit point describes it.

    Attributes:
        generation: number of the commit that wrote its files.
        n_pieces_used: number of word pieces that occurred in the documents it was counted from.
        files: its files.
    """

    generation: int
    n_pieces_used: int
    files: Mapping[str, FileRecord]


def static_files(generation: int) -> tuple[str, str]:
    """Names of the table and of its tokenizer, as written by a commit.

    >>> static_files(3)
    ('static-00000003.safetensors', 'tokenizer-00000003.json')
    """
    return f"static-{generation:08d}.safetensors", f"tokenizer-{generation:08d}.json"


class StoredStatic:
    """The table of an opened index. Its files are mapped at once, so that later commits do not take them away.

    Args:
        folder: of the index.
        record: what the commit point says.
        n_latents: latent terms of the index.

    Raises:
        IndexFormatError: a file is missing, or its length is wrong.
    """

    def __init__(self, folder: Path, record: StaticRecord, n_latents: int) -> None:
        self._place, self._record, self._n_latents = folder / STATIC_NAME, record, n_latents
        self._names = static_files(record.generation)
        missing = next((name for name in self._names if name not in record.files), None)
        if missing:
            raise IndexFormatError(f"{self._place / missing} is not listed by the commit point; the index is damaged.")
        self._contents = [map_bytes(self._place / name, record.files[name]) for name in self._names]

    @functools.cached_property
    def table(self) -> StaticTable:
        """The table, read and compared with its checksums when it is first asked for.

        Raises:
            IndexFormatError: it is damaged.
        """
        from lexite.terms.static import StaticTable

        arrays, tokenizer = (content.tobytes() for content in self._contents)
        for name, content in zip(self._names, (arrays, tokenizer), strict=True):
            if hashlib.sha256(content).hexdigest() != self._record.files[name].sha256:
                raise IndexFormatError(
                    f"{self._place / name} is damaged: its checksum is wrong. Build the index again, or restore the file."
                )
        try:
            table = StaticTable.from_bytes(arrays, tokenizer.decode("utf-8"), str(self._place / self._names[0]))
        except (ModelError, UnicodeDecodeError) as error:
            raise IndexFormatError(str(error)) from error
        check_static(table, self._n_latents)
        return table


def check_static(table: StaticTable, n_latents: int) -> None:
    """Refuses a table that gives other terms than the index has.

    Raises:
        IndexFormatError: it gives another number of terms.
    """
    if table.n_latents != n_latents:
        raise IndexFormatError(
            f"The static table gives {table.n_latents} terms, but the index has {n_latents} latent terms. "
            "Take the table of the vocabulary that the index was made with."
        )


def write_static(folder: Path, generation: int, table: StaticTable) -> StaticRecord:
    """Writes a table durably.

    Args:
        folder: of the index.
        generation: number of the commit that will name it.
        table: the table.

    Raises:
        StorageError: it cannot be written.
    """
    place, names = folder / STATIC_NAME, static_files(generation)
    files = {}
    with new_files(place, names):
        for name, content in zip(names, (table.to_bytes(), table.tokenizer.encode("utf-8")), strict=True):
            with FileWriter(place / name) as file:
                file.write(content)
            files[name] = file.record
    return StaticRecord(generation, int(np.count_nonzero(table.counts)), files)


def verify_static(folder: Path, record: StaticRecord) -> None:
    """Compares the files of a table with their checksums; raises IndexFormatError."""
    for name, file in record.files.items():
        verify_file(folder / STATIC_NAME / name, file)
