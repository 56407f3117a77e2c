from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter

import numpy as np
import pytest

from lexite.errors import ConfigError, CorpusError, LexiteError, MissingExtraError, StorageError
from lexite.evaluation import COLUMNS, evaluate_collections, evaluate_run
from lexite.terms import BM25Config, apply_transform


def ranked(path, query):
    """Document ids of a query in a TREC run, in the order of its ranks."""
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    return [row[2] for row in rows if row[0] == query]


def by_score(scores, ids, query):
    """Ids by falling score, ties in document order, without what scores nothing and without the query itself."""
    order = sorted((n for n in range(len(ids)) if scores[n] is not None), key=lambda n: (-scores[n], n))
    return [ids[n] for n in order if ids[n] != query]


def bm25_by_hand(frequencies, query, k1=1.5, b=0.75):
    """Lucene's BM25 (without the constant factor k1 + 1) over mappings term -> weight; None where no term matches."""
    n, lengths = len(frequencies), [sum(document.values()) for document in frequencies]
    average = sum(lengths) / n
    scores = []
    for document, length in zip(frequencies, lengths, strict=True):
        shared = [term for term in query if document.get(term, 0) > 0]
        total = 0.0
        for term in shared:
            df = sum(1 for other in frequencies if other.get(term, 0) > 0)
            idf = math.log(1 + (n - df + 0.5) / (df + 0.5))
            total += query[term] * idf * document[term] / (document[term] + k1 * (1 - b + b * length / average))
        scores.append(total if shared else None)
    return scores


@pytest.fixture
def corpus(pets):
    import gzip

    with gzip.open(pets / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        return {row["_id"]: row["text"] for row in map(json.loads, file)}


@pytest.fixture
def queries(pets):
    return {row["_id"]: row["text"] for row in map(json.loads, (pets / "queries.jsonl").read_text().splitlines())}


def test_the_json_is_the_one_that_other_tools_read(encoder, pets, make_collection):
    second = make_collection("more", {"a": "cats purr", "b": "dogs bark", "q": "fish swim"}, {"q": "cats"}, {"q": {"a": 1}})
    report = evaluate_collections(encoder, [pets, second]).to_json()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["vocabulary"] == encoder.name
    assert set(report["collections"]) == {"pets", "more"}
    for systems in [*report["collections"].values(), report["mean"]]:
        assert list(systems) == ["latent", "dense", "bm25"]
        for row in systems.values():
            assert tuple(row) == COLUMNS
            assert all(isinstance(value, float) for value in row.values())
    for column in COLUMNS:
        values = [report["collections"][name]["latent"][column] for name in ("pets", "more")]
        assert report["mean"]["latent"][column] == pytest.approx(np.mean(values))
    assert set(report["significance"]["mean"]) == {"dense", "bm25"}
    assert report["significance"]["collections"]["pets"]["bm25"]["n_queries"] == 3
    assert report["settings"]["scoring"]["k1"] == encoder.scoring.k1


def test_dense_is_cosine_over_everything(encoder, backbone, pets, corpus, queries, tmp_path):
    report = evaluate_collections(encoder, [pets], baselines=["dense"], runs_dir=tmp_path / "runs")
    ids, documents = list(corpus), backbone.dense(list(corpus.values()), "document")
    for query in ("q1", "q2", "q9"):
        scores = (documents @ backbone.dense([queries[query]], "query")[0]).tolist()
        assert ranked(tmp_path / "runs" / "pets.dense.run", query) == by_score(scores, ids, query)
    assert report.collections["pets"]["dense"]["bytes_per_document"] == 4 * 16
    assert report.collections["pets"]["dense"]["postings_per_document"] == 0


def test_bm25_is_lucenes_formula_over_words(encoder, pets, corpus, queries, tmp_path):
    evaluate_collections(encoder, [pets], baselines=["bm25"], runs_dir=tmp_path / "runs")
    stop_words = {"near"} if "near" in _stop_words() else set()
    words = {id: Counter(w for w in re.findall(r"\w\w+", text) if w not in stop_words) for id, text in corpus.items()}
    for query in ("q1", "q2", "q9"):
        weights = Counter(w for w in re.findall(r"\w\w+", queries[query]) if w not in stop_words)
        expected = by_score(bm25_by_hand(list(words.values()), weights), list(corpus), query)
        assert ranked(tmp_path / "runs" / "pets.bm25.run", query) == expected


def _stop_words():
    from bm25s.stopwords import STOPWORDS_EN

    return STOPWORDS_EN


def rows_of(matrix):
    return [
        dict(zip(matrix.indices[a:b].tolist(), matrix.data[a:b].tolist(), strict=True))
        for a, b in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)
    ]


