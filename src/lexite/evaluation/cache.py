"""Token states and dense vectors of a collection, kept on the disk so that variants are compared without the backbone."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from lexite.backbone.base import TEXTS_PER_CHUNK
from lexite.corpus.passages import CutDocuments, PassageConfig, cut_documents
from lexite.corpus.text_fields import FieldWeights
from lexite.errors import BackboneError, LexiteError
from lexite.evaluation.judged import JudgedCollection, TextDigest, digest_texts
from lexite.files import check_output_folder, read_json, replace_folder, sha256_file, storage_errors, write_json
from lexite.progress import progress
from lexite.search.indexing import chunks

if TYPE_CHECKING:
    from lexite.backbone import StateStore, TokenStates
    from lexite.backbone.config import Kind
    from lexite.corpus import Document
    from lexite.terms import LatentTermEncoder

logger = logging.getLogger("lexite")
MARKER = "lexite-state-cache.json"
TOKENS_PER_CHUNK = 250_000  # on average; what the encoder's own chunks of text come to
_FORMAT_VERSION = 1
T = TypeVar("T")


class StateCache:
    """A folder of token states and dense vectors that a backbone gave for collections.

    The key of an entry covers everything that decides it: the texts in their order, the backbone's fingerprint (weights,
    tokenizer, prompts, window, kept tokens), its precision, and whether the texts are queries or documents. Checksums are
    verified when an entry is opened; a damaged entry is reported in the log and made anew. Entries are never deleted. Delete
    the folder to win the space back (2 bytes x d_model per token for bf16 states, 4 bytes x d per text for vectors).

    Args:
        folder: where entries lie; made when missing.
        encoder: what fills missing entries; only its backbone matters.
        show_progress: whether progress is shown on stderr.

    Raises:
        StorageError: the folder cannot be written to, or holds something else.
    """

    def __init__(self, folder: str | Path, encoder: LatentTermEncoder, show_progress: bool = False) -> None:
        self.folder, self.encoder, self.show_progress = Path(folder), encoder, show_progress
        self.backbone = encoder.backbone
        check_output_folder(self.folder, MARKER, overwrite=True)
        if not (self.folder / MARKER).exists():
            write_json(self.folder / MARKER, {"format": "lexite-state-cache", "format_version": _FORMAT_VERSION})

    def states(self, collection: JudgedCollection, kind: Kind) -> Iterator[TokenStates]:
        """Token states of the collection's whole documents or its queries, in order, chunk by chunk, from the disk."""
        n_texts = _count(collection, kind)
        store = self._store(collection, kind, _digest(collection, kind), n_texts, _texts(collection, kind))
        return store.iterate(_texts_per_chunk(store))

    def documents(
        self, collection: JudgedCollection, passages: PassageConfig | None = None, weights: FieldWeights | None = None
    ) -> Iterator[tuple[list[Document], CutDocuments, TokenStates]]:
        """The collection's documents, in order, some at a time, with the token states of their passages, from the disk.

        Args:
            collection: the collection.
            passages: how long texts are cut into passages; None leaves them whole.
            weights: of title, headings and body, which give states in place of passages; None: passages.
        """
        digest, n_texts = _counted_digest(_encoded_texts(collection, passages, weights))
        texts = _encoded_texts(collection, passages, weights)
        store = self._store(collection, "document", digest, n_texts, texts)
        place = 0
        for some in chunks(collection.read(), _texts_per_chunk(store)):
            cut = cut_documents(some, passages, weights)
            yield some, cut, store.read(place, place + len(cut.encoded_texts))
            place += len(cut.encoded_texts)

    def _store(self, collection: JudgedCollection, kind: Kind, digest: str, n_texts: int, texts: Iterable[str]) -> StateStore:
        """The store of some texts, made when it is not there or damaged."""
        from lexite.backbone import StateStore

        path = self._entry(collection, kind, "states", digest)

        def build() -> None:
            states = self._counted(self.encoder.iterate_states(texts, kind), collection, kind, n_texts)
            StateStore.write(path, states, backbone_info=self.backbone.info(), kind=kind, overwrite=True)

        return _open_or_build(path, lambda: _whole(StateStore.open(path, verify=True), n_texts), build)

    def vectors(self, collection: JudgedCollection, kind: Kind) -> npt.NDArray[np.float32]:
        """Dense vectors of the collection's documents or queries, ``(n_texts, d)``, memory-mapped.

        Raises:
            BackboneError: the backbone has no single vector per text.
        """
        return self._vectors(collection, kind, _digest(collection, kind), _count(collection, kind), _texts(collection, kind))

    def passage_vectors(self, collection: JudgedCollection, passages: PassageConfig | None = None) -> npt.NDArray[np.float32]:
        """Dense vectors of the passages of the collection's documents, in order, ``(n_passages, d)``, memory-mapped.

        Args:
            collection: the collection.
            passages: how long texts are cut into passages; None leaves them whole.

        Raises:
            BackboneError: the backbone has no single vector per text.
        """
        digest, n_texts = _counted_digest(_encoded_texts(collection, passages, None))
        return self._vectors(collection, "document", digest, n_texts, _encoded_texts(collection, passages, None))

    def _vectors(
        self, collection: JudgedCollection, kind: Kind, digest: str, n_texts: int, texts: Iterator[str]
    ) -> npt.NDArray[np.float32]:
        """The vectors of some texts, made when they are not there or damaged."""
        path = self._entry(collection, kind, "vectors", digest)

        def build() -> None:
            with self._bar(collection, kind, n_texts) as bar:
                self._write_vectors(path, texts, n_texts, kind, bar)

        return _open_or_build(path, lambda: _open_vectors(path, n_texts), build)

    def _entry(self, collection: JudgedCollection, kind: Kind, what: str, texts: str) -> Path:
        key = {
            "texts": texts,
            "backbone": getattr(self.backbone, "states_fingerprint", self.backbone.fingerprint),
            "precision": self.backbone.precision,
            "kind": kind,
        }
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        readable = re.sub(r"[^\w.-]+", "_", collection.name)
        return self.folder / f"{readable}-{kind}-{what}-{digest[:16]}"

    def _counted(
        self, states: Iterator[TokenStates], collection: JudgedCollection, kind: Kind, n_texts: int
    ) -> Iterator[TokenStates]:
        with self._bar(collection, kind, n_texts) as bar:
            for chunk in states:
                yield chunk
                bar.advance(chunk.n_texts)

    def _bar(self, collection: JudgedCollection, kind: Kind, n_texts: int) -> Any:
        return progress(f"{collection.name}: backbone", n_texts, f"{kind}s", self.show_progress)

    def _write_vectors(self, path: Path, texts: Iterator[str], n_texts: int, kind: Kind, bar: Any) -> None:
        done = 0
        with replace_folder(path) as folder:
            with open(folder / "vectors.npy", "wb") as file:  # not a memory map: a full disk would kill the process
                while chunk := list(islice(texts, TEXTS_PER_CHUNK)):
                    vectors = np.ascontiguousarray(self.backbone.dense(chunk, kind), dtype="<f4")
                    if done == 0:
                        header = {"descr": "<f4", "fortran_order": False, "shape": (n_texts, vectors.shape[1])}
                        np.lib.format.write_array_header_1_0(file, header)
                    file.write(vectors.tobytes())
                    done += len(chunk)
                    bar.advance(len(chunk))
            checksum = sha256_file(folder / "vectors.npy")
            write_json(folder / "vectors.json", {"format_version": _FORMAT_VERSION, "n_texts": done, "sha256": checksum})


