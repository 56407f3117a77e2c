"""MaxSim against its plain definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lexite.errors import IndexFormatError
from lexite.kernels import maxsim
from lexite.kernels.maxsim import (
    LengthsBy,
    code_norms,
    code_norms_reference,
    maxsim_codes,
    maxsim_codes_reference,
    maxsim_vectors,
    maxsim_vectors_reference,
)


def bounds_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def random_codes(seed: int, n_queries: int, n_passages: int, width: int, *, n_latents: int = 12) -> dict[str, Any]:
    """A query and passages: some without a token, tokens without an entry, norms of 0, negative signs of latents."""
    generator = np.random.default_rng(seed)
    tokens = bounds_of(generator.integers(0, 6, n_passages))
    entries = bounds_of(generator.integers(0, 9, tokens[-1]))
    queries = generator.standard_normal((n_queries, width))
    return {
        "queries": (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32),
        "weights": generator.random(n_queries).astype(np.float32),
        "atoms": generator.standard_normal((n_latents, width)).astype(np.float32),
        "bias": generator.standard_normal(width).astype(np.float32),
        "tokens": tokens,
        "entries": entries,
        "latents": generator.integers(0, 2 * n_latents, entries[-1]).astype(np.int32),
        "values": generator.random(entries[-1]).astype(np.float32),
        "norms": (generator.random(tokens[-1]) * 3 * (generator.random(tokens[-1]) > 0.1)).astype(np.float32),
    }


shapes = {"n_queries": st.integers(0, 40), "n_passages": st.integers(0, 12), "width": st.integers(1, 9)}


@given(seed=st.integers(0, 2**31), **shapes)
def test_codes_score_as_the_states_that_they_stand_for(seed: int, n_queries: int, n_passages: int, width: int) -> None:
    given_codes = random_codes(seed, n_queries, n_passages, width)
    np.testing.assert_allclose(maxsim_codes(**given_codes), maxsim_codes_reference(**given_codes), rtol=1e-4, atol=1e-4)


@given(seed=st.integers(0, 2**31), **shapes)
def test_norms_are_those_of_the_states_that_codes_stand_for(seed: int, n_queries: int, n_passages: int, width: int) -> None:
    decoder = {
        key: random_codes(seed, n_queries, n_passages, width)[key] for key in ("atoms", "bias", "entries", "latents", "values")
    }
    np.testing.assert_allclose(code_norms(**decoder), code_norms_reference(**decoder), rtol=1e-4, atol=1e-5)


@given(seed=st.integers(0, 2**31), **shapes)
def test_norms_of_atoms_in_int8_are_those_of_the_atoms(seed: int, n_queries: int, n_passages: int, width: int) -> None:
    codes = random_codes(seed, n_queries, n_passages, width)
    generator = np.random.default_rng(seed)
    levels = generator.integers(-7, 8, codes["atoms"].shape).astype(np.int8)
    steps = generator.random(len(levels), dtype=np.float32)
    rest = [codes[key] for key in ("bias", "entries", "latents", "values")]
    expected = code_norms_reference(levels * steps[:, None], *rest)
    np.testing.assert_allclose(code_norms(levels, *rest, steps), expected, rtol=1e-4, atol=1e-5)


@given(seed=st.integers(0, 2**31), few=st.booleans(), whole=st.booleans(), **shapes)
def test_norms_may_be_computed_on_the_way(
    seed: int, few: bool, whole: bool, n_queries: int, n_passages: int, width: int
) -> None:
    codes, generator = random_codes(seed, n_queries, n_passages, width), np.random.default_rng(seed)
    if few:  # six entries of a token at most take another loop
        kept = np.minimum(np.diff(codes["entries"]), maxsim.FEW)
        places = np.concatenate([np.zeros(0, int), *(b + np.arange(n) for b, n in zip(codes["entries"], kept, strict=False))])
        codes |= {"entries": bounds_of(kept), "latents": codes["latents"][places], "values": codes["values"][places]}
    steps = generator.random(len(codes["atoms"]), dtype=np.float32)
    rows = codes["atoms"] if whole else generator.integers(-7, 8, codes["atoms"].shape).astype(np.int8)
    codes["atoms"] = rows * steps[:, None]
    decoder = [codes[key] for key in ("atoms", "bias", "entries", "latents", "values")]
    expected = maxsim_codes_reference(**(codes | {"norms": code_norms_reference(*decoder)}))
    found = maxsim_codes(**(codes | {"norms": LengthsBy(rows, steps)}))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@given(seed=st.integers(0, 2**31), **shapes)
def test_vectors_score_by_their_best_products(seed: int, n_queries: int, n_passages: int, width: int) -> None:
    codes = random_codes(seed, n_queries, n_passages, width)
    vectors = np.random.default_rng(seed + 1).standard_normal((codes["tokens"][-1], width)).astype(np.float32)
    arguments = codes["queries"], codes["weights"], vectors, codes["tokens"]
    np.testing.assert_allclose(maxsim_vectors(*arguments), maxsim_vectors_reference(*arguments), rtol=1e-4, atol=1e-4)


def test_with_the_norms_of_the_codes_similarities_are_cosines() -> None:
    codes = random_codes(3, 1, 1, 5)
    codes |= {"tokens": np.array([0, 1]), "entries": np.array([0, 2]), "weights": np.ones(1, np.float32)}
    codes |= {"latents": np.array([1, 12 + 4], dtype=np.int32), "values": np.array([2.0, 0.5], dtype=np.float32)}
    decoder = {key: codes[key] for key in ("atoms", "bias", "entries", "latents", "values")}
    state = codes["bias"] + 2.0 * codes["atoms"][1] - 0.5 * codes["atoms"][4]
    cosine = torch.cosine_similarity(torch.from_numpy(codes["queries"][0]), torch.from_numpy(state), dim=0)
    assert maxsim_codes(**(codes | {"norms": code_norms(**decoder)})) == pytest.approx([float(cosine)], abs=1e-6)


def test_two_threads_give_what_one_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = random_codes(5, 7, 300, 8)
    arguments = codes["queries"], codes["weights"], np.ones((codes["tokens"][-1], 8), np.float32), codes["tokens"]
    monkeypatch.setenv("LEXITE_THREADS", "1")
    alone = maxsim_codes(**codes), maxsim_vectors(*arguments)
    monkeypatch.setenv("LEXITE_THREADS", "2")
    monkeypatch.setattr(maxsim, "SMALLEST_RANGE", 8)
    for one, two in zip(alone, (maxsim_codes(**codes), maxsim_vectors(*arguments)), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("latent", [-1, 24])
def test_a_latent_that_the_decoder_does_not_have_is_refused(latent: int) -> None:
    codes = random_codes(5, 2, 6, 4)
    codes["latents"][1] = latent
    with pytest.raises(IndexFormatError, match="beyond the 12 of the decoder"):
        maxsim_codes(**codes)
    with pytest.raises(IndexFormatError, match="beyond the 12 of the decoder"):
        code_norms(**{key: codes[key] for key in ("atoms", "bias", "entries", "latents", "values")})


def test_atoms_in_bf16_round_scores_only() -> None:
    codes = random_codes(6, 12, 40, 32, n_latents=64)
    exact = maxsim_codes(**codes)
    rounded = maxsim_codes(**(codes | {"atoms": torch.from_numpy(codes["atoms"]).to(torch.bfloat16)}))
    known = np.isfinite(exact)
    assert known.any() and not known.all() and (np.isfinite(rounded) == known).all()
    np.testing.assert_allclose(rounded[known], exact[known], rtol=0.02, atol=0.05)


def test_short_tokens_are_filled_up_with_nothing_that_memory_held(monkeypatch: pytest.MonkeyPatch) -> None:
    given = random_codes(3, 5, 4, 8)
    given["latents"] = np.where(given["latents"] % 12 == 0, 1, given["latents"]).astype(
        np.int32
    )  # no token has the first latent
    given["norms"] = code_norms(given["atoms"], given["bias"], given["entries"], given["latents"], given["values"])
    expected = maxsim_codes_reference(**given)
    plain = np.empty
    monkeypatch.setattr(
        np, "empty", lambda shape, dtype=float: np.full(shape, np.nan, dtype) if dtype == np.float32 else plain(shape, dtype)
    )
    assert maxsim_codes(**given) == pytest.approx(expected, abs=1e-4)