def test_latent_is_bm25_over_the_encoders_weights(encoder, pets, corpus, queries, tmp_path):
    scoring = BM25Config(k1=2.0, b=0.5, idf_power=1.0)
    report = evaluate_collections(encoder, [pets], baselines=[], scoring=scoring, runs_dir=tmp_path, k_documents=4, k_queries=2)
    documents = apply_transform(encoder.encode_documents(corpus.values(), k=4), encoder.scoring.document_transform)
    judged = ["q1", "q2", "q9"]
    weights = encoder.encode_queries([queries[query] for query in judged], k=2).to_csr()
    weights = apply_transform(weights, encoder.scoring.query_transform)
    for query, row in zip(judged, rows_of(weights), strict=True):
        expected = by_score(bm25_by_hand(rows_of(documents), row, k1=2.0, b=0.5), list(corpus), query)
        assert ranked(tmp_path / "pets.latent.run", query) == expected
    found = report.collections["pets"]["latent"]
    assert found["postings_per_document"] == documents.nnz / len(corpus)
    assert found["terms_per_query"] == weights.nnz / 3
    assert found["bytes_per_document"] > found["postings_per_document"]  # an impact for each, and the directory


def test_the_numbers_are_those_of_the_written_runs(encoder, pets, tmp_path):
    ir_measures = pytest.importorskip("ir_measures")
    report = evaluate_collections(encoder, [pets], runs_dir=tmp_path)
    qrels = list(ir_measures.read_trec_qrels(str(tmp_path / "pets.qrels")))
    assert len(qrels) == 5
    for system, row in report.collections["pets"].items():
        run = list(ir_measures.read_trec_run(str(tmp_path / f"pets.{system}.run")))
        measured = ir_measures.calc_aggregate([ir_measures.nDCG @ 10, ir_measures.R @ 100], qrels, run)
        assert {str(measure): value for measure, value in measured.items()} == pytest.approx(
            {"nDCG@10": row["nDCG@10"], "R@100": row["R@100"]}
        )


def test_ids_with_blanks_survive_the_trec_form(encoder, make_collection, tmp_path):
    path = make_collection("blank", {"Olinda Posso": "cats purr", "b": "dogs"}, {"q 1": "cats"}, {"q 1": {"Olinda Posso": 1}})
    report = evaluate_collections(encoder, [path], runs_dir=tmp_path)
    assert report.collections["blank"]["bm25"]["MRR@10"] == 1.0
    lines = (tmp_path / "blank.bm25.run").read_text(encoding="utf-8").splitlines()
    assert lines[0].split()[:4] == ["q%201", "Q0", "Olinda%20Posso", "1"]
    assert (tmp_path / "blank.qrels").read_text(encoding="utf-8") == "q%201 0 Olinda%20Posso 1\n"


def test_the_document_of_the_query_itself_is_never_found(encoder, pets, tmp_path):
    report = evaluate_collections(encoder, [pets], runs_dir=tmp_path)
    for system in ("latent", "dense", "bm25"):
        assert "q9" not in ranked(tmp_path / f"pets.{system}.run", "q9")
        assert report.per_query["pets"][system]["R@100"]["q9"] <= 0.5  # it is judged relevant, and dropped


def test_more_documents_than_top_k_and_ties(encoder, make_collection, tmp_path):
    documents = {f"d{n:03}": "cats purr" if n % 2 else "dogs bark" for n in range(260)}
    path = make_collection("many", documents, {"d001": "cats"}, {"d001": {"d003": 1, "d255": 1}})
    report = evaluate_collections(encoder, [path], runs_dir=tmp_path)
    cats = [id for id, text in documents.items() if text == "cats purr" and id != "d001"]
    for system in ("dense", "bm25", "latent"):
        found = ranked(tmp_path / f"many.{system}.run", "d001")
        assert found == cats[:100]
        assert report.collections["many"][system]["R@100"] == 0.5
        assert report.collections["many"][system]["MRR@10"] == 1.0


def test_a_query_that_finds_nothing_counts_as_nothing(encoder, make_collection):
    queries = {"q1": "cats", "q2": "zebras"}
    path = make_collection("few", {"a": "cats purr", "b": "dogs bark"}, queries, {"q1": {"a": 1}, "q2": {"b": 1}})
    report = evaluate_collections(encoder, [path], baselines=["bm25"])
    assert report.per_query["few"]["bm25"]["nDCG@10"] == {"q1": 1.0, "q2": 0.0}
    assert report.collections["few"]["bm25"]["nDCG@10"] == 0.5


def test_a_corpus_of_stop_words_gives_bm25_nothing(encoder, make_collection):
    path = make_collection("stop", {"a": "the of", "b": "and is"}, {"q": "the cat"}, {"q": {"a": 1}})
    row = evaluate_collections(encoder, [path], baselines=["bm25"]).collections["stop"]["bm25"]
    assert row["nDCG@10"] == row["postings_per_document"] == 0.0
    assert row["terms_per_query"] == 1.0


