"""Training that goes on from a vocabulary."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from lexite.backbone import BackboneConfig
from lexite.errors import ConfigError, TrainingError
from lexite.recipes.from_text import train
from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.sae.objective import ObjectiveConfig
from lexite.scoring.config import BM25Config
from lexite.terms import LatentTermEncoder
from lexite.terms.config import SavingConfig, TermsConfig
from lexite.training.config import TrainingConfig
from lexite.training.starting import RIDGE, fit_decoder
from lexite.training.step import TrainingState

TRAINING = TrainingConfig(tokens=1500, batch_tokens=64, buffer_tokens=256, epochs=99, checkpoint_tokens=500)


@pytest.fixture
def begun(documents: Path, tiny_model: Path, tmp_path: Path) -> Path:
    """A vocabulary with numbers of its own."""
    train(
        [documents],
        tmp_path / "begun",
        backbone=BackboneConfig(model=str(tiny_model), precision="fp32", overlap=4),
        sae=SAEConfig(n_latents=40, k=3),
        training=TRAINING,
        terms=TermsConfig(k_queries=2, floor_documents=0.25),
        scoring=BM25Config(k1=7.0),
    )
    return tmp_path / "begun"


def load(path: Path) -> LatentTermEncoder:
    return LatentTermEncoder.from_pretrained(path, precision="fp32")


def test_a_run_without_a_step_of_any_size_keeps_the_weights(begun: Path, documents: Path, tmp_path: Path) -> None:
    start = load(begun)
    summary = train([documents], tmp_path / "v", training=replace(TRAINING, learning_rate=0.0), start=start)
    made = load(tmp_path / "v")
    assert made.fingerprint == start.fingerprint  # sizes, k, encoder and biases, the decoder's bias included
    torch.testing.assert_close(made.sae.decoder_weight, start.sae.decoder_weight, rtol=1e-6, atol=0)  # scaled to unit norm anew
    assert (made.terms, made.scoring) == (start.terms, start.scoring)
    assert summary["settings"]["start"] == str(begun) == yaml.safe_load((tmp_path / "v" / "recipe.yaml").read_text())["start"]


def test_the_card_says_what_the_other_was_trained_on(begun: Path, documents: Path, tmp_path: Path) -> None:
    short, start = replace(TRAINING, tokens=640), load(begun)
    train([documents], tmp_path / "a", training=short, start=start)
    assert load(tmp_path / "a").details.training_data == (
        "Trained further from `begun`, on the sources that the recipe names. "
        "Of `begun`: What that was trained on was not recorded."
    )
    start = start.replaced(details=replace(start.details, training_data="Encyclopaedias (CC BY-SA)."))
    train([documents], tmp_path / "b", training=short, start=start, saving=SavingConfig(training_data="My notes."))
    further = "Trained further from `begun`, on My notes. Of `begun`: Encyclopaedias (CC BY-SA)."
    assert load(tmp_path / "b").details.training_data == further
    assert further in (tmp_path / "b" / "README.md").read_text(encoding="utf-8")


def test_it_goes_on_from_where_the_other_ended(begun: Path, documents: Path, tmp_path: Path) -> None:
    sae, backbone = SAEConfig(n_latents=40, k=3), load(begun).backbone.config
    long = replace(TRAINING, tokens=12_000)
    train([documents], tmp_path / "long", training=long, sae=sae, backbone=backbone, start=load(begun))
    anew, kept, further = (
        train([documents], tmp_path / name, training=training, sae=sae, backbone=backbone, start=start)
        for name, training, start in (
            ("anew", TRAINING, None),
            ("kept", replace(TRAINING, learning_rate=0.0), load(tmp_path / "long")),
            ("further", TRAINING, load(tmp_path / "long")),
        )
    )
    assert further["fvu"] < 0.8 * anew["fvu"] and further["fingerprint"] != anew["fingerprint"]
    assert further["fvu"] < kept["fvu"] < 0.8 * anew["fvu"]


def test_without_a_decoder_one_is_fitted(begun: Path, documents: Path, tmp_path: Path) -> None:
    start = load(begun)
    start.save_pretrained(tmp_path / "small", encoder_only=True)
    state, states = TrainingState(start.sae.config, TRAINING, torch.float32), torch.randn(500, start.sae.config.d_model)
    alone = load(tmp_path / "small")
    state.start_from(alone.sae)
    state.look_at(states)
    assert torch.equal(state.tensors["encoder_weight"], start.sae.encoder_weight)
    assert torch.equal(state.tensors["decoder_bias"], start.sae.decoder_bias)
    torch.testing.assert_close(state.tensors["decoder_weight"], fit_decoder(alone.sae, states))
    saving = SavingConfig(encoder_only=True)
    assert train([documents], tmp_path / "v", training=TRAINING, start=alone, saving=saving)["tokens"] == 1500


def test_the_fit_is_that_of_ridge_regression() -> None:
    generator = torch.Generator().manual_seed(0)
    n_latents, width = 30, 12
    rows, bias = torch.randn(n_latents, width, generator=generator), torch.randn(width, generator=generator) / 9
    sae = SparseAutoencoder(SAEConfig(width, n_latents, 3), rows, torch.zeros(n_latents), None, bias, precision="fp32")
    states = torch.randn(2000, width, generator=generator)
    codes = sae.encode(states)
    active = np.zeros((2000, n_latents))
    np.put_along_axis(active, codes.indices.long().numpy(), codes.values.double().numpy(), axis=1)
    guess = rows.double() / rows.double().norm(dim=1, keepdim=True)
    squares = active.T @ active + RIDGE * np.eye(n_latents)
    exact = np.linalg.solve(squares, active.T @ (states - bias).double().numpy() + RIDGE * guess.numpy())
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    np.testing.assert_allclose(fit_decoder(sae, states).numpy(), exact, atol=2e-3)


def test_a_latent_that_never_fires_keeps_the_row_of_its_encoder() -> None:
    rows = torch.tensor([[3.0, 4.0], [1.0, 0.0], [-2.0, 0.0]])
    sae = SparseAutoencoder(SAEConfig(2, 3, 1), rows, torch.tensor([0.0, 0.0, -99.0]), None, torch.zeros(2), precision="fp32")
    fitted = fit_decoder(sae, torch.tensor([[3.0, 4.0], [2.0, 0.1]]))
    assert fitted[2].tolist() == [-1.0, 0.0]
    torch.testing.assert_close(fitted.norm(dim=1), torch.ones(3))


def test_an_interrupted_run_is_resumed_alike(begun: Path, documents: Path, tmp_path: Path) -> None:
    def stop(_: Any) -> dict[str, float]:
        raise KeyboardInterrupt

    once = train([documents], tmp_path / "once", training=TRAINING, start=load(begun))
    halted = replace(TRAINING, probe_tokens=1000)
    with pytest.raises(KeyboardInterrupt):
        train([documents], tmp_path / "v", training=halted, start=load(begun), probe=stop)
    resumed = train([documents], tmp_path / "v", training=halted, start=load(begun), resume=True)
    assert resumed["fingerprint"] == once["fingerprint"]


def test_a_run_is_not_resumed_from_another_vocabulary(begun: Path, documents: Path, tmp_path: Path) -> None:
    def stop(_: Any) -> dict[str, float]:
        raise KeyboardInterrupt

    halted = replace(TRAINING, probe_tokens=1000)
    with pytest.raises(KeyboardInterrupt):
        train([documents], tmp_path / "v", training=halted, start=load(begun), probe=stop)
    with pytest.raises(TrainingError, match="start"):
        train(
            [documents],
            tmp_path / "v",
            training=halted,
            sae=load(begun).sae.config,
            backbone=load(begun).backbone.config,
            terms=load(begun).terms,
            scoring=load(begun).scoring,
            resume=True,
        )


@pytest.mark.parametrize(
    ("sae", "message"),
    [
        ({"n_latents": 48}, "n_latents is 48, but 'begun' has 40"),
        ({"normalize_activations": "layer_norm"}, "normalize_activations is layer_norm"),
        ({"rule": "jumprelu"}, "the rule asked for is jumprelu"),
    ],
)
def test_other_sizes_and_rules_are_refused(
    begun: Path, documents: Path, tmp_path: Path, sae: dict[str, Any], message: str
) -> None:
    start = load(begun)
    with pytest.raises(ConfigError, match=message):
        train([documents], tmp_path / "v", training=TRAINING, sae=replace(start.sae.config, **sae), start=start)
    assert not (tmp_path / "v").exists()


def test_states_of_another_reading_are_refused(begun: Path, documents: Path, tmp_path: Path) -> None:
    start = load(begun)
    with pytest.raises(TrainingError, match="Leave start=... out"):
        train([documents], tmp_path / "v", backbone=replace(start.backbone.config, special_tokens="keep"), start=start)


def test_penalties_work_on_what_was_begun(begun: Path, documents: Path, tmp_path: Path) -> None:
    summary = train(
        [documents], tmp_path / "v", training=TRAINING, start=load(begun), objective=ObjectiveConfig(flops_coefficient=0.01)
    )
    assert summary["tokens"] == 1500
