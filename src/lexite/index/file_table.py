"""The files that the documents of an index came from, so that the index can be brought in step with them.

The table lies in a folder of its own. A commit that brings a new one writes it, with the number of the commit in its name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from lexite.errors import IndexFormatError
from lexite.index.storage import FileRecord, FileWriter, map_bytes, new_files, verify_file

FILES_NAME = "files"


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file as it was when its documents were taken.

    Attributes:
        path: where it is, from the root.
        size: bytes.
        modified: when its bytes were last changed, in nanoseconds.
        changed: when anything of it was last changed, its name and time included, in nanoseconds.
        looked: when it was read, in nanoseconds.
        sha256: SHA-256 of its bytes, in hexadecimal.
        documents: ids of its documents in the index.
    """

    path: str
    size: int
    modified: int
    changed: int
    looked: int
    sha256: str
    documents: tuple[str, ...]


FileTable = Mapping[str, KnownFile]
"""Name of a file, which begins the ids of its documents -> the file."""


@dataclass(frozen=True, slots=True)
class FilesRecord:
    """The table as the commit point describes it.

    Attributes:
        generation: number of the commit that wrote it.
        n_files: how many files it names.
        files: its one file.
    """

    generation: int
    n_files: int
    files: Mapping[str, FileRecord]


def table_file(generation: int) -> str:
    """The name of the table that a commit wrote.

    >>> table_file(3)
    'files-00000003.json'
    """
    return f"files-{generation:08d}.json"


def write_file_table(folder: Path, generation: int, table: FileTable) -> FilesRecord:
    """Writes a table durably.

    Args:
        folder: of the index.
        generation: number of the commit that will name it.
        table: the table.

    Raises:
        StorageError: it cannot be written.
    """
    place, name = folder / FILES_NAME, table_file(generation)
    with new_files(place, [name]), FileWriter(place / name) as file:
        file.write(json.dumps({key: asdict(known) for key, known in table.items()}).encode("utf-8"))
    return FilesRecord(generation, len(table), {name: file.record})


def read_file_table(folder: Path, record: FilesRecord | None) -> dict[str, KnownFile]:
    """Reads the table of an index; an empty one where there is none.

    Raises:
        IndexFormatError: it is missing or damaged.
    """
    if record is None:
        return {}
    path = folder / FILES_NAME / table_file(record.generation)
    if path.name not in record.files:
        raise IndexFormatError(f"{path} is not listed by the commit point; the index is damaged.")
    content = map_bytes(path, record.files[path.name]).tobytes()
    if hashlib.sha256(content).hexdigest() != record.files[path.name].sha256:
        raise IndexFormatError(f"{path} is damaged: its checksum is wrong. Build the index again, or restore the file.")
    try:
        value = json.loads(content)
        return {key: KnownFile(**{**entry, "documents": tuple(entry["documents"])}) for key, entry in value.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise IndexFormatError(f"{path} is damaged: {error}.") from error


def verify_file_table(folder: Path, record: FilesRecord) -> None:
    """Compares the table with its checksum; raises IndexFormatError."""
    for name, file in record.files.items():
        verify_file(folder / FILES_NAME / name, file)