def _open_or_build(path: Path, open_entry: Callable[[], T], build: Callable[[], None]) -> T:
    """Opens a cache entry; makes it first when it is missing, and again when it is damaged."""
    if path.exists():
        try:
            return open_entry()
        except LexiteError as error:
            logger.warning("An entry of the cache is damaged and is made again: %s", error)
            with storage_errors(path):
                shutil.rmtree(path)
    build()
    return open_entry()


def _open_vectors(path: Path, n_texts: int) -> npt.NDArray[np.float32]:
    manifest, file = read_json(path / "vectors.json", BackboneError), path / "vectors.npy"
    try:
        if manifest["format_version"] != _FORMAT_VERSION:
            raise BackboneError(
                f"{path / 'vectors.json'} has format version {manifest['format_version']}, not {_FORMAT_VERSION}."
            )
        if manifest["n_texts"] != n_texts or manifest["sha256"] != sha256_file(file):
            raise BackboneError(f"{file} does not have the checksum or the number of texts that vectors.json says.")
        vectors: npt.NDArray[np.float32] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise BackboneError(f"{path} cannot be read: {error}.") from error
    return vectors


def _whole(store: StateStore, n_texts: int) -> StateStore:
    if not store.manifest:
        raise BackboneError(f"{store.path} has lost its manifest.")
    if store.n_texts != n_texts:
        raise BackboneError(f"{store.path} holds the states of {store.n_texts} texts, but the collection has {n_texts}.")
    return store


def _texts_per_chunk(store: StateStore) -> int:
    per_text = max(store.n_tokens // max(store.n_texts, 1), 1)
    return min(TEXTS_PER_CHUNK, max(TOKENS_PER_CHUNK // per_text, 1))


def _encoded_texts(collection: JudgedCollection, passages: PassageConfig | None, weights: FieldWeights | None) -> Iterator[str]:
    return (text for some in chunks(collection.read()) for text in cut_documents(some, passages, weights).encoded_texts)


def _counted_digest(texts: Iterable[str]) -> tuple[str, int]:
    """The digest of a stream of texts, and how many there are."""
    digest, n_texts = TextDigest(), 0
    for text in texts:
        digest.add(text)
        n_texts += 1
    return digest.hexdigest(), n_texts


def _digest(collection: JudgedCollection, kind: Kind) -> str:
    return collection.digest if kind == "document" else digest_texts(collection.query_texts)


def _texts(collection: JudgedCollection, kind: Kind) -> Iterator[str]:
    return collection.texts() if kind == "document" else iter(collection.query_texts)


def _count(collection: JudgedCollection, kind: Kind) -> int:
    return len(collection.document_ids) if kind == "document" else len(collection.queries)
