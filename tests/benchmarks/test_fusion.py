"""Sums of rankings, by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import fusion
import numpy as np
import pytest

from lexite import LatentTermEncoder
from lexite.evaluation import evaluate_collections
from lexite.ranking.rankings import Ranking


def ranking(*pairs: tuple[int, float]) -> Ranking:
    return Ranking(np.array([d for d, _ in pairs], np.int64), np.array([s for _, s in pairs], np.float32))


def test_scores_are_brought_to_one_scale_and_summed() -> None:
    found = fusion.fused([ranking((3, 12.0), (1, 9.0), (0, 8.0)), ranking((1, 0.9), (2, 0.4))], 5, 10)
    assert found.documents.tolist() == [1, 3, 0, 2]  # 1: 1/4 + 1; 3: 1; 0 and 2 are last in theirs
    assert found.scores.tolist() == pytest.approx([1.25, 1.0, 0.0, 0.0])


def test_rankings_of_nothing_of_one_and_of_equals() -> None:
    found = fusion.fused([ranking(), ranking((4, 7.0)), ranking((2, 1.0), (4, 1.0))], 5, 1)
    assert found.documents.tolist() == [4] and found.scores.tolist() == [2.0]


def test_the_systems_alone_are_those_of_lexite_eval(
    tiny_vocabulary: Path, collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["fusion.py", str(collection), "--vocabulary", str(tiny_vocabulary), "--cache", str(tmp_path / "cache")]
    monkeypatch.setattr(sys, "argv", [*words, "--json", str(tmp_path / "found.json")])
    fusion.main()
    found = json.loads((tmp_path / "found.json").read_text())
    report = evaluate_collections(LatentTermEncoder.from_pretrained(tiny_vocabulary), [collection])
    for name, system in (("latent", "latent"), ("dense", "dense"), ("BM25", "bm25")):
        assert found[name]["collections"] == {"tiny": pytest.approx(report.collections["tiny"][system]["nDCG@10"])}
    assert set(found) == {"dense", "BM25", "latent", "latent, words", *(" + ".join(names) for names in fusion.SUMS)}
