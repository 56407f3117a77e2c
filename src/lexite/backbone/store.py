"""Token states on disk: the cache of a collection's states, and the form in which states from elsewhere are read.

A folder holds ``states.npy`` ``(n_tokens, d_model)`` (fp32, fp16, or bf16 as its bits in uint16), ``offsets.npy``
``(n_texts + 1,)`` int64, ``token_ids.npy`` ``(n_tokens,)`` int32, optionally ``ids.json`` (one id per text), and the
manifest ``states.json``, written last. Arrays from elsewhere need only ``states.npy`` (fp32 or fp16), alone or in a folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lexite.backbone.arrays import GrowingArray, open_array
from lexite.backbone.base import TEXTS_PER_CHUNK
from lexite.backbone.config import Kind
from lexite.backbone.states import UNKNOWN_TOKEN, TokenStates, check_offsets
from lexite.errors import BackboneError
from lexite.files import check_output_folder, read_json, replace_folder, sha256_file, write_json

FORMAT = "lexite-token-states"
FORMAT_VERSION = 1
MANIFEST = "states.json"
STATES, OFFSETS, TOKEN_IDS, IDS = "states.npy", "offsets.npy", "token_ids.npy", "ids.json"
_STORED_AS = {"float32": np.float32, "float16": np.float16, "bfloat16": np.uint16}


def is_store(path: str | Path) -> bool:
    """Whether ``path`` is a folder of token states, or one array of them."""
    path = Path(path).expanduser()
    return (path.suffix == ".npy" and path.is_file()) or any((path / name).is_file() for name in (MANIFEST, STATES))


@dataclass(frozen=True)
class StateStore:
    """An opened folder of token states, memory-mapped: only what is read is loaded.

    Attributes:
        path: the folder, or the single array.
        states: ``(n_tokens, d_model)``, as stored.
        offsets: ``(n_texts + 1,)`` int64.
        token_ids: ``(n_tokens,)`` int32.
        dtype: ``"float32"``, ``"float16"`` or ``"bfloat16"``: what the stored numbers are.
        manifest: contents of ``states.json``; empty for arrays from elsewhere.
    """

    path: Path
    states: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]
    token_ids: npt.NDArray[np.int32]
    dtype: str
    manifest: Mapping[str, Any]

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = False) -> StateStore:
        """Opens a folder of token states, or arrays from elsewhere.

        Args:
            path: a folder with ``states.json``, a folder with ``states.npy``, or a ``.npy`` file. Without ``offsets.npy``,
                each row of an array from elsewhere is a text of its own.
            verify: whether to read all files and compare their checksums.

        Raises:
            BackboneError: a file is missing, damaged, of an unknown format, or does not fit the others.
        """
        path = Path(path).expanduser()
        if not path.exists():
            raise BackboneError(f"The token states {path} do not exist.")
        if path.is_file() or not (path / MANIFEST).is_file():
            return cls._open_foreign(path)
        manifest = _read_manifest(path / MANIFEST)
        if verify:
            _verify(path, manifest["files"])
        dtype = manifest["dtype"]
        states = open_array(path / STATES, 2, [_STORED_AS[dtype]])
        offsets = open_array(path / OFFSETS, 1, [np.int64])
        token_ids = open_array(path / TOKEN_IDS, 1, [np.int32])
        return cls(path, states, offsets, token_ids, dtype, manifest)._checked()

    @classmethod
    def _open_foreign(cls, path: Path) -> StateStore:
        folder, file = (path.parent, path) if path.is_file() else (path, path / STATES)
        if not file.is_file():
            raise BackboneError(f"{path} holds no token states: there is neither {MANIFEST} nor {STATES} in it.")
        states = open_array(file, 2, [np.float32, np.float16])
        alone = path.is_file()
        has_offsets, has_ids = not alone and (folder / OFFSETS).is_file(), not alone and (folder / TOKEN_IDS).is_file()
        offsets = open_array(folder / OFFSETS, 1, [np.int64]) if has_offsets else np.arange(len(states) + 1, dtype=np.int64)
        unknown = np.broadcast_to(np.int32(UNKNOWN_TOKEN), len(states))
        token_ids = open_array(folder / TOKEN_IDS, 1, [np.int32]) if has_ids else unknown
        return cls(path, states, offsets, token_ids, str(states.dtype), {})._checked()

    def _checked(self) -> StateStore:
        check_offsets(self.offsets, self.n_tokens, str(self.path))
        if len(self.token_ids) != self.n_tokens:
            raise BackboneError(f"{self.path}: there are {len(self.token_ids)} token ids for {self.n_tokens} token states.")
        if self.d_model < 1:
            raise BackboneError(f"{self.path}: the token states have no width.")
        for key, value in (("n_tokens", self.n_tokens), ("n_texts", self.n_texts), ("d_model", self.d_model)):
            if self.manifest.get(key, value) != value:
                raise BackboneError(f"{self.path}: {MANIFEST} says {key} is {self.manifest[key]}, but the arrays hold {value}.")
        return self

    @property
    def n_texts(self) -> int:
        """Number of texts."""
        return len(self.offsets) - 1

    @property
    def n_tokens(self) -> int:
        """Number of states over all texts."""
        return int(self.states.shape[0])

    @property
    def d_model(self) -> int:
        """Width of a state."""
        return int(self.states.shape[1])

    @property
    def kind(self) -> str | None:
        """``"document"`` or ``"query"``; None when it is not known."""
        return self.manifest.get("kind")

    @property
    def backbone(self) -> dict[str, Any]:
        """What the manifest says about the model that made the states; empty when it is not known."""
        return dict(self.manifest.get("backbone") or {})

    @property
    def backbone_name(self) -> str:
        """Name of the model that made the states, or that of the folder."""
        return str(self.backbone.get("name") or self.path.stem)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the model that made the states. Where no model is known, it is that of the states themselves."""
        known = self.backbone.get("fingerprint")
        return str(known) if known else sha256_file(self.path if self.path.is_file() else self.path / STATES)

    def ids(self) -> list[str] | None:
        """The id of each text, when they were stored.

        Raises:
            BackboneError: the file of ids is damaged.
        """
        if IDS not in self.manifest.get("files", {}):
            return None
        ids = read_json(self.path / IDS, BackboneError)
        if not isinstance(ids, list) or len(ids) != self.n_texts:
            raise BackboneError(f"{self.path / IDS} does not hold one id for each of the {self.n_texts} texts. It is damaged.")
        return [str(id_) for id_ in ids]

    def read(self, start: int, stop: int) -> TokenStates:
        """The states of texts ``start`` to ``stop`` (excluded), copied to memory.

        Raises:
            BackboneError: a state is NaN or infinite.
        """
        import torch

        offsets = np.asarray(self.offsets[start : stop + 1])
        first, last = int(offsets[0]), int(offsets[-1])
        rows = np.array(self.states[first:last])
        bits = torch.from_numpy(rows.view(np.int16) if self.dtype == "bfloat16" else rows)
        states = bits.view(torch.bfloat16) if self.dtype == "bfloat16" else bits
        return TokenStates(states, offsets - first, np.array(self.token_ids[first:last])).check(
            first_text=start, where=str(self.path)
        )

    def iterate(self, texts_per_chunk: int = TEXTS_PER_CHUNK) -> Iterator[TokenStates]:
        """All states, in order, ``texts_per_chunk`` texts at a time.

        Raises:
            BackboneError: a state is NaN or infinite; the message names the text.
        """
        for start in range(0, self.n_texts, max(texts_per_chunk, 1)):
            yield self.read(start, min(start + texts_per_chunk, self.n_texts))

    @classmethod
    def write(
        cls,
        path: str | Path,
        chunks: Iterable[TokenStates],
        *,
        backbone_info: Mapping[str, Any],
        kind: Kind,
        ids: Sequence[str] | None = None,
        overwrite: bool = False,
    ) -> StateStore:
        """Writes a stream of token states as a folder, in bounded memory; all of it or nothing.

        Args:
            path: the new folder.
            chunks: the states, in order; bf16, fp16 or fp32, all of one width and type.
            backbone_info: :meth:`Backbone.info` of the model that made them.
            kind: what the texts are.
            ids: the id of each text.
            overwrite: whether to replace a folder of token states that is there.

        Raises:
            BackboneError: a state is NaN or infinite, chunks do not fit together, or ids do not fit the texts.
            StorageError: the folder cannot be written, or holds something else.
        """
        target = check_output_folder(path, MANIFEST, overwrite=overwrite)
        with replace_folder(target) as folder:
            shape = _write_arrays(folder, chunks)
            if ids is not None:
                if len(ids) != shape["n_texts"]:
                    raise BackboneError(f"There are {len(ids)} ids for {shape['n_texts']} texts.")
                write_json(folder / IDS, list(ids))
            names = [STATES, OFFSETS, TOKEN_IDS] + ([IDS] if ids is not None else [])
            files = {name: sha256_file(folder / name) for name in names}
            head = {"format": FORMAT, "format_version": FORMAT_VERSION, "kind": kind}
            write_json(folder / MANIFEST, {**head, **shape, "backbone": dict(backbone_info), "files": files})
        return cls.open(target)


