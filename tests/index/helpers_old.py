"""Indexes as earlier versions of the format had them, made from those of today."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from lexite.files import json_checksum
from lexite.index import BM25Index
from lexite.index.segment import row_term_type
from lexite.index.storage import FileWriter, write_array


def to_version(path: Path, version: int) -> None:
    """Writes an index of weights that were not rounded as version 2, 3, 4 or 5 of the format had it.

    Rows become arrays of terms and of weights, texts are no longer compressed, and the commit point loses what that version did
    not have.
    """
    value: dict[str, Any] = json.loads((path / "index.json").read_text())
    assert (value["format_version"], value.pop("mantissa")) == (6, 23)
    value.pop("sha256")
    assert ("side_data" in value) == (version == 5)
    index = BM25Index.open(path)
    for entry, segment in zip(value["segments"], index._scorer.segments, strict=True):
        bounds, terms, weights = segment.rows.span(0, segment.n_passages)
        folder = path / "segments" / entry["name"]
        for name in ("rows.bin", "row_bounds.npy"):
            (folder / name).unlink()
        del entry["files"]["rows.bin"]
        arrays = {"row_terms.bin": terms.astype(row_term_type(segment.n_terms)), "row_weights.bin": weights}
        if segment.texts is not None:
            texts = [b"".join(segment.texts.document(number)) for number in range(segment.n_documents)]
            arrays["texts.bin"] = np.frombuffer(b"".join(texts), np.uint8)
            for name in ("texts.bin", "text_blocks.npy"):
                (folder / name).unlink()
                del entry["files"][name]
        for name, array in arrays.items():
            with FileWriter(folder / name) as file:
                file.write(np.ascontiguousarray(array))
            entry["files"][name] = {"bytes": file.record.bytes, "sha256": file.record.sha256}
        record = write_array(folder / "row_bounds.npy", bounds)
        entry["files"]["row_bounds.npy"] = {"bytes": record.bytes, "sha256": record.sha256}
    value["format_version"] = version
    if version <= 3:
        assert value.pop("passages") is None
        for entry in value["segments"]:
            assert entry.pop("n_passages") == entry["n_documents"]
    if version == 2:
        assert value.pop("literal") is None and value.pop("words") is None
        del value["scoring"]["literal_weight"], value["scoring"]["idf_power"]
        for entry in value["segments"]:
            assert entry.pop("n_terms") == value["vocabulary"]["n_terms"]
    (path / "index.json").write_text(json.dumps({**value, "sha256": json_checksum(value)}))
