"""Models in int8: states close to fp32, the same tokens, and errors that say what to do."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from backbone_models import LONG_TEXT, TEXTS

from lexite.backbone import BackboneConfig, load_backbone, read_otherwise
from lexite.backbone.transformer import TransformerBackbone
from lexite.errors import BackboneError
from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.terms import LatentTermEncoder

Load = Callable[..., TransformerBackbone]
needs_openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="the extra int8 is not installed")


@needs_openvino
@pytest.mark.parametrize("name", ["plain_folder", "prompted_folder", "qwen_folder", "late_folder"])
@pytest.mark.parametrize("kind", ["document", "query"])
def test_states_are_close_to_fp32_for_the_same_tokens(name: str, kind: str, load: Load, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(name)
    texts = [*TEXTS, LONG_TEXT]
    exact, rounded = (load(folder, precision=precision) for precision in ("fp32", "int8"))
    assert (rounded.precision, rounded.fingerprint, rounded.d_model) == ("int8", exact.fingerprint, exact.d_model)
    expected, got = exact.encode(texts, kind), rounded.encode(texts, kind).check()
    assert got.offsets.tolist() == expected.offsets.tolist() and got.token_ids.tolist() == expected.token_ids.tolist()
    similarity = torch.nn.functional.cosine_similarity(got.states.float(), expected.states, dim=1)
    assert float(similarity.mean()) > 0.99
    assert not torch.equal(got.states.float(), expected.states)


@needs_openvino
def test_other_texts_of_the_batch_change_rounding_only(mean_folder: Path, load: Load) -> None:
    backbone = load(mean_folder, precision="int8")
    together = backbone.encode([*TEXTS, LONG_TEXT], "document")
    alone = torch.cat([backbone.encode([text], "document").states for text in [*TEXTS, LONG_TEXT]])
    assert float(torch.nn.functional.cosine_similarity(together.states, alone, dim=1).min()) > 0.999
    assert torch.equal(together.states, backbone.encode([*TEXTS, LONG_TEXT], "document").states)


@needs_openvino
def test_the_dense_model_and_its_scores_work_too(mean_folder: Path, load: Load) -> None:
    vectors = [load(mean_folder, precision=precision).dense(["a dog", LONG_TEXT], "query") for precision in ("fp32", "int8")]
    assert (vectors[0] * vectors[1]).sum(axis=1).min() > 0.99


@needs_openvino
def test_windows_can_be_changed_for_one_use(mean_folder: Path, load: Load) -> None:
    backbone = load(mean_folder, precision="int8")
    before = backbone.encode([LONG_TEXT], "document")
    changed = read_otherwise(backbone, {"long": "truncate", "document_prompt": "the cat "})
    assert changed.precision == "int8"
    assert changed.encode([LONG_TEXT], "document").n_tokens < backbone.windows["document"] < before.n_tokens
    assert torch.equal(backbone.encode([LONG_TEXT], "document").states, before.states)


@needs_openvino
def test_terms_behind_it_use_the_best_products_there_are(mean_folder: Path, load: Load, tmp_path: Path) -> None:
    backbone = load(mean_folder, precision="int8")
    weight = torch.randn(64, backbone.d_model)
    sae = SparseAutoencoder(SAEConfig(backbone.d_model, 64, 4), weight, torch.zeros(64), weight, torch.zeros(backbone.d_model))
    LatentTermEncoder(backbone, sae).save_pretrained(tmp_path / "vocabulary")
    loaded = LatentTermEncoder.from_pretrained(tmp_path / "vocabulary")
    assert loaded.backbone.precision == "int8"
    assert loaded.sae.precision == SparseAutoencoder.load(tmp_path / "vocabulary", precision="auto").precision
    assert loaded.encode_documents(TEXTS).nnz > 0


@needs_openvino
@pytest.mark.skipif(sys.platform != "linux", reason="asks the C library")
def test_the_stack_for_signals_is_the_callers_own(mean_folder: Path, load: Load) -> None:
    def signal_stack() -> bytes:
        found = ctypes.create_string_buffer(64)
        assert ctypes.CDLL(None).sigaltstack(None, found) == 0
        return found.raw

    before = signal_stack()
    backbone = load(mean_folder, precision="int8")
    backbone.encode(TEXTS * 3, "document")
    backbone.encode(TEXTS[:1], "document")
    assert signal_stack() == before


def test_a_missing_extra_is_answered_with_the_command(mean_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(BackboneError, match=r"pip install 'lexite\[int8\]'"):
        load_backbone(BackboneConfig(model=str(mean_folder), precision="int8"))


def test_another_device_is_refused(mean_folder: Path) -> None:
    with pytest.raises(BackboneError, match="int8 is for the CPU, not for meta"):
        load_backbone(BackboneConfig(model=str(mean_folder), precision="int8", device="meta"))


@needs_openvino
def test_a_model_that_cannot_be_converted_is_refused(mean_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lexite.backbone.int8._graph_of", lambda model, inputs: 1 / 0)
    with pytest.raises(BackboneError, match="cannot be converted to int8 .*division.*precision='fp32'"):
        load_backbone(BackboneConfig(model=str(mean_folder), precision="int8"))
