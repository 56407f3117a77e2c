"""The parts of the table are those of a plain evaluation with the same settings."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tables import ALL, ROWS, SCORING, STEPS, main

from lexite import LatentTermEncoder
from lexite.evaluation import evaluate_collections

TABLE = "| | 2019 | 2018 |\n|---|---|---|\n"


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    folder = tmp_path / "reports"
    (folder / "qrels").mkdir(parents=True)
    texts = [f"Costs:\n\n{TABLE}| word{n} rent | {n},000 | ({n}) |\n| heat | 1 | 2 |" for n in range(6)]
    lines = [json.dumps({"_id": f"d{n}", "text": text}) for n, text in enumerate(texts)]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    queries = [json.dumps({"_id": f"q{n}", "text": f"word{n} rent of {n}000"}) for n in range(6)]
    (folder / "queries.jsonl").write_text("\n".join(queries))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(f"q{n}\td{n}\t1\n" for n in range(6)))
    return folder


def test_the_last_part_is_what_evaluation_measures(
    reports: Path, tiny_vocabulary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tables.json"
    arguments = [str(reports), "--vocabulary", str(tiny_vocabulary), "--cache", str(tmp_path / "kept"), "--json", str(out)]
    monkeypatch.setattr(sys, "argv", ["tables.py", *arguments])
    main()
    assert "+ rows of tables" in capsys.readouterr().out
    found = json.loads(out.read_text())
    assert list(found) == [step[0] for step in STEPS]
    encoder = LatentTermEncoder.from_pretrained(tiny_vocabulary)
    report = evaluate_collections(encoder, [reports], baselines=[], scoring=SCORING, literal=ALL, passages=ROWS)
    row = report.collections["reports"]["latent+words"]
    assert found["+ scoring"]["all"] == pytest.approx(row["nDCG@10"])
    assert found["+ scoring"]["postings"] == pytest.approx(row["postings_per_document"])
