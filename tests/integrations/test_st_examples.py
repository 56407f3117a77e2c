"""The examples run, on a tiny model, and do what they say."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from lexite.backbone.locate import default_model_folder
from lexite.integrations.sentence_transformers import LatentTermsSparseEncoder, from_sentence_transformers
from lexite.terms import apply_transform

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def run(monkeypatch: pytest.MonkeyPatch, name: str, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


@pytest.fixture
def judged(collection: Path, tmp_path: Path) -> Path:
    """The tiny collection with training judgements beside those for testing, and documents enough for negatives."""
    folder = tmp_path / "judged"
    shutil.copytree(collection, folder)
    with (folder / "corpus.jsonl").open("a", encoding="utf-8") as file:
        for number in range(60):
            file.write(json.dumps({"_id": f"more{number}", "text": f"the cow {number} gives milk to the cat"}) + "\n")
    shutil.copy(folder / "qrels" / "test.tsv", folder / "qrels" / "train.tsv")
    return folder


@pytest.mark.slow
def test_a_dense_model_becomes_a_bm25_encoder(
    tiny_model: Path, judged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "encoder"
    words = ("--model", tiny_model, "--latents", 64, "--k", 4, "--tokens", 4000, "--tokens-per-step", 200)
    run(monkeypatch, "dense_to_bm25.py", judged / "corpus.jsonl", output, *words, "--collection", judged)
    assert "nDCG@10 on judged: 0." in capsys.readouterr().out
    model = LatentTermsSparseEncoder(str(output), device="cpu")
    assert model.encode_document(["milk of the cow"]).shape == (1, 64)
    assert model.token_encoder.k == 4


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--backbone",)])
def test_fine_tuning_raises_the_ranking_of_what_it_was_shown(
    flags: tuple[str, ...],
    tiny_vocabulary: Path,
    judged: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "tuned"
    words = ("--vocabulary", tiny_vocabulary, "--epochs", 30, "--batch-size", 3, "--learning-rate", "5e-3", *flags)
    run(monkeypatch, "fine_tune_pairs.py", judged, output, *words)
    printed = capsys.readouterr().out
    before, after = (float(printed.split(f"{word}: nDCG@10 ")[1].split()[0]) for word in ("Before", "After"))
    assert after > before
    tuned = LatentTermsSparseEncoder(str(output), device="cpu")
    dense = {"dense_folder": tmp_path / "dense"} if flags else {}
    encoder = from_sentence_transformers(tuned, precision="fp32", **dense)
    terms = apply_transform(encoder.encode_documents(["milk of the cow"]), encoder.scoring.document_transform)
    assert terms.toarray() == pytest.approx(tuned.encode_document(["milk of the cow"]).to_dense().numpy(), abs=1e-4)


@pytest.mark.slow
def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    dense = default_model_folder()
    if dense is None:
        pytest.skip("the packaged model is not installed")
    page = (ROOT / "docs" / "sentence-transformers.md").read_text(encoding="utf-8")
    page = page.replace("sentence-transformers/all-MiniLM-L6-v2", str(dense))  # from the package instead of the hub
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        exec(block, names)
    printed = capsys.readouterr().out
    scores = [float(number) for number in re.findall(r"\d+\.\d+", printed.split("]")[0])]
    assert len(scores) == 3 and scores[1] == max(scores), "the bread is first"
    assert names["encoder"].label(9) == names["again"].extras.vocabulary.label(9)
    assert (tmp_path / "my-vocabulary" / "README.md").exists() and names["model"].token_encoder.k == 2
