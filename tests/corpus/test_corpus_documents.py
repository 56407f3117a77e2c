"""Every format gives the documents that were written, in order."""

from __future__ import annotations

import csv
import gzip
import io
import json
import lzma
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexite.corpus import Document, ReadOptions, ReadReport, read_documents
from lexite.errors import CorpusError

SetStdin = Callable[..., None]
PETS = [
    Document("d1", "It barks.", "Dog"),
    Document("d2", "Sie miaut: 'ß€🐈'.", ""),
    Document("3", "Two\nlines.", "Fish, gold"),
]


def jsonl(documents: list[Document]) -> bytes:
    records = [{"_id": d.id, "title": d.title, "text": d.text} for d in documents]
    return "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records).encode()


def compress(data: bytes, suffix: str) -> bytes:
    if suffix == ".zst":
        zstandard = pytest.importorskip("zstandard")
        return bytes(zstandard.ZstdCompressor().compress(data))
    return {"": lambda d: d, ".gz": gzip.compress, ".xz": lzma.compress}[suffix](data)


def test_full_text_is_title_and_text():
    assert [d.full_text for d in PETS] == ["Dog It barks.", "Sie miaut: 'ß€🐈'.", "Fish, gold Two\nlines."]
    assert Document("1", "", "Only a title").full_text == "Only a title"


@pytest.mark.parametrize("compression", ["", ".gz", ".xz", ".zst"])
@pytest.mark.parametrize("ending", [".jsonl", ".ndjson", ".json", ".JSONL"])
def test_jsonl_in_every_compression(tmp_path: Path, ending: str, compression: str):
    path = tmp_path / f"pets{ending}{compression}"
    path.write_bytes(compress(jsonl(PETS), compression))
    report = ReadReport()
    assert list(read_documents([path], report=report)) == PETS
    assert (report.read, report.skipped, report.messages) == (3, 0, [])


def test_compression_is_recognised_without_its_ending(tmp_path: Path):
    path = tmp_path / "pets.jsonl"
    path.write_bytes(gzip.compress(jsonl(PETS[:2])) + gzip.compress(jsonl(PETS[2:])))  # two members, as `cat a.gz b.gz` makes
    assert list(read_documents(path)) == PETS


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_byte_order_mark_and_windows_line_ends(tmp_path: Path, bom: bytes, end: bytes):
    files = {
        "a.jsonl": b'{"id": "a", "text": "one"}\n\n{"id": "b", "text": "two"}\n',
        "a.csv": b"id,text\na,one\n\nb,two\n",
        "a.tsv": b"id\ttext\na\tone\n\nb\ttwo\n",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(bom + data.replace(b"\n", end))
        assert list(read_documents([tmp_path / name])) == [Document("a", "one"), Document("b", "two")], name
    (tmp_path / "a.txt").write_bytes(bom + b"one" + end + b"two" + end)
    assert list(read_documents([tmp_path / "a.txt"])) == [Document("a.txt", "one\ntwo")]


def test_last_line_without_line_end(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(jsonl(PETS).rstrip(b"\n"))
    assert list(read_documents(tmp_path / "a.jsonl")) == PETS


@pytest.mark.parametrize("name", ["_id", "id", "docid", "doc_id", "pid"])
@pytest.mark.parametrize("text", ["text", "body", "contents", "content", "passage", "abstract"])
def test_field_names_are_found(tmp_path: Path, name: str, text: str):
    (tmp_path / "a.jsonl").write_text(json.dumps({"other": 1, text: "t", name: "i"}))
    assert list(read_documents([tmp_path / "a.jsonl"])) == [Document("i", "t", fields={"other": 1})]


def test_field_names_can_be_chosen(tmp_path: Path):
    record = {"id": "wrong", "text": "wrong", "title": "wrong", "key": 17, "full": "right", "head": "up"}
    options = ReadOptions(id_field="key", text_field="full", title_field="head")
    (tmp_path / "a.jsonl").write_text(json.dumps(record))
    (tmp_path / "a.csv").write_text(f"{','.join(record)}\n{','.join(map(str, record.values()))}\n")
    for name in ("a.jsonl", "a.csv"):
        (document,) = read_documents([tmp_path / name], options)
        assert (document.id, document.text, document.title) == ("17", "right", "up")
        assert document.fields == {"id": "wrong", "text": "wrong", "title": "wrong"}


def test_chosen_title_may_be_missing_in_some_records(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text(
        '{"id": 1, "text": "a"}\n{"id": 2, "text": "b", "head": "B"}\n{"id": 3, "text": "c", "head": null}\n'
    )
    documents = list(read_documents(tmp_path / "a.jsonl", ReadOptions(title_field="head")))
    assert [d.title for d in documents] == ["", "B", ""]


def test_ids_are_record_numbers_over_all_sources_where_there_are_none(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n\n{"text": "b"}\n')
    (tmp_path / "b.csv").write_text("text\nc\n")
    documents = list(read_documents([tmp_path / "a.jsonl", tmp_path / "b.csv"]))
    assert documents == [Document("1", "a"), Document("2", "b"), Document("3", "c")]


def test_whole_numbers_and_empty_titles_are_accepted(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"_id": 7, "text": "a", "title": ""}\n{"_id": "8", "text": "", "title": "t"}\n')
    assert list(read_documents(tmp_path / "a.jsonl")) == [Document("7", "a"), Document("8", "", "t")]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=8)), min_size=1, max_size=8))
