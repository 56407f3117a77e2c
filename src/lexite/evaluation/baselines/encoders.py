"""Learned sparse encoders of sentence-transformers as baselines: SPLADE and its kin."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from lexite.errors import ModelError
from lexite.evaluation.baselines.weights import Cut, measured
from lexite.evaluation.judged import JudgedCollection
from lexite.evaluation.systems import SystemResult
from lexite.progress import progress

if TYPE_CHECKING:
    from scipy.sparse import csr_array

TEXTS_AT_ONCE = 256
BATCH = 8  # a batch of 8 texts of 512 pieces has half a gigabyte of scores over 30,000 words


@dataclass(frozen=True)
class SparseEncoderSystem:
    """A ``SparseEncoder``: documents and queries are encoded each in its own way, and scores are dot products.

    Texts are cut at the model's window, as the model itself does.

    Attributes:
        model: its name on the Hugging Face hub, or a folder.
        device: where it runs; None leaves the choice to sentence-transformers.
        show_progress: whether progress is shown on stderr.
        cut: how many terms are kept.
    """

    model: str
    device: str | None = None
    show_progress: bool = False
    cut: Cut = field(default_factory=Cut)

    def cut_to(self, cut: Cut) -> SparseEncoderSystem:
        """The same system with fewer terms."""
        return replace(self, cut=cut)

    def run(self, collection: JudgedCollection, top_k: int) -> SystemResult:
        """Encodes the documents and ranks them for each query.

        Raises:
            ModelError: the model cannot be loaded, or is none of this kind.
        """
        encoder, n_documents = load_sparse_encoder(self.model, self.device), len(collection.document_ids)
        with progress(f"{collection.name}: {self.model}", n_documents, show=self.show_progress) as bar:
            documents = _encoded(encoder.encode_document, collection.texts(), bar.advance)
        queries = _encoded(encoder.encode_query, collection.query_texts, lambda n: None)
        return measured(documents, queries, top_k, self.cut)


def load_sparse_encoder(model: str, device: str | None = None) -> Any:
    """Loads a ``SparseEncoder``.

    Raises:
        ModelError: it cannot be loaded, or has no sparse output.
    """
    from sentence_transformers import SparseEncoder

    try:
        encoder = SparseEncoder(model, device=device)
    except (OSError, ValueError, TypeError, KeyError, ImportError, RuntimeError) as error:
        raise ModelError(
            f"'{model}' cannot be loaded as a SparseEncoder of sentence-transformers: {str(error).splitlines()[0]} "
            "Give the name of one, or its folder."
        ) from error
    return encoder


def _encoded(encode: Callable[..., Any], texts: Iterable[str], advance: Callable[[int], None]) -> csr_array:
    """Weights of texts, ``(n_texts, n_terms)``."""
    from scipy.sparse import csr_array, vstack

    stream, parts = iter(texts), []
    while some := list(islice(stream, TEXTS_AT_ONCE)):
        rows = encode(some, batch_size=BATCH, convert_to_sparse_tensor=True, save_to_cpu=True, show_progress_bar=False)
        rows = rows.coalesce()
        places = rows.indices().numpy()
        parts.append(
            csr_array((rows.values().float().numpy().astype(np.float32), (places[0], places[1])), shape=tuple(rows.shape))
        )
        advance(len(some))
    return vstack(parts, format="csr")
