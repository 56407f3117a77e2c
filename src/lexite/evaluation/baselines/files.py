"""Baselines from files: weights of terms that another program made, and rankings of any engine."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lexite.corpus.options import Guard, ReadReport
from lexite.corpus.rows import decoded_lines
from lexite.corpus.sources import Source
from lexite.corpus.streams import open_stream
from lexite.errors import CorpusError
from lexite.evaluation.baselines.weights import Cut, measured
from lexite.evaluation.judged import JudgedCollection
from lexite.evaluation.systems import Costs, SystemResult
from lexite.ranking.rankings import Ranking, best
from lexite.ranking.trec import quote_id, read_trec_run

if TYPE_CHECKING:
    from scipy.sparse import csr_array

PLACE = "{collection}"
"""Stands for the name of a collection in the path of a file."""
DOCUMENTS, QUERIES = "documents", "queries"
_ENDINGS = (".jsonl", ".json", ".tsv")
_SHOWN = 3
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class VectorFilesSystem:
    """Weights of terms from files, as uniCOIL, DeepImpact or any other model left them; scores are dot products.

    A folder holds the weights of documents and those of queries, each in one file, plain or compressed, or documents in
    a folder of several files as Anserini has them:

    - ``documents.jsonl`` or ``documents/*``: a JSON object a line, ``{"id": "d1", "vector": {"heart": 92, "cell": 3.5}}``;
    - ``queries.jsonl``: the same; or ``queries.tsv``: id, tab, terms, each repeated as often as it weighs.

    Attributes:
        folder: the folder; ``{collection}`` in it stands for the collection's name.
        cut: how many terms are kept.
    """

    folder: str
    cut: Cut = field(default_factory=Cut)

    def cut_to(self, cut: Cut) -> VectorFilesSystem:
        """The same system with fewer terms."""
        return replace(self, cut=cut)

    def check(self, collection: JudgedCollection) -> None:
        """Looks whether the files are there.

        Raises:
            CorpusError: one is missing.
        """
        self._files(collection, DOCUMENTS)
        self._files(collection, QUERIES)

    def run(self, collection: JudgedCollection, top_k: int) -> SystemResult:
        """Reads the weights and ranks the documents for each query.

        Raises:
            CorpusError: a line is malformed, a document or a query has no weights, or there are weights of a document that
                the collection does not have.
        """
        terms: dict[str, int] = {}
        documents = _rows(self._files(collection, DOCUMENTS), collection.document_ids, terms, "document", strict=True)
        query_ids = [query.id for query in collection.queries]
        queries = _rows(self._files(collection, QUERIES), query_ids, terms, "query", strict=False)
        width = len(terms)
        return measured(_matrix(documents, width), _matrix(queries, width), top_k, self.cut)

    def _files(self, collection: JudgedCollection, what: str) -> list[Path]:
        folder = Path(self.folder.replace(PLACE, collection.name))
        if not folder.is_dir():
            raise CorpusError(f"{folder} is no folder of weights. It must hold {DOCUMENTS}.jsonl and {QUERIES}.jsonl or .tsv.")
        if (folder / what).is_dir():
            found = sorted(path for path in (folder / what).iterdir() if path.is_file() and not path.name.startswith("."))
        else:
            found = sorted(path for path in folder.iterdir() if path.name.startswith(tuple(what + end for end in _ENDINGS)))
        if not found or len(found) > 1 and not (folder / what).is_dir():
            problem = f"two files of {what}: {found[0].name} and {found[1].name}" if found else f"no weights of {what}"
            raise CorpusError(f"{folder} has {problem}. It must have one: {what}.jsonl, plain or compressed.")
        return found


@dataclass(frozen=True)
class RunFileSystem:
    """Rankings of any engine, from a TREC run. They are ranked by their scores, and equal scores by their ranks.

    What the engine's index costs is not known.

    Attributes:
        file: the file; ``{collection}`` in it stands for the collection's name.
    """

    file: str

    def check(self, collection: JudgedCollection) -> None:
        """Reads the run and looks whether it belongs to the collection.

        Raises:
            CorpusError: a line is malformed, it names a document that the collection does not have, or it has none of the
                collection's queries.
        """
        self.run(collection, 1)

    def run(self, collection: JudgedCollection, top_k: int) -> SystemResult:
        """Reads the rankings of the collection's queries; raises as :meth:`check`."""
        path = self.file.replace(PLACE, collection.name)
        ranked = read_trec_run(path)
        numbers = {quote_id(id): number for number, id in enumerate(collection.document_ids)}
        numbers |= {id: number for number, id in enumerate(collection.document_ids)}
        found = [ranked.get(query.id, ranked.get(quote_id(query.id), {})) for query in collection.queries]
        if not any(found):
            raise CorpusError(f"{path} ranks nothing for any of the {len(found)} judged queries of {collection.name}.")
        return SystemResult([_ranking(scores, numbers, path, top_k) for scores in found], Costs(None, None, None))


def _ranking(scores: Mapping[str, float], numbers: Mapping[str, int], path: str, top_k: int) -> Ranking:
    unknown = [id for id in scores if id not in numbers]
    if unknown:
        raise CorpusError(f"{path} ranks documents that the collection does not hold: {_listed(unknown)}.")
    documents = np.array([numbers[id] for id in scores], dtype=np.int64)
    return best(np.array(list(scores.values()), dtype=np.float32), top_k, documents)


def _rows(
    files: Sequence[Path], ids: Sequence[str], terms: dict[str, int], what: str, *, strict: bool
) -> list[dict[int, float]]:
    """Weights in the order of ids; term -> weight, terms by number.

    Args:
        files: the files.
        ids: of the documents or queries that must have weights.
        terms: numbers of terms, to which new ones are added.
        what: ``document`` or ``query``.
        strict: whether other ids are errors.
    """
    numbers = {id: number for number, id in enumerate(ids)}
    rows: list[dict[int, float] | None] = [None] * len(ids)
    for place, id, weights in (record for path in files for record in read_weights(path)):
        number = numbers.get(id)
        if number is None:
            if strict:
                raise CorpusError(f"{place}: the collection has no {what} {id!r}.")
            continue
        if rows[number] is not None:
            raise CorpusError(f"{place}: the {what} {id!r} has weights already.")
        rows[number] = {terms.setdefault(term, len(terms)): weight for term, weight in weights.items()}
    missing = [id for id, row in zip(ids, rows, strict=True) if row is None]
    if missing:
        raise CorpusError(f"{files[0]} has no weights of {len(missing)} of {len(ids)} {_PLURALS[what]}: {_listed(missing)}.")
    return [row for row in rows if row is not None]


_PLURALS = {"document": "documents", "query": "queries"}


def _listed(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _SHOWN:,} more" if len(ids) > _SHOWN else ""
    return ", ".join(map(repr, ids[:_SHOWN])) + more


def _matrix(rows: Sequence[Mapping[int, float]], width: int) -> csr_array:
    from scipy.sparse import csr_array

    bounds = np.cumsum([0, *map(len, rows)])
    columns = np.fromiter((term for row in rows for term in row), dtype=np.int64, count=int(bounds[-1]))
    weights = np.fromiter((weight for row in rows for weight in row.values()), dtype=np.float32, count=int(bounds[-1]))
    return csr_array((weights, columns, bounds), shape=(len(rows), width))


def read_weights(path: Path) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Weights of terms from a file, as :class:`VectorFilesSystem` describes it.

    Yields:
        Where it stands (file and line), id, and term -> weight.

    Raises:
        CorpusError: a line is malformed; with file, line and field.
    """
    source = Source(str(path), "jsonl", path)
    read = _from_topic if ".tsv" in path.suffixes else _from_json
    with open_stream(path, str(path)) as stream:
        for number, line in decoded_lines(source, stream.file, Guard(False, ReadReport())):
            if line and not line.isspace():
                place = source.at(number)
                yield (place, *read(line, place))


def _from_topic(line: str, place: str) -> tuple[str, dict[str, float]]:
    id, tab, terms = line.rstrip("\r\n").partition("\t")
    if not tab or not id.strip():
        raise CorpusError(f"{place}: not an id, a tab, and terms: {line[:60]!r}.")
    return id.strip(), dict(Counter(terms.split()))


def _from_json(line: str, place: str) -> tuple[str, dict[str, float]]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{place}: not a JSON object: {error}.") from None
    if not isinstance(record, dict):
        raise CorpusError(f'{place}: not a JSON object such as {{"id": "d1", "vector": {{"heart": 92}}}}.')
    id, weights = record.get("id"), record.get("vector")
    if isinstance(id, bool) or not isinstance(id, (str, int)) or id == "":
        raise CorpusError(f"{place}: the field 'id' is {_shown(id)}, but must be text.")
    if not isinstance(weights, dict):
        raise CorpusError(f"{place}: the field 'vector' is {_shown(weights)}, but must be an object of terms with weights.")
    wrong = next((term for term, weight in weights.items() if not _is_weight(weight)), None)
    if wrong is not None:
        raise CorpusError(
            f"{place}: the field 'vector' has the weight {_shown(weights[wrong])} for {wrong!r}, but must have finite numbers."
        )
    return str(id), weights


def _is_weight(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST


def _shown(value: object) -> str:
    return "missing" if value is None else repr(value)[:40]
