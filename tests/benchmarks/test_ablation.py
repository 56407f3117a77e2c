"""What the ablation pools and how it scores, against plain numpy and against the encoder itself."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from ablation import (
    CONTENT,
    CUT,
    LEXITE,
    PROMPT,
    PROMPTS,
    READINGS,
    SPECIAL,
    Codes,
    Product,
    Reading,
    Way,
    defaults,
    ladder,
    main,
    means,
    pull_request,
    rank,
    read_codes,
    reader,
    scorings,
    single_changes,
    token_roles,
    variants,
)
from frontier import CHOSEN_ON, Encoded
from scipy.sparse import csr_array

from lexite import BM25Config, BM25Index, LatentTermEncoder
from lexite.backbone import load_backbone
from lexite.corpus import ReadOptions
from lexite.evaluation import evaluate_collections
from lexite.evaluation.cache import StateCache
from lexite.evaluation.judged import JudgedCollection, open_collections, read_collection
from lexite.terms.config import TermsConfig

READINGS_THAT_FIT = [reading for reading in READINGS.values() if reading.max_length is None]  # in the tiny model's positions
POWERS = {"none": lambda w: w, "sqrt": np.sqrt, "log1p": np.log1p, "pow0.75": lambda w: w**0.75}


def expected_scores(documents: np.ndarray, queries: np.ndarray, scoring: BM25Config | Product) -> np.ndarray:
    """All scores in double precision, by the formulas as they are written in books."""
    df = (documents > 0).sum(axis=0)
    n = len(documents)
    lucene = np.where(df > 0, np.log(1 + (n - df + 0.5) / (df + 0.5)), 0)
    if isinstance(scoring, Product):
        d, q = (POWERS[scoring.transform](side.astype(np.float64)) for side in (documents, queries))
        if scoring.cosine:
            d = d / np.maximum(np.linalg.norm(d, axis=1, keepdims=True), 1e-30)
        return (q * lucene if scoring.idf else q) @ d.T
    d = POWERS[scoring.document_transform](documents.astype(np.float64))
    q = POWERS[scoring.query_transform](queries.astype(np.float64))
    lengths = d.sum(axis=1, keepdims=True)
    saturated = d / (d + scoring.k1 * (1 - scoring.b + scoring.b * lengths / lengths.mean()))
    robertson = np.where(df > 0, np.maximum(0, np.log((n - df + 0.5) / (df + 0.5))), 0)
    idf = {"lucene": lucene, "robertson": robertson}[scoring.idf]
    return (q * np.where(idf > 0, np.maximum(idf, 1e-30) ** scoring.idf_power, 0)) @ saturated.T


@pytest.mark.parametrize("name", scorings())
def test_scores_are_those_of_the_formula(name: str) -> None:
    generator = np.random.default_rng(3)
    documents = np.where(generator.random((40, 15)) < 0.3, generator.gamma(2.0, 3.0, (40, 15)), 0).astype(np.float32)
    documents[7] = 0
    queries = np.where(generator.random((9, 15)) < 0.4, generator.gamma(2.0, 3.0, (9, 15)), 0).astype(np.float32)
    scoring = scorings()[name]
    expected = expected_scores(documents, queries, scoring)
    index = BM25Index.in_memory(csr_array(documents), [str(number) for number in range(40)])
    for row, ranking in zip(expected, rank(index, csr_array(documents), csr_array(queries), scoring, 40), strict=True):
        assert sorted(ranking.documents.tolist()) == np.flatnonzero(row > 1e-9).tolist()
        assert ranking.scores == pytest.approx(row[ranking.documents], rel=1e-4)
        assert np.all(np.diff(ranking.scores) <= 0)


def test_tokens_are_special_prompt_or_content() -> None:
    ids = np.array([101, 7, 8, 9, 102, 101, 102, 101, 7, 8, 100, 102], dtype=np.int32)
    roles = token_roles(ids, np.array([0, 5, 7, 7, 12]), [100, 101, 102], 2)
    s, p, c = SPECIAL, PROMPT, CONTENT
    assert roles.tolist() == [s, p, p, c, s, s, s, s, p, p, s, s]
    assert token_roles(ids, np.array([0, 5, 7, 7, 12]), [100, 101, 102], 0).tolist() == [s, c, c, c, s, s, s, s, c, c, s, s]


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("prompts", [False, True])
def test_pooling_counts_the_tokens_that_the_way_names(special: bool, prompts: bool) -> None:
    values = np.array([[8.0, 1.0], [4.0, 2.0], [2.0, 1.0], [1.0, 0.5], [16.0, 3.0]], dtype=np.float32)
    indices = np.array([[0, 1], [1, 2], [2, 3], [3, 0], [4, 0]], dtype=np.int32)
    roles = np.array([SPECIAL, PROMPT, CONTENT, CONTENT, SPECIAL], dtype=np.uint8)
    codes = Codes(Encoded(values, indices, np.array([0, 3, 3, 5])), roles)
    for k, floor in ((1, 0.0), (2, 0.0), (2, 0.3)):
        terms = dataclasses.replace(LEXITE, k_documents=k, floor_documents=floor, k_queries=1, floor_queries=0.9)
        expected = np.zeros((3, 5))
        for token, text in enumerate((0, 0, 0, 2, 2)):
            if (special or roles[token] != SPECIAL) and (prompts or roles[token] != PROMPT):
                np.add.at(expected[text], indices[token, :k], values[token, :k])
        expected[expected < floor * expected.max(axis=1, keepdims=True)] = 0
        way = Way(Reading(), terms, Product(), pool_special=special, pool_prompts=prompts)
        assert codes.pooled(way, "document", 5).toarray().tolist() == expected.tolist()


def test_the_ladder_leads_from_the_pull_request_to_the_default() -> None:
    steps = [way for _, way in ladder(16)]
    assert steps[0] == pull_request(16) and steps[-1] == defaults()
    assert len(set(steps)) == len(steps)
    first = steps[0]
    assert first.scoring == Product() and first.pool_special and first.pool_prompts and first.reading == CUT
    assert first.terms == TermsConfig(k_documents=16, k_queries=16, floor_documents=0.0, floor_queries=0.0)
    for before, after in zip(steps[:-2], steps[1:-1], strict=True):
        assert sum(getattr(before, f.name) != getattr(after, f.name) for f in dataclasses.fields(Way)) == 1


@pytest.mark.parametrize("start", [defaults(), pull_request(8)])
def test_single_changes_change_one_thing_each(start: Way) -> None:
    changes = dict(single_changes(start))
    assert len(changes) == len(list(single_changes(start)))
    for label, way in changes.items():
        different = {f.name for f in dataclasses.fields(Way) if getattr(start, f.name) != getattr(way, f.name)}
        if label.startswith(("prompts", "special tokens pooled")):  # the states of these tokens are kept besides
            assert different <= {"reading", "pool_prompts" if label.startswith("prompts") else "pool_special"}
        else:
            assert len(different) <= 1, label
        assert way.reading.keep or not way.pool_special, label
    assert not changes["special tokens left out"].pool_special and changes["special tokens pooled"].pool_special
    assert changes["cut at 128 tokens"].reading == Reading("truncate", 128, keep=True)
    assert changes["windows"].reading == Reading(keep=start.reading.keep)
    assert changes["k 4"].terms == dataclasses.replace(start.terms, k_documents=4, k_queries=4)
    assert changes["no floors"].terms.floor_documents == changes["no floors"].terms.floor_queries == 0
    assert changes["no floors"].terms.k_queries == start.terms.k_queries
    assert len(set(scorings().values())) == len(scorings())
    assert len({(v.family, v.label) for v in variants(8)}) == len(variants(8))


@pytest.fixture(scope="module")
def long_texts(collection: Path, tmp_path_factory: pytest.TempPathFactory) -> JudgedCollection:
    """The tiny collection with a document of several windows in it."""
    folder = tmp_path_factory.mktemp("long") / "tiny"
    (folder / "qrels").mkdir(parents=True)
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        (folder / name).write_text((collection / name).read_text(encoding="utf-8"), encoding="utf-8")
    whole = " ".join(json.loads(line)["text"] for line in (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines())
    with open(folder / "corpus.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({"_id": "long", "title": "All", "text": whole}) + "\n")
    return read_collection(open_collections([folder], "test")[0], ReadOptions())


@pytest.mark.parametrize("reading", [*READINGS_THAT_FIT, Reading("truncate", 24, prompts=True, keep=True)])
def test_pooled_rows_are_those_of_a_model_that_reads_so(
    tiny_vocabulary: Path, long_texts: JudgedCollection, reading: Reading, tmp_path: Path
) -> None:
    encoder = LatentTermEncoder.from_pretrained(tiny_vocabulary)
    states = StateCache(tmp_path / "cache", reader(encoder, reading))
    codes = read_codes(encoder, states, reading.prompts, long_texts, "document", 4)
    terms = dataclasses.replace(LEXITE, k_documents=3, floor_documents=0.1)
    for special in (False, reading.keep):
        for prompts in (False, reading.keep):
            config = dataclasses.replace(
                encoder.backbone.config,
                long=reading.long,
                max_length=reading.max_length,
                document_prompt=PROMPTS["document"] if reading.prompts else None,
                special_tokens="keep" if special else "drop",
                prompt_tokens="keep" if prompts else "drop",
            )
            expected = LatentTermEncoder(load_backbone(config), encoder.sae, terms).encode_documents(list(long_texts.texts()))
            way = Way(reading, terms, Product(), pool_special=special, pool_prompts=prompts)
            found = codes.pooled(way, "document", encoder.n_latents)
            np.testing.assert_allclose(found.toarray(), expected.toarray(), rtol=1e-5, atol=1e-6)


def test_means_are_over_both_halves() -> None:
    found = means(dict.fromkeys(CHOSEN_ON, 0.4) | {"npl": 0.1, "medline": 0.3})
    assert found["ndcg"] == pytest.approx((5 * 0.4 + 0.4) / 7)
    assert found["ndcg_chosen_on"] == pytest.approx(0.4) and found["ndcg_rest"] == pytest.approx(0.2)
    assert means({"npl": 0.1})["ndcg_chosen_on"] is None


def test_the_ends_are_what_the_evaluation_gives(
    tiny_vocabulary: Path, collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--vocabulary", str(tiny_vocabulary), "--cache", str(tmp_path / "cache"), "--json", str(tmp_path / "out.json")]
    monkeypatch.setattr(sys, "argv", ["ablation.py", str(collection), "--families", "ladder", *options])
    main()
    results = json.loads((tmp_path / "out.json").read_text())
    [vocabulary] = results["vocabularies"]
    loaded = LatentTermEncoder.from_pretrained(tiny_vocabulary)
    report = evaluate_collections(LatentTermEncoder(loaded.backbone, loaded.sae, LEXITE, BM25Config()), [collection])
    assert [row["label"] for row in vocabulary["rows"]] == [label for label, _ in ladder(4)]
    assert vocabulary["rows"][-1]["collections"] == {"tiny": report.collections["tiny"]["latent"]["nDCG@10"]}
    assert results["dense"]["collections"] == {"tiny": report.collections["tiny"]["dense"]["nDCG@10"]}
    assert vocabulary["fingerprint"] == loaded.fingerprint and vocabulary["k"] == 4
    assert "the pull request's way" in capsys.readouterr().out

    monkeypatch.setattr(sys, "argv", ["ablation.py", str(collection), "--readings", "cut", *options])
    main()
    rows = json.loads((tmp_path / "out.json").read_text())["vocabularies"][0]["rows"]
    assert rows and all(row["way"]["reading"] == dataclasses.asdict(CUT) for row in rows)
