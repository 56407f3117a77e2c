"""The systems that the search benchmark compares find the same documents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csc_array, csr_array
from search_systems import Task, best_of, build_systems, impacts_of, lexite_systems, scorer

from lexite.index import BM25Config, BM25Index, EncodedQueries
from search import overlap, split_queries

PEERS = ("bm25s", "splade_index", "impact_index", "seismic")


def random_rows(n: int, seed: int) -> csr_array:
    random = np.random.default_rng(seed)
    return csr_array(np.where(random.random((n, 60)) < 0.3, random.exponential(size=(n, 60)) + 0.1, 0.0).astype(np.float32))


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    raw, queries = random_rows(500, 1), random_rows(8, 2)
    impacts = impacts_of(raw, BM25Config())
    asked = list(EncodedQueries(queries))
    folder = tmp_path_factory.mktemp("task")
    return Task(raw, impacts, csc_array(impacts), asked, split_queries(queries), None, {}, [""] * 8, folder)


def test_impacts_are_what_lexite_adds_up(task: Task) -> None:
    index = BM25Index.in_memory(task.raw, [str(i) for i in range(500)])
    terms, weights = task.queries[0]
    row = task.impacts[[17]].toarray().ravel()
    expected = {term: weight * row[term] for term, weight in zip(terms.tolist(), weights.tolist(), strict=True) if row[term]}
    explained = {term.term: term.score for term in index.explain(task.raw_queries[0], 17).terms}
    assert explained == pytest.approx(expected, rel=1e-5)


def test_exhaustive_scores_are_a_matrix_product(task: Task) -> None:
    score = scorer(task.by_term)
    for query in task.queries:
        vector = np.zeros(60)
        vector[query[0]] = query[1]
        expected = task.impacts.toarray().astype(np.float64) @ vector
        np.testing.assert_allclose(score(query), expected, rtol=1e-5)
        assert best_of(score(query), 10).tolist() == np.argsort(-score(query), kind="stable")[:10].tolist()


def test_a_query_with_few_hits_leaves_places_empty() -> None:
    assert best_of(np.array([0.0, 2.0, 0.0, 3.0], dtype=np.float32), 3).tolist() == [3, 1, -1]


def test_overlap_counts_documents_that_tie_with_the_last() -> None:
    by_term = csc_array(np.array([[3.0], [1.0], [1.0]] + [[2.0]] * 8, dtype=np.float32))
    query = (np.array([0], dtype=np.int32), np.array([1.0], dtype=np.float32))
    twos = list(range(3, 11))
    found = [[0, *twos, 1], [0, *twos, 2], [0, *twos, -1], [0, 0, 0]]
    assert [overlap(scorer(by_term), [query], [documents]) for documents in found] == pytest.approx([1, 1, 0.9, 0.1])


def test_lexite_finds_the_exact_ten(task: Task) -> None:
    exact = next(system for system in lexite_systems(task) if system.key == "lexite")
    assert overlap(scorer(task.by_term), task.queries, [exact.search(q) for q in range(8)]) == 1.0
    assert exact.n_postings == task.raw.nnz


@pytest.fixture
def only_scipy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import search_systems

    real = search_systems.find_spec
    monkeypatch.setattr(search_systems, "find_spec", lambda name: None if name in PEERS else real(name))
    monkeypatch.setattr(search_systems, "lexite_systems", lambda task: [])
    yield


@pytest.mark.usefixtures("only_scipy")
def test_absent_packages_are_named_and_the_others_agree(task: Task) -> None:
    systems, absent = build_systems(task)
    assert set(absent.values()) == {"not installed"} and len(absent) == len(PEERS)
    assert {system.key for system in systems} == {"exhaustive", "scipy_columns", "scipy_sparse", "scipy_dense"}
    for system in systems:
        assert overlap(scorer(task.by_term), task.queries, [system.search(q) for q in range(8)]) == 1.0


@pytest.mark.usefixtures("only_scipy")
def test_a_package_that_fails_does_not_stop_the_others(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import search_systems

    def fail(task: Task) -> list[object]:
        import os

        os.write(1, b"chatter")
        raise TypeError("no such argument")

    monkeypatch.setitem(search_systems.PEERS, "scipy", (fail, "scipy"))
    systems, absent = build_systems(task)
    assert absent["scipy"] == "failed: no such argument" and [system.key for system in systems] == ["exhaustive"]
    assert "chatter" not in capfd.readouterr().out
