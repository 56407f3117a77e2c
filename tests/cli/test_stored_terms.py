"""lexite search --terms, and --approximate."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lexite.index import read_trec_run


@pytest.fixture
def stored(lexite, tiny_vocabulary: Path, tmp_path: Path) -> Path:
    (tmp_path / "q.txt").write_text("milk of the cow\nmoon and sun\n")
    words = ["encode", tmp_path / "q.txt", "--kind", "query", "--raw", "--vocabulary", tiny_vocabulary]
    assert lexite(*words, "-o", tmp_path / "q.jsonl").status == 0
    return tmp_path / "q.jsonl"


def hits_of(text: str) -> list[list[tuple[str, float]]]:
    return [
        [(hit["id"], pytest.approx(hit["score"], rel=1e-4)) for hit in json.loads(line)["hits"]] for line in text.splitlines()
    ]


def test_stored_terms_find_what_the_words_find(lexite, tiny_index: Path, stored: Path) -> None:
    wanted = hits_of(lexite("search", tiny_index, "--queries", stored.with_suffix(".txt"), "--json", "--no-snippets").out)
    done = lexite("search", tiny_index, "--terms", stored, "--json")
    assert hits_of(done.out) == wanted and len(wanted) == 2
    assert json.loads(done.out.splitlines()[0])["hits"][0]["terms"][0]["label"]
    approximate = lexite("search", tiny_index, "--terms", stored, "--json", "--approximate")
    assert hits_of(approximate.out) == wanted  # a small index leaves nothing out


def test_stored_terms_as_a_run_and_for_people(lexite, tiny_index: Path, stored: Path, tmp_path: Path) -> None:
    assert lexite("search", tiny_index, "--terms", stored, "--run", tmp_path / "run", "--top-k", "3").status == 0
    assert set(read_trec_run(tmp_path / "run")) == {"1", "2"}
    shown = lexite("search", tiny_index, "--terms", stored, "--top-k", "2").out.splitlines()
    assert shown[1] == "1" and shown[2].startswith("  1  ")


def test_scoring_can_be_changed(lexite, tiny_index: Path, stored: Path) -> None:
    words = [
        "search",
        tiny_index,
        "--queries",
        stored.with_suffix(".txt"),
        "--json",
        "--no-snippets",
        "--k1",
        "0.3",
        "--b",
        "0",
    ]
    assert hits_of(lexite("search", tiny_index, "--terms", stored, "--json", "--k1", "0.3", "--b", "0").out) == hits_of(
        lexite(*words).out
    )


def test_labels_of_another_vocabulary_are_refused(
    lexite, tiny_index: Path, stored: Path, other_vocabulary: Path, tiny_vocabulary: Path, tmp_path: Path
) -> None:
    for words in (["--terms", stored], ["--static", "milk"]):
        said = lexite("search", tiny_index, *words, "--vocabulary", other_vocabulary).error
        assert said.startswith("The index was made by the vocabulary 'tiny'") and "Name its own with --vocabulary." in said
        moved = shutil.copytree(tiny_vocabulary, tmp_path / "moved", dirs_exist_ok=True)
        assert lexite("search", tiny_index, *words, "--json", "--vocabulary", moved).out == (
            lexite("search", tiny_index, *words, "--json").out
        )


def test_terms_have_numbers_where_another_vocabulary_took_the_place(
    lexite, tiny_vocabulary: Path, other_vocabulary: Path, documents: Path, stored: Path, tmp_path: Path
) -> None:
    place, index = Path(shutil.copytree(tiny_vocabulary, tmp_path / "v")), tmp_path / "i"
    assert lexite("index", documents, "-o", index, "--vocabulary", place, "--no-literal").status == 0
    shutil.rmtree(place)
    shutil.copytree(other_vocabulary, place)
    for words in (["--terms", stored], ["--static", "milk"]):
        answer = json.loads(lexite("search", index, *words, "--json").out.splitlines()[0])
        assert all(term["label"] == f"latent {term['term']}" for hit in answer["hits"] for term in hit["terms"])
        assert answer["hits"]


def test_standard_input(lexite, tiny_index: Path, stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stored.read_bytes())))
    assert len(hits_of(lexite("search", tiny_index, "--terms", "-", "--json").out)) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 is not valid JSON"),
        ("[1]", "line 2 should be"),
        ('{"id": "x"}', "line 2 should be"),
        ('{"id": "", "terms": {}}', "the id must be text"),
        ('{"id": true, "terms": {}}', "the id must be text"),
        ('{"id": "1", "terms": {}}', "'1' occurs twice"),
        ('{"id": "x", "terms": {"64": 1}}', "'64' is no term of this index, which has the terms 0 to 63"),
        ('{"id": "x", "terms": {"-1": 1}}', "'-1' is no term"),
        ('{"id": "x", "terms": {"3": "1"}}', "the weight of term 3 must be a number"),
        ('{"id": "x", "terms": {"3": true}}', "the weight of term 3 must be a number"),
        ('{"id": "x", "terms": {"3": NaN}}', "must be a number from 0 to 1e+18"),
        ('{"id": "x", "terms": {"3": -2}}', "must be a number from 0"),
        ('{"id": "x", "terms": {"3": 1' + "0" * 400 + "}}", "must be a number from 0"),
        ('{"id": "x", "terms": {"' + "1" * 5000 + '": 1}}', "is no term of this index"),
        ("[" * 200_000, "is not valid JSON"),
        ('{"id": "x", "raw": false, "terms": {"3": 1}}', "Encode the queries with --raw"),
    ],
)
def test_wrong_files_are_explained(lexite, tiny_index: Path, tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "q.jsonl").write_text('{"id": "1", "terms": {"3": 1.5}}\n' + line + "\n")
    done = lexite("search", tiny_index, "--terms", tmp_path / "q.jsonl")
    assert done.status == 1 and message in done.err and done.err.count("\n") == 1


def test_missing_empty_and_undecodable_files(lexite, tiny_index: Path, tmp_path: Path) -> None:
    assert "cannot be read" in lexite("search", tiny_index, "--terms", tmp_path / "none").err
    (tmp_path / "empty").write_text("\n")
    assert "holds no queries" in lexite("search", tiny_index, "--terms", tmp_path / "empty").err
    (tmp_path / "latin").write_bytes(b'{"id": "\xff"}\n')
    assert "line 1 is not valid UTF-8" in lexite("search", tiny_index, "--terms", tmp_path / "latin").err
    words = ["--k-queries", "2", "--device", "cpu"]
    said = lexite("search", tiny_index, "--terms", tmp_path / "empty", *words).usage
    assert said.endswith("have no place beside it. Leave out --k-queries, --device.")
    assert "takes the place of words" in lexite("search", tiny_index, "milk", "--terms", tmp_path / "empty").err


def test_nothing_heavy_is_loaded(tiny_index: Path, stored: Path) -> None:
    program = (
        "import sys\nfrom lexite.cli import main\n"
        f"status = main(['search', {str(tiny_index)!r}, '--terms', {str(stored)!r}, '--json'])\n"
        "heavy = [name for name in ('torch', 'transformers', 'numba', 'scipy', 'huggingface_hub') if name in sys.modules]\n"
        "sys.exit(status or (f'loaded {heavy}' if heavy else 0))\n"
    )
    one = stored.with_name("one.jsonl")
    one.write_text(stored.read_text().splitlines()[0] + "\n")
    done = subprocess.run(
        [sys.executable, "-c", program.replace(str(stored), str(one))], capture_output=True, text=True, cwd=tiny_index.parent
    )
    assert done.returncode == 0, done.stderr
