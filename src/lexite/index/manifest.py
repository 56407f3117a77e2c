"""The commit point: one JSON file that names every file of the index with its checksum.

Whatever it does not name does not exist for readers, so replacing it (written beside, flushed, renamed) is the commit.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lexite.config import from_dict, to_dict
from lexite.errors import ConfigError, IndexFormatError
from lexite.files import json_checksum, read_json, write_json
from lexite.index.config import BM25Config, VocabularyInfo
from lexite.index.storage import FileRecord

COMMIT_NAME = "index.json"
SEGMENTS_NAME = "segments"
FORMAT = "lexite-index"
FORMAT_VERSION = 2
SEGMENT_PATTERN = re.compile(r"[0-9]{8}")
FILE_PATTERN = re.compile(r"[a-z_]+(-[0-9]{8})?\.(npy|bin)")


@dataclass(frozen=True, slots=True)
class ImpactsRecord:
    """The posting lists of a segment.

    Attributes:
        generation: number of the commit that wrote their files.
        scoring: what their impacts are those of; the fields of ``lexite.index.postings.ImpactScoring``.
    """

    generation: int
    scoring: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """A segment as the commit point describes it.

    Attributes:
        name: its folder's name.
        n_documents: documents in it, with deleted ones.
        n_postings: postings in it, with those of deleted documents.
        n_deleted: deleted documents.
        deletions: number of the commit that wrote its deletion files; None when nothing was ever deleted.
        impacts: its posting lists; every segment that a commit names has them.
        files: every file in the folder that belongs to it.
    """

    name: str
    n_documents: int
    n_postings: int
    files: Mapping[str, FileRecord]
    n_deleted: int = 0
    deletions: int | None = None
    impacts: ImpactsRecord | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """The state of an index.

    Attributes:
        generation: number of this commit, from 1.
        vocabulary: what made the terms.
        scoring: how searches score unless told otherwise.
        store_text: whether titles and texts are kept.
        segments: in document order.
    """

    generation: int
    vocabulary: VocabularyInfo
    scoring: BM25Config
    store_text: bool
    segments: tuple[SegmentRecord, ...] = field(default=())


def write_commit(folder: Path, commit: Commit) -> None:
    """Makes ``commit`` the state of the index in ``folder``, whole or not at all.

    Raises:
        StorageError: it cannot be written; the state before is still there.
    """
    value = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "generation": commit.generation,
        "vocabulary": {**dataclasses.asdict(commit.vocabulary), "terms_config": dict(commit.vocabulary.terms_config)},
        "scoring": to_dict(commit.scoring),
        "store_text": commit.store_text,
        "segments": [dataclasses.asdict(segment) for segment in commit.segments],
    }
    write_json(folder / COMMIT_NAME, {**value, "sha256": json_checksum(value)})


def read_commit(folder: Path) -> Commit:
    """Reads the state of the index in ``folder``.

    Raises:
        IndexFormatError: there is no index, it is damaged, or of a format this version does not know.
    """
    path = folder / COMMIT_NAME
    if not path.exists():
        raise IndexFormatError(f"{folder} {_what_is_there(folder)}")
    value = read_json(path, IndexFormatError)
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise IndexFormatError(f"{path} does not describe an index of lexite.")
    version = value.get("format_version")
    if version != FORMAT_VERSION:
        raise IndexFormatError(
            f"{path} has format version {version}, but this lexite reads {FORMAT_VERSION}. "
            "Build the index again, or use the lexite that made it."
        )
    if value.pop("sha256", None) != json_checksum(value):
        raise IndexFormatError(f"{path} is damaged: its checksum is wrong. Build the index again, or restore the file.")
    try:
        return Commit(
            generation=int(value["generation"]),
            vocabulary=VocabularyInfo(**value["vocabulary"]),
            scoring=from_dict(BM25Config, value["scoring"], str(path)),
            store_text=bool(value["store_text"]),
            segments=tuple(_segment(entry) for entry in value["segments"]),
        )
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise IndexFormatError(f"{path} is damaged: {error}.") from error


def _segment(entry: dict[str, Any]) -> SegmentRecord:
    files = {name: FileRecord(**record) for name, record in entry["files"].items()}
    odd = [name for name in files if not FILE_PATTERN.fullmatch(name)]
    if odd or not SEGMENT_PATTERN.fullmatch(entry["name"]):  # names become paths
        raise ValueError(f"it names {odd[0] if odd else entry['name']!r}")
    return SegmentRecord(**{**entry, "files": files, "impacts": ImpactsRecord(**entry["impacts"])})


def _what_is_there(folder: Path) -> str:
    if not folder.exists():
        return "does not exist. Make an index with 'lexite index'."
    if (folder / SEGMENTS_NAME).is_dir():
        return "holds no finished index: building it was stopped before the first commit. Build it again."
    return "is not an index: it has no index.json."
