"""The commit point: one JSON file that names every file of the index with its checksum.

Readers see only the files that it names. So a commit is made by replacing this file: it is written beside, flushed, renamed.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lexite.config import from_dict, to_dict
from lexite.corpus.passages import PassageConfig
from lexite.corpus.text_fields import FieldWeights
from lexite.errors import ConfigError, IndexFormatError
from lexite.files import json_checksum, read_json, write_json
from lexite.index.config import VocabularyInfo
from lexite.index.dictionary import WordsRecord
from lexite.index.field_types import FIELD_TYPES, FieldType
from lexite.index.file_table import FilesRecord
from lexite.index.side_config import SideDataRecord, side_data_record
from lexite.index.side_files import SideLayout
from lexite.index.static import StaticRecord
from lexite.index.storage import FileRecord
from lexite.scoring.config import BM25Config, Transform, saved_scoring
from lexite.scoring.rounding import FULL_MANTISSA, MANTISSA
from lexite.scoring.transform import TRANSFORMS
from lexite.scoring.words import LiteralConfig, saved_literal

COMMIT_NAME = "index.json"
SEGMENTS_NAME = "segments"
FORMAT = "lexite-index"
FORMAT_VERSION = 6
SIDE_FILES, PLAIN_ROWS = 5, 4  # formats before packed rows: with side files, and without
WHOLE_DOCUMENTS = 3  # the format before passages and fields
LATENT_TERMS_ONLY = 2  # the format before literal words; older ones are read, and the next commit writes the present one
SEGMENT_PATTERN = re.compile(r"[0-9]{8}")
FILE_PATTERN = re.compile(r"[a-z_]+(-[0-9]{8})?\.(npy|bin|arrow|safetensors|json)")


@dataclass(frozen=True, slots=True)
class ImpactsRecord:
    """The posting lists of a segment.

    Attributes:
        generation: number of the commit that wrote their files.
        scoring: the scoring that their impacts were built for: the fields of ``lexite.index.postings.ImpactScoring``.
    """

    generation: int
    scoring: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """A segment as the commit point describes it.

    Attributes:
        name: its folder's name.
        n_documents: documents in it, deleted ones included.
        n_passages: their passages; as many as documents where none was cut.
        n_postings: postings in it, deleted documents included.
        n_terms: number of terms when it was written: the latents, and the words that the dictionary had then.
        n_deleted: deleted documents.
        deletions: number of the commit that wrote its deletion files; None when nothing was ever deleted.
        impacts: its posting lists; every segment that a commit names has them.
        files: every file in the folder that belongs to it.
    """

    name: str
    n_documents: int
    n_passages: int
    n_postings: int
    n_terms: int
    files: Mapping[str, FileRecord]
    n_deleted: int = 0
    deletions: int | None = None
    impacts: ImpactsRecord | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """The state of an index.

    Attributes:
        generation: number of this commit, from 1.
        vocabulary: what made the latent terms.
        scoring: how searches score unless told otherwise.
        store_text: whether titles and texts are kept.
        passages: how long texts are cut into passages; None: they are not.
        fields: types of the fields that documents have, by name; None: fields are not kept.
        files: the table of the files that documents came from; None when there is none.
        field_weights: how much title, headings and body count, encoded apart; None: they are encoded together.
        segments: in document order.
        literal: how literal words are indexed; None when there are none.
        words: their dictionary; None while it is empty.
        static: the table that encodes queries without the model; None when there is none.
        side_data: dense vectors and token codes of passages; None when neither is kept.
        average_lengths: mean length of the passages of living documents, by transform; of those that it is known for.
        mantissa: bits of the mantissa that weights are rounded to; all of them in an index of before version 6.
        format_version: of the file that it was read from.
    """

    generation: int
    vocabulary: VocabularyInfo
    scoring: BM25Config
    store_text: bool
    segments: tuple[SegmentRecord, ...] = field(default=())
    literal: LiteralConfig | None = None
    words: WordsRecord | None = None
    static: StaticRecord | None = None
    passages: PassageConfig | None = None
    fields: Mapping[str, FieldType] | None = field(default_factory=dict)
    files: FilesRecord | None = None
    field_weights: FieldWeights | None = None
    side_data: SideDataRecord | None = None
    average_lengths: Mapping[Transform, float] = field(default_factory=dict)
    mantissa: int = MANTISSA
    format_version: int = FORMAT_VERSION

    @property
    def n_terms(self) -> int:
        """Number of terms: latents and words."""
        return self.vocabulary.n_terms + (self.words.n_words if self.words else 0)

    @property
    def side_layout(self) -> SideLayout | None:
        """Which side files segments have; None: none."""
        return None if self.side_data is None else SideLayout(self.side_data, self.vocabulary.n_terms)


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
        "mantissa": commit.mantissa,
        "passages": to_dict(commit.passages) if commit.passages else None,
        "fields": None if commit.fields is None else dict(commit.fields),
        "field_weights": to_dict(commit.field_weights) if commit.field_weights else None,
        "literal": to_dict(commit.literal) if commit.literal else None,
        "words": dataclasses.asdict(commit.words) if commit.words else None,
        "static": dataclasses.asdict(commit.static) if commit.static else None,
        "files": dataclasses.asdict(commit.files) if commit.files else None,
        **({"side_data": dataclasses.asdict(commit.side_data)} if commit.side_data else {}),
        "average_lengths": dict(commit.average_lengths),
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
    if version not in (LATENT_TERMS_ONLY, WHOLE_DOCUMENTS, PLAIN_ROWS, SIDE_FILES, FORMAT_VERSION):
        raise IndexFormatError(
            f"{path} has format version {version}, but this lexite reads {LATENT_TERMS_ONLY} to {FORMAT_VERSION}. "
            "Build the index again, or use the lexite that made it."
        )
    if value.pop("sha256", None) != json_checksum(value):
        raise IndexFormatError(f"{path} is damaged: its checksum is wrong. Build the index again, or restore the file.")
    try:
        return _commit(value, path)
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise IndexFormatError(f"{path} is damaged: {error}.") from error


def _commit(value: dict[str, Any], path: Path) -> Commit:
    version, vocabulary = value["format_version"], VocabularyInfo(**value["vocabulary"])
    if version == LATENT_TERMS_ONLY:
        value = {**value, "literal": None, "words": None}
        value["segments"] = [{**entry, "n_terms": vocabulary.n_terms} for entry in value["segments"]]
    if version <= WHOLE_DOCUMENTS:
        value["passages"], value["fields"] = None, {}
        value["segments"] = [{**entry, "n_passages": entry["n_documents"]} for entry in value["segments"]]
    words, files, static, weights = (
        value["words"],
        value.get("files"),
        value.get("static"),
        value.get("field_weights"),
    )  # which the first indexes of this format lack
    commit = Commit(
        generation=int(value["generation"]),
        vocabulary=vocabulary,
        scoring=saved_scoring(value["scoring"], str(path)),
        store_text=bool(value["store_text"]),
        segments=tuple(_segment(entry) for entry in value["segments"]),
        literal=None if value["literal"] is None else saved_literal(value["literal"], str(path)),
        words=None if words is None else WordsRecord(**{**words, "files": _files(words)}),
        static=None if static is None else StaticRecord(**{**static, "files": _files(static)}),
        files=None if files is None else FilesRecord(**{**files, "files": _files(files)}),
        passages=None if value["passages"] is None else from_dict(PassageConfig, value["passages"], str(path)),
        fields=_fields(value["fields"]),
        field_weights=None if weights is None else from_dict(FieldWeights, weights, str(path)),
        side_data=side_data_record(value["side_data"]) if "side_data" in value else None,
        average_lengths=_average_lengths(value.get("average_lengths", {})),
        mantissa=_mantissa(value["mantissa"]) if version == FORMAT_VERSION else FULL_MANTISSA,
        format_version=version,
    )
    strange = next((s for s in commit.segments if not vocabulary.n_terms <= s.n_terms <= commit.n_terms), None)
    if strange:
        raise ValueError(f"segment {strange.name} has {strange.n_terms} terms, the index {commit.n_terms}")
    return commit


def _average_lengths(value: Any) -> dict[Transform, float]:
    if not isinstance(value, dict):
        raise ValueError(f"it names average lengths of {value!r}")
    odd = next((name for name in value if name not in TRANSFORMS), None)
    if odd is not None:
        raise ValueError(f"it names average lengths under {odd!r}")
    if not all(isinstance(length, float) and 0.0 <= length < math.inf for length in value.values()):
        raise ValueError(f"it names average lengths of {list(value.values())}")
    return dict(value)


def _mantissa(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= FULL_MANTISSA:
        raise ValueError(f"it names a mantissa of {value!r} bits")
    return value


def _fields(value: dict[str, Any] | None) -> dict[str, FieldType] | None:
    odd = next((kind for kind in (value or {}).values() if kind not in FIELD_TYPES), None)
    if odd is not None:
        raise ValueError(f"it names fields of the type {odd!r}")
    return None if value is None else dict(value)


def _segment(entry: dict[str, Any]) -> SegmentRecord:
    if not SEGMENT_PATTERN.fullmatch(entry["name"]):  # it becomes a path
        raise ValueError(f"it names {entry['name']!r}")
    if entry["n_passages"] < entry["n_documents"]:
        raise ValueError(f"segment {entry['name']} has {entry['n_documents']} documents, but {entry['n_passages']} passages")
    return SegmentRecord(**{**entry, "files": _files(entry), "impacts": ImpactsRecord(**entry["impacts"])})


def _files(entry: dict[str, Any]) -> dict[str, FileRecord]:
    odd = next((name for name in entry["files"] if not FILE_PATTERN.fullmatch(name)), None)
    if odd is not None:  # names become paths
        raise ValueError(f"it names {odd!r}")
    return {name: FileRecord(**record) for name, record in entry["files"].items()}


def _what_is_there(folder: Path) -> str:
    if not folder.exists():
        return "does not exist. Make an index with 'lexite index'."
    if (folder / SEGMENTS_NAME).is_dir():
        return "holds no finished index: building it was stopped before the first commit. Build it again."
    return "is not an index: it has no index.json."
