"""The transformer of a folder, loaded without sentence-transformers, against the same through that library."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from backbone_models import LONG_TEXT, TEXTS, save_transformer, wordpiece
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import (
    DistilBertConfig,
    DistilBertModel,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    RobertaConfig,
    RobertaModel,
)

from lexite.backbone import bare_model
from lexite.backbone.bare_model import BareModel, bare_settings
from lexite.backbone.transformer import TransformerBackbone

Load = Callable[..., TransformerBackbone]
Copy = Callable[[Path], Path]
EditJson = Callable[..., None]
SIZES: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
PRECISIONS = ["fp32", "bf16", pytest.param("int8", marks=pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="the extra int8 is not installed"))]  # fmt: skip


def other_models(vocabulary: int) -> dict[str, Any]:
    """Untrained encoders of several kinds."""
    common: dict[str, Any] = {"vocab_size": vocabulary, "initializer_range": 0.3, "pad_token_id": 0}
    distil = DistilBertConfig(**common, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=64)
    modern = ModernBertConfig(
        **common, **SIZES, max_position_embeddings=64, cls_token_id=2, sep_token_id=3, bos_token_id=2, eos_token_id=3
    )
    return {
        "distilbert": lambda: DistilBertModel(distil),
        "modernbert": lambda: ModernBertModel(modern),
        "mpnet": lambda: MPNetModel(MPNetConfig(**{**common, "pad_token_id": 1}, **SIZES, max_position_embeddings=66)),
        "roberta": lambda: RobertaModel(RobertaConfig(**{**common, "pad_token_id": 1}, **SIZES, max_position_embeddings=66)),
    }


@pytest.fixture(scope="session")
def make_kind(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Saves a model of a kind with pooling, a dense layer and prompts."""

    def make(kind: str) -> Path:
        tokenizer = wordpiece()
        torch.manual_seed(11)
        root = tmp_path_factory.mktemp(kind)
        plain = save_transformer(root / "plain", other_models(len(tokenizer))[kind]().eval(), tokenizer)
        modules = [Transformer(str(plain)), Pooling(32, "mean"), Dense(32, 8), Normalize()]
        model = SentenceTransformer(modules=modules, device="cpu", prompts={"query": "query: "}, similarity_fn_name="dot")
        model.save(str(root / "model"), create_model_card=False)
        return root / "model"

    return make


def both_ways(
    folder: Path, load: Load, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[TransformerBackbone, TransformerBackbone]:
    """The same model, loaded alone and through the library."""
    bare = load(folder, **options)
    assert isinstance(bare.model, BareModel)
    with monkeypatch.context() as patched:
        patched.setattr(bare_model, "bare_settings", lambda folder: None)
        library = load(folder, **options)
    assert isinstance(library.model, SentenceTransformer)
    return bare, library


def assert_alike(bare: TransformerBackbone, library: TransformerBackbone) -> None:
    """States, identity and what people are told are the same."""
    assert (bare.fingerprint, bare.info()) == (library.fingerprint, library.info())
    assert (bare.windows, bare.prompts, bare.skipped) == (library.windows, library.prompts, library.skipped)
    for kind in ("document", "query"):
        got, wanted = bare.encode([*TEXTS, LONG_TEXT], kind), library.encode([*TEXTS, LONG_TEXT], kind)
        assert torch.equal(got.states, wanted.states)
        assert got.offsets.tolist() == wanted.offsets.tolist() and got.token_ids.tolist() == wanted.token_ids.tolist()
    np.testing.assert_array_equal(bare.dense(TEXTS, "query"), library.dense(TEXTS, "query"))
    np.testing.assert_array_equal(bare.dense_scores(TEXTS, [LONG_TEXT]), library.dense_scores(TEXTS, [LONG_TEXT]))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["mean_folder", "prompted_folder"])
