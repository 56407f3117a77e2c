"""The benchmark of the cascade, and that of weights of words."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cascade
import numpy as np
import pytest
import words_weight

from lexite import Document, LatentTermEncoder
from lexite.corpus.passages import PassageConfig
from lexite.evaluation import evaluate_collections
from lexite.scoring.words import LiteralConfig
from lexite.search.strategies import Cascade


@pytest.mark.slow
def test_quality_is_that_of_lexite_eval(
    tiny_vocabulary: Path, collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["cascade.py", str(collection), "--vocabulary", str(tiny_vocabulary), "--json", str(tmp_path / "found.json")]
    monkeypatch.setattr(sys, "argv", words)
    cascade.main()
    found = json.loads((tmp_path / "found.json").read_text())["collections"]["tiny"]
    report = evaluate_collections(
        LatentTermEncoder.from_pretrained(tiny_vocabulary),
        [collection],
        literal=LiteralConfig(),
        passages=PassageConfig(),
        chains={"cascade": [Cascade()]},
        static=True,
        baselines=[],
    ).collections["tiny"]
    for name, system in (("model", "latent+words"), ("static", "static+words"), ("cascade", "latent+words > cascade")):
        assert found[name] == pytest.approx(report[system]["nDCG@10"], abs=1e-4)


def test_a_threshold_for_each_collection_comes_from_the_others() -> None:
    values = {"static, own weight": [0.0, 0.0], "model, own weight": [1.0, 1.0], "model": [0.5, 0.5]}
    rows = {name: {"queries": {"sureness": sure, **values}} for name, sure in (("a", [1.0, 2.0]), ("b", [1.5, 1.5]))}
    found = cascade.left_out(rows, 0.5)
    assert found["a"] == {"threshold": 1.5, "difference": 0.0, "own": -0.5, "share": 0.5}
    assert found["b"] == {"threshold": 2.0, "difference": 0.5, "own": 0.0, "share": 0.0}
    assert found["mean"] == {"difference": 0.25, "own": -0.25, "share": 0.25}


def test_thresholds_of_the_curve_come_from_the_collections_that_choose() -> None:
    values = {"static, own weight": [0.0, 1.0], "model, own weight": [1.0, 1.0], "model": [0.5, 0.5]}
    sureness = {"cisi": [1.0, 2.0], "npl": [1.5, 2.5]}  # cisi chooses
    found = cascade.curve({name: {"queries": {"sureness": sure, **values}} for name, sure in sureness.items()})
    half = found["0.5"]
    assert half["threshold"] == 2.0
    assert half["chosen"] == {"share": 0.5, "difference": 0.5, "own": 0.0}
    assert half["confirmed"] == {"share": 0.5, "difference": 0.5, "own": 0.0}
    assert found["1.0"]["threshold"] == 1.0 and found["1.0"]["all"] == {"share": 1.0, "difference": 0.0, "own": -0.5}
    assert found["0.0"]["all"] == {"share": 0.0, "difference": 0.5, "own": 0.0}


def test_choices_are_worth_what_their_weights_bring_over_the_default() -> None:
    judged = {
        "0.0": 0.1,
        "0.5": 0.2,
        "1.0": 0.3,
        "1.5": 0.3,
        "2.0": 0.6,
        "2.5": 0.3,
        "3.25": 0.4,
        "4.0": 0.1,
        "5.0": 0.1,
        "6.5": 0.1,
    }
    rows = {
        name: {
            "nDCG@10": judged,
            "in": {0: {"weight": given, "cautious": 3.25}},
            "removed": {0: {"weight": 2.0, "cautious": 2.0}},
        }
        for name, given in (("cisi", 1.0), ("npl", 0.0))
    }
    found = words_weight.worth_of_choices(rows)
    assert found["best"]["mean"] == found["removed, seed 0"]["mean"] == pytest.approx(0.2)
    assert found["fixed 3.25"]["mean"] == 0.0
    assert found["in, seed 0, cautious"]["mean"] == 0.0
    expected = {"mean": -0.2, "chosen": -0.1, "confirmed": -0.3, "least": -0.3, "most": -0.1}
    assert found["in, seed 0"] == pytest.approx(expected)


def test_a_sentence_is_drawn_and_its_document_loses_it() -> None:
    document = Document("d", "One two three. The cow gives us milk and meat. A bird eats all the bread.")
    sentence, rest = words_weight.drawn_from(document, np.random.default_rng(0)) or ("", document)
    assert sentence in document.text and sentence not in rest.text and rest.id == "d"
    assert words_weight.drawn_from(Document("e", "Too short."), np.random.default_rng(0)) is None


def test_the_stand_in_asks_summaries_for_the_rest(tmp_path: Path) -> None:
    words_weight.python_docs(tmp_path, n_queries=20, seed=1)
    read = [
        [json.loads(line) for line in (tmp_path / f"{name}.jsonl").open(encoding="utf-8")] for name in ("corpus", "queries")
    ]
    texts = {record["_id"]: record["text"] for record in read[0]}
    assert len(read[1]) == 20
    assert all(query["text"] not in texts["d:" + query["_id"][2:]] for query in read[1])
    assert len((tmp_path / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()) == 21
