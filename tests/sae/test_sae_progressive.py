"""Ranking the latents of a finished autoencoder, against leaving each of them out in turn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lexite.errors import CorpusError, ModelError
from lexite.sae import SAEConfig, SparseAutoencoder, SparseCodes
from lexite.sae.measures import fvu
from lexite.sae.progressive import TOKENS_AT_ONCE, rank_latents

WIDTH, LATENTS, K, TOKENS = 12, 40, 5, 300


def make(activation: str = "topk", n_latents: int = LATENTS, **config: Any) -> SparseAutoencoder:
    """A random autoencoder whose atoms are not of unit norm; it reconstructs somewhat."""
    generator = torch.Generator().manual_seed(7)
    atoms = torch.randn(n_latents, WIDTH, generator=generator)
    norms = 0.5 + torch.rand(n_latents, 1, generator=generator)
    encoder = torch.nn.functional.normalize(atoms, dim=1)
    bias = 0.3 * torch.randn(WIDTH, generator=generator)
    thresholds = torch.full((n_latents,), 0.8) if activation == "jumprelu" else None
    return SparseAutoencoder(
        SAEConfig(WIDTH, n_latents, K, **config),
        encoder,
        0.05 * torch.randn(n_latents, generator=generator),
        0.6 * encoder * norms,
        bias,
        activation=activation,
        thresholds=thresholds,
        precision="fp32",
    )


def sample(n: int = TOKENS, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.4 + torch.randn(n, WIDTH, generator=generator)


def reconstruct(sae: SparseAutoencoder, codes: SparseCodes, states: torch.Tensor) -> torch.Tensor:
    """The reconstruction out of the dense code, with ``normalize_activations`` undone by hand."""
    dense = codes.to_dense().double()
    if sae.activation == "abs_topk":
        dense = dense[:, : sae.config.n_latents] - dense[:, sae.config.n_latents :]
    decoded = dense @ sae.decoder_weight.double() + sae.decoder_bias.double()
    states = states.double()
    if sae.config.normalize_activations == "constant_norm_rescale":
        return decoded * states.norm(dim=1, keepdim=True) / WIDTH**0.5
    if sae.config.normalize_activations == "layer_norm":
        return decoded * states.std(1, keepdim=True) + states.mean(1, keepdim=True)
    return decoded


def left_out(sae: SparseAutoencoder, states: torch.Tensor) -> np.ndarray:
    """The rise of the fraction of variance unexplained when each latent in turn is wiped out of the codes."""
    codes = sae.encode(states)
    whole = fvu(states, reconstruct(sae, codes, states))
    rises = []
    for latent in range(sae.config.n_latents):
        gone = (codes.indices == latent) | (codes.indices == latent + sae.config.n_latents)
        without = SparseCodes(codes.values.masked_fill(gone, 0.0), codes.indices, codes.n_latents)
        rises.append(fvu(states, reconstruct(sae, without, states)) - whole)
    return np.array(rises)


@pytest.mark.parametrize("activation", ["topk", "abs_topk", "jumprelu", "top_afa"])
def test_importance_is_what_leaving_a_latent_out_costs(activation: str) -> None:
    sae, states = make(activation), sample()
    ranking = rank_latents(sae, [states])
    np.testing.assert_allclose(ranking.values, left_out(sae, states), atol=1e-6)
    assert ranking.fvu == pytest.approx(fvu(states, reconstruct(sae, sae.encode(states), states)), rel=1e-5)
    assert (np.diff(ranking.sorted_values) <= 0).all() and sorted(ranking.order) == list(range(LATENTS))


@pytest.mark.parametrize("kind", ["constant_norm_rescale", "layer_norm"])
def test_the_error_is_that_of_the_states_as_given(kind: str) -> None:
    sae, states = make(normalize_activations=kind), sample() * torch.linspace(0.2, 3, TOKENS).unsqueeze(1)
    np.testing.assert_allclose(rank_latents(sae, [states]).values, left_out(sae, states), atol=1e-6)


def test_density_is_the_share_of_tokens_and_needs_no_decoder() -> None:
    sae, states = make(), sample()
    alone = SparseAutoencoder(sae.config, sae.encoder_weight, sae.encoder_bias, None, sae.decoder_bias, precision="fp32")
    ranking = rank_latents(alone, [states], by="density")
    counts = (sae.encode(states).to_dense() > 0).sum(0).numpy()
    np.testing.assert_array_equal(ranking.values, counts / TOKENS)
    assert ranking.fvu is None and ranking.fit.n_used == (counts > 0).sum()
    with pytest.raises(ModelError, match="encoder only"):
        rank_latents(alone, [states])


def test_both_terms_of_a_signed_latent_count_for_it() -> None:
    sae, states = make("abs_topk"), sample()
    dense = sae.encode(states).to_dense() > 0
    counts = (dense[:, :LATENTS] | dense[:, LATENTS:]).sum(0).numpy()
    np.testing.assert_array_equal(rank_latents(sae, [states], by="density").values, counts / TOKENS)


def test_chunks_do_not_matter() -> None:
    sae, states = make(), sample(TOKENS_AT_ONCE + 500)
    whole = rank_latents(sae, [states])
    parts = rank_latents(sae, iter(torch.split(states, 321)))
    np.testing.assert_allclose(parts.values, whole.values, rtol=1e-9, atol=1e-12)
    assert parts.n_tokens == whole.n_tokens == TOKENS_AT_ONCE + 500


def test_k_is_that_of_the_codes() -> None:
    sae, states = make(), sample()
    assert rank_latents(sae, [states], by="density", k=2).values.sum() == pytest.approx(2.0)


def test_the_reordered_autoencoder_gives_the_same_codes_under_other_numbers() -> None:
    sae, states = make(), sample()
    ranking = rank_latents(sae, [states])
    ranked = sae.reordered(torch.from_numpy(ranking.order))
    before, after = sae.encode(states).to_dense(), ranked.encode(states).to_dense()
    torch.testing.assert_close(after, before[:, torch.from_numpy(ranking.order)])
    again = rank_latents(ranked, [states])
    np.testing.assert_allclose(again.values, ranking.sorted_values, rtol=1e-5, atol=1e-9)


def test_a_prefix_by_importance_keeps_more_than_one_by_chance() -> None:
    sae, states = make(n_latents=64), sample(2000)
    ranking = rank_latents(sae, [states])

    def error(order: np.ndarray) -> float:
        cut = sae.reordered(torch.from_numpy(order)).prefix(32)
        return fvu(states, cut.reconstruct(states))

    by_chance = np.mean([error(np.random.default_rng(seed).permutation(64)) for seed in range(5)])
    assert error(ranking.order) < by_chance < error(ranking.order[::-1].copy())


def test_nothing_to_look_at_is_refused() -> None:
    with pytest.raises(CorpusError, match="no tokens"):
        rank_latents(make(), [])
    with pytest.raises(CorpusError, match="no tokens"):
        rank_latents(make(), [torch.empty(0, WIDTH)])


def test_the_summary_is_json() -> None:
    import json

    ranking = rank_latents(make(), [sample()])
    values = json.loads(json.dumps(ranking.summary()))
    assert values["by"] == "importance" and values["n_tokens"] == TOKENS and values["fit"]["n_used"] <= LATENTS
