"""``lexite steer``: vectors from the command line, and what is said where there can be none."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from lexite import Document, Searcher
from lexite.corpus.preferences import read_preferences
from lexite.index import BM25Index, VocabularyInfo
from lexite.search.preferences import learn_from_preferences
from lexite.search.steering_vector import SteeringVector
from lexite.search.strategies import Steer

PAIRS: list[dict[str, Any]] = [
    {"query": "read the text", "preferred": "d6", "rejected": ["d3", "d4"]},
    {"query": "the clock and the file", "preferred": ["d6"], "rejected": "d3"},
]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, PAIRS)))
    return path


def test_a_vector_is_learned_and_used(lexite, tiny_index: Path, pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "v.json"
    found = lexite("steer", tiny_index, pairs, "-o", out, "--sparsity", "0.1", "--json").json
    searcher = Searcher.open(tiny_index)
    learned = learn_from_preferences(searcher, read_preferences(pairs), 0.1)
    assert found == {"output": str(out), "sparsity": 0.1, **learned.to_json(searcher.label)}
    assert (found["queries"], found["pairs"]) == (2, 3) and found["terms"][0]["label"]
    assert found["in_order_before"] < found["in_order_after"] <= 3
    assert SteeringVector.load(out) == learned.vector and found["boosted"] == learned.vector.n_boosted > 0
    hits = json.loads(lexite("search", tiny_index, "read", "--then", "steer", "--steer-vector", out, "--json").out)["hits"]
    assert [hit["id"] for hit in hits] == [hit.id for hit in searcher.search("read", then=[Steer(vector=str(out))])]


def test_people_see_a_table_and_how_to_use_it(
    lexite, tiny_index: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lexite.cli.steer.SHOWN", 1)
    out = tmp_path / "v w.json"
    shown = lexite("steer", tiny_index, pairs, "-o", out, "--sparsity", "0.05", "--static").out
    vector = SteeringVector.load(out)
    latent, change = max(vector.changes.items(), key=lambda pair: max(pair[1]))
    assert f"{vector.n_boosted} boosted, {vector.n_muted} muted" in shown and f"and {len(vector.changes) - 1} more" in shown
    assert f"{max(change):.3f}" in shown and Searcher.open(tiny_index).label(latent).split(",")[0] in shown
    assert "Of 3 pairs of 2 queries, the preferred document scores higher in" in shown
    assert f"lexite search {tiny_index} --static --then steer --steer-vector '{out}'" in shown


def test_pairs_come_from_standard_input(lexite, tiny_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(PAIRS[0]).encode())))
    assert lexite("steer", tiny_index, "-", "-o", tmp_path / "v.json", "--json").json["pairs"] == 2


def test_bad_lines_are_named_and_left_out_where_that_is_wanted(lexite, tiny_index: Path, pairs: Path, tmp_path: Path) -> None:
    pairs.write_text(pairs.read_text() + '\n{"query": "sea", "preferred": "d1", "rejected": "d77"}')
    out = tmp_path / "v.json"
    told = lexite("steer", tiny_index, pairs, "-o", out).error
    assert "pairs.jsonl, line 3: the field 'rejected' names the document 'd77', which the index does not have" in told
    assert not out.exists()
    done = lexite("steer", tiny_index, pairs, "-o", out, "--skip-bad", "--json")
    assert done.json["pairs"] == 3 and done.json["skipped"] == 1 and "1 was skipped" in done.err


def test_nothing_is_overwritten_by_accident(lexite, tiny_index: Path, pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "v.json"
    assert lexite("steer", tiny_index, pairs, "-o", out).status == 0
    before = out.read_bytes()
    assert f"{out} exists already. Choose another output file, or replace it with --overwrite." == (
        lexite("steer", tiny_index, pairs, "-o", out, "--sparsity", "0.5").error
    )
    assert out.read_bytes() == before
    assert lexite("steer", tiny_index, pairs, "-o", out, "--sparsity", "0.5", "--overwrite").status == 0
    assert out.read_bytes() != before
    own = pairs.read_bytes()
    assert "holds no steering vector" in lexite("steer", tiny_index, pairs, "-o", pairs, "--overwrite").error
    assert pairs.read_bytes() == own
    assert "is a folder. Name a file" in lexite("steer", tiny_index, pairs, "-o", tmp_path).error
    assert "is a file, so" in lexite("steer", tiny_index, pairs, "-o", pairs / "v.json").error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "No output was named. Give one with -o."),
        (["-o", "-"], "it cannot go to standard output. Name a file with -o"),
        (["-o", "v.json", "--sparsity", "0"], "--sparsity is 0, but must be above 0"),
        (["-o", "v.json", "--static", "--precision", "fp32"], "--static needs no model, so --precision has no effect"),
    ],
)
def test_wrong_usage_is_named(lexite, tiny_index: Path, pairs: Path, words: list[str], message: str) -> None:
    assert message in lexite("steer", tiny_index, pairs, *words).usage


def test_what_cannot_be_learned_is_said(
    lexite, tiny_index: Path, pairs: Path, own_index: Path, other_vocabulary: Path, tmp_path: Path
) -> None:
    out = ["-o", tmp_path / "v.json"]
    assert (
        "at the sparsity 1, so the vector would be empty" in lexite("steer", tiny_index, pairs, *out, "--sparsity", "1").error
    )
    assert "does not exist" in lexite("steer", tiny_index, tmp_path / "none.jsonl", *out).error
    assert "holds no preferences" in lexite("steer", tiny_index, own_index, *out).error
    assert "vocabulary" in lexite("steer", tiny_index, pairs, *out, "--vocabulary", other_vocabulary).error
    assert "Only 'lexite load' and 'lexite search' take the address" in (
        lexite("steer", "opensearch://localhost:9200/notes", pairs, *out).error
    )
    assert not (tmp_path / "v.json").exists()


def test_an_index_that_nothing_encodes_queries_for_is_named(lexite, pairs: Path, tmp_path: Path) -> None:
    path = tmp_path / "bare"
    with BM25Index.create(path, VocabularyInfo("f" * 64, "", 6)) as writer:
        documents = [Document(f"d{n}", "text") for n in range(1, 7)]
        writer.add(documents, csr_array(np.eye(6, dtype=np.float32)))
        writer.commit()
    assert (
        "does not say where its vocabulary is. Name it with --vocabulary"
        in lexite("steer", path, pairs, "-o", tmp_path / "v.json").error
    )
    assert "static table" in lexite("steer", path, pairs, "-o", tmp_path / "v.json", "--static").error
