"""Whatever is wrong, a person reads one line that says what, where and what to do; nothing is left half done."""

from __future__ import annotations

import gzip
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

GOOD = '{"_id": "a", "text": "the cat drinks milk"}\n'


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "source.jsonl"


def index_error(lexite, source: Path, vocabulary: Path, *words: str) -> str:
    """The error of indexing a source, which must leave no index."""
    target = source.parent / "never.lexite"
    message = lexite("index", source, "-o", target, "--vocabulary", vocabulary, *words).error
    assert not (target / "index.json").exists()
    return str(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        ("", "{source}"),
        (GOOD + '{"_id": "b", "text": oops}\n', "{source}, line 2"),
        (GOOD + '{"_id": "b", "text": 5}\n', "{source}, line 2"),
        (GOOD + '{"_id": "b"}\n', "{source}, line 2"),
        (GOOD + '{"_id": "b", "text": " "}\n', "{source}, line 2"),
        (GOOD + GOOD, "'a'"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" * 9, "{source}"),
        (GOOD.encode() + '{"_id": "b", "text": "café"}\n'.encode("latin-1"), "{source}, line 2"),
    ],
    ids=["missing", "empty", "invalid JSON", "wrong type", "no text", "empty text", "duplicate id", "binary", "encoding"],
)
def test_unusable_documents(lexite, tiny_vocabulary: Path, source: Path, content: str | bytes | None, message: str) -> None:
    if content is not None:
        source.write_bytes(content.encode() if isinstance(content, str) else content)
    assert message.format(source=source) in index_error(lexite, source, tiny_vocabulary)


