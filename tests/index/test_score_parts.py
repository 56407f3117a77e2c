"""Scores in parts, for all hits at once, against the explanation of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers_index import ALL_SCORINGS, N_TERMS, VOCABULARY, weights_of
from helpers_words import LITERAL, documents_with, texts_of
from scipy.sparse import csr_array

from lexite.corpus.passages import CutDocuments, PassageConfig
from lexite.corpus.records import Document
from lexite.errors import ArgumentError, CorpusError
from lexite.index import BM25Index
from lexite.terms import EncodedQueries

CUTTING = PassageConfig(20, 25)
QUERY = EncodedQueries(weights_of(1, 77, 0.3), texts_of(9, 78)[:1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two indexes with words; some documents of the second have several passages."""
    root = tmp_path_factory.mktemp("parts")
    with BM25Index.create(root / "a", VOCABULARY, literal=LITERAL, passages=CUTTING) as writer:
        writer.add(documents_with([f"d{n}" for n in range(50)], texts_of(50, 3)), weights_of(50, 3))
        writer.delete(["d4", "d9"])
        writer.commit()
    sizes = [1 + 4 * (n % 3 == 0) for n in range(30)]
    texts = [" -- ".join(texts_of(size, n + 5)) or "." for n, size in enumerate(sizes)]
    bounds = np.cumsum([0, *sizes]).astype(np.int64)
    spans = np.array([(part, part + 1) for size in sizes for part in range(size)], dtype=np.int64)
    cut = CutDocuments(texts_of(int(bounds[-1]), 9), bounds, spans)
    documents = [Document(f"e{n}", text + "." * 9) for n, text in enumerate(texts)]
    with BM25Index.create(root / "b", VOCABULARY, literal=LITERAL, passages=CUTTING) as writer:
        writer.add(documents, weights_of(int(bounds[-1]), 8), cut)
        writer.commit()
    return root


@pytest.mark.parametrize("names", ["a", "b", "ab"])
@pytest.mark.parametrize("compiled", [True, False])
def test_parts_are_those_of_explanations(folder: Path, names: str, compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not compiled:
        monkeypatch.setattr("lexite.index.ranker.AT_ONCE", 1)
    index = BM25Index.open_several([folder / name for name in names]) if len(names) > 1 else BM25Index.open(folder / names)
    for scoring in ALL_SCORINGS:
        ids = [hit.document for hit in index.search(QUERY, 20, scoring=scoring)[0]] + list(index.ids)[:5]
        asked, found = index.score_parts(QUERY, ids, scoring=scoring)
        assert found == [index.explain(QUERY, each, scoring=scoring).parts() for each in ids]
        factors = index.query_factors(QUERY, scoring=scoring)
        assert {term.term: term.score for term in asked} == dict(
            zip(factors.indices.tolist(), factors.data.tolist(), strict=True)
        )
        assert [term.score for term in asked] == sorted((term.score for term in asked), reverse=True)
        assert all(term.word == (index.word(term.term) if term.term >= N_TERMS else None) for term in asked)


def test_there_may_be_no_documents_and_no_terms(folder: Path) -> None:
    index = BM25Index.open(folder / "b")
    assert index.score_parts(QUERY, []).scores == []
    nothing = EncodedQueries(csr_array((1, N_TERMS), dtype=np.float32))
    asked, scores = index.score_parts(nothing, ["e0", 1])
    assert asked == () and [(part.score, part.coverage, part.terms) for part in scores] == [(0.0, 0.0, ())] * 2
    assert scores[0].share_of([1]) == 0.0
    with pytest.raises(ArgumentError, match="One query"):
        index.score_parts(EncodedQueries(weights_of(2, 1)), ["e0"])
    with pytest.raises(CorpusError, match="no document 'd0'"):
        index.score_parts(QUERY, ["e0", "d0"])


def test_the_share_of_some_latents_is_that_of_their_parts(folder: Path) -> None:
    index = BM25Index.open(folder / "a")
    hit = index.search(QUERY, 1)[0][0]
    (part,) = index.score_parts(QUERY, [hit.document]).scores
    latents = [term.term for term in part.terms if term.word is None]
    assert latents and part.share_of(latents) + sum(t.score for t in part.terms if t.word) / part.score == pytest.approx(1.0)