def test_any_text_survives_jsonl_csv_and_parquet(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]):
    folder = tmp_path_factory.mktemp("any")
    # a header and a body that hold something; csv cannot hold a lone \r or NUL on every Python
    clean = [(a.replace("\r", "").replace("\0", ""), b.replace("\r", "").replace("\0", "")) for a, b in pairs]
    documents = [Document(f"d{i}", f"x{text}", title) for i, (text, title) in enumerate(clean)]
    (folder / "a.jsonl").write_bytes(jsonl(documents))
    (folder / "b.jsonl").write_text(
        "".join(json.dumps({"id": d.id, "text": d.text, "title": d.title}) + "\n" for d in documents)
    )
    with open(folder / "a.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "title", "text"), *((d.id, d.title, d.text) for d in documents)])
    for name in ("a.jsonl", "b.jsonl", "a.csv"):
        assert list(read_documents([folder / name])) == documents
    pyarrow = pytest.importorskip("pyarrow")
    columns = {name: [getattr(d, name) for d in documents] for name in ("id", "text", "title")}
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(columns), folder / "a.parquet")
    assert list(read_documents([folder / "a.parquet"])) == documents


def test_semicolons_of_european_spreadsheets(tmp_path: Path):
    (tmp_path / "a.csv").write_text('id;text\n1;"a, b; c"\n')
    assert list(read_documents(tmp_path / "a.csv")) == [Document("1", "a, b; c")]


def test_quotes_are_ordinary_in_tsv(tmp_path: Path):
    (tmp_path / "a.tsv").write_text('id\ttext\n1\t"Quoted" is fine\n2\tone " alone\n')
    assert [d.text for d in read_documents(tmp_path / "a.tsv")] == ['"Quoted" is fine', 'one " alone']


def test_tsv_of_numbers_and_text_needs_no_header(tmp_path: Path):
    (tmp_path / "a.tsv").write_text("0\tfirst\n1\tsecond\n")
    assert list(read_documents(tmp_path / "a.tsv")) == [Document("0", "first"), Document("1", "second")]


def test_long_csv_fields_are_read_and_the_limit_is_not_lowered(tmp_path: Path):
    before = csv.field_size_limit(1000)
    try:
        (tmp_path / "a.csv").write_text(f"id,text\n1,{'long ' * 40_000}\n")
        (document,) = read_documents(tmp_path / "a.csv")
        assert len(document.text) == 200_000
        assert csv.field_size_limit(1 << 40) > 200_000
        assert len(list(read_documents(tmp_path / "a.csv"))) == 1
        assert csv.field_size_limit() == 1 << 40
    finally:
        csv.field_size_limit(before)


