"""Recipes to compare: YAML files with the keys of ``lexite train``, read and checked before anything runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lexite.backbone import BackboneConfig
from lexite.config import check_value, from_dict, load_recipe, option_aliases, to_dict, unknown_key
from lexite.corpus import ReadOptions
from lexite.errors import ConfigError
from lexite.sae.config import SAEConfig
from lexite.sae.objective import ObjectiveConfig
from lexite.scoring.config import BM25Config
from lexite.terms.config import SavingConfig, TermsConfig
from lexite.training.config import STORAGE_ONLY, TrainingConfig

CONFIGURATIONS: Mapping[str, type] = {
    "training": TrainingConfig,
    "objective": ObjectiveConfig,
    "sae": SAEConfig,
    "backbone": BackboneConfig,
    "read": ReadOptions,
    "terms": TermsConfig,
    "scoring": BM25Config,
    "saving": SavingConfig,
}
"""The configurations of a training, by the name of the parameter of :func:`lexite.recipes.from_text.train`."""
RUN_KEYS = ("output", "probe")
"""Keys of a training that a comparison ignores, since it has its own folders and measurements."""
_NOT_STATES = ("device", "precision", "tokens_per_batch", "trust_remote_code")  # how a model runs, not what it gives
_NOT_RESULT = (*STORAGE_ONLY, "name", "licence", "training_data", "literal_weight")  # may change without another result


@dataclass(frozen=True)
class Recipe:
    """A recipe, checked.

    Attributes:
        name: the file's stem.
        path: the file.
        sources: the texts that it names; may be empty.
        configs: parameter of :func:`lexite.recipes.from_text.train` -> configuration.
        given: the keys that the file holds.
    """

    name: str
    path: Path
    sources: tuple[str, ...]
    configs: Mapping[str, Any]
    given: frozenset[str]

    @property
    def tokens(self) -> int:
        """Tokens that it trains on."""
        return int(self.configs["training"].tokens)

    @property
    def n_latents(self) -> int:
        """Size of its dictionary."""
        return int(self.configs["sae"].n_latents)

    @property
    def seed(self) -> int:
        """The seed in the file, or the default."""
        return int(self.configs["training"].seed)

    def with_seed(self, seed: int) -> dict[str, Any]:
        """The configurations with another seed."""
        return {**self.configs, "training": replace(self.configs["training"], seed=seed)}

    def settings(self, seed: int) -> dict[str, Any]:
        """Everything apart from the token states that decides the result of a run, as JSON values."""
        chosen = self.with_seed(seed)
        parts = [to_dict(config) for name, config in chosen.items() if name not in ("backbone", "read")]
        merged = {key: value for part in parts for key, value in part.items()}
        return {key: value for key, value in merged.items() if key not in (*_NOT_RESULT, "d_model")}

    def reading(self) -> dict[str, Any]:
        """What decides the token states of a text, as JSON values: the model, and how it and the sources are read."""
        merged = {**to_dict(self.configs["backbone"]), **self.configs["read"].what_is_read()}
        return {key: value for key, value in merged.items() if key not in _NOT_STATES}


def read_recipes(paths: Sequence[str | Path]) -> list[Recipe]:
    """Reads recipes and checks their keys and values.

    Raises:
        ConfigError: no recipe, two of one name, a file is missing or not a recipe, or a key or value is not valid.
    """
    if not paths:
        raise ConfigError("No recipes were named. Give YAML files.")
    recipes = [read_recipe(path) for path in paths]
    names = [recipe.name for recipe in recipes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"Two recipes are called '{twice}'. Runs are named after them: rename one of the files.")
    return recipes


def read_recipe(path: str | Path) -> Recipe:
    """Reads one recipe; see :func:`read_recipes`."""
    aliases = option_aliases(field for cls in CONFIGURATIONS.values() for field in dataclasses.fields(cls))
    written, where = load_recipe(path, aliases), str(path)
    fields = {name: _offered(cls) for name, cls in CONFIGURATIONS.items()}
    known = {key for keys in fields.values() for key in keys}
    strange = next((key for key in written if key not in known and key not in ("sources", *RUN_KEYS)), None)
    if strange is not None:
        raise ConfigError(f"{where}: {unknown_key(strange, [*known, *aliases, 'sources', *RUN_KEYS])}")
    configs = {
        name: _built(cls, {key: written[key] for key in fields[name] if key in written}, where)
        for name, cls in CONFIGURATIONS.items()
    }
    return Recipe(Path(path).stem, Path(path), _sources(written.get("sources"), where), configs, frozenset(written))


def check_same_reading(recipes: Sequence[Recipe]) -> None:
    """Makes sure that the recipes can share token states: one model, read in one way.

    Raises:
        ConfigError: they cannot; the message names the key.
    """
    first = recipes[0].reading()
    for recipe in recipes[1:]:
        for key, value in recipe.reading().items():
            if value != first[key]:
                raise ConfigError(
                    f"{recipe.path}: {key} is {value!r}, but {recipes[0].path} has {first[key]!r}. Recipes are compared on the "
                    "same token states, so they need the same model, read in the same way: compare them apart."
                )


def _offered(cls: type) -> list[str]:
    """The keys of a configuration that people may set."""
    return [field.name for field in dataclasses.fields(cls) if not field.metadata.get("hidden")]


def _built(cls: type, values: Mapping[str, Any], where: str) -> Any:
    try:
        return from_dict(cls, values, where)
    except ConfigError as error:
        text = str(error)
        raise ConfigError(text if text.startswith(where) else f"{where}: {text}") from None


def _sources(value: Any, where: str) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [] if value is None else [value]
    field: dataclasses.Field[Any] = dataclasses.field()
    field.name = "sources"
    return tuple(check_value(str, field, item, where) for item in items)
