"""How dense models score by themselves: the baselines that latent terms are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import torch

from lexite.backbone.config import Kind
from lexite.errors import BackboneError

if TYPE_CHECKING:
    from lexite.backbone.transformer import Floats, TransformerBackbone

DOCUMENTS_PER_TILE = 1024
LATE_DOCUMENTS_PER_TILE = 256
LATE_BATCH_SIZE = 32


class SingleVectorScorer:
    """One vector per text, compared by the similarity that the model's configuration names (cosine when it names none)."""

    def __init__(self, similarity: str) -> None:
        self.name = similarity

    def check_single(self, backbone: TransformerBackbone) -> None:
        """Nothing to refuse."""

    def embed(self, backbone: TransformerBackbone, texts: Sequence[str], kind: Kind) -> Floats:
        """L2-normalised vectors, ``(n_texts, d)``."""
        vectors: Floats = torch.nn.functional.normalize(backbone.pooled(texts, kind), dim=1).numpy()
        return vectors

    @torch.inference_mode()
    def scores(self, backbone: TransformerBackbone, queries: Sequence[str], documents: Sequence[str]) -> Floats:
        """Similarities, ``(n_queries, n_documents)``, a tile of documents at a time."""
        scores = np.zeros((len(queries), len(documents)), dtype=np.float32)
        if not scores.size:
            return scores
        query_vectors = backbone.pooled(queries, "query")
        for start in range(0, len(documents), DOCUMENTS_PER_TILE):
            stop = min(start + DOCUMENTS_PER_TILE, len(documents))
            vectors = backbone.pooled(documents[start:stop], "document")
            scores[:, start:stop] = backbone.dense_model.similarity(query_vectors, vectors).numpy()
        return scores


class MaxSimScorer:
    """One vector per token; a score is the sum over query tokens of the best similarity to a document token."""

    def __init__(self, similarity: str) -> None:
        self.name = similarity

    def embed(self, backbone: TransformerBackbone, texts: Sequence[str], kind: Kind) -> NoReturn:
        """Not possible: there is no single vector per text."""
        self.check_single(backbone)

    def check_single(self, backbone: TransformerBackbone) -> NoReturn:
        """Refuses: there is no single vector per text."""
        raise BackboneError(
            f"The late-interaction model '{backbone.name}' has no single vector per text, only scores (MaxSim)."
        )

    @torch.inference_mode()
    def scores(self, backbone: TransformerBackbone, queries: Sequence[str], documents: Sequence[str]) -> Floats:
        """MaxSim with the model's own query expansion, masks and lengths, a tile of documents at a time."""
        scores = np.zeros((len(queries), len(documents)), dtype=np.float32)
        if not scores.size:
            return scores
        model, prompts = backbone.model, backbone.prompts
        options = {"batch_size": LATE_BATCH_SIZE, "show_progress_bar": False}
        query_vectors = model.encode_query(list(queries), prompt=prompts["query"], **options)
        for start in range(0, len(documents), LATE_DOCUMENTS_PER_TILE):
            tile = list(documents[start : start + LATE_DOCUMENTS_PER_TILE])
            vectors = model.encode_document(tile, prompt=prompts["document"], **options)
            scores[:, start : start + len(tile)] = model.similarity(query_vectors, vectors).float().cpu().numpy()
        return scores
