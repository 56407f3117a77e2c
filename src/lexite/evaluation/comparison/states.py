"""The token states that all recipes of a comparison train on: a folder that is there, or one made of text once."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexite.config import differences
from lexite.errors import BackboneError, ConfigError
from lexite.evaluation.comparison.recipes import Recipe, check_same_reading
from lexite.progress import progress

if TYPE_CHECKING:
    from lexite.backbone import Backbone, StateStore, TokenStates
    from lexite.corpus import ReadOptions

logger = logging.getLogger("lexite")


@dataclass(frozen=True)
class TextStates:
    """Token states of text, made when they are needed.

    Attributes:
        path: folder of the states.
        sources: the texts.
        recipes: the recipes that train on them; all share the model and the reading options of the first.
        show_progress: whether progress is shown on stderr.
    """

    path: Path
    sources: tuple[str, ...]
    recipes: Sequence[Recipe]
    show_progress: bool = False

    @property
    def tokens(self) -> int:
        """The most tokens that a recipe trains on."""
        return max(recipe.tokens for recipe in self.recipes)

    def identity(self) -> dict[str, Any]:
        """What decides the states, as JSON values. States of the same identity begin alike, however many tokens they hold."""
        from lexite.training.sources import describe_source

        return {"sources": [describe_source(source) for source in self.sources], **self.recipes[0].reading()}

    def open(self) -> StateStore:
        """The states, made if they are missing or too few.

        Raises:
            CorpusError: a source is missing or bad.
            BackboneError: the model cannot be loaded or fails.
            StorageError: the folder cannot be written.
        """
        from lexite.backbone import StateStore, load_backbone
        from lexite.backbone.store import is_store

        if is_store(self.path):
            store = StateStore.open(self.path)
            if store.n_tokens >= self.tokens or store.manifest.get("backbone", {}).get("all_of_the_text"):
                return store
            logger.info("The token states in %s are too few for the recipes and are made again.", self.path)
        model = load_backbone(self.recipes[0].configs["backbone"])
        info = {**model.info(), "all_of_the_text": False}
        chunks = self._chunks(model, self.recipes[0].configs["read"], info)
        return StateStore.write(self.path, chunks, backbone_info=info, kind="document", overwrite=True)

    def _chunks(self, model: Backbone, read: ReadOptions, info: dict[str, Any]) -> Iterator[TokenStates]:
        """States in the chunks in which a training reads text, until there are enough."""
        from lexite.training.sources import TextSource, text_chunks

        done = texts_done = 0
        with progress("Token states", self.tokens, "tokens", self.show_progress) as bar:
            for texts in text_chunks(TextSource(self.sources, model, read).texts()):
                states = model.encode(texts, "document").check(first_text=texts_done)
                yield states
                texts_done += len(texts)
                done += states.n_tokens
                bar.advance(states.n_tokens)
                if done >= self.tokens:
                    return
        info["all_of_the_text"] = True


@dataclass(frozen=True)
class StoredStates:
    """Token states that are there already.

    Attributes:
        path: the folder.
    """

    path: Path

    def identity(self) -> dict[str, Any]:
        """What decides the states, as JSON values; the checksum, for states that lexite wrote."""
        store = self.open()
        files = store.manifest.get("files") or {}
        return {"states": files.get("states.npy") or store.fingerprint, "offsets": files.get("offsets.npy", "")}

    def open(self) -> StateStore:
        """The states.

        Raises:
            BackboneError: they are missing or damaged.
        """
        from lexite.backbone import StateStore

        return StateStore.open(self.path)


def choose_states(
    recipes: Sequence[Recipe], states: str | Path | None, sources: Sequence[str], folder: Path, show_progress: bool
) -> TextStates | StoredStates:
    """Decides where the token states come from.

    Args:
        recipes: what trains on them.
        states: a folder of token states, if one was named.
        sources: texts, if some were named; else those of the recipes.
        folder: where states of text are kept.
        show_progress: whether progress is shown on stderr.

    Raises:
        ConfigError: there is no text, the recipes name different texts, or they name a model that did not make the states.
        BackboneError: the folder holds no token states.
    """
    if states is not None:
        if sources:
            raise ConfigError("Both token states and text were named. Name one of them: states=... or sources=...")
        stored = StoredStates(Path(states))
        _check_model(recipes, stored.open())
        return stored
    check_same_reading(recipes)
    if not sources:
        sources = recipes[0].sources
        for recipe in recipes:
            if not recipe.sources:
                raise ConfigError(
                    f"{recipe.path} names no sources. Name texts with sources=..., or token states with states=...."
                )
            if recipe.sources != tuple(sources):
                raise ConfigError(
                    f"{recipe.path} has other sources than {recipes[0].path}. Recipes are compared on the same token states: "
                    "name their texts with sources=..., or token states with states=...."
                )
    return TextStates(folder, tuple(str(source) for source in sources), recipes, show_progress)


def model_of(store: StateStore) -> Backbone:
    """Loads the model that made some token states, which encodes collections.

    Raises:
        BackboneError: it is not known or cannot be loaded, or is another version.
    """
    from lexite.backbone import load_backbone
    from lexite.backbone.precomputed import PrecomputedBackbone

    recorded = PrecomputedBackbone(store)
    if not isinstance(store.backbone.get("config"), dict):
        raise BackboneError(
            f"{store.path} does not say which model made its token states, so no collection can be encoded. "
            "Take states that lexite wrote, or name texts."
        )
    model = load_backbone(recorded.config)
    if model.fingerprint != recorded.fingerprint:
        raise BackboneError(
            f"{store.path} was made by another version of {recorded.name} ({recorded.fingerprint[:12]}) than is here "
            f"({model.fingerprint[:12]}). Make the token states again."
        )
    return model


def _check_model(recipes: Sequence[Recipe], store: StateStore) -> None:
    """Refuses a recipe whose model or way of reading differs from the one that made the states."""
    recorded: Mapping[str, Any] = store.backbone.get("config") or {}
    for recipe in recipes:
        asked = {key: value for key, value in recipe.reading().items() if key in recipe.given and key in recorded}
        changed = differences({key: recorded[key] for key in asked}, asked)
        if changed:
            raise ConfigError(
                f"{recipe.path} asks for another model than made {store.path} ({changed[0]}). Change the recipe, or leave the "
                "key out."
            )
