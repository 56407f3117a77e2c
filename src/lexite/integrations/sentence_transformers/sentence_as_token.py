"""Sentence embeddings in the place of token states, for sparse codes of whole texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from sentence_transformers.base.modules.module import Module


class SentenceAsToken(Module):
    """Hands a text's embedding on as the state of its only token.

    Behind the modules of a dense model, and before :class:`SparseAutoEncoderTokenEncoder`, it makes a contrastive sparse
    representation of sentence embeddings (CSR, arXiv 2503.01776), to which all losses and callbacks of tokens apply.

    Args:
        embedding_dimension: width of the sentence embedding.
    """

    config_keys = ["embedding_dimension"]

    def __init__(self, embedding_dimension: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.embedding_dimension = embedding_dimension

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Replaces what is known about tokens by one token per text, and keeps the embedding as ``dense_embedding``."""
        dense: torch.Tensor = features["sentence_embedding"]
        mask = torch.ones(len(dense), 1, dtype=torch.int64, device=dense.device)
        return {"token_embeddings": dense.unsqueeze(1), "attention_mask": mask, "dense_embedding": dense}

    def get_embedding_dimension(self) -> int:
        """Width of the state."""
        return self.embedding_dimension

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Writes ``config.json``."""
        Path(output_path).mkdir(parents=True, exist_ok=True)
        self.save_config(output_path)
