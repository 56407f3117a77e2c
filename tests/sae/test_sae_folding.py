"""Folding changes weights, not what comes out."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from dense_reference import Weights, chosen, dense, reconstruction

from lexite.errors import ModelError
from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.sae.folding import fold_decoder_norm, fold_input_scale

ACTIVATIONS = ["topk", "jumprelu", "abs_topk", "top_afa"]
D, F, K = 10, 60, 4


def build(activation: str, *, norms: float | None = None, decoder: bool = True, **changes: object) -> SparseAutoencoder:
    """A random autoencoder; atoms of random norms, or all of one."""
    generator = torch.Generator().manual_seed(0)
    encoder, atoms = (torch.randn(F, D, generator=generator) / 3 for _ in range(2))
    if norms is not None:
        atoms = torch.nn.functional.normalize(atoms, dim=1) * norms
    biases = torch.randn(F, generator=generator) / 5, torch.randn(D, generator=generator)
    thresholds = torch.rand(F, generator=generator) if activation == "jumprelu" else None
    return SparseAutoencoder(
        SAEConfig(D, F, K, **changes),  # type: ignore[arg-type]
        encoder, biases[0], atoms if decoder else None, biases[1],
        activation=activation, thresholds=thresholds, precision="fp32",  # type: ignore[arg-type]
    )  # fmt: skip


def weights(sae: SparseAutoencoder) -> Weights:
    assert sae.decoder_weight is not None
    known = sae.config.normalize_activations
    parts = (sae.encoder_weight, sae.encoder_bias, sae.decoder_weight, sae.decoder_bias, sae.thresholds)
    return Weights(*parts, sae.config.apply_b_dec_to_input, known)


def states(n: int = 80) -> torch.Tensor:
    return torch.randn(n, D, generator=torch.Generator().manual_seed(1)) * 2


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one.double(), other.double(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("scale", [0.03, 1.0, 7.5])
@pytest.mark.parametrize("bias", [True, False])
def test_a_folded_input_scale_gives_the_codes_of_scaled_states(activation: str, scale: float, bias: bool) -> None:
    sae = build(activation, apply_b_dec_to_input=bias, normalize_activations="expected_average_only_in")
    folded = fold_input_scale(sae, scale)
    one, other = sae.encode(states() * scale), folded.encode(states())
    # The choice of top_afa compares activations with the norm of the state, so that both are scaled.
    factor = scale if activation == "top_afa" else 1.0
    close(one.to_dense(), other.to_dense() * factor)
    assert torch.equal(one.to_dense() > 0, other.to_dense() > 0)
    assert one.l0 >= 1
    close(sae.reconstruct(states() * scale) / scale, folded.reconstruct(states()))
    close(sae.decode(one) / scale, folded.decode(other))
    limit = K if activation in ("topk", "abs_topk") else F
    expected = dense(chosen(weights(sae), activation, states() * scale, limit), sae.n_terms)
    close(other.to_dense() * factor, expected)
    assert folded.config.normalize_activations == "none"
    assert folded.config.apply_b_dec_to_input == bias
    assert folded.activation == activation


def test_an_input_scale_is_folded_into_an_encoder_alone() -> None:
    folded = fold_input_scale(build("topk", decoder=False), 3.0)
    assert folded.decoder_weight is None
    close(folded.encode(states()).to_dense(), build("topk").encode(states() * 3).to_dense())


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan")])
def test_a_scale_that_is_none_is_refused(scale: float) -> None:
    with pytest.raises(ModelError, match="a scale is a positive number"):
        fold_input_scale(build("topk"), scale)


@pytest.mark.parametrize("kind", ["constant_norm_rescale", "layer_norm"])
def test_an_input_scale_is_refused_where_states_are_brought_to_one_scale_anyway(kind: str) -> None:
    with pytest.raises(ModelError, match=kind):
        fold_input_scale(build("topk", normalize_activations=kind), 2.0)


def test_folded_decoder_norms_scale_the_codes_of_jumprelu_and_change_nothing_else() -> None:
    sae = build("jumprelu")
    folded = fold_decoder_norm(sae)
    assert sae.decoder_weight is not None
    assert folded.decoder_weight is not None
    close(folded.decoder_weight.norm(dim=1), torch.ones(F))
    one, other = sae.encode(states()), folded.encode(states())
    close(one.to_dense() * sae.decoder_weight.norm(dim=1), other.to_dense())
    assert torch.equal(one.to_dense() > 0, other.to_dense() > 0)
    assert one.l0 > 1
    close(sae.reconstruct(states()), folded.reconstruct(states()))
    assert fold_decoder_norm(folded).fingerprint != sae.fingerprint
    close(fold_decoder_norm(folded).encoder_weight, folded.encoder_weight)  # once is enough


@pytest.mark.parametrize("activation", ["topk", "abs_topk", "top_afa"])
@pytest.mark.parametrize("bias", [True, False])
def test_trained_with_rescaling_folding_gives_the_codes_of_the_training(activation: str, bias: bool) -> None:
    """Select on u · ‖d‖, decode with u: the codes are u · ‖d‖ over atoms of unit norm."""
    sae = build(activation, apply_b_dec_to_input=bias)
    folded, plain = fold_decoder_norm(sae, rescaled=True), weights(sae)
    norms = plain.decoder.norm(dim=1)
    encoder, decoder = plain.encoder * norms[:, None], plain.decoder / norms[:, None]
    scaled = dataclasses.replace(plain, encoder=encoder, encoder_bias=plain.encoder_bias * norms, decoder=decoder)
    limit = F if activation == "top_afa" else K
    expected = dense(chosen(scaled, activation, states(), limit), sae.n_terms)
    close(folded.encode(states()).to_dense(), expected)
    raw = expected[:, :F] - expected[:, F:] if activation == "abs_topk" else expected
    close(folded.reconstruct(states()), (raw / norms) @ plain.decoder + plain.decoder_bias)
    close(folded.reconstruct(states()), reconstruction(scaled, activation, states(), limit)[1])


@pytest.mark.parametrize("activation", ["topk", "abs_topk", "top_afa"])
def test_folding_that_would_change_the_selection_is_refused(activation: str) -> None:
    sae = build(activation)
    assert sae.decoder_weight is not None
    with pytest.raises(ModelError, match=f"selects by {activation} and was trained without rescale_acts_by_decoder_norm"):
        fold_decoder_norm(sae)
    # The refusal is right: what folding does gives other codes.
    folded = fold_decoder_norm(sae, rescaled=True)
    assert not torch.equal(folded.encode(states()).to_dense() > 0, sae.encode(states()).to_dense() > 0)


@pytest.mark.parametrize("activation", ["topk", "abs_topk"])
@pytest.mark.parametrize("norm", [1.0, 0.2])
def test_atoms_of_one_norm_can_be_folded_whatever_the_training(activation: str, norm: float) -> None:
    sae = build(activation, norms=norm)
    folded = fold_decoder_norm(sae)
    close(sae.encode(states()).to_dense() * norm, folded.encode(states()).to_dense())
    close(sae.reconstruct(states()), folded.reconstruct(states()))


def test_top_afa_compares_activations_with_the_norm_of_a_state_so_that_only_norms_of_one_can_be_folded() -> None:
    sae = build("top_afa", norms=1.0)
    close(sae.encode(states()).to_dense(), fold_decoder_norm(sae).encode(states()).to_dense())
    with pytest.raises(ModelError, match="top_afa"):
        fold_decoder_norm(build("top_afa", norms=0.2))


def test_an_atom_of_zero_stays_finite() -> None:
    sae = build("jumprelu")
    atoms = sae.decoder_weight
    assert atoms is not None
    atoms[5] = 0
    changed = SparseAutoencoder(
        sae.config, sae.encoder_weight, sae.encoder_bias, atoms, sae.decoder_bias,
        activation="jumprelu", thresholds=sae.thresholds, precision="fp32",
    )  # fmt: skip
    folded = fold_decoder_norm(changed)
    for tensor in (folded.encoder_weight, folded.encoder_bias, folded.decoder_weight, folded.thresholds):
        assert tensor is not None
        assert bool(torch.isfinite(tensor).all())
    close(changed.reconstruct(states()), folded.reconstruct(states()))


def test_norms_are_not_folded_without_a_decoder() -> None:
    with pytest.raises(ModelError, match="without its decoder"):
        fold_decoder_norm(build("topk", decoder=False))


def test_both_foldings_together() -> None:
    sae = build("jumprelu", normalize_activations="expected_average_only_in")
    one, other = fold_decoder_norm(fold_input_scale(sae, 3.0)), fold_input_scale(fold_decoder_norm(sae), 3.0)
    close(one.reconstruct(states()), sae.reconstruct(states() * 3) / 3)
    close(other.reconstruct(states()), sae.reconstruct(states() * 3) / 3)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_the_precision_of_the_selection_is_kept(precision: str) -> None:
    sae = build("topk", norms=1.0)
    parts = (sae.encoder_weight, sae.encoder_bias, sae.decoder_weight, sae.decoder_bias)
    again = SparseAutoencoder(sae.config, *parts, precision=precision)  # type: ignore[arg-type]
    assert fold_input_scale(again, 2.0).precision == fold_decoder_norm(again).precision == precision
