"""Where the token states of a run come from: text through a backbone, or states that were computed before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from lexite.backbone import Backbone, StateStore
from lexite.backbone.base import TEXTS_PER_CHUNK
from lexite.corpus import Document, ReadOptions, read_documents
from lexite.corpus.sources import find_source
from lexite.errors import CorpusError

CHUNK_CHARACTERS = 300_000  # about 65,000 tokens: enough texts to batch by length, and few beside the buffer
HEAD_BYTES = 1 << 20
SAMPLE_CHARACTERS = 5_000_000  # of a text that can be read only once, kept to measure the finished vocabulary on


@dataclass(frozen=True, slots=True)
class Chunk:
    """States of some texts.

    Attributes:
        states: (n, d_model).
        offsets: (texts + 1,) int64; text i has the rows ``offsets[i]:offsets[i + 1]``.
    """

    states: torch.Tensor
    offsets: npt.NDArray[np.int64]

    @property
    def n_texts(self) -> int:
        """How many texts the states come from."""
        return len(self.offsets) - 1


class StateSource(Protocol):
    """A stream of token states that can be read again from any text on.

    Attributes:
        repeatable: whether it can be read more than once.
        identity: what is compared when a run is resumed.
    """

    repeatable: bool
    identity: list[str]

    def chunks(self, skip_texts: int = 0) -> Iterator[Chunk]:
        """Chunks in order, from the text with that number on. Chunks begin at the same texts however much is skipped."""
        ...


class TextSource:
    """Documents of one or more sources, through a backbone.

    Several sources are mixed: the next document comes from the one that has given the fewest characters so far, so that
    every part of a run sees all of them, until each is read to its end.

    Args:
        sources: as :func:`lexite.corpus.read_documents` takes them.
        backbone: gives the states.
        options: field names, and whether bad records are skipped.

    Raises:
        CorpusError: a source does not exist.
    """

    def __init__(self, sources: Sequence[str | Path], backbone: Backbone, options: ReadOptions | None = None) -> None:
        self.sources = [str(source) for source in sources]
        if not self.sources:
            raise CorpusError("No text to train on was named.")
        for source in self.sources:
            find_source(source)
        self.options = (options or ReadOptions()).for_texts()
        self.backbone = backbone
        self.repeatable = "-" not in self.sources
        self.identity = [describe_source(source) for source in self.sources] + [f"backbone {backbone.fingerprint}"]
        self._kept: list[str] = []
        self._kept_characters = 0

    def texts(self) -> Iterator[str]:
        """The texts of the documents, mixed."""
        for text in mix([read_documents([source], self.options) for source in self.sources]):
            if not self.repeatable and self._kept_characters < SAMPLE_CHARACTERS:
                self._kept.append(text)
                self._kept_characters += len(text)
            yield text

    def sample(self) -> Iterator[str]:
        """The first texts again; of what can be read only once, those that were kept when it was read."""
        return self.texts() if self.repeatable else iter(self._kept)

    def chunks(self, skip_texts: int = 0) -> Iterator[Chunk]:
        """See :class:`StateSource`. Skipped texts are read, but do not go through the backbone."""
        position = 0
        for texts in text_chunks(self.texts()):
            position += len(texts)
            if position > skip_texts:
                states = self.backbone.encode(texts, "document").check(first_text=position - len(texts))
                yield Chunk(states.states, states.offsets)


class StoreSource:
    """Token states from a folder.

    Args:
        store: an opened folder of states.
    """

    repeatable = True

    def __init__(self, store: StateStore) -> None:
        self.store = store
        self.identity = [f"states {store.fingerprint}"]

    def chunks(self, skip_texts: int = 0) -> Iterator[Chunk]:
        """See :class:`StateSource`."""
        position = 0
        for states in self.store.iterate(TEXTS_PER_CHUNK):
            if position >= skip_texts:
                yield Chunk(states.check(first_text=position).states, states.offsets)
            position += states.n_texts


def describe_source(source: str) -> str:
    """A source's name with its size and a digest of how it begins (of the names and sizes of its files, for a folder)."""
    path = Path(source)
    if path.is_file():
        with open(path, "rb") as file:
            head = hashlib.sha256(file.read(HEAD_BYTES)).hexdigest()[:12]
        return f"{source} ({path.stat().st_size} bytes, {head})"
    if not path.is_dir():
        return source
    files = sorted((str(file.relative_to(path)), file.stat().st_size) for file in path.rglob("*") if file.is_file())
    digest = hashlib.sha256(repr(files).encode()).hexdigest()[:12]
    return f"{source} ({len(files)} files, {digest})"


def mix(streams: Sequence[Iterator[Document]]) -> Iterator[str]:
    """Documents of several streams, always from the stream that has given the fewest characters; ties go to the first."""
    given = dict.fromkeys(range(len(streams)), 0)
    while given:
        number = min(given, key=lambda n: (given[n], n))
        document = next(streams[number], None)
        if document is None:
            del given[number]
            continue
        text = document.full_text
        given[number] += len(text)
        yield text


def text_chunks(texts: Iterator[str]) -> Iterator[list[str]]:
    """Groups texts so that each group has about as many characters, in order."""
    chunk: list[str] = []
    characters = 0
    for text in texts:
        chunk.append(text)
        characters += len(text)
        if characters >= CHUNK_CHARACTERS or len(chunk) == TEXTS_PER_CHUNK:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk
