"""Shared by the losses: running a model on the columns of a batch, cosines, checks of labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from lexite.errors import ArgumentError
from lexite.integrations.sentence_transformers.preparation import backbone_modules

LATENT_TERMS = """
@misc{clavie2026latentterms,
      title={Latent Terms: Dense Retrievers Contain Trivially Extractable BM25-ready Zipfian Vocabularies},
      author={Benjamin Clavi{\\'e} and Lee and Shakir and Kato},
      year={2026},
      eprint={2605.29384},
      archivePrefix={arXiv},
      primaryClass={cs.IR},
      url={https://arxiv.org/abs/2605.29384},
}
"""
TOPK = """
@misc{gao2024scalingevaluatingsparseautoencoders,
      title={Scaling and evaluating sparse autoencoders},
      author={Leo Gao and Tom Dupr{\\'e} la Tour and Henk Tillman and Gabriel Goh and Rajan Troll and Alec Radford and Ilya
              Sutskever and Jan Leike and Jeffrey Wu},
      year={2024},
      eprint={2406.04093},
      archivePrefix={arXiv},
      primaryClass={cs.LG},
      url={https://arxiv.org/abs/2406.04093},
}
"""


def outputs_of(model: Any, sentence_features: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The model's output for each column of a batch.

    With more than one column the first is encoded as queries and the others as documents, unless the collator has said
    otherwise (``task``). A dense model that is not trained runs without dropout, as it does when it is used.

    Raises:
        ArgumentError: there is no column.
    """
    for module in backbone_modules(model):
        trained = [parameter.requires_grad for parameter in module.parameters()]
        if trained and not any(trained):
            module.eval()
    columns = [dict(features) for features in sentence_features]
    if not columns:
        raise ArgumentError("The batch has no column of texts. Give the trainer a dataset with one.")
    results = []
    for number, features in enumerate(columns):
        usual = None if len(columns) == 1 else "query" if number == 0 else "document"
        task = features.pop("task", None) or usual
        results.append(model(features, **({} if task is None else {"task": task})))
    return results


def cosines(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """(n, m) cosine of all pairs of rows; rows of zeros have cosine 0 with all."""
    return nn.functional.normalize(one.float(), dim=1) @ nn.functional.normalize(other.float(), dim=1).t()


def check_classes(labels: torch.Tensor) -> None:
    """Checks that labels name classes.

    Raises:
        ArgumentError: they are numbers, such as similarities, or several per row.
    """
    if labels.is_floating_point() or labels.ndim != 1:
        raise ArgumentError(
            f"Labels must be one integer per row, which names a class, but are {labels.dtype} of shape {tuple(labels.shape)}. "
            "Convert that column of the dataset, or remove it."
        )
