"""A tiny backbone (states from hashed word pieces) and encoders over it, for the tests of this room."""

from __future__ import annotations

import hashlib
import re
import zlib

import numpy as np
import pytest
import torch

from lexite.backbone.config import BackboneConfig
from lexite.backbone.states import TokenStates
from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.terms import LatentTermEncoder, ModelDetails, TermsConfig

WIDTH, LATENTS, K = 12, 64, 4


class FakeBackbone:
    """Tokens are lower-case words in pieces of four letters; a state depends on the piece and the kind alone."""

    d_model, name, precision = WIDTH, "fake", "fp32"

    def __init__(self, config: BackboneConfig | None = None, salt: str = "") -> None:
        self.config = config or BackboneConfig(model="fake-model", precision="fp32")
        self.fingerprint = hashlib.sha256(f"{salt}{self.config.document_prompt}".encode()).hexdigest()
        self.pieces: list[str] = []
        self.chunks: list[int] = []

    def _pieces(self, text: str) -> list[str]:
        words = re.findall(r"\w+|[^\w\s]", text.lower())
        return [("##" if i else "") + word[i : i + 4] for word in words for i in range(0, len(word), 4)]

    def _id(self, piece: str) -> int:
        if piece not in self.pieces:
            self.pieces.append(piece)
        return self.pieces.index(piece)

    def encode(self, texts, kind):
        self.chunks.append(len(texts))
        tokens = [self._pieces(text) for text in texts]
        rows = [self._state(piece, kind) for pieces in tokens for piece in pieces]
        states = torch.from_numpy(np.array(rows, dtype=np.float32).reshape(-1, WIDTH))
        ids = np.array([self._id(piece) for pieces in tokens for piece in pieces], dtype=np.int32)
        return TokenStates(states, np.cumsum([0, *map(len, tokens)]).astype(np.int64), ids)

    def _state(self, piece: str, kind: str) -> np.ndarray:
        if piece == "nan":
            return np.full(WIDTH, np.nan, dtype=np.float32)
        seed = zlib.crc32((piece if kind == "document" else f"q{piece}").encode())
        return np.random.default_rng(seed).standard_normal(WIDTH).astype(np.float32)

    def describe_token(self, token_id):
        return self.pieces[token_id] if token_id >= 0 else "?"

    def dense(self, texts, kind):
        raise NotImplementedError

    def dense_scores(self, queries, documents):
        raise NotImplementedError

    def info(self):
        return {"name": self.name}


def random_sae(d_model: int = WIDTH, n_latents: int = LATENTS, k: int = K, seed: int = 0) -> SparseAutoencoder:
    generator = torch.Generator().manual_seed(seed)
    encoder = torch.randn(n_latents, d_model, generator=generator)
    decoder = torch.nn.functional.normalize(torch.randn(n_latents, d_model, generator=generator), dim=1)
    bias = torch.randn(d_model, generator=generator) * 0.1
    return SparseAutoencoder(SAEConfig(d_model, n_latents, k), encoder, torch.zeros(n_latents), decoder, bias, precision="fp32")


TEXTS = [
    "Photosynthesis turns sunlight into sugar.",
    "",
    "The bank of the river was muddy, and the river was high.",
    "The bank raised its interest rates again and again.",
    "Otters live along the river bank.",
]


@pytest.fixture
def texts() -> list[str]:
    return list(TEXTS)


@pytest.fixture
def make_backbone():
    return FakeBackbone


@pytest.fixture
def make_sae():
    return random_sae


@pytest.fixture
def encoder() -> LatentTermEncoder:
    """An encoder that drops no terms."""
    details = ModelDetails(name="tiny", training_data="five sentences")
    return LatentTermEncoder(FakeBackbone(), random_sae(), TermsConfig(floor_documents=0.0, floor_queries=0.0), details=details)
