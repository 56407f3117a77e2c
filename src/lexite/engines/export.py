"""Writing an index as files that an engine loads: in parts, each whole or not there, and resumable after a kill.

The folder of an export holds ``export.json``, parts ``part-00000`` and so on, and what the engine must be told before.
``export.json`` names the parts that are finished, with checksums, and the document with which the next one begins. It is
written anew, atomically, behind each part. Whoever runs the same export again goes on there.
"""

from __future__ import annotations

import contextlib
import gzip
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from lexite.config import differing
from lexite.engines.documents import engine_documents
from lexite.engines.export_checks import check_documents, collection_of
from lexite.engines.export_settings import Compression, ExportSettings
from lexite.engines.forms import Collection, Form, form
from lexite.engines.forms.base import WholeForm
from lexite.engines.routes import Route
from lexite.engines.statistics import Statistics, statistics_of
from lexite.errors import ConfigError, IndexFormatError, MissingExtraError, StorageError
from lexite.files import atomic_write, json_checksum, read_json, sha256_file, write_json
from lexite.progress import progress

if TYPE_CHECKING:
    from lexite.index import BM25Index
    from lexite.scoring.config import BM25Config

MANIFEST = "export.json"
FORMAT, FORMAT_VERSION = "lexite-export", 1
_SUFFIXES: dict[Compression, str] = {"none": "", "gzip": ".gz", "zstd": ".zst"}


@dataclass(frozen=True)
class FinishedPart:
    """A part that is whole.

    Attributes:
        name: of the file.
        passages: in it.
        documents: in it.
        bytes: of the file.
        sha256: of the file.
        next_document: number of the document with which the next part begins; None: this is the last one.
    """

    name: str
    passages: int
    documents: int
    bytes: int
    sha256: str
    next_document: int | None


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        folder: where.
        route: what documents hold.
        parts: the files.
        resumed: how many of them were there before.
        setup: names of the files with what the engine must be told before.
    """

    folder: Path
    route: Route
    parts: tuple[FinishedPart, ...]
    resumed: int
    setup: tuple[str, ...]

    @property
    def n_documents(self) -> int:
        """Documents in all parts."""
        return sum(part.documents for part in self.parts)

    @property
    def n_passages(self) -> int:
        """Passages in all parts."""
        return sum(part.passages for part in self.parts)

    @property
    def n_bytes(self) -> int:
        """Bytes of all parts."""
        return sum(part.bytes for part in self.parts)


def export_index(
    index: BM25Index,
    folder: str | Path,
    settings: ExportSettings,
    *,
    scoring: BM25Config | None = None,
    overwrite: bool = False,
    show_progress: bool = False,
) -> Exported:
    """Writes the living documents of an index as files for an engine.

    An export that was stopped goes on where it was, when it is called again with the same settings for the same state of the
    index.

    Args:
        index: the index.
        folder: where; new, empty, or with such an export.
        settings: what is written.
        scoring: how the engine is to score; None: as the index does.
        overwrite: whether an export that is there is replaced.
        show_progress: whether to show progress on stderr.

    Raises:
        ConfigError: the form has no such route, or the route cannot express the scoring.
        CorpusError: ids or fields that the engine cannot hold; nothing has been written.
        StorageError: the folder holds something else, or a finished export, or cannot be written.
        IndexFormatError: the unfinished export that is there is of another state of the index.
    """
    chosen = form(settings.to)
    _check_settings(settings, chosen)
    statistics = statistics_of(index, scoring)
    collection = collection_of(index, chosen, settings, statistics)
    check_documents(index, chosen, settings.to)
    place = Path(folder)
    state = _state(index, settings, collection, statistics)
    parts = _begin(place, state, overwrite)
    setup = chosen.setup(collection)
    for name, text in setup.items():
        with atomic_write(place / name, "w") as file:
            file.write(text)
    state = {**state, "setup": list(setup)}
    resumed = len(parts)
    with progress("Exporting", index.n_documents, "documents", show_progress) as bar:
        bar.go_on_from(sum(part.documents for part in parts))
        for part in _written(index, place, settings, chosen, collection, statistics, parts):
            parts.append(part)
            _write_manifest(place, state, parts, complete=False)
            bar.advance(part.documents)
    _write_manifest(place, state, parts, complete=True)
    return Exported(place, collection.route, tuple(parts), resumed, tuple(setup))


def _check_settings(settings: ExportSettings, chosen: Form) -> None:
    if settings.part_size < 1:
        raise ConfigError(f"part_size is {settings.part_size}, but must be at least 1.")
    if settings.compress not in _SUFFIXES:
        raise ConfigError(f"compress is '{settings.compress}'. Choose one of {', '.join(_SUFFIXES)}.")
    if settings.compress != "none" and chosen.suffix == ".parquet":
        raise ConfigError("Parquet files are compressed inside. Leave compress=... out.")
    if settings.compress == "zstd":
        _zstandard()


def _state(index: BM25Index, settings: ExportSettings, collection: Collection, statistics: Statistics) -> dict[str, Any]:
    """What an export is of. Two exports of the same state give the same parts."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "settings": {**asdict(settings), "route": collection.route.name, "scale": collection.route.scale},
        "text": collection.text,
        "fields": dict(collection.fields),
        "pivot": collection.pivot if collection.route.saturates else None,
        "generation": index.generation,
        "n_documents": index.n_documents,
        "statistics": statistics.to_json(),
    }


