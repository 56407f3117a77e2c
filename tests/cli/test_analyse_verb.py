"""``lexite analyse`` on a small index: each analysis runs, prints, draws, and refuses what has no effect."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lexite.cli import main

ANIMALS, CODE = "cat dog bird fish horse cow milk meat".split(), "python module class function json parse string error".split()


@pytest.fixture(scope="module")
def index(tiny_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("analysed")
    generator = np.random.default_rng(0)
    records = [
        {"_id": f"d{i}", "text": " ".join(generator.choice(ANIMALS if i % 2 else CODE, 6)), "kind": "ab"[i % 2], "n": i}
        for i in range(60)
    ]
    (folder / "texts.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    words = ["-o", str(folder / "index"), "--vocabulary", str(tiny_vocabulary), "--fields", "all", "--no-literal"]
    assert main(["-q", "index", str(folder / "texts.jsonl"), *words]) == 0
    return folder / "index"


def found(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, object]:
    capsys.readouterr()
    assert main(["-q", "analyse", *map(str, words), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert isinstance(values, dict)
    return values


def test_filters_of_one_index_are_compared(index: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("matplotlib")
    alone = found(capsys, "differences", index, "--where", "kind = 'a'")
    both = found(capsys, "differences", index, "--where", "kind = 'a'", "--against", "kind = 'b'")
    assert alone["sizes"] == both["sizes"] == [30, 30] and alone["over"] == both["over"] and alone["n_over"]
    two = found(capsys, "differences", index, index)
    assert two["n_over"] == two["n_under"] == 0
    words = ["--where", "kind = 'a'", "--plot", str(tmp_path / "drawn")]
    assert main(["-q", "analyse", "differences", str(index), *words]) == 0
    assert (tmp_path / "drawn.png").stat().st_size > 1000 and (tmp_path / "drawn.svg").exists()


def test_what_goes_with_concepts_and_fields_is_shown(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow")
    assert found(capsys, "correlations", index)["n_documents"] == 60
    fields = found(capsys, "correlations", index, "--field", "kind")
    assert fields["values"] == {"a": 30, "b": 30} and fields["n_found"]
    assert main(["-q", "analyse", "correlations", str(index), "--field", "kind"]) == 0
    assert "go with a value of kind" in capsys.readouterr().out


def test_clusters_are_compared_with_a_field(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("pyarrow")
    values = found(capsys, "clusters", index, "--clusters", 2, "--truth", "kind")
    assert values["adjusted_rand"] == pytest.approx(1.0, abs=0.2) and len(values["assigned"]) == 60  # type: ignore[arg-type]


def test_documents_with_a_property_are_found(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    examples = found(capsys, "properties", index, "--positive", "d1,d3,d5,d7", "--negative", "d0, d2, d4, d6", "--most", 5)
    places = [each["document"]["id"] for each in examples["documents"]]  # type: ignore[attr-defined]
    assert len(places) == 5 and all(int(place[1:]) % 2 for place in places)
    sentence = found(capsys, "properties", index, "--sentence", "the dog drank milk", "--most", 3)
    assert sentence["auc"] is None and len(sentence["documents"]) == 3  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["clusters", "--field", "kind"], "--field has no effect on clusters"),
        (["correlations", "--clusters", "3"], "--clusters has no effect on correlations"),
        (["correlations", "--field", "nothing"], "no field 'nothing'"),
        (["differences"], "Differences need two indexes, or --where"),
        (["properties"], "give one of them"),
        (["properties", "--sentence", "x", "--negative", "d1"], "--negative goes with --positive"),
        (["properties", "--positive", "d1,d3,none"], "No document 'none'"),
        (["clusters", "--plot", "x"], "give --map beside --plot"),
    ],
)
def test_wrong_usage_is_explained(index: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    of_the_data = message.startswith(("no field", "No document"))
    assert main(["-q", "analyse", words[0], str(index), *words[1:]]) == (1 if of_the_data else 2)
    assert message in capsys.readouterr().err
