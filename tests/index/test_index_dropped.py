"""Leaving a writer's block without a commit drops what was changed, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers_index import VOCABULARY, documents_of, weights_of

from lexite.index import BM25Index, IndexWriter


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with BM25Index.create(tmp_path / "i", VOCABULARY) as writer:
        writer.add(documents_of(["a", "b"]), weights_of(2, 1))
        writer.commit()
    return tmp_path / "i"


def add(writer: IndexWriter) -> None:
    writer.add(documents_of(["c"]), weights_of(1, 2))


CHANGES = {
    "add": add,
    "replace": lambda writer: writer.replace(documents_of(["a"]), weights_of(1, 2)),
    "delete": lambda writer: writer.delete(["a"]),
    "set_static": lambda writer: writer.set_static(None),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_that_are_dropped_are_told(path: Path, change: str, caplog: pytest.LogCaptureFixture) -> None:
    with BM25Index.writer(path) as writer:
        CHANGES[change](writer)
    assert caplog.messages == [f"Changes of {path} were not committed and are dropped. Call commit() before the block ends."]
    assert caplog.records[0].levelname == "WARNING" and BM25Index.open(path).n_documents == 2


def test_nothing_is_told_where_nothing_is_lost(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with BM25Index.writer(path):
        pass
    with BM25Index.writer(path) as writer:
        add(writer)
        writer.commit()
    with BM25Index.writer(path) as writer:
        writer.delete(["nobody"], missing_ok=True)
        writer.merge()
    with BM25Index.writer(path) as writer:
        writer.delete(["c"])
        writer.rollback()
    with pytest.raises(RuntimeError), BM25Index.writer(path) as writer:
        writer.delete(["c"])
        raise RuntimeError
    assert caplog.messages == [] and BM25Index.open(path).n_documents == 3
