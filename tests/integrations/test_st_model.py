"""The sparse encoder behaves as users of the library expect of one: saving, loading, encoding, and folders of others."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from dense_codes import random_encoder
from latent_models import PROMPTS, save_bert
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer, SparseEncoder
from sentence_transformers.base.modules import Transformer

from lexite.errors import ArgumentError, ConfigError, LexiteError, ModelError
from lexite.integrations.sentence_transformers import (
    BM25InformationRetrievalEvaluator,
    LatentTermsLoss,
    LatentTermsSparseEncoder,
    to_sentence_transformers,
)
from lexite.integrations.sentence_transformers.saved import WEIGHTS
from lexite.integrations.sentence_transformers.token_encoder import SparseAutoEncoderTokenEncoder
from lexite.integrations.sentence_transformers.token_pooling import SparseTokenPooling
from lexite.terms import BM25Config

TEXTS = ["The cat and the dog drink milk.", "Rain and snow fall.", "", "How to parse a json file", "moon"]
LONG = "rain and snow fall on the lake and the sea " * 20
N_LATENTS = 64


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def folder(tiny_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model with labels, and with prompts and transforms that matter."""
    model = to_sentence_transformers(tiny_vocabulary, query_prompt="how to ", document_prompt="file ")
    model.scoring = BM25Config(k1=1.7, document_transform="sqrt", query_transform="log1p")
    path = tmp_path_factory.mktemp("sparse") / "model"
    model.save_pretrained(str(path))
    return path


@pytest.fixture
def model(folder: Path) -> LatentTermsSparseEncoder:
    return LatentTermsSparseEncoder(str(folder), device="cpu")


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def same(one: torch.Tensor, other: torch.Tensor, **tolerance: float) -> None:
    torch.testing.assert_close(one.to_dense().float(), other.to_dense().float(), **({"rtol": 1e-5, "atol": 1e-5} | tolerance))


def test_a_folder_loads_with_and_without_trust(model, folder: Path) -> None:
    trusted = SparseEncoder(str(folder), trust_remote_code=True, device="cpu")
    assert type(trusted) is SparseEncoder
    assert isinstance(trusted[-1], SparseTokenPooling) and isinstance(trusted[-2], SparseAutoEncoderTokenEncoder)
    for encode in ("encode", "encode_query", "encode_document"):
        same(getattr(trusted, encode)(TEXTS), getattr(model, encode)(TEXTS))
    with pytest.raises(ValueError, match="trust_remote_code"):
        SparseEncoder(str(folder), device="cpu")


def test_scoring_is_that_of_the_folder_whatever_class_loads_it(model, folder: Path, tmp_path: Path) -> None:
    trusted = SparseEncoder(str(folder), trust_remote_code=True, device="cpu")
    assert model.scoring == BM25Config(k1=1.7, document_transform="sqrt", query_transform="log1p")
    corpus, queries = dict(enumerate(TEXTS)), {9: TEXTS[0]}
    found = []
    for each in (model, trusted):
        evaluate = BM25InformationRetrievalEvaluator(queries, corpus, {9: {0}}, write_csv=False)
        found.append(evaluate(each))
        assert evaluate.similarity.scoring == model.scoring
        assert LatentTermsLoss(each).scores.scoring == model.scoring
    assert found[0] == pytest.approx(found[1])
    trusted.save_pretrained(str(tmp_path / "again"), create_model_card=False)
    again = LatentTermsSparseEncoder(str(tmp_path / "again"), device="cpu")
    assert again.scoring == model.scoring
    same(again.encode_query(TEXTS), model.encode_query(TEXTS))