def test_a_truncated_archive(lexite, tiny_vocabulary: Path, tmp_path: Path) -> None:
    whole = gzip.compress("".join(json.dumps({"_id": str(n), "text": f"milk {n}"}) + "\n" for n in range(500)).encode())
    source = tmp_path / "cut.jsonl.gz"
    source.write_bytes(whole[: len(whole) // 2])
    message = index_error(lexite, source, tiny_vocabulary)
    assert str(source) in message and "truncated" in message


def test_an_empty_folder(lexite, tiny_vocabulary: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert str(tmp_path / "empty") in index_error(lexite, tmp_path / "empty", tiny_vocabulary)


def test_a_file_of_queries_without_queries(lexite, tiny_index: Path, tmp_path: Path) -> None:
    (tmp_path / "queries.txt").write_text("\n\n")
    assert str(tmp_path / "queries.txt") in lexite("search", tiny_index, "--queries", tmp_path / "queries.txt").error


def test_no_queries_in_a_pipe(lexite, tiny_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115
    assert lexite("search", tiny_index).error.startswith("Standard input holds no queries.")


def test_qrels_that_name_unknown_documents(lexite, collection: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(collection, tmp_path / "tiny"))
    with open(copy / "qrels" / "test.tsv", "a") as file:
        file.write("q1\td77\t1\n")
    assert "d77" in lexite("eval", copy, "--vocabulary", tiny_vocabulary).error


def test_a_missing_collection(lexite, tiny_vocabulary: Path, tmp_path: Path) -> None:
    assert str(tmp_path / "none") in lexite("eval", tmp_path / "none", "--vocabulary", tiny_vocabulary).error


def test_an_unknown_vocabulary(lexite, documents: Path, tmp_path: Path) -> None:
    words = ["index", documents, "-o", tmp_path / "i", "--vocabulary"]
    assert str(tmp_path / "none") in lexite(*words, tmp_path / "none").error
    assert "nobody/nothing" in lexite(*words, "nobody/nothing").error
    assert not (tmp_path / "i").exists()


def test_an_unknown_model(lexite, documents: Path, tmp_path: Path) -> None:
    done = lexite("train", documents, "-o", tmp_path / "v", "--model", tmp_path / "no-model")
    assert "no-model" in done.error and not (tmp_path / "v" / "lexite.json").exists()


@pytest.mark.parametrize("name", ["sae.safetensors", "vocabulary.json", "sae.json"])
def test_a_damaged_vocabulary(lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path, name: str) -> None:
    copy = Path(shutil.copytree(tiny_vocabulary, tmp_path / "copy"))
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    assert f"{copy / name} is damaged" in lexite("index", documents, "-o", tmp_path / "i", "--vocabulary", copy).error


def test_a_damaged_dense_model(lexite, documents: Path, tiny_vocabulary: Path, tiny_model: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    copy = Path(shutil.copytree(tiny_vocabulary, tmp_path / "copy"))
    manifest = json.loads((copy / "lexite.json").read_text())
    manifest["backbone"]["config"]["model"] = str(model)
    (copy / "lexite.json").write_text(json.dumps(manifest))
    assert lexite("index", documents, "-o", tmp_path / "i", "--vocabulary", copy).error


def test_an_index_of_another_vocabulary(lexite, own_index: Path, other_vocabulary: Path, documents: Path) -> None:
    for words in (["search", own_index, "milk"], ["add", own_index, documents, "--replace"]):
        message = lexite(*words, "--vocabulary", other_vocabulary).error
        assert message.startswith("The index was made by the vocabulary 'tiny'") and "--vocabulary" in message


@pytest.mark.parametrize("verb", ["search", "add", "delete", "merge"])
def test_no_index_there(lexite, tmp_path: Path, documents: Path, verb: str) -> None:
    rest = {"search": ["milk"], "add": [documents], "delete": ["d1"], "merge": []}[verb]
    assert str(tmp_path / "none") in lexite(verb, tmp_path / "none", *rest).error


def test_more_latents_than_there_are(lexite, documents: Path, tiny_vocabulary: Path, tiny_index: Path, tmp_path: Path) -> None:
    message = "k is 65, but must be between 1 and 64"
    words = ["index", documents, "-o", tmp_path / "i", "--vocabulary", tiny_vocabulary]
    assert lexite(*words, "--k-documents", "65").error.startswith(message)
    assert lexite("search", tiny_index, "milk", "--k-queries", "65").error.startswith(message)
    message = lexite("train", documents, "-o", tmp_path / "v", "--k", "65", "--n-latents", "64").error
    assert message.startswith("--k is 65, but must be from 1 to the number of latents, 64")


def test_not_a_number_in_token_states(lexite, tmp_path: Path) -> None:
    states = np.random.default_rng(0).normal(size=(6000, 8)).astype(np.float32)
    states[4321, 3] = np.nan
    (tmp_path / "states").mkdir()
    np.save(tmp_path / "states" / "states.npy", states)
    words = ["--n-latents", "32", "--k", "4", "--tokens", "6000", "--batch-tokens", "512", "--init-tokens", "1000"]
    done = lexite("train", tmp_path / "states", "-o", tmp_path / "v", *words, "--buffer-tokens", "2048")
    assert "NaN" in done.error and not (tmp_path / "v" / "lexite.json").exists()


def test_a_folder_that_holds_something_else(lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    for words in (["index", documents, "--vocabulary", tiny_vocabulary], ["train", documents]):
        for overwrite in ([], ["--overwrite"]):
            done = lexite(*words, "-o", tmp_path / "thesis", *overwrite)
            assert "is not empty and was not written by this command" in done.error
    assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "years of work"


def test_an_output_that_cannot_be_written(lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for words in (["index", documents, "--vocabulary", tiny_vocabulary], ["train", documents]):
        assert "is a file" in lexite(*words, "-o", tmp_path / "file" / "out").error
    words = ["encode", documents, "--vocabulary", tiny_vocabulary, "-o", tmp_path / "file" / "w.npz"]
    assert "Cannot write" in lexite(*words).error


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    words = ["index", documents, "--vocabulary", tiny_vocabulary, "-o", tmp_path / "locked" / "i"]
    assert "permission denied" in lexite(*words).error


def test_permission_is_checked_before_the_work(lexite, documents: Path, tiny_vocabulary, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("os.access", lambda *arguments, **named: False)
    words = ["index", documents, "--vocabulary", tiny_vocabulary, "-o", tmp_path / "i"]
    assert "permission denied" in lexite(*words).error


@pytest.mark.slow
def test_a_full_disk(tiny_vocabulary: Path, documents: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for a disk that fills up while it is written."""
    target = tmp_path / "i"
    words = ["-m", "lexite", "-q", "index", str(documents), "-o", str(target), "--vocabulary", str(tiny_vocabulary)]

    def limit() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (256, 256))

    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, preexec_fn=limit, timeout=300)
    assert done.returncode == 1 and not done.stdout, done.stderr
    assert done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1 and "Cannot write" in done.stderr
    assert not (target / "index.json").exists()


@pytest.mark.slow
def test_stderr_stays_clean_in_a_real_process(tiny_vocabulary: Path, documents: Path, tmp_path: Path) -> None:
    """No loading bars, no advice, no warnings of the libraries below; the log says what happened."""
    words = ["-m", "lexite", "index", str(documents), "-o", str(tmp_path / "i"), "--vocabulary", str(tiny_vocabulary)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0
    assert not [line for line in done.stderr.splitlines() if "warn" in line.lower() or "%|" in line], done.stderr
