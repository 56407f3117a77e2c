"""What the model gave for the last few batches of queries, so that second stages need no pass of their own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexite.backbone.base import TEXTS_PER_CHUNK, states_and_later_vectors
from lexite.kernels.threads import ForkSafeLock

if TYPE_CHECKING:
    from lexite.backbone.base import Backbone
    from lexite.backbone.states import TokenStates
    from lexite.sae import SparseCodes
    from lexite.terms import LatentTermEncoder

MOST_CHARACTERS = 1 << 17
"""Of a batch that is kept: some 30,000 tokens, whose states take 50 MB at width 384."""
BATCHES = 4
"""Batches that are kept, for searches that run side by side."""


def keepable(texts: Sequence[str]) -> bool:
    """Whether what the model gives for a batch of texts is kept: not where they are many or long.

    >>> keepable(["how do plants breathe"]), keepable(["a"] * 5000), keepable([])
    (True, False, False)
    """
    if not 0 < len(texts) <= TEXTS_PER_CHUNK or not all(isinstance(text, str) for text in texts):
        return False
    return sum(map(len, texts)) <= MOST_CHARACTERS


class Pass:
    """One pass of the model over a batch of queries.

    Args:
        states: of their tokens.
        later: makes their dense vectors of the hidden states that the pass left; it may be called once.

    Attributes:
        states: of their tokens.
    """

    def __init__(self, states: TokenStates, later: Callable[[], NDArray[np.float32]]) -> None:
        self.states, self._later = states, later
        self._vectors: NDArray[np.float32] | None = None
        self._codes: tuple[int, SparseCodes] | None = None
        self._pooling, self._coding = ForkSafeLock(), ForkSafeLock()

    def vectors(self) -> NDArray[np.float32]:
        """Their dense vectors, ``(n_texts, d)``.

        Raises:
            BackboneError: the model has no single vector per text.
        """
        with self._pooling:
            if self._vectors is None:
                self._vectors = self._later()
        return self._vectors

    def codes(self, encoder: LatentTermEncoder, k: int) -> SparseCodes:
        """The codes of their tokens, computed once: at least the ``k`` largest latents of each, by falling value.

        Args:
            encoder: the vocabulary; always the same one.
            k: latents of a token that are wanted.

        Raises:
            ModelError: the states have another width than the vocabulary reads.
        """
        with self._coding:
            if self._codes is None or self._codes[0] < k:
                self._codes = k, encoder.codes(self.states, k)
        return self._codes[1]


class RecentPasses:
    """The passes of the last few batches of queries, found by their texts. It is safe from several threads.

    A copy that arrives in another process is empty.
    """

    def __init__(self) -> None:
        self._passes: OrderedDict[tuple[str, ...], Pass] = OrderedDict()
        self._lock = ForkSafeLock()

    def __reduce__(self) -> tuple[type[RecentPasses], tuple[()]]:
        return RecentPasses, ()

    def of(self, backbone: Backbone, texts: Sequence[str]) -> Pass:
        """The pass of a batch: one that is kept, or a new one.

        Args:
            backbone: the model; always the same one.
            texts: of the queries.

        Raises:
            BackboneError: a state is NaN or infinite.
        """
        key = tuple(texts)
        with self._lock:
            known = self._passes.get(key)
            if known is not None:
                self._passes.move_to_end(key)
                return known
        states, later = states_and_later_vectors(backbone, list(texts), "query")
        new = Pass(states.check(), later)
        with self._lock:
            self._passes[key] = new
            while len(self._passes) > BATCHES:
                self._passes.popitem(last=False)
        return new
