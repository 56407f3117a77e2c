"""The lines of the front page, of the Python guide and of the page on evaluation run as they stand."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from lexite import Searcher
from lexite.cli import main
from lexite.errors import LexiteError
from lexite.terms.card import usage

ROOT = Path(__file__).parents[2]
NOTES = {
    "leaves.md": "# Leaves\n\nA plant breathes through the leaf. By day it takes in gas. By night it gives gas off again.",
    "tides.md": "# Tides\n\nThe moon moves the water of the sea. So the sea rises, and it falls.",
    "bread.md": "# Bread\n\nMix meal and water. Let the bread rise. Bake it.",
}


@pytest.fixture
def notes(tiny_vocabulary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the pages index, in the current folder; the default vocabulary is the tiny one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "lexite.terms.hub.builtin_folder", lambda name="default": tiny_vocabulary if name == "default" else None
    )
    (tmp_path / "notes").mkdir()
    for name, text in NOTES.items():
        (tmp_path / "notes" / name).write_text(text, encoding="utf-8")
    return tmp_path


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def test_the_python_guide_runs(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for block in blocks("docs/python.md", "python"):
        exec(block, names)
    printed = capsys.readouterr().out
    assert "Searcher('notes.lexite', 3 documents" in printed and "idf" in printed
    assert "no document 'no-such-document'" in printed
    assert {hit.id for hit in names["some"]} == {"leaves.md", "tides.md"}
    found = names["searcher"].search("moss drinks")
    assert all(hit.id != "1" for hit in found), "what was deleted is not found"
    assert names["searcher"].index.get("tides.md").text == "Spring tides follow the new moon."


def test_the_pages_on_labels_and_analyses_run(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for block in blocks("docs/analysis.md", "python"):
        exec(block, names)
    assert names["found"].n_over and names["found"].chance[0] < 1, "cats and banks differ, and random halves do not"
    assert all("cat" in each.document.text for each in names["kind"].documents) and names["kind"].p < 0.05
    for block in blocks("docs/labels.md", "python"):
        exec(block.replace("about(900)", "about(9)"), names)  # the tiny vocabulary has 64 latents
    assert names["about"].label in capsys.readouterr().out


def test_the_page_on_filters_runs(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("sqlglot")
    names: dict[str, Any] = {}
    for block in blocks("docs/filters.md", "python"):
        exec(block, names)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("leaves.md 2021 0.")
    assert printed[1:] == [
        "{'year': 'integer', 'tags': 'list'}",
        "(('biology', 1), ('moon', 1), ('sea', 1))",
        "year >= 2020 and 'biology' in tags",
    ]


def test_the_page_on_second_stages_runs(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Searcher.build(["notes/"], "notes.lexite").close()
    names: dict[str, Any] = {}
    for block in blocks("docs/second-stages.md", "python"):
        exec(block, names)
    printed = capsys.readouterr().out.splitlines()
    assert {line.split()[1] for line in printed[:3]} == set(NOTES)
    assert names["chosen"].n_queries == 3 and len(names["judged"].folds) == 2
    own = max((block for block in blocks("docs/second-stages.md", "python") if "class PreferShort" in block), key=len)
    lines = own[own.index("@dataclass") : own.index("print")].strip().splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 12


@pytest.mark.parametrize("page", ["feedback", "steering"])
def test_the_pages_on_second_stages_run(page: str, notes: Path) -> None:
    assert main(["-q", "index", "notes", "-o", "notes.lexite"]) == 0
    names: dict[str, Any] = {}
    for block in blocks(f"docs/{page}.md", "python"):
        exec(block, names)
    stage = names["Steer"](boost=("word:water=1.5",)) if page == "steering" else names["Feedback"]()
    assert names["searcher"].rank("the sea", then=[stage])[0]
    if page == "feedback":
        assert "tides.md" not in [hit.id for hit in names["searcher"].more_like("tides.md")]


def test_the_guide_names_every_class_of_errors() -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    classes = {cls.__name__ for cls in LexiteError.__subclasses__() if cls.__module__ == "lexite.errors"}
    assert len(classes) >= 9 and classes <= set(re.findall(r"\b(\w+Error)\b", page))


def test_the_example_of_evaluation_runs(notes: Path, collection: Path) -> None:
    (notes / "collections").mkdir()
    (notes / "collections" / "scifact").symlink_to(collection)
    (block,) = blocks("docs/evaluation.md", "python")
    names: dict[str, Any] = {}
    exec(block, names)
    assert set(names["report"].collections["scifact"]) == {"latent+words", "dense", "bm25"}


def test_the_card_of_the_default_vocabulary_has_the_example_as_it_is_now() -> None:
    name = "all-minilm-l6-v2-16k"
    assert blocks(f"src/lexite/vocabularies/{name}/README.md", "python") == [usage(name)]


def test_the_front_page_gives_the_same_hits_in_the_shell_and_in_python(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shell,) = (block for block in blocks("README.md", "sh") if "pip install" in block)
    (python,) = blocks("README.md", "python")
    commands = [shlex.split(line, comments=True)[1:] for line in shell.splitlines() if line.startswith("lexite ")]
    index, search = (next(words for words in commands if words[0] == verb) for verb in ("index", "search"))
    assert main(["-q", *index]) == 0
    capsys.readouterr()
    assert main(["-q", *search, "--json"]) == 0
    (shown,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    names: dict[str, Any] = {}
    exec(python, names)
    assert [(hit["id"], hit["score"]) for hit in shown["hits"]][: len(names["hits"])] == [
        (hit.id, round(hit.score, 6)) for hit in names["hits"]
    ]
    assert capsys.readouterr().out
