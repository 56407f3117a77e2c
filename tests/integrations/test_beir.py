"""The model for beir: through its own ``EvaluateRetrieval``, held against the searcher."""

from __future__ import annotations

from pathlib import Path

import pytest

from lexite import Searcher
from lexite.errors import ArgumentError, ConfigError, CorpusError
from lexite.terms import LatentTermEncoder
from tiny_collection import DOCUMENTS, QRELS, QUERIES

pytest.importorskip("beir", reason="beir is not installed: pip install 'lexite[beir]'")
from beir.retrieval.evaluation import EvaluateRetrieval

from lexite.integrations.beir import LexiteSearch

CORPUS = {i: {"title": title, "text": text, "words": len(text.split())} for i, title, text in DOCUMENTS}
JUDGED: dict[str, dict[str, int]] = {}
for query, document, grade in QRELS:
    JUDGED.setdefault(query, {})[document] = grade


@pytest.fixture(scope="module")
def encoder(tiny_vocabulary: Path) -> LatentTermEncoder:
    return LatentTermEncoder.from_pretrained(tiny_vocabulary)


@pytest.fixture(scope="module")
def model(encoder: LatentTermEncoder) -> LexiteSearch:
    return LexiteSearch(vocabulary=encoder, show_progress=False)


def wanted(searcher: Searcher, top_k: int, **options: object) -> dict[str, list[str]]:
    rankings = searcher.rank([text for _, text in QUERIES], top_k, **options)
    return {name: [hit.id for hit in hits] for (name, _), hits in zip(QUERIES, rankings, strict=True)}


def test_beir_retrieves_and_evaluates(model: LexiteSearch, encoder: LatentTermEncoder) -> None:
    evaluation = EvaluateRetrieval(model, k_values=[1, 3])
    results = evaluation.retrieve(CORPUS, dict(QUERIES))
    documents = model._made
    assert documents is not None
    assert {name: list(found) for name, found in results.items()} == wanted(documents, 3)
    ndcg, _, recall, _ = evaluation.evaluate(JUDGED, results, [1, 3])
    assert set(ndcg) == {"NDCG@1", "NDCG@3"} and 0 < recall["Recall@3"] <= 1
    assert evaluation.retrieve(CORPUS, dict(QUERIES)) == results and model._made is documents, "the corpus is the same"
    only = model.search(CORPUS, dict(QUERIES), 3, where="words < 15")
    assert {name: list(found) for name, found in only.items()} == wanted(documents, 3, where="words < 15")
    other = {**CORPUS, "new": {"text": "Parse the json text."}}
    assert "new" in model.search(other, dict(QUERIES), 10)["q1"] and model._made is not documents


def test_the_document_of_the_query_itself_is_no_hit(model: LexiteSearch) -> None:
    found = model.search(CORPUS, {"d1": CORPUS["d1"]["text"], "q": CORPUS["d1"]["text"]}, 3)  # type: ignore[dict-item]
    assert "d1" not in found["d1"] and len(found["d1"]) == 3 and next(iter(found["q"])) == "d1"


def test_scores_of_equal_documents_fall(model: LexiteSearch) -> None:
    found = model.search({name: {"text": "milk"} for name in "abc"}, {"q": "milk"}, 3)["q"]
    assert list(found) == ["a", "b", "c"] and found["a"] > found["b"] > found["c"]


@pytest.mark.parametrize("static", [False, True])
def test_an_encoded_corpus_is_searched_from_files(encoder: LatentTermEncoder, tmp_path: Path, static: bool) -> None:
    own = LexiteSearch(vocabulary=encoder, static=static, show_progress=False)
    evaluation = EvaluateRetrieval(own, k_values=[3])
    results = evaluation.encode_and_retrieve(CORPUS, dict(QUERIES), encode_output_path=str(tmp_path))
    with Searcher.open(tmp_path / "corpus.lexite.pkl", static=static, vocabulary=encoder) as searcher:
        assert {name: list(found) for name, found in results.items()} == wanted(searcher, 3)
    with own:
        assert {name: list(found) for name, found in own.search(CORPUS, dict(QUERIES), 3).items()} == {
            name: list(found) for name, found in results.items()
        }
    assert own._made is None


def test_a_searcher_that_has_the_corpus_is_used(model: LexiteSearch) -> None:
    expected = model.search(CORPUS, dict(QUERIES), 2)
    given = LexiteSearch(model._made)
    assert given.search(CORPUS, dict(QUERIES), 2) == expected
    with pytest.raises(CorpusError, match="no document 'new'"):
        given.search({"new": {"text": "x"}}, {}, 2)
    with pytest.raises(ConfigError, match="vocabulary can have no effect"):
        LexiteSearch(model._made, vocabulary="x")


def test_what_is_wrong_is_refused(model: LexiteSearch, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="not in a str"):
        LexiteSearch("notes")  # type: ignore[arg-type]
    with pytest.raises(CorpusError, match="no document"):
        model.search({}, {"q": "x"}, 3)
    with pytest.raises(CorpusError, match="Document 'e': the text is empty"):
        model.search({"e": {"text": ""}}, {"q": "x"}, 3)
    with pytest.raises(ConfigError, match="one index"):
        model.search_from_files("q.json", [], 3)
    for content in ("[1]", "{", '{"q": 3}'):
        (tmp_path / "q.json").write_text(content)
        with pytest.raises(CorpusError, match=r"q\.json"):
            model.search_from_files(str(tmp_path / "q.json"), ["i"], 3)
    with pytest.raises(CorpusError, match=r"none\.json"):
        model.search_from_files(str(tmp_path / "none.json"), ["i"], 3)
