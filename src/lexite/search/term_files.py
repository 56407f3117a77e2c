"""Queries that are terms already (``lexite search --terms FILE``): searched without the model, and without torch.

A file holds one JSON object for each query. :func:`write_term_queries` writes one that people can read and change::

    {"id": "1", "text": "solar power", "vocabulary": "0a1b…", "words": {"solar": 1.9, "power": 1.0}, "terms": [
      {"term": 812, "weight": 3.25, "label": "solar, photovoltaic"},
      {"term": 77, "weight": 0.5, "label": "energy, power"}
    ]}

``lexite encode`` writes the short form, a line each: ``{"id": "1", "raw": true, "terms": {"812": 3.25, "77": 0.5}}``. Labels
are for people; numbers count. Words stand in place of those of the text; without ``words``, those of the text are searched.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from lexite.errors import ArgumentError, CorpusError
from lexite.files import atomic_write
from lexite.scoring.rows import MAX_WEIGHT, CSRRows
from lexite.scoring.words import word_form
from lexite.terms.queries import EncodedQueries

LARGEST_LINE = 1 << 24  # characters; a query of all terms has far fewer


def read_term_queries(path: Path, n_latents: int) -> tuple[list[str], EncodedQueries]:
    """Reads a file of queries that are terms; the module says what it may hold.

    A query may go over several lines: it ends where its JSON does. Words are brought to the form that indexes have, lower case.

    Args:
        path: the file; ``-`` is standard input.
        n_latents: latent terms of the index.

    Returns:
        The ids of the queries, and the queries.

    Raises:
        CorpusError: it cannot be read, a query is not of that form, its weights were transformed already, or the queries are of
            several vocabularies.
    """
    found = dict[str, _Query]()
    for number, text in _records(path):
        where = f"{_name(path)}, line {number}"
        query = _parsed(text, where, n_latents)
        if query.id in found:
            raise CorpusError(f"{where}: the query id '{query.id}' occurs twice.")
        if query.vocabulary != next(iter(found.values()), query).vocabulary:
            raise CorpusError(f"{where}: this query is of another vocabulary than those before it. Keep them in two files.")
        found[query.id] = query
    if not found:
        raise CorpusError(f"{_name(path)} holds no queries.")
    queries = list(found.values())
    indptr = np.concatenate([[0], np.cumsum([len(query.terms) for query in queries])]).astype(np.int64)
    indices = np.array([term for query in queries for term in query.terms], dtype=np.int64)
    weights = np.array([weight for query in queries for weight in query.terms.values()], dtype=np.float32)
    rows = CSRRows(indptr, indices, weights, (len(queries), n_latents))
    words = [query.words for query in queries] if any(query.words is not None for query in queries) else None
    texts = [query.text for query in queries]
    return list(found), EncodedQueries(rows, texts, queries[0].vocabulary, word_weights=words)


def write_term_queries(
    path: str | Path, ids: Sequence[str], queries: EncodedQueries, label: Callable[[int], str] | None = None
) -> None:
    """Writes queries so that people can read and change them, atomically; the heaviest terms come first.

    Args:
        path: the file.
        ids: of the queries, one each.
        queries: the queries.
        label: words for a latent term; None leaves labels out.

    Raises:
        ArgumentError: there is not an id for each query.
        StorageError: the file cannot be written.
    """
    if len(ids) != len(queries):
        raise ArgumentError(f"There are {len(queries)} queries, but {len(ids)} ids. Give an id for each.")
    with atomic_write(path, "w") as file:
        for identifier, query in zip(ids, queries, strict=True):
            head: dict[str, Any] = {"id": identifier}
            if query.texts is not None:
                head["text"] = query.texts[0]
            if query.fingerprint:
                head["vocabulary"] = query.fingerprint
            if query.word_weights is not None and query.word_weights[0] is not None:
                words = sorted(query.word_weights[0].items(), key=lambda pair: -pair[1])
                head["words"] = {word: _shortest(weight) for word, weight in words}
            row = query.to_csr()
            order = np.argsort(-row.data, kind="stable")
            terms = [
                {"term": int(row.indices[place]), "weight": _shortest(row.data[place])}
                | ({} if label is None else {"label": label(int(row.indices[place]))})
                for place in order.tolist()
            ]
            opening = json.dumps(head, ensure_ascii=False)[:-1]
            lines = ",\n".join(f"  {json.dumps(term, ensure_ascii=False)}" for term in terms)
            file.write(f'{opening}, "terms": [\n{lines}\n]}}\n')


def _shortest(weight: float) -> float:
    """The shortest number that is the same in single precision."""
    return float(str(np.float32(weight)))


class _Query(NamedTuple):
    """A query of a file: a term or a word stands for its raw weight."""

    id: str
    text: str
    terms: dict[int, float]
    words: dict[str, float] | None
    vocabulary: str


def _parsed(line: str, where: str, n_latents: int) -> _Query:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise CorpusError(f"{where} is not valid JSON.") from None
    if not isinstance(record, dict) or not isinstance(record.get("terms"), (dict, list)) or "id" not in record:
        raise CorpusError(
            f'{where} should be {{"id": ..., "terms": {{TERM: WEIGHT, ...}}}}; lexite encode --kind query --raw writes it.'
        )
    if record.get("raw") is False:
        raise CorpusError(f"{where}: these weights are transformed already. Encode the queries with --raw.")
    identifier = record["id"]
    if isinstance(identifier, bool) or not isinstance(identifier, (str, int)) or identifier == "":
        raise CorpusError(f"{where}: the id must be text and not empty.")
    text, vocabulary = record.get("text", ""), record.get("vocabulary", "")
    if not isinstance(text, str) or not isinstance(vocabulary, str):
        wrong = "vocabulary" if isinstance(text, str) else "text"
        raise CorpusError(f"{where}: the {wrong} must be text, between quotation marks.")
    return _Query(
        str(identifier), text, _terms(record["terms"], where, n_latents), _words(record.get("words"), where), vocabulary
    )


def _terms(given: dict[str, Any] | list[Any], where: str, n_latents: int) -> dict[int, float]:
    """The terms of a query, from ``{TERM: WEIGHT}`` or from ``[{"term": TERM, "weight": WEIGHT}]``."""
    pairs = list(given.items()) if isinstance(given, dict) else [_listed(entry, where) for entry in given]
    found: dict[int, float] = {}
    for term, weight in pairs:
        if not (term.isascii() and term.isdigit() and len(term) < 10) or int(term) >= n_latents:
            raise CorpusError(f"{where}: '{term[:20]}' is no term of this index, which has the terms 0 to {n_latents - 1}.")
        if int(term) in found:
            raise CorpusError(f"{where}: term {term} occurs twice.")
        found[int(term)] = _weight(weight, f"{where}: the weight of term {term}")
    return found


def _listed(entry: object, where: str) -> tuple[str, Any]:
    if not isinstance(entry, dict) or "weight" not in entry or isinstance(entry.get("term"), (bool, type(None), float)):
        raise CorpusError(f'{where}: a term in a list should be {{"term": TERM, "weight": WEIGHT}}, with a label if you like.')
    return str(entry["term"]), entry["weight"]


def _words(given: object, where: str) -> dict[str, float] | None:
    """The words of a query with their weights, in the form that indexes have; None where there are none."""
    if given is None:
        return None
    if not isinstance(given, dict):
        raise CorpusError(f"{where}: the words should be {{WORD: WEIGHT, ...}}.")
    found: dict[str, float] = {}
    for word, weight in given.items():
        form = word_form(word)
        if form is None:
            raise CorpusError(f"{where}: '{word[:40]}' is neither a word nor a pair of words. Write letters and digits alone.")
        found[form] = found.get(form, 0.0) + _weight(weight, f"{where}: the weight of the word '{word[:40]}'")
    return found


def _weight(weight: object, what: str) -> float:
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight <= MAX_WEIGHT:
        raise CorpusError(f"{what} must be a number from 0 to {MAX_WEIGHT:g}.")
    return float(weight)


def _records(path: Path) -> Iterator[tuple[int, str]]:
    """The JSON texts of a file, each with the line that it begins in.

    One that does not end with its line goes on to the first line with which it is whole; only lines that begin with a closing
    bracket can be that.
    """
    begun, parts, size = 0, list[str](), 0
    for number, line in _lines(path):
        if not parts and (not line.strip() or not line.rstrip().endswith(("{", "[", ",")) or _is_json(line)):
            if line.strip():
                yield number, line
            continue
        begun = begun if parts else number
        parts.append(line)
        size += len(line)
        if size > LARGEST_LINE:
            break
        if len(parts) > 1 and line.lstrip().startswith(("}", "]")) and _is_json(text := "".join(parts)):
            yield begun, text
            parts, size = [], 0
    if parts:
        yield begun, "".join(parts)  # which is not valid JSON, as is then said


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


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
