"""Spark on this machine: the same rows as one process makes."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexite.cluster.rows import RowEncoding, encode_table
from lexite.errors import ConfigError

pa = pytest.importorskip("pyarrow")
pytest.importorskip("pyspark")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (shutil.which("java") or os.environ.get("JAVA_HOME")), reason="Spark needs Java"),
]


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").appName("lexite")
    for name, value in (
        ("spark.driver.bindAddress", "127.0.0.1"),
        ("spark.driver.host", "127.0.0.1"),
        ("spark.ui.enabled", "false"),
        ("spark.sql.execution.arrow.maxRecordsPerBatch", "50"),
    ):
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


def test_spark_encodes_what_one_process_encodes(spark: Any, tiny_vocabulary: Path) -> None:
    from lexite.cluster.spark import encode

    texts = ["cat dog bird fish. " * (i % 4 + 1) for i in range(200)]
    rows = [(f"d{i:03d}", text if i != 77 else "", i) for i, text in enumerate(texts)]
    frame = spark.createDataFrame(rows, "id string, text string, year int").repartition(4)
    found = sorted((row.asDict() for row in encode(frame, tiny_vocabulary).collect()), key=lambda row: row["id"])
    table = pa.Table.from_pylist([dict(zip(("id", "text", "year"), row, strict=True)) for row in rows])
    wanted = sorted(encode_table(table, RowEncoding(str(tiny_vocabulary))).to_pylist(), key=lambda row: row["id"])
    assert [row["error"] for row in found if row["error"]] == ["The text is empty."] and found[77]["terms"] is None
    for ours, theirs in zip(found, wanted, strict=True):
        floats = {name: (ours.pop(name), theirs.pop(name)) for name in ("weights", "word_weights")}
        assert ours == theirs
        for some, others in floats.values():  # batches are cut elsewhere, so the model may round otherwise
            np.testing.assert_allclose(np.array(some or [], float), np.array(others or [], float), rtol=1e-5)
    with pytest.raises(ConfigError, match="no column 'body'"):
        encode(frame, tiny_vocabulary, text_column="body")