def test_late_interaction_is_scored_by_maxsim(late_encoder, pets, corpus, queries, tmp_path):
    report = evaluate_collections(late_encoder, [pets], baselines=["dense"], runs_dir=tmp_path, cache=tmp_path / "cache")
    scores = late_encoder.backbone.dense_scores([queries["q1"]], list(corpus.values()))[0].tolist()
    assert ranked(tmp_path / "pets.dense.run", "q1") == by_score(scores, list(corpus), "q1")
    assert report.to_json()["mean"]["dense"]["bytes_per_document"] is None
    assert "MaxSim" not in str(report.table().title)


def test_measures_agree_with_a_run_of_ones_own(encoder, pets, tmp_path):
    report = evaluate_collections(encoder, [pets], runs_dir=tmp_path)
    run = {q: {d: -float(n) for n, d in enumerate(ranked(tmp_path / "pets.dense.run", q))} for q in ("q1", "q2", "q9")}
    qrels = {"q1": {"d4": 2, "d3": 1}, "q2": {"d2": 1}, "q9": {"q9": 1, "d2": 1}}
    assert evaluate_run(qrels, run).mean == pytest.approx(
        {measure: report.collections["pets"]["dense"][measure] for measure in ("nDCG@10", "R@100", "MRR@10")}
    )


# What goes wrong


def test_queries_without_a_query(encoder, pets):
    (pets / "queries.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(CorpusError, match="holds no queries"):
        evaluate_collections(encoder, [pets])


def test_judgements_of_unknown_documents(encoder, pets, backbone):
    with open(pets / "qrels" / "test.tsv", "a", encoding="utf-8") as file:
        file.write("q1\tnowhere\t1\n")
    with pytest.raises(CorpusError, match=r"line 7.*'nowhere'"):
        evaluate_collections(encoder, [pets])
    assert backbone.n_encoded == backbone.n_dense == 0


def test_judgements_of_unknown_queries(encoder, pets):
    with open(pets / "qrels" / "test.tsv", "a", encoding="utf-8") as file:
        file.write("q77\td1\t1\n")
    with pytest.raises(CorpusError, match="q77"):
        evaluate_collections(encoder, [pets])


def test_the_last_collection_is_checked_before_the_first_is_run(encoder, pets, make_collection, backbone):
    broken = make_collection("broken", {"a": "cats"}, {"q": "cats"}, {"q": {"b": 1}})
    with pytest.raises(CorpusError, match="'b'"):
        evaluate_collections(encoder, [pets, broken])
    assert backbone.n_encoded == 0


@pytest.mark.parametrize(
    "paths, options, message",
    [
        (["nowhere"], {}, "nowhere does not exist"),
        ([], {}, "at least one folder"),
        (["pets", "pets"], {}, "called 'pets'"),
        (["pets"], {"baselines": ["splade"]}, "'splade' is not a baseline. Choose among dense, bm25"),
        (["pets"], {"top_k": 10}, "top_k is 10"),
        (["pets"], {"split": "dev"}, "no qrels/dev.tsv"),
        (["pets"], {"k_documents": 1000}, "k is 1000"),
        (["pets"], {"k_queries": 0}, "k is 0"),
    ],
)
def test_wrong_use_is_told_before_any_work(encoder, pets, backbone, paths, options, message):
    with pytest.raises(LexiteError, match=message):
        evaluate_collections(encoder, [pets.parent / path for path in paths], **options)
    assert backbone.n_encoded == 0


def test_a_string_is_not_a_list_of_baselines(encoder, pets):
    with pytest.raises(ConfigError, match="is not a baseline"):
        evaluate_collections(encoder, [pets], baselines="dense")


@pytest.mark.parametrize("package, missing", [("bm25s", "bm25s"), ("ir_measures", "ir-measures")])
def test_a_missing_extra_is_told_before_any_work(encoder, pets, backbone, monkeypatch, package, missing):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"'{missing}'.*lexite\[eval\]"):
        evaluate_collections(encoder, [pets])
    assert backbone.n_encoded == 0


def test_runs_that_cannot_be_written(encoder, pets, backbone, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StorageError, match="file"):
        evaluate_collections(encoder, [pets], runs_dir=tmp_path / "file" / "runs")
    assert backbone.n_encoded == 0


def test_a_corpus_that_changes_under_way(encoder, pets, corpus, backbone):
    import gzip

    class Growing(type(backbone)):
        def encode(self, texts, kind):
            with gzip.open(pets / "corpus.jsonl.gz", "wt", encoding="utf-8") as file:
                file.writelines(json.dumps({"_id": id, "text": text}) + "\n" for id, text in list(corpus.items())[:3])
            return super().encode(texts, kind)

    encoder = encoder.replaced(backbone=Growing())
    with pytest.raises(CorpusError, match="changed while it was evaluated"):
        evaluate_collections(encoder, [pets])
