"""Sources beyond one file: patterns, folders of any content, several folders, datasets, and JSON over many lines."""

from __future__ import annotations

import bz2
import json
import os
import sys
import types
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexite.corpus import Document, Query, ReadOptions, ReadReport, read_documents, read_queries
from lexite.corpus.documents import read_file, read_files
from lexite.corpus.files import list_files
from lexite.errors import CorpusError, MissingExtraError


def ids(*sources: Path | str, report: ReadReport | None = None, **options: Any) -> list[str]:
    return [document.id for document in read_documents(sources, ReadOptions(**options), report)]


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


# JSON -------------------------------------------------------------------------------------------------------------------

RECORDS = [
    {"id": "a", "text": "one", "n": 1},
    {"id": "b", "text": "two [x] {y}", "tags": ["t", "u"]},
    {"id": "c", "text": "é\n"},
]


@pytest.mark.parametrize("indent", [None, 1, 4])
def test_arrays_and_objects_over_many_lines(tmp_path: Path, indent: int | None):
    (tmp_path / "array.json").write_text(json.dumps(RECORDS, indent=indent))
    (tmp_path / "objects.json").write_text("\n".join(json.dumps(record, indent=indent) for record in RECORDS))
    (tmp_path / "one.json").write_text(json.dumps(RECORDS[0], indent=indent))
    for name, n in (("array.json", 3), ("objects.json", 3), ("one.json", 1)):
        found = list(read_documents(tmp_path / name))
        assert [(d.id, d.text) for d in found] == [(record["id"], record["text"]) for record in RECORDS[:n]]
        assert found[0].fields == {"n": 1}


def test_places_in_json_over_many_lines(tmp_path: Path):
    (tmp_path / "a.json").write_text('[\n  {\n    "text": "a"\n  },\n  7,\n  {\n    "id": 1,\n    "text": 5\n  }\n]\n')
    report = ReadReport()
    assert ids(tmp_path / "a.json", report=report, skip_bad=True) == ["1"]
    assert report.messages[0].startswith(f"{tmp_path / 'a.json'}, line 5: there is a number, where a JSON object must be.")
    assert report.messages[1].startswith(f"{tmp_path / 'a.json'}, line 6: the field 'text' is a number")
    (tmp_path / "b.json").write_text('[\n {"text": "a"},\n {"text" "b"},\n {"text": "c"}]')
    report = ReadReport()
    assert ids(tmp_path / "b.json", report=report, skip_bad=True) == ["1"]
    assert report.messages == [f"{tmp_path / 'b.json'}, line 3: not valid JSON (Expecting ':' delimiter)."]
    (tmp_path / "c.json").write_text('[{"text": "a"}')
    with pytest.raises(CorpusError, match="line 1: the JSON array is never closed"):
        ids(tmp_path / "c.json")


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), st.lists, max_leaves=4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.text(), JSON, max_size=4), min_size=1, max_size=5), st.sampled_from([None, 0, 3]))
def test_any_array_gives_what_json_gives(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]], indent: int | None
):
    folder = tmp_path_factory.mktemp("any")
    records = [{**record, "id": str(n), "text": "x" * 30_000 * (n % 3) + "y"} for n, record in enumerate(records)]
    (folder / "a.json").write_text(json.dumps(records, indent=indent, ensure_ascii=False), encoding="utf-8")
    found = list(read_documents(folder / "a.json", ReadOptions(fields="none")))
    assert [(d.id, d.text) for d in found] == [(record["id"], record["text"]) for record in records]


# Tables without a header ------------------------------------------------------------------------------------------------


def test_a_table_without_header_keeps_its_first_row(tmp_path: Path):
    (tmp_path / "a.tsv").write_text("d1\ttext\nd2\tmore of it\nd3\tlast\n")
    expected = [Document("d1", "text"), Document("d2", "more of it"), Document("d3", "last")]
    assert list(read_documents(tmp_path / "a.tsv")) == expected
    (tmp_path / "b.tsv").write_text("7\ttext\n8\tmore\n")
    assert [d.text for d in read_documents(tmp_path / "b.tsv")] == ["text", "more"]


@pytest.mark.parametrize(
    "rows", ["label\ttext\npos\tgood\nneg\tbad\npos\tfine\n", "year\ttext\n2020\tgood\n2021\tbad\n", "text\ngood\n"]
)
def test_words_over_other_things_are_a_header(tmp_path: Path, rows: str):
    (tmp_path / "a.tsv").write_text(rows)
    assert [d.text for d in read_documents(tmp_path / "a.tsv")][:2] == ["good", "bad"][: rows.count("\t")] or ["good"]
    assert "text" not in [d.text for d in read_documents(tmp_path / "a.tsv")]


