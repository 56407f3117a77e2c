from __future__ import annotations

import json
from pathlib import Path

import pytest

from lexite.cli import main

SMALL = """
    --n-latents 32 --k 4 --tokens 2k --epochs 50 --batch-tokens 64 --buffer-tokens 256 --init-tokens 128 --log-tokens 256
""".split()


def test_train_makes_a_vocabulary_that_indexes(lexite, documents: Path, tiny_model: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    words = ["--model", tiny_model, "--overlap", "4", "--precision", "fp32", "--k1", "3", "--name", "small"]
    done = lexite("train", documents, "-o", target, *SMALL, *words)
    assert done.status == 0, done.err
    assert done.out == f"Use it: lexite index DOCUMENTS -o my.lexite --vocabulary {target}\n"
    facts = lexite("info", target, "--verify", "--json").json
    assert (facts["name"], facts["sae"]["n_latents"], facts["scoring"]["k1"]) == ("small", 32, 3.0)
    assert lexite("index", documents, "-o", tmp_path / "i", "--vocabulary", target).status == 0
    assert json.loads(lexite("search", tmp_path / "i", "milk of the cow", "--json").out)["hits"]
    assert "exists already" in lexite("train", documents, "-o", target, *SMALL, *words).error


def test_train_from_a_recipe_with_a_summary(lexite, documents: Path, tiny_model: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    keys = {words[2:]: value for words, value in zip(SMALL[::2], SMALL[1::2], strict=True)}
    keys |= {"sources": f"[{documents}]", "model": str(tiny_model), "overlap": "4", "seed": "3", "precision": "fp32"}
    recipe.write_text("".join(f"{key}: {value}\n" for key, value in keys.items()))
    summary = lexite("train", "--recipe", recipe, "-o", tmp_path / "v", "--tokens", "1k", "--json", "-").json
    assert summary["settings"]["seed"] == 3 and summary["settings"]["tokens"] == 1000
    assert summary["settings"]["sources"] == [str(documents)]


def test_train_goes_on_from_a_vocabulary(lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    begun = lexite("info", tiny_vocabulary, "--json").json
    short = [word for word in SMALL if word not in ("--n-latents", "32", "--k", "4")]
    words = ["--from", tiny_vocabulary, "--k1", "5", "--precision", "fp32", "--json", "-"]
    settings = lexite("train", documents, "-o", tmp_path / "v", *short, *words).json["settings"]
    made = lexite("info", tmp_path / "v", "--json").json
    assert made["sae"] == begun["sae"] and made["terms"] == begun["terms"]
    assert made["scoring"] == {**begun["scoring"], "k1": 5.0} and settings["start"] == str(tiny_vocabulary)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"from: {tiny_vocabulary}\nsae: topk\nk1: 5\nprecision: fp32\n")
    words = ["--recipe", recipe, "--json", "-"]
    assert lexite("train", documents, "-o", tmp_path / "u", *short, *words).json["settings"] == settings
    for option, message in (
        (["--n-latents", "32"], "--n-latents is 32, but "),
        (["--special-tokens", "keep"], "'tiny' was trained on"),
    ):
        refused = lexite("train", documents, "-o", tmp_path / "w", *short, "--from", tiny_vocabulary, *option)
        assert refused.error.startswith(message)


def test_train_says_what_it_does_unless_it_is_told_to_be_quiet(
    lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = [word for word in SMALL if word not in ("--n-latents", "32", "--k", "4")]
    words = ["train", documents, "-o", tmp_path / "v", "--from", tiny_vocabulary, *short, "--precision", "fp32"]
    assert main([*map(str, words)]) == 0
    phases = ["Loading the vocabulary", "Filling the buffer", "Measuring frequencies and labels", "Saving the vocabulary"]
    told = capsys.readouterr().err
    places = [told.find(phase) for phase in phases]
    assert -1 not in places and places == sorted(places)
    assert lexite(*words, "--overwrite").err == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--buffer-tokens", "64"], "--buffer-tokens is 64, but must be at least twice batch_tokens"),
        (["--warmup-tokens", "10M"], "--warmup-tokens is 10000000"),
        (["--overlap", "40", "--max-length", "64"], "--overlap is 40"),
    ],
)
def test_options_that_do_not_fit_together(lexite, documents: Path, tmp_path: Path, words: list[str], message: str) -> None:
    assert lexite("train", documents, "-o", tmp_path / "v", *SMALL, *words).error.startswith(message)
