"""Documents with several passages: rankings of documents, against the reference's ranking of passages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers_index import ALL_SCORINGS, VOCABULARY, weights_of
from helpers_old import to_version
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, vstack

from lexite.corpus.passages import CutDocuments, PassageConfig
from lexite.corpus.records import Document
from lexite.errors import ArgumentError, CorpusError, IndexFormatError
from lexite.index import BM25Index
from lexite.index.numbering import FIRST_DEPTH
from lexite.index.reference import reference_search
from lexite.scoring.config import BM25Config
from lexite.scoring.words import LiteralConfig
from lexite.terms import EncodedQueries

CUTTING = PassageConfig(20, 25)


def documents_with(ids: Sequence[str], sizes: Sequence[int]) -> tuple[list[Document], CutDocuments]:
    """Documents whose texts are as many passages of ten characters as sizes say."""
    documents = [
        Document(each, "".join(f"p{n:08d} " for n in range(size)), f"title {each}")
        for each, size in zip(ids, sizes, strict=True)
    ]
    spans = [(10 * n, 10 * n + 10) for size in sizes for n in range(size)]
    texts = [document.text[10 * n : 10 * n + 10] for document, size in zip(documents, sizes, strict=True) for n in range(size)]
    return documents, CutDocuments(
        texts, np.cumsum([0, *sizes]).astype(np.int64), np.array(spans, dtype=np.int64).reshape(-1, 2)
    )


Expected = list[tuple[str, float, tuple[int, int] | None]]


def expected_hits(
    rows: dict[str, csr_array], query: csr_array, scoring: BM25Config, top_k: int, allowed: set[str] | None = None
) -> Expected:
    """The first ``top_k`` documents in the reference's ranking of all passages, with the best passage of each."""
    owners = [(name, n) for name, own in rows.items() for n in range(own.shape[0])]
    (found,), (scores,) = reference_search(vstack(list(rows.values()), format="csr"), query, scoring, len(owners))
    best: dict[str, tuple[float, tuple[int, int] | None]] = {}
    for row, score in zip(found.tolist(), scores.tolist(), strict=True):
        if row >= 0 and (allowed is None or owners[row][0] in allowed):
            name, n = owners[row]
            best.setdefault(name, (score, (10 * n, 10 * n + 10) if rows[name].shape[0] > 1 else None))
    return [(name, *values) for name, values in best.items()][:top_k]