def test_where_a_header_cannot_be_told_it_is_asked_for(tmp_path: Path):
    (tmp_path / "a.tsv").write_text("lemma\ttext\napple\ta fruit\npear\tanother\n")
    with pytest.raises(CorpusError, match=r"line 1: are 'lemma' and 'text' names of columns, or a record\? Say --header yes"):
        ids(tmp_path / "a.tsv")
    assert [d.fields for d in read_documents(tmp_path / "a.tsv", ReadOptions(header="yes"))] == [
        {"lemma": "apple"},
        {"lemma": "pear"},
    ]
    assert ids(tmp_path / "a.tsv", header="no") == ["lemma", "apple", "pear"]
    (tmp_path / "b.tsv").write_text("a1\tx\ttext\na2\ty\tmore\n")
    with pytest.raises(CorpusError, match="looks like a record, not like the names of 3 columns"):
        ids(tmp_path / "b.tsv")
    options = ReadOptions(header="no", id_field="1", text_field="3")
    assert list(read_documents(tmp_path / "b.tsv", options)) == [
        Document("a1", "text", fields={"2": "x"}),
        Document("a2", "more", fields={"2": "y"}),
    ]


def test_csv_without_header(tmp_path: Path):
    (tmp_path / "a.csv").write_text("d1,one\nd2,two\n")
    assert ids(tmp_path / "a.csv", header="no") == ["d1", "d2"]


# Folders ----------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="POSIX file names and links")
def test_a_folder_is_stopped_by_no_file(tmp_path: Path):
    write(
        tmp_path,
        good_DOT_txt="good",
        empty_DOT_md="",
        blank_DOT_txt=" \n",
        sub__more_DOT_txt="more",
        x_DOT_png="",
        y_DOT_png="",
    )
    write(tmp_path, Makefile="all:")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "utf16.md").write_bytes("text".encode("utf-16"))
    (tmp_path / "broken.txt").symlink_to(tmp_path / "gone.txt")
    (tmp_path / "folder.txt").mkdir()
    os.mkfifo(tmp_path / "pipe.txt")
    report = ReadReport()
    assert ids(tmp_path, report=report) == ["good.txt", "sub/more.txt"]
    assert report.reasons == {"empty": 2, "not UTF-8": 2, "broken link": 1, "no regular file": 1}
    assert report.skipped == 6 and report.unread == {".png": 2, "without ending": 1}
    told = "\n".join(report.messages)
    for words in (
        "empty.md: the text is empty.",
        "latin.txt, line 1: not valid UTF-8",
        "broken.txt cannot be read: a symbolic link that leads nowhere.",
        "pipe.txt is no regular file.",
        "utf16.md: the text is UTF-16",
    ):
        assert words in told
    for name in ("empty.md", "latin.txt"):
        with pytest.raises(CorpusError, match=name):
            ids(tmp_path / name)
    try:
        with open(os.fsencode(tmp_path) + b"/caf\xe9.txt", "wb") as file:
            file.write(b"text")
    except OSError:  # a file system that allows only UTF-8 names
        return
    report = ReadReport()
    assert ids(tmp_path, report=report) == ["good.txt", "sub/more.txt"]
    assert report.reasons["unusable name"] == 1


def test_a_folder_of_bad_files_alone_is_an_error(tmp_path: Path):
    write(tmp_path, a_DOT_txt="", b_DOT_txt=" ")
    with pytest.raises(CorpusError, match=r"All 2 records of .* are bad. The first: .*a\.txt: the text is empty"):
        ids(tmp_path)


def test_a_subfolder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path, a_DOT_txt="a", sub__b_DOT_txt="b")
    real = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    report = ReadReport()
    assert ids(tmp_path, report=report) == ["a.txt"]
    assert report.messages == [f"{tmp_path / 'sub'} cannot be listed: Permission denied."]


def test_a_folder_of_records_is_read_as_them(tmp_path: Path):
    write(
        tmp_path, b_DOT_csv="id,text\nb,x\n", a__c_DOT_jsonl='{"id": "c", "text": "x"}', a_DOT_jsonl='{"id": "a", "text": "x"}'
    )
    write(tmp_path, x_DOT_png="", broken_DOT_jsonl="\0")
    report = ReadReport()
    assert ids(tmp_path, report=report) == ["a", "b", "c"]
    assert report.unread == {".png": 1} and report.reasons == {"unreadable": 1}
    write(tmp_path, README_DOT_md="about")
    report = ReadReport()
    assert ids(tmp_path, report=report) == ["README.md"]
    assert report.unread == {".png": 1, ".jsonl": 3, ".csv": 1} and "Name them to read them" in report.notes[0]


