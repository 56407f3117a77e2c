"""The token encoder's codes, and what it gives losses, are those of dense matrices, and so are all gradients."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from dense_codes import (
    NAMES,
    as_dense,
    codes,
    of_dead,
    preactivations,
    prepared,
    random_encoder,
    reconstruction,
    weights_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from lexite.errors import ConfigError, ModelError
from lexite.integrations.sentence_transformers.token_encoder import SparseAutoEncoderTokenEncoder
from lexite.kernels.hardware import fast_bf16

N, D_MODEL, N_LATENTS, K = 50, 12, 40, 5


@pytest.fixture
def states() -> torch.Tensor:
    return torch.randn(N, D_MODEL, generator=torch.Generator().manual_seed(3)) * 1.5 + 0.2


def run(module: SparseAutoEncoderTokenEncoder, states: torch.Tensor, **features: Any) -> dict[str, Any]:
    return module({"token_embeddings": states, **features})


def dense_outputs(
    module: SparseAutoEncoderTokenEncoder, states: torch.Tensor, weights: dict[str, torch.Tensor], k: int
) -> dict[str, torch.Tensor]:
    """What the module has to give, by dense matrices."""
    inputs = prepared(states, module.normalize, module.rms_scale, module.data_mean)
    u = preactivations(inputs, weights, module.apply_b_dec_to_input)
    theta = weights.get("theta")
    f = codes(u, k, theta, module.jumprelu_bandwidth)
    more = codes(u, 4 * k, theta, module.jumprelu_bandwidth)
    outputs = {"codes": f, "sae_input_normalized": inputs, "sae_output_decoded": reconstruction(f, weights)}
    if module.multi_topk:
        outputs["sae_output_decoded_4k"] = reconstruction(more, weights)
    if module.k_aux and module.dead_latents().any():
        outputs["sae_output_decoded_aux"] = of_dead(u, module.dead_latents(), module.k_aux, weights)
    return outputs


def own_outputs(module: SparseAutoEncoderTokenEncoder, states: torch.Tensor) -> dict[str, torch.Tensor]:
    output = run(module, states)
    dense = as_dense(output["token_sparse_values"], output["token_sparse_indices"], module.hidden_dim)
    return {"codes": dense, **{key: value for key, value in output.items() if key.startswith("sae_")}}


def compare_training(module: SparseAutoEncoderTokenEncoder, states: torch.Tensor, k: int = K) -> None:
    """Each output, and the gradients of a random sum of each by each weight and by the states."""
    weights = weights_of(module)
    own_states, dense_states = states.clone().requires_grad_(), states.clone().requires_grad_()
    expected = dense_outputs(module, dense_states, weights, k)
    mine = own_outputs(module.train(), own_states)
    parameters = {name: getattr(module, name) for name in weights}
    assert set(mine) - {"sae_token_values", "sae_token_indices"} == set(expected)
    generator = torch.Generator().manual_seed(9)
    for key, theirs in expected.items():
        torch.testing.assert_close(mine[key], theirs, rtol=1e-4, atol=1e-4, msg=lambda text, key=key: f"{key}: {text}")
        upstream = torch.randn(theirs.shape, generator=generator)
        inputs = ([*parameters.values(), own_states], [*weights.values(), dense_states])
        results = [
            torch.autograd.grad((value * upstream).sum(), given, retain_graph=True, allow_unused=True)
            for value, given in zip((mine[key], theirs), inputs, strict=True)
        ]
        for name, one, other in zip([*parameters, "states"], *results, strict=True):
            other = torch.zeros_like(one) if other is None and one is not None else other
            assert (one is None) == (other is None), f"{key} by {name}"
            if one is not None:
                torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4, msg=lambda t, n=f"{key} by {name}": f"{n}: {t}")


@pytest.mark.parametrize("variant", ["topk", "jumprelu"])
@pytest.mark.parametrize("normalize", ["none", "constant_norm_rescale", "layer_norm"])
@pytest.mark.parametrize("subtract", [True, False])
def test_training_outputs_and_all_their_gradients_are_those_of_dense_matrices(states, variant, normalize, subtract) -> None:
    options = {"variant": variant, "normalize": normalize, "apply_b_dec_to_input": subtract}
    module = random_encoder(k_aux=4, jumprelu_bandwidth=0.4, **options)
    module.multi_topk = True
    module.tokens_since_active[3:20] = module.dead_after_tokens
    compare_training(module, states)


@given(st.integers(0, 12), st.integers(1, 9), st.integers(1, 30), st.integers(1, 8), st.integers(0, 1000), st.booleans())
@settings(max_examples=25)
def test_training_is_dense_for_all_shapes(n, d_model, n_latents, k, seed, jump) -> None:
    k = min(k, n_latents)
    module = random_encoder(d_model, n_latents, k, seed, variant="jumprelu" if jump else "topk", k_aux=3)
    module.multi_topk = True
    module.tokens_since_active[::2] = module.dead_after_tokens
    compare_training(module, torch.randn(n, d_model), k)


@pytest.mark.parametrize("shift", [{"rms_scale": 2.5}, {"data_mean": True}, {"rms_scale": 2.5, "data_mean": True}])
@pytest.mark.parametrize("normalize", ["none", "constant_norm_rescale"])
def test_states_are_shifted_or_scaled_first(states, shift, normalize) -> None:
    module = random_encoder(k_aux=0, normalize=normalize, rms_scale=shift.get("rms_scale"))
    if shift.get("data_mean"):
        module.data_mean = torch.linspace(-1, 1, D_MODEL)
    expected = dense_outputs(module, states, weights_of(module), K)
    torch.testing.assert_close(own_outputs(module.eval(), states)["codes"], expected["codes"], rtol=1e-4, atol=1e-4)
    trained = own_outputs(module.train(), states)
    for key in ("codes", "sae_input_normalized", "sae_output_decoded"):
        torch.testing.assert_close(trained[key], expected[key], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", ["topk", "jumprelu"])
def test_codes_are_the_same_in_training_and_in_use(states, variant) -> None:
    """Also where a latent among the k largest is below its own threshold: the next one above its own takes its place."""
    module = random_encoder(variant=variant, jumprelu_bandwidth=0.4)
    if module.theta is not None:
        with torch.no_grad():
            module.theta.uniform_(0, 3)
    trained, used = own_outputs(module.train(), states)["codes"], own_outputs(module.eval(), states)["codes"]
    torch.testing.assert_close(trained, used)
    torch.testing.assert_close(used, codes(preactivations(states, weights_of(module)), K, module.theta), rtol=1e-4, atol=1e-4)


def test_dead_latents_get_gradients_and_no_bias_is_added(states) -> None:
    module = random_encoder(k_aux=8)
    dead = torch.zeros(N_LATENTS, dtype=torch.bool)
    dead[10:20] = True
    module.tokens_since_active[dead] = module.dead_after_tokens
    output = run(module.train(), states)
    output["sae_output_decoded_aux"].square().sum().backward()
    for name in ("W_enc", "b_enc", "W_dec"):
        gradient = getattr(module, name).grad
        assert gradient[dead].any() and not gradient[~dead].any(), name
    with torch.no_grad():
        module.W_dec[dead] = 0
    assert not run(module.train(), states)["sae_output_decoded_aux"].any()  # nothing but atoms is in it


def test_nothing_is_added_where_nothing_is_dead_or_asked_for(states) -> None:
    module = random_encoder(k_aux=8).train()
    assert {key for key in run(module, states) if key.startswith("sae_output")} == {"sae_output_decoded"}
    module.tokens_since_active += module.dead_after_tokens
    assert "sae_output_decoded_aux" in run(module, states)
    module.k_aux = 0
    assert "sae_output_decoded_aux" not in run(module, states)


def test_multi_topk_leaves_the_code_itself_alone(states) -> None:
    """Its 4k latents are not those that a mask of dead latents left over, and the first k are the plain code."""
    module = random_encoder(k_aux=8).train()
    module.tokens_since_active += module.dead_after_tokens
    plain = run(module, states)
    module.multi_topk = True
    more = run(module, states)
    for key in ("token_sparse_values", "token_sparse_indices", "sae_output_decoded", "sae_output_decoded_aux"):
        torch.testing.assert_close(more[key], plain[key])
    assert not torch.allclose(more["sae_output_decoded_4k"], more["sae_output_decoded"])


def test_inference_mode_leaves_nothing_behind_that_cannot_be_used_outside_of_it(states) -> None:
    """An evaluator encodes in inference mode, the trainer's own evaluation and a loss do not."""
    module = random_encoder().eval()
    with torch.inference_mode():
        expected = run(module, states * 1)["token_sparse_values"]
    torch.testing.assert_close(run(module, states)["token_sparse_values"], expected)
    run(module.train(), states)["sae_output_decoded"].sum().backward()
    with torch.inference_mode():
        run(module, states * 1)
    run(module, states)["sae_output_decoded"].sum().backward()


