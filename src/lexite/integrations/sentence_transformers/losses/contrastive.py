"""Supervised contrastive training of sparse codes, above all of ultra-sparse codes (CSRv2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from lexite.errors import ArgumentError, ConfigError
from lexite.integrations.sentence_transformers.losses.outputs import check_classes, cosines, outputs_of
from lexite.integrations.sentence_transformers.losses.reconstruction import (
    TokenReconstructionLoss,
    reconstructions_beside,
    settings_beside,
)
from lexite.integrations.sentence_transformers.token_encoder import SparseAutoEncoderTokenEncoder

CSR = """
@misc{wen2025matryoshkarevisitingsparsecoding,
      title={Beyond Matryoshka: Revisiting Sparse Coding for Adaptive Representation},
      author={Tiansheng Wen and Yifei Wang and Zequn Zeng and Zhong Peng and Yudi Su and Xinyang Liu and Bo Chen and Hongwei Liu
              and Stefanie Jegelka and Chenyu You},
      year={2025},
      eprint={2503.01776},
      archivePrefix={arXiv},
      primaryClass={cs.LG},
      url={https://arxiv.org/abs/2503.01776},
}
"""
CSR_V2 = """
@misc{guo2026csrv2,
      title={CSRv2: Unlocking Ultra-Sparse Embeddings},
      author={Lixuan Guo and Yifei Wang and Tiansheng Wen and Yifan Wang and Aosong Feng and Bo Chen and Stefanie Jegelka
              and Chenyu You},
      year={2026},
      eprint={2602.05735},
      archivePrefix={arXiv},
      primaryClass={cs.LG},
      url={https://arxiv.org/abs/2602.05735},
}
"""


class SupervisedContrastiveLoss(nn.Module):
    """Brings the codes of texts with one label together, and the codes of texts with different labels apart.

    The loss is ``-mean_i log(Σ_{j same} e^{c_ij / τ} / (Σ_{j same} e^{c_ij / τ} + Σ_{j different} e^{c_ij / τ}))`` over the
    texts i whose label another text of the batch has too. c is the cosine of the pooled codes; a text is not compared with
    itself. This is the supervised form of CSRv2 (arXiv 2602.05735); CSR (arXiv 2503.01776) has the form without labels. Lower k
    step by step with :class:`KAnnealingCallback` beside it.

    All columns of texts in a row have the row's label. With two columns or more and no label (pairs), each row is a class of
    its own, which makes it the unsupervised InfoNCE in both directions.

    Works with any SparseEncoder; the reconstruction is added where the model has a :class:`SparseAutoEncoderTokenEncoder`.

    Args:
        model: the sparse encoder.
        temperature: τ; .2 in the source.
        weight: of the contrastive term.
        reconstruction_weight: weight of the :class:`TokenReconstructionLoss` that is added; 0 leaves it out.
        reconstruction: a :class:`TokenReconstructionLoss` with settings of your own, such as Multi-TopK; None for the defaults.
            It reconstructs the tokens of the batch as they come, so its ``shuffle_tokens`` has no effect here.

    Raises:
        ConfigError: the temperature is not above 0, or a weight is below 0.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        temperature: float = 0.2,
        weight: float = 1.0,
        reconstruction_weight: float = 1.0,
        reconstruction: TokenReconstructionLoss | None = None,
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise ConfigError(f"temperature is {temperature}, but must be above 0.")
        for name, value in (("weight", weight), ("reconstruction_weight", reconstruction_weight)):
            if value < 0:
                raise ConfigError(f"{name} is {value}, but must be 0 or more.")
        self.model, self.temperature, self.weight = model, temperature, weight
        self.reconstruction_weight = reconstruction_weight
        has_tokens = any(isinstance(module, SparseAutoEncoderTokenEncoder) for module in model.children())
        wanted = has_tokens and reconstruction_weight > 0
        self._reconstruction = reconstructions_beside(model, reconstruction_weight if wanted else 0.0, reconstruction)

    def forward(
        self, sentence_features: Iterable[Mapping[str, Any]], labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """The terms of the loss.

        Raises:
            ArgumentError: one column of texts and no labels, or labels that are no classes.
        """
        for reconstruction in self._reconstruction:
            reconstruction.before_step()
        outputs = outputs_of(self.model, sentence_features)
        codes = torch.cat([output["sentence_embedding"] for output in outputs])
        if labels is None:
            if len(outputs) < 2:
                raise ArgumentError("SupervisedContrastiveLoss needs a column of integer labels, or two columns of texts.")
            labels = torch.arange(len(codes) // len(outputs))
        check_classes(labels)
        classes = labels.to(codes.device).repeat(len(outputs))
        terms = {"contrastive": self.weight * supervised_contrastive(codes, classes, self.temperature)}
        for reconstruction in self._reconstruction:
            terms |= {name: self.reconstruction_weight * value for name, value in reconstruction.terms_of(outputs).items()}
        return terms

    def get_config_dict(self) -> dict[str, Any]:
        """Its settings, for the model card."""
        settings: dict[str, Any] = {
            "temperature": self.temperature,
            "weight": self.weight,
            "reconstruction_weight": self.reconstruction_weight,
        }
        return settings | settings_beside(self._reconstruction)

    @property
    def citation(self) -> str:
        """Sources, in BibTeX."""
        return CSR + CSR_V2


def supervised_contrastive(codes: torch.Tensor, labels: torch.Tensor, temperature: float) -> torch.Tensor:
    """The contrastive term of :class:`SupervisedContrastiveLoss`; 0 where no two texts share a label.

    Args:
        codes: (n, terms).
        labels: (n,).
        temperature: τ.
    """
    logits = cosines(codes, codes) / temperature
    own = torch.eye(len(codes), dtype=torch.bool, device=codes.device)
    same = (labels[:, None] == labels[None, :]) & ~own
    with_mates = same.any(1)
    if not bool(with_mates.any()):
        return codes.sum() * 0.0
    above = torch.logsumexp(logits.masked_fill(~same, -torch.inf)[with_mates], dim=1)
    every = torch.logsumexp(logits.masked_fill(own, -torch.inf)[with_mates], dim=1)
    return (every - above).mean()
