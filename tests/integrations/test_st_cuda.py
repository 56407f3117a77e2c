"""The losses for sentence-transformers on a simulated CUDA device: the same terms and gradients as on the CPU."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from dense_losses import make_model

from lexite.integrations.sentence_transformers.losses import (
    DenseDistillationLoss,
    LatentTermsLoss,
    SupervisedContrastiveLoss,
    TokenReconstructionLoss,
)
from simulated_cuda import CUDA, SimulatedCuda

QUERIES = ["who drinks milk", "snow on the lake", "parse a json file"]
DOCUMENTS = ["The cat and the dog drink milk.", "Rain and snow fall on the lake.", "Open the file, read the text, parse it."]
LOSSES = [
    (TokenReconstructionLoss, {"multi_topk_coefficient": 0.125, "shuffle_tokens": 0}),
    (LatentTermsLoss, {"reconstruction_weight": 0.5, "query_flops_weight": 0.02, "document_flops_weight": 0.01}),
    (DenseDistillationLoss, {}),
    (SupervisedContrastiveLoss, {}),
]


def terms_and_gradients(model: Any, kind: Any, options: dict[str, Any]) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    loss, device = kind(model, **options), next(model.parameters()).device
    features = [model.preprocess(texts) for texts in (QUERIES, DOCUMENTS)]
    columns = [
        {key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in each.items()}
        for each in features
    ]
    labels = torch.arange(3, device=device) if kind is DenseDistillationLoss else None
    terms = loss(columns, labels)
    sum(terms.values()).backward()
    gradients = {name: p.grad.cpu() for name, p in model.named_parameters() if p.grad is not None}
    return {name: float(term.detach()) for name, term in terms.items()}, gradients


@pytest.mark.parametrize(
    ("kind", "options", "variant"),
    [*((*loss, "topk") for loss in LOSSES), (*LOSSES[0], "jumprelu")],
    ids=[*(kind.__name__ for kind, _ in LOSSES), "jumprelu"],
)
def test_terms_and_gradients_of_the_losses(
    kind: Any, options: dict[str, Any], variant: str, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEXITE_TRITON", "0")
    model = make_model(tiny_model, train_backbone=True, variant=variant)
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    other = copy.deepcopy(model)
    expected, gradients = terms_and_gradients(model, kind, options)
    with SimulatedCuda():
        other.to("cuda")
        assert other.token_encoder.W_enc.device == CUDA
        found, there = terms_and_gradients(other, kind, options)
    assert found == pytest.approx(expected, rel=1e-3)
    assert there.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(there[name], gradient, rtol=2e-2, atol=1e-4)
