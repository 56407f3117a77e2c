"""Sums of rankings of whole systems."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import fusion
import pytest

from lexite import LatentTermEncoder
from lexite.evaluation import evaluate_collections


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
