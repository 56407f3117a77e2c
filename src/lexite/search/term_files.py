"""Queries that are terms already (``lexite search --terms FILE``): searched without the model, and without torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from lexite.errors import CorpusError
from lexite.scoring.rows import MAX_WEIGHT, CSRRows
from lexite.terms.queries import EncodedQueries

LARGEST_LINE = 1 << 24  # characters; a query of all terms has far fewer


def read_term_queries(path: Path, n_latents: int) -> tuple[list[str], EncodedQueries]:
    """Reads a file of ``lexite encode --kind query --raw -o FILE.jsonl``: one ``{"id": ..., "terms": {TERM: WEIGHT}}`` a line.

    A line may have a ``"text"`` too, whose literal words are searched where the index has some.

    Args:
        path: the file; ``-`` is standard input.
        n_latents: latent terms of the index.

    Returns:
        The ids of the queries, and the queries.

    Raises:
        CorpusError: it cannot be read, a line is not of that form, or its weights were transformed already.
    """
    ids, texts = list[str](), list[str]()
    bounds, terms, weights = [0], list[int](), list[float]()
    seen: set[str] = set()
    for number, line in _lines(path):
        if not line.strip():
            continue
        where = f"{_name(path)}, line {number}"
        identifier, entries, text = _parsed(line, where)
        if identifier in seen:
            raise CorpusError(f"{where}: the query id '{identifier}' occurs twice.")
        seen.add(identifier)
        for term, weight in entries.items():
            if not (term.isascii() and term.isdigit() and len(term) < 10) or int(term) >= n_latents:
                raise CorpusError(f"{where}: '{term[:20]}' is no term of this index, which has the terms 0 to {n_latents - 1}.")
            if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight <= MAX_WEIGHT:
                raise CorpusError(f"{where}: the weight of term {term} must be a number from 0 to {MAX_WEIGHT:g}.")
            terms.append(int(term))
            weights.append(float(weight))
        ids.append(identifier)
        texts.append(text)
        bounds.append(len(terms))
    if not ids:
        raise CorpusError(f"{_name(path)} holds no queries.")
    indptr, indices = np.array(bounds, dtype=np.int64), np.array(terms, dtype=np.int64)
    rows = CSRRows(indptr, indices, np.array(weights, dtype=np.float32), (len(ids), n_latents))
    return ids, EncodedQueries(rows, texts)


def _parsed(line: str, where: str) -> tuple[str, dict[str, Any], str]:
    """Id, terms and text of a query; the text is empty where there is none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise CorpusError(f"{where} is not valid JSON.") from None
    if not isinstance(record, dict) or not isinstance(record.get("terms"), dict) or "id" not in record:
        raise CorpusError(
            f'{where} should be {{"id": ..., "terms": {{TERM: WEIGHT, ...}}}}; lexite encode --kind query --raw writes it.'
        )
    if record.get("raw") is False:
        raise CorpusError(f"{where}: these weights are transformed already. Encode the queries with --raw.")
    identifier = record["id"]
    if isinstance(identifier, bool) or not isinstance(identifier, (str, int)) or identifier == "":
        raise CorpusError(f"{where}: the id must be text and not empty.")
    text = record.get("text", "")
    if not isinstance(text, str):
        raise CorpusError(f"{where}: the text must be text, between quotation marks.")
    return str(identifier), record["terms"], text


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    def numbered(file: IO[bytes]) -> Iterator[tuple[int, str]]:
        for number, line in enumerate(iter(lambda: file.readline(LARGEST_LINE), b""), start=1):
            try:
                yield number, line.decode("utf-8")
            except UnicodeDecodeError:
                raise CorpusError(f"{_name(path)}, line {number} is not valid UTF-8.") from None

    if str(path) == "-":
        yield from numbered(sys.stdin.buffer)
        return
    try:
        with open(path, "rb") as file:
            yield from numbered(file)
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror or error}.") from error


def _name(path: Path) -> str:
    return "Standard input" if str(path) == "-" else str(path)
