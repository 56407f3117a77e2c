"""Shards of sources: together they hold what one reading gives, in the same order, wherever they are cut."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexite.corpus import ReadOptions, ReadReport, read_documents
from lexite.corpus.documents import read_parts
from lexite.corpus.records import Document
from lexite.corpus.sharding import Shard, digest_of_parts, parts_of_shard
from lexite.errors import ConfigError, CorpusError


def shards(sources: list[Path], n: int, options: ReadOptions | None = None) -> list[list[Document]]:
    cut = [parts_of_shard(sources, Shard(number, n)) for number in range(n)]
    return [list(read_parts(parts, options, numbers=n == 1)) for parts in cut]


def together(sources: list[Path], n: int, options: ReadOptions | None = None) -> list[Document]:
    return [document for shard in shards(sources, n, options) for document in shard]


def jsonl(path: Path, count: int, first: int = 0, mark: bytes = b"") -> Path:
    lines = [
        json.dumps({"_id": f"{path.stem}{i}", "text": f"text {i} " + "wörter " * (i % 7), "year": 1990 + i})
        for i in range(first, first + count)
    ]
    path.write_bytes(mark + ("\n".join(lines) + "\n").encode())
    return path


@given(n=st.integers(1, 40), count=st.integers(1, 30))
def test_lines_are_cut_anywhere_and_none_is_lost(tmp_path_factory: pytest.TempPathFactory, n: int, count: int) -> None:
    folder = tmp_path_factory.mktemp("lines")
    sources = [jsonl(folder / "a.jsonl", count), jsonl(folder / "b.jsonl", 3, mark=b"\xef\xbb\xbf")]
    assert together(sources, n) == list(read_documents(sources))


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("n", [2, 3, 9])
def test_a_range_of_a_table_has_the_columns_and_types_of_the_whole(tmp_path: Path, n: int, header: bool) -> None:
    rows = [f"{i}\ttext number {i}" + (f"\t{'' if i < 5 else i / 2}" if header else "") for i in range(20)]
    path = tmp_path / "t.tsv"
    path.write_text("\n".join((["id\ttext\tsize"] if header else []) + rows) + "\n")
    found = together([path], n)
    assert found == list(read_documents([path])) and len(found) == 20
    assert all(type(document.fields.get("size", 0.0)) is float for document in found)


def test_row_groups_of_parquet_go_to_shards(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pa.table({"id": [f"d{i}" for i in range(50)], "text": [f"text {i}" for i in range(50)], "n": list(range(50))})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=7)
    found = shards([tmp_path / "t.parquet"], 3)
    assert [document for shard in found for document in shard] == list(read_documents([tmp_path / "t.parquet"]))
    assert all(len(shard) >= 8 for shard in found)


def test_files_that_cannot_be_cut_are_read_whole_by_one_shard(tmp_path: Path) -> None:
    for name in ("a.txt", "b.md", "c.txt"):
        (tmp_path / name).write_text(f"The text of {name}.")
    spread = tmp_path / "records.json"
    spread.write_text(json.dumps([{"_id": "x", "text": "one"}, {"_id": "y", "text": "two"}], indent=1))
    (tmp_path / "empty.txt").write_text("")
    for sources in ([tmp_path / "a.txt", tmp_path / "b.md", tmp_path / "c.txt"], [spread], [spread, tmp_path / "a.txt"]):
        assert together(sources, 2) == list(read_documents(sources))
        assert together(sources, 11) == list(read_documents(sources))


def test_sizes_are_even(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", 1000)
    assert all(abs(len(shard) - 125) < 15 for shard in shards([path], 8))


def test_a_record_without_an_id_is_bad_in_a_shard(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": f"text {i}"}) + "\n" for i in range(9)))
    with pytest.raises(CorpusError, match=r"bytes 0 to .*it has no id"):
        together([path], 2)
    assert [document.id for document in together([path], 1)] == [str(i) for i in range(1, 10)]


def test_bad_records_are_counted_by_the_shard_that_has_them(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", 40)
    path.write_text("broken\n" + path.read_text() + "broken too\n")
    skipped = []
    for number in range(4):
        report = ReadReport()
        list(read_parts(parts_of_shard([path], Shard(number, 4)), ReadOptions(skip_bad=True), report))
        skipped.append(report.skipped)
    assert skipped == [1, 0, 0, 1]


def test_a_bad_file_of_a_folder_ends_no_shard(tmp_path: Path) -> None:
    for name, text in {"a.md": "The first note.", "b.md": "", "c.md": "The third note."}.items():
        (tmp_path / name).write_text(text)
    for sources in ([tmp_path], [Path(f"{tmp_path}/*.md")]):
        report = ReadReport()
        parts = [part for number in range(2) for part in parts_of_shard(sources, Shard(number, 2))]
        assert list(read_parts(parts, report=report)) == list(read_documents(sources))
        assert report.reasons == {"empty": 1}
    with pytest.raises(CorpusError, match=r"b\.md: the text is empty"):
        together([tmp_path / "b.md"], 2)


def test_a_file_of_a_folder_that_cannot_be_read_ends_no_shard(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    for name in ("a.md", "e.md"):
        (folder / name).write_text(f"The note {name}.")
    (folder / "b.md").symlink_to(tmp_path / "nowhere")
    os.mkfifo(folder / "c.md")  # to open it would wait for ever
    before = ReadReport()
    wanted = list(read_documents([folder], report=before))
    for count in (1, 2, 3):
        report = ReadReport()
        shards = [parts_of_shard([folder], Shard(number, count)) for number in range(count)]
        found = [document for parts in shards for document in read_parts(parts, report=report)]
        assert found == wanted and [document.id for document in found] == ["a.md", "e.md"]
        assert sorted(report.messages) == sorted(before.messages) and report.reasons == before.reasons
        assert {"b.md", "c.md"} == {Path(message.split()[0]).name for message in report.messages}
    digests = [digest_of_parts(parts) for parts in shards]
    (tmp_path / "nowhere").write_text("It is there now.")
    assert [digest_of_parts(parts) for parts in shards] != digests  # so the shard is encoded again
    (tmp_path / "nowhere").unlink()
    with pytest.raises(CorpusError, match=r"b\.md"):  # one that was named ends the command
        digest_of_parts(parts_of_shard([folder / "b.md"], Shard(0, 1)))


def test_damaged_tables_of_a_folder_end_no_shard(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", 20)
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "c.jsonl").symlink_to(tmp_path / "nowhere")
    before, report = ReadReport(), ReadReport()
    wanted = list(read_documents([tmp_path], report=before))
    shards = [parts_of_shard([tmp_path], Shard(number, 3)) for number in range(3)]
    assert all(digest_of_parts(parts) for parts in shards)
    assert [document for parts in shards for document in read_parts(parts, report=report)] == wanted
    assert len(wanted) == 20 and report.skipped == before.skipped == 2
    with pytest.raises(CorpusError, match=r"b\.parquet: not a readable Parquet file"):
        parts_of_shard([tmp_path / "b.parquet"], Shard(0, 2))


def test_the_digest_is_that_of_the_bytes_of_the_shard(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", 40)

    def digests() -> list[str]:
        return [digest_of_parts(parts_of_shard([path], Shard(number, 4))) for number in range(4)]

    before = digests()
    assert len(set(before)) == 4 and digests() == before
    content = path.read_bytes()
    path.write_bytes(content[:-20] + b"X" + content[-19:])
    after = digests()
    assert after[:3] == before[:3] and after[3] != before[3]


@pytest.mark.parametrize("text", ["", "3", "4/4", "-1/4", "1/0", "a/b"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="counted from 0"):
        Shard.parse(text)


def test_streams_cannot_be_cut() -> None:
    with pytest.raises(CorpusError, match="no file or folder"):
        parts_of_shard(["builtin:python"], Shard(0, 2))
