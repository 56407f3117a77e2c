"""Files of an index are never changed in place, so a copy by hard links stays as it is; what happens where others do that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers_index import VOCABULARY, weights_of
from helpers_side import passages_of, record_of, rows_of
from helpers_static import table_of
from helpers_words import LITERAL, documents_with, texts_of
from scipy.sparse import csr_array

from lexite.corpus.records import Document
from lexite.index import BM25Index
from lexite.index.file_table import KnownFile
from lexite.index.writer import IndexWriter
from lexite.locking import LOCK_NAME
from lexite.terms import EncodedQueries

QUERIES = EncodedQueries(weights_of(5, 77, 0.2))
RECORD = record_of()


def documents_of(first: int, n: int) -> list[Document]:
    plain = documents_with([f"d{first + i}" for i in range(n)], texts_of(n, first))
    return [Document(d.id, d.text, d.title, fields={"year": 1990 + i, "day": "a"}) for i, d in enumerate(plain)]


def files_of(folder: Path) -> dict[str, bytes]:
    """All files but the lock, which nobody maps."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != LOCK_NAME]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def link(folder: Path, copy: Path) -> None:
    """Makes a copy of which each file is the same one on the disk."""
    for path in folder.rglob("*"):
        if path.is_file() and path.name != LOCK_NAME:
            other = copy / path.relative_to(folder)
            other.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, other)


def found(index: BM25Index) -> list[list[tuple[str, float]]]:
    return [[(hit.id, hit.score) for hit in hits] for hits in index.search(QUERIES, 20)]


def add(writer: IndexWriter, first: int, n: int, heavier: float = 1.0) -> None:
    side = rows_of(passages_of(n, first), RECORD)
    writer.add(documents_of(first, n), csr_array(weights_of(n, first) * np.float32(heavier)), side=side)


@pytest.mark.slow
def test_no_change_of_an_index_touches_a_file_that_is_there(tmp_path: Path) -> None:
    """Documents, deletions, words, fields, side files, tables, lists that are built again, merges, a new build in its place."""
    path, states = tmp_path / "i", list[tuple[Path, dict[str, bytes], list[list[tuple[str, float]]]]]()

    def check() -> None:
        """All earlier copies are as they were; then one of the newest state is made."""
        for copy, files, answers in states:
            assert files_of(copy) == files and found(BM25Index.open(copy, verify=True)) == answers
        copy = tmp_path / f"copy{len(states)}"
        link(path, copy)
        index = BM25Index.open(copy, verify=True)
        states.append((copy, files_of(copy), found(index)))

    with BM25Index.create(path, VOCABULARY, literal=LITERAL, side_data=RECORD) as writer:
        add(writer, 0, 300)
        writer.set_static(table_of(1))
        writer.set_files({"a.txt": KnownFile("a.txt", 3, 1, 1, 1, "0" * 64, ("d1",))})
        writer.commit()
    check()
    held = BM25Index.open(path)
    before = found(held)
    with BM25Index.writer(path) as writer:
        writer.delete(["d3", "d7", "d250"])
        writer.commit()
        check()
        add(writer, 1000, 200, heavier=9.0)  # longer documents: all lists are built again
        writer.set_static(table_of(2))
        writer.set_files({})
        writer.commit()
        check()
        writer.delete([f"d{number}" for number in range(20, 190)])
        writer.commit()
        check()
        for first in range(2000, 2010):
            add(writer, first * 10, 5)
            writer.commit()
            check()
        writer.merge()
    check()
    kinds = {Path(name).suffix for _, files, _ in states for name in files}
    assert kinds >= {".bin", ".npy", ".json", ".arrow", ".safetensors"}
    with BM25Index.create(path, VOCABULARY, overwrite=True) as writer:
        writer.add(documents_of(0, 40), weights_of(40, 9))
        writer.commit()
    check()
    assert found(held) == before, "its files are gone from the folder, and still mapped"


SPOILER = """
import os, sys
from pathlib import Path

from helpers_index import weights_of

from lexite.errors import IndexFormatError
from lexite.index import BM25Index
from lexite.terms import EncodedQueries

folder, how = Path(sys.argv[1]), sys.argv[2]
index, queries = BM25Index.open(folder), EncodedQueries(weights_of(5, 77, 0.2))
before = index.search(queries, 20)
for path in [path for path in folder.rglob("*") if path.suffix in (".bin", ".npy")]:
    if how == "cut":
        os.truncate(path, 0)
    elif how == "removed":
        path.unlink()
    elif how == "replaced":
        path.with_suffix(".new").write_bytes(b"other")
        os.replace(path.with_suffix(".new"), path)
    elif how == "overwritten":
        with open(path, "r+b") as file:
            file.write(bytes([170]) * path.stat().st_size)
try:
    print("as before" if index.search(queries, 20) == before else "otherwise")
except IndexFormatError:
    print("refused")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="signals and mapped files of Linux")
@pytest.mark.parametrize("how", ["removed", "replaced", "overwritten", "cut"])
def test_what_happens_to_a_process_whose_files_somebody_changes(tmp_path: Path, how: str) -> None:
    """As docs/index-format.md says: renames and removals harm nobody, what is overwritten is noticed at best, a cut ends it."""
    with BM25Index.create(tmp_path / "i", VOCABULARY) as writer:
        writer.add(documents_of(0, 3000), weights_of(3000, 1))
        writer.commit()
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", SPOILER, str(tmp_path / "i"), how]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths})
    if how == "cut":
        assert done.returncode == -signal.SIGBUS
    else:
        told = done.stdout.strip()
        assert done.returncode == 0 and told in (("refused", "otherwise") if how == "overwritten" else ("as before",)), (
            done.stderr
        )
