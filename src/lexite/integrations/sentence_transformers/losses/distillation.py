"""Learning the ranking of the dense model, without labels."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from lexite.errors import ArgumentError, ConfigError
from lexite.integrations.sentence_transformers.layout import token_layout
from lexite.integrations.sentence_transformers.losses.latent_terms import scores_of
from lexite.integrations.sentence_transformers.losses.outputs import LATENT_TERMS, cosines, outputs_of
from lexite.integrations.sentence_transformers.losses.reconstruction import (
    TokenReconstructionLoss,
    reconstructions_beside,
    settings_beside,
)
from lexite.integrations.sentence_transformers.similarity import BM25Similarity
from lexite.scoring.config import BM25Config


class DenseDistillationLoss(nn.Module):
    """Brings the BM25 scores of latent terms in line with the scores of the dense model behind them.

    The loss of a query is ``KL(softmax(c / teacher_temperature) ‖ softmax(scale · s))`` over the documents of the batch. c are
    the cosines of the dense model's embeddings, held fixed; s are the scores of :class:`BM25Scores`. With a single column, each
    text is a query to all others. No labels are needed: any texts will do, such as titles and their articles, or sentences and
    their paragraphs.

    Args:
        model: a SparseEncoder with latent terms.
        statistics: BM25 statistics of the collection; None takes all terms for equally rare.
        teacher: the modules of the dense model behind its token states, in their order: ``list(dense)[1:]`` for a
            SentenceTransformer of the usual form. None takes the mean of the token states, special tokens included. That is
            right for models that pool by the mean, and wrong for models that take the first or last token, or project.
        scoring: numbers of BM25; default the model's.
        scale: factor of the scores, which go from 0 to 1.
        teacher_temperature: divisor of the cosines.
        reconstruction_weight: weight of the :class:`TokenReconstructionLoss` that is added; 0 leaves it out.
        reconstruction: a :class:`TokenReconstructionLoss` with settings of your own; None for the defaults. It reconstructs the
            tokens of the batch as they come, so its ``shuffle_tokens`` has no effect here.

    Raises:
        ArgumentError: the statistics are of another number of terms than the model has, or there is no module in ``teacher``.
        ConfigError: a scale or temperature is not above 0, or the weight is below 0.
        ModelError: reconstruction is asked for and there is no decoder, or the statistics are of no documents.
    """

    def __init__(
        self,
        model: nn.Module,
        statistics: BM25Similarity | None = None,
        *,
        teacher: Iterable[nn.Module] | None = None,
        scoring: BM25Config | None = None,
        scale: float = 40.0,
        teacher_temperature: float = 0.05,
        reconstruction_weight: float = 1.0,
        reconstruction: TokenReconstructionLoss | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("scale", scale), ("teacher_temperature", teacher_temperature)):
            if value <= 0:
                raise ConfigError(f"{name} is {value}, but must be above 0.")
        if reconstruction_weight < 0:
            raise ConfigError(f"reconstruction_weight is {reconstruction_weight}, but must be 0 or more.")
        # A copy, so that the dense model stays as it is. Frozen, since the trainer would optimise the weights of a loss.
        self.teacher = None if teacher is None else copy.deepcopy(nn.ModuleList(teacher)).requires_grad_(False)
        if self.teacher is not None and not len(self.teacher):
            raise ArgumentError("teacher is empty. Give the modules behind the token states, list(dense)[1:], or None.")
        self.model, self.scale, self.teacher_temperature = model, scale, teacher_temperature
        self.reconstruction_weight = reconstruction_weight
        self.scores = scores_of(model, scoring, statistics)
        self._reconstruction = reconstructions_beside(model, reconstruction_weight, reconstruction)

    def forward(
        self, sentence_features: Iterable[Mapping[str, Any]], labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """The terms of the loss, by name, for the features of queries and documents or of one column; labels are not used.

        Raises:
            ArgumentError: the modules of the teacher make no embeddings.
        """
        for reconstruction in self._reconstruction:
            reconstruction.before_step()
        outputs = outputs_of(self.model, sentence_features)
        alone = len(outputs) == 1
        documents = outputs if alone else outputs[1:]
        student = self.scale * self.scores(outputs[0]["term_weights"], torch.cat([each["term_weights"] for each in documents]))
        dense = [self.dense_embeddings(output) for output in outputs]
        teacher = cosines(dense[0], torch.cat(dense if alone else dense[1:])) / self.teacher_temperature
        if alone:
            own = torch.eye(len(teacher), dtype=torch.bool, device=teacher.device)
            teacher, student = teacher.masked_fill(own, -1e4), student.masked_fill(own, -1e4)
        target = torch.softmax(teacher, dim=1)
        terms = {"distillation": nn.functional.kl_div(torch.log_softmax(student, dim=1), target, reduction="batchmean")}
        for reconstruction in self._reconstruction:
            terms |= {name: self.reconstruction_weight * value for name, value in reconstruction.terms_of(outputs).items()}
        return terms

    @torch.no_grad()
    def dense_embeddings(self, output: Mapping[str, Any]) -> torch.Tensor:
        """Embeddings of a column's texts by the dense model, (texts, d), pooled from the token states in its output."""
        if self.teacher is None:
            return mean_states(output)
        features = {key: value for key, value in output.items() if key != "sentence_embedding"}
        for module in self.teacher.eval():
            features = module(features)
        if "sentence_embedding" not in features:
            raise ArgumentError(
                "The modules of teacher make no sentence_embedding. Give all behind the token states: list(dense)[1:]."
            )
        embeddings: torch.Tensor = features["sentence_embedding"]
        return embeddings.detach()

    def get_config_dict(self) -> dict[str, Any]:
        """Its settings, for the model card."""
        settings: dict[str, Any] = {
            "scale": self.scale,
            "teacher_temperature": self.teacher_temperature,
            "reconstruction_weight": self.reconstruction_weight,
            "statistics": self.scores.worth is not None,
            "teacher": "mean token states" if self.teacher is None else [type(module).__name__ for module in self.teacher],
        }
        return settings | settings_beside(self._reconstruction)

    @property
    def citation(self) -> str:
        """Sources, in BibTeX."""
        return LATENT_TERMS


@torch.no_grad()
def mean_states(output: Mapping[str, Any]) -> torch.Tensor:
    """Mean token state of each text, (texts, d), padding left out, without gradients."""
    layout = token_layout(output)
    states = layout.gather(output["token_embeddings"]).detach().float()
    sums = states.new_zeros(layout.n_texts, states.shape[1]).index_add(0, layout.texts, states)
    return sums / torch.bincount(layout.texts, minlength=layout.n_texts).clamp(min=1)[:, None]