def test_a_library_without_lexite_is_told_to_install_it(folder: Path, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = json.loads((folder / "config_sentence_transformers.json").read_text())
    assert set(config["requirements"]) == {"lexite"}
    from sentence_transformers.util import environment

    installed = environment.get_installed_version
    monkeypatch.setattr(environment, "get_installed_version", lambda name: None if name == "lexite" else installed(name))
    with pytest.raises(ImportError, match="lexite>=0.1, but it is not installed.*pip install"):
        SparseEncoder(str(folder), trust_remote_code=True)


def test_one_text_and_many(model) -> None:
    together = model.encode(TEXTS)
    assert together.is_sparse and together.shape == (5, N_LATENTS) and together.dtype == torch.float32
    alone = model.encode(TEXTS[0])
    assert alone.shape == (N_LATENTS,)
    same(alone, together[0])
    same(torch.stack([model.encode(text) for text in TEXTS]), together)
    same(model.encode(TEXTS, batch_size=2), together)
    parts = model.encode(TEXTS, convert_to_tensor=False)
    assert isinstance(parts, list) and len(parts) == 5
    same(torch.stack(parts), together)
    dense = model.encode(TEXTS, convert_to_sparse_tensor=False)
    assert not dense.is_sparse
    same(dense, together)
    assert not dense[2].any()
    assert model.encode([]).shape[0] == 0


def test_queries_and_documents_have_their_own_prompts_and_transforms(model) -> None:
    raw = {task: model.encode_csr(TEXTS, task=task, raw=True).toarray() for task in ("query", "document")}
    assert (raw["query"] != raw["document"]).any()
    np.testing.assert_allclose(model.encode_query(TEXTS).to_dense().numpy(), np.log1p(raw["query"]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.encode_document(TEXTS).to_dense().numpy(), np.sqrt(raw["document"]), rtol=1e-5, atol=1e-6)
    same(model.encode(TEXTS, prompt="how to ", task="query"), model.encode_query(TEXTS))
    same(model.encode(TEXTS, prompt_name="document"), model.encode_document(TEXTS))
    assert not torch.allclose(model.encode_query(TEXTS, prompt="the").to_dense(), model.encode_query(TEXTS).to_dense())


@pytest.mark.parametrize("task", ["query", "document", None])
def test_sparse_rows_are_the_dense_ones(model, task) -> None:
    encode = {"query": model.encode_query, "document": model.encode_document, None: model.encode}[task]
    texts = [*TEXTS, LONG]
    for options in ({}, {"prompt": "read "}, {"prompt_name": "query"}, {"max_active_dims": 3}):
        rows = model.encode_csr(iter(texts), task=task, batch_size=2, **options)
        assert rows.dtype == np.float32 and rows.shape == (6, N_LATENTS)
        np.testing.assert_allclose(rows.toarray(), encode(texts, **options).to_dense().numpy(), rtol=1e-5, atol=1e-6)
    model.default_prompt_name, model.max_active_dims = "query", 4
    expected = encode(texts).to_dense().numpy()
    np.testing.assert_allclose(model.encode_csr(texts, task=task).toarray(), expected, rtol=1e-5, atol=1e-6)
    assert model.encode_csr([], task=task).shape == (0, N_LATENTS)


def test_wrong_arguments_of_encode_csr_are_named(model) -> None:
    with pytest.raises(ArgumentError, match=r"Write encode_csr\(\[text\]\)"):
        model.encode_csr("one text")
    with pytest.raises(ConfigError, match="batch_size is 0"):
        model.encode_csr(TEXTS, batch_size=0)
    with pytest.raises(ConfigError, match="max_active_dims is 0"):
        model.encode_csr(TEXTS, max_active_dims=0)
    with pytest.raises(ConfigError, match="task is 'passage', but must be one of query, document, None"):
        model.encode_csr(TEXTS, task="passage")
    with pytest.raises(ArgumentError, match=r"scoring is a dict, but must be a lexite\.BM25Config"):
        model.scoring = {"k1": 1.2}


def test_a_text_is_cut_at_the_window(model) -> None:
    assert model.max_seq_length == 32
    same(model.encode([LONG]), model.encode([LONG + " and the moon"]))
    model.max_seq_length = 8
    assert model.encode([LONG]).coalesce().values().sum() < 8 * 20


def test_most_active_dims_are_asked_for_or_saved(model, tmp_path: Path) -> None:
    full, few = model.encode(TEXTS).to_dense(), model.encode(TEXTS, max_active_dims=3).to_dense()
    assert ((few > 0).sum(1) <= 3).all()
    same(few, torch.where(full >= full.topk(3, dim=1).values[:, -1:], full, 0.0))
    model.max_active_dims = 3
    model.save(str(tmp_path / "few"))
    loaded = LatentTermsSparseEncoder(str(tmp_path / "few"), device="cpu")
    same(loaded.encode(TEXTS), few)
    assert SparseEncoder.sparsity(few)["active_dims"] <= 3


def test_prompts_are_pooled_where_that_is_set(model) -> None:
    without = model.encode_query(TEXTS)
    same(without[2], torch.zeros(N_LATENTS))
    model.set_pooling_include_prompt(True)
    assert model.token_pooling.include_prompt
    assert model.encode_query(TEXTS).to_dense()[2].any()
    model.set_pooling_include_prompt(False)
    same(model.encode_query(TEXTS), without)


def test_similarity_is_the_product(model) -> None:
    queries, documents = model.encode_query(TEXTS), model.encode_document(TEXTS)
    scores = model.similarity(queries, documents)
    torch.testing.assert_close(scores.to_dense(), queries.to_dense() @ documents.to_dense().t())
    pairs = model.similarity_pairwise(queries, documents)
    torch.testing.assert_close(pairs.to_dense(), scores.to_dense().diagonal())
    assert model.similarity_fn_name == "dot"


def test_terms_are_decoded_to_labels(model) -> None:
    embeddings = model.encode_document(TEXTS)
    assert model.extras.vocabulary is not None
    decoded = model.decode(embeddings)
    dense = embeddings.to_dense()
    for row, pairs in zip(dense, decoded, strict=True):
        terms = sorted(row.nonzero().squeeze(1).tolist(), key=lambda term: -row[term])
        assert [weight for _, weight in pairs] == pytest.approx([float(row[term]) for term in terms])
        assert [label for label, _ in pairs] == [model.extras.vocabulary.label(term) for term in terms]
    assert model.decode(embeddings[0], top_k=2) == decoded[0][:2] == model.decode(dense[0], top_k=2)
    model.extras = replace(model.extras, vocabulary=None)
    assert model.decode(torch.tensor([0.0, 2.0, 3.0])) == [("latent 2", 3.0), ("latent 1", 2.0)]
    with pytest.raises(ConfigError, match="top_k is 0"):
        model.decode(embeddings, top_k=0)


def test_scoring_and_the_transforms_of_the_pooling_are_one(model, tmp_path: Path) -> None:
    assert model.scoring == BM25Config(k1=1.7, document_transform="sqrt", query_transform="log1p")
    model.token_pooling.query_transform = None
    assert model.scoring.query_transform == "sqrt"
    model.scoring = BM25Config(b=0.2, query_transform="none")
    assert (model.token_pooling.transform_for("document"), model.token_pooling.transform_for("query")) == ("none", "none")
    model.save(str(tmp_path / "m"))
    assert LatentTermsSparseEncoder(str(tmp_path / "m")).scoring == model.scoring
    given = LatentTermsSparseEncoder(str(tmp_path / "m"), scoring=BM25Config(k1=0.9))
    assert given.scoring == BM25Config(k1=0.9) and given.token_pooling.transform_for("query") == "pow0.75"


def test_saved_again_it_is_the_same(model, folder: Path, tmp_path: Path) -> None:
    model.save_pretrained(str(tmp_path / "again"))
    again = LatentTermsSparseEncoder(str(tmp_path / "again"), device="cpu")
    same(again.encode_query(TEXTS), model.encode_query(TEXTS))
    assert again.prompts == model.prompts and again.scoring == model.scoring
    assert again.extras.details == model.extras.details and again.extras.origin == model.extras.origin
    assert (again.extras.vocabulary is not None) and again.extras.vocabulary.label(3) == model.extras.vocabulary.label(3)
    for name in ("modules.json", "config_sentence_transformers.json"):
        assert (tmp_path / "again" / name).read_text() == (folder / name).read_text()
    assert model.save(None) is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_models_give_nearly_the_same_terms(model, folder: Path, dtype) -> None:
    expected = model.encode_document(TEXTS).to_dense()
    for half in (
        LatentTermsSparseEncoder(str(folder), device="cpu", model_kwargs={"dtype": dtype}),
        LatentTermsSparseEncoder(str(folder), device="cpu").to(dtype),
    ):
        assert half.dtype == dtype and half.token_encoder.W_enc.dtype == dtype
        embeddings = half.encode_document(TEXTS)
        assert embeddings.dtype == torch.float32
        assert torch.cosine_similarity(embeddings.to_dense(), expected, dim=1)[[0, 1, 3, 4]].min() > 0.95
        np.testing.assert_allclose(
            half.encode_csr(TEXTS, task="document").toarray(), embeddings.to_dense().numpy(), rtol=1e-5, atol=1e-6
        )


def test_autocast_in_bf16_trains_the_whole_model(model) -> None:
    model.token_encoder.tokens_since_active += model.token_encoder.dead_after_tokens
    model.train()
    with torch.autocast("cpu", torch.bfloat16):
        output = model(model.preprocess(TEXTS))
    assert output["sentence_embedding"].dtype == torch.float32
    output["sentence_embedding"].sum().backward()
    for parameter in (model.token_encoder.W_enc, next(model[0].parameters())):
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all() and parameter.grad.any()


def test_copies_of_a_used_model_are_whole(model) -> None:
    expected = model.encode(TEXTS)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        same(other.encode(TEXTS), expected)
        assert other.scoring == model.scoring and other.extras.details == model.extras.details
    state = model.state_dict()
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(0.5)
    assert not torch.allclose(other.encode(TEXTS).to_dense(), expected.to_dense())
    other.load_state_dict(state)
    same(other.encode(TEXTS), expected)
    same(other.double().float().encode(TEXTS), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_an_accelerator_terms_are_nearly_the_same(model) -> None:
    expected = model.encode(TEXTS).to_dense()
    moved = model.to("cuda")
    same(moved.encode(TEXTS).cpu(), expected, rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(moved.encode_csr(TEXTS).toarray(), expected.numpy(), rtol=1e-2, atol=1e-2)


@pytest.mark.slow
def test_several_processes_give_the_same(model) -> None:
    expected = model.encode_document(TEXTS * 3)
    pool = model.start_multi_process_pool(["cpu", "cpu"])
    try:
        same(model.encode_document(TEXTS * 3, pool=pool, chunk_size=4), expected)
    finally:
        model.stop_multi_process_pool(pool)


def test_pushing_to_the_hub_writes_a_card(model, monkeypatch: pytest.MonkeyPatch) -> None:
    uploaded: dict[str, str] = {}

    class Hub:
        def __init__(self, **options: Any) -> None: ...

        def create_repo(self, repo_id: str, **options: Any) -> Any:
            return huggingface_hub.RepoUrl(f"https://huggingface.co/{repo_id}")

        def upload_folder(self, folder_path: str, **options: Any) -> Any:
            root = Path(folder_path)
            uploaded.update({p.relative_to(root).as_posix(): p.name for p in root.rglob("*") if p.is_file()})
            uploaded["card"] = (root / "README.md").read_text()
            return type("Commit", (), {"commit_url": "the commit"})()

    monkeypatch.setattr("sentence_transformers.base.model.HfApi", Hub)
    assert model.push_to_hub("me/latent-terms", replace_model_card=True) == "the commit"
    names = ("modules.json", "config_sentence_transformers.json", "latent_terms/lexite.json", "README.md")
    assert all(name in uploaded for name in names), sorted(uploaded)
    assert "me/latent-terms" in uploaded["card"] and "LatentTermsSparseEncoder" in uploaded["card"]


def test_what_holds_no_latent_terms_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    for path in (tiny_model, tiny_model / "nothing"):
        with pytest.raises((LexiteError, OSError), match="holds no latent terms|nothing") as caught:
            LatentTermsSparseEncoder(str(path), device="cpu")
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="has no SparseAutoEncoderTokenEncoder.*from_dense"):
        LatentTermsSparseEncoder(modules=[SentenceTransformer(str(tiny_model), device="cpu")[0]])


def test_parts_that_do_not_fit_are_refused(tiny_model: Path) -> None:
    transformer = SentenceTransformer(str(tiny_model), device="cpu")[0]
    for kind in (SparseEncoder, LatentTermsSparseEncoder):
        with pytest.raises(ModelError, match="has 40 latents, but the pooling behind it expects 30"):
            kind(modules=[transformer, random_encoder(32, 40), SparseTokenPooling(30)])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config_sentence_transformers.json", "{", "A JSON file of .* is damaged"),
        ("modules.json", "[", "A JSON file of .* is damaged"),
        ("latent_terms/lexite.json", None, "lexite.json"),
        ("latent_terms", None, "lacks the folder 'latent_terms'"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(copied: Path, name, content, message) -> None:
    path = copied / name
    if content is not None:
        path.write_text(content)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    with pytest.raises(ModelError, match=message) as caught:
        LatentTermsSparseEncoder(str(copied), device="cpu")
    assert "\n" not in str(caught.value)


def test_extras_of_a_newer_format_or_with_changed_files_are_refused(copied: Path) -> None:
    labels = next(path for path in (copied / "latent_terms").iterdir() if path.name != "lexite.json")
    labels.write_bytes(labels.read_bytes()[:-1])
    with pytest.raises(ModelError, match=labels.name):
        LatentTermsSparseEncoder(str(copied), device="cpu")
    config = copied / "config_sentence_transformers.json"
    saved = json.loads(config.read_text())["lexite"]
    edit(config, lexite={**saved, "format_version": 9})
    with pytest.raises(ModelError, match="format version 9; this lexite reads 1"):
        LatentTermsSparseEncoder(str(copied), device="cpu")


def test_a_scoring_that_there_is_not_is_refused(copied: Path) -> None:
    (config,) = copied.glob("*_SparseTokenPooling/config.json")
    edit(config, scoring={"k9": 1})
    with pytest.raises(ConfigError, match=r"SparseTokenPooling: scoring.*k9"):
        LatentTermsSparseEncoder(str(copied), device="cpu")


# Folders of the library's pull request 3796.


def write_pull_request_folder(
    root: Path, *, variant: str = "standard", mean: bool = False, decoder: bool = True, strategy: str = "sum", **config: Any
) -> tuple[Path, dict[str, torch.Tensor]]:
    """A model as the pull request's modules save it, over a BERT with prompts."""
    dense = SentenceTransformer(str(save_bert(root)), device="cpu")
    folder = root / "sparse"
    dense[0].save(str(folder))
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    tensors = {"W_enc": draw(32, 48) / 5, "b_enc": draw(48) * 0.2, "b_pre": draw(32) * 0.3, "W_dec": draw(48, 32)}
    if variant == "jumprelu":
        tensors["theta"] = draw(48) * 0.5  # some below zero, where relu comes behind
    if mean:
        tensors["data_mean"] = draw(32)
    if not decoder:
        del tensors["W_dec"]
    (folder / "1_SparseAutoEncoderTokenEncoder").mkdir()
    save_file(tensors, folder / "1_SparseAutoEncoderTokenEncoder" / "model.safetensors")
    settings = {
        "input_dim": 32, "hidden_dim": 48, "k": 6, "variant": variant, "output_format": "topk",
        "replace_token_embeddings": False,
        "checkpoint_format_version": 1, "has_decoder": decoder, "k_aux": 512, "frozen": True, "rms_scale": 0.7,
        "token_batch_size": None, **config,
    }  # fmt: skip
    (folder / "1_SparseAutoEncoderTokenEncoder" / "config.json").write_text(json.dumps(settings))
    (folder / "2_SparseTokenPooling").mkdir()
    keys = {"values_key": "token_sparse_values", "indices_key": "token_sparse_indices", "include_prompt": True}
    (folder / "2_SparseTokenPooling" / "config.json").write_text(
        json.dumps({"embedding_dimension": 48, "pooling_strategy": strategy, **keys})
    )
    home = "sentence_transformers.sparse_encoder.modules"
    types = [
        ("", "sentence_transformers.base.modules.transformer.Transformer"),
        ("1_SparseAutoEncoderTokenEncoder", f"{home}.sparse_auto_encoder_token_encoder.SparseAutoEncoderTokenEncoder"),
        ("2_SparseTokenPooling", f"{home}.sparse_token_pooling.SparseTokenPooling"),
    ]
    modules = [{"idx": i, "name": str(i), "path": path, "type": kind} for i, (path, kind) in enumerate(types)]
    (folder / "modules.json").write_text(json.dumps(modules))
    saved = {"model_type": "SparseEncoder", "prompts": PROMPTS, "default_prompt_name": None, "similarity_fn_name": "dot"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(saved))
    return folder, tensors


def pull_request_rows(folder: Path, tensors: dict[str, torch.Tensor], texts: list[str], strategy: str, prompt: str = ""):
    """What the pull request's modules compute, as its description has it: one token after the other."""
    transformer = Transformer.load(str(folder))
    rows = torch.zeros(len(texts), 48)
    for row, text in zip(rows, texts, strict=True):
        with torch.no_grad():
            states = transformer.eval()(transformer.preprocess([prompt + text]))["token_embeddings"][0]
        for state in states:
            state = state - tensors["data_mean"] if "data_mean" in tensors else state * 0.7
            state = state * (32**0.5 / state.norm())
            u = (state - tensors["b_pre"]) @ tensors["W_enc"] + tensors["b_enc"]
            if "theta" in tensors:
                u = u * (u > tensors["theta"])
            for value, latent in zip(*u.topk(6), strict=True):
                value = max(float(value), 0.0)
                row[latent] = row[latent] + value if strategy == "sum" else max(float(row[latent]), value)
        if strategy == "max_log1p":
            row.log1p_()
    return rows


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"variant": "jumprelu", "strategy": "max"},
        {"mean": True, "strategy": "max_log1p"},
        {"decoder": False, "token_batch_size": 3},
    ],
    ids=str,
)
def test_folders_of_the_pull_request_are_read(tmp_path: Path, options) -> None:
    folder, tensors = write_pull_request_folder(tmp_path, **options)
    model = LatentTermsSparseEncoder(str(folder), device="cpu")
    model.token_encoder.precision = "fp32"
    strategy = options.get("strategy", "sum")
    texts = ["the cat sat on the mat", "a dog", "rain in spain, mostly"]
    same(model.encode(texts), pull_request_rows(folder, tensors, texts, strategy), atol=1e-4, rtol=1e-4)
    queries = pull_request_rows(folder, tensors, texts, strategy, "query: ")
    same(model.encode_query(texts), queries, atol=1e-4, rtol=1e-4)
    assert not any(parameter.requires_grad for parameter in model.token_encoder.parameters())
    assert (model.token_encoder.W_dec is not None) == options.get("decoder", True)
    model.save(str(tmp_path / "again"))
    again = LatentTermsSparseEncoder(str(tmp_path / "again"), device="cpu")
    again.token_encoder.precision = "fp32"
    same(again.encode_query(texts), model.encode_query(texts))
    for name, tensor in tensors.items():
        saved = getattr(again.token_encoder, name)
        assert torch.equal(saved.detach(), tensor.t() if name == "W_enc" else tensor), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"replace_token_embeddings": True}, "'replace_token_embeddings' is true, which is not supported"),
        ({"colour": 1}, "unknown key 'colour'"),
        ({"hidden_dim": 40}, r"tensor 'W_dec' has the shape \(48, 32\) instead of \(40, 32\)"),
        ({"k": 99}, "k is 99"),
        ({"checkpoint_format_version": 3}, "has format version 3; this lexite reads 1 and 2"),
    ],
)
def test_odd_folders_of_the_pull_request_are_refused_in_one_line(tmp_path: Path, changes, message) -> None:
    folder, _ = write_pull_request_folder(tmp_path, **changes)
    with pytest.raises(ModelError, match=message) as caught:
        LatentTermsSparseEncoder(str(folder), device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [0, -1])
