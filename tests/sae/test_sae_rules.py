"""Rules by name: those of lexite, and those that another package brings."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest
import torch

from lexite.errors import ConfigError
from lexite.sae import SAEConfig, rules
from lexite.sae.objective import ObjectiveConfig
from lexite.sae.rules import make_rule, rule_class, rule_names
from lexite.sae.rules.base import Finished, Rule, Selection, Tensors, View
from lexite.sae.rules.batch_topk import BatchTopK
from lexite.training.batches import Batch
from lexite.training.config import TrainingConfig
from lexite.training.step import TrainingState

OWN = ["topk", "batch_topk", "mutual_choice", "feature_choice", "jumprelu", "abs_topk", "top_afa", "gated", "gradient_topk"]


class EveryOther(Rule):
    """The k largest among latents with even numbers."""

    parameters = ("gain",)

    def tensors(self) -> Tensors:
        return {"gain": torch.ones(self.sae.n_latents), "seen": torch.zeros((), dtype=torch.int64)}

    def select(self, view: View) -> Selection:
        slots = view.largest(self.sae.n_latents)
        slots = slots.kept(slots.indices % 2 == 0)
        values = view.preactivations(slots)
        best = slots.largest(values, view.k)
        return Selection(slots.kept(best), values[best])

    def observe(self, view: View, selection: Selection, values: torch.Tensor) -> None:
        view.tensors["seen"] += selection.slots.n_tokens

    def finish(self, tensors: Tensors) -> Finished:
        return Finished("topk")


NOT_A_RULE = dict


def install(monkeypatch: pytest.MonkeyPatch, **points: str) -> None:
    found = [EntryPoint(name, value, rules.ENTRY_POINTS) for name, value in points.items()]
    monkeypatch.setattr(rules, "entry_points", lambda group: found if group == rules.ENTRY_POINTS else [])


def test_all_rules_have_a_name_and_a_class() -> None:
    assert rule_names()[: len(OWN)] == OWN
    for name in rule_names():
        assert issubclass(rule_class(name), Rule)
        assert isinstance(make_rule(SAEConfig(8, 30, 3, rule=name), ObjectiveConfig()), Rule)
        assert rule_class(name).__doc__


def test_a_rule_of_another_package_trains_like_those_of_lexite(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, every_other=f"{__name__}:EveryOther")
    assert "every_other" in rule_names()
    config = TrainingConfig(batch_tokens=40, buffer_tokens=80)
    state = TrainingState(SAEConfig(8, 30, 3, rule="every_other"), config, torch.float32)
    states = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    fvus = []
    for _ in range(40):
        metrics = state.step(Batch(states), 0.01)
        fvus.append(metrics.squared_error / metrics.variance)
    assert fvus[-1] < 0.7 * fvus[0]
    assert int(state.tensors["seen"]) == 40 * 40
    assert "first.gain" in state.tensors
    assert state.gradients(Batch(states)).parameters.keys() == {
        "encoder_weight",
        "encoder_bias",
        "decoder_weight",
        "decoder_bias",
    }
    assert bool((state.gradients(Batch(states)).selection.slots.indices % 2 == 0).all())
    assert state.autoencoder().config.rule == "every_other"


def test_a_rule_of_another_package_does_not_replace_one_of_lexite(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, batch_topk=f"{__name__}:EveryOther")
    assert rule_class("batch_topk") is BatchTopK
    assert rule_names().count("batch_topk") == 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("not_there_at_all:Rule", "The rule foreign of not_there_at_all:Rule cannot be loaded: ModuleNotFoundError"),
        ("lexite.sae.rules.topk:Missing", "cannot be loaded: AttributeError"),
        (f"{__name__}:NOT_A_RULE", "is not a class derived from lexite.sae.rules.base.Rule"),
        (f"{__name__}:OWN", "is not a class derived from lexite.sae.rules.base.Rule"),
    ],
)
def test_a_rule_that_cannot_be_used_is_named(value: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, foreign=value)
    with pytest.raises(ConfigError, match=message):
        rule_class("foreign")


def test_an_unknown_rule_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="unknown rule 'batchtopk'. Did you mean 'batch_topk'. There are topk, batch_topk"):
        rule_class("batchtopk")
