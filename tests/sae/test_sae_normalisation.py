"""What happens to states first, against its formulas in double precision, and that reconstruct undoes it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from dense_reference import Weights, chosen, dense, normalised, reconstruction
from hypothesis import given, settings
from hypothesis import strategies as st

from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.sae.config import Normalisation
from lexite.sae.normalisation import average_norm_scale, normalise

KINDS: list[Normalisation] = ["none", "expected_average_only_in", "constant_norm_rescale", "layer_norm"]


def weights(d: int, latents: int, kind: str, *, bias: bool = True, seed: int = 0) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    encoder, decoder = (torch.randn(latents, d, generator=generator) for _ in range(2))
    biases = torch.randn(latents, generator=generator) / 5, torch.randn(d, generator=generator)
    return Weights(encoder, biases[0], decoder, biases[1], None, bias, kind)


def build(given: Weights, kind: Normalisation, k: int, activation: str = "topk") -> SparseAutoencoder:
    latents, d = given.encoder.shape
    config = SAEConfig(d, latents, k, apply_b_dec_to_input=given.apply_b_dec_to_input, normalize_activations=kind)
    parts = (given.encoder.float(), given.encoder_bias.float(), given.decoder.float(), given.decoder_bias.float())
    return SparseAutoencoder(config, *parts, activation=activation, precision="fp32")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(
    n=st.integers(1, 9),
    d=st.integers(2, 20),
    size=st.sampled_from([1e-4, 1.0, 1e4]),
    shift=st.sampled_from([0.0, 3.0]),
    seed=st.integers(0, 2**16),
)
def test_states_and_what_undoes_it_equal_the_formula(
    kind: Normalisation, n: int, d: int, size: float, shift: float, seed: int
) -> None:
    states = (torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) + shift) * size
    known, scale, summand = normalise(states, kind)
    expected = normalised(weights(d, 3, kind), states)
    for mine, other in zip((known, scale, summand), expected, strict=True):
        rounding = 1e-5 * float(other.abs().max())  # of fp32; an entry near 0 is the difference of larger ones
        torch.testing.assert_close(mine.double(), other, rtol=1e-3, atol=rounding)
    torch.testing.assert_close(known * scale + summand, states, rtol=1e-4, atol=1e-5 * size)


def test_norms_and_deviations() -> None:
    states = torch.randn(50, 12, generator=torch.Generator().manual_seed(0)) * 5 + 1
    torch.testing.assert_close(normalise(states, "constant_norm_rescale")[0].norm(dim=1), torch.full((50,), 12**0.5))
    known = normalise(states, "layer_norm")[0]
    torch.testing.assert_close(known.mean(1), torch.zeros(50), atol=1e-5, rtol=0)
    torch.testing.assert_close(known.std(1), torch.ones(50), atol=1e-4, rtol=0)
    for kind in ("none", "expected_average_only_in"):
        assert torch.equal(normalise(states, kind)[0], states)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fill", [0.0, 2.5])
def test_states_without_a_norm_or_a_deviation_stay_finite(kind: Normalisation, fill: float) -> None:
    states = torch.full((3, 6), fill)
    known, scale, shift = normalise(states, kind)
    assert bool(torch.isfinite(known).all())
    torch.testing.assert_close(known * scale + shift, states)
    sae = build(weights(6, 20, kind), kind, 4)
    assert bool(torch.isfinite(sae.reconstruct(states)).all())


def test_the_factor_for_the_average_norm() -> None:
    states = torch.randn(1000, 16, generator=torch.Generator().manual_seed(0)) * 3
    factor = average_norm_scale(float(states.norm(dim=1).mean()), 16)
    assert float((states * factor).norm(dim=1).mean()) == pytest.approx(4)
    assert average_norm_scale(0.0, 16) > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", ["topk", "abs_topk", "top_afa"])
@pytest.mark.parametrize("bias", [True, False])
def test_encode_decode_and_reconstruct_follow_the_formula(kind: Normalisation, activation: str, bias: bool) -> None:
    made = weights(10, 60, kind, bias=bias)
    states = torch.randn(40, 10, generator=torch.Generator().manual_seed(1)) * 7 + 2
    sae = build(made, kind, 4, activation)
    limit = 60 if activation == "top_afa" else 4
    codes = sae.encode(states)
    expected = dense(chosen(made, activation, states, limit), sae.n_terms)
    torch.testing.assert_close(codes.to_dense().double(), expected, rtol=1e-4, atol=1e-4)
    decoded, whole = reconstruction(made, activation, states, limit)
    torch.testing.assert_close(sae.decode(codes).double(), decoded, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(sae.reconstruct(states).double(), whole, rtol=1e-4, atol=1e-2)
    two = reconstruction(made, activation, states, 2)[1]
    torch.testing.assert_close(sae.reconstruct(states, 2).double(), two, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("kind", ["constant_norm_rescale", "layer_norm"])
def test_codes_do_not_change_with_the_scale_of_a_state_and_reconstructions_follow_it(kind: Normalisation) -> None:
    sae = build(weights(10, 60, kind), kind, 4)
    states = torch.randn(20, 10, generator=torch.Generator().manual_seed(1))
    one, other = sae.encode(states), sae.encode(states * 64)
    torch.testing.assert_close(one.to_dense(), other.to_dense(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(sae.reconstruct(states * 64), sae.reconstruct(states) * 64, rtol=1e-3, atol=1e-1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_perfect_dictionary_reconstructs_states_whatever_their_normalisation(kind: Normalisation) -> None:
    """Atoms along both ends of every axis: all that is above zero is kept, so that nothing is lost."""
    axes = torch.eye(8)
    atoms = torch.cat([axes, -axes])
    perfect = Weights(atoms, torch.zeros(16), atoms, torch.arange(8.0) / 10, None, True, kind)
    states = torch.randn(30, 8, generator=torch.Generator().manual_seed(2)) * 5 + 1
    torch.testing.assert_close(build(perfect, kind, 8).reconstruct(states), states, rtol=1e-4, atol=1e-4)
    half = dataclasses.replace(perfect, apply_b_dec_to_input=False, decoder_bias=torch.zeros(8))
    torch.testing.assert_close(build(half, kind, 8).reconstruct(states), states, rtol=1e-4, atol=1e-4)
