"""Fine-tuning of latent terms for ranking by BM25."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from lexite.errors import ArgumentError, ConfigError
from lexite.integrations.sentence_transformers.losses.outputs import LATENT_TERMS, check_classes, outputs_of
from lexite.integrations.sentence_transformers.losses.reconstruction import (
    TokenReconstructionLoss,
    reconstructions_beside,
    settings_beside,
)
from lexite.integrations.sentence_transformers.preparation import own_modules
from lexite.integrations.sentence_transformers.similarity import BM25Similarity
from lexite.integrations.sentence_transformers.token_pooling import transformed
from lexite.scoring.config import BM25Config
from lexite.scoring.formula import saturation_form, worth_of_terms
from lexite.training.flops import SMOOTHING


class BM25Scores(nn.Module):
    """BM25 between the texts of a batch, differentiable, as a share of what a query could get.

    ``s(q, d) = Σ_j q_j v_j d_j / (d_j + n_d) / Σ_j q_j v_j`` with v_j what term j is worth (its idf to a power) and
    ``n_d = k1 (1 - b + b |d| / avgdl)``: the score of :class:`lexite.BM25Index` over the sum of the query's weights, which
    changes no ranking and keeps scores between 0 and 1 for every query. With ``bm25+``, each matching term adds ``delta``, and
    the sum is divided by ``k1 + 1 + delta``, to the same end.

    Args:
        scoring: the numbers of BM25.
        statistics: of the collection that is searched; None takes all terms for equally rare, and the mean length of the batch.
        n_terms: number of terms that the texts to be scored have, for a check of the statistics; None for no check.

    Raises:
        ArgumentError: the statistics are of another number of terms.
        ModelError: the statistics are of no documents.
    """

    worth: torch.Tensor | None

    def __init__(self, scoring: BM25Config, statistics: BM25Similarity | None = None, n_terms: int | None = None) -> None:
        super().__init__()
        self.scoring = scoring
        self.average_length: float | None = None
        worth = None
        if statistics is not None:
            known = statistics.statistics
            df = known.document_frequency
            if n_terms not in (None, len(df)):
                raise ArgumentError(
                    f"The statistics are of {len(df)} terms, but the model has {n_terms}. Make them from documents that this "
                    "model has encoded: model.bm25(model.encode_csr(documents, task='document'))."
                )
            self.average_length = known.average_length
            worth = torch.from_numpy(worth_of_terms(known.n_documents, df, len(df), scoring)).float()
        self.register_buffer("worth", worth, persistent=False)

    def forward(self, queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        """Scores of raw weights.

        Args:
            queries: (n, terms) raw pooled weights.
            documents: (m, terms).

        Returns:
            (n, m), from 0 to 1; 0 for a query without terms.
        """
        weights = transformed(queries.float(), self.scoring.query_transform)
        if self.worth is not None:
            weights = weights * self.worth
        tf = transformed(documents.float(), self.scoring.document_transform)
        lengths = tf.sum(1, keepdim=True)
        average = lengths.detach().mean() if self.average_length is None else self.average_length
        b = self.scoring.b
        norms = self.scoring.k1 * (1 - b + b * lengths / max(float(average), 1e-9))
        saturated = tf / (tf + norms).clamp(min=1e-9)
        factor, summand = (float(number) for number in saturation_form(self.scoring))
        if summand:
            saturated = (factor * saturated + summand * (tf > 0)) / (factor + summand)
        return (weights @ saturated.t()) / weights.sum(1, keepdim=True).clamp(min=1e-9)


class LatentTermsLoss(nn.Module):
    """Ranks the right document first under BM25, keeps tokens reconstructible, and keeps terms few.

    Columns: queries, their documents, and any number of columns of hard negatives. The terms:

    - ``ranking``: ``-log softmax(scale · s(q, d))`` of the own document among the documents of the batch and all hard
      negatives (InfoNCE, arXiv 1807.03748), with s as in :class:`BM25Scores`; rows with the same label, where a label column is
      given, are not each other's negatives.
    - those of :class:`TokenReconstructionLoss`, times ``reconstruction_weight``; left out where it is 0, and no decoder is
      needed then.
    - ``query_flops`` and ``document_flops``: ``Σ_j u_j (mean_i w_ij)²`` over the queries and over the documents of the batch,
      times the weight of that name, with w the square roots of the raw weights and u_j = 1 / idf_j of the collection (without
      statistics, of these texts), so that rare terms are penalised less (arXiv 2411.04403).

    Args:
        model: a SparseEncoder with latent terms.
        statistics: BM25 statistics of the collection (``model.bm25(encoded documents)``), taken once before training; None
            takes all terms for equally rare.
        scoring: numbers of BM25; default the model's.
        scale: factor of the scores, which go from 0 to 1, in the softmax.
        reconstruction_weight: weight of the :class:`TokenReconstructionLoss` that is added; 0 leaves it out.
        reconstruction: a :class:`TokenReconstructionLoss` with settings of your own; None for the defaults. It reconstructs the
            tokens of the batch as they come, so its ``shuffle_tokens`` has no effect here.
        query_flops_weight: of the sparsity of queries.
        document_flops_weight: of the sparsity of documents.

    Raises:
        ArgumentError: the statistics are of another number of terms than the model has.
        ConfigError: a weight is below 0, or the scale is not above 0.
        ModelError: reconstruction is asked for and there is no decoder, or the statistics are of no documents.
    """

    idf: torch.Tensor | None

    def __init__(
        self,
        model: nn.Module,
        statistics: BM25Similarity | None = None,
        *,
        scoring: BM25Config | None = None,
        scale: float = 40.0,
        reconstruction_weight: float = 0.0,
        reconstruction: TokenReconstructionLoss | None = None,
        query_flops_weight: float = 0.0,
        document_flops_weight: float = 0.0,
    ) -> None:
        super().__init__()
        weights = {
            "reconstruction_weight": reconstruction_weight,
            "query_flops_weight": query_flops_weight,
            "document_flops_weight": document_flops_weight,
        }
        for name, value in weights.items():
            if value < 0:
                raise ConfigError(f"{name} is {value}, but must be 0 or more.")
        if scale <= 0:
            raise ConfigError(f"scale is {scale}, but must be above 0.")
        self.model, self.scale, self.weights = model, scale, weights
        self.scores = scores_of(model, scoring, statistics)
        idf = None
        if statistics is not None:
            known = statistics.statistics
            idf = smoothed_idf(
                torch.from_numpy(known.document_frequency / max(known.n_documents, 1)).float(), known.n_documents
            )
        self.register_buffer("idf", idf, persistent=False)
        self._reconstruction = reconstructions_beside(model, reconstruction_weight, reconstruction)

    def forward(
        self, sentence_features: Iterable[Mapping[str, Any]], labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """The terms of the loss for the features of queries, documents and negatives.

        Raises:
            ArgumentError: there is only one column, or the labels are no classes.
        """
        for reconstruction in self._reconstruction:
            reconstruction.before_step()
        outputs = outputs_of(self.model, sentence_features)
        if len(outputs) < 2:
            raise ArgumentError("LatentTermsLoss needs two columns or more: queries, their documents, and hard negatives.")
        queries = outputs[0]["term_weights"]
        documents = torch.cat([output["term_weights"] for output in outputs[1:]])
        terms = {"ranking": ranking_loss(self.scale * self.scores(queries, documents), labels)}
        for reconstruction in self._reconstruction:
            found = reconstruction.terms_of(outputs)
            terms |= {name: self.weights["reconstruction_weight"] * value for name, value in found.items()}
        for name, rows in (("query", queries), ("document", documents)):
            if self.weights[f"{name}_flops_weight"]:
                idf = smoothed_idf((rows > 0).float().mean(0), len(rows)) if self.idf is None else self.idf
                terms[f"{name}_flops"] = self.weights[f"{name}_flops_weight"] * flops(rows, idf)
        return terms

    def get_config_dict(self) -> dict[str, Any]:
        """Its settings, for the model card."""
        settings: dict[str, Any] = {"scale": self.scale, **self.weights, "statistics": self.scores.worth is not None}
        return settings | settings_beside(self._reconstruction)

    @property
    def citation(self) -> str:
        """Sources, in BibTeX."""
        return LATENT_TERMS


def scores_of(model: nn.Module, scoring: BM25Config | None, statistics: BM25Similarity | None) -> BM25Scores:
    """BM25 between texts of a model, under the given scoring or else the model's own.

    Raises:
        ArgumentError: the model makes no latent terms, or the statistics are of another number of terms.
        ModelError: the statistics are of no documents.
    """
    _, pooling = own_modules(model)
    return BM25Scores(scoring or pooling.scoring, statistics, pooling.embedding_dimension)


def ranking_loss(logits: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
    """Mean of ``-log softmax`` at the own document.

    Args:
        logits: (n, m), m at least n; the own document of query i is document i.
        labels: (n,), documents of queries with the same label are no negatives of each other; None: all others are.

    Raises:
        ArgumentError: the labels are no classes.
    """
    n = len(logits)
    if labels is not None:
        check_classes(labels)
        same = labels[:, None] == labels[None, :]
        own = torch.eye(n, dtype=torch.bool, device=logits.device)
        hidden = torch.zeros_like(logits, dtype=torch.bool)
        hidden[:, :n] = same.to(logits.device) & ~own
        logits = logits.masked_fill(hidden, -torch.inf)
    return nn.functional.cross_entropy(logits, torch.arange(n, device=logits.device))


def smoothed_idf(share: torch.Tensor, n_texts: int) -> torch.Tensor:
    """``ln(1 + (1 - p + ε) / (p + ε))`` with p the share of n texts that hold a term and ε = 1 / 2n, but at least .001.

    For up to 500 texts it is Lucene's idf. With more texts, the idf of a term that all texts hold falls no further.
    """
    smoothing = max(SMOOTHING, 0.5 / max(n_texts, 1))
    return torch.log1p((1 - share + smoothing) / (share + smoothing))


def flops(weights: torch.Tensor, idf: torch.Tensor) -> torch.Tensor:
    """``Σ_j (mean_i √w_ij)² / idf_j`` over the texts i of a batch, (texts, terms)."""
    return (transformed(weights.float(), "sqrt").mean(0).square() / idf).sum()
