"""Finding and loading: the model package, folders, the hub, and each way in which that fails."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from backbone_models import save_transformer, wordpiece
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from transformers import RobertaConfig, RobertaModel, T5Config, T5EncoderModel

from lexite.backbone import BackboneConfig, default_model_folder, fast_bf16, load_backbone
from lexite.backbone.locate import MODEL_PACKAGE, find_model, weight_files
from lexite.backbone.precision import resolve_device, resolve_precision
from lexite.backbone.transformer import TransformerBackbone
from lexite.config import from_dict, to_dict
from lexite.errors import BackboneError, ConfigError

Load = Callable[..., TransformerBackbone]
Copy = Callable[[Path], Path]
EditJson = Callable[..., None]


def load_error(model: str | Path, **options: Any) -> str:
    """The message of the error; one line."""
    with pytest.raises(BackboneError) as caught:
        load_backbone(BackboneConfig(model=str(model), **options))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_importing_the_room_imports_no_torch() -> None:
    code = "import sys, lexite.backbone, lexite.backbone.config; print('torch' in sys.modules, 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False False\n"


# The default model


@pytest.mark.slow
def test_the_default_is_the_model_package_without_its_code() -> None:
    code = (
        "import sys; from lexite.backbone import load_backbone, BackboneConfig\n"
        "b = load_backbone(BackboneConfig(precision='fp32'))\n"
        f"print(b.name, b.d_model, b.windows['document'], {MODEL_PACKAGE!r} in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "all-MiniLM-L6-v2 384 256 False\n"
    assert run.stderr == ""


def test_the_default_gives_what_the_library_gives() -> None:
    texts = ["Seven seas, and an ocean of tears.", "What limits the growth of coral reefs?", "reef " * 300]
    options = {"precision": "fp32", "special_tokens": "keep", "long": "truncate"}
    backbone = load_backbone(BackboneConfig(**options))  # type: ignore[arg-type]
    library = SentenceTransformer(str(default_model_folder()), device="cpu", local_files_only=True)
    states = backbone.encode(texts, "document")
    for i, expected in enumerate(library.encode(texts, output_value="token_embeddings")):
        np.testing.assert_allclose(states.text(i), expected, atol=1e-4)
    np.testing.assert_allclose(backbone.dense(texts, "query"), library.encode(texts), atol=1e-5)
    assert [backbone.describe_token(i) for i in states.token_ids[:4]] == ["[CLS]", "seven", "seas", ","]


def test_the_package_is_found_under_both_names() -> None:
    folder = default_model_folder()
    assert folder is not None
    assert find_model(BackboneConfig()) == find_model(BackboneConfig(model="sentence-transformers/all-MiniLM-L6-v2")) == folder


def test_a_package_with_other_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / MODEL_PACKAGE / "model"
    model.mkdir(parents=True)
    (tmp_path / MODEL_PACKAGE / "__init__.py").write_text("raise RuntimeError('imported')")
    (model / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert "is not the published all-MiniLM-L6-v2: its SHA-256 differs" in load_error("all-MiniLM-L6-v2")


def test_without_the_package_the_default_comes_from_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    assert default_model_folder() is None
    message = load_error("all-MiniLM-L6-v2")
    assert "'all-MiniLM-L6-v2' is not on this machine and the Hugging Face hub cannot be reached" in message


# Folders


def test_paths_that_hold_no_model(tmp_path: Path, mean_folder: Path) -> None:
    assert "does not exist" in load_error(tmp_path / "nothing")
    assert "does not exist" in load_error("./nothing")
    assert "holds neither config.json nor modules.json" in load_error(tmp_path)
    assert "is a file. Name the folder" in load_error(mean_folder / "config.json")


def test_a_truncated_weight_file_is_named(copied: Copy, mean_folder: Path) -> None:
    folder = copied(mean_folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert f"The weight file {weights} is damaged" in load_error(folder)
    weights.write_bytes(b"\x00" * 50)
    assert f"The weight file {weights} is damaged" in load_error(folder)


def test_a_damaged_weight_file_of_a_late_interaction_model(copied: Copy, late_folder: Path) -> None:
    folder = copied(late_folder)
    [weights] = folder.glob("*Dense/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:20])
    assert f"The weight file {weights} is damaged" in load_error(folder)


def test_nan_weights_are_found_when_encoding(copied: Copy, mean_folder: Path) -> None:
    folder = copied(mean_folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["embeddings.LayerNorm.weight"][3] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    backbone = load_backbone(BackboneConfig(model=str(folder), precision="fp32"))
    with pytest.raises(BackboneError, match="token 0 of text 0 .* NaN"):
        backbone.encode(["the cat"], "document").check()


def test_missing_weights(copied: Copy, mean_folder: Path) -> None:
    folder = copied(mean_folder)
    (folder / "model.safetensors").unlink()
    assert "cannot be loaded" in load_error(folder)


@pytest.mark.parametrize("name", ["config.json", "config_sentence_transformers.json"])
def test_damaged_json_is_named_with_its_line(copied: Copy, mean_folder: Path, name: str) -> None:
    folder = copied(mean_folder)
    (folder / name).write_text('{\n "a": ')
    assert f"{folder / name}, line 2: not valid JSON" in load_error(folder)
    (folder / name).write_text("[]")
    assert "does not hold a mapping" in load_error(folder)


@pytest.mark.parametrize("kind", ["CrossEncoder", "SparseEncoder"])
def test_models_of_another_kind_are_refused(copied: Copy, mean_folder: Path, edit_json: EditJson, kind: str) -> None:
    folder = copied(mean_folder)
    edit_json(folder / "config_sentence_transformers.json", model_type=kind)
    assert f"holds a {kind}, not a dense retriever" in load_error(folder)


def test_a_model_without_a_transformer_is_refused(tmp_path: Path) -> None:
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    static = StaticEmbedding(wordpiece().backend_tokenizer, embedding_dim=8)
    SentenceTransformer(modules=[static], device="cpu").save(str(tmp_path / "static"), create_model_card=False)
    assert "does not begin with a transformer" in load_error(tmp_path / "static")


def test_a_model_behind_a_chat_template_is_refused(copied: Copy, plain_folder: Path) -> None:
    folder = copied(plain_folder)
    (folder / "chat_template.jinja").write_text("{% for message in messages %}{{ message['content'] }}{% endfor %}")
    assert "chat template" in load_error(folder)


def test_a_plain_folder_takes_mean_pooling(plain_folder: Path, mean_folder: Path, load: Load) -> None:
    plain, saved = load(plain_folder), load(mean_folder)
    torch.testing.assert_close(plain.encode(["the cat"], "query").states, saved.encode(["the cat"], "query").states)
    np.testing.assert_allclose(plain.dense(["the cat"], "query"), saved.dense(["the cat"], "query"), atol=1e-6)


def test_loading_prints_nothing(mean_folder: Path, load: Load, capfd: pytest.CaptureFixture[str]) -> None:
    load(mean_folder)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


# Windows, devices, precision


def test_the_window_can_be_lowered_but_not_beyond_the_positions(mean_folder: Path, load: Load) -> None:
    assert load(mean_folder).windows["document"] == 32
    assert load(mean_folder, max_length=20).windows == {"document": 20, "query": 20}
    assert load(mean_folder, max_length=64).encode(["cat " * 100], "document").n_tokens == 100
    assert "max_length is 65, but the model has 64 positions" in load_error(mean_folder, max_length=65)


def test_positions_that_begin_after_the_padding(tmp_path: Path, load: Load) -> None:
    tokenizer = wordpiece()
    tokenizer.model_max_length = 10**9
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = RobertaConfig(vocab_size=len(tokenizer), max_position_embeddings=22, pad_token_id=1, **sizes)
    backbone = load(save_transformer(tmp_path / "roberta", RobertaModel(config).eval(), tokenizer))
    assert backbone.windows["document"] == 20
    assert backbone.encode(["cat " * 50], "document").n_tokens == 50


def test_a_model_without_a_limit_has_a_default_window(tmp_path: Path, load: Load) -> None:
    tokenizer = wordpiece()
    tokenizer.model_max_length = 10**30
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    config = T5Config(vocab_size=len(tokenizer), pad_token_id=0, eos_token_id=3, decoder_start_token_id=0, **sizes)
    backbone = load(save_transformer(tmp_path / "t5", T5EncoderModel(config).eval(), tokenizer))
    assert backbone.windows["document"] == 512
    assert backbone.encode(["the cat", "cat " * 600], "document").offsets.tolist() == [0, 2, 602]


def test_files_that_fail_while_hashing(copied: Copy, mean_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(path: Path) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("lexite.backbone.fingerprint.sha256_once", unreadable)
    assert "cannot be read: [Errno 5]" in load_error(mean_folder)


def test_a_prompt_that_fills_the_window(mean_folder: Path, load: Load) -> None:
    with pytest.raises(BackboneError, match="a prompt of 40 tokens leave no room for a text in a window of 32"):
        load(mean_folder, query_prompt="cat " * 40).encode(["dog"], "query")


def test_unknown_devices(mean_folder: Path) -> None:
    assert "The device 'toaster' cannot be used here" in load_error(mean_folder, device="toaster")
    assert resolve_device("cpu") == "cpu"


def test_precision_follows_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lexite.kernels.hardware._cpu_has_fast_bf16", lambda: True)
    assert fast_bf16("cpu")
    assert resolve_precision(BackboneConfig(), "cpu") == "bf16"
    assert resolve_precision(BackboneConfig(precision="fp32"), "cpu") == "fp32"
    monkeypatch.setattr("lexite.kernels.hardware._cpu_has_fast_bf16", lambda: False)
    assert resolve_precision(BackboneConfig(), "cpu") == "fp32"
    assert resolve_precision(BackboneConfig(precision="bf16"), "cpu") == "bf16"


def test_cuda_is_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lexite.backbone.precision.resolve_device", lambda name: "cuda")
    for capability, fast in (((8, 0), True), ((7, 5), False)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, known=capability: known)
        assert fast_bf16("auto") is fast


def test_attention_on_a_cpu_is_the_fastest_for_the_precision(mean_folder: Path, load: Load) -> None:
    used = {
        precision: load(mean_folder, precision=precision).model[0].model.config._attn_implementation
        for precision in ("bf16", "fp32")
    }
    assert used == {"bf16": "lexite", "fp32": "sdpa"}


# Fingerprints


def test_the_fingerprint_is_of_the_content_not_of_the_place(copied: Copy, mean_folder: Path, load: Load) -> None:
    folder = copied(mean_folder)
    (folder / "README.md").write_text("other words")
    assert load(folder).fingerprint == load(mean_folder).fingerprint
    assert load(folder, tokens_per_batch=64, device="cpu").fingerprint == load(mean_folder).fingerprint


@pytest.mark.parametrize(
    "options",
    [
        {"query_prompt": "x "},
        {"max_length": 20},
        {"long": "truncate"},
        {"overlap": 5},
        {"special_tokens": "keep"},
        {"prompt_tokens": "keep"},
    ],
)
def test_the_fingerprint_knows_the_policy(mean_folder: Path, load: Load, options: dict[str, Any]) -> None:
    assert load(mean_folder, **options).fingerprint != load(mean_folder).fingerprint


def test_the_fingerprint_knows_weights_and_tokenizer(copied: Copy, mean_folder: Path, load: Load) -> None:
    folder = copied(mean_folder)
    before = load(folder).fingerprint
    tensors = load_file(folder / "model.safetensors")
    tensors["embeddings.LayerNorm.bias"][0] += 1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    after_weights = load(folder).fingerprint
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert len({before, after_weights, load(folder).fingerprint}) == 3


def test_weight_files_prefer_safetensors(tmp_path: Path) -> None:
    for name in ("a/model.safetensors", "a/pytorch_model.bin", "b/pytorch_model.bin", "onnx/model.bin", "config.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert weight_files(tmp_path) == [tmp_path / "a/model.safetensors", tmp_path / "b/pytorch_model.bin"]


def test_info_says_what_was_loaded(mean_folder: Path, load: Load) -> None:
    info = json.loads(json.dumps(load(mean_folder).info()))
    assert (info["precision"], info["device"], info["scoring"], info["d_model"]) == ("fp32", "cpu", "cosine", 32)
    assert from_dict(BackboneConfig, info["config"]).model == str(mean_folder)


# The hub


class FakeHub:
    """Stands in for the hub: repositories by name, each a local folder or an error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, repositories: dict[str, Path | Exception]) -> None:
        self.repositories, self.downloads = repositories, []  # type: ignore[var-annotated]
        monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda _, name, **options: self.model_info(name, **options))
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self.snapshot_download)

    def model_info(self, name: str, revision: str | None = None, timeout: float | None = None) -> SimpleNamespace:
        assert timeout is not None
        assert timeout <= 30
        found = self.repositories.get(name, hub_error(RepositoryNotFoundError))
        if isinstance(found, Exception):
            raise found
        files = [p.relative_to(found).as_posix() for p in found.rglob("*") if p.is_file()]
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in [*files, "onnx/model.onnx"]])

    def snapshot_download(self, name: str, revision: str | None = None, **options: Any) -> str:
        if options.get("local_files_only"):
            raise LocalEntryNotFoundError("not in the cache")
        self.downloads.append((name, revision, options["allow_patterns"]))
        return str(self.repositories[name])


