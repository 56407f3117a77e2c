"""Each bad input: a clear message with file and line, and what --skip-bad makes of it."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexite.corpus import Document, ReadOptions, ReadReport, read_documents
from lexite.errors import CorpusError, MissingExtraError

GOOD = b'{"_id": "a", "text": "first"}\n'
LAST = b'{"_id": "z", "text": "last"}\n'

BAD_LINES = {
    "invalid JSON": (b'{"_id": "b", "text": }\n', "line 2: not valid JSON (Expecting value, column 22)."),
    "no object": (b"[1]\n", "line 2: the line holds a list, but must hold a JSON object."),
    "null": (b"null\n", "line 2: the line holds null, but must hold a JSON object."),
    "too deep": (b"[" * 200_000 + b"\n", "line 2: not usable JSON (nested too deeply)."),
    "huge number": (b'{"_id": ' + b"9" * 5000 + b"}\n", "line 2: not usable JSON (Exceeds the limit"),
    "latin-1": (b'{"_id": "b", "text": "caf\xe9"}\n', "line 2: not valid UTF-8 (byte 0xe9)."),
    "half a pair": (b'{"_id": "b", "text": "\\ud83d"}\n', "line 2: the text holds half of a surrogate pair"),
    "no id": (b'{"text": "b"}\n', "line 2: the field '_id' is missing."),
    "no text": (b'{"_id": "b"}\n', "line 2: the field 'text' is missing."),
    "empty id": (b'{"_id": " ", "text": "b"}\n', "line 2: the id in '_id' is empty."),
    "null text": (b'{"_id": "b", "text": null}\n', "line 2: the field 'text' is null, but must be text."),
    "number text": (b'{"_id": "b", "text": 5}\n', "line 2: the field 'text' is a number, but must be text."),
    "list text": (b'{"_id": "b", "text": ["b"]}\n', "line 2: the field 'text' is a list, but must be text."),
    "object title": (b'{"_id": "b", "text": "b", "title": {}}\n', "line 2: the field 'title' is an object, but must be text."),
    "float id": (b'{"_id": 1.5, "text": "b"}\n', "'_id' is a number with a fraction, but must be text or a whole number."),
    "boolean id": (b'{"_id": true, "text": "b"}\n', "'_id' is true or false, but must be text or a whole number."),
    "empty text": (b'{"_id": "b", "text": " \\n", "title": ""}\n', "line 2: the text is empty."),
    "duplicate": (b'{"_id": "a", "text": "again"}\n', "line 2: the id 'a' occurred before; every document needs its own."),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_bad_line(tmp_path: Path, name: str):
    line, message = BAD_LINES[name]
    path = tmp_path / "a.jsonl"
    path.write_bytes(GOOD + line + LAST)
    with pytest.raises(CorpusError) as caught:
        list(read_documents([path]))
    text = str(caught.value)
    assert text.startswith(f"{path}, line 2: ")
    assert message in text
    assert text.endswith("--skip-bad leaves bad records out and goes on.")
    assert "\n" not in text
    report = ReadReport()
    documents = list(read_documents([path], ReadOptions(skip_bad=True), report))
    assert [d.id for d in documents] == ["a", "z"]
    assert (report.read, report.skipped) == (2, 1)
    assert message in report.messages[0]


def test_first_twenty_messages_are_kept(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(GOOD + b"{\n" * 30)
    report = ReadReport()
    assert len(list(read_documents(tmp_path / "a.jsonl", ReadOptions(skip_bad=True), report))) == 1
    assert report.skipped == 30
    assert len(report.messages) == 20
    assert report.messages[19].startswith(f"{tmp_path / 'a.jsonl'}, line 21:")


def test_duplicates_are_found_across_sources(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(GOOD)
    (tmp_path / "b.csv").write_text("id,text\na,again\nb,new\n")
    sources = [tmp_path / "a.jsonl", tmp_path / "b.csv"]
    with pytest.raises(CorpusError, match=r"b\.csv, line 2: the id 'a' occurred before"):
        list(read_documents(sources))
    assert [d.id for d in read_documents(sources, ReadOptions(skip_bad=True))] == ["a", "b"]


def test_messages_stay_on_one_line(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": "a\nb", "text": "a"}) + "\n" + json.dumps({"id": "a\nb", "text": "b"}))
    with pytest.raises(CorpusError, match=r"the id 'a\\nb' occurred before"):
        list(read_documents(tmp_path / "a.jsonl"))


def test_id_where_the_first_record_had_none(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"_id": "7", "text": "b"}\n')
    with pytest.raises(CorpusError, match="line 2: the record has an id in '_id', but the first one had none"):
        list(read_documents(tmp_path / "a.jsonl"))


CSV_CASES = {
    "too few": (b"id,text\n1,a\n2\n3,c\n", 3, "the record has 1 fields, but the header has 2."),
    "after a field of two lines": (b'id,text\n1,"a\nb"\n2\n3,c\n', 4, "the record has 1 fields"),
    "start of a record": (b'id,text\n1,a\n2,"b\nb",b\n3,c\n', 3, "the record has 3 fields"),
    "latin-1": (b'id,text\n1,a\n2,"b\ncaf\xe9"\n3,c\n', 3, "not valid UTF-8 (byte 0xe9)."),
    "garbage behind a quote": (b'id,text\n1,a\n2,"b"b\n3,c\n', 3, "not valid CSV ("),
    "old Macintosh": (b"id,text\n1,a\n2,b\r3,c\n3,c\n", 3, "not valid CSV ("),
    "empty id": (b"id,text\n1,a\n,b\n3,c\n", 3, "the id in 'id' is empty."),
    "empty text": (b"id,text\n1,a\n2,\n3,c\n", 3, "the text is empty."),
}


@pytest.mark.parametrize("name", CSV_CASES)
def test_bad_csv_record(tmp_path: Path, name: str):
    data, line, message = CSV_CASES[name]
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    with pytest.raises(CorpusError) as caught:
        list(read_documents([path]))
    assert str(caught.value).startswith(f"{path}, line {line}: ")
    assert message in str(caught.value)
    report = ReadReport()
    documents = list(read_documents([path], ReadOptions(skip_bad=True), report))
    assert [d.id for d in documents] == ["1", "3"]
    assert report.skipped == 1


def test_quote_that_is_never_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.csv").write_text('id,text\n1,a\n2,"b\n3,c\n')
    with pytest.raises(CorpusError, match=r"line 3: a quoted field is never closed\."):
        list(read_documents(tmp_path / "a.csv"))
    import csv

    monkeypatch.setattr("lexite.corpus.tables.LONGEST_FIELD", 100)
    before = csv.field_size_limit(100)
    try:
        (tmp_path / "b.csv").write_text('id,text\n1,a\n2,"b\n' + "3,c\n" * 100)
        with pytest.raises(CorpusError, match=r"line 3: a quoted field is never closed\."):
            list(read_documents(tmp_path / "b.csv"))
    finally:
        csv.field_size_limit(before)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"nr,name\n1,a\n", "line 1: no text field among 'nr', 'name'. Name it with --text-field."),
        ("a.tsv", b"\nnr\n1\n", "line 2: no text field among 'nr'."),
        ("a.csv", b"", "The corpus is empty: there is no document in"),
        ("a.csv", b"id,text\n", "The corpus is empty"),
        ("a.csv", b"id,\xe9\n", "line 1: the header cannot be read (not valid UTF-8 (byte 0xe9)"),
        ("a.csv", b'id,"te"xt\n', "line 1: the header cannot be read (not valid CSV"),
        ("a.jsonl", b"", "The corpus is empty: there is no document in"),
        ("a.jsonl", b"\n \n", "The corpus is empty"),
        ("a.jsonl", b'{"nr": 1}', "line 1: no text field among 'nr'."),
        ("a.jsonl", b"{}", "line 1: no text field among no field at all."),
        ("a.jsonl", json.dumps(dict.fromkeys("abcdefghij", 1)).encode(), "'h' and 2 more. Name it"),
        ("a.json", b' [\n {"text": "a"', "a.json, line 2: not valid JSON (Expecting ',' delimiter)."),
        ("a.json", b'{\n "text": "a",\n}', "a.json, line 3: not valid JSON ("),
        ("a.json", b"[{}", "no text field among no field at all."),
        ("a.jsonl", "text".encode("utf-16"), "the text is UTF-16. Save it as UTF-8 (iconv -f UTF-16 -t UTF-8)."),
        ("a.jsonl", b"\x89PNG\r\n\x00\x00", "this is a binary file, not text."),
        ("a.txt", b"\x7fELF\0", "this is a binary file, not text."),
        ("a.txt", b"one\ntwo \xff", "a.txt, line 2: not valid UTF-8 (byte 0xff)."),
        ("a.txt", b" \n", "the text is empty."),
        ("a.xlsx", b"PK", "does not end in a known format (.jsonl, "),
        ("a", b"", "does not end in a known format"),
        ("a.parquet.gz", b"", "Parquet compresses by itself. Decompress the file first."),
        ("a.parquet", b"PAR1 this is not", "not a readable Parquet file ("),
        ("a.jsonl.gz", b"", "the name says gzip, but the file is empty."),
        ("a.jsonl.xz", b'{"text": "a"}', "the name says xz, but its content is not xz."),
        ("a.jsonl.zst", gzip.compress(b"a", mtime=0), "the name says zstd, but its content is not zstd."),
        ("a.jsonl.gz", gzip.compress(b"\0" * 100, mtime=0), "this is a binary file, not text."),
    ],
)
def test_unusable_file(tmp_path: Path, name: str, data: bytes, message: str):
    if "parquet" in name:
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    path.write_bytes(data)
    for skip_bad in (False, True):  # with nothing else to read, it is an error in any case
        with pytest.raises(CorpusError) as caught:
            list(read_documents([path], ReadOptions(skip_bad=skip_bad)))
        assert message in str(caught.value)
        assert str(path) in str(caught.value)


def test_unusable_file_among_others_is_one_bad_record(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(GOOD)
    (tmp_path / "b.jsonl").write_bytes(b"\0")
    (tmp_path / "c.txt").write_bytes(b"\xff")
    (tmp_path / "d.jsonl").write_bytes(LAST)
    sources = [tmp_path / name for name in ("a.jsonl", "b.jsonl", "c.txt", "d.jsonl")]
    report = ReadReport()
    assert [d.id for d in read_documents(sources, ReadOptions(skip_bad=True), report)] == ["a", "z"]
    assert report.skipped == 2
    assert [f"{tmp_path}" in message for message in report.messages] == [True, True]


def test_all_records_bad(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text("{\n{\n")
    with pytest.raises(
        CorpusError, match=r"All 2 records of .*a\.jsonl are bad\. The first: .*a\.jsonl, line 1: not valid JSON"
    ):
        list(read_documents(tmp_path / "a.jsonl", ReadOptions(skip_bad=True)))


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_damaged_archive(tmp_path: Path, suffix: str, damage: str):
    rows = b"".join(json.dumps({"_id": i, "text": os.urandom(40).hex()}).encode() + b"\n" for i in range(3000))
    if suffix == ".zst":
        data = pytest.importorskip("zstandard").ZstdCompressor(write_checksum=True).compress(rows)
    else:
        data = gzip.compress(rows, mtime=0) if suffix == ".gz" else lzma.compress(rows)
    middle = len(data) * 3 // 4
    data = data[:middle] if damage == "truncated" else data[:middle] + bytes(b ^ 0xFF for b in data[middle:])
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(data)
    with pytest.raises(CorpusError) as caught:
        list(read_documents([path]))
    if damage == "truncated":
        assert "the compressed data ends too early; the file is truncated." in str(caught.value)
        assert f"{path}, after line " in str(caught.value)
        (tmp_path / "b.jsonl").write_bytes(LAST)
        report = ReadReport()
        documents = list(read_documents([path, tmp_path / "b.jsonl"], ReadOptions(skip_bad=True), report))
        assert [d.id for d in documents[:-1]] == [str(i) for i in range(len(documents) - 1)]
        assert documents[-1].id == "z"
        assert (report.skipped, report.read) == (1, len(documents))


@pytest.mark.parametrize("name", ["a.csv.gz", "a.txt.gz", "a.jsonl.gz"])
def test_archive_cut_at_its_head(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(gzip.compress(b"id,text\n1,a\n", mtime=0)[:15])
    with pytest.raises(CorpusError, match=r"the compressed data ends too early; the file is truncated\."):
        list(read_documents(tmp_path / name))


def test_truncated_csv_and_text(tmp_path: Path):
    data = gzip.compress(b"id,text\n" + b"".join(f"{i},{os.urandom(30).hex()}\n".encode() for i in range(2000)))
    for name in ("a.csv.gz", "a.txt.gz"):
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(CorpusError, match="the file is truncated"):
            list(read_documents(tmp_path / name))


PIECES = [
    b'{"_id": "',
    b'", "text": "',
    b'"}',
    b"\n",
    b"\r",
    b'"',
    b",",
    b"\t",
    b"id,text",
    b"id\ttext",
    b"a",
    b" ",
    b"\xff",
    b"[",
    b"1",
    b"\0",
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=30), st.booleans())
def test_any_bytes_give_documents_or_one_clear_error(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], skip_bad: bool
):
    folder = tmp_path_factory.mktemp("any")
    data = b"".join(pieces)
    names = [f"a{ending}" for ending in (".jsonl", ".csv", ".tsv", ".md", ".jsonl.gz", ".csv.xz")]
    for name in names:
        packed = gzip.compress(data, mtime=0) if name.endswith("gz") else lzma.compress(data) if name.endswith("xz") else data
        for content in (packed, packed[: len(packed) * 2 // 3]):
            (folder / name).write_bytes(content)
            try:
                documents = list(read_documents([folder / name], ReadOptions(skip_bad=skip_bad)))
            except CorpusError as error:
                assert name in str(error)
                assert len(str(error).splitlines()) == 1
            else:
                assert documents
                assert all(d.id and d.full_text.strip() for d in documents)
                assert len({d.id for d in documents}) == len(documents)


@pytest.mark.parametrize("source", ["nothing.jsonl", "nothing", "a\0b.jsonl"])
def test_missing_file(source: str):
    for skip_bad in (False, True):
        with pytest.raises(CorpusError, match="does not exist|cannot be read"):
            read_documents([source], ReadOptions(skip_bad=skip_bad))


def test_arguments_that_name_nothing():
    with pytest.raises(CorpusError, match="No source of documents was named"):
        read_documents([])
    with pytest.raises(CorpusError, match=r"can be read only once"):
        read_documents(["-", "-"])
    with pytest.raises(CorpusError, match=r"no built-in corpus 'builtin:perl'. There is one: 'builtin:python'"):
        read_documents(["builtin:perl"])


def test_terminal_as_standard_input(set_stdin: Callable[..., None], monkeypatch: pytest.MonkeyPatch):
    set_stdin(b"", terminal=True)
    with pytest.raises(CorpusError, match="Standard input is a terminal. Pipe text or JSON lines"):
        list(read_documents(["-"]))
    monkeypatch.setattr(sys, "stdin", None)  # a program without a console on Windows
    with pytest.raises(CorpusError, match="Standard input is a terminal"):
        list(read_documents(["-"]))


def test_bad_standard_input(set_stdin: Callable[..., None]):
    for data, message in [
        (b"", "The corpus is empty: there is no document in standard input."),
        (b'{"text": "a"}\n{', "standard input, line 2: not valid JSON"),
        (b"one\ntwo \xff\n", "standard input, line 2: not valid UTF-8"),
        (b'[{"text": ""}]', "standard input, line 1: the text is empty"),
        (gzip.compress(os.urandom(99_999).hex().encode())[:50_000], "standard input, after line 0: .* truncated"),
    ]:
        set_stdin(data)
        with pytest.raises(CorpusError, match=message):
            list(read_documents(["-"]))


def test_folder_without_anything_to_read(tmp_path: Path):
    (tmp_path / "data.bin").write_text("a")
    (tmp_path / "more.bin").write_text("a")
    (tmp_path / "Makefile").write_text("a")
    with pytest.raises(
        CorpusError, match=r"holds no corpus\.jsonl and no file that can be read; there is: .bin 2, without ending 1\."
    ):
        list(read_documents([tmp_path]))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_and_folder(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(GOOD)
    (tmp_path / "a.jsonl").chmod(0)
    with pytest.raises(CorpusError, match="cannot be read: permission denied"):
        list(read_documents([tmp_path / "a.jsonl"]))
    (tmp_path / "folder").mkdir(mode=0)
    with pytest.raises(CorpusError, match="cannot be read: permission denied"):
        list(read_documents([tmp_path / "folder"]))


def test_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(CorpusError, match="cannot be listed: Permission denied"):
        list(read_documents([tmp_path]))


def test_chosen_fields_that_are_missing(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"id": 1, "text": "a"}\n')
    (tmp_path / "a.csv").write_text("id,text\n1,a\n")
    cases = [
        (ReadOptions(text_field="body"), "the field 'body' is missing; there is 'id', 'text'. Choose it with --text-field."),
        (ReadOptions(id_field="key"), "the field 'key' is missing; there is 'id', 'text'. Choose it with --id-field."),
        (ReadOptions(title_field="head"), "'head'"),
    ]
    for options, message in cases:
        for name in ("a.jsonl", "a.csv"):
            with pytest.raises(CorpusError) as caught:
                list(read_documents(tmp_path / name, options))
            assert message in str(caught.value)


def test_chosen_title_that_never_occurs_is_noticed_early(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text("".join(f'{{"id": {i}, "text": "a"}}\n' for i in range(1500)))
    documents = read_documents(tmp_path / "a.jsonl", ReadOptions(title_field="head"))
    with pytest.raises(CorpusError, match="No title field 'head' in the first 1,000 records"):
        for _ in range(1000):
            next(documents)


def test_bad_parquet_rows(tmp_path: Path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    bad_text = pyarrow.Array.from_buffers(
        pyarrow.string(), 3, [None, pyarrow.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0"), pyarrow.py_buffer(b"a\xe9c")]
    )
    path = tmp_path / "a.parquet"
    for column, message in [
        (bad_text, "row 2: the field 'text' is not valid UTF-8"),
        (["a", None, "c"], "row 2: the field 'text' is null"),
        ([["a"], ["b"], ["c"]], "row 1: the field 'text' is a list"),
    ]:
        parquet.write_table(pyarrow.table({"id": ["a", "b", "c"], "text": column}), path)
        with pytest.raises(CorpusError) as caught:
            list(read_documents([path]))
        assert f"{path}, {message}" in str(caught.value)
    parquet.write_table(pyarrow.table({"id": ["a", "b", "c"], "text": bad_text}), path)
    assert list(read_documents([path], ReadOptions(skip_bad=True))) == [Document("a", "a"), Document("c", "c")]


def test_truncated_parquet_and_missing_column(tmp_path: Path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"nr": [1, 2], "name": ["a", "b"]}), path)
    with pytest.raises(CorpusError, match=r"a\.parquet: no text field among 'nr', 'name'"):
        list(read_documents([path]))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CorpusError, match=r"a\.parquet: not a readable Parquet file"):
        list(read_documents([path]))


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("a.parquet", "pyarrow", "parquet"), ("a.jsonl.zst", "zstandard", "zstd")]
)
def test_missing_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str, extra: str):
    (tmp_path / name).write_bytes(b"\x28\xb5\x2f\xfd....")
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    with pytest.raises(MissingExtraError, match=rf"needs the package '{package}'.*pip install 'lexite\[{extra}\]'"):
        list(read_documents([tmp_path / name]))
