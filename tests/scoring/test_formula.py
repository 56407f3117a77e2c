"""The formula of BM25: against plain arithmetic and bm25s, and every place that computes it against the formula."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lexite.index import numpy_search
from lexite.index.checks import check_weights
from lexite.index.explanation import explain_document
from lexite.index.reference import reference_search
from lexite.index.scorer import Scorer
from lexite.index.segment import segment_in_memory
from lexite.integrations.sentence_transformers.losses.latent_terms import BM25Scores
from lexite.integrations.sentence_transformers.similarity import BM25Similarity
from lexite.kernels.impacts import saturated
from lexite.scoring.config import BM25Config
from lexite.scoring.formula import (
    average_length,
    impacts,
    inverse_document_frequency,
    length_norms,
    query_factors,
    saturation_form,
    worth_of_terms,
)
from lexite.scoring.transform import TRANSFORMS, transform_weights

Scores = NDArray[Any]
WEIGHTS = st.one_of(st.just(0.0), st.floats(2.0**-6, 64.0, width=32))
SCORINGS = st.builds(
    BM25Config,
    k1=st.one_of(st.just(0.0), st.floats(0.01, 100.0)),
    b=st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0.0, 1.0)),
    idf=st.sampled_from(["lucene", "robertson", "bm25+"]),
    idf_power=st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0]),
    delta=st.floats(0.0, 3.0),
    document_transform=st.sampled_from(["none", "sqrt", "log1p"]),
    query_transform=st.sampled_from(["none", "sqrt", "log1p", "pow0.75"]),
    literal_weight=st.floats(0.25, 8.0),
)


@dataclass(frozen=True)
class Case:
    """A small collection and a query: dense weights (n_documents, n_terms) and (n_terms,), and how many terms are latents."""

    documents: NDArray[np.float32]
    query: NDArray[np.float32]
    n_latents: int
    scoring: BM25Config


@st.composite
def cases(draw: Any, words: bool = True) -> Case:
    n, n_terms = draw(st.integers(1, 8)), draw(st.integers(1, 7))
    documents = draw(arrays.arrays(np.float32, (n, n_terms), elements=WEIGHTS))
    query = draw(arrays.arrays(np.float32, n_terms, elements=WEIGHTS))
    return Case(documents, query, draw(st.integers(0, n_terms)) if words else n_terms, draw(SCORINGS))


def by_formula(case: Case) -> Scores:
    """Scores from the functions of ``lexite.scoring.formula``, term after term in float32."""
    documents, query, scoring = case.documents, case.query, case.scoring
    tf = transform_weights(documents, scoring.document_transform)
    lengths = np.add.accumulate(tf, axis=1, dtype=np.float64)[:, -1].astype(np.float32)
    norms = length_norms(lengths, average_length(lengths), scoring)
    worth = worth_of_terms(len(documents), (documents > 0).sum(0), case.n_latents, scoring)
    factors = query_factors(query, worth, scoring)
    scores = np.zeros(len(documents), dtype=np.float32)
    for term in np.flatnonzero(query):
        held = documents[:, term] > 0
        scores[held] += factors[term] * impacts(tf[held, term], norms[held], saturation_form(scoring))
    return scores


def by_hand(case: Case) -> Scores:
    """Scores from the formula as it is printed, in Python's own numbers."""
    transforms: dict[str, Callable[[float], float]] = {
        "none": float,
        "sqrt": math.sqrt,
        "log1p": math.log1p,
        "pow0.75": lambda weight: weight**0.75,
    }
    scoring, n = case.scoring, len(case.documents)
    of_document, of_query = transforms[scoring.document_transform], transforms[scoring.query_transform]
    rows = [[of_document(float(weight)) for weight in row] for row in case.documents]
    mean = sum(map(sum, rows)) / n or 1.0
    scores = []
    for row in rows:
        norm, score = scoring.k1 * (1 - scoring.b + scoring.b * sum(row) / mean), 0.0
        for term, tf in enumerate(row):
            df = sum(other[term] > 0 for other in rows)
            if tf == 0 or case.query[term] == 0:
                continue
            if scoring.idf == "lucene":
                idf, impact = math.log(1 + (n - df + 0.5) / (df + 0.5)), tf / (tf + norm)
            elif scoring.idf == "robertson":
                idf, impact = max(0.0, math.log((n - df + 0.5) / (df + 0.5))), tf / (tf + norm)
            else:
                idf, impact = math.log((n + 1) / df), tf * (scoring.k1 + 1) / (tf + norm) + scoring.delta
            if term >= case.n_latents:
                worth = idf * scoring.literal_weight
            else:
                worth = idf**scoring.idf_power if idf > 0 else 0.0
            score += of_query(float(case.query[term])) * worth * impact
        scores.append(score)
    return np.array(scores)


