"""Single-vector models: states and vectors against sentence-transformers' own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from backbone_models import LONG_TEXT, TEXTS, WINDOW
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from lexite.backbone import Backbone, TokenStates, iterate_states
from lexite.backbone.transformer import TransformerBackbone
from lexite.errors import BackboneError

Load = Callable[..., TransformerBackbone]
KEEP_ALL = {"special_tokens": "keep", "prompt_tokens": "keep", "long": "truncate"}


def reference(folder: Path, texts: list[str], prompt: str = "") -> list[torch.Tensor]:
    """The library's token embeddings, text by text, so that its padding plays no part."""
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return [model.encode([text], prompt=prompt, output_value="token_embeddings")[0] for text in texts]


def texts_of(states: TokenStates) -> list[torch.Tensor]:
    return [states.text(i) for i in range(states.n_texts)]


def assert_same(got: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    assert [tuple(t.shape) for t in got] == [tuple(t.shape) for t in expected]
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["plain_folder", "mean_folder", "prompted_folder", "qwen_folder", "gpt_folder"])
def test_states_are_those_of_the_library(name: str, load: Load, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(name)
    texts = [*TEXTS, LONG_TEXT] if name == "mean_folder" else [text for text in [*TEXTS, LONG_TEXT] if text]
    backbone = load(folder, query_prompt="", document_prompt="", **KEEP_ALL)
    assert_same(texts_of(backbone.encode(texts, "document")), reference(folder, texts))


@pytest.mark.parametrize("name", ["prompted_folder", "qwen_folder"])
def test_states_behind_a_prompt_are_those_of_the_library(name: str, load: Load, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(name)
    states = load(folder, **KEEP_ALL).encode(TEXTS, "query")
    assert_same(texts_of(states), reference(folder, TEXTS, "query: "))


@pytest.mark.parametrize("name", ["mean_folder", "qwen_folder", "gpt_folder"])
def test_other_texts_in_the_batch_change_rounding_only(name: str, load: Load, request: pytest.FixtureRequest) -> None:
    backbone = load(request.getfixturevalue(name))
    together = texts_of(backbone.encode([*TEXTS, LONG_TEXT], "document"))
    alone = [backbone.encode([text], "document").text(0) for text in [*TEXTS, LONG_TEXT]]
    assert_same(together, alone)


def test_order_of_texts_does_not_matter_and_repeats_are_bit_identical(mean_folder: Path, load: Load) -> None:
    backbone = load(mean_folder, tokens_per_batch=64)
    first, second = backbone.encode([*TEXTS, LONG_TEXT], "document"), backbone.encode([*TEXTS, LONG_TEXT], "document")
    assert torch.equal(first.states, second.states)
    backwards = backbone.encode([*TEXTS, LONG_TEXT][::-1], "document")
    assert_same(texts_of(backwards)[::-1], texts_of(first))


def test_special_tokens_are_dropped_unless_kept(mean_folder: Path, load: Load) -> None:
    kept = load(mean_folder, special_tokens="keep").encode(["the cat", "the [MASK]"], "document")
    assert [load(mean_folder).describe_token(i) for i in kept.token_ids] == (
        ["[CLS]", "the", "cat", "[SEP]", "[CLS]", "the", "[MASK]", "[SEP]"]
    )
    dropped = load(mean_folder).encode(["the cat", "the [MASK]"], "document")
    assert_same(texts_of(dropped), [kept.text(0)[1:3], kept.text(1)[1:2]])


def test_prompt_tokens_are_dropped_unless_kept(prompted_folder: Path, load: Load) -> None:
    kept = load(prompted_folder, prompt_tokens="keep").encode(["the cat", ""], "document")
    pieces = [load(prompted_folder).describe_token(i) for i in kept.token_ids]
    assert pieces == ["passage", ":", "the", "cat", "passage", ":"]
    dropped = load(prompted_folder).encode(["the cat", ""], "document")
    assert dropped.offsets.tolist() == [0, 2, 2]
    assert_same([dropped.text(0)], [kept.text(0)[2:]])


def test_a_byte_level_piece_that_carries_the_space_belongs_to_the_text(qwen_folder: Path, load: Load) -> None:
    backbone = load(qwen_folder)
    states = backbone.encode(["the cat", "dog"], "query")
    text = "".join(backbone.describe_token(i) for i in states.token_ids[: states.offsets[1]])
    assert text.lstrip("Ġ") == "theĠcat"
    assert states.offsets[2] > states.offsets[1]


def test_prompts_come_from_the_model_and_can_be_overridden(
    prompted_folder: Path, make_single: Callable[..., Path], edit_json: Callable[..., None], load: Load
) -> None:
    assert load(prompted_folder).prompts == {"query": "query: ", "document": "passage: "}
    overridden = load(prompted_folder, query_prompt="", document_prompt="the ")
    assert overridden.prompts == {"query": "", "document": "the "}
    default = make_single("mean", prompts={"instruction": "query: "}, default_prompt_name="instruction")
    edit_json(default / "config_sentence_transformers.json", prompts={"instruction": "query: "})
    assert load(default).prompts == {"query": "query: ", "document": "query: "}
    own = make_single("mean", prompts={"query": "the ", "document": "", "x": "cat "}, default_prompt_name="x")
    assert load(own).prompts == {"query": "the ", "document": ""}


def test_prompts_change_the_states_of_the_text(prompted_folder: Path, load: Load) -> None:
    with_prompt = load(prompted_folder).encode(["the cat"], "query")
    without = load(prompted_folder, query_prompt="").encode(["the cat"], "query")
    assert with_prompt.token_ids.tolist() == without.token_ids.tolist()
    assert not torch.allclose(with_prompt.states, without.states, atol=1e-2)


@pytest.mark.parametrize("keep", ["drop", "keep"])
def test_a_long_text_counts_each_token_once_and_in_order(mean_folder: Path, load: Load, keep: str) -> None:
    backbone = load(mean_folder, special_tokens=keep)
    states = backbone.encode([LONG_TEXT], "document")
    ids = backbone.model.tokenizer(LONG_TEXT, add_special_tokens=keep == "keep", verbose=False)["input_ids"]
    assert len(ids) > 4 * WINDOW
    assert states.token_ids.tolist() == ids


def test_windows_are_contextualised_stretches_of_the_text(mean_folder: Path, load: Load) -> None:
    backbone = load(mean_folder, special_tokens="keep", overlap=6)
    content = backbone.model.tokenizer(LONG_TEXT, add_special_tokens=False, verbose=False)["input_ids"]
    states = backbone.encode([LONG_TEXT], "document")
    first = states.text(0)[:20]  # of [CLS] and the first window, before its overlap
    longest = [[2, *content[:n], 3] for n in range(20, WINDOW - 1)]
    with torch.inference_mode():
        model = backbone.model.transformers_model
        stretches = [model(torch.tensor([ids])).last_hidden_state[0, :20] for ids in longest]
    assert any(torch.allclose(first, stretch, atol=1e-4) for stretch in stretches)


def test_a_text_of_exactly_the_window_is_untouched(mean_folder: Path, load: Load) -> None:
    text = " ".join(["cat"] * (WINDOW - 2))
    assert_same(
        texts_of(load(mean_folder).encode([text], "document")),
        texts_of(load(mean_folder, long="truncate").encode([text], "document")),
    )
    longer = load(mean_folder).encode([text + " dog"], "document")
    assert longer.n_tokens == WINDOW - 1
    assert load(mean_folder, long="truncate").encode([text + " dog"], "document").n_tokens == WINDOW - 2


def test_prompt_and_special_tokens_are_kept_once_per_long_text(prompted_folder: Path, load: Load) -> None:
    backbone = load(prompted_folder, special_tokens="keep", prompt_tokens="keep")
    states = backbone.encode([LONG_TEXT], "document")
    ids = backbone.model.tokenizer("passage: " + LONG_TEXT, verbose=False)["input_ids"]
    assert states.token_ids.tolist() == ids


@pytest.mark.parametrize("name", ["mean_folder", "prompted_folder", "qwen_folder"])
def test_empty_texts_have_no_rows(name: str, load: Load, request: pytest.FixtureRequest) -> None:
    backbone = load(request.getfixturevalue(name))
    for texts in ([""], ["", "the cat", ""], []):
        states = backbone.encode(texts, "query")
        assert states.n_texts == len(texts)
        assert states.d_model == 32
        assert states.text(0).shape[0] == 0 if texts else states.n_tokens == 0


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(max_size=80), max_size=5))
def test_any_text_is_encoded(texts: list[str], mean_folder: Path, load: Load, cache: dict[str, TransformerBackbone]) -> None:
    backbone = cache.setdefault("mean", load(mean_folder))
    states = backbone.encode(texts, "document").check()
    assert states.n_texts == len(texts)
    assert not set(states.token_ids.tolist()) & set(backbone.model.tokenizer.all_special_ids)


