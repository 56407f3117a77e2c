"""Pooled weights are those of a plain loop over tokens, in every layout, and the sparse rows are the dense ones."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dense_codes import random_encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from lexite.errors import ConfigError, ModelError
from lexite.integrations.sentence_transformers.token_pooling import SparseTokenPooling, transformed

N_LATENTS, K = 15, 4
CLS, SEP, COMMA = 1, 2, 3
TRANSFORMS = {"sqrt": math.sqrt, "log1p": math.log1p, "pow0.75": lambda w: w**0.75, "none": float}


def make_texts(lengths: list[int], seed: int = 0) -> list[list[tuple[int, list[tuple[int, float]]]]]:
    """Per text and token, its id and its (latent, value) pairs, some of value 0."""
    random = np.random.default_rng(seed)
    texts = []
    for n in lengths:
        ids = [CLS, *random.integers(3, 9, max(n - 2, 0)).tolist(), SEP][:n]
        codes = [
            [(int(j), float(np.float32(max(random.normal() + 0.5, 0)))) for j in random.permutation(N_LATENTS)[:K]] for _ in ids
        ]
        texts.append(list(zip(ids, codes, strict=True)))
    return texts


def features_of(texts, layout: str) -> dict[str, Any]:
    """The texts as a batch."""
    lengths = [len(text) for text in texts]
    values = [torch.tensor([[v for _, v in codes] for _, codes in text]).reshape(-1, K) for text in texts]
    indices = [torch.tensor([[j if v else 0 for j, v in codes] for _, codes in text]).long().reshape(-1, K) for text in texts]
    ids = [torch.tensor([i for i, _ in text], dtype=torch.int64) for text in texts]
    if layout == "packed":
        bounds = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32)
        parts = {"token_sparse_values": values, "token_sparse_indices": indices, "input_ids": ids}
        return {"cu_seq_lens_q": bounds, **{key: torch.cat(part)[None] for key, part in parts.items()}}
    width = max(lengths) + 1
    batch = {
        "attention_mask": torch.zeros(len(texts), width, dtype=torch.int64),
        "input_ids": torch.full((len(texts), width), 7),
        "token_sparse_values": torch.full((len(texts), width, K), 9.0),  # padding must not be looked at
        "token_sparse_indices": torch.ones(len(texts), width, K, dtype=torch.int64),
    }
    for row, n in enumerate(lengths):
        place = slice(0, n) if layout == "right" else slice(width - n, width)
        batch["attention_mask"][row, place], batch["input_ids"][row, place] = 1, ids[row]
        batch["token_sparse_values"][row, place], batch["token_sparse_indices"][row, place] = values[row], indices[row]
    if layout == "flattened":
        for key in ("token_sparse_values", "token_sparse_indices"):
            batch[key] = batch[key][batch["attention_mask"].bool()]
    return batch


def loop(texts, strategy="sum", *, prompt=0, skipped=(), floor=0.0, most=None, transform="none") -> np.ndarray:
    """The definition, one token after the other."""
    rows = np.zeros((len(texts), N_LATENTS))
    for row, text in zip(rows, texts, strict=True):
        for place, (token, codes) in enumerate(text):
            if place < prompt or token in skipped:
                continue
            for latent, value in codes:
                row[latent] = row[latent] + value if strategy == "sum" else max(row[latent], value)
        if strategy == "max_log1p":
            row[:] = np.log1p(row)
        row[row < floor * row.max()] = 0
        if most is not None:
            row[np.argsort(-row, kind="stable")[most:]] = 0
        row[:] = [TRANSFORMS[transform](weight) for weight in row]
    return rows


def pooling(**options: Any) -> SparseTokenPooling:
    module = SparseTokenPooling(N_LATENTS, **{"transform": "none", "include_special_tokens": True, **options})
    module.special_ids = (CLS, SEP)
    return module.eval()


def check(module: SparseTokenPooling, texts, expected: np.ndarray, *, task=None, most=None, **features: Any) -> None:
    """Dense and sparse rows of all layouts."""
    for layout in ("right", "left", "packed", "flattened"):
        batch = {**features_of(texts, layout), **features}
        dense = module(dict(batch), task=task, max_active_dims=most)["sentence_embedding"]
        assert dense.dtype == torch.float32
        np.testing.assert_allclose(dense.numpy(), expected, rtol=1e-5, atol=1e-6, err_msg=layout)
        rows = module.rows(dict(batch), task, most)
        assert rows.dtype == np.float32 and rows.has_sorted_indices and (rows.data != 0).all()
        np.testing.assert_allclose(rows.toarray(), expected, rtol=1e-5, atol=1e-6, err_msg=layout)


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=5).filter(any),
    st.sampled_from(["sum", "max", "max_log1p"]),
    st.sampled_from(list(TRANSFORMS)),
    st.integers(0, 3),
    st.booleans(),
    st.integers(0, 1000),
)
@settings(max_examples=60)
def test_rows_are_those_of_a_loop(lengths, strategy, transform, prompt, special, seed) -> None:
    texts = make_texts(lengths, seed)
    module = pooling(pooling_strategy=strategy, transform=transform, include_special_tokens=special, include_prompt=False)
    skipped = () if special else (CLS, SEP)
    expected = loop(texts, strategy, prompt=prompt, skipped=skipped, transform=transform)
    check(module, texts, expected, prompt_length=prompt)
    module.include_prompt = True
    check(module, texts, loop(texts, strategy, skipped=skipped, transform=transform), prompt_length=prompt)


def test_queries_have_a_transform_a_floor_and_skipped_ids_of_their_own() -> None:
    texts = make_texts([6, 5, 4], seed=1)
    module = pooling(
        transform="sqrt", query_transform="log1p", floor=0.2, query_floor=0.5, skipped_ids={"document": [COMMA], "query": [4]}
    )
    document = loop(texts, skipped=(COMMA,), floor=0.2, transform="sqrt")
    assert (document != loop(texts, transform="sqrt")).any()
    check(module, texts, document)
    check(module, texts, document, task="document")
    check(module, texts, loop(texts, skipped=(4,), floor=0.5, transform="log1p"), task="query")
    plain = pooling(transform="sqrt", floor=0.2)
    check(plain, texts, loop(texts, floor=0.2, transform="sqrt"), task="query")
    zero = pooling(transform="sqrt", floor=0.2, query_floor=0.0)
    check(zero, texts, loop(texts, transform="sqrt"), task="query")


@pytest.mark.parametrize("most", [1, 3, 14, 15, 99])
def test_only_the_largest_terms_are_kept_where_that_is_asked_for(most) -> None:
    texts = make_texts([6, 0, 5, 4], seed=2)
    check(pooling(transform="sqrt"), texts, loop(texts, most=most, transform="sqrt"), most=most)


def test_raw_rows_and_term_weights_are_before_the_transform() -> None:
    texts = make_texts([6, 5], seed=3)
    module = pooling(transform="log1p", floor=0.3)
    batch = features_of(texts, "right")
    expected = loop(texts, floor=0.3)
    np.testing.assert_allclose(module(dict(batch))["term_weights"].numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(module.rows(dict(batch), raw=True).toarray(), expected, rtol=1e-5)


def test_training_drops_nothing_and_says_which_tokens_are_pooled() -> None:
    texts = make_texts([5, 3], seed=4)
    module = pooling(floor=0.9, include_special_tokens=False).train()
    output = module(features_of(texts, "left"), max_active_dims=1)
    np.testing.assert_allclose(output["sentence_embedding"].numpy(), loop(texts, skipped=(CLS, SEP)), rtol=1e-5)
    assert output["token_mask"].tolist() == [False, True, True, True, False, False, True, False]


@pytest.mark.parametrize("strategy", ["sum", "max", "max_log1p"])
@pytest.mark.parametrize("transform", list(TRANSFORMS))
def test_gradients_reach_the_values_of_the_tokens_that_are_pooled(strategy, transform) -> None:
    texts = make_texts([5, 4], seed=5)
    module = pooling(pooling_strategy=strategy, transform=transform, include_special_tokens=False).train()
    batch = features_of(texts, "right")
    values = batch["token_sparse_values"].requires_grad_()
    embedding = module(batch)["sentence_embedding"]
    upstream = torch.randn(embedding.shape, generator=torch.Generator().manual_seed(0))
    (mine,) = torch.autograd.grad((embedding * upstream).sum(), values)
    assert torch.isfinite(mine).all()
    step = 1e-3
    for row, text in enumerate(texts):
        for place, (token, codes) in enumerate(text):
            for slot, (latent, value) in enumerate(codes):
                if token in (CLS, SEP):
                    assert mine[row, place, slot] == 0
                elif value > 0.05:
                    text[place] = (token, [*codes[:slot], (latent, value + step), *codes[slot + 1 :]])
                    above = (loop(texts, strategy, skipped=(CLS, SEP), transform=transform) * upstream.numpy()).sum()
                    text[place] = (token, [*codes[:slot], (latent, value - step), *codes[slot + 1 :]])
                    below = (loop(texts, strategy, skipped=(CLS, SEP), transform=transform) * upstream.numpy()).sum()
                    text[place] = (token, codes)
                    assert mine[row, place, slot].item() == pytest.approx((above - below) / (2 * step), rel=5e-3, abs=5e-3)
    assert not mine[0, len(texts[0]) :].any()


def test_a_root_of_zero_has_no_gradient_instead_of_an_infinite_one() -> None:
    for name, function in TRANSFORMS.items():
        weights = torch.tensor([0.0, 0.25, 4.0], requires_grad=True)
        result = transformed(weights, name)
        np.testing.assert_allclose(result.detach().numpy(), [function(w) for w in (0.0, 0.25, 4.0)], rtol=1e-6)
        result.sum().backward()
        assert weights.grad is not None and torch.isfinite(weights.grad).all()


def test_other_keys_and_half_precision_values() -> None:
    texts = make_texts([4, 3], seed=6)
    batch = features_of(texts, "right")
    renamed = {**batch, "v": batch.pop("token_sparse_values").half(), "i": batch.pop("token_sparse_indices")}
    del renamed["token_sparse_values"], renamed["token_sparse_indices"]
    result = pooling(values_key="v", indices_key="i")(renamed)["sentence_embedding"]
    np.testing.assert_allclose(result.numpy(), loop(texts), rtol=2e-3)
    assert result.dtype == torch.float32


def test_behind_a_token_encoder() -> None:
    encoder, module = random_encoder(12, N_LATENTS, K).eval(), pooling(pooling_strategy="max")
    states = torch.randn(2, 5, 12)
    mask = torch.tensor([[1, 1, 1, 0, 0], [0, 1, 1, 1, 1]])
    codes = encoder({"token_embeddings": states, "attention_mask": mask})
    texts = [
        [(7, list(zip(i.tolist(), v.tolist(), strict=True))) for v, i, m in zip(values, indices, row, strict=True) if m]
        for values, indices, row in zip(codes["token_sparse_values"], codes["token_sparse_indices"], mask, strict=True)
    ]
    np.testing.assert_allclose(module(codes)["sentence_embedding"].numpy(), loop(texts, "max"), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embedding_dimension": 0}, "embedding_dimension is 0"),
        ({"pooling_strategy": "mean"}, "pooling_strategy is 'mean', but must be one of sum, max, max_log1p"),
        ({"transform": "cube"}, "transform is 'cube'"),
        ({"query_transform": "cube"}, "query_transform is 'cube'"),
        ({"floor": 1.5}, "floor is 1.5, but must be a share"),
        ({"query_floor": -0.1}, "query_floor is -0.1"),
        ({"checkpoint_format_version": 7}, "checkpoint_format_version is 7"),
    ],
)
def test_options_that_there_are_not_are_refused(options, message) -> None:
    with pytest.raises(ConfigError, match=message):
        SparseTokenPooling(**{"embedding_dimension": 4, **options})


def test_codes_that_are_missing_or_do_not_fit_are_refused() -> None:
    batch = features_of(make_texts([3]), "right")
    with pytest.raises(ModelError, match="'token_sparse_indices' is missing: SparseTokenPooling comes behind"):
        pooling()({key: value for key, value in batch.items() if key != "token_sparse_indices"})
    with pytest.raises(ModelError, match="must have one shape"):
        pooling()({**batch, "token_sparse_indices": batch["token_sparse_indices"][..., :2]})


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    module = pooling(
        pooling_strategy="max", include_prompt=False, query_transform="sqrt", floor=0.1, query_floor=0.2,
        skipped_ids={"document": [3, 4]}, values_key="v", indices_key="i",
    )  # fmt: skip
    module.save(str(tmp_path))
    assert SparseTokenPooling.load(str(tmp_path)).get_config_dict() == module.get_config_dict()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "holds no config.json"),
        ("{", "is damaged"),
        ({"pooling_strategy": "sum"}, "names no embedding_dimension"),
        ({"embedding_dimension": 4, "colour": "red"}, "unknown key 'colour'"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(tmp_path: Path, config, message) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    with pytest.raises(ModelError, match=message) as caught:
        SparseTokenPooling.load(str(tmp_path))
    assert "\n" not in str(caught.value)
