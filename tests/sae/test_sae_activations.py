"""How a finished autoencoder chooses latents: every activation against its dense formula.

States and weights are mostly small whole numbers: products are then exact in every number format, and there are many ties, so
that values, indices and their order can be compared for equality.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from dense_reference import Weights, centred, chosen, dense, preactivations, reconstruction
from hypothesis import given, settings
from hypothesis import strategies as st

from lexite.errors import ConfigError, ModelError
from lexite.kernels import product
from lexite.sae import SAEConfig, SparseAutoencoder, SparseCodes
from lexite.sae.autoencoder import Precision

ACTIVATIONS = ["topk", "jumprelu", "abs_topk", "top_afa"]
LIMITED = ("topk", "abs_topk")


def build(
    weights: Weights, activation: str, k: int, precision: Precision = "fp32", dtype: torch.dtype = torch.float32
) -> SparseAutoencoder:
    """Lexite's autoencoder of the same weights."""
    n_latents, d = weights.encoder.shape
    config = SAEConfig(
        d, n_latents, k, apply_b_dec_to_input=weights.apply_b_dec_to_input, normalize_activations=weights.normalise  # type: ignore[arg-type]
    )  # fmt: skip
    parts = [part.float() for part in (weights.encoder, weights.encoder_bias, weights.decoder, weights.decoder_bias)]
    thresholds = None if weights.thresholds is None else weights.thresholds.float()
    return SparseAutoencoder(
        config, *parts, activation=activation, thresholds=thresholds, precision=precision, weight_dtype=dtype  # type: ignore[arg-type]
    )  # fmt: skip


