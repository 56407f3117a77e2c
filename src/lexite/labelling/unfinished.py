"""What a labelling has done, kept in a folder while it is not finished, so that another run of it goes on there.

The folder has a file for each part of the work, and ``labelling.json``: the settings, and the parts that are whole, with
checksums. A part is written beside its place, flushed and renamed, and ``labelling.json`` likewise behind it. Each part has a
digest of the settings, of all texts that were read before it, and of what was made of them before, so that nothing is taken
that comes from something else.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save

from lexite.config import differences, to_dict
from lexite.errors import StorageError
from lexite.files import atomic_write, json_checksum, read_json, storage_errors, write_json
from lexite.labelling.config import LabelConfig
from lexite.labelling.maker import LabelMaker
from lexite.progress import ProgressBar
from lexite.terms.encoder import LatentTermEncoder
from lexite.terms.vocabulary import Vocabulary
from lexite.version import __version__
from lexite.wording import counted

logger = logging.getLogger("lexite")
STATE_FILE = "labelling.json"
FORMAT, FORMAT_VERSION = "lexite-labelling", 1
OF_THE_MACHINE = ("device", "tokens_per_batch")
"""Keys of the model's configuration that say where it runs; a labelling may go on elsewhere."""
LATENTS_AT_ONCE = 256
"""Latents whose results are kept together."""


class Unfinished:
    """The folder of one labelling.

    Args:
        folder: it exists, or is made with the first part.
        settings: all that decides the result, beside the texts, as JSON values.
        parts: what is whole, by name: ``digest`` and ``sha256``.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], parts: Mapping[str, Mapping[str, str]]) -> None:
        self.folder, self._settings = folder, _as_json(settings)
        self._parts = {name: dict(part) for name, part in parts.items()}
        self._read = hashlib.sha256(json_checksum(self._settings).encode())
        self._warned = False

    @classmethod
    def begin(cls, folder: Path, settings: Mapping[str, Any], *, overwrite: bool = False) -> Unfinished:
        """Goes on with what a folder holds, or begins where there is nothing.

        Args:
            folder: the folder.
            settings: as in the class.
            overwrite: whether what was begun with other settings, or is damaged, is removed.

        Raises:
            StorageError: it holds something else, or was begun with other settings; the message names them.
        """
        listed = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        if folder.exists() and not folder.is_dir():
            raise StorageError(f"{folder} is a file, but an unfinished labelling is kept there. Move it.")
        if STATE_FILE not in listed:
            if any(not name.startswith(".") for name in listed):
                raise StorageError(f"{folder} holds something else, but an unfinished labelling is kept there. Move it.")
            return cls(folder, settings, {})
        state, trouble = _state(folder, settings)
        if trouble and not overwrite and (not state or state["parts"]):
            advice = "Go on with the same settings, or begin" if state else "Begin"
            raise StorageError(f"{trouble} {advice} anew with overwrite=True.")
        if trouble:
            logger.warning("%s The labelling begins anew.", trouble)
            with storage_errors(folder):
                shutil.rmtree(folder.resolve())
                if folder.is_symlink():
                    folder.unlink()
            return cls(folder, settings, {})
        _warn_of_another_machine(state["made_by"])
        return cls(folder, settings, state["parts"])

    @property
    def holds_something(self) -> bool:
        """Whether there is a part."""
        return bool(self._parts)

    def read(self, name: str) -> bytes | None:
        """A part that is whole and was made of what was read and made until now; None where there is none."""
        part = self._parts.get(name)
        if part is None:
            return None
        if part["digest"] != self._read.hexdigest():
            if not self._warned:
                logger.warning("The texts, or what was made of them, are not those of before. What followed is made anew.")
            self._warned = True
            return None
        try:
            content = (self.folder / name).read_bytes()
        except OSError:
            content = b""
        if hashlib.sha256(content).hexdigest() == part["sha256"]:
            return content
        logger.warning("%s is missing or damaged, and is made anew.", self.folder / name)
        return None

    def write(self, name: str, content: bytes) -> None:
        """Keeps a part.

        Raises:
            StorageError: it cannot be written; the parts before it are still there.
        """
        if not self._parts:
            self._record()  # first, so that a kill or a full disk behind the first part leaves a folder that says what it is
        with atomic_write(self.folder / name) as file:
            file.write(content)
        self._parts[name] = {"digest": self._read.hexdigest(), "sha256": hashlib.sha256(content).hexdigest()}
        self._record()

    def _record(self) -> None:
        state = {"format": FORMAT, "format_version": FORMAT_VERSION, "settings": self._settings, "made_by": _machine()}
        state["parts"] = self._parts
        write_json(self.folder / STATE_FILE, {**state, "sha256": json_checksum(state)})

    def follow(self, content: bytes) -> None:
        """Takes note of what all parts from here on are made of too."""
        self._read.update(f"{len(content)} ".encode() + content)

    def passages(self, name: str, passages: Sequence[tuple[int, str]]) -> dict[str, Any] | None:
        """Arrays that :meth:`write_arrays` kept of passages, or None. All parts from here on are made of these passages too.

        Args:
            name: of the part.
            passages: the texts, with the numbers of their documents.
        """
        for document, text in passages:
            self.follow(f"{document} ".encode() + text.encode("utf-8", "surrogatepass"))
        kept = self.read(name)
        try:
            return None if kept is None else dict(load(kept))
        except SafetensorError:
            return None

    def write_arrays(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Keeps arrays as a part."""
        self.write(name, save(dict(arrays)))

    def remove(self) -> None:
        """Removes the folder, since the labelling is finished; where it is a link, what that names, and the link."""
        if not os.path.lexists(self.folder):
            return
        try:
            shutil.rmtree(self.folder.resolve())
            if self.folder.is_symlink():
                self.folder.unlink()
        except OSError as error:
            logger.warning("%s is of no more use, but cannot be removed: %s.", self.folder, error.strerror or error)


