"""A backbone without a model, a random vocabulary over it, and small judged collections."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from lexite.backbone import TokenStates
from lexite.backbone.config import BackboneConfig
from lexite.errors import BackboneError
from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.terms import LatentTermEncoder

D_MODEL = 16
PETS = {
    "d1": "cats purr loudly near warm ovens",
    "d2": "dogs bark loudly near fences",
    "d3": "birds sing early every morning",
    "d4": "cats hunt birds early every morning",
    "d5": "fish swim silently",
    "q9": "dogs bark loudly near fences again",
}
PET_QUERIES = {"q1": "cats hunt birds", "q2": "dogs bark", "q9": "dogs bark near fences", "q8": "silently swim"}
PET_QRELS = {"q1": {"d4": 2, "d3": 1}, "q2": {"d2": 1}, "q9": {"q9": 1, "d2": 1}}


def word_vector(word: str) -> np.ndarray:
    """A vector of unit length that depends on the word alone."""
    vector = np.random.default_rng(zlib.crc32(word.encode())).normal(size=D_MODEL)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


class FakeBackbone:
    """One token per word, each with a fixed state; counts the texts that it was asked for."""

    d_model, name, fingerprint, precision = D_MODEL, "fake", "f" * 64, "fp32"
    config = BackboneConfig()

    def __init__(self) -> None:
        self.n_encoded = self.n_dense = 0

    def encode(self, texts: Sequence[str], kind: str) -> TokenStates:
        self.n_encoded += len(texts)
        words = [text.split() for text in texts]
        offsets = np.cumsum([0, *map(len, words)], dtype=np.int64)
        states = np.array([word_vector(word) for text in words for word in text], dtype=np.float32).reshape(-1, D_MODEL)
        return TokenStates(torch.from_numpy(states), offsets, np.full(len(states), -1, dtype=np.int32))

    def describe_token(self, token_id: int) -> str:
        return "?"

    def dense(self, texts: Sequence[str], kind: str) -> np.ndarray:
        self.n_dense += len(texts)
        sums = np.array([np.sum([word_vector(word) for word in text.split()], axis=0) for text in texts], dtype=np.float32)
        return sums / np.linalg.norm(sums, axis=1, keepdims=True)

    def dense_scores(self, queries: Sequence[str], documents: Sequence[str]) -> np.ndarray:
        return self.dense(queries, "query") @ self.dense(documents, "document").T

    def info(self) -> dict[str, Any]:
        return {"model": self.name, "fingerprint": self.fingerprint}


class LateBackbone(FakeBackbone):
    """Late interaction: no single vector per text."""

    def dense(self, texts: Sequence[str], kind: str) -> np.ndarray:
        raise BackboneError("late interaction has no single vector per text")

    def dense_scores(self, queries: Sequence[str], documents: Sequence[str]) -> np.ndarray:
        def states(text: str) -> np.ndarray:
            return np.array([word_vector(word) for word in text.split()])

        return np.array([[(states(q) @ states(d).T).max(axis=1).sum() for d in documents] for q in queries], dtype=np.float32)


class PieceBackbone(FakeBackbone):
    """With a tokenizer: words are pieces, and a state leans to the word before, as contextual ones do."""

    words = ("[UNK]", *dict.fromkeys(word for text in PETS.values() for word in text.split()))

    @property
    def fast_tokenizer(self) -> Tokenizer:
        made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(self.words)}, unk_token="[UNK]"))
        made.pre_tokenizer = pre_tokenizers.Whitespace()
        return made

    def encode(self, texts: Sequence[str], kind: str) -> TokenStates:
        found = super().encode(texts, kind)
        states = found.states.clone()
        for first, last in zip(found.offsets[:-1], found.offsets[1:], strict=True):
            states[first + 1 : last] += 0.5 * found.states[first : last - 1]
        ids = [self.words.index(word) if word in self.words else 0 for text in texts for word in text.split()]
        return TokenStates(states, found.offsets, np.array(ids, dtype=np.int32))


def make_encoder(backbone: FakeBackbone, seed: int = 0) -> LatentTermEncoder:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(48, D_MODEL, generator=generator)
    sae = SparseAutoencoder(SAEConfig(d_model=D_MODEL, n_latents=48, k=6), weight, torch.zeros(48), None, torch.zeros(D_MODEL))
    return LatentTermEncoder(backbone, sae)


def write_collection(
    folder: Path, documents: dict[str, str], queries: dict[str, str], qrels: dict[str, dict[str, int]]
) -> Path:
    (folder / "qrels").mkdir(parents=True)
    with gzip.open(folder / "corpus.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"_id": id, "title": "", "text": text}) + "\n" for id, text in documents.items())
    lines = [json.dumps({"_id": id, "text": text}) + "\n" for id, text in queries.items()]
    (folder / "queries.jsonl").write_text("".join(lines), encoding="utf-8")
    rows = [f"{query}\t{document}\t{grade}\n" for query, grades in qrels.items() for document, grade in grades.items()]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(rows), encoding="utf-8")
    return folder


@pytest.fixture
def backbone() -> FakeBackbone:
    return FakeBackbone()


@pytest.fixture
def piece_backbone() -> PieceBackbone:
    return PieceBackbone()


@pytest.fixture
def encoder(backbone: FakeBackbone) -> LatentTermEncoder:
    return make_encoder(backbone)


@pytest.fixture
def late_encoder() -> LatentTermEncoder:
    return make_encoder(LateBackbone())


@pytest.fixture
def other_encoder(backbone: FakeBackbone) -> LatentTermEncoder:
    """Another vocabulary over the same backbone."""
    return make_encoder(backbone, seed=1)


@pytest.fixture
def make_collection(tmp_path: Path) -> Callable[..., Path]:
    """Writes a BEIR folder; every part can be replaced."""

    def make(name: str = "pets", documents: Any = PETS, queries: Any = PET_QUERIES, qrels: Any = PET_QRELS) -> Path:
        return write_collection(tmp_path / "collections" / name, documents, queries, qrels)

    return make


@pytest.fixture
def pets(make_collection: Callable[..., Path]) -> Path:
    return make_collection()
