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
@pytest.mark.parametrize("more", [[], ["--indexes"]], ids=["an index of its own", "a kept index"])
def test_pseudo_feedback_starts_from_the_ranking_of_lexite_eval(
    more: list[str], tiny_vocabulary: Path, collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = tmp_path / "found.json"
    words = [
        str(collection),
        "--vocabulary",
        str(tiny_vocabulary),
        "--json",
        str(found),
        *(more and [*more, str(tmp_path / "i")]),
    ]
    monkeypatch.setattr(sys, "argv", ["feedback.py", *words, "--skip", "explicit", "steering"])
    for _ in range(1 + len(more)):  # the second run opens what the first one kept
        feedback.main()
    results = json.loads(found.read_text())
    assert results and all(name.startswith(("nDCG@10: ", "R@1000: ")) for name in results)
    encoder = LatentTermEncoder.from_pretrained(tiny_vocabulary)
    options = {"literal": LiteralConfig(), "passages": PassageConfig(), "baselines": []}
    report = evaluate_collections(encoder, [collection], **options).collections["tiny"]
    (before,) = {each["before"]["tiny"] for name, each in results.items() if name.startswith("nDCG@10")}
    assert before == pytest.approx(report["latent+words"]["nDCG@10"], abs=1e-4)


def test_a_summary_tells_the_halves_apart() -> None:
    pairs = {
        "cisi": ({"a": 0.1, "b": 0.3}, {"a": 0.2, "b": 0.3}),  # chooses
        "npl": ({"c": 0.5}, {"c": 0.2}),  # confirms
    }
    found = feedback.summary(pairs)
    assert found["before"] == pytest.approx({"cisi": 0.2, "npl": 0.5, "mean": 0.35, "chosen": 0.2, "confirmed": 0.5})
    assert found["difference"] == pytest.approx({"cisi": 0.05, "npl": -0.3})
    assert found["halves"] == pytest.approx({"mean": -0.125, "chosen": 0.05, "confirmed": -0.3})
    assert found["p"]["confirmed"] == 1.0  # one query tells nothing
