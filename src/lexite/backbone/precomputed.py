"""A folder of token states in place of a model: enough to train a vocabulary, not to encode new text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from lexite.backbone.base import TEXTS_PER_CHUNK
from lexite.backbone.config import BackboneConfig, Kind
from lexite.backbone.states import TokenStates
from lexite.backbone.store import StateStore
from lexite.config import from_dict
from lexite.errors import BackboneError, ConfigError


class PrecomputedBackbone:
    """Token states that were computed before; :meth:`iterate` reads them.

    Where the folder says which model made the states, ``name``, ``fingerprint`` and ``config`` are that model's. A vocabulary
    trained on the states then finds its model again.

    Args:
        store: the opened folder.
    """

    def __init__(self, store: StateStore) -> None:
        self.store = store
        self.d_model = store.d_model
        self.name = store.backbone_name
        self.fingerprint = store.fingerprint
        self.precision = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}[store.dtype]
        self.config = self._model_config()

    def _model_config(self) -> BackboneConfig:
        saved = self.store.backbone.get("config")
        if not isinstance(saved, dict):
            return BackboneConfig(model=str(self.store.path))
        saved = {key: value for key, value in saved.items() if key != "device"}  # the states may be used elsewhere
        try:
            return from_dict(BackboneConfig, saved, where=str(self.store.path))
        except ConfigError as error:
            raise BackboneError(str(error)) from error

    def iterate(self, texts_per_chunk: int = TEXTS_PER_CHUNK) -> Iterator[TokenStates]:
        """The states, in order, some texts at a time."""
        return self.store.iterate(texts_per_chunk)

    def info(self) -> dict[str, Any]:
        """What is known of the model that made the states, apart from the device that it made them on."""
        known = {key: value for key, value in self.store.backbone.items() if key != "device"}
        return {**known, "name": self.name, "fingerprint": self.fingerprint, "d_model": self.d_model}

    def describe_token(self, token_id: int) -> str:
        """``"?"``: the tokenizer is not in the folder."""
        return "?"

    def encode(self, texts: Sequence[str], kind: Kind) -> TokenStates:
        """Not possible without the model; raises :class:`BackboneError`."""
        self._no_model()

    def dense(self, texts: Sequence[str], kind: Kind) -> NoReturn:
        """Not possible without the model; raises :class:`BackboneError`."""
        self._no_model()

    def dense_scores(self, queries: Sequence[str], documents: Sequence[str]) -> NoReturn:
        """Not possible without the model; raises :class:`BackboneError`."""
        self._no_model()

    def _no_model(self) -> NoReturn:
        raise BackboneError(
            f"{self.store.path} holds precomputed token states, not a model: it can train a vocabulary but cannot encode text. "
            "Name the model that made the states."
        )
