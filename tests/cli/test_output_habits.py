"""What holds for the output of every verb: one line of JSON, figures for people, nouns in their number, flags of options."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from lexite import Searcher
from lexite.cli.app import _with_flags
from lexite.errors import ConfigError, StorageError
from lexite.index import BM25Index


@pytest.fixture
def one_index(tiny_vocabulary: Path, tmp_path: Path, lexite) -> Path:
    source = tmp_path / "one.jsonl"
    source.write_text('{"_id": "a", "text": "milk"}\n')
    done = lexite(
        "index", source, "-o", tmp_path / "one", "--vocabulary", tiny_vocabulary, "--k-documents", "1", "--no-literal"
    )
    assert done.out.startswith("1 document, 1 term each, in ")
    return tmp_path / "one"


def test_json_is_one_line_whichever_verb_prints_it(
    lexite, documents: Path, collection: Path, tiny_vocabulary, tmp_path
) -> None:
    index, made = tmp_path / "i", ["--vocabulary", tiny_vocabulary]
    rest = tmp_path / "rest.jsonl"
    rest.write_text('{"_id": "n", "text": "milk"}\n')
    for words in (
        ["index", documents, "-o", index, *made, "--json"],
        ["add", index, rest, "--json"],
        ["search", index, "milk", "--json"],
        ["search", index, "milk", "--run", tmp_path / "run", "--json"],
        ["delete", index, "n", "--json"],
        ["merge", index, "--json"],
        ["info", index, "--json"],
        ["info", tiny_vocabulary, "--json"],
        ["info", "--json"],
        ["encode", documents, "-o", tmp_path / "w.npz", *made, "--json"],
        ["rank", tiny_vocabulary, documents, "-o", tmp_path / "r", "--by", "density", "--json", "-"],
        ["eval", collection, *made, "--baselines", "none", "--json", "-"],
    ):
        done = lexite(*words)
        assert done.status == 0 and done.out.count("\n") == 1 and isinstance(json.loads(done.out), dict), words


def test_commands_in_messages_can_be_typed(lexite, tmp_path: Path) -> None:
    index = tmp_path / "my index; rm 'x'"
    said = lexite("add", index).usage
    assert shlex.split(said[said.index("lexite add") :].split(" SOURCES")[0]) == ["lexite", "add", str(index)]


def test_one_is_one(lexite, one_index: Path, documents: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    assert lexite("merge", one_index).out == f"{one_index} holds 1 document in one segment.\n"
    assert lexite("search", one_index, "milk", "--run", tmp_path / "run").out.startswith("1 query, 1 hit: ")
    (tmp_path / "t.txt").write_text("milk")
    words = ["encode", tmp_path / "t.txt", "-o", tmp_path / "w.npz", "--vocabulary", tiny_vocabulary, "--k-documents", "1"]
    assert lexite(*words).out == f"1 text, 1 term each: {tmp_path / 'w.npz'}\n"
    with Searcher.open(one_index) as searcher:
        assert "1 document," in repr(searcher) and "N 1 document," in str(searcher.explain("milk", "a"))
        assert "in 1 document)" in str(searcher.explain("milk", "a"))
    assert "1 document, 64 latent terms" in repr(BM25Index.open(one_index))


def test_info_has_figures_for_people_and_exact_ones_in_json(lexite, documents: Path, tiny_vocabulary, tmp_path: Path) -> None:
    index = tmp_path / "i"
    assert lexite("index", documents, "-o", index, "--vocabulary", tiny_vocabulary).status == 0
    facts = lexite("info", index, "--json").json
    shown = dict(line.strip().split("  ", 1) for line in lexite("info", index).out.splitlines() if "  " in line.strip())
    shown = {key: value.strip() for key, value in shown.items()}
    exact = facts["postings_per_document"]
    assert len(str(exact)) > 8 and float(shown["postings per document"]) == pytest.approx(exact, abs=0.05)
    assert len(shown["postings per document"]) <= 5 and len(shown["average length"]) <= 6
    assert shown["bytes total"].endswith(" kB") and facts["bytes_total"] > 1000
    assert shown["k1"] == "2.5" and shown["literal weight"] == "3.25"


def test_messages_name_options_as_the_command_line_has_them() -> None:
    assert _with_flags("Replace it with overwrite=True.", "index") == "Replace it with --overwrite."
    assert _with_flags("Try precision='fp32'; or device='cpu'.", "search") == "Try --precision fp32; or --device cpu."
    assert _with_flags("Name it with vocabulary=....", "add") == "Name it with --vocabulary."
    assert _with_flags("Leave start=... out; resume=True", "train") == "Leave --from out; --resume"
    assert _with_flags("Give sources=...", "import") == "Give --text"
    assert _with_flags("x=True, k1=3", "index") == "x=True, k1=3"
    assert _with_flags("overwrite=True", "") == "overwrite=True"


def test_python_is_told_of_its_own_options(lexite, one_index: Path, documents: Path, tiny_vocabulary: Path) -> None:
    with pytest.raises(StorageError, match="replace it with overwrite=True"):
        Searcher.build([documents], one_index, vocabulary=tiny_vocabulary, show_progress=False)
    assert "replace it with --overwrite." in lexite("index", documents, "-o", one_index).error
    with pytest.raises(ConfigError) as caught:
        Searcher.open(one_index, long="truncate")
    assert "--" not in str(caught.value)
