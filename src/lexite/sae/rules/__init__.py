"""Selection rules: how a sparse autoencoder chooses latents in training, one file each.

Rules of other packages are found through entry points of the group ``lexite.rules``; docs/sae-rules.md shows one.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from lexite.config import unknown_key
from lexite.errors import ConfigError

if TYPE_CHECKING:
    from lexite.sae.config import SAEConfig
    from lexite.sae.objective import ObjectiveConfig
    from lexite.sae.rules.base import Rule

ENTRY_POINTS = "lexite.rules"
RULES = {
    "topk": "lexite.sae.rules.topk:TopK",
    "batch_topk": "lexite.sae.rules.batch_topk:BatchTopK",
    "mutual_choice": "lexite.sae.rules.mutual_choice:MutualChoice",
    "feature_choice": "lexite.sae.rules.feature_choice:FeatureChoice",
    "jumprelu": "lexite.sae.rules.jumprelu:JumpReLU",
    "abs_topk": "lexite.sae.rules.abs_topk:AbsTopK",
    "top_afa": "lexite.sae.rules.top_afa:TopAFA",
    "gated": "lexite.sae.rules.gated:Gated",
    "gradient_topk": "lexite.sae.rules.gradient_topk:GradientTopK",
    "relu_l1": "lexite.sae.rules.relu_l1:ReLUL1",
}
"""Name of each rule of lexite -> module and class. A new rule is one file and one line here."""


def rule_names() -> list[str]:
    """Names of all rules: those of lexite, then those of other packages."""
    return [*RULES, *sorted(set(_foreign()) - set(RULES))]


def _foreign() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def rule_class(name: str) -> type[Rule]:
    """The class of a rule.

    Raises:
        ConfigError: there is no such rule, or the package that brings it cannot be loaded.
    """
    from lexite.sae.rules.base import Rule

    point = EntryPoint(name, RULES[name], ENTRY_POINTS) if name in RULES else _foreign().get(name)
    if point is None:
        hint = unknown_key(name, rule_names()).replace("key", "rule", 1)
        raise ConfigError(f"sae: {hint} There are {', '.join(rule_names())}.")
    try:
        loaded = point.load()
    except Exception as error:  # whatever its import raises
        raise ConfigError(f"The rule {name} of {point.value} cannot be loaded: {type(error).__name__}: {error}.") from error
    if not (isinstance(loaded, type) and issubclass(loaded, Rule)):
        raise ConfigError(f"The rule {name} of {point.value} is not a class derived from lexite.sae.rules.base.Rule.")
    return loaded


def make_rule(sae: SAEConfig, objective: ObjectiveConfig) -> Rule:
    """The rule that a configuration names.

    Raises:
        ConfigError: there is no such rule, or its settings do not fit.
    """
    return rule_class(sae.rule)(sae, objective)