def whole_numbers(activation: str, d: int, latents: int, seed: int, *, negative: bool = False, bias: bool = True) -> Weights:
    """Weights that are small whole numbers; ``negative`` makes all pre-activations negative.

    For top_afa the encoder's are eighths, so that a norm is reached by several latents.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int, *shape: int) -> torch.Tensor:
        return torch.randint(low, high + 1, shape, generator=generator)

    encoder, decoder = draw(-3, 3, latents, d), draw(-3, 3, latents, d)
    biases = draw(-3, 5, latents) - (200 if negative else 0), draw(-2, 2, d)
    thresholds = draw(0, 8, latents) if activation == "jumprelu" else None
    unit = 1 / 8 if activation == "top_afa" else 1.0
    return Weights(encoder * unit, biases[0] * unit, decoder, biases[1], thresholds, bias)


def random(activation: str, d: int, latents: int, seed: int = 0, **changes: object) -> Weights:
    """Weights from the normal distribution."""
    generator = torch.Generator().manual_seed(seed)
    encoder, decoder = (torch.randn(latents, d, generator=generator) / d**0.5 for _ in range(2))
    biases = torch.randn(latents, generator=generator) / 5, torch.randn(d, generator=generator)
    thresholds = torch.rand(latents, generator=generator) * 2 if activation == "jumprelu" else None
    return Weights(encoder, biases[0], decoder, biases[1], thresholds, **changes)  # type: ignore[arg-type]


def numbers(n: int, d: int, seed: int, largest: int = 3) -> torch.Tensor:
    """States of whole numbers, among them zeros."""
    states = torch.randint(-largest, largest + 1, (n, d), generator=torch.Generator().manual_seed(seed)).float()
    states[::5] = 0
    return states


def rows(codes: SparseCodes) -> list[list[tuple[int, float]]]:
    """By token the terms in use with their values, in their order; checks what holds for all codes."""
    assert codes.indices.dtype == torch.int32
    assert codes.values.dtype == torch.float32
    used = codes.indices >= 0
    assert bool(((codes.values > 0) == used).all())
    assert bool((codes.values >= 0).all())
    if codes.values.shape[1] > 1:
        assert bool((used[:, :-1] >= used[:, 1:]).all())  # unused slots come last
    found = []
    for terms, values in zip(codes.indices.tolist(), codes.values.tolist(), strict=True):
        found.append([(i, v) for i, v in zip(terms, values, strict=True) if i >= 0])
        assert len({i for i, _ in found[-1]}) == len(found[-1])
        assert all(i < codes.n_latents for i, _ in found[-1])
    return found


problems = {
    "d": st.integers(1, 9),
    "latents": st.integers(1, 90),
    "n": st.integers(1, 20),
    "k": st.integers(1, 12),
    "precision": st.sampled_from(["fp32", "bf16"]),
    "seed": st.integers(0, 2**16),
    "bias": st.booleans(),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@settings(max_examples=25)
@given(**problems)
def test_values_indices_and_order_equal_the_dense_formula(
    activation: str, d: int, latents: int, n: int, k: int, precision: Precision, seed: int, bias: bool
) -> None:
    k = min(k, latents)
    weights, states = whole_numbers(activation, d, latents, seed, bias=bias), numbers(n, d, seed)
    sae = build(weights, activation, k, precision)
    assert sae.precision == precision
    codes = sae.encode(states)
    limit = k if activation in LIMITED else latents
    assert rows(codes) == chosen(weights, activation, states, limit)
    assert codes.n_latents == sae.n_terms == latents * (2 if activation == "abs_topk" else 1)
    if activation in LIMITED:
        assert codes.values.shape == (n, k)
    decoded, whole = reconstruction(weights, activation, states, limit)
    torch.testing.assert_close(sae.decode(codes).double(), decoded, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(sae.reconstruct(states).double(), whole, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@settings(max_examples=15)
@given(
    n=st.integers(1, 40), latents=st.integers(1, 150), tile=st.integers(1, 40), k=st.integers(1, 9), seed=st.integers(0, 999)
)
def test_tiles_change_nothing(activation: str, n: int, latents: int, tile: int, k: int, seed: int) -> None:
    weights, states = whole_numbers(activation, 6, latents, seed), numbers(n, 6, seed)
    with pytest.MonkeyPatch.context() as patch:
        for name, size in (("TILE_ROWS", 7), ("TILE_COLUMNS", tile), ("SMALLEST_BLOCK", 3), ("SMALLEST_ROOM", 2)):
            patch.setattr(product, name, size)
        patch.setattr(product, "TILE_BYTES", 40)
        codes = build(weights, activation, min(k, latents)).encode(states)
    assert rows(codes) == chosen(weights, activation, states, min(k, latents) if activation in LIMITED else latents)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_more_latents_than_a_tile_has_columns(activation: str) -> None:
    latents = product.TILE_COLUMNS + 37
    weights, states = whole_numbers(activation, 6, latents, 0), numbers(6, 6, 1)
    codes = build(weights, activation, 8).encode(states, 100)  # more than 64: slots are sorted in another way then
    assert rows(codes) == chosen(weights, activation, states, 100)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("k", [1, 2, 5, 70])
def test_k_caps_every_activation_at_the_largest(activation: str, k: int) -> None:
    weights, states = whole_numbers(activation, 5, 70, 3), numbers(30, 5, 4)
    sae = build(weights, activation, 4)
    codes = sae.encode(states, k)
    assert codes.values.shape[1] <= k
    whole = rows(sae.encode(states, 70))
    assert rows(codes) == [row[:k] for row in whole] == chosen(weights, activation, states, k)
    assert max(map(len, whole)) > 4  # k of the configuration is no limit once another is given


@pytest.mark.parametrize("activation", ["jumprelu", "top_afa"])
def test_activations_without_a_limit_are_not_cut_at_the_k_of_training(activation: str) -> None:
    weights, states = whole_numbers(activation, 5, 70, 3), numbers(30, 5, 4)
    lengths = [len(row) for row in rows(build(weights, activation, 1).encode(states))]
    assert max(lengths) > 1
    assert lengths == [len(row) for row in chosen(weights, activation, states, 70)]


@pytest.mark.parametrize("activation", ["topk", "jumprelu", "top_afa"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_preactivations_that_are_all_negative_give_empty_codes(activation: str, precision: Precision) -> None:
    weights, states = whole_numbers(activation, 5, 33, 0, negative=True), numbers(9, 5, 0)
    sae = build(weights, activation, 4, precision)
    codes = sae.encode(states)
    assert rows(codes) == [[]] * 9
    assert codes.l0 == 0
    assert torch.equal(sae.decode(codes), weights.decoder_bias.float().expand(9, 5))


def test_preactivations_that_are_all_negative_are_signed_terms_of_abs_topk() -> None:
    weights, states = whole_numbers("abs_topk", 5, 33, 0, negative=True), numbers(9, 5, 0)
    sae = build(weights, "abs_topk", 4)
    codes = sae.encode(states)
    assert bool((codes.indices >= 33).all())
    signed = dense(rows(codes), 66)
    torch.testing.assert_close(sae.decode(codes).double(), -signed[:, 33:] @ weights.decoder + weights.decoder_bias)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_state_at_the_bias_without_encoder_biases_has_no_code(activation: str) -> None:
    weights = dataclasses.replace(whole_numbers(activation, 5, 33, 0), encoder_bias=torch.zeros(33))
    states = weights.decoder_bias.float().expand(3, 5)
    sae = build(weights, activation, 4)
    assert rows(sae.encode(states)) == [[]] * 3
    assert torch.equal(sae.reconstruct(states), states)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_no_token_gives_no_code(activation: str) -> None:
    sae = build(whole_numbers(activation, 5, 33, 0), activation, 4)
    codes = sae.encode(torch.empty(0, 5))
    assert len(codes.values) == len(codes.indices) == 0
    assert codes.n_latents == sae.n_terms
    assert sae.decode(codes).shape == sae.reconstruct(torch.empty(0, 5)).shape == (0, 5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_values_of_real_numbers_are_exact_under_either_precision(activation: str, precision: Precision) -> None:
    weights, states = random(activation, 48, 400), torch.randn(120, 48, generator=torch.Generator().manual_seed(1)) * 3
    codes = build(weights, activation, 7, precision).encode(states)
    u = preactivations(weights, states)
    both = torch.cat([u, -u], dim=1) if activation == "abs_topk" else u
    used = codes.indices >= 0
    exact = both.gather(1, codes.indices.clamp(min=0).long())
    torch.testing.assert_close(codes.values[used].double(), exact[used], rtol=1e-4, atol=1e-5)
    expected = dense(chosen(weights, activation, states, 7 if activation in LIMITED else 400), codes.n_latents)
    shared = ((codes.to_dense() > 0) & (expected > 0)).sum() / (expected > 0).sum()
    assert float(shared) > (0.97 if precision == "bf16" else 0.9999)


@pytest.mark.parametrize("threshold", [0.0, -0.0, 0.3, 1.5])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_thresholds_decide_in_full_precision(threshold: float, precision: Precision) -> None:
    """What is within the rounding of bf16 beside a threshold is decided by the exact value."""
    weights, states = random("jumprelu", 48, 400), torch.randn(60, 48, generator=torch.Generator().manual_seed(1)) * 3
    weights = dataclasses.replace(weights, thresholds=torch.full((400,), threshold))
    codes = build(weights, "jumprelu", 7, precision).encode(states)
    u = preactivations(weights, states)
    # bf16 looks at what is up to 1/64 below a threshold, which is less than its rounding where thresholds are small.
    clear = (u - threshold).abs() > (1e-4 if threshold > 1 or precision == "fp32" else 0.05)
    assert torch.equal((codes.to_dense() > 0)[clear], (u > threshold)[clear])
    assert float(clear.float().mean()) > 0.9
    assert bool((codes.values[codes.indices >= 0] > threshold).all())


def test_top_afa_may_need_more_latents_than_are_looked_at_first() -> None:
    """Activations that are small beside the norm: more latents are needed than the first search looks at, for some even all."""
    generator = torch.Generator().manual_seed(0)
    d, latents = 8, 700
    signs = torch.randint(0, 2, (latents,), generator=generator) * 2 - 1
    for small, least in ((1 / 4, 64), (1 / 8, 256)):
        encoder = torch.zeros(latents, d)
        encoder[torch.arange(latents), torch.arange(latents) % d] = signs * small
        weights = Weights(encoder, torch.zeros(latents), encoder, torch.zeros(d))
        states = torch.cat([numbers(6, d, 0, 20), numbers(2, d, 1, 1)])
        states[1] = torch.tensor([20.0, 0, 0, 0, 0, 0, 0, 0])
        expected = chosen(weights, "top_afa", states, latents)
        assert max(map(len, expected)) > least
        for part in (states, states[:1], states[2:3]):
            assert rows(build(weights, "top_afa", 4).encode(part)) == chosen(weights, "top_afa", part, latents)
        assert rows(build(weights, "top_afa", 4).encode(states, 9)) == [row[:9] for row in expected]


def test_top_afa_stops_where_the_norm_is_nearest() -> None:
    encoder = torch.tensor([[3.0, 0.0], [0.0, 1.0], [0.0, 0.5]])
    sae = build(Weights(encoder, torch.zeros(3), encoder, torch.zeros(2)), "top_afa", 1)
    found = rows(sae.encode(torch.tensor([[1.0, 2.0], [0.0, 2.0], [-1.0, 0.0]])))
    # Norm √5: activations 3, 2, 1 with norms 3, 3.6, 3.7. Norm 2: activations 2, 1. Nothing above zero.
    assert found == [[(0, 3.0)], [(1, 2.0)], []]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("normalise", ["none", "layer_norm"])
def test_the_code_of_a_token_does_not_depend_on_the_others(activation: str, normalise: str) -> None:
    weights = random(activation, 24, 300, normalise=normalise)
    states = torch.randn(130, 24, generator=torch.Generator().manual_seed(2)) * 2
    sae = build(weights, activation, 6)
    together = rows(sae.encode(states))
    order = torch.randperm(130, generator=torch.Generator().manual_seed(3))
    assert rows(sae.encode(states[order])) == [together[i] for i in order]
    assert [rows(sae.encode(states[i : i + 1]))[0] for i in range(130)] == together


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_saved_and_loaded_it_gives_identical_codes(activation: str, dtype: torch.dtype, tmp_path: Path) -> None:
    weights = random(activation, 16, 90, apply_b_dec_to_input=False, normalise="constant_norm_rescale")
    sae = build(weights, activation, 5)
    sae = sae.save(tmp_path, dtype="bf16") if dtype == torch.bfloat16 else sae.save(tmp_path)
    loaded = SparseAutoencoder.load(tmp_path, precision="fp32")
    assert (loaded.activation, loaded.config, loaded.fingerprint) == (activation, sae.config, sae.fingerprint)
    assert loaded.weight_dtype == dtype
    if sae.thresholds is not None:
        assert loaded.thresholds is not None
        assert torch.equal(loaded.thresholds, weights.thresholds.float())  # type: ignore[union-attr]  # they are not rounded
    states = torch.randn(40, 16, generator=torch.Generator().manual_seed(0))
    same = SparseAutoencoder.load(tmp_path, precision="fp32").to("cpu")
    for other in (loaded, same):
        one, two = build_fp32(sae).encode(states), other.encode(states)
        assert torch.equal(one.values, two.values)
        assert torch.equal(one.indices, two.indices)
        assert torch.equal(other.reconstruct(states), build_fp32(sae).reconstruct(states))


def build_fp32(sae: SparseAutoencoder) -> SparseAutoencoder:
    """The same weights, selecting in fp32."""
    return SparseAutoencoder(
        sae.config, sae.encoder_weight, sae.encoder_bias, sae.decoder_weight, sae.decoder_bias,
        activation=sae.activation, thresholds=sae.thresholds, precision="fp32", weight_dtype=sae.weight_dtype,
    )  # fmt: skip


def test_fingerprints_tell_apart_what_gives_other_codes() -> None:
    base = random("jumprelu", 8, 20)
    assert base.thresholds is not None
    raised = base.thresholds.clone()
    raised[7] += 1e-3
    prints = {
        "thresholds": build(base, "jumprelu", 3),
        "others": build(dataclasses.replace(base, thresholds=raised), "jumprelu", 3),
        **{name: build(dataclasses.replace(base, thresholds=None), name, 3) for name in ("topk", "abs_topk", "top_afa")},
        "input": build(dataclasses.replace(base, apply_b_dec_to_input=False), "jumprelu", 3),
        "norm": build(dataclasses.replace(base, normalise="layer_norm"), "jumprelu", 3),
        "constant": build(dataclasses.replace(base, normalise="constant_norm_rescale"), "jumprelu", 3),
    }
    assert len({sae.fingerprint for sae in prints.values()}) == len(prints)
    assert build(base, "jumprelu", 3).fingerprint == prints["thresholds"].fingerprint


def test_the_rule_of_the_training_does_not_change_the_fingerprint() -> None:
    weights = random("topk", 8, 20)
    sae = build(weights, "topk", 3)
    config = dataclasses.replace(sae.config, rule="gradient_topk")
    other = SparseAutoencoder(config, sae.encoder_weight, sae.encoder_bias, sae.decoder_weight, sae.decoder_bias)
    assert other.fingerprint == sae.fingerprint


def test_a_file_of_the_first_release_loads_as_topk(tmp_path: Path) -> None:
    sae = build(random("topk", 8, 20), "topk", 3)
    sae.save(tmp_path)
    info = json.loads((tmp_path / "sae.json").read_text())
    old = {key: info[key] for key in ("format", "format_version", "rule", "d_model", "n_latents", "k", "sha256")}
    (tmp_path / "sae.json").write_text(json.dumps(old))
    loaded = SparseAutoencoder.load(tmp_path, precision="fp32")
    assert (loaded.activation, loaded.fingerprint, loaded.config) == ("topk", sae.fingerprint, sae.config)
    states = torch.randn(9, 8)
    assert rows(loaded.encode(states)) == rows(sae.encode(states))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_prefix_and_another_order_of_latents(activation: str) -> None:
    weights, states = whole_numbers(activation, 5, 40, 8), numbers(20, 5, 9)
    sae = build(weights, activation, 4)
    order = torch.tensor([39, 3, 17, 8, 0, 22])
    for changed, kept in ((sae.reordered(order), order), (sae.prefix(6), torch.arange(6)), (sae.prefix(40), torch.arange(40))):
        thresholds = None if weights.thresholds is None else weights.thresholds[kept]
        part = Weights(
            weights.encoder[kept], weights.encoder_bias[kept], weights.decoder[kept], weights.decoder_bias, thresholds
        )
        limit = 4 if activation in LIMITED else len(kept)
        assert changed.config.n_latents == len(kept)
        assert changed.config.k == 4
        assert rows(changed.encode(states)) == chosen(part, activation, states, limit)
        assert changed.n_terms == len(kept) * (2 if activation == "abs_topk" else 1)
        torch.testing.assert_close(changed.reconstruct(states).double(), reconstruction(part, activation, states, limit)[1])
    assert sae.prefix(3).config.k == 3
    assert sae.prefix(40).fingerprint == sae.fingerprint
    assert rows(sae.encode(states)) == chosen(weights, activation, states, 4 if activation in LIMITED else 40)  # as it was


def test_a_prefix_of_an_encoder_alone() -> None:
    weights = random("topk", 8, 20)
    sae = SparseAutoencoder(SAEConfig(8, 20, 3), weights.encoder.float(), weights.encoder_bias, None, weights.decoder_bias)
    assert sae.prefix(5).decoder_weight is None


@pytest.mark.parametrize("order", [[], [0, 0], [-1], [20], [0, 5, 0]])
def test_an_order_that_is_none_is_refused(order: list[int]) -> None:
    with pytest.raises(ModelError, match="from 0 to 19, each at most once"):
        build(random("topk", 8, 20), "topk", 3).reordered(torch.tensor(order, dtype=torch.int64))


@pytest.mark.parametrize("n", [0, -1, 21])
def test_a_prefix_out_of_range_is_refused(n: int) -> None:
    with pytest.raises(ModelError, match="there are 20"):
        build(random("topk", 8, 20), "topk", 3).prefix(n)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("k", [0, -1, 21])
def test_k_out_of_range_is_refused(activation: str, k: int) -> None:
    with pytest.raises(ConfigError, match="from 1 to the number of latents, 20"):
        build(random(activation, 8, 20), activation, 3).encode(torch.randn(2, 8), k)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_state_that_is_not_finite_is_named(activation: str, bad: float) -> None:
    states = torch.zeros(5, 8)
    states[3, 2] = bad
    with pytest.raises(ModelError, match="state 3 holds NaN or infinity"):
        build(random(activation, 8, 20), activation, 3).encode(states)


def test_thresholds_belong_to_jumprelu_alone() -> None:
    for activation, thresholds in (("jumprelu", None), ("topk", torch.zeros(20)), ("top_afa", torch.zeros(20))):
        verb = "needs" if thresholds is None else "takes no"
        with pytest.raises(ModelError, match=f"The activation {activation} {verb} thresholds"):
            build(dataclasses.replace(random("topk", 8, 20), thresholds=thresholds), activation, 3)
    with pytest.raises(ModelError, match="thresholds has the shape"):
        build(dataclasses.replace(random("topk", 8, 20), thresholds=torch.zeros(21)), "jumprelu", 3)


def test_an_activation_that_is_none_is_refused() -> None:
    with pytest.raises(ModelError, match="no activation 'batch_topk'"):
        build(random("topk", 8, 20), "batch_topk", 3)


def test_thresholds_missing_in_the_file_are_refused(tmp_path: Path) -> None:
    build(random("topk", 8, 20), "topk", 3).save(tmp_path)
    info = json.loads((tmp_path / "sae.json").read_text())
    (tmp_path / "sae.json").write_text(json.dumps({**info, "activation": "jumprelu"}))
    with pytest.raises(ModelError, match="jumprelu needs thresholds"):
        SparseAutoencoder.load(tmp_path)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_reference_selects_what_a_sort_selects(activation: str) -> None:
    """The reference's own loops, against torch's sort."""
    weights, states = random(activation, 9, 50), torch.randn(20, 9, generator=torch.Generator().manual_seed(5))
    u, found = preactivations(weights, states), dense(chosen(weights, activation, states, 50), 100)
    if activation == "topk":
        assert torch.equal(found[:, :50], torch.relu(u))
    elif activation == "abs_topk":
        assert torch.equal(found[:, :50] - found[:, 50:], u)
    elif activation == "jumprelu":
        assert torch.equal(found[:, :50], u * (u > weights.thresholds))
    else:
        ordered = torch.relu(u).sort(dim=1, descending=True).values
        gaps = (ordered.square().cumsum(1).sqrt() - centred(weights, states).norm(dim=1, keepdim=True)).abs()
        assert torch.equal((found > 0).sum(1), torch.minimum(gaps.argmin(1) + 1, (u > 0).sum(1)))