def test_a_folder_of_parquet(tmp_path: Path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    for number in range(3):
        parquet.write_table(arrow.table({"text": [f"{number}"] * 2}), tmp_path / f"part-{number}.parquet")
    (tmp_path / "_SUCCESS").write_text("")
    assert [(d.id, d.text) for d in read_documents(tmp_path)] == [(str(n + 1), str(n // 2)) for n in range(6)]


def test_a_bad_record_in_a_folder_follows_skip_bad(tmp_path: Path):
    write(tmp_path, a_DOT_jsonl='{"id": "a", "text": "x"}\n{\n')
    with pytest.raises(CorpusError, match=r"a\.jsonl, line 2: not valid JSON"):
        ids(tmp_path)
    assert ids(tmp_path, skip_bad=True) == ["a"]


# Several sources --------------------------------------------------------------------------------------------------------


def test_ids_of_several_folders_begin_with_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path, projA__README_DOT_md="a", projB__README_DOT_md="b", projB__sub__c_DOT_txt="c", x__docs__a_DOT_txt="x")
    write(tmp_path, y__docs__a_DOT_txt="y")
    assert ids(tmp_path / "projA", tmp_path / "projB") == ["projA/README.md", "projB/README.md", "projB/sub/c.txt"]
    assert ids(tmp_path / "projA") == ["README.md"]
    assert ids(tmp_path / "x" / "docs", tmp_path / "y" / "docs") == ["x/docs/a.txt", "y/docs/a.txt"]
    assert ids(tmp_path / "projA" / "README.md", tmp_path / "projB" / "README.md") == ["projA/README.md", "projB/README.md"]
    assert ids(tmp_path / "projA" / "README.md", tmp_path / "projB" / "sub" / "c.txt") == ["README.md", "c.txt"]
    monkeypatch.chdir(tmp_path / "projA")
    assert ids(".", "../projB/sub/") == ["projA/README.md", "sub/c.txt"]
    with pytest.raises(CorpusError, match="occurred before"):
        ids(".", ".")


def test_numbers_go_on_over_sources_and_pass_ids_by(tmp_path: Path):
    write(
        tmp_path, a_DOT_jsonl='{"text": "x"}\n{"text": "x"}\n', b_DOT_jsonl='{"id": 3, "text": "x"}\n', c_DOT_csv="text\nx\nx\n"
    )
    assert ids(tmp_path / "a.jsonl", tmp_path / "b.jsonl", tmp_path / "c.csv") == ["1", "2", "3", "4", "5"]
    assert [d.id for d in read_documents(tmp_path / "a.jsonl", taken={"1", "2", "4"}, held=3)] == ["3", "5"]
    assert [d.id for d in read_documents(tmp_path / "a.jsonl", taken={str(n) for n in range(1, 101)}, held=100)] == [
        "101",
        "102",
    ]


# Patterns ---------------------------------------------------------------------------------------------------------------


def test_patterns_that_no_shell_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(
        tmp_path,
        docs__a_DOT_md="a",
        docs__sub__b_DOT_md="b",
        docs__c_DOT_txt="c",
        docs__d_DOT_png="",
        data__x_DOT_csv="id,text\nx,y\n",
    )
    monkeypatch.chdir(tmp_path)
    assert ids("docs/**/*.md") == ["a.md", "sub/b.md"]
    assert ids("docs/*.md", "docs/sub") == ["docs/a.md", "sub/b.md"]
    assert ids("*/*.[ct]*") == ["x", "docs/c.txt"]
    assert sorted(ids("d?cs")) == ["docs/a.md", "docs/c.txt", "docs/sub/b.md"]
    report = ReadReport()
    assert ids("docs/*", report=report) == ["a.md", "c.txt", "sub/b.md"]
    assert report.unread == {".png": 1}
    with pytest.raises(CorpusError, match=r"docs/\*\.pdf matches no file\."):
        ids("docs/*.pdf")
    (tmp_path / "[a].md").write_text("brackets")
    assert ids("[a].md") == ["[a].md"]


# Listing, for those who keep an index in step --------------------------------------------------------------------------


def test_files_are_listed_with_the_ids_they_will_have(tmp_path: Path):
    write(tmp_path, a__one_DOT_md="# One\n\nx", a__two_DOT_txt="", b__three_DOT_py="x = 1", b__x_DOT_png="")
    (tmp_path / "a" / "mail.mbox").write_text("From a b\nSubject: s\n\nx\n\nFrom a b\n\ny\n")
    report = ReadReport()
    entries = list_files([tmp_path / "a", tmp_path / "b"], report)
    assert [entry.id for entry in entries] == ["a/mail.mbox", "a/one.md", "a/two.txt", "b/three.py"]
    assert report.unread == {".png": 1}
    report = ReadReport()
    found = list(read_files(entries, report=report))
    assert [d.id for d in found] == ["a/mail.mbox#1", "a/mail.mbox#2", "a/one.md", "b/three.py"]
    assert found == list(read_documents([tmp_path / "a", tmp_path / "b"]))
    assert list(read_file(entries[1])) == [Document("a/one.md", "x", "One")]
    assert report.reasons == {"empty": 1} and list(read_file(entries[2])) == []
    (tmp_path / "a" / "one.md").unlink()
    report = ReadReport()
    assert list(read_file(entries[1], report=report)) == [] and report.reasons == {"unreadable": 1}
    (single,) = list_files(tmp_path / "b" / "three.py")
    assert single.id == "three.py"
    with pytest.raises(CorpusError, match="is no file or folder"):
        list_files("builtin:python")


# Compression and datasets -----------------------------------------------------------------------------------------------


def test_bzip2(tmp_path: Path):
    (tmp_path / "a.jsonl.bz2").write_bytes(bz2.compress(b'{"id": "a", "text": "x"}\n'))
    (tmp_path / "b.txt").write_bytes(b"BZh9 is how it begins")
    assert ids(tmp_path / "a.jsonl.bz2", tmp_path / "b.txt") == ["a", "b.txt"]
    (tmp_path / "a.jsonl.bz2").write_bytes(bz2.compress(os.urandom(5000))[:3000])
    with pytest.raises(CorpusError, match="truncated|damaged"):
        ids(tmp_path / "a.jsonl.bz2")


@pytest.fixture
def datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that knows one dataset in the form of ir_datasets."""
    Doc = namedtuple("Doc", "doc_id text title year metadata")
    Odd = namedtuple("Odd", "doc_id headline lead")
    Odd.default_text = lambda self: f"{self.headline} {self.lead}"  # type: ignore[attr-defined]
    Topic = namedtuple("Topic", "query_id text")

    class Dataset:
        def __init__(self, docs: list[Any], queries: list[Any]) -> None:
            self.docs_iter, self.queries_iter = lambda: iter(docs), lambda: iter(queries)
            self.has_docs, self.has_queries = lambda: bool(docs), lambda: bool(queries)

    known = {
        "toy": Dataset([Doc("1", "It barks.", "Dog", 2020, {})], [Topic("q", "dog?")]),
        "odd": Dataset([Odd("1", "Dog", "bites")], []),
    }
    module = types.ModuleType("ir_datasets")
    module.load = known.__getitem__  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ir_datasets", module)


@pytest.mark.usefixtures("datasets")
def test_datasets_by_name():
    assert list(read_documents("ir_datasets:toy")) == [Document("1", "It barks.", "Dog", fields={"year": 2020})]
    (document,) = read_documents("ir_datasets:odd")
    assert (document.id, document.text) == ("1", "Dog bites")
    assert list(read_queries("ir_datasets:toy")) == [Query("q", "dog?")]
    with pytest.raises(CorpusError, match="knows no dataset 'none'. Run: ir_datasets list"):
        ids("ir_datasets:none")
    with pytest.raises(CorpusError, match="ir_datasets:odd has no queries"):
        list(read_queries("ir_datasets:odd"))


def test_datasets_without_the_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lexite\[ir-datasets\]'"):
        ids("ir_datasets:toy")


def test_a_dataset_of_the_real_package():
    package = pytest.importorskip("ir_datasets")
    formats = pytest.importorskip("ir_datasets.formats")

    class Toy(formats.BaseDocs):
        def docs_iter(self) -> Any:
            yield formats.GenericDoc("d1", "It barks.")
            yield formats.GenericDoc("d2", "It purrs.")

    if "lexite-toy" not in package.registry:
        package.registry.register("lexite-toy", package.Dataset(Toy()))
    assert [(d.id, d.text) for d in read_documents("ir_datasets:lexite-toy")] == [("d1", "It barks."), ("d2", "It purrs.")]
