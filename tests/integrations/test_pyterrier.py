"""The transformers for PyTerrier: in its pipelines and experiments, held against the searcher and ir-measures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lexite import Searcher
from lexite.errors import ArgumentError, ConfigError, CorpusError, StorageError
from lexite.terms import LatentTermEncoder
from tiny_collection import DOCUMENTS, QRELS, QUERIES

pt = pytest.importorskip("pyterrier", reason="python-terrier is not installed: pip install 'lexite[pyterrier]'")
import ir_measures  # noqa: E402
import pandas as pd  # noqa: E402

from lexite.integrations.pyterrier import LexiteIndexer, LexiteReranker, LexiteRetriever  # noqa: E402

TOPICS = pd.DataFrame(QUERIES, columns=["qid", "query"])
JUDGED = pd.DataFrame(QRELS, columns=["qid", "docno", "label"])


@pytest.fixture(scope="module")
def encoder(tiny_vocabulary: Path) -> LatentTermEncoder:
    return LatentTermEncoder.from_pretrained(tiny_vocabulary)


@pytest.fixture(scope="module")
def searcher(encoder: LatentTermEncoder, tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    rows = ({"docno": i, "title": title, "text": text, "words": len(text.split())} for i, title, text in DOCUMENTS)
    return LexiteIndexer(tmp_path_factory.mktemp("pt") / "i", vocabulary=encoder, show_progress=False).index(rows)


def backwards(answer: Any) -> Any:
    turned = [[*reversed(hits)] for hits in answer.rankings]
    scored = [[type(hit)(**{**_fields(hit), "score": -hit.score}) for hit in hits] for hits in turned]
    return answer.with_rankings(scored)


def _fields(hit: Any) -> dict[str, Any]:
    return {name: getattr(hit, name) for name in type(hit).__dataclass_fields__}


def test_the_indexer_keeps_titles_texts_and_other_columns(searcher: Searcher) -> None:
    assert len(searcher) == len(DOCUMENTS) and searcher.index.fields == {"words": "integer"}
    stored = searcher.index.get("d1")
    assert stored is not None and (stored.title, stored.text) == DOCUMENTS[0][1:] and stored.fields == {"words": 17}


def test_the_retriever_ranks_as_the_searcher(searcher: Searcher) -> None:
    found = LexiteRetriever(searcher, columns=["title", "words"], num_results=4).transform(TOPICS.assign(kind="x"))
    assert list(found.columns) == ["qid", "query", "kind", "docno", "score", "rank", "title", "words"]
    for (qid, _), hits in zip(QUERIES, searcher.rank([text for _, text in QUERIES], 4), strict=True):
        rows = found[found.qid == qid]
        assert list(rows.docno) == [hit.id for hit in hits] and list(rows["rank"]) == list(range(len(hits)))
        assert list(rows.score) == pytest.approx([hit.score for hit in hits], rel=1e-6)
        assert list(rows.title) == [searcher.index.get(hit.id).title for hit in hits]  # type: ignore[union-attr]


def test_options_and_strategies_reach_the_search(searcher: Searcher) -> None:
    few = LexiteRetriever(searcher, where="words < 15").search("milk of the cow")
    assert set(few.docno) == {i for i, _, text in DOCUMENTS if len(text.split()) < 15}
    plain, turned = LexiteRetriever(searcher), LexiteRetriever(searcher, then=[backwards])
    assert list(turned.search("sort the list").docno) == list(plain.search("sort the list").docno)[::-1]


def test_pipelines_cut_fuse_and_combine(searcher: Searcher) -> None:
    retriever = LexiteRetriever(searcher)
    cut = (retriever % 2).compile()
    assert isinstance(cut, LexiteRetriever) and cut.num_results == 2
    assert retriever.fuse_rank_cutoff(5000) is retriever
    assert cut(TOPICS).equals((retriever % 2)(TOPICS)[list(cut(TOPICS).columns)].reset_index(drop=True))
    doubled = (retriever + retriever)(TOPICS)
    alone = retriever(TOPICS)
    merged = alone.merge(doubled, on=["qid", "docno"])
    assert list(merged.score_y) == pytest.approx(list(2 * merged.score_x))
    assert set(pt.inspect.transformer_outputs(retriever, ["qid", "query"])) >= {"qid", "query", "docno", "score", "rank"}
    assert pt.inspect.indexer_inputs(LexiteIndexer("i")) == [["docno", "text"]]


def test_the_reranker_scores_what_others_found(searcher: Searcher) -> None:
    first = LexiteRetriever(searcher, num_results=3)
    rescored = LexiteReranker(searcher, scoring={"k1": 0.4, "b": 0.1})
    pipeline = first >> rescored
    found = pipeline(TOPICS)
    among = [list(first(TOPICS).query("qid == @qid").docno) for qid, _ in QUERIES]
    wanted = searcher.rank([text for _, text in QUERIES], 3, among=among, scoring={"k1": 0.4, "b": 0.1})
    for (qid, _), hits in zip(QUERIES, wanted, strict=True):
        rows = found[found.qid == qid]
        assert list(rows.docno) == [hit.id for hit in hits]
        assert list(rows.score) == pytest.approx([hit.score for hit in hits], rel=1e-6)


def test_documents_without_a_common_term_come_last(encoder: LatentTermEncoder, tmp_path: Path) -> None:
    terms = {"literal": True, "vocabulary": encoder, "show_progress": False}
    rows = [{"docno": "x", "text": "zebra"}, {"docno": "y", "text": "milk"}, {"docno": "z", "text": "cow"}]
    searcher = LexiteIndexer(tmp_path / "i", **terms).index(rows)
    candidates = pd.DataFrame(
        {"qid": "1", "query": "milk", "docno": ["x", "y", "z"], "score": [3.0, 2, 1], "kind": list("abc")}
    )
    found = LexiteReranker(searcher, columns=["text"])(candidates)
    assert found.docno[0] == "y" and set(found.docno) == {"x", "y", "z"} and list(found["rank"]) == [0, 1, 2]
    assert (found.score.diff().dropna() < 0).all()
    assert dict(zip(found.docno, found.kind, strict=True)) == {"x": "a", "y": "b", "z": "c"}
    assert list(found.text) == [{"x": "zebra", "y": "milk", "z": "cow"}[name] for name in found.docno]


def test_an_experiment_measures_what_ir_measures_does(searcher: Searcher) -> None:
    measures = [ir_measures.nDCG @ 3, ir_measures.RR]
    table = pt.Experiment([LexiteRetriever(searcher), LexiteRetriever(searcher, then=[backwards])], TOPICS, JUDGED, measures)
    run = [ir_measures.ScoredDoc(qid, hit.id, hit.score) for qid, text in QUERIES for hit in searcher.rank(text, 1000)[0]]
    qrels = [ir_measures.Qrel(q, d, g) for q, d, g in QRELS]
    own = ir_measures.calc_aggregate(measures, qrels, run)
    assert [table["nDCG@3"][0], table["RR"][0]] == pytest.approx([own[measure] for measure in measures])
    assert table["RR"][1] < table["RR"][0]


def test_empty_frames_have_the_columns(searcher: Searcher) -> None:
    retriever = LexiteRetriever(searcher, columns=["title"])
    assert list(retriever(TOPICS[:0]).columns) == ["qid", "query", "docno", "score", "rank", "title"]
    nothing = LexiteReranker(searcher)(retriever(TOPICS[:0]))
    assert list(nothing.columns) == ["qid", "query", "docno", "title", "score", "rank"]


def test_what_is_wrong_is_refused(searcher: Searcher, encoder: LatentTermEncoder, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no document 'nowhere'"):
        LexiteReranker(searcher)(pd.DataFrame({"qid": ["1"], "query": ["milk"], "docno": ["nowhere"]}))
    with pytest.raises(pt.validate.InputValidationError):
        LexiteRetriever(searcher)(pd.DataFrame({"qid": ["1"]}))
    with pytest.raises(ArgumentError, match="not a int"):
        LexiteRetriever(3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="static can have no effect"):
        LexiteRetriever(searcher, static=True)
    with pytest.raises(ConfigError, match="num_results is 0"):
        LexiteRetriever(searcher, num_results=0)
    with pytest.raises(ConfigError, match="column 'score'"):
        LexiteReranker(searcher, columns=["score"])
    indexer = LexiteIndexer(tmp_path / "i", vocabulary=encoder, show_progress=False)
    with pytest.raises(CorpusError, match="no document to index"):
        indexer.index([])
    with pytest.raises(CorpusError, match="A document has no 'text'. It has docno, body"):
        indexer.index([{"docno": "1", "body": "x"}])
    assert searcher.path is not None
    with pytest.raises(StorageError):
        LexiteIndexer(searcher.path, vocabulary=encoder).index([{"docno": "1", "text": "x"}])