def test_states_are_the_same_bit_for_bit(
    name: str, precision: str, load: Load, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    assert_alike(*both_ways(request.getfixturevalue(name), load, monkeypatch, precision=precision))


@pytest.mark.parametrize(
    "options",
    [{"long": "truncate"}, {"max_length": 20}, {"query_prompt": "q: ", "prompt_tokens": "keep"}, {"special_tokens": "keep"}],
)
def test_so_they_are_however_texts_are_read(
    options: dict[str, Any], prompted_folder: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_alike(*both_ways(prompted_folder, load, monkeypatch, **options))


@pytest.mark.parametrize("kind", ["distilbert", "modernbert", "mpnet", "roberta"])
def test_and_for_other_kinds_of_model(
    kind: str, make_kind: Callable[[str], Path], load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_alike(*both_ways(make_kind(kind), load, monkeypatch))


def test_a_length_and_a_default_prompt_of_the_folder_hold(
    mean_folder: Path, copied: Copy, edit_json: EditJson, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(mean_folder)
    edit_json(folder / "sentence_bert_config.json", max_seq_length=18)
    edit_json(folder / "config_sentence_transformers.json", prompts={"any": "passage: "}, default_prompt_name="any")
    bare, library = both_ways(folder, load, monkeypatch)
    assert bare.windows == {"document": 18, "query": 18} and bare.prompts["query"] == "passage: "
    assert_alike(bare, library)


def test_the_whole_model_shares_the_weights(mean_folder: Path, load: Load) -> None:
    backbone = load(mean_folder)
    assert backbone.dense_model[0].model is backbone.model[0].model
    assert backbone.dense_model is backbone.dense_model


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("sentence_bert_config.json", {"do_lower_case": True}),
        ("sentence_bert_config.json", {"query_length": 12}),
        ("sentence_bert_config.json", {"model_args": {"attn_implementation": "eager"}}),
        ("sentence_bert_config.json", {"module_output_name": "other"}),
        ("sentence_bert_config.json", {"some_later_setting": 1}),
        ("config_sentence_transformers.json", {"model_type": "SparseEncoder"}),
        ("config_sentence_transformers.json", {"similarity_fn_name": "unheard-of"}),
        ("config_sentence_transformers.json", {"default_prompt_name": "missing"}),
        ("config_sentence_transformers.json", {"requirements": ["torch>=99"]}),
        ("config.json", {"model_type": "t5"}),
        ("config.json", {"auto_map": {"AutoModel": "code.Model"}}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["code.Tokenizer", None]}}),
    ],
)
def test_settings_that_only_the_library_understands_are_left_to_it(
    file: str, changes: dict[str, Any], mean_folder: Path, copied: Copy, edit_json: EditJson
) -> None:
    assert bare_settings(mean_folder) is not None
    folder = copied(mean_folder)
    edit_json(folder / file, **changes)
    assert bare_settings(folder) is None


def test_modules_that_only_the_library_has_are_left_to_it(mean_folder: Path, copied: Copy) -> None:
    folder = copied(mean_folder)
    modules = json.loads((folder / "modules.json").read_text())
    transformer, pooling, normalize = modules
    own = {**pooling, "type": "own_code.Pooling"}
    for changed in (
        [transformer], [transformer, own], [pooling, transformer], [transformer, {**pooling, "path": "../other"}],
        [{**transformer, "path": "0_Transformer"}, pooling], [{**transformer, "kwargs": ["task"]}, pooling],
        [transformer, {**pooling, "type": "sentence_transformers.base.modules.dense.Dense"}, normalize],
    ):  # fmt: skip
        (folder / "modules.json").write_text(json.dumps(changed))
        assert bare_settings(folder) is None
    (folder / "modules.json").write_text("[")
    assert bare_settings(folder) is None


@pytest.mark.parametrize("name", ["plain_folder", "late_folder", "qwen_folder"])
def test_other_folders_are_left_to_it(name: str, request: pytest.FixtureRequest) -> None:
    assert bare_settings(request.getfixturevalue(name)) is None


def test_states_import_no_sentence_transformers(prompted_folder: Path) -> None:
    code = (
        "import sys\nfrom lexite.backbone import BackboneConfig, load_backbone\n"
        "backbone = load_backbone(BackboneConfig(model=sys.argv[1]))\n"
        "assert backbone.encode(['seven seas'], 'query').n_tokens\n"
        "print([name for name in ('sentence_transformers', 'sklearn', 'datasets', 'pandas') if name in sys.modules])\n"
        "backbone.dense(['seven seas'], 'query')\nprint('sentence_transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(prompted_folder)], capture_output=True, text=True)
    assert done.stdout == "[]\nTrue\n", done.stderr
