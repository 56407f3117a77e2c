"""Dense vectors of the hidden states that a pass for token states has anyway."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from lexite.backbone.config import Kind
from lexite.backbone.tokens import TokenSequence


class PooledModel(Protocol):
    """What is asked of a single-vector model; ``TransformerBackbone`` has it."""

    n_state_modules: int

    @property
    def dense_model(self) -> Any:
        """The whole model of sentence-transformers."""
        ...

    def applied(self, features: dict[str, Any], kind: Kind, modules: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        """Features of a batch after some more modules."""
        ...

    def pool_sequences(self, sequences: Sequence[TokenSequence], kind: Kind, vectors: dict[int, torch.Tensor]) -> None:
        """Sends sequences through all modules, and puts their vectors under the numbers of their texts."""
        ...

    def stacked(self, vectors: Mapping[int, torch.Tensor], n_texts: int) -> torch.Tensor:
        """Vectors by the numbers of their texts as one tensor."""
        ...


class PassPooling:
    """Pools the sequences of a pass that are what the dense model itself would read of their text.

    That is so for a text within one window. Of a longer text the dense model reads the first part, which is no window of the
    pass; it goes through the model afterwards, as does a text whose tokens do not count.

    Args:
        backbone: a single-vector model.
        kind: of the texts.
        framed: the sequences of the pass.
        cut: for each text, in order, the sequence that the dense model reads.
    """

    def __init__(
        self, backbone: PooledModel, kind: Kind, framed: Sequence[TokenSequence], cut: Sequence[TokenSequence]
    ) -> None:
        self._backbone, self._kind, self._cut = backbone, kind, cut
        alike = (s for s in framed if len(s.keep) and s.ids.shape == cut[s.text].ids.shape and (s.ids == cut[s.text].ids).all())
        self._texts = {id(sequence): sequence.text for sequence in alike}
        self._later = list(backbone.dense_model.named_children())[backbone.n_state_modules :]
        self._vectors: dict[int, torch.Tensor] = {}

    def pool(self, sequences: Sequence[TokenSequence], features: dict[str, Any]) -> None:
        """Sends a batch of the pass through the modules that are left. They may change what is in ``features``.

        Args:
            sequences: of the batch.
            features: after the modules that make token states.
        """
        wanted = [(row, self._texts[id(sequence)]) for row, sequence in enumerate(sequences) if id(sequence) in self._texts]
        if wanted:
            embedded = self._backbone.applied(features, self._kind, self._later)["sentence_embedding"].float().cpu()
            self._vectors.update((text, embedded[row]) for row, text in wanted)

    def vectors(self) -> NDArray[np.float32]:
        """L2-normalised vectors of all texts, ``(n_texts, d)``, once all batches were pooled."""
        rest = [sequence for sequence in self._cut if sequence.text not in self._vectors]
        if rest:
            self._backbone.pool_sequences(rest, self._kind, self._vectors)
        stacked = self._backbone.stacked(self._vectors, len(self._cut))
        vectors: NDArray[np.float32] = torch.nn.functional.normalize(stacked, dim=1).numpy()
        return vectors