def _begin(place: Path, state: dict[str, Any], overwrite: bool) -> list[FinishedPart]:
    """Makes the folder ready; returns the parts that are finished."""
    if place.is_dir() and any(place.iterdir()):
        if not (place / MANIFEST).exists():
            raise StorageError(f"{place} is not empty and holds no export. Choose another output folder.")
        found = read_manifest(place)
        if not overwrite:
            return _resumed(place, state, found)
        for part in found["parts"]:
            (place / part["name"]).unlink(missing_ok=True)
    elif place.exists() and not place.is_dir():
        raise StorageError(f"{place} is a file, not a folder. Choose another output folder.")
    _write_manifest(place, state, [], complete=False)
    _clear(place)
    return []


def _resumed(place: Path, state: dict[str, Any], found: dict[str, Any]) -> list[FinishedPart]:
    if found["complete"]:
        raise StorageError(f"{place} holds a finished export. Choose another output folder, or replace it with overwrite=True.")
    if other := differing(_chosen(found), _chosen(state), ", not "):
        raise IndexFormatError(
            f"{place} holds an unfinished export with other settings: {other}. "
            "Export with the same settings, or begin anew with overwrite=True."
        )
    if any(found.get(key) != state[key] for key in state):
        raise IndexFormatError(
            f"{place} holds an unfinished export of another state of the index, which cannot go on. Begin anew with "
            "overwrite=True."
        )
    parts = [FinishedPart(**part) for part in found["parts"]]
    for part in parts:
        path = place / part.name
        if not path.is_file() or path.stat().st_size != part.bytes or sha256_file(path) != part.sha256:
            raise IndexFormatError(f"{path} is missing or damaged. Begin anew with overwrite=True.")
    _clear(place)
    return parts


def _chosen(state: Mapping[str, Any]) -> dict[str, Any]:
    """What a person chose of an export, with the scoring that its statistics were made for."""
    settings = {key: state.get(key) for key in ("settings", "text", "fields", "pivot")}
    return {**settings, "scoring": (state.get("statistics") or {}).get("scoring")}


def _clear(place: Path) -> None:
    """Takes away what a killed process left half written."""
    for left in place.glob(".*.tmp"):
        left.unlink(missing_ok=True)


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """``export.json`` of an export.

    Raises:
        IndexFormatError: there is none, or it is damaged.
    """
    path = Path(folder) / MANIFEST
    value = read_json(path, IndexFormatError)
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise IndexFormatError(f"{path} does not describe an export.")
    if value.get("format_version") != FORMAT_VERSION:
        raise IndexFormatError(f"{path} has format version {value.get('format_version')}; this lexite reads {FORMAT_VERSION}.")
    if value.get("sha256") != json_checksum(value):
        raise IndexFormatError(f"{path} is damaged: its checksum is wrong. Export the index again.")
    names = [part["name"] for part in value["parts"]]
    if any(Path(name).name != name for name in names):  # names become paths
        raise IndexFormatError(f"{path} names a part outside its folder.")
    return value


def _write_manifest(place: Path, state: dict[str, Any], parts: list[FinishedPart], *, complete: bool) -> None:
    value = {**state, "parts": [asdict(part) for part in parts], "complete": complete}
    write_json(place / MANIFEST, {**value, "sha256": json_checksum(value)})


def _written(
    index: BM25Index,
    place: Path,
    settings: ExportSettings,
    chosen: Form,
    collection: Collection,
    statistics: Statistics,
    before: list[FinishedPart],
) -> Iterator[FinishedPart]:
    """Writes the parts that are missing, and gives each when it is whole."""
    if before and before[-1].next_document is None:
        return
    suffix = chosen.suffix + _SUFFIXES[settings.compress]
    if hasattr(chosen, "write"):
        name = f"index{suffix}"
        with _opened(place / name, settings.compress) as file:
            n_passages, _ = cast(WholeForm, chosen).write(file, index, statistics, collection)
        yield _finished(place / name, n_passages, index.n_documents, None)
        return
    number = len(before)
    first = before[-1].next_document or 0 if before else 0
    along = {"text": collection.text, "fields": bool(collection.fields)}
    documents = engine_documents(index, collection.route, statistics, first_document=first, **along)
    waiting = next(documents, None)
    while waiting is not None:
        name, n_documents, n_passages = f"part-{number:05d}{suffix}", 0, 0
        with _opened(place / name, settings.compress) as file:
            part = chosen.part(file, collection)
            while waiting is not None and (not n_documents or part.n_bytes < settings.part_size):
                part.add(waiting)
                n_documents, n_passages = n_documents + 1, n_passages + len(waiting)
                waiting = next(documents, None)
            part.close()
        yield _finished(place / name, n_passages, n_documents, None if waiting is None else waiting[0].number)
        number += 1


def _finished(path: Path, n_passages: int, n_documents: int, next_document: int | None) -> FinishedPart:
    return FinishedPart(path.name, n_passages, n_documents, path.stat().st_size, sha256_file(path), next_document)


@contextlib.contextmanager
def _opened(path: Path, compress: Compression) -> Iterator[IO[bytes]]:
    """A file that appears whole or not at all; the same content gives the same bytes."""
    with atomic_write(path) as file:
        if compress == "gzip":
            with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as packed:
                yield cast(IO[bytes], packed)
        elif compress == "zstd":
            with _zstandard().ZstdCompressor(level=6).stream_writer(file, closefd=False) as packed:
                yield packed
        else:
            yield file


def _zstandard() -> Any:
    try:
        return importlib.import_module("zstandard")
    except ImportError:
        raise MissingExtraError("zstandard", "zstd", "Compressing with zstd") from None
