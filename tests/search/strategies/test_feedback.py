"""Feedback, against plain loops over dictionaries."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, random_array

from lexite.errors import ArgumentError, ConfigError, CorpusError
from lexite.index import BM25Config, BM25Index, EncodedQueries
from lexite.index.side_data import PassageVectors
from lexite.ranking import Hit
from lexite.search import Answer
from lexite.search.expansion import Mixing, weights_of_scores
from lexite.search.strategies.feedback import Feedback, fused_hits, judged_queries
from lexite.search.strategies.vector_feedback import VectorFeedback
from lexite.search.strategy import check_words

N, N_LATENTS = 16, 12
WORDS = "sun moon tide wind rain leaf root seed".split()


def index_of(seed: int, words: bool = True) -> BM25Index:
    generator = np.random.default_rng(seed)
    matrix = csr_array(random_array((N, N_LATENTS), density=0.4, format="csr", rng=generator, dtype=np.float64) * 5)
    texts = [" ".join(generator.choice(WORDS, size=int(generator.integers(1, 7)))) for _ in range(N)] if words else None
    return BM25Index.in_memory(matrix.astype(np.float32), [f"d{n}" for n in range(N)], texts=texts)


def answer_of(index: BM25Index, seed: int, top_k: int = 6, scoring: BM25Config | None = None) -> Answer:
    generator = np.random.default_rng(seed + 99)
    matrix = csr_array(random_array((3, N_LATENTS), density=0.3, format="csr", rng=generator, dtype=np.float64) * 3)
    texts = [" ".join(generator.choice(WORDS, size=2)) for _ in range(3)]
    queries = EncodedQueries(matrix.astype(np.float32), texts)
    return Answer(queries, index.search(queries, 12, scoring=scoring), top_k, index, {"scoring": scoring})


def plain_vectors(index: BM25Index, scoring: BM25Config, rm3: bool) -> tuple[list[dict[int, float]], list[float]]:
    """Impacts or shares of all documents, and worths, by the formula with numbers alone."""
    rows = index.rows().toarray().astype(float)
    average, vectors = rows.sum() / len(rows), []
    for row in rows:
        norm = scoring.k1 * (1 - scoring.b + scoring.b * row.sum() / average)
        vectors.append({t: float(w / row.sum() if rm3 else w / (w + norm)) for t, w in enumerate(row) if w > 0})
    frequency = (rows > 0).sum(axis=0)
    idf = [math.log(1 + (len(rows) - df + 0.5) / (df + 0.5)) if df else 0.0 for df in frequency]
    worth = [i**scoring.idf_power if t < N_LATENTS else i * scoring.literal_weight for t, i in enumerate(idf)]
    return vectors, worth


def plain_query(index: BM25Index, queries: EncodedQueries, number: int) -> dict[int, float]:
    """The transformed weights of a query: to the power 0.75."""
    found = {t: float(w) ** 0.75 for t, w in enumerate(queries.to_csr().toarray()[number]) if w > 0}
    known = {index.word(term): term for term in range(N_LATENTS, index.n_terms)}
    words = queries.texts[number].split() if queries.texts else []
    for word in words:
        if word in known:
            found[known[word]] = words.count(word) ** 0.75
    return found


def plain_expansion(
    query: dict[int, float],
    good: list[tuple[dict[int, float], float]],
    bad: list[dict[int, float]],
    worth: list[float],
    how: Mixing,
) -> dict[int, float]:
    """The formula of ``lexite.search.expansion`` over dictionaries."""
    total = sum(weight for _, weight in good) or 1.0
    centre: dict[int, float] = {}
    for vector, weight in good:
        for term, value in vector.items():
            centre[term] = centre.get(term, 0.0) + value * weight / total
    for vector in bad:
        for term, value in vector.items():
            centre[term] = centre.get(term, 0.0) - how.negative * value / len(bad)
    kinds = {"latents": [True], "words": [False], "both": [True, False]}[how.over]
    chosen: dict[int, float] = {}
    for kind in kinds:
        own = {t: c for t, c in sorted(centre.items()) if (t < N_LATENTS) == kind and worth[t] > 0}
        best = sorted((t for t in own if own[t] > 0), key=lambda t: -own[t] * worth[t])[: how.terms]
        chosen |= {t: own[t] for t in own if t in best or query.get(t, 0) > 0}
    if not query:
        return {t: c for t, c in chosen.items() if c > 0}

    def size(vector: dict[int, float], kinds: list[bool]) -> float:
        values = [(v, worth[t]) for t, v in vector.items() if (t < N_LATENTS) in kinds]
        return sum(abs(v) for v, _ in values) if how.method == "rm3" else math.sqrt(sum((v * w) ** 2 for v, w in values))

    new = dict(query)
    for kind in kinds:
        sizes = size(query, [kind]), size(chosen, [kind])
        both = size(query, kinds), size(chosen, kinds)
        scale = sizes[0] / sizes[1] if min(sizes) > 0 else both[0] / both[1] if min(both) > 0 else 0.0
        for term in {t for t in (*query, *chosen) if (t < N_LATENTS) == kind}:
            new[term] = (1 - how.mixing) * query.get(term, 0.0) + how.mixing * scale * chosen.get(term, 0.0)
    return {t: v for t, v in new.items() if v > 0}


FEEDBACKS = st.builds(
    Feedback,
    method=st.sampled_from(["rocchio", "rm3"]),
    documents=st.integers(1, 5),
    terms=st.integers(1, 15),
    mixing=st.floats(0.05, 1),
    over=st.sampled_from(["both", "latents", "words"]),
    document_weights=st.sampled_from(["scores", "softmax", "equal"]),
    negative=st.sampled_from([0.0, 0.5]),
    tail=st.integers(1, 4),
)


@settings(max_examples=60)
@given(st.integers(0, 50), FEEDBACKS)
def test_expanded_queries_are_those_of_the_formula(seed: int, feedback: Feedback) -> None:
    index = index_of(seed)
    scoring = index.scoring
    answer = answer_of(index, seed)
    expanded = feedback.expanded(answer, answer.rankings)
    vectors, worth = plain_vectors(index, scoring, feedback.method == "rm3")
    found = index.term_space().queries(expanded).toarray()
    for number, hits in enumerate(answer.rankings):
        query = plain_query(index, answer.queries, number)
        good = hits[: feedback.documents]
        weights = weights_of_scores([hit.score for hit in good], feedback.document_weights)
        bad = hits[feedback.documents :][-feedback.tail :] if feedback.negative else []
        wanted = query
        if hits:
            pairs = [(vectors[hit.document], weight) for hit, weight in zip(good, weights.tolist(), strict=True)]
            wanted = plain_expansion(query, pairs, [vectors[hit.document] for hit in bad], worth, feedback.how)
        dense = np.zeros(index.n_terms)
        dense[list(wanted)] = list(wanted.values())
        known = np.array(worth) > 0
        assert np.allclose(found[number][known], dense[known], rtol=1e-4, atol=1e-5)


@given(st.integers(0, 30))
@settings(max_examples=10)
def test_explanations_of_expanded_queries_add_up(seed: int) -> None:
    index = index_of(seed)
    answer = Feedback(interpolate="before")(answer_of(index, seed))
    for query, hits in zip(answer.queries, answer.rankings, strict=True):
        for hit in hits:
            why = index.explain(query, hit.id)
            assert why.score == hit.score and math.isclose(math.fsum(v for _, v in why.leaves()), hit.score, abs_tol=1e-9)


def test_interpolation_says_where_documents_come_from_and_what_is_fused() -> None:
    index = index_of(3)
    plain = answer_of(index, 3)
    turned = plain.with_rankings([list(reversed(hits)) for hits in plain.rankings])  # as a stage before would leave it

    def of(interpolate: Any) -> tuple[Answer, Answer]:
        feedback = Feedback(documents=2, interpolate=interpolate)
        source = turned if interpolate in ("before", "both") else plain
        return feedback(turned), turned.asked_again(feedback.expanded(turned, source.rankings))

    for kind in ("none", "before"):
        found, wanted = of(kind)
        assert found.rankings == wanted.rankings and found.queries.expanded_words
    for kind in ("after", "both"):
        found, wanted = of(kind)
        for hits, old, new in zip(found.rankings, turned.rankings, wanted.rankings, strict=True):
            scores = {hit.id: 0.0 for hit in (*old, *new)}
            for ranking in (old, new):
                low, high = min(hit.score for hit in ranking), max(hit.score for hit in ranking)
                for hit in ranking:
                    scores[hit.id] += (hit.score - low) / (high - low)
            assert {hit.id: hit.score for hit in hits} == pytest.approx({hit.id: scores[hit.id] for hit in hits}) and hits[
                -1
            ].score >= min(sorted(scores.values(), reverse=True)[: len(hits)]) - 1e-9
            assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    assert of("before")[0].rankings != of("none")[0].rankings


def test_fused_hits_take_documents_of_both() -> None:
    old = [Hit("a", 4.0, 1, 0, (0, 5)), Hit("b", 2.0, 2, 1)]
    new = [Hit("c", 9.0, 1, 2), Hit("a", 8.0, 2, 0, (5, 9)), Hit("d", 7.0, 3, 3)]
    found = fused_hits(old, new, 0.5)
    assert [(hit.id, hit.score) for hit in found] == [("a", 1.25), ("c", 0.5), ("b", 0.0)]
    assert found[0].span == (0, 5)
    assert fused_hits([], [], 1.0) == [] and [hit.score for hit in fused_hits([], new[:1], 2.0)] == [2.0]


def test_no_hits_leave_a_query_as_it_is() -> None:
    index = index_of(1)
    queries = EncodedQueries(csr_array((1, N_LATENTS)), ["nothing"])
    answer = Feedback()(Answer(queries, [[]], 5, index))
    assert answer.rankings == [[]]


def test_good_documents_rise_and_bad_ones_fall() -> None:
    index = index_of(5)
    answer = answer_of(index, 5)
    scores = {hit.id: hit.score for hit in index.search(answer.queries[0], N)[0]}
    liked, disliked = "d3", "d7"
    one = dataclasses.replace(answer, queries=answer.queries[0], rankings=[answer.rankings[0]])
    more = {hit.id: hit.score for hit in index.search(judged_queries(one, [liked], []), N)[0]}
    less = {hit.id: hit.score for hit in index.search(judged_queries(one, [], [disliked]), N)[0]}
    assert more[liked] > scores.get(liked, 0) and less.get(disliked, 0) < scores.get(disliked, 1e-9)
    with pytest.raises(CorpusError, match="no document 'd99'"):
        judged_queries(one, ["d99"], [])


class WordlessEngine:
    """An engine that searches no weights of words."""

    from lexite.engines import Capabilities

    capabilities = Capabilities()


def test_backends_without_terms_are_refused() -> None:
    answer = answer_of(index_of(2), 2)
    with pytest.raises(ArgumentError, match="Feedback needs the terms of documents, which WordlessEngine"):
        Feedback(interpolate="before")(dataclasses.replace(answer, backend=WordlessEngine()))  # type: ignore[arg-type]
    expanded = Feedback().expanded(answer, answer.rankings)
    with pytest.raises(ArgumentError, match="WordlessEngine searches the words of texts only"):
        check_words(WordlessEngine(), expanded)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="needs literal words"):
        bare = index_of(2, words=False)
        Feedback(over="words")(dataclasses.replace(answer, backend=bare))


def test_an_index_without_words_is_expanded_by_latents() -> None:
    index = index_of(4, words=False)
    answer = Feedback(interpolate="before")(answer_of(index, 4))
    assert not answer.queries.expanded_words and answer.rankings[0]


class Vectors:
    """A backend and an encoder that know vectors."""

    def __init__(self, seed: int, n: int, d: int = 4) -> None:
        generator = np.random.default_rng(seed)
        sizes = generator.integers(0, 3, n)
        self.bounds = np.concatenate([[0], np.cumsum(sizes)])
        made = generator.normal(size=(int(sizes.sum()), d))
        self.all = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
        query = generator.normal(size=d)
        self.query = (query / np.linalg.norm(query)).astype(np.float32)

    def dense(self, texts: list[str]) -> np.ndarray:
        return np.stack([self.query for _ in texts])

    def vectors(self, hits: list[Hit]) -> PassageVectors:
        parts = [self.all[self.bounds[hit.document] : self.bounds[hit.document + 1]] for hit in hits]
        bounds = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
        return PassageVectors(bounds, np.concatenate(parts))


@settings(max_examples=40)
@given(st.integers(0, 500), st.integers(1, 4), st.floats(0, 1), st.sampled_from([0.0, 0.4]), st.integers(2, 9))
def test_vector_feedback_is_that_of_the_formula(
    seed: int, documents: int, mixing: float, negative: float, candidates: int
) -> None:
    source = Vectors(seed, 8)
    hits = [Hit(f"d{n}", 20.0 - 1.5 * n, n + 1, n) for n in range(8)]
    queries = EncodedQueries(csr_array((1, 2)), ["q"])
    answer = Answer(queries, [hits], 5, source, {}, source)  # type: ignore[arg-type]
    strategy = VectorFeedback(documents=documents, mixing=mixing, negative=negative, tail=2, candidates=candidates, weight=0.7)
    found = strategy(answer).rankings[0]
    parts = [source.all[source.bounds[n] : source.bounds[n + 1]].astype(float) for n in range(8)]
    query = source.query.astype(float)
    best = [max(part, key=lambda v: float(v @ query)) if len(part) else None for part in parts[:candidates]]
    known = [vector for vector in best if vector is not None]
    moved = query
    if known:
        centre = np.mean(known[:documents], axis=0)
        if negative and len(known) > documents:
            centre = centre - negative * np.mean(known[documents:][-2:], axis=0)
        moved = (1 - mixing) * query + mixing * centre
        moved = moved / np.linalg.norm(moved)
    new = [max(float(v @ moved) for v in part) if len(part) else None for part in parts[:candidates]]
    seen = [value for value in new if value is not None]
    old = [hit.score for hit in hits[:candidates]]
    wanted = {}
    for hit, value in zip(hits, new, strict=False):
        share = 0.0 if value is None else 1.0 if max(seen) == min(seen) else (value - min(seen)) / (max(seen) - min(seen))
        wanted[hit.id] = (hit.score - min(old)) / ((max(old) - min(old)) or 1.0) + 0.7 * share
    scores = {hit.id: hit.score for hit in found}
    assert {each: scores[each] for each in wanted} == pytest.approx(wanted, abs=1e-5)
    assert [hit.rank for hit in found] == list(range(1, 9)) and all(
        one.score >= other.score - 1e-9 for one, other in zip(found, found[1:], strict=False)
    )
    assert [hit.id for hit in found[candidates:]] == [hit.id for hit in hits[candidates:]]


def test_vector_feedback_needs_texts_and_an_encoder() -> None:
    answer = Answer(EncodedQueries(csr_array((1, 2)), ["q"]), [[]], 5, None)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="need what encodes the queries"):
        VectorFeedback()(answer)
    textless = dataclasses.replace(answer, queries=EncodedQueries(csr_array((1, 2))), encoder=Vectors(1, 2))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="need the texts"):
        VectorFeedback()(textless)


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="mixing is 2.0, but must be at most 1.0"):
        Feedback(mixing=2.0)
    with pytest.raises(ConfigError, match="documents is 0"):
        VectorFeedback(documents=0)


@given(st.lists(st.floats(-5, 50), min_size=1, max_size=6), st.sampled_from(["scores", "softmax", "equal"]))
def test_weights_of_documents_add_up_and_fall_with_scores(scores: list[float], kind: Any) -> None:
    ordered = sorted(scores, reverse=True)
    weights = weights_of_scores(ordered, kind)
    assert math.isclose(weights.sum(), 1.0) and np.all(weights >= 0) and np.all(np.diff(weights) <= 1e-12)
    assert weights_of_scores([], kind).tolist() == []
