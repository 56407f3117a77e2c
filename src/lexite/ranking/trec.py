"""Rankings and judgements as TREC files, which every evaluation tool reads.

A run has lines ``query Q0 document rank score tag``; qrels have lines ``query 0 document grade``. Tools rank a run by its
scores and order equal scores in ways of their own.

Columns are separated by blanks, so white space and the per cent sign in ids are written as in URLs (``%20``, ``%25``), alike in
runs and qrels. So are control characters, which a terminal would carry out.
"""

from __future__ import annotations

import math
import re
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lexite.errors import CorpusError
from lexite.files import atomic_write
from lexite.ranking.hits import Hit
from lexite.ranking.rankings import Run
from lexite.wording import CONTROLS


def run_from_hits(query_ids: Sequence[str], hits: Sequence[Iterable[Hit]]) -> Run:
    """The hits of ``BM25Index.search`` as a run.

    >>> run_from_hits(["q"], [[Hit("a", 2.5, 1, 0)]])
    {'q': {'a': 2.5}}
    """
    return {query: {hit.id: hit.score for hit in found} for query, found in zip(query_ids, hits, strict=True)}


def write_trec_run(path: str | Path, run: Mapping[str, Mapping[str, float]], tag: str = "lexite") -> None:
    """Writes a run, atomically; the documents of a query by falling score, equal ones as given.

    Args:
        path: the file.
        run: query id → document id → score.
        tag: name of the run, its last column.

    Raises:
        CorpusError: an id or the tag is empty, which this format cannot express.
        StorageError: the file cannot be written.
    """
    with atomic_write(path, "w") as file:
        for query, scores in run.items():
            ranking = sorted(scores.items(), key=lambda entry: -entry[1])
            for rank, (document, score) in enumerate(ranking, start=1):
                file.write(f"{_column(query)} Q0 {_column(document)} {rank} {float(score)!r} {_column(tag)}\n")


def write_trec_qrels(path: str | Path, qrels: Mapping[str, Mapping[str, int]]) -> None:
    """Writes judgements (query id → document id → grade), atomically; raises as :func:`write_trec_run`."""
    with atomic_write(path, "w") as file:
        for query, grades in qrels.items():
            for document, grade in grades.items():
                file.write(f"{_column(query)} 0 {_column(document)} {grade}\n")


def read_trec_run(path: str | Path) -> Run:
    """Reads a run; documents are put in the order of their ranks.

    Raises:
        CorpusError: the file is missing or not UTF-8, or a line is malformed; with the line.
    """
    ranked: dict[str, list[tuple[int, str, float]]] = {}
    seen: set[tuple[str, str]] = set()
    for number, line in enumerate(_lines(path), start=1):
        columns = line.split()
        if not columns:
            continue
        try:
            query, _, document, rank, score, _ = columns
            entry = (int(rank), document, float(score))
        except ValueError:
            raise CorpusError(f"{path}, line {number}: not a line of a TREC run (query Q0 document rank score tag).") from None
        if not math.isfinite(entry[2]):
            raise CorpusError(f"{path}, line {number}: the score {score} is not a finite number.")
        if (query, document) in seen:
            raise CorpusError(f"{path}, line {number}: document '{document}' occurs twice for query '{query}'.")
        seen.add((query, document))
        ranked.setdefault(query, []).append(entry)
    return {
        query: {document: score for _, document, score in sorted(entries, key=lambda e: e[0])}
        for query, entries in ranked.items()
    }


def _lines(path: str | Path) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise CorpusError(f"{path} does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path} cannot be read: {error}.") from error


def quote_id(identifier: str) -> str:
    """An id as one column; ``urllib.parse.unquote`` gives it back.

    >>> quote_id("Olinda Posso"), quote_id("PLAIN-2")
    ('Olinda%20Posso', 'PLAIN-2')
    """
    return re.sub(rf"[\s%{CONTROLS}]", lambda match: urllib.parse.quote(match[0]), identifier)


def _column(value: str) -> str:
    if not value:
        raise CorpusError("An empty id cannot stand in a TREC file. Give every query and document an id.")
    return quote_id(value)
