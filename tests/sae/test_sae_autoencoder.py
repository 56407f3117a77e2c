"""The sparse autoencoder, against its formula written out densely."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from lexite.errors import ConfigError, ModelError
from lexite.sae import SAEConfig, SparseAutoencoder, SparseCodes


def make(d: int = 16, latents: int = 64, k: int = 4, precision: str = "fp32", seed: int = 0) -> SparseAutoencoder:
    generator = torch.Generator().manual_seed(seed)
    encoder, decoder = (torch.randn(latents, d, generator=generator) for _ in range(2))
    biases = torch.randn(latents, generator=generator) * 0.1, torch.randn(d, generator=generator)
    return SparseAutoencoder(SAEConfig(d, latents, k), encoder, biases[0], decoder, biases[1], precision=precision)  # type: ignore[arg-type]


def dense(sae: SparseAutoencoder, states: torch.Tensor, k: int) -> torch.Tensor:
    preactivations = (states - sae.decoder_bias) @ sae.encoder_weight.t() + sae.encoder_bias
    values, indices = preactivations.topk(k, dim=1)
    return torch.zeros_like(preactivations).scatter_(1, indices, torch.relu(values))


@pytest.mark.parametrize("k", [1, 4, 9])
def test_encode_and_decode_follow_the_formula(k: int) -> None:
    sae, states = make(), torch.randn(30, 16)
    codes = sae.encode(states, k)
    expected = dense(sae, states, k)
    torch.testing.assert_close(codes.to_dense(), expected, rtol=1e-4, atol=1e-5)
    assert codes.l0 == pytest.approx(float((expected > 0).sum()) / 30)
    reconstruction = expected @ sae.decoder_weight + sae.decoder_bias  # type: ignore[operator]
    torch.testing.assert_close(sae.decode(codes), reconstruction, rtol=1e-4, atol=1e-4)


def test_values_have_full_precision_under_bf16_selection() -> None:
    sae, states = make(64, 512, 8, "bf16"), torch.randn(100, 64)
    assert sae.precision == "bf16"
    codes = sae.encode(states)
    exact = torch.relu((states - sae.decoder_bias) @ sae.encoder_weight.t() + sae.encoder_bias)
    used = codes.indices >= 0
    assert bool((used == (codes.values > 0)).all())
    torch.testing.assert_close(codes.values[used], exact.gather(1, codes.indices.clamp(min=0).long())[used])


def test_several_threads_may_encode_at_once() -> None:
    sae = make(32, 2048, 8)
    batches = [torch.randn(700, 32, generator=torch.Generator().manual_seed(seed)) for seed in range(16)]
    alone = [sae.encode(batch).indices for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda batch: sae.encode(batch).indices, batches))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_rows_are_encoded_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    sae, states = make(), torch.randn(50, 16)
    whole = sae.encode(states)
    monkeypatch.setattr("lexite.kernels.product.TILE_ROWS", 7)
    assert torch.equal(sae.encode(states).values, whole.values)
    states[30, 0] = float("nan")
    with pytest.raises(ModelError, match="state 30"):
        sae.encode(states)


def test_no_token_gives_no_code() -> None:
    codes = make().encode(torch.empty(0, 16))
    assert codes.values.shape == (0, 4)
    assert codes.l0 == 0


@pytest.mark.parametrize("k", [0, -1, 65])
def test_k_out_of_range_is_refused(k: int) -> None:
    with pytest.raises(ConfigError, match="from 1 to the number of latents, 64"):
        make().encode(torch.randn(2, 16), k)
    with pytest.raises(ConfigError):
        SAEConfig(16, 64, k)


def test_states_of_another_width_are_refused() -> None:
    with pytest.raises(ModelError, match="width must be 16"):
        make().encode(torch.randn(2, 17))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_state_that_is_not_finite_is_named(bad: float) -> None:
    states = torch.zeros(5, 16)
    states[3, 2] = bad
    with pytest.raises(ModelError, match="state 3 holds NaN or infinity"):
        make().encode(states)


def test_shapes_are_checked() -> None:
    with pytest.raises(ModelError, match="encoder_bias"):
        SparseAutoencoder(SAEConfig(4, 8, 2), torch.zeros(8, 4), torch.zeros(9), None, torch.zeros(4))


def test_save_and_load_are_identical(tmp_path: Path) -> None:
    sae, states = make(), torch.randn(20, 16)
    sae.save(tmp_path)
    loaded = SparseAutoencoder.load(tmp_path, precision="fp32")
    assert torch.equal(loaded.encode(states).values, sae.encode(states).values)
    assert torch.equal(loaded.encode(states).indices, sae.encode(states).indices)
    assert torch.equal(loaded.decode(loaded.encode(states)), sae.decode(sae.encode(states)))
    assert loaded.fingerprint == sae.fingerprint
    assert loaded.config == sae.config


def test_tied_weights_can_be_saved(tmp_path: Path) -> None:
    weight = torch.randn(8, 4)
    SparseAutoencoder(SAEConfig(4, 8, 2), weight, torch.zeros(8), weight, torch.zeros(4)).save(tmp_path)
    loaded = SparseAutoencoder.load(tmp_path)
    assert loaded.decoder_weight is not None
    assert torch.equal(loaded.decoder_weight, loaded.encoder_weight)


def test_saved_in_bf16_without_decoder(tmp_path: Path) -> None:
    sae = make()
    saved = sae.save(tmp_path, encoder_only=True, dtype="bf16")
    loaded = SparseAutoencoder.load(tmp_path)
    assert torch.equal(loaded.encoder_weight, sae.encoder_weight.bfloat16().float())
    assert loaded.fingerprint == saved.fingerprint != sae.fingerprint
    assert loaded.decoder_weight is None
    with pytest.raises(ModelError, match="encoder only"):
        loaded.decode(loaded.encode(torch.randn(2, 16)))
    loaded.save(tmp_path / "again")  # stays bf16
    assert SparseAutoencoder.load(tmp_path / "again").fingerprint == loaded.fingerprint


def test_fingerprints_tell_weights_apart() -> None:
    assert make(seed=0).fingerprint == make(seed=0).fingerprint
    assert make(seed=0).fingerprint != make(seed=1).fingerprint
    assert make(k=4).fingerprint != make(k=5).fingerprint


def test_on_another_device_it_is_the_same() -> None:
    for precision in ("fp32", "bf16"):
        sae = make(precision=precision)
        assert sae.to("cpu").fingerprint == sae.fingerprint
        assert sae.to("cpu").precision == precision


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def test_a_damaged_weight_file_is_refused(tmp_path: Path) -> None:
    make().save(tmp_path)
    _flip(tmp_path / "sae.safetensors")
    with pytest.raises(ModelError, match=r"sae\.safetensors is damaged: its checksum"):
        SparseAutoencoder.load(tmp_path)


def test_a_truncated_weight_file_is_refused_without_the_checksum_too(tmp_path: Path) -> None:
    make().save(tmp_path)
    path = tmp_path / "sae.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match=r"sae\.safetensors is damaged"):
        SparseAutoencoder.load(tmp_path, verify=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "does not describe"),
        ({"format_version": 99}, "format version 99"),
        ({"activation": "later"}, "activation later"),
        ({"k": "four"}, "whole number"),
        ({"n_latents": 63}, "shape"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    make().save(tmp_path)
    info = json.loads((tmp_path / "sae.json").read_text())
    (tmp_path / "sae.json").write_text(json.dumps({**info, **change}))
    with pytest.raises((ModelError, ConfigError), match=message):
        SparseAutoencoder.load(tmp_path)


@pytest.mark.parametrize("name", ["sae.json", "sae.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    make().save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ModelError, match=f"{name} does not exist"):
        SparseAutoencoder.load(tmp_path)


def test_codes_to_dense() -> None:
    codes = SparseCodes(torch.tensor([[2.0, 0.0]]), torch.tensor([[3, -1]], dtype=torch.int32), 5)
    assert codes.to_dense().tolist() == [[0, 0, 0, 2, 0]]
    assert codes.l0 == 1