def test_there_is_nothing_for_losses_outside_training_or_without_a_decoder(states) -> None:
    module = random_encoder()
    without = random_encoder(has_decoder=False)
    with torch.no_grad():
        outputs = [run(module.eval(), states), run(module.train(), states)]
    outputs += [run(module.eval(), states), run(without.train(), states)]
    assert not any(key.startswith("sae_") for output in outputs for key in output)
    assert outputs[-1]["token_sparse_values"].requires_grad
    with pytest.raises(ModelError, match="fit_decoder"):
        without.decode_tokens(without.encode_tokens(states))


@pytest.mark.parametrize("fused", [False, True])
def test_codes_follow_an_optimizer(states, fused) -> None:
    """A fused optimizer changes weights without a trace that torch shows."""
    module = random_encoder(k_aux=0)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.5, fused=fused)
    with torch.no_grad():
        run(module.eval(), states)
        run(module.train(), states)
    for _ in range(3):
        compare_training(module, states)
        output = run(module.train(), states)
        with torch.no_grad():
            run(module, states)  # a loss may look at codes without gradients
        (output["sae_output_decoded"] - states).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    expected = codes(preactivations(states, weights_of(module)), K)
    torch.testing.assert_close(own_outputs(module.eval(), states)["codes"], expected, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        module.W_enc.mul_(-1)
    expected = codes(preactivations(states, weights_of(module)), K)
    torch.testing.assert_close(own_outputs(module, states)["codes"], expected, rtol=1e-4, atol=1e-4)


def test_codes_follow_weights_that_are_written_unseen(states) -> None:
    module = random_encoder().eval()
    own_outputs(module, states)
    for write in (lambda w: w.data.mul_(-2.0), lambda w: w.data.copy_(w.flip(0)), lambda w: w.detach().numpy().__imul__(0.5)):
        write(module.W_enc)
        expected = codes(preactivations(states, weights_of(module)), K)
        torch.testing.assert_close(own_outputs(module, states)["codes"], expected, rtol=1e-4, atol=1e-4)


def test_frozen_weights_get_no_gradient_but_states_do(states) -> None:
    module = random_encoder(frozen=True).train()
    states.requires_grad_()
    run(module, states)["sae_output_decoded"].sum().backward()
    assert states.grad is not None and states.grad.any()
    assert all(parameter.grad is None for parameter in module.parameters())


def test_tokens_are_counted_one_by_one() -> None:
    """Counting calls instead would make latents dead batch-size times too late."""
    module = random_encoder(dead_after_tokens=5)
    module.count(torch.tensor([[0, 1], [2, -1], [0, 3]]), torch.tensor([True, True, False]))
    assert module.tokens_since_active[:5].tolist() == [0, 0, 0, 2, 2]
    module.count(torch.tensor([[1, -1]] * 3))
    assert module.tokens_since_active[:5].tolist() == [3, 0, 3, 5, 5]
    assert module.dead_latents().tolist() == [False] * 3 + [True] * (N_LATENTS - 3)
    module.count(torch.full((2, 2), -1))
    assert module.dead_latents().tolist()[:3] == [True, False, True]


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_layouts_give_the_same_codes(states, mode) -> None:
    module = getattr(random_encoder(k_aux=0), mode)()
    flat = run(module, states)
    mask = torch.zeros(3, 30, dtype=torch.int64)
    mask[0, :20], mask[1, 15:], mask[2, 2:17] = 1, 1, 1  # right, left and both sides padded
    padded_states = torch.full((3, 30, D_MODEL), torch.nan)
    padded_states[mask.bool()] = states
    padded = run(module, padded_states, attention_mask=mask)
    packed = run(module, states[None], cu_seq_lens_q=torch.tensor([0, 20, 35, 50], dtype=torch.int32))
    for key in ("token_sparse_values", "token_sparse_indices"):
        assert padded[key].shape == (3, 30, K) and packed[key].shape == (1, N, K)
        torch.testing.assert_close(padded[key][mask.bool()], flat[key])
        torch.testing.assert_close(packed[key][0], flat[key])
        assert not padded[key][~mask.bool()].any()
    if mode == "train":
        for output in (padded, packed):
            torch.testing.assert_close(output["sae_output_decoded"], flat["sae_output_decoded"])
            torch.testing.assert_close(output["sae_input_normalized"], states)


@pytest.mark.parametrize("variant", ["topk", "jumprelu"])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_encoding_in_parts_changes_nothing(states, variant, mode) -> None:
    options = {"variant": variant, "k_aux": 4}
    whole, parts = random_encoder(**options), random_encoder(token_batch_size=7, **options)
    for module in (whole, parts):
        module.tokens_since_active[:9] = module.dead_after_tokens
        getattr(module, mode)()
    one, other = own_outputs(whole, states), own_outputs(parts, states)
    assert set(one) == set(other)
    for key in one:
        torch.testing.assert_close(other[key], one[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_batch_without_tokens_has_codes_without_tokens(mode) -> None:
    module = getattr(random_encoder(), mode)()
    mask = torch.zeros(2, 3, dtype=torch.int64)
    output = run(module, torch.randn(2, 3, D_MODEL), attention_mask=mask)
    assert output["token_sparse_values"].shape == (2, 3, K) and not output["token_sparse_values"].any()


def test_values_are_of_fp32_and_slots_in_order(states) -> None:
    output = run(random_encoder(k=30).eval(), states)
    values, indices = output["token_sparse_values"], output["token_sparse_indices"]
    assert (values.dtype, indices.dtype) == (torch.float32, torch.int64)
    assert (values.diff(dim=1) <= 1e-5).all() and (values >= 0).all() and (values == 0).any()
    assert not indices[values == 0].any()


@pytest.mark.parametrize("output_format", ["dense", "both"])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_dense_codes_are_written_where_they_are_asked_for(states, output_format, mode) -> None:
    module = getattr(random_encoder(output_format=output_format), mode)()
    output = run(module, states.view(2, 25, D_MODEL))
    expected = as_dense(output["token_sparse_values"], output["token_sparse_indices"], N_LATENTS)
    torch.testing.assert_close(output["token_sparse_embeddings"], expected)
    assert output["token_sparse_embeddings"].shape == (2, 25, N_LATENTS)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_queries_may_keep_fewer_latents(states, mode) -> None:
    module = getattr(random_encoder(query_k=2), mode)()
    for task, k in (("query", 2), ("document", K), (None, K)):
        assert module({"token_embeddings": states}, task=task)["token_sparse_values"].shape == (N, k)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_half_precision_weights_and_states_are_computed_with_in_fp32(states, dtype, mode) -> None:
    module = random_encoder(k_aux=0).to(dtype)
    assert module.W_enc.dtype == dtype and module.tokens_since_active.dtype == torch.int64
    expected = dense_outputs(module, states.to(dtype), weights_of(module), K)
    mine = own_outputs(getattr(module, mode)(), states.to(dtype))
    for key in mine.keys() & expected.keys():
        assert mine[key].dtype == torch.float32
        torch.testing.assert_close(mine[key], expected[key], rtol=1e-4, atol=1e-4)
    if mode == "train":
        mine["sae_output_decoded"].sum().backward()
        assert module.W_enc.grad is not None and module.W_enc.grad.dtype == dtype


def test_autocast_leaves_fp32_inside(states) -> None:
    module = random_encoder(k_aux=4).train()
    module.tokens_since_active[:9] = module.dead_after_tokens
    plain = own_outputs(module, states)
    with torch.autocast("cpu", torch.bfloat16):
        cast = own_outputs(module, states)
    for key, value in plain.items():
        torch.testing.assert_close(cast[key], value)


def test_a_product_in_bf16_decides_only_between_nearly_equal_latents(states) -> None:
    exact, quick = random_encoder(), random_encoder(precision="bf16")
    assert (exact.autoencoder_precision, quick.autoencoder_precision) == ("fp32", "bf16")
    wide = preactivations(states, weights_of(exact)).detach()
    for mode in ("eval", "train"):
        output = run(getattr(quick, mode)(), states)
        values, indices = output["token_sparse_values"].detach(), output["token_sparse_indices"]
        chosen = wide.gather(1, indices)
        torch.testing.assert_close(values[values > 0], chosen[values > 0], rtol=1e-4, atol=1e-5)  # computed again in fp32
        smallest = wide.topk(K, dim=1).values[:, -1:]
        assert (chosen[values > 0] >= (smallest.expand_as(values)[values > 0] - 0.1)).all()
    automatic = random_encoder(precision="auto")
    assert automatic.autoencoder_precision == ("bf16" if fast_bf16("cpu") else "fp32")


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_states_that_are_no_numbers_are_refused_unless_they_are_padding(states, bad, mode) -> None:
    module = getattr(random_encoder(), mode)()
    states[4, 2] = bad
    mask = torch.ones(1, N, dtype=torch.int64)
    with pytest.raises(ModelError, match="NaN or infinity. Check the backbone"):
        run(module, states[None], attention_mask=mask)
    mask[0, 4] = 0
    assert torch.isfinite(run(module, states[None], attention_mask=mask)["token_sparse_values"]).all()


def test_states_of_another_width_are_refused() -> None:
    with pytest.raises(ModelError, match="width 7, but the sparse autoencoder reads 12"):
        run(random_encoder(), torch.zeros(3, 7))


def test_decoding_gives_what_training_decodes(states) -> None:
    module = random_encoder(normalize="layer_norm", k_aux=0)
    trained = run(module.train(), states)
    decoded = module.decode_tokens(module.eval().encode_tokens(states))
    torch.testing.assert_close(decoded, trained["sae_output_decoded"])
    torch.testing.assert_close(module.prepared(states), trained["sae_input_normalized"])


def test_atoms_are_brought_to_unit_norm() -> None:
    module = random_encoder()
    before = module.W_dec.detach().clone()
    module.normalize_decoder_()
    torch.testing.assert_close(module.W_dec.detach(), before / before.norm(dim=1, keepdim=True))


def test_new_weights_are_the_transpose_of_unit_atoms_and_thresholds_can_move(states) -> None:
    module = SparseAutoEncoderTokenEncoder(D_MODEL, N_LATENTS, N_LATENTS, "jumprelu", jumprelu_bandwidth=0.5)
    assert torch.equal(module.W_enc, module.W_dec)
    torch.testing.assert_close(module.W_enc.norm(dim=1), torch.ones(N_LATENTS))
    (run(module.train(), states)["sae_output_decoded"] - states).square().sum().backward()
    assert module.theta.grad is not None and module.theta.grad.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_dim": 0}, "input_dim is 0"),
        ({"hidden_dim": 0}, "hidden_dim is 0"),
        ({"k": 41}, "k is 41, but must be from 1 to the number of latents, 40"),
        ({"k": 0}, "k is 0"),
        ({"query_k": 41}, "k is 41"),
        ({"variant": "gated"}, "variant is 'gated', but must be one of topk, jumprelu"),
        ({"output_format": "csr"}, "output_format is 'csr'"),
        ({"normalize": "l2"}, "normalize is 'l2'"),
        ({"precision": "fp16"}, "precision is 'fp16'"),
        ({"k_aux": -1}, "k_aux is -1"),
        ({"token_batch_size": 0}, "token_batch_size is 0"),
        ({"dead_after_tokens": 0}, "dead_after_tokens is 0"),
        ({"rms_scale": 0.0}, "rms_scale is 0.0"),
        ({"jumprelu_bandwidth": -1.0}, "jumprelu_bandwidth is -1.0"),
        ({"checkpoint_format_version": 9}, "checkpoint_format_version is 9"),
    ],
)
def test_options_that_there_are_not_are_refused(options, message) -> None:
    with pytest.raises(ConfigError, match=message):
        SparseAutoEncoderTokenEncoder(**{"input_dim": D_MODEL, "hidden_dim": N_LATENTS, "k": K, **options})


OPTIONS = {
    "plain": {},
    "jumprelu": {"variant": "jumprelu", "jumprelu_bandwidth": 0.3, "query_k": 2, "k_aux": 3},
    "encoder alone": {"has_decoder": False, "normalize": "layer_norm", "apply_b_dec_to_input": False},
    "scaled": {"rms_scale": 3.0, "frozen": True, "token_batch_size": 9, "dead_after_tokens": 70, "output_format": "both"},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_saved_and_loaded_it_is_the_same(states, tmp_path: Path, name) -> None:
    module = random_encoder(**OPTIONS[name])
    if name == "scaled":
        module.data_mean = torch.linspace(0, 1, D_MODEL)
        module.count(torch.tensor([[1, 2]]))
    module.save(str(tmp_path))
    loaded = SparseAutoEncoderTokenEncoder.load(str(tmp_path))
    assert loaded.get_config_dict() == module.get_config_dict()
    assert set(loaded.state_dict()) == set(module.state_dict())
    for key, value in module.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    assert [p.requires_grad for p in loaded.parameters()] == [p.requires_grad for p in module.parameters()]
    for key, value in own_outputs(module.eval(), states).items():
        assert torch.equal(own_outputs(loaded.eval(), states)[key], value)


def test_copies_of_a_used_module_are_whole(states) -> None:
    module = random_encoder()
    run(module.train(), states)
    expected = run(module.eval(), states)["token_sparse_values"]
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        torch.testing.assert_close(run(other, states)["token_sparse_values"], expected)
        with torch.no_grad():
            other.W_enc.zero_()
    torch.testing.assert_close(run(module, states)["token_sparse_values"], expected)
    fresh = random_encoder(seed=5)
    run(fresh.eval(), states)
    fresh.load_state_dict(module.state_dict())
    torch.testing.assert_close(run(fresh, states)["token_sparse_values"], expected)


def spoil(folder: Path, how: str) -> None:
    """Damages a saved module."""
    config = json.loads((folder / "config.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    if how == "no config":
        (folder / "config.json").unlink()
    elif how == "no weights":
        (folder / "model.safetensors").unlink()
    elif how == "config is no JSON":
        (folder / "config.json").write_text('{"input_dim": 12,')
    elif how == "config is a list":
        (folder / "config.json").write_text("[1]")
    elif how == "weights are cut":
        (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-40])
    elif how.startswith("config"):
        key, value = {"config key": ("colour", 1), "config value": ("variant", "gated"), "config type": ("k", "many")}[how]
        (folder / "config.json").write_text(json.dumps({**config, key: value}))
    elif how == "no k":
        (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if key != "k"}))
    else:
        changes = {
            "tensor missing": {name: t for name, t in tensors.items() if name != "b_enc"},
            "tensor unknown": {**tensors, "W_gate": torch.zeros(3)},
            "tensor of another shape": {**tensors, "b_pre": torch.zeros(3)},
            "mean of another shape": {**tensors, "data_mean": torch.zeros(3)},
            "decoder missing": {name: t for name, t in tensors.items() if name != "W_dec"},
        }
        save_file(changes[how], folder / "model.safetensors")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no config", "holds no config.json"),
        ("no weights", "holds no model.safetensors"),
        ("config is no JSON", "config.json is damaged"),
        ("config is a list", "config.json"),
        ("weights are cut", "model.safetensors is damaged"),
        ("config key", "config.json has the unknown key 'colour'"),
        ("config value", "config.json cannot be used: variant is 'gated'"),
        ("config type", "config.json cannot be used"),
        ("no k", "config.json cannot be used"),
        ("tensor missing", "lacks the tensor 'b_enc'"),
        ("tensor unknown", "holds an unknown tensor 'W_gate'"),
        ("tensor of another shape", r"the tensor 'b_pre' has the shape \(3,\) instead of \(12,\)"),
        ("mean of another shape", r"the tensor 'data_mean' has the shape \(3,\) instead of \(12,\)"),
        ("decoder missing", "lacks the tensor 'W_dec'"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(tmp_path: Path, how, message) -> None:
    random_encoder().save(str(tmp_path))
    spoil(tmp_path, how)
    with pytest.raises(ModelError, match=message) as caught:
        SparseAutoEncoderTokenEncoder.load(str(tmp_path))
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_all_weights_have_a_name_here() -> None:
    assert {name for name, _ in random_encoder(variant="jumprelu").named_parameters()} == set(NAMES)