def _state(folder: Path, settings: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """What ``labelling.json`` says, and why a labelling with these settings cannot go on with it; "" where it can."""
    path = folder / STATE_FILE
    try:
        state = read_json(path, StorageError)
    except StorageError as error:
        return {}, str(error)
    if not isinstance(state, dict) or state.get("format") != FORMAT or state.get("format_version") != FORMAT_VERSION:
        return {}, f"{path} is not of a labelling by this version of lexite."
    if state.get("sha256") != json_checksum(state):
        return {}, f"{path} is damaged: its checksum is wrong."
    changed = differences(state["settings"], _as_json(settings))
    return state, f"{folder} holds an unfinished labelling with other settings ({'; '.join(changed)})." if changed else ""


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(settings)))


def settings_of(encoder: LatentTermEncoder, config: LabelConfig, maker: LabelMaker | None) -> dict[str, Any]:
    """All that decides the labels of a vocabulary, but the texts.

    Args:
        encoder: the vocabulary.
        config: how it is labelled.
        maker: suggests further names.
    """
    model = {key: value for key, value in to_dict(encoder.backbone.config).items() if key not in OF_THE_MACHINE}
    return {
        "lexite": __version__,
        "vocabulary": encoder.fingerprint[:12],
        "labels": _digest(encoder.vocabulary),
        "k_documents": encoder.k_for("document"),
        "floor_documents": encoder.terms.floor_documents,
        **model,
        "precision": encoder.backbone.precision,
        **to_dict(config),
        "labeler": "" if maker is None else maker.name,
    }


def _digest(vocabulary: Vocabulary | None) -> str:
    """What tells the labels that a vocabulary has already, and its counts, from others."""
    if vocabulary is None:
        return ""
    described = vocabulary.described
    digest = hashlib.sha256(json.dumps([vocabulary.summary(), [list(words) for words in vocabulary.labels]]).encode())
    arrays = [vocabulary.document_counts, vocabulary.token_counts, *([] if described is None else described.arrays().values())]
    for array in arrays:
        digest.update(array.tobytes())
    if described is not None:
        digest.update(repr([described.contexts[term] for term in range(len(described.kinds))]).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:12]


def _machine() -> dict[str, Any]:
    return {"threads": torch.get_num_threads()}


def _warn_of_another_machine(before: Mapping[str, Any]) -> None:
    if before != _machine():
        threads = counted(before["threads"], "thread")
        logger.warning("The labelling had %s before: the last bits of its numbers may differ.", threads)


class Blocks:
    """JSON values of each of some latents, in blocks, those of an earlier run included.

    Args:
        kept: the folder; None keeps nothing.
        name: what is made.
        n: how many latents.
        size: latents of a block.
    """

    def __init__(self, kept: Unfinished | None, name: str, n: int, size: int) -> None:
        self._kept, self._n, self._size = kept, n, size
        self._names = {start: f"{name}-{start:07d}.json" for start in range(0, n, size)}
        self._found = {start: None if kept is None else kept.read(part) for start, part in self._names.items()}

    @property
    def n_kept(self) -> int:
        """Latents whose values are there."""
        return sum(min(self._size, self._n - start) for start, found in self._found.items() if found is not None)

    @property
    def whole(self) -> bool:
        """Whether nothing is left to make."""
        return self.n_kept == self._n

    def values(self, make: Callable[[int, int], Sequence[Any]], bar: ProgressBar) -> list[Any]:
        """The values of all latents.

        Args:
            make: makes those of a range of latents; JSON values, which come back as JSON brings them back.
            bar: counts them.
        """
        bar.go_on_from(self.n_kept)
        contents = [self._found[start] or self._made(start, make, bar) for start in self._names]
        if self._kept is not None:
            for content in contents:
                self._kept.follow(content)
        return [value for content in contents for value in json.loads(content)]

    def _made(self, start: int, make: Callable[[int, int], Sequence[Any]], bar: ProgressBar) -> bytes:
        made = make(start, min(start + self._size, self._n))
        content = json.dumps(made).encode()
        if self._kept is not None:
            self._kept.write(self._names[start], content)
        bar.advance(len(made))
        return content