def _write_arrays(folder: Path, chunks: Iterable[TokenStates]) -> dict[str, Any]:
    """Appends all chunks to the three arrays; returns their shape and type for the manifest."""
    import torch

    stored = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}
    states: GrowingArray | None = None
    dtype, width, n_texts, n_tokens = "", 0, 0, 0
    with GrowingArray(folder / OFFSETS, np.int64) as offsets, GrowingArray(folder / TOKEN_IDS, np.int32) as token_ids:
        offsets.append(np.zeros(1, dtype=np.int64))
        try:
            for chunk in chunks:
                chunk.check(first_text=n_texts)
                name = stored.get(chunk.states.dtype)
                if name is None:
                    raise BackboneError(f"Token states of type {chunk.states.dtype} cannot be stored; use fp32, fp16 or bf16.")
                if states is None:
                    dtype, width = name, chunk.d_model
                    states = GrowingArray(folder / STATES, _STORED_AS[name], width)
                if (name, chunk.d_model) != (dtype, width):
                    raise BackboneError(f"Token states changed from {width} × {dtype} to {chunk.d_model} × {name} on the way.")
                rows = chunk.states.detach().cpu().contiguous()
                states.append(rows.view(torch.int16).numpy().view(np.uint16) if name == "bfloat16" else rows.numpy())
                offsets.append(chunk.offsets[1:] + n_tokens)
                token_ids.append(chunk.token_ids)
                n_texts, n_tokens = n_texts + chunk.n_texts, n_tokens + chunk.n_tokens
        finally:
            if states is not None:
                states.close()
    if states is None:
        raise BackboneError("There are no token states to store: the stream of texts was empty.")
    return {"dtype": dtype, "n_texts": n_texts, "n_tokens": n_tokens, "d_model": width}


def _read_manifest(path: Path) -> dict[str, Any]:
    manifest = read_json(path, BackboneError)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BackboneError(f"{path} is not the manifest of token states written by lexite.")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise BackboneError(f"{path}: format version {manifest.get('format_version')!r} is not known. Upgrade lexite.")
    if manifest.get("dtype") not in _STORED_AS or not isinstance(manifest.get("files"), dict):
        raise BackboneError(f"{path}: the fields dtype or files are missing or wrong. The file is damaged.")
    return manifest


def _verify(folder: Path, files: Mapping[str, str]) -> None:
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise BackboneError(f"{path} is missing.")
        if sha256_file(path) != expected:
            raise BackboneError(f"{path} is damaged: its SHA-256 is not the one in {MANIFEST}. Compute the states again.")
