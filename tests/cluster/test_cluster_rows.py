"""The function that workers of Ray and Spark run: rows in, rows of terms out, and no row ends a job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexite.cluster.rows import RowEncoding, encode_table, result_schema
from lexite.cluster.settings import TermsSettings
from lexite.cluster.table import decoded, encode_documents
from lexite.corpus.passages import PassageConfig
from lexite.corpus.records import Document
from lexite.errors import BackboneError, ConfigError
from lexite.terms import LatentTermEncoder

pa = pytest.importorskip("pyarrow")
CUT = PassageConfig(10, 12)


def table(n: int, **columns: Any) -> Any:
    texts = ["cat dog bird fish. " * (i % 4 + 1) for i in range(n)]
    return pa.table({"id": [f"d{i}" for i in range(n)], "text": texts, "year": list(range(n)), **columns})


@pytest.fixture(scope="module")
def how(tiny_vocabulary: Path) -> RowEncoding:
    return RowEncoding(str(tiny_vocabulary), passages=CUT)


def test_rows_are_those_of_a_shard(how: RowEncoding) -> None:
    found = encode_table(table(20), how)
    assert found.schema == result_schema() and found.column("error").null_count == found.num_rows
    documents = [Document(row["id"], row["text"], fields={"year": row["year"]}) for row in table(20).to_pylist()]
    encoder = how.encoder()
    wanted = encode_documents(documents, encoder, TermsSettings.of(encoder, passages=CUT, static=False))
    assert found.num_rows == wanted.num_rows > 20
    for name in wanted.schema.names:
        assert found.column(name).to_pylist() == wanted.column(name).to_pylist()
    read = decoded(wanted, encoder.n_latents, {"year": "integer"}, "x")
    assert read.documents == documents and np.all(read.rows.data > 0)


def test_bad_rows_are_reported_and_end_nothing(how: RowEncoding) -> None:
    rows = [
        {"key": 1, "body": "cat dog"},
        {"key": None, "body": "cat"},
        {"key": 3, "body": ""},
        {"key": 4, "body": None},
        {"key": 5, "body": "bird"},
    ]
    chosen = RowEncoding(how.vocabulary, "key", "body")
    found = encode_table(pa.Table.from_pylist(rows), chosen).to_pylist()
    errors = {row["id"]: row["error"] for row in found}
    assert errors == {
        "1": None,
        "5": None,
        None: "It has no id.",
        "3": "The text is empty.",
        "4": "Its text is a NoneType, not text.",
    }
    assert all((row["terms"] is None) == (row["error"] is not None) for row in found)


def test_a_record_that_the_model_cannot_take_is_found_among_others(how: RowEncoding, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = LatentTermEncoder.encode_documents

    def fails(self: LatentTermEncoder, texts: Any, **options: Any) -> Any:
        if any("poison" in text for text in texts):
            raise BackboneError("out of memory")
        return plain(self, texts, **options)

    monkeypatch.setattr(LatentTermEncoder, "encode_documents", fails)
    rows = table(8).set_column(1, "text", pa.array(["cat"] * 3 + ["poison"] + ["dog"] * 4))
    found = {row["id"]: row["error"] for row in encode_table(rows, how).to_pylist()}
    assert found.pop("d3") == "BackboneError: out of memory"
    assert len(found) == 7 and set(found.values()) == {None}


def test_columns_are_named_where_they_are_missing(how: RowEncoding) -> None:
    with pytest.raises(ConfigError, match="no column 'text'; there is id, body"):
        encode_table(pa.table({"id": ["a"], "body": ["b"]}), how)
    assert encode_table(table(0), how).num_rows == 0