def hub_error(kind: type[Exception]) -> Exception:
    error = kind.__new__(kind)
    Exception.__init__(error, "404 Client Error\nmore lines")
    return error


def test_a_hub_model_is_downloaded_without_what_is_not_needed(monkeypatch: pytest.MonkeyPatch, mean_folder: Path) -> None:
    hub = FakeHub(monkeypatch, {"someone/model": mean_folder})
    backbone = load_backbone(BackboneConfig(model="someone/model", revision="v1", precision="fp32"))
    assert (backbone.name, backbone.d_model) == ("someone/model@v1", 32)
    [(name, revision, files)] = hub.downloads
    assert (name, revision) == ("someone/model", "v1")
    assert "model.safetensors" in files
    assert not any(file.startswith("onnx") or file.endswith(".md") for file in files)


def test_short_names_are_of_sentence_transformers(
    monkeypatch: pytest.MonkeyPatch, mean_folder: Path, plain_folder: Path
) -> None:
    repositories: dict[str, Path | Exception] = {
        "sentence-transformers/a": mean_folder,
        "a": plain_folder,
        "old-bert": plain_folder,
    }
    FakeHub(monkeypatch, repositories)
    assert find_model(BackboneConfig(model="a")) == mean_folder
    assert find_model(BackboneConfig(model="old-bert")) == plain_folder


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RepositoryNotFoundError, "There is no model 'someone/model': neither a folder of that name nor a model"),
        (RevisionNotFoundError, "'someone/model' has no revision 'v9'"),
        (GatedRepoError, "'someone/model' is gated"),
        (ConnectionError, r"cannot be reached \(404 Client Error\)"),
    ],
)
def test_what_the_hub_answers_is_one_line(monkeypatch: pytest.MonkeyPatch, error: type[Exception], message: str) -> None:
    FakeHub(monkeypatch, {"someone/model": hub_error(error)})
    revision = "v9" if error is RevisionNotFoundError else None
    with pytest.raises(BackboneError, match=message) as caught:
        find_model(BackboneConfig(model="someone/model", revision=revision))
    assert "\n" not in str(caught.value)


