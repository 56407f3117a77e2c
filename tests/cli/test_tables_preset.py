"""Presets over texts with tables on the command line."""

from __future__ import annotations

import json
from pathlib import Path

TABLE = "Milk of cows:\n\n| | 2019 | 2018 |\n|---|---|---|\n| Farm | 1,234 | (5) |\n| Dairy | 7 | 6 |"
PLAIN = "A cow gives milk, and the farm sells it."


def test_the_command_line_follows(lexite, tiny_vocabulary: Path, tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, text in {"a": TABLE, "b": TABLE.replace("Farm", "Barn"), "c": PLAIN}.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
    index = tmp_path / "i"
    built = lexite("index", folder, "-o", index, "--vocabulary", tiny_vocabulary, "--preset", "best")
    assert built.status == 0
    by_best, by_tables = (lexite("search", index, "barn 1234", "--preset", name, "--json").json for name in ("best", "tables"))
    assert by_best["hits"] == by_tables["hits"] != []


def test_collections_of_both_kinds_are_measured_apart(lexite, tiny_vocabulary: Path, tmp_path: Path) -> None:
    for name, text in {"plain": PLAIN, "reports": TABLE}.items():
        folder = tmp_path / name
        (folder / "qrels").mkdir(parents=True)
        (folder / "corpus.jsonl").write_text(json.dumps({"_id": "d", "title": "", "text": text}) + "\n", encoding="utf-8")
        (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "milk"}) + "\n", encoding="utf-8")
        (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n", encoding="utf-8")
    words = ("--vocabulary", tiny_vocabulary, "--baselines", "none", "--preset", "best")
    refused = lexite("eval", tmp_path / "plain", tmp_path / "reports", *words)
    assert "Most documents of reports have tables" in refused.usage
    measured = lexite("eval", tmp_path / "reports", *words, "--json", "-").json["collections"]["reports"]
    assert measured["latent+words > best"]["nDCG@10"] == measured["latent+words"]["nDCG@10"] == 1.0