@pytest.fixture(scope="session")
def cache() -> dict[str, TransformerBackbone]:
    return {}


def test_a_text_with_a_lone_surrogate_does_not_stop_the_batch(mean_folder: Path, load: Load) -> None:
    states = load(mean_folder).encode(["the \ud800 cat", "dog"], "document")
    assert states.n_texts == 2
    assert load(mean_folder).describe_token(int(states.token_ids[-1])) == "dog"


@pytest.mark.parametrize("name", ["plain_folder", "mean_folder", "prompted_folder", "qwen_folder"])
def test_dense_vectors_are_those_of_the_library(name: str, load: Load, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(name)
    backbone = load(folder)
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    texts = [text for text in [*TEXTS, LONG_TEXT] if text]
    for kind in ("query", "document"):
        expected = model.encode(texts, prompt=backbone.prompts[kind], normalize_embeddings=True, batch_size=1)
        np.testing.assert_allclose(backbone.dense(texts, kind), expected, atol=2e-5)


def test_dense_scores_are_cosines_in_tiles(mean_folder: Path, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lexite.backbone.scoring.DOCUMENTS_PER_TILE", 2)
    backbone = load(mean_folder)
    scores = backbone.dense_scores(TEXTS[:2], TEXTS)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, backbone.dense(TEXTS[:2], "query") @ backbone.dense(TEXTS, "document").T, atol=1e-5)
    assert backbone.dense_scores([], TEXTS).shape == (0, len(TEXTS))
    assert backbone.dense_scores(TEXTS, []).shape == (len(TEXTS), 0)


def test_dense_scores_follow_the_models_similarity(make_single: Callable[..., Path], load: Load) -> None:
    folder = make_single("mean", similarity_fn_name="euclidean")
    backbone = load(folder)
    assert backbone.info()["scoring"] == "euclidean"
    assert (backbone.dense_scores(TEXTS, TEXTS) <= 1e-3).all()


def test_prompts_can_be_left_out_of_pooling_as_the_model_says(
    copied: Callable[[Path], Path], prompted_folder: Path, edit_json: Callable[..., None], load: Load
) -> None:
    folder = copied(prompted_folder)
    [pooling] = folder.glob("*Pooling/config.json")
    edit_json(pooling, include_prompt=False, pooling_mode="mean")
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    expected = model.encode(TEXTS[:2], prompt="query: ", normalize_embeddings=True, batch_size=1)
    np.testing.assert_allclose(load(folder).dense(TEXTS[:2], "query"), expected, atol=2e-5)


def test_a_decoder_gives_an_empty_text_a_vector_of_its_end_token(qwen_folder: Path, load: Load) -> None:
    vectors = load(qwen_folder).dense(["", "a dog"], "document")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert load(qwen_folder).dense([], "document").shape == (0, 32)


def test_a_stream_comes_in_chunks_and_in_order(mean_folder: Path, load: Load) -> None:
    backbone = load(mean_folder)
    assert isinstance(backbone, Backbone)
    chunks = list(iterate_states(backbone, iter(TEXTS), "document", texts_per_chunk=4))
    assert [chunk.n_texts for chunk in chunks] == [4, 2]
    assert_same([t for chunk in chunks for t in texts_of(chunk)], texts_of(backbone.encode(TEXTS, "document")))
    assert list(iterate_states(backbone, [], "document")) == []


def test_the_stream_is_not_read_ahead(mean_folder: Path, load: Load) -> None:
    seen: list[str] = []
    stream = iterate_states(load(mean_folder), (seen.append(text) or text for text in TEXTS), "document", texts_per_chunk=2)
    next(stream)
    assert seen == TEXTS[:2]


def test_nan_in_the_weights_is_reported_with_the_text_in_the_stream(mean_folder: Path, load: Load) -> None:
    backbone = load(mean_folder)
    embeddings = backbone.model.transformers_model.get_input_embeddings().weight
    zebra = backbone.model.tokenizer.convert_tokens_to_ids("z")
    with torch.no_grad():
        embeddings[zebra] = float("nan")
    with pytest.raises(BackboneError, match="token 0 of text 4 .* NaN or infinity"):
        list(iterate_states(backbone, TEXTS, "document", texts_per_chunk=2))
    with pytest.raises(BackboneError, match="text 4 "):
        backbone.encode(TEXTS, "document").check()


def test_what_is_not_text_is_refused(mean_folder: Path, load: Load) -> None:
    with pytest.raises(BackboneError, match=r"Text 1 \(counted from 0\) is a NoneType"):
        load(mean_folder).encode(["a", None], "document")  # type: ignore[list-item]


def test_token_descriptions(mean_folder: Path, load: Load) -> None:
    backbone = load(mean_folder)
    assert backbone.describe_token(backbone.model.tokenizer.convert_tokens_to_ids("cat")) == "cat"
    assert backbone.describe_token(-1) == "?"
    assert backbone.describe_token(10**6) == "?"


@pytest.mark.parametrize("threads", ["2", "5"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_batches_on_several_threads_change_rounding_only(
    threads: str, precision: str, mean_folder: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = load(mean_folder, precision=precision, tokens_per_batch=64)
    texts = [*TEXTS, LONG_TEXT] * 20
    monkeypatch.setenv("LEXITE_THREADS", "1")
    alone, vectors = backbone.encode(texts, "document"), backbone.dense(texts, "document")
    monkeypatch.setenv("LEXITE_THREADS", threads)
    monkeypatch.setattr(torch, "get_num_threads", lambda: int(threads))
    together = backbone.encode(texts, "document")
    tolerance = {"atol": 2e-5, "rtol": 1e-4} if precision == "fp32" else {"atol": 0.05, "rtol": 0.05}
    torch.testing.assert_close(together.states, alone.states, **tolerance)
    assert together.offsets.tolist() == alone.offsets.tolist() and together.token_ids.tolist() == alone.token_ids.tolist()
    assert torch.equal(together.states, backbone.encode(texts, "document").states)
    np.testing.assert_allclose(backbone.dense(texts, "document"), vectors, atol=tolerance["atol"])


def test_an_error_in_a_thread_is_the_callers(mean_folder: Path, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = load(mean_folder, tokens_per_batch=32)
    monkeypatch.setenv("LEXITE_THREADS", "2")
    monkeypatch.setattr(backbone.model[0], "forward", lambda features: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        backbone.encode(TEXTS * 10, "document")


def test_bf16_states_are_close_to_fp32(mean_folder: Path, load: Load) -> None:
    exact, rounded = load(mean_folder), load(mean_folder, precision="bf16")
    states = rounded.encode(TEXTS, "document")
    assert (rounded.precision, states.states.dtype) == ("bf16", torch.bfloat16)
    reference_states = exact.encode(TEXTS, "document").states
    assert torch.nn.functional.cosine_similarity(states.states.float(), reference_states).min() > 0.99
    assert rounded.fingerprint == exact.fingerprint