def scorer_of(case: Case) -> tuple[Scorer, Any]:
    """An index of the documents, latents first, and the query as it takes one."""
    n_terms = case.documents.shape[1]
    rows, query = (check_weights(csr_array(m), n_terms, str) for m in (case.documents, case.query[None]))
    segment = segment_in_memory(rows, n_terms, [str(i).encode() for i in range(len(case.documents))])
    return Scorer([segment], case.n_latents, n_terms - case.n_latents), query


def dense(found: Any, values: Any, n: int) -> Scores:
    """Hits as scores of all documents; 0 for those that are none."""
    scores = np.zeros(n, dtype=np.float32)
    scores[found[found >= 0]] = values[found >= 0]
    return scores


def by_kernel(case: Case) -> Scores:
    """``kernels.impacts.saturated``, which the compiled search calls for each posting."""
    scorer, query = scorer_of(case)
    factors, (rows,) = scorer.factors(query, case.scoring), scorer._prepared(case.scoring).rows
    code, form = TRANSFORMS.index(case.scoring.document_transform), saturation_form(case.scoring)
    scores = np.zeros(len(case.documents), dtype=np.float32)
    for number, row in enumerate(case.documents):
        for term, factor in zip(query.terms, factors, strict=True):
            if row[term] > 0:
                scores[number] += factor * np.float32(saturated(row[term], rows.norms[number], code, *form))
    return scores


def by_compiled_search(case: Case) -> Scores:
    scorer, query = scorer_of(case)
    scorer.postings(case.scoring)  # so that they are searched, and not the rows
    n = len(case.documents)
    (found,), (values,) = scorer.top(query, n, case.scoring, np.array([-1]))
    return dense(found, values, n)


def by_numpy_search(case: Case) -> Scores:
    scorer, query = scorer_of(case)
    single = numpy_search.SingleQuery(query.terms, scorer.factors(query, case.scoring), -1)
    n, segments = len(case.documents), scorer._searched_segments(scorer._prepared(case.scoring), False)
    found, values = numpy_search.search(segments, single, n)
    return dense(found, values, n)


def by_explanation(case: Case) -> Scores:
    """The score that an explanation states."""
    scorer, query = scorer_of(case)
    found = [explain_document(scorer, query, number, case.scoring, str) for number in range(len(case.documents))]
    return np.array([explanation.score for explanation in found], dtype=np.float32)


def by_reference(case: Case) -> Scores:
    n = len(case.documents)
    documents, query = csr_array(case.documents), csr_array(case.query[None])
    (found,), (values,) = reference_search(documents, query, case.scoring, n, case.n_latents)
    return dense(found, values, n)


def by_similarity(case: Case) -> Scores:
    similarity = BM25Similarity(case.scoring, raw_embeddings=True).fit(case.documents)
    return similarity(case.query, case.documents)[0].numpy()


def by_loss(case: Case) -> Scores:
    """``BM25Scores``, which gives shares of the most that a query could get; they are multiplied by that most."""
    scoring = case.scoring
    statistics = BM25Similarity(scoring, raw_embeddings=True).fit(case.documents)
    query, documents = torch.from_numpy(case.query[None]), torch.from_numpy(case.documents)
    shares = BM25Scores(scoring, statistics)(query, documents)[0].double().numpy()
    worth = worth_of_terms(len(case.documents), (case.documents > 0).sum(0), case.n_latents, scoring)
    most = float(query_factors(case.query, worth, scoring).sum(dtype=np.float64))
    return shares * most * (scoring.k1 + 1.0 + scoring.delta if scoring.idf == "bm25+" else 1.0)


