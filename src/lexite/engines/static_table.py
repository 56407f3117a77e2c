"""The static table of an index as plain data, so that a program in any language can encode queries.

The folder holds ``static-table.json`` with all settings and checksums, ``table.safetensors`` with the numbers,
``tokenizer.json``, and for literal words ``words.json`` and ``folding.json``. ``docs/queries-without-python.md`` says how a
query is encoded with them, and ``clients/javascript`` does it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lexite.config import to_dict
from lexite.engines.routes import ROUTE_NAMES, check_route, route
from lexite.engines.statistics import statistics_of
from lexite.errors import ConfigError
from lexite.files import check_output_folder, json_checksum, replace_folder, write_json
from lexite.scoring.formula import inverse_document_frequency, saturation_form, worth_of_terms
from lexite.search.queries import static_queries_of

if TYPE_CHECKING:
    from lexite.index import BM25Index
    from lexite.scoring.config import BM25Config

TABLE_NAME = "static-table.json"
FORMAT, FORMAT_VERSION = "lexite-static-table", 1


@dataclass(frozen=True)
class ExportedTable:
    """What was written.

    Attributes:
        folder: where.
        files: names and bytes.
        n_pieces: word pieces of the table.
        n_words: literal words.
    """

    folder: Path
    files: dict[str, int]
    n_pieces: int
    n_words: int


def export_static_table(
    index: BM25Index,
    folder: str | Path,
    *,
    scoring: BM25Config | None = None,
    vocabulary: str | None = None,
    overwrite: bool = False,
) -> ExportedTable:
    """Writes what queries need that are encoded without Python. It appears whole, or not at all.

    Args:
        index: whose table, words and statistics are taken.
        folder: where.
        scoring: how the engine scores; None: as the index does.
        vocabulary: where the vocabulary is now, whose table is taken where the index has none.
        overwrite: whether such a folder may be replaced.

    Raises:
        IndexFormatError: there is no table.
        StorageError: the folder holds something else, or cannot be written.
    """
    place = check_output_folder(folder, TABLE_NAME, overwrite=overwrite)
    queries = static_queries_of(index, vocabulary)
    statistics = statistics_of(index, scoring)
    scoring, table = statistics.scoring, queries.table
    rows, frequency = table.rows, statistics.document_frequency
    arrays = {
        "bounds": np.asarray(rows.indptr).astype(np.uint32),
        "latents": np.asarray(rows.indices).astype(np.uint32),
        "values": np.asarray(rows.data).astype(np.float32),
        "worth": worth_of_terms(statistics.n_passages, frequency, index.n_latents, scoring),
        "engine_idf": inverse_document_frequency(statistics.n_filled, frequency, "lucene"),
    }
    words = [index.word(term) for term in range(index.n_latents, index.n_terms)]
    contents = {"table.safetensors": _safetensors(arrays), "tokenizer.json": table.tokenizer.encode()}
    if index.literal is not None:
        contents |= {"words.json": _json(words), "folding.json": _json(_folding())}
    files = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in contents.items()}
    facts: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "n_latents": index.n_latents,
        "n_terms": index.n_terms,
        "special_tokens": table.special_tokens,
        "window": table.window,
        "pooling": table.pooling,
        "floor": queries.floor,
        "query_transform": scoring.query_transform,
        "literal": None if index.literal is None or not scoring.literal_weight else to_dict(index.literal),
        "routes": _routes(scoring),
        "statistics": statistics.to_json(),
        "files": files,
    }
    with replace_folder(place) as fresh:
        for name, data in contents.items():
            (fresh / name).write_bytes(data)
        write_json(fresh / TABLE_NAME, {**facts, "sha256": json_checksum(facts)})
    return ExportedTable(place, {name: len(data) for name, data in contents.items()}, table.n_pieces, len(words))


def _routes(scoring: BM25Config) -> dict[str, Any]:
    """How the weights of each route are made, for those that can express the scoring."""
    found: dict[str, Any] = {}
    for name in ROUTE_NAMES:
        each = route(name)
        try:
            check_route(each, scoring)
        except ConfigError:
            continue
        scale = float(saturation_form(scoring).scale) if each.saturates else 1.0
        pivot = each.pivot(scoring) if each.saturates else None
        found[name] = {"factor": scale, "own_idf": each.own_idf, "pivot": pivot}
    return found


def _folding() -> dict[str, str]:
    """What Unicode's full case folding does to each character that it changes, which few languages have at hand."""
    characters = (chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF)
    return {character: folded for character in characters if (folded := character.casefold()) != character}


def _safetensors(arrays: dict[str, Any]) -> bytes:
    from safetensors.numpy import save

    return bytes(save(arrays))


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n").encode()
