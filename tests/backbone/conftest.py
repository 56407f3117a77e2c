"""Tiny models, saved as folders: nothing comes from the network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from backbone_models import byte_bpe, save_decoder, save_transformer, tiny_bert, wordpiece
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import GPT2Config, GPT2Model, Qwen2Config, Qwen2Model

from lexite.backbone import BackboneConfig, load_backbone
from lexite.backbone.transformer import TransformerBackbone


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may reach the hub by accident."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture(scope="session")
def plain_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT without modules.json."""
    tokenizer = wordpiece()
    return save_transformer(tmp_path_factory.mktemp("plain") / "bert", tiny_bert(tokenizer), tokenizer)


@pytest.fixture(scope="session")
def make_single(tmp_path_factory: pytest.TempPathFactory, plain_folder: Path) -> Callable[..., Path]:
    """Saves a sentence-transformers model with the given pooling and prompts."""

    def make(pooling: str = "mean", **options: Any) -> Path:
        modules = [Transformer(str(plain_folder)), Pooling(32, pooling), Normalize()]
        folder = tmp_path_factory.mktemp("single") / "model"
        SentenceTransformer(modules=modules, device="cpu", **options).save(str(folder), create_model_card=False)
        return folder

    return make


@pytest.fixture(scope="session")
def mean_folder(make_single: Callable[..., Path]) -> Path:
    return make_single("mean")


@pytest.fixture(scope="session")
def prompted_folder(make_single: Callable[..., Path]) -> Path:
    return make_single("cls", prompts={"query": "query: ", "passage": "passage: "})


@pytest.fixture(scope="session")
def qwen_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder with rotary positions, left padding and last-token pooling."""
    tokenizer = byte_bpe()
    torch.manual_seed(3)
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=64, max_position_embeddings=64, initializer_range=0.3, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return save_decoder(tmp_path_factory.mktemp("qwen"), Qwen2Model(config).eval(), tokenizer)


@pytest.fixture(scope="session")
def gpt_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder with absolute positions, left padding and last-token pooling."""
    tokenizer = byte_bpe()
    torch.manual_seed(4)
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.3)
    return save_decoder(tmp_path_factory.mktemp("gpt"), GPT2Model(config).eval(), tokenizer)


@pytest.fixture(scope="session")
def late_folder(tmp_path_factory: pytest.TempPathFactory, plain_folder: Path) -> Path:
    """A late-interaction model: projection, punctuation skipped in documents, query expansion, its own lengths."""
    torch.manual_seed(5)
    expansion = {"strategy": "fixed", "attend": False, "length": 16}
    transformer = Transformer(str(plain_folder), query_expansion=expansion, document_length=24)
    dense = Dense(32, 16, bias=False, activation_function=torch.nn.Identity(), module_input_name="token_embeddings")
    modules = [transformer, dense, MultiVectorMask(skiplist_words=[".", ","]), Normalize(module_input_name="token_embeddings")]
    folder = tmp_path_factory.mktemp("late") / "model"
    model = MultiVectorEncoder(modules=modules, device="cpu", prompts={"query": "query: ", "document": "passage: "})
    model.save(str(folder), create_model_card=False)
    return folder


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Path], Path]:
    """Copies a model folder, so that a test may damage it."""
    return lambda folder: Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.fixture
def edit_json() -> Callable[..., None]:
    """Changes keys of a JSON file."""

    def edit(path: Path, **changes: Any) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return edit


@pytest.fixture(scope="session")
def load() -> Callable[..., TransformerBackbone]:
    """Loads a model folder in fp32."""

    def loaded(folder: Path, **options: Any) -> TransformerBackbone:
        backbone = load_backbone(BackboneConfig(model=str(folder), **{"precision": "fp32", "overlap": 6, **options}))
        assert isinstance(backbone, TransformerBackbone)
        return backbone

    return loaded
