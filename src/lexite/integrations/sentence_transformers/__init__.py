"""Latent terms inside sentence-transformers: modules, model, losses, evaluation.

Names are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lexite.integrations.sentence_transformers.callbacks import BM25ProbeCallback as BM25ProbeCallback
    from lexite.integrations.sentence_transformers.callbacks import DeadLatentsCallback as DeadLatentsCallback
    from lexite.integrations.sentence_transformers.callbacks import KAnnealingCallback as KAnnealingCallback
    from lexite.integrations.sentence_transformers.callbacks import SamplerEpochCallback as SamplerEpochCallback
    from lexite.integrations.sentence_transformers.collator import TokenBudgetDataCollator as TokenBudgetDataCollator
    from lexite.integrations.sentence_transformers.conversion import from_sentence_transformers as from_sentence_transformers
    from lexite.integrations.sentence_transformers.conversion import save_dense as save_dense
    from lexite.integrations.sentence_transformers.conversion import to_sentence_transformers as to_sentence_transformers
    from lexite.integrations.sentence_transformers.evaluation import (
        BM25InformationRetrievalEvaluator as BM25InformationRetrievalEvaluator,
    )
    from lexite.integrations.sentence_transformers.extras import LatentTermsExtras as LatentTermsExtras
    from lexite.integrations.sentence_transformers.losses import DenseDistillationLoss as DenseDistillationLoss
    from lexite.integrations.sentence_transformers.losses import LatentTermsLoss as LatentTermsLoss
    from lexite.integrations.sentence_transformers.losses import SupervisedContrastiveLoss as SupervisedContrastiveLoss
    from lexite.integrations.sentence_transformers.losses import TokenReconstructionLoss as TokenReconstructionLoss
    from lexite.integrations.sentence_transformers.model import LatentTermsSparseEncoder as LatentTermsSparseEncoder
    from lexite.integrations.sentence_transformers.model_card import LatentTermsModelCardData as LatentTermsModelCardData
    from lexite.integrations.sentence_transformers.nano_beir import BM25NanoBEIREvaluator as BM25NanoBEIREvaluator
    from lexite.integrations.sentence_transformers.preparation import center_on as center_on
    from lexite.integrations.sentence_transformers.preparation import fit_decoder as fit_decoder
    from lexite.integrations.sentence_transformers.preparation import freeze_backbone as freeze_backbone
    from lexite.integrations.sentence_transformers.preparation import merge_adapters as merge_adapters
    from lexite.integrations.sentence_transformers.sampler import TokenBudgetBatchSampler as TokenBudgetBatchSampler
    from lexite.integrations.sentence_transformers.sentence_as_token import SentenceAsToken as SentenceAsToken
    from lexite.integrations.sentence_transformers.similarity import BM25Similarity as BM25Similarity
    from lexite.integrations.sentence_transformers.similarity import CollectionStatistics as CollectionStatistics
    from lexite.integrations.sentence_transformers.token_encoder import (
        SparseAutoEncoderTokenEncoder as SparseAutoEncoderTokenEncoder,
    )
    from lexite.integrations.sentence_transformers.token_pooling import SparseTokenPooling as SparseTokenPooling
    from lexite.integrations.sentence_transformers.windows import count_tokens as count_tokens
    from lexite.integrations.sentence_transformers.windows import token_windows as token_windows

_HOMES = {
    "BM25InformationRetrievalEvaluator": "evaluation",
    "BM25NanoBEIREvaluator": "nano_beir",
    "BM25ProbeCallback": "callbacks",
    "BM25Similarity": "similarity",
    "CollectionStatistics": "similarity",
    "DeadLatentsCallback": "callbacks",
    "DenseDistillationLoss": "losses",
    "KAnnealingCallback": "callbacks",
    "LatentTermsExtras": "extras",
    "LatentTermsLoss": "losses",
    "LatentTermsModelCardData": "model_card",
    "LatentTermsSparseEncoder": "model",
    "SamplerEpochCallback": "callbacks",
    "SentenceAsToken": "sentence_as_token",
    "SparseAutoEncoderTokenEncoder": "token_encoder",
    "SparseTokenPooling": "token_pooling",
    "SupervisedContrastiveLoss": "losses",
    "TokenBudgetBatchSampler": "sampler",
    "TokenBudgetDataCollator": "collator",
    "TokenReconstructionLoss": "losses",
    "center_on": "preparation",
    "count_tokens": "windows",
    "fit_decoder": "preparation",
    "freeze_backbone": "preparation",
    "from_sentence_transformers": "conversion",
    "merge_adapters": "preparation",
    "save_dense": "conversion",
    "to_sentence_transformers": "conversion",
    "token_windows": "windows",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Loads an exported name from its file on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lexite.integrations.sentence_transformers' has no attribute {name!r}")
    value = getattr(import_module(f"lexite.integrations.sentence_transformers.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
