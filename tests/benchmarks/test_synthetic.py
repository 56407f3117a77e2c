"""Synthetic collections: what is kept of the real ones, against counts made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, save_npz, vstack
from synthetic import Encoded, Generator, choose_queries, load_collections, made_profile, source_profile, weigh

N_TERMS, N_REAL = 400, 600


def real_documents(n: int = N_REAL, seed: int = 0, first_term: int = 0) -> csr_array:
    """Documents of very different lengths over terms of very different frequency; the first term is in all of them."""
    random = np.random.default_rng(seed)
    density = np.minimum(1.0, 3.0 / (1 + np.arange(N_TERMS)))
    density[0] = 1.0
    longer = random.lognormal(0.0, 0.6, size=(n, 1))
    there = random.random((n, N_TERMS)) < 1 - (1 - np.minimum(density, 0.999)) ** longer
    there[:, 0], there[:, :first_term] = True, False
    return csr_array(np.where(there, random.exponential(size=there.shape) + 0.01, 0.0).astype(np.float32))


@pytest.fixture(scope="module")
def generator() -> Generator:
    return Generator(real_documents(), np.repeat([0, 1], [200, 400]), 25, seed=3)


def same(a: csr_array, b: csr_array) -> bool:
    return bool(a.shape == b.shape and all(np.array_equal(x, y) for x, y in zip(parts(a), parts(b), strict=True)))


def parts(matrix: csr_array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return matrix.indptr, matrix.indices, matrix.data


def test_the_same_seed_makes_the_same_documents_and_another_seed_others(generator: Generator) -> None:
    groups = np.repeat([0, 1], [200, 400])
    again, other = (Generator(real_documents(), groups, 25, seed=seed) for seed in (3, 4))
    assert same(generator.rows(0, 300), again.rows(0, 300))
    assert not same(generator.rows(0, 300), other.rows(0, 300))


@given(size=st.integers(1, 700), n_documents=st.integers(0, 600))
@settings(max_examples=30)
def test_chunks_of_any_size_make_the_same_documents(generator: Generator, size: int, n_documents: int) -> None:
    chunks = list(generator.chunks(n_documents, size))
    assert [chunk.shape[0] for chunk in chunks[:-1]] == [size] * (len(chunks) - 1)
    if chunks:
        assert same(csr_array(vstack(chunks, format="csr")), generator.rows(0, n_documents))


def test_any_document_can_be_made_alone(generator: Generator) -> None:
    assert same(generator.rows(1_000_000, 1_000_001), csr_array(generator.rows(999_990, 1_000_010)[10:11]))


def test_rows_are_in_canonical_form(generator: Generator) -> None:
    rows = generator.rows(0, 500)
    assert all(np.all(np.diff(rows.indices[i:j]) > 0) for i, j in zip(rows.indptr[:-1], rows.indptr[1:], strict=True))
    assert rows.dtype == np.float32 and rows.indices.dtype == np.int32 and rows.shape == (500, N_TERMS)
    assert np.all(rows.data > 0)


def test_a_document_has_what_one_of_its_parents_has_and_all_that_both_have(generator: Generator) -> None:
    rows, real = generator.rows(0, 200).toarray(), generator.documents.toarray()
    from_first = n_different = 0
    for row, first, second in zip(rows, *generator.parents(0, 200), strict=True):
        a, b = real[first], real[second]
        assert np.all((row == a) | (row == b))
        from_first, n_different = from_first + int((row == a)[a != b].sum()), n_different + int((a != b).sum())
    assert from_first / n_different == pytest.approx(0.7, abs=0.02)


def test_document_frequencies_are_kept(generator: Generator) -> None:
    n = 20_000
    source, made = source_profile(generator).densities, made_profile(generator, n).densities
    frequent = source > 0.02
    deviation = np.sqrt(source * np.maximum(1 - source, 0) / n)
    assert np.all(np.abs(made - source)[frequent] < 5 * deviation[frequent] + 0.02 * source[frequent])
    assert np.mean(np.abs(made / source - 1)[source > 0.1]) < 0.02
    assert made[0] == 1  # what is in every real document is in every made one


def test_source_densities_are_those_of_weighted_documents(generator: Generator) -> None:
    expected = generator.weights @ (generator.documents.toarray() > 0)
    np.testing.assert_allclose(source_profile(generator).densities, expected, rtol=1e-12)


def test_lengths_are_kept(generator: Generator) -> None:
    source, made = source_profile(generator), made_profile(generator, 20_000)
    assert made.mean == pytest.approx(source.mean, rel=0.02)
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert made.quantile(share) == pytest.approx(source.quantile(share), rel=0.1, abs=1)
    assert made.zipf_slope == pytest.approx(source.zipf_slope, rel=0.05)


@given(share=st.floats(0.0, 1.0))
@settings(max_examples=30)
def test_weights_bring_the_mean_to_the_goal(share: float) -> None:
    lengths = np.diff(real_documents().indptr)
    goal = np.quantile(lengths, 0.1) + share * (np.quantile(lengths, 0.9) - np.quantile(lengths, 0.1))
    weights = weigh(lengths, goal)
    assert weights.sum() == pytest.approx(1.0) and np.all(weights >= 0)
    assert weights @ lengths == pytest.approx(goal, rel=1e-6)


def test_without_a_goal_all_documents_are_drawn_equally_often() -> None:
    assert weigh(np.array([0, 1, 5]), None).tolist() == [1 / 3] * 3


def test_an_empty_document_is_never_drawn_for_a_goal() -> None:
    assert weigh(np.array([0, 2, 6]), 4)[0] == 0


def test_a_goal_out_of_reach_is_refused() -> None:
    with pytest.raises(ValueError, match="only .* to"):
        weigh(np.array([10, 20]), 50)


def test_a_goal_out_of_reach_ends_a_script_with_one_line() -> None:
    with pytest.raises(SystemExit, match="Choose another --postings"):
        Generator.of([encoded("a", 1, 1)], 10_000)


def test_only_documents_of_one_collection_are_crossed() -> None:
    left, right = real_documents(100, seed=1), real_documents(50, seed=2)
    joined = csr_array(vstack([left, right], format="csr"))
    groups = np.repeat([0, 1], [100, 50])
    first, second = Generator(joined, groups, None).parents(0, 2_000)
    assert np.array_equal(groups[first], groups[second])
    assert {0, 1} == set(groups[first].tolist())


def test_every_parent_is_met_about_as_often_on_the_second_side() -> None:
    generator = Generator(real_documents(80), np.zeros(80), None)
    counts = np.bincount(generator.parents(0, 80_000)[1], minlength=80)
    assert counts.min() > 800 and counts.max() < 1_200  # 1,000 expected, deviation 32


def test_a_single_document_is_crossed_with_itself() -> None:
    generator = Generator(real_documents(1), [0], None)
    assert same(generator.rows(7, 8), generator.documents)


def test_words_follow_the_same_parents(generator: Generator) -> None:
    words = csr_array(np.random.default_rng(5).integers(0, 3, size=(N_REAL, 50)).astype(np.int32))
    words.eliminate_zeros()
    made = generator.cross(words, 100, 200).toarray()
    for row, first, second in zip(made, *generator.parents(100, 200), strict=True):
        a, b = words[[first]].toarray()[0], words[[second]].toarray()[0]
        assert np.all((row == a) | (row == b))
    assert made.dtype == np.int32


def encoded(name: str, n_queries: int, seed: int) -> Encoded:
    documents, queries = real_documents(20, seed), real_documents(n_queries, seed + 100)
    texts = [f"{name} query {i}" for i in range(n_queries)]
    return Encoded(name, ["text"] * 20, [str(i) for i in range(20)], texts, texts, {}, documents, queries)


def test_queries_are_real_ones_each_once_and_about_as_long_as_wanted() -> None:
    collections = [encoded("a", 300, 1), encoded("b", 60, 2)]
    lengths = np.diff(vstack([collection.queries for collection in collections], format="csr").indptr)
    goal = float(lengths.mean() * 1.2)
    queries, texts = choose_queries(collections, 100, goal, seed=4)
    assert queries.shape[0] == len(texts) == len(set(texts)) == 100
    assert queries.nnz / 100 == pytest.approx(goal, rel=0.05)
    for row, text in zip(queries, texts, strict=True):
        name, _, number = text.split()
        original = collections["ab".index(name)].queries[[int(number)]]
        assert np.array_equal(row.toarray().ravel(), original.toarray().ravel())
    again, _ = choose_queries(collections, 100, goal, seed=4)
    assert same(queries, again)


def test_no_more_queries_than_there_are() -> None:
    assert choose_queries([encoded("a", 7, 1)], 100)[0].shape[0] == 7


@pytest.fixture
def small_source(monkeypatch: pytest.MonkeyPatch) -> synthetic._Texts:
    source = synthetic._Texts("small", [("d1", "A cat."), ("d2", "A dog.")], [("q1", "Which cat?")], {"q1": {"d1": 1}})
    monkeypatch.setattr(synthetic, "_read_sources", lambda names: iter([source]))
    return source


def test_encoded_collections_are_read_from_the_cache(small_source: synthetic._Texts, tmp_path: Path) -> None:
    matrices = real_documents(2), real_documents(1)
    for path, matrix in zip(synthetic._cache_path(tmp_path, small_source), matrices, strict=True):
        save_npz(path, matrix)
    (collection,) = load_collections(tmp_path)
    assert same(collection.documents, matrices[0]) and same(collection.queries, matrices[1])
    assert collection.texts == ["A cat.", "A dog."] and collection.query_ids == ["q1"]
    assert collection.qrels == {"q1": {"d1": 1}}


def test_what_the_cache_lacks_is_encoded_in_another_process(
    small_source: synthetic._Texts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = []

    def run(command: list[str], check: bool, env: dict[str, str]) -> None:
        commands.append(command)
        for path in synthetic._cache_path(tmp_path, small_source):
            save_npz(path, real_documents(1))
        assert check and "OMP_NUM_THREADS" not in env

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(synthetic.subprocess, "run", run)
    load_collections(tmp_path, ["small"])
    load_collections(tmp_path, ["small"])
    assert [command[-2:] for command in commands] == [["--encode-only", "small"]]


def test_other_texts_have_other_files(tmp_path: Path) -> None:
    one = synthetic._Texts("small", [("d", "A cat.")], [], {})
    other = synthetic._Texts("small", [("d", "A dog.")], [], {})
    assert set(synthetic._cache_path(tmp_path, one)).isdisjoint(synthetic._cache_path(tmp_path, other))


@pytest.mark.slow
def test_without_collections_the_source_is_the_documentation_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "COLLECTIONS", tmp_path / "absent")
    (source,) = synthetic._read_sources(synthetic.NAMES)
    assert source.name == "python" and len(source.documents) > 1000 and not source.qrels
    assert len(source.queries) > 100 and all(text for _, text in source.queries)
