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
from lexite.training.shares import WHOLE, Share

CHUNK_CHARACTERS = 300_000  # about 65,000 tokens: enough texts to batch by length, and few beside the buffer
HEAD_BYTES = 1 << 20
SAMPLE_CHARACTERS = 5_000_000  # of a text that can be read only once, kept to measure the finished vocabulary on


@dataclass(frozen=True, slots=True)
class Chunk:
    """States of some texts.

    Attributes:
        states: (n, d_model).
        offsets: (texts + 1,) int64; text i has the rows ``offsets[i]:offsets[i + 1]``.
        owners: (all texts,) int64, where ranks share the texts: the rank of each; states and offsets are those of this rank's.
        lengths: (all texts,) int64 tokens of each, once the ranks have told each other.
        first: number of its first text in a pass, where only some chunks are made.
    """

    states: torch.Tensor
    offsets: npt.NDArray[np.int64]
    owners: npt.NDArray[np.int64] | None = None
    lengths: npt.NDArray[np.int64] | None = None
    first: int = 0

    @property
    def n_texts(self) -> int:
        """How many texts the chunk is of, on all ranks."""
        return len(self.offsets) - 1 if self.owners is None else len(self.owners)

    @property
    def n_tokens(self) -> int:
        """How many tokens these have."""
        return len(self.states) if self.lengths is None else int(self.lengths.sum())


class StateSource(Protocol):
    """A stream of token states that can be read again from any text on.

    Attributes:
        repeatable: whether it can be read more than once.
        identity: what is compared when a run is resumed.
    """

    repeatable: bool
    identity: list[str]

    def chunks(self, skip_texts: int = 0, share: Share = WHOLE) -> Iterator[Chunk]:
        """Chunks in order, from the text with that number on. Chunks begin at the same texts however much is skipped.

        With a share that is not the whole, there are states of this rank's texts only (:meth:`Share.deal`). ``share`` is not
        given where a process trains alone.
        """
        ...


class DivisibleSource(StateSource, Protocol):
    """A stream of which some processes make the chunks by turns, each whole."""

    def chunks_by_turns(self, skip_texts: int, turn: Share) -> Iterator[Chunk]:
        """Every so many-th chunk, from the text with that number on; the first rank begins. Others are passed over."""
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

    def chunks(self, skip_texts: int = 0, share: Share = WHOLE) -> Iterator[Chunk]:
        """See :class:`StateSource`. Skipped texts are read, but do not go through the backbone."""
        for first, texts in groups_of_chunks(text_chunks(self.texts()), skip_texts, share.size):
            if share == WHOLE:
                states = self.backbone.encode(texts, "document").check(first_text=first)
                yield Chunk(states.states, states.offsets)
                continue
            owners = share.deal([len(text) for text in texts])
            own = [text for text, owner in zip(texts, owners.tolist(), strict=True) if owner == share.rank]
            states = self.backbone.encode(own, "document")
            states.check(where=f"the share of rank {share.rank} in the texts from {first} on")
            yield Chunk(states.states, states.offsets, owners)

    def chunks_by_turns(self, skip_texts: int, turn: Share) -> Iterator[Chunk]:
        """See :class:`DivisibleSource`. A chunk is the one that a process alone makes, bit for bit."""
        for number, (first, texts) in enumerate(groups_of_chunks(text_chunks(self.texts()), skip_texts, 1)):
            if number % turn.size == turn.rank:
                states = self.backbone.encode(texts, "document").check(first_text=first)
                yield Chunk(states.states, states.offsets, first=first)


class StoreSource:
    """Token states from a folder.

    Args:
        store: an opened folder of states.
    """

    repeatable = True

    def __init__(self, store: StateStore) -> None:
        self.store = store
        self.identity = [f"states {store.fingerprint}"]

    def chunks(self, skip_texts: int = 0, share: Share = WHOLE) -> Iterator[Chunk]:
        """See :class:`StateSource`."""
        position = 0
        for states in self.store.iterate(TEXTS_PER_CHUNK):
            if position >= skip_texts:
                states.check(first_text=position)
                yield Chunk(states.states, states.offsets) if share == WHOLE else own_part(states.states, states.offsets, share)
            position += states.n_texts


def own_part(states: torch.Tensor, offsets: npt.NDArray[np.int64], share: Share) -> Chunk:
    """A rank's part of states that every rank can read."""
    lengths = np.diff(offsets)
    owners = share.deal(lengths.tolist())
    is_own = owners == share.rank
    own_offsets = np.concatenate([[0], lengths[is_own].cumsum()]).astype(np.int64)
    return Chunk(states[torch.from_numpy(np.repeat(is_own, lengths))], own_offsets, owners)


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


def groups_of_chunks(chunks: Iterator[list[str]], skip_texts: int, size: int) -> Iterator[tuple[int, list[str]]]:
    """Joins so many chunks that each rank gets the texts of about one. Chunks before a text are left out.

    Groups begin at a boundary of chunks, so a run goes on from such a boundary with any number of ranks.

    Args:
        chunks: texts, in order.
        skip_texts: number of the first text that is wanted.
        size: chunks of a group.

    Returns:
        The number of the first text of each group, and its texts.
    """
    group: list[str] = []
    position = joined = 0
    for texts in chunks:
        position += len(texts)
        if position <= skip_texts:
            continue
        group, joined = [*group, *texts], joined + 1
        if joined == size:
            yield position - len(group), group
            group, joined = [], 0
    if group:
        yield position - len(group), group