def test_parquet_types(tmp_path: Path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table(
        {
            "id": pyarrow.array([1, 2, 3], pyarrow.int32()),
            "text": pyarrow.array([b"a", "ß".encode(), b"c"], pyarrow.binary()),
            "title": pyarrow.array(["x", None, "x"]).dictionary_encode(),
            "huge": pyarrow.array([[1.0] * 10] * 3),
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    assert list(read_documents(tmp_path / "a.parquet")) == [
        Document("1", "a", "x"),
        Document("2", "ß"),
        Document("3", "c", "x"),
    ]


def test_folder_of_text_files_in_a_fixed_order(tmp_path: Path):
    names = [
        "b.md",
        "a.txt",
        "z/inner.txt",
        "c/deep/er.markdown",
        "c/x.txt.gz",
        ".hidden.txt",
        ".git/config.txt",
        "picture.png",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        data = b"# Heading #\n\nBody of it\n" if name.endswith(("md", "markdown")) else f"text of {name}".encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    documents = list(read_documents([tmp_path]))
    assert [d.id for d in documents] == ["a.txt", "b.md", "c/x.txt.gz", "c/deep/er.markdown", "z/inner.txt"]
    assert documents[0] == Document("a.txt", "text of a.txt")
    assert documents[1] == Document("b.md", "Body of it", "Heading")


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need rights on Windows")
def test_loops_of_symbolic_links_end(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.txt").write_text("x")
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "b").symlink_to(tmp_path / "a", target_is_directory=True)
    assert [d.id for d in read_documents([tmp_path])] == ["a/x.txt"]


def test_a_markdown_file_without_heading_has_no_title(tmp_path: Path):
    (tmp_path / "a.md").write_text("Some text\n# Later heading\n")
    assert list(read_documents(tmp_path / "a.md")) == [Document("a.md", "Some text\n# Later heading")]


def test_beir_folder(tmp_path: Path):
    (tmp_path / "corpus.jsonl.gz").write_bytes(gzip.compress(jsonl(PETS)))
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "?"}')
    assert list(read_documents([tmp_path])) == PETS


@pytest.mark.parametrize("compression", ["", ".gz", ".xz", ".zst"])
def test_standard_input_as_json_lines(set_stdin: SetStdin, compression: str):
    set_stdin(compress(jsonl(PETS), compression))
    assert list(read_documents(["-"])) == PETS


def test_standard_input_as_plain_lines(set_stdin: SetStdin):
    set_stdin("\ufeffErste Zeile\r\n\n  zweite  \n[dritte]".encode())
    options = ReadOptions(text_field="no such field", title_field="neither")  # plain lines have no fields
    documents = list(read_documents("-", options))
    assert documents == [Document("1", "Erste Zeile"), Document("2", "zweite"), Document("3", "[dritte]")]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_named_pipe_is_read_like_standard_input(tmp_path: Path):
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(jsonl(PETS),))
    writer.start()
    assert list(read_documents([fifo])) == PETS
    writer.join()


def test_nothing_is_read_ahead_of_need(monkeypatch: pytest.MonkeyPatch):
    """The first document comes out of a pipe before the second one was written."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as reader, os.fdopen(write_end, "wb", buffering=0) as writer:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(reader))
        documents = read_documents(["-"])
        writer.write(b'{"id": 1, "text": "first"}\n')
        assert next(documents) == Document("1", "first")
        writer.write(b'{"id": 2, "text": "second"}\n')
        assert next(documents) == Document("2", "second")
        writer.close()
        assert list(documents) == []


def test_sources_are_read_in_order_and_checked_at_once(tmp_path: Path):
    (tmp_path / "b.jsonl").write_text('{"id": "b", "text": "b"}')
    (tmp_path / "a.txt").write_text("a")
    assert [d.id for d in read_documents([tmp_path / "b.jsonl", str(tmp_path / "a.txt")])] == ["b", "a.txt"]
    with pytest.raises(CorpusError, match=r"missing\.jsonl does not exist"):
        read_documents([tmp_path / "b.jsonl", tmp_path / "missing.jsonl"])


def test_reading_is_lazy(tmp_path: Path):
    """A bad record far behind does not keep the first ones from coming."""
    (tmp_path / "a.jsonl").write_bytes(jsonl(PETS) + b"broken")
    documents = read_documents(tmp_path / "a.jsonl")
    assert [next(documents), next(documents), next(documents)] == PETS
    with pytest.raises(CorpusError, match="line 4: not valid JSON"):
        next(documents)