def found_hits(index: BM25Index, query: csr_array, scoring: BM25Config, top_k: int, **options: object) -> Expected:
    (hits,) = index.search(EncodedQueries(query), top_k, scoring=scoring, **options)  # type: ignore[arg-type]
    return [(hit.id, hit.score, hit.span) for hit in hits]


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_changes_give_the_ranking_of_a_fresh_build(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("passages") / "index"
    rows: dict[str, csr_array] = {}
    budget = data.draw(st.sampled_from([1, 60, 10**6]))
    with BM25Index.create(path, VOCABULARY, ALL_SCORINGS[0], passages=CUTTING, segment_postings=budget) as writer:
        for step in range(data.draw(st.integers(1, 4))):
            ids = data.draw(st.lists(st.sampled_from([f"d{n}" for n in range(12)]), unique=True, min_size=1, max_size=8))
            sizes = data.draw(st.lists(st.integers(1, 9), min_size=len(ids), max_size=len(ids)))
            weights = weights_of(sum(sizes), step + 10 * len(ids))
            documents, cut = documents_with(ids, sizes)
            assert writer.replace(documents, weights, cut) == sum(name in rows for name in ids)
            for name, begin, end in zip(ids, cut.bounds, cut.bounds[1:], strict=False):
                rows.pop(name, None)
                rows[name] = weights[begin:end]
            gone = data.draw(st.lists(st.sampled_from(sorted(rows)), unique=True, max_size=3))
            writer.delete(gone)
            for name in gone:
                del rows[name]
            data.draw(st.sampled_from([writer.commit, writer.merge, lambda: None]))()
        writer.commit()
    index = BM25Index.open(path, verify=True)
    assert list(index.ids) == list(rows) and len(index) == index.n_documents == len(rows)
    assert index.n_passages == sum(own.shape[0] for own in rows.values()) and index.passages_config == CUTTING
    if not rows:
        return
    queries, top_k = weights_of(3, 77, 0.15), data.draw(st.integers(1, 13))
    allowed = data.draw(st.sets(st.sampled_from(sorted(rows)), min_size=1))
    without = data.draw(st.sampled_from(sorted(rows)))
    for scoring in (ALL_SCORINGS[0], ALL_SCORINGS[3]):
        for query in (queries[[n]] for n in range(3)):
            assert found_hits(index, query, scoring, top_k) == expected_hits(rows, query, scoring, top_k)
            among = found_hits(index, query, scoring, top_k, among=sorted(allowed))
            assert among == expected_hits(rows, query, scoring, top_k, allowed)
            rest = found_hits(index, query, scoring, top_k, exclude=[without])
            assert rest == expected_hits(rows, query, scoring, top_k, set(rows) - {without})
    summed = csr_array(np.stack([own.sum(axis=0) for own in rows.values()]))
    np.testing.assert_allclose(index.rows().toarray(), summed.toarray(), rtol=1e-6)


@pytest.fixture
def long_index(tmp_path: Path) -> tuple[BM25Index, dict[str, csr_array]]:
    """Forty documents, most of which have one passage, and one has two hundred that match everything."""
    sizes = [200 if n == 7 else 1 + (n % 9 == 0) * 5 for n in range(40)]
    ids = [f"d{n}" for n in range(40)]
    documents, cut = documents_with(ids, sizes)
    weights = weights_of(sum(sizes), 3).tolil()
    weights[int(cut.bounds[7]) : int(cut.bounds[8]), 0] = 50.0
    weights = csr_array(weights.tocsr())
    with BM25Index.create(tmp_path / "index", VOCABULARY, passages=CUTTING) as writer:
        writer.add(documents, weights, cut)
        writer.commit()
    rows = {name: weights[begin:end] for name, begin, end in zip(ids, cut.bounds, cut.bounds[1:], strict=False)}
    return BM25Index.open(tmp_path / "index"), rows


def test_a_document_with_many_matching_passages_hides_no_other(long_index: tuple[BM25Index, dict[str, csr_array]]) -> None:
    index, rows = long_index
    query = csr_array(np.eye(1, VOCABULARY.n_terms, dtype=np.float32) * 2 + np.eye(1, VOCABULARY.n_terms, 5, dtype=np.float32))
    assert FIRST_DEPTH * 10 < 200
    for top_k in (1, 2, 10, 40, 1000):
        assert found_hits(index, query, index.scoring, top_k) == expected_hits(rows, query, index.scoring, top_k)
    documents, scores = index.search_arrays(EncodedQueries(vstack([query, weights_of(1, 5)], format="csr")), 10)
    assert documents.shape == scores.shape == (2, 10)
    assert len(set(documents[0][documents[0] >= 0].tolist())) == (documents[0] >= 0).sum()


def test_the_explanation_is_that_of_the_best_passage(long_index: tuple[BM25Index, dict[str, csr_array]]) -> None:
    index, _ = long_index
    query = EncodedQueries(weights_of(1, 78, 0.3))
    (hits,) = index.search(query, 40)
    for hit in hits:
        assert index.explain(query, hit.id).score == hit.score
        passages = index.passages(query, hit.id)
        assert (passages[0].score, passages[0].span) == (hit.score, hit.span)
        assert [p.score for p in passages] == sorted((p.score for p in passages), reverse=True)
    assert len(index.passages(query, "d7")) > 50
    with pytest.raises(ArgumentError, match="One query"):
        index.passages(EncodedQueries(weights_of(2, 1)), "d7")
    with pytest.raises(CorpusError):
        index.passages(query, "d99")


def test_words_are_counted_in_each_passage(tmp_path: Path) -> None:
    documents, cut = documents_with(["a", "b"], [3, 1])
    literal = LiteralConfig(literal_weight_documents=1.0)
    with BM25Index.create(tmp_path / "i", VOCABULARY, literal=literal) as writer:
        writer.add(documents, weights_of(4, 1), cut)
        writer.commit()
    index = BM25Index.open(tmp_path / "i")
    words = {index.word(term): int(count) for term, count in enumerate(index.document_frequency) if term >= index.n_latents}
    assert words == {"p00000000": 2, "p00000001": 1, "p00000002": 1}
    (hits,) = index.search(EncodedQueries(csr_array((1, VOCABULARY.n_terms), dtype=np.float32), ["p00000002"]))
    assert [(hit.id, hit.span) for hit in hits] == [("a", (20, 30))]


def test_weights_that_do_not_fit_the_passages_are_refused(tmp_path: Path) -> None:
    documents, cut = documents_with(["a", "b"], [3, 1])
    with BM25Index.create(tmp_path / "i", VOCABULARY) as writer:
        with pytest.raises(CorpusError, match="2 documents with 4 passages, but weights for 3"):
            writer.add(documents, weights_of(3, 1), cut)
        with pytest.raises(CorpusError, match="3 documents"):
            writer.add([*documents, Document("c", "")], weights_of(4, 1), cut)
        broken = weights_of(4, 1)
        broken.data[:] = np.nan
        with pytest.raises(Exception, match="document 'a'"):
            writer.add(documents, broken, cut)
        assert writer.n_documents == 0


def test_indexes_of_format_3_are_read_and_become_format_6(tmp_path: Path) -> None:
    path, weights = tmp_path / "i", weights_of(5, 1)
    with BM25Index.create(path, VOCABULARY, mantissa=23) as writer:
        writer.add([Document(str(n), "text") for n in range(5)], weights)
        writer.commit()
    to_version(path, 3)
    old = BM25Index.open(path, verify=True)
    assert (old.info()["format_version"], old.n_passages, old.passages_config) == (3, 5, None)
    query = EncodedQueries(weights_of(1, 9))
    before = old.search(query)
    with BM25Index.writer(path) as writer:
        documents, cut = documents_with(["new"], [2])
        writer.add(documents, weights_of(2, 5) * 0.001, cut)
        writer.delete(["new"])
        writer.commit()
    new = BM25Index.open(path)
    assert new.info()["format_version"] == 6
    assert [[(hit.id, hit.score) for hit in hits] for hits in new.search(query)] == [
        [(hit.id, hit.score) for hit in hits] for hits in before
    ]


def test_damaged_bounds_of_passages_are_refused(long_index: tuple[BM25Index, dict[str, csr_array]]) -> None:
    index, _ = long_index
    assert index.path is not None
    (file,) = index.path.rglob("passage_bounds.npy")
    data = bytearray(file.read_bytes())
    data[128 + 8 * 3 : 128 + 8 * 4] = (10**6).to_bytes(8, "little")
    file.write_bytes(bytes(data))
    with pytest.raises(IndexFormatError, match=r"passage_bounds.npy is damaged"):
        BM25Index.open(index.path)
