"""Documents that the vocabulary cannot read are counted and named, and found by their words where they have any."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from lexite import Document, Searcher
from lexite.scoring.words import LiteralConfig
from lexite.search.unread import UnreadDocuments

RECORDS = [("smile", "😀 😀"), ("thai", "แมว นอน หลังคา"), ("half", "แมว cat"), ("cat", "the cat drinks milk"), ("sun", "☀️")]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "documents.jsonl"
    file.write_text("".join(json.dumps({"_id": i, "text": text}) + "\n" for i, text in RECORDS))
    return file


def test_index_and_add_name_them(lexite, source: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    index = tmp_path / "i"
    done = lexite("index", source, "-o", index, "--vocabulary", tiny_vocabulary)
    assert done.err.splitlines() == [
        "Warning: 2 documents have no term at all, so nothing finds them: smile, sun",
        "Warning: 1 document is mostly of word pieces that the vocabulary cannot read: thai",
    ]
    hits = lexite("search", index, "แมว", "--json").json["hits"]
    assert {hit["id"] for hit in hits} == {"thai", "half"}
    facts = lexite("add", index, source, "--replace", "--json").json
    assert (facts["without_terms"], facts["without_terms_ids"]) == (2, ["smile", "sun"])
    assert (facts["mostly_unknown"], facts["mostly_unknown_ids"]) == (1, ["thai"])


def test_without_words_more_of_them_have_no_terms(lexite, source: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    facts = lexite("index", source, "-o", tmp_path / "i", "--vocabulary", tiny_vocabulary, "--no-literal", "--json").json
    assert facts["without_terms_ids"] == ["smile", "thai", "sun"] and facts["mostly_unknown"] == 0


def test_nothing_is_said_where_all_are_read(lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    done = lexite("index", documents, "-o", tmp_path / "i", "--vocabulary", tiny_vocabulary, "--json")
    assert done.err == "" and done.json["without_terms"] == done.json["mostly_unknown"] == 0


def test_python_is_told_too(tiny_vocabulary: Path, caplog: pytest.LogCaptureFixture) -> None:
    texts = [text for _, text in RECORDS]
    with Searcher.build(texts=texts, vocabulary=tiny_vocabulary, show_progress=False):
        assert "2 documents have no term at all, so nothing finds them: 1, 5" in caplog.text


def test_three_ids_are_shown_and_rows_of_passages_belong_together(caplog: pytest.LogCaptureFixture) -> None:
    documents = [Document(f"d{n}", "😀") for n in range(5)]
    rows = csr_array(np.array([[0.0], [0.0], [1.0], [0.0], [0.0], [0.0], [0.0]], dtype=np.float32))
    unread = UnreadDocuments()
    unread.note(documents, rows, None, LiteralConfig(), bounds=np.array([0, 1, 3, 4, 6, 7]))
    assert unread.without_terms == ["d0", "d2", "d3", "d4"] and unread.mostly_unknown == []
    unread.tell()
    assert caplog.messages == ["4 documents have no term at all, so nothing finds them: d0, d2, d3 …"]
