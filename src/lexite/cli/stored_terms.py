"""Queries that are terms already (``lexite search --terms FILE``): searched without the model, and without torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexite.cli.arguments import PREFIX, check_made_by
from lexite.errors import CorpusError, LexiteError
from lexite.scoring.rows import MAX_WEIGHT

if TYPE_CHECKING:
    from lexite.index import BM25Index

LARGEST_LINE = 1 << 24  # characters; a query of all terms has far fewer


@dataclass(frozen=True, slots=True)
class TermQueries:
    """Raw weights of queries as rows of a CSR matrix, with their ids.

    Attributes:
        ids: of the queries.
        indptr: (n + 1,) int64.
        indices: int64, terms.
        data: float32, weights.
        shape: (n, n_latents).
        texts: of the queries, for literal words; empty where the file has none.
    """

    ids: list[str]
    indptr: NDArray[np.int64]
    indices: NDArray[np.int64]
    data: NDArray[np.float32]
    shape: tuple[int, int]
    texts: list[str]

    def row(self, number: int) -> TermQueries:
        """One query."""
        low, high = int(self.indptr[number]), int(self.indptr[number + 1])
        bounds = np.array([0, high - low], dtype=np.int64)
        indices, data = self.indices[low:high], self.data[low:high]
        return TermQueries([self.ids[number]], bounds, indices, data, (1, self.shape[1]), [self.texts[number]])


def read_term_queries(path: Path, n_latents: int) -> TermQueries:
    """Reads a file of ``lexite encode --kind query --raw -o FILE.jsonl``: one ``{"id": ..., "terms": {TERM: WEIGHT}}`` a line.

    A line may have a ``"text"`` too, whose literal words are searched where the index has some.

    Args:
        path: the file; ``-`` is standard input.
        n_latents: latent terms of the index.

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
    return TermQueries(ids, indptr, indices, np.array(weights, dtype=np.float32), (len(ids), n_latents), texts)


def labels_of(index: BM25Index, vocabulary: str | None) -> Callable[[int], str]:
    """Labels of an index's latent terms when its vocabulary is on this machine; numbers otherwise.

    Args:
        index: the index.
        vocabulary: where the vocabulary is now; None looks where it was when the index was built.

    Raises:
        IndexFormatError: ``vocabulary`` is another one.
    """
    from lexite.terms.hub import builtin_folder
    from lexite.terms.manifest import read_manifest

    name, made_by = vocabulary or index.vocabulary.model, index.vocabulary
    folder = Path(name) if name and Path(name).is_dir() else builtin_folder(name) if name else None
    try:
        manifest = read_manifest(folder, verify=False) if folder is not None else None
    except LexiteError:  # labels are a comfort, and what is wrong with them is for 'lexite info' to say
        return _number
    if folder is None or manifest is None:
        return _number
    if PREFIX in made_by.terms_config and manifest["fingerprint"] != made_by.fingerprint:
        # The fingerprint of its first latents takes the weights, and so torch; the name says well enough which one it is.
        return _labels_in(folder, index) if manifest["name"] == made_by.name else _number
    if vocabulary is not None:
        check_made_by(index, vocabulary, manifest["fingerprint"])
    return _labels_in(folder, index) if manifest["fingerprint"] == made_by.fingerprint else _number


def _labels_in(folder: Path, index: BM25Index) -> Callable[[int], str]:
    """The labels in the folder of an index's vocabulary; numbers where it has none that fit."""
    from lexite.terms.vocabulary import Vocabulary

    try:
        found = Vocabulary.load(folder)
        prefix = index.vocabulary.terms_config.get(PREFIX)
        if prefix is not None and found.n_latents != index.n_latents:
            found = found.prefix(prefix, index.n_latents // prefix)
    except LexiteError:
        return _number
    return found.label if found.n_latents == index.n_latents else _number


def _number(term: int) -> str:
    return f"latent {term}"


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
