"""Steering: concepts by name, the formula by loops, learned vectors against scipy, files, effects."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.sparse import csr_array

from lexite.errors import ArgumentError, ConfigError, CorpusError
from lexite.index import BM25Index, EncodedQueries
from lexite.search import Answer
from lexite.search.concepts import latents_named
from lexite.search.effects import effects
from lexite.search.steering_vector import SHARPNESS, Change, SteeringVector, learn_steering, minimised
from lexite.search.strategies.steering import Steer

LABELS = ["solar, energy, panel", "energy, power", "tide, moon", "moon, lunar", "latent 4", "energy, drink"]
N = len(LABELS)


def label(term: int) -> str:
    return LABELS[term]


class Examples:
    """Encodes each text as the latent whose number it is, twice as strong as the one after it."""

    def encode(self, texts: list[str], **_: Any) -> EncodedQueries:
        rows = np.zeros((len(texts), N), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[int(text)], row[(int(text) + 1) % N] = 2.0, 1.0
        return EncodedQueries(csr_array(rows), texts)


def index_of(seed: int = 0) -> BM25Index:
    generator = np.random.default_rng(seed)
    rows = generator.uniform(0, 5, (12, N)) * (generator.uniform(size=(12, N)) < 0.5)
    texts = [("sun " * (n % 3) + "sea " * (n % 2)).strip() for n in range(12)]
    return BM25Index.in_memory(csr_array(rows.astype(np.float32)), [f"d{n}" for n in range(12)], texts=texts)


def answer_of(index: BM25Index, rows: list[list[float]], texts: list[str] | None = None) -> Answer:
    queries = EncodedQueries(csr_array(np.array(rows, dtype=np.float32)), texts or ["sun"] * len(rows))
    return Answer(queries, index.search(queries), 10, index, {"scoring": None}, Examples(), label)  # type: ignore[arg-type]


def transformed(answer: Answer) -> np.ndarray:
    index = answer.backend
    assert isinstance(index, BM25Index)
    return index.term_space().queries(answer.queries).toarray()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("3", (3,)),
        ("solar", (0,)),
        ("Solar Energy", (0,)),
        ("energy*", (0, 1, 5)),
        ("tide", (2,)),
        ("moon", (3,)),
        ("power ", (1,)),
    ],
)
def test_concepts_by_name(name: str, found: tuple[int, ...]) -> None:
    assert latents_named(name, label, N) == found


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("energy", r"in the labels of 3 latents: 1 \(energy, power\); 5 \(energy, drink\).*all: 'energy\*'"),
        ("6", "no latent 6; this index has the latents 0 to 5"),
        ("lunatic", "Did you mean “lunar”"),
        ("tide power", "No latent has a label with 'tide power'"),
        ("latent", "No latent has a label with"),
        ("...", "names no concept"),
    ],
)
def test_concepts_that_are_not_clear_are_named(name: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Steer(mute=(name,))(answer_of(index_of(), [[1, 0, 0, 0, 0, 0]]))


@settings(max_examples=30)
@given(
    st.lists(st.floats(0.125, 6, width=32) | st.just(0.0), min_size=N, max_size=N),
    st.dictionaries(st.integers(0, N - 1), st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5]), max_size=3),
    st.dictionaries(st.integers(0, N - 1), st.tuples(st.floats(0, 2), st.floats(0, 1)), max_size=3),
    st.sampled_from([(), ("2",), ("2", "4")]),
    st.just(0.0) | st.floats(2**-30, 2),  # of a smaller one, what is added may be rounded to nothing, or not
)
def test_steered_queries_are_those_of_the_formula(
    tmp_path_factory: pytest.TempPathFactory, row: list, factors: dict, changes: dict, texts: tuple, strength: float
) -> None:
    path = tmp_path_factory.mktemp("vectors") / "v.json"
    SteeringVector({t: Change(*pair) for t, pair in changes.items()}).save(path)
    answer = answer_of(index_of(), [row])
    boost = tuple(f"{term}={factor}" for term, factor in factors.items() if factor)
    mute = tuple(str(term) for term, factor in factors.items() if not factor)
    found = transformed(Steer(boost=boost, mute=mute, towards=texts, vector=str(path), strength=strength)(answer))[0]
    weights = [w**0.75 for w in row]
    used = [w for w in weights if w > 0]
    mean = sum(used) / len(used) if used else 0.0
    wanted = [w * (1 - min(strength * changes.get(t, (0, 0))[1], 1)) for t, w in enumerate(weights)]
    wanted = [w + mean * strength * changes.get(t, (0, 0))[0] for t, w in enumerate(wanted)]
    for text in texts:
        total = 2**0.75 + 1
        wanted[int(text)] += strength * sum(weights) * 2**0.75 / total / len(texts)
        wanted[(int(text) + 1) % N] += strength * sum(weights) * 1 / total / len(texts)
    used = [w for w in wanted if w > 0]
    mean = sum(used) / len(used) if used else 0.0
    for term, factor in factors.items():
        old = wanted[term]
        wanted[term] = factor * old if factor < 1 else old + (factor - 1) * max(old, mean)
    assert np.allclose(found[:N], wanted, rtol=1e-4, atol=1e-6)


def test_away_from_an_example_and_words_that_are_boosted_or_muted() -> None:
    index = index_of()
    answer = answer_of(index, [[1, 0, 2, 1, 0, 0]])
    before, after = transformed(answer)[0], transformed(Steer(away=("2",), strength=0.4)(answer))[0]
    total, shares = before[:N].sum(), {2: 2**0.75 / (2**0.75 + 1), 3: 1 / (2**0.75 + 1)}
    assert np.allclose(after[2:4], [max(0, before[t] - 0.4 * total * shares[t]) for t in (2, 3)], rtol=1e-4)
    muted = Steer(mute=("word:Sun",), boost=("word:sea=3",))(answer)
    words = muted.queries.word_weights
    assert words is not None and words[0] is not None and "sun" not in words[0] and words[0]["sea"] > 0
    with pytest.raises(ArgumentError, match="No document has the word 'ship'"):
        Steer(boost=("word:ship",))(answer)
    bare = BM25Index.in_memory(csr_array(np.eye(2, N)), ["a", "b"])
    with pytest.raises(ArgumentError, match="words do not count in this search"):
        Steer(boost=("word:sun",))(answer_of(bare, [[1, 0, 0, 0, 0, 0]]))


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 8), st.sampled_from([0.05, 0.3, 0.8]))
def test_the_minimum_is_that_of_scipy(seed: int, n_pairs: int, n: int, sparsity: float) -> None:
    generator = np.random.default_rng(seed)
    design, margins = generator.normal(size=(n_pairs, n)), generator.normal(size=n_pairs)
    upper = np.where(generator.uniform(size=n) < 0.5, 1.0, np.inf)
    steepest = (design.T @ (1 / (1 + np.exp(margins)))).max() / n_pairs
    penalty = sparsity * max(steepest, 0.0)

    def loss(x: np.ndarray) -> float:
        return float(np.logaddexp(0, -(margins + design @ x)).mean() + penalty * x.sum())

    found = minimised(design, margins, upper, sparsity)
    assert np.all(found >= 0) and np.all(found <= upper) and np.array_equal(found, minimised(design, margins, upper, sparsity))
    if steepest <= 0:
        assert not found.any()
        return
    bounds = [(0, None if math.isinf(high) else high) for high in upper]
    wanted = minimize(loss, np.zeros(n), method="L-BFGS-B", bounds=bounds)
    assert loss(found) <= wanted.fun + 1e-5


def test_a_learned_vector_puts_preferred_documents_first(tmp_path: Path) -> None:
    index = index_of(3)
    answer = answer_of(index, [[1, 1, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0]])
    pairs = [(hits[-1].id, hits[0].id) for hits in answer.rankings]
    space = index.term_space()
    preferred, rejected = [p for p, _ in pairs], [r for _, r in pairs]
    vector = learn_steering(space, answer.queries, preferred, rejected, 0.05)
    assert vector.changes and all(change.boost >= 0 and 0 <= change.mute <= 1 for change in vector.changes.values())
    assert not learn_steering(space, answer.queries, preferred, rejected, 1.0).changes
    vector.save(tmp_path / "v.json", label)
    assert SteeringVector.load(tmp_path / "v.json") == vector
    steered = Steer(vector=str(tmp_path / "v.json"))(answer)

    def margin(found: Answer, number: int) -> float:
        scores = {hit.id: hit.score for hit in index.search(found.queries[number], 12)[0]}
        return scores.get(pairs[number][0], 0.0) - scores.get(pairs[number][1], 0.0)

    assert all(margin(steered, n) > margin(answer, n) for n in range(2))
    found = effects(answer, steered)
    assert {change.term for effect in found for change in effect.terms} <= set(vector.changes)
    assert found[0].moves and "→" in str(found[0]) and str(found[0]).startswith("terms:")
    assert SHARPNESS > 0


def test_effects_tell_of_words_and_of_hits_that_come_and_go() -> None:
    answer = answer_of(index_of(), [[1, 0, 0, 0, 0, 0]])
    steered = Steer(mute=("0", "word:sun"), boost=("2=3",))(answer)
    (effect,) = effects(answer, steered)
    changes = {change.label: (change.before, change.after) for change in effect.terms}
    assert changes['"sun"'] == (1.0, 0.0) and changes[LABELS[0]] == (1.0, 0.0)
    assert {move.id for move in effect.moves if move.after is None} == {hit.id for hit in answer.rankings[0]} - {
        hit.id for hit in steered.rankings[0]
    }
    unknown = answer_of(index_of(), [[1, 0, 0, 0, 0, 0]], ["sun ship"])
    (effect,) = effects(unknown, Steer(mute=("word:sun",))(unknown))
    assert [(each.word, each.after) for each in effect.terms] == [("sun", 0.0)], "no document has 'ship'"
    (same,) = effects(answer, answer)
    assert str(same) == "terms:\n  none changed\nranks:\n  none changed"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON|cannot be read|damaged"),
        ("{}", "holds no steering vector"),
        ({"format_version": 2}, "has format version 2"),
        ({"terms": [{"term": 1, "boost": 1}]}, "is damaged"),
        ({"terms": [{"term": True, "boost": 1, "mute": 0}]}, "is damaged"),
        ({"terms": [{"term": 1, "boost": -1, "mute": 0}]}, "boost must be from 0 to 1e\\+06"),
        ({"terms": [{"term": 1, "boost": 1e7, "mute": 0}]}, "of latent 1, boost must be from 0 to 1e\\+06"),
        ({"terms": [{"term": 1, "boost": 1, "mute": 0}] * 2}, "latent 1 occurs twice"),
        ({"terms": [{"term": 1, "boost": "1", "mute": 0}]}, "is damaged"),
        ({"terms": [{"term": 1, "boost": True, "mute": 0}]}, "is damaged"),
        ({"terms": [{"term": 1, "boost": 10**400, "mute": 0}]}, "is damaged"),
        ({"terms": [{"term": 10**400, "boost": 1, "mute": 0}]}, "is damaged"),
        ({"terms": [{"term": 1, "boost": 1, "mute": math.nan}]}, "of latent 1, boost must be"),
        ({"terms": [{"term": 1, "boost": math.inf, "mute": 0}]}, "of latent 1, boost must be"),
        ({"vocabulary": None}, "is damaged"),
        ({"format_version": True}, "has format version True"),
        ("\0\xff", "no steering vector|not valid JSON"),
        ({"terms": {"1": 2}}, "each with the numbers term, boost and mute"),
        ({"terms": [{"term": 1, "boost": 1, "mute": 2}]}, "mute from 0 to 1"),
    ],
)
def test_wrong_files_of_vectors_are_explained(tmp_path: Path, content: Any, message: str) -> None:
    whole = {"format": "lexite-steering-vector", "format_version": 1, "vocabulary": "", "terms": []}
    text = content if isinstance(content, str) else json.dumps({**whole, **content})
    (tmp_path / "v.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        SteeringVector.load(tmp_path / "v.json")


def test_what_cannot_be_learned_or_used_is_explained(tmp_path: Path) -> None:
    index = index_of()
    answer = answer_of(index, [[1, 0, 0, 0, 0, 0]])
    space = index.term_space()
    with pytest.raises(ArgumentError, match="1 queries need as many"):
        learn_steering(space, answer.queries, ["d1", "d2"], ["d3"])
    with pytest.raises(ArgumentError, match="sparsity is 0"):
        learn_steering(space, answer.queries, ["d1"], ["d3"], 0)
    with pytest.raises(CorpusError, match="no document 'x'"):
        learn_steering(space, answer.queries, ["x"], ["d3"])
    with pytest.raises(ArgumentError, match="the latent 9"):
        SteeringVector({9: Change(1.0, 0.0)}).check("", N)
    with pytest.raises(ArgumentError, match="learned for another vocabulary"):
        SteeringVector({}, "a" * 64).check("b" * 64, N)
    with pytest.raises(ConfigError, match="does not exist"):
        Steer(vector=str(tmp_path / "none.json"))(answer)
    with pytest.raises(ArgumentError, match="Example texts need what encodes"):
        Steer(towards=("1",))(dataclasses.replace(answer, encoder=None))


@pytest.mark.parametrize("text", ["2=-1", "2=nan", "tide=-inf", "2= +3", "tide, moon=Infinity", "word:sea=-.5"])
def test_a_factor_that_is_none_is_named(text: str) -> None:
    with pytest.raises(ArgumentError, match="must be a number from 0 to 1e[+]06, behind the last equals sign"):
        Steer(boost=(text,))(answer_of(index_of(), [[1, 0, 0, 0, 0, 0]]))


@pytest.mark.parametrize(
    ("boost", "mute", "message"),
    [
        (("solar",), ("0",), r"latent 0 \(solar, energy, panel\).*'solar' gives it the factor 2, '0' mutes it\. Name it once"),
        (("energy*=1.5",), ("drink",), r"latent 5 \(energy, drink\).*'energy\*' gives it the factor 1.5, 'drink' mutes it"),
        (("0=0", "solar=3"), (), r"latent 0 .*'0' mutes it, 'solar' gives it the factor 3"),
        (("0=3", "Solar Energy=2"), (), r"latent 0 .*'0' gives it the factor 3, 'Solar Energy' gives it the factor 2"),
        (("word:sun=2",), ("word:Sun",), r"word 'sun' .*'word:sun' gives it the factor 2, 'word:Sun' mutes it"),
        (("3",), ("3",), r"latent 3 \(moon, lunar\) is steered in two ways: '3' gives it the factor 2, '3' mutes it"),
    ],
)
def test_one_concept_with_two_factors_is_named(boost: tuple[str, ...], mute: tuple[str, ...], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Steer(boost=boost, mute=mute)(answer_of(index_of(), [[1, 0, 0, 0, 0, 0]]))


def test_names_that_agree_are_one() -> None:
    answer = answer_of(index_of(), [[1, 2, 0, 3, 0, 1]])
    twice = Steer(boost=("solar=3", "0=3.0", "2=0"), mute=("energy*", "1", "2"))
    with pytest.raises(ArgumentError, match="latent 0"):  # energy* is the solar one too
        twice(answer)
    once, again = Steer(boost=("0=3",), mute=("1", "2")), Steer(boost=("solar=3", "0=3.0", "2=0"), mute=("1", "power", "2"))
    assert np.array_equal(transformed(once(answer)), transformed(again(answer)))


def test_steering_by_nothing_is_refused() -> None:
    answer = answer_of(index_of(), [[1, 0, 0, 0, 0, 0]])
    with pytest.raises(ArgumentError, match="something to steer by"):
        Steer(strength=2.0)(answer)

    class Nothing:
        def encode(self, texts: list[str], **_: Any) -> EncodedQueries:
            return EncodedQueries(csr_array(np.zeros((len(texts), N), dtype=np.float32)), texts)

    with pytest.raises(ArgumentError, match="The example text ':-.' has no latent"):
        Steer(away=(":-)",))(dataclasses.replace(answer, encoder=Nothing()))
