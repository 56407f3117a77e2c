"""What every backbone offers, and the stream of token states over many texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from lexite.backbone.config import BackboneConfig, Kind
from lexite.backbone.states import TokenStates

TEXTS_PER_CHUNK = 1024
"""Texts that go through a model before the next are read, wherever a stream of texts is cut into chunks."""


@runtime_checkable
class Backbone(Protocol):
    """A dense retriever as a source of token states."""

    @property
    def d_model(self) -> int:
        """Width of a token state."""
        ...

    @property
    def name(self) -> str:
        """The model's name, as a person knows it."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all that decides the states: weights, tokenizer, prompts, window, and which tokens are kept.

        Precision, device and batch size are not in it: they change states by rounding only.
        """
        ...

    @property
    def config(self) -> BackboneConfig:
        """What the backbone was loaded with."""
        ...

    @property
    def precision(self) -> str:
        """The number format in use: ``"bf16"``, ``"fp32"``, ``"int8"``, or ``"fp16"`` for precomputed states."""
        ...

    def encode(self, texts: Sequence[str], kind: Kind) -> TokenStates:
        """Last hidden states of the tokens of ``texts``, in the order of the texts.

        They are not searched for NaN: :meth:`TokenStates.check` does that, since the caller knows a text's number.

        Raises:
            BackboneError: a text is not a string, or a prompt fills the window.
        """
        ...

    def describe_token(self, token_id: int) -> str:
        """The word piece of a token id as the tokenizer writes it; ``"?"`` for -1."""
        ...

    def dense(self, texts: Sequence[str], kind: Kind) -> npt.NDArray[np.float32]:
        """What the dense retriever itself returns: ``(n_texts, d)``, L2-normalised, long texts cut.

        Raises:
            BackboneError: the model has no single vector per text (late interaction, precomputed states).
        """
        ...

    def dense_scores(self, queries: Sequence[str], documents: Sequence[str]) -> npt.NDArray[np.float32]:
        """The dense retriever's own scores, ``(n_queries, n_documents)``: cosine, or MaxSim for late interaction.

        Only the result is of the size queries × documents; everything else is computed in bounded tiles.
        """
        ...

    def info(self) -> dict[str, Any]:
        """JSON values that tell a person, and a saved file, which model gave the states and how."""
        ...


@runtime_checkable
class OnePassBackbone(Backbone, Protocol):
    """A backbone that gives token states and dense vectors from one pass of its model."""

    def states_and_vectors(self, texts: Sequence[str], kind: Kind) -> tuple[TokenStates, npt.NDArray[np.float32]]:
        """What ``encode`` and ``dense`` give."""
        ...

    def states_and_later_vectors(
        self, texts: Sequence[str], kind: Kind
    ) -> tuple[TokenStates, Callable[[], npt.NDArray[np.float32]]]:
        """What ``encode`` gives, and a function that makes of the same pass what ``dense`` gives; it may be called once."""
        ...


def states_and_vectors(backbone: Backbone, texts: Sequence[str], kind: Kind) -> tuple[TokenStates, npt.NDArray[np.float32]]:
    """Token states and dense vectors of texts, from one pass of the model where the backbone can do that.

    Raises:
        BackboneError: as :meth:`Backbone.encode` and :meth:`Backbone.dense`.
    """
    if isinstance(backbone, OnePassBackbone):
        return backbone.states_and_vectors(texts, kind)
    return backbone.encode(texts, kind), backbone.dense(texts, kind)


def states_and_later_vectors(
    backbone: Backbone, texts: Sequence[str], kind: Kind
) -> tuple[TokenStates, Callable[[], npt.NDArray[np.float32]]]:
    """Token states of texts, and a function that makes their dense vectors, of the same pass where the backbone can do that.

    Raises:
        BackboneError: as :meth:`Backbone.encode`; the function, as :meth:`Backbone.dense`.
    """
    if isinstance(backbone, OnePassBackbone):
        return backbone.states_and_later_vectors(texts, kind)
    return backbone.encode(texts, kind), lambda: backbone.dense(texts, kind)


def iterate_states(
    backbone: Backbone, texts: Iterable[str], kind: Kind, *, texts_per_chunk: int = TEXTS_PER_CHUNK
) -> Iterator[TokenStates]:
    """Encodes a stream of texts chunk by chunk, in order, with memory for one chunk.

    The same texts in chunks of the same size give bit-identical states on one machine with one number of threads.

    Args:
        backbone: the model.
        texts: any iterable of texts; read once.
        kind: which prompt is put before each text.
        texts_per_chunk: texts per yielded batch. Inside a chunk, texts of like length share a batch of the model.

    Raises:
        BackboneError: a state is NaN or infinite; the message names the text by its number in the stream.
    """
    stream = iter(texts)
    first = 0
    while chunk := list(islice(stream, max(texts_per_chunk, 1))):
        yield backbone.encode(chunk, kind).check(first_text=first)
        first += len(chunk)
