"""What tests of second stages search: a vocabulary with a decoder, and a back-end that keeps texts and codes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array

from lexite.corpus.passages import PassageConfig, cut_documents
from lexite.errors import ArgumentError
from lexite.index import EncodedQueries
from lexite.index.config import StoredDocument
from lexite.ranking import Hit
from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.scoring.config import BM25Config
from lexite.search import Answer
from lexite.terms import LatentTermEncoder

PASSAGES = PassageConfig(words=10, longest_whole=12)


@dataclass
class KeptCodes:
    """What an index gives as the codes of candidates."""

    bounds: Any
    tokens: Any
    entries: Any
    latents: Any
    values: Any
    norms: Any


@dataclass
class SmallBackend:
    """Documents with their texts and, from their own encoder, the codes of their tokens."""

    documents: dict[str, StoredDocument]
    encoder: LatentTermEncoder
    passages_config: PassageConfig | None = PASSAGES
    scoring: BM25Config = BM25Config()

    def get(self, identifier: str) -> StoredDocument | None:
        return self.documents.get(identifier)

    def token_codes(self, hits: Sequence[Hit]) -> KeptCodes:
        cut = cut_documents([self.documents[hit.id] for hit in hits], self.passages_config)
        states = self.encoder.backbone.encode(cut.texts, "document")
        codes = self.encoder.codes(states, 4)
        used = codes.values.numpy() > 0
        norms = self.encoder.sae.decode(codes).norm(dim=1).numpy()
        entries = np.concatenate([[0], np.cumsum(used.sum(axis=1))])
        latents, values = codes.indices.numpy()[used], codes.values.numpy()[used]
        return KeptCodes(cut.bounds, states.offsets, entries, latents, values, norms)


@dataclass
class SmallQueries:
    """Queries through the model."""

    encoder: LatentTermEncoder

    def token_states(self, texts: Sequence[str]) -> Any:
        return self.encoder.backbone.encode(texts, "query")


@dataclass
class StaticOnly:
    """Queries through a static table."""

    def token_states(self, texts: Sequence[str]) -> Any:
        raise ArgumentError("Token states need the model.")


def read_stored(path: Path) -> dict[str, StoredDocument]:
    """The documents of a JSONL file, as an index keeps them."""
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {record["_id"]: StoredDocument(record["_id"], record["title"], record["text"]) for record in records}


def with_decoder(encoder: LatentTermEncoder, *, seed: int = 7, **config: Any) -> LatentTermEncoder:
    """A vocabulary over the same model, with a random encoder and an unlike decoder."""
    generator = torch.Generator().manual_seed(seed)
    d_model, n_latents = encoder.backbone.d_model, 48
    weight, atoms = (torch.randn(n_latents, d_model, generator=generator) for _ in range(2))
    biases = torch.randn(n_latents, generator=generator) * 0.1, torch.randn(d_model, generator=generator) * 0.3
    activation = config.pop("activation", "topk")
    settings = SAEConfig(d_model=d_model, n_latents=n_latents, k=4, **config)
    sae = SparseAutoencoder(settings, weight, biases[0], atoms, biases[1], activation=activation)
    return LatentTermEncoder(encoder.backbone, sae, encoder.terms)


def asked(backend: Any, encoder: Any, texts: Sequence[str], rankings: Sequence[Sequence[Hit]]) -> Answer:
    """A question with what was found for it."""
    return Answer(EncodedQueries(csr_array((len(texts), 4), dtype=np.float32), list(texts)), rankings, 10, backend, {}, encoder)


def ranked(identifiers: Sequence[str], spans: dict[str, tuple[int, int]] | None = None) -> list[Hit]:
    """Hits with falling scores."""
    return [Hit(i, 20.0 - rank, rank, rank - 1, (spans or {}).get(i)) for rank, i in enumerate(identifiers, start=1)]
