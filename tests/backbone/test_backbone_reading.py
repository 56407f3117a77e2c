"""A model that reads texts in another way than it was loaded with: another object over the same weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from backbone_models import LONG_TEXT, TEXTS

from lexite.backbone import read_otherwise
from lexite.backbone.transformer import TransformerBackbone
from lexite.errors import ConfigError

Load = Callable[..., TransformerBackbone]
CHANGES = [
    {"long": "truncate"},
    {"document_prompt": "the cat "},
    {"query_prompt": "a dog "},
    {"long": "truncate", "query_prompt": "", "document_prompt": "the "},
]


def facts(backbone: TransformerBackbone) -> dict[str, Any]:
    """All that a reading could change."""
    texts = [*TEXTS, LONG_TEXT]
    states = {kind: backbone.encode(texts, kind).states.tolist() for kind in ("document", "query")}
    settings = (backbone.config, dict(backbone.windows), dict(backbone.prompts), dict(backbone.reading))
    return {"states": states, "settings": settings, "fingerprints": (backbone.fingerprint, backbone.states_fingerprint)}


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_the_original_is_left_alone_and_the_weights_are_shared(
    changes: dict[str, str], prompted_folder: Path, load: Load
) -> None:
    backbone = load(prompted_folder)
    before = facts(backbone)
    other = read_otherwise(backbone, changes)
    assert isinstance(other, TransformerBackbone)
    assert other is not backbone
    assert other.model is backbone.model
    assert facts(other)["states"] != before["states"]
    assert facts(backbone) == before


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_it_reads_as_one_that_was_loaded_so(changes: dict[str, str], prompted_folder: Path, load: Load) -> None:
    other, loaded = read_otherwise(load(prompted_folder), changes), load(prompted_folder, **changes)
    for kind in ("document", "query"):
        found, wanted = (each.encode([*TEXTS, LONG_TEXT], kind) for each in (other, loaded))
        assert found.offsets.tolist() == wanted.offsets.tolist()
        assert found.token_ids.tolist() == wanted.token_ids.tolist()
        assert torch.equal(found.states, wanted.states)


def test_the_model_keeps_its_name_and_its_states_get_another(prompted_folder: Path, load: Load) -> None:
    backbone = load(prompted_folder)
    other = read_otherwise(backbone, {"query_prompt": "a dog "})
    assert (other.name, other.fingerprint) == (backbone.name, backbone.fingerprint)
    assert other.states_fingerprint != backbone.states_fingerprint, "states of the two are kept apart in a cache"
    assert other.reading == {"query_prompt": "a dog "}
    assert backbone.reading == {}


def test_changes_take_the_place_of_earlier_ones(prompted_folder: Path, load: Load) -> None:
    backbone = load(prompted_folder)
    twice = read_otherwise(read_otherwise(backbone, {"long": "truncate"}), {"query_prompt": "a dog "})
    once = read_otherwise(backbone, {"query_prompt": "a dog "})
    assert twice.reading == once.reading == {"query_prompt": "a dog "} and twice.config == once.config
    assert read_otherwise(twice, {}) is backbone
    assert facts(twice)["states"] == facts(once)["states"]


def test_no_change_gives_the_model_itself(prompted_folder: Path, load: Load) -> None:
    backbone = load(prompted_folder)
    assert read_otherwise(backbone, {}) is backbone


def test_an_unknown_treatment_of_long_texts_is_refused(prompted_folder: Path, load: Load) -> None:
    with pytest.raises(ConfigError, match="long"):
        read_otherwise(load(prompted_folder), {"long": "split"})


def test_what_reads_no_texts_is_given_back() -> None:
    backbone: Any = object()
    assert read_otherwise(backbone, {"long": "truncate"}) is backbone