@dataclass(frozen=True)
class Place:
    """A place that computes the formula.

    Attributes:
        scores: its scores of a case.
        relative: how far they may be from those of the formula; 0 where the code promises the same bits.
        words: whether it knows literal words beside latents.
    """

    scores: Callable[[Case], Scores]
    relative: float = 0.0
    words: bool = True


PLACES = {
    "kernels.impacts.saturated": Place(by_kernel),
    "kernels.retrieval": Place(by_compiled_search),
    "index.numpy_search": Place(by_numpy_search),
    "index.explanation": Place(by_explanation),
    "index.reference": Place(by_reference),
    "similarity.BM25Similarity": Place(by_similarity, 1e-5, words=False),  # torch's order of additions
    "losses.latent_terms.BM25Scores": Place(by_loss, 1e-4, words=False),  # float32 sums, and a division by one of them
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@settings(max_examples=60)
@given(data=st.data())
def test_every_place_computes_the_formula(place: Place, data: st.DataObject) -> None:
    case = data.draw(cases(place.words))
    expected, scores = by_formula(case), place.scores(case)
    if place.relative:
        np.testing.assert_allclose(scores, expected, rtol=place.relative, atol=1e-6)
    else:
        np.testing.assert_array_equal(scores, expected)


@settings(max_examples=200)
@given(cases())
def test_the_formula_is_what_its_documentation_says(case: Case) -> None:
    np.testing.assert_allclose(by_formula(case), by_hand(case), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("form", ["lucene", "robertson", "bm25+"])
def test_the_formula_is_that_of_bm25s(form: str) -> None:
    bm25s = pytest.importorskip("bm25s", reason="bm25s is not installed; 'pip install lexite[eval]' brings it")
    generator = np.random.default_rng(5)
    counts = (generator.integers(1, 5, (40, 9)) * (generator.random((40, 9)) < 0.3)).astype(np.float32)
    words = [f"w{term}" for term in range(counts.shape[1])]
    corpus = [[word for word, count in zip(words, row, strict=True) for _ in range(int(count))] for row in counts]
    retriever = bm25s.BM25(k1=1.2, b=0.6, delta=0.8, method=form)
    retriever.index(corpus, show_progress=False)
    scoring = BM25Config(1.2, 0.6, form, 1.0, 0.8, "none", "none")  # type: ignore[arg-type]
    for term in range(len(words)):
        query = np.zeros(len(words), dtype=np.float32)
        query[term] = 1.0
        held = counts[:, term] > 0  # what bm25+ gives to documents without the term differs: bm25s adds delta there
        ours = by_formula(Case(counts, query, len(words), scoring))[held]
        assert ours.min() > 0
        np.testing.assert_allclose(retriever.get_scores([words[term]])[held], ours, rtol=1e-5)


def test_a_term_without_documents_is_worth_nothing() -> None:
    for form in ("lucene", "robertson", "bm25+"):
        assert inverse_document_frequency(4, np.array([0, 2]), form)[0] == 0.0  # type: ignore[arg-type]
    assert worth_of_terms(4, np.array([0, 2]), 2, BM25Config(idf_power=0.0)).tolist() == [0.0, 1.0]


def test_an_empty_collection_has_a_length_and_norms() -> None:
    assert average_length(np.empty(0, np.float32)) == 0.0
    assert length_norms(np.zeros(2, np.float32), 0.0, BM25Config(k1=2.0, b=0.5)).tolist() == [1.0, 1.0]


def test_a_logarithm_is_rounded_once() -> None:
    weights = np.random.default_rng(0).gamma(1.0, 3.0, 2000).astype(np.float32)
    exact = [np.float32(math.log1p(float(weight))) for weight in weights]
    assert transform_weights(weights, "log1p").tolist() == exact