def test_offline_a_cached_model_is_used(monkeypatch: pytest.MonkeyPatch, mean_folder: Path) -> None:
    FakeHub(monkeypatch, {"someone/model": ConnectionError("no route")})
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **options: str(mean_folder))
    assert find_model(BackboneConfig(model="someone/model")) == mean_folder


def test_an_unknown_model_fails_fast_without_a_network() -> None:
    started = time.monotonic()
    assert "cannot be reached" in load_error("someone/no-such-model")
    assert time.monotonic() - started < 10


def test_names_that_the_hub_does_not_allow_are_unknown_models(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeHub(monkeypatch, {})
    assert "There is no model 'no such model'" in load_error("no such model")


# Configuration


def test_the_configuration_survives_json() -> None:
    config = BackboneConfig(model="x", max_length=128, query_prompt="")
    assert from_dict(BackboneConfig, json.loads(json.dumps(to_dict(config)))) == config


def test_bad_configurations() -> None:
    with pytest.raises(ConfigError, match="model is empty"):
        BackboneConfig(model="")
    with pytest.raises(ConfigError, match="overlap must be less than half"):
        BackboneConfig(max_length=64)
    with pytest.raises(ConfigError, match="choose one of window, truncate"):
        from_dict(BackboneConfig, {"long": "cut"})
