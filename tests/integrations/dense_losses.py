"""The losses of latent terms written down with dense matrices in float64, to compare values and gradients with."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from dense_codes import codes, of_dead, preactivations, reconstruction

from lexite.integrations.sentence_transformers import LatentTermsSparseEncoder
from lexite.scoring.config import BM25Config

N_LATENTS, K, N_DEAD = 64, 4, 24
POWERS = {"none": 1.0, "sqrt": 0.5, "pow0.75": 0.75}


def make_model(folder: Path, *, train_backbone: bool = True, dead: bool = False, seed: int = 0, **options: Any) -> Any:
    """A model all of whose weights matter, without dropout; with ``dead``, N_DEAD latents have not been active for long."""
    options = {"hidden_dim": N_LATENTS, "k": K, "precision": "fp32", "k_aux": 6, "dead_after_tokens": 500, **options}
    model = LatentTermsSparseEncoder.from_dense(str(folder), train_backbone=train_backbone, seed=seed, **options)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor, scale in (
            (model.token_encoder.b_enc, 0.3),
            (model.token_encoder.b_pre, 0.2),
            (model.token_encoder.W_dec, 0.4),
        ):
            tensor.copy_(scale * torch.randn(tensor.shape, generator=generator))
        if dead:
            model.token_encoder.tokens_since_active[::2][:N_DEAD] = 500
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model.train()


@dataclass
class Column:
    """What dense matrices make of one column of a batch.

    Attributes:
        states: (n, d) states of the tokens that are pooled.
        preactivations: (n, latents).
        codes: (n, latents), k per token.
        more: (n, latents), 4k per token.
        weights: (texts, latents) raw sums.
        means: (texts, d) mean of all token states that are not padding.
    """

    states: torch.Tensor
    preactivations: torch.Tensor
    codes: torch.Tensor
    more: torch.Tensor
    weights: torch.Tensor
    means: torch.Tensor


class DenseTwin:
    """A copy of a model in float64, whose sparse autoencoder is dense matrices."""

    def __init__(self, model: Any, *, unit_atoms: bool = False) -> None:
        self.model = copy.deepcopy(model).double().train()
        encoder = self.model.token_encoder
        self.dead = encoder.tokens_since_active >= encoder.dead_after_tokens
        if unit_atoms:
            with torch.no_grad():
                encoder.W_dec /= encoder.W_dec.norm(dim=1, keepdim=True)
        self.sae = {name: getattr(encoder, name) for name in ("W_enc", "b_enc", "b_pre", "W_dec")}

    def column(self, features: dict[str, Any], task: str | None) -> Column:
        encoder, special = self.model.token_encoder, self.model.tokenizer.all_special_ids
        k = encoder.query_k if task == "query" and encoder.query_k else encoder.k
        features = dict(features)
        for module in list(self.model)[:-2]:
            features = module(features)
        prompt = int(features.get("prompt_length", 0))
        states, counts, means = [], [], []
        for row, mask, ids in zip(features["token_embeddings"], features["attention_mask"], features["input_ids"], strict=True):
            own = [t for t in range(len(ids)) if mask[t] and int(ids[t]) not in special and t >= prompt]
            states.append(row[own])
            counts.append(len(own))
            means.append(row[mask.bool()].mean(0))
        x = torch.cat(states)
        u = preactivations(x, self.sae)
        f, more = codes(u, k), codes(u, 4 * k)
        weights = torch.stack([part.sum(0) for part in f.split(counts)])
        return Column(x, u, f, more, weights, torch.stack(means))

    def columns(self, batch: Sequence[dict[str, Any]]) -> list[Column]:
        tasks = [None] if len(batch) == 1 else ["query"] + ["document"] * (len(batch) - 1)
        return [self.column(features, task) for features, task in zip(batch, tasks, strict=True)]

    def fvu_terms(self, columns: Sequence[Column], multi_topk: float = 0.0, aux: float = 1 / 32) -> dict[str, torch.Tensor]:
        x, f, more, u = (
            torch.cat([getattr(c, name) for c in columns]) for name in ("states", "codes", "more", "preactivations")
        )
        variance = ((x - x.mean(0)) ** 2).sum()
        errors = x - reconstruction(f, self.sae)
        terms = {"fvu": (errors**2).sum() / variance}
        if multi_topk:
            terms["fvu_4k"] = multi_topk * ((x - reconstruction(more, self.sae)) ** 2).sum() / variance
        if aux and self.dead.any():
            estimate = of_dead(u, self.dead, self.model.token_encoder.k_aux, self.sae)
            terms["aux"] = aux * ((estimate - errors.detach()) ** 2).sum() / (errors.detach() ** 2).sum()
        return terms


def term_worths(documents: torch.Tensor, scoring: BM25Config) -> torch.Tensor:
    """Lucene's idf of each term among some documents, to its power; 0 for terms in none."""
    worths = []
    for column in documents.t():
        df = int((column > 0).sum())
        idf = math.log(1 + (len(documents) - df + 0.5) / (df + 0.5)) if df else 0.0
        worths.append(idf**scoring.idf_power if idf else 0.0)
    return torch.tensor(worths, dtype=torch.float64)


def bm25_shares(
    queries: torch.Tensor, documents: torch.Tensor, scoring: BM25Config, worth: torch.Tensor | float, average: float | None
) -> torch.Tensor:
    """BM25 of each pair over what the query could get at most, pair by pair and term by term."""
    power = POWERS[scoring.query_transform]
    average = float(documents.detach().sum(1).mean()) if average is None else average
    rows = []
    for query in queries:
        held = query > 0
        factors = query[held] ** power * (worth[held] if isinstance(worth, torch.Tensor) else worth)
        scores = []
        for document in documents:
            norm = scoring.k1 * (1 - scoring.b + scoring.b * document.sum() / average)
            scores.append((factors * document[held] / (document[held] + norm)).sum() / factors.sum())
        rows.append(torch.stack(scores))
    return torch.stack(rows)


def check(
    loss: Any, batch: Sequence[dict[str, Any]], twin: DenseTwin, terms: Callable[[list[Column]], dict[str, torch.Tensor]],
    labels: torch.Tensor | None = None, tolerance: float = 2e-5,
) -> dict[str, float]:  # fmt: skip
    """Compares the terms of a loss and the gradients of all parameters with those of dense matrices; returns the terms."""
    got = loss(batch, labels)
    expected = terms(twin.columns(batch))
    assert set(got) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(got[name].detach().double(), value.detach(), rtol=1e-5, atol=1e-7, msg=name)
    loss.model.zero_grad()
    sum(got.values()).backward()
    sum(expected.values()).backward()
    wanted = dict(twin.model.named_parameters())
    for name, parameter in loss.model.named_parameters():
        reference = wanted[name].grad
        assert (parameter.grad is not None) == parameter.requires_grad or not reference_matters(reference), name
        if reference_matters(reference):
            difference = (parameter.grad.double() - reference).abs().max()
            assert difference <= tolerance * reference.abs().max() + 1e-8, (
                name,
                float(difference),
                float(reference.abs().max()),
            )
        elif parameter.grad is not None:
            assert parameter.grad.abs().max() < 1e-6, name
    return {name: value.item() for name, value in got.items()}


def reference_matters(gradient: torch.Tensor | None) -> bool:
    return gradient is not None and float(gradient.abs().max()) > 1e-7
