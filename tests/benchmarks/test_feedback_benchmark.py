"""The benchmark of feedback and steering."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import feedback
import pytest

from lexite import LatentTermEncoder
from lexite.corpus.passages import PassageConfig
from lexite.evaluation import evaluate_collections
from lexite.scoring.words import LiteralConfig


@pytest.mark.slow
def test_pseudo_feedback_starts_from_the_ranking_of_lexite_eval(
    tiny_vocabulary: Path, collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, found = tmp_path / "cache", tmp_path / "found.json"
    words = [str(collection), "--vocabulary", str(tiny_vocabulary), "--cache", str(cache), "--json", str(found)]
    monkeypatch.setattr(sys, "argv", ["feedback.py", *words, "--skip", "explicit", "steering"])
    feedback.main()
    results = json.loads(found.read_text())
    assert set(results) == {"pseudo"} and results["pseudo"]
    encoder = LatentTermEncoder.from_pretrained(tiny_vocabulary)
    options = {"literal": LiteralConfig(), "passages": PassageConfig(), "baselines": []}
    report = evaluate_collections(encoder, [collection], **options).collections["tiny"]
    (before,) = {row["before"] for row in results["pseudo"] if row["measure"] == "nDCG@10"}
    assert before == pytest.approx(report["latent+words"]["nDCG@10"], abs=1e-4)