def test_all_tokens_at_once_are_written_as_zero_in_the_pull_request(tmp_path: Path, size: int) -> None:
    folder, tensors = write_pull_request_folder(tmp_path, token_batch_size=size)
    model = LatentTermsSparseEncoder(str(folder), device="cpu")
    assert model.token_encoder.token_batch_size is None
    model.token_encoder.precision = "fp32"
    texts = ["the cat sat on the mat", "a dog"]
    same(model.encode(texts), pull_request_rows(folder, tensors, texts, "sum"), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("told", [True, False])
def test_tensors_under_the_prefix_of_early_revisions_are_read(tmp_path: Path, told: bool) -> None:
    folder, tensors = write_pull_request_folder(tmp_path, mean=True)
    home = folder / "1_SparseAutoEncoderTokenEncoder"
    save_file({name if name == "data_mean" else f"sae.{name}": part for name, part in tensors.items()}, home / WEIGHTS)
    if not told:
        settings = json.loads((home / "config.json").read_text())
        del settings["has_decoder"], settings["checkpoint_format_version"]
        (home / "config.json").write_text(json.dumps(settings))
    encoder = LatentTermsSparseEncoder(str(folder), device="cpu").token_encoder
    for name, tensor in tensors.items():
        assert torch.equal(getattr(encoder, name).detach(), tensor.t() if name == "W_enc" else tensor), name


def test_a_tensor_that_is_there_with_and_without_the_prefix_is_refused(tmp_path: Path) -> None:
    folder, tensors = write_pull_request_folder(tmp_path)
    save_file({**tensors, "sae.W_enc": tensors["W_enc"] + 1}, folder / "1_SparseAutoEncoderTokenEncoder" / WEIGHTS)
    with pytest.raises(ModelError, match=r"unknown tensor 'sae\.W_enc'"):
        LatentTermsSparseEncoder(str(folder), device="cpu")


def test_pickled_weights_are_named_and_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, tensors = write_pull_request_folder(tmp_path)
    home = folder / "1_SparseAutoEncoderTokenEncoder"
    (home / WEIGHTS).unlink()
    with pytest.raises(ModelError, match=r"holds no model\.safetensors"):
        SparseAutoEncoderTokenEncoder.load(str(folder), subfolder=home.name)
    torch.save(tensors, home / "pytorch_model.bin")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("a pickle is opened"))
    with pytest.raises(ModelError, match=r"weights in pytorch_model\.bin, a pickle.*safe_serialization=True") as caught:
        SparseAutoEncoderTokenEncoder.load(str(folder), subfolder=home.name)
    assert str(home) in str(caught.value) and "\n" not in str(caught.value)


def test_a_decoder_that_is_promised_must_be_there(tmp_path: Path) -> None:
    folder, tensors = write_pull_request_folder(tmp_path)
    path = folder / "1_SparseAutoEncoderTokenEncoder" / "model.safetensors"
    save_file({name: tensor for name, tensor in load_file(path).items() if name != "W_dec"}, path)
    with pytest.raises(ModelError, match="lacks the tensor 'W_dec'"):
        LatentTermsSparseEncoder(str(folder), device="cpu")
