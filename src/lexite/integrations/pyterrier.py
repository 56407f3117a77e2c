"""lexite in PyTerrier: transformers that index, retrieve and rerank, for pipelines and their experiments."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lexite.corpus.records import Document
from lexite.errors import ArgumentError, ConfigError, CorpusError, MissingExtraError
from lexite.integrations.shared.metadata import fields_of, metadata_of
from lexite.ranking.hits import Hit
from lexite.ranking.rankings import strictly_decreasing
from lexite.search import Searcher

try:
    import pandas as pd
    import pyterrier as pt
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] not in ("pyterrier", "pandas"):
        raise
    raise MissingExtraError("python-terrier", "pyterrier", "A transformer for PyTerrier") from error

QUERIES_AT_ONCE = 256
_OWN_COLUMNS = ("docno", "docid", "score", "rank", "text", "title")


class LexiteIndexer(pt.Indexer):
    """An indexer of PyTerrier that makes an index of lexite.

        index = LexiteIndexer("notes.lexite").index([{"docno": "d1", "text": "Plants make sugar from light."}])
        pipeline = LexiteRetriever(index) % 10

    Args:
        path: folder of the index.
        overwrite: replace an index that is there.
        text: names of the columns that make the text, joined by blanks.
        title: name of the column that is the title; documents may lack it.
        fields: names of the columns that are kept as fields; None: all others that a document has.
        **build: options of :meth:`lexite.Searcher.build`, such as ``vocabulary``.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        overwrite: bool = False,
        text: str | Sequence[str] = "text",
        title: str | None = "title",
        fields: Sequence[str] | None = None,
        **build: Any,
    ) -> None:
        self.path, self.overwrite, self.title, self.fields, self.build = Path(path), overwrite, title, fields, dict(build)
        self.text = [text] if isinstance(text, str) else list(text)

    def index_inputs(self) -> list[list[str]]:
        """The columns that documents must have."""
        return [["docno", *self.text]]

    def index(self, iter: Iterable[Mapping[str, Any]], **kwargs: Any) -> Searcher:
        """Indexes documents, and opens the index.

        Args:
            iter: dictionaries with ``docno`` and the columns of text.
            **kwargs: options of :meth:`lexite.Searcher.build` for this index.

        Raises:
            CorpusError: a document lacks a column, has no text, or an id occurs twice.
            StorageError: the folder holds something else, or an index that is not to be replaced.
        """
        documents = (self._document(row) for row in iter)
        first = next(documents, None)
        if first is None:
            raise CorpusError("There is no document to index.")
        options = {"overwrite": self.overwrite, **self.build, **kwargs}
        return Searcher.build(itertools.chain([first], documents), self.path, **options)

    def __repr__(self) -> str:
        return f"LexiteIndexer({str(self.path)!r})"

    def _document(self, row: Mapping[str, Any]) -> Document:
        missing = next((name for name in ("docno", *self.text) if name not in row), None)
        if missing is not None:
            raise CorpusError(f"A document has no '{missing}'. It has {', '.join(map(str, row)) or 'nothing'}.")
        identifier = str(row["docno"])
        used = {"docno", *self.text, *([] if self.title is None else [self.title])}
        names = [name for name in row if name not in used] if self.fields is None else [n for n in self.fields if n in row]
        text = " ".join(str(row[name] or "") for name in self.text)
        title = "" if self.title is None or self.title in self.text else str(row.get(self.title) or "")
        return Document(identifier, text, title, fields=fields_of({name: row[name] for name in names}, identifier))


class _Asking:
    """What retriever and reranker have in common: a searcher, options of its searches, and columns to add."""

    def __init__(self, index: Searcher | str | Path, columns: Sequence[str], static: bool, options: dict[str, Any]) -> None:
        if not isinstance(index, (Searcher, str, Path)):
            raise ArgumentError(f"A transformer asks a Searcher or the folder of an index, not a {type(index).__name__}.")
        if static and isinstance(index, Searcher):
            raise ConfigError("The searcher is open, so static can have no effect. Leave it out.")
        self.searcher = index if isinstance(index, Searcher) else Searcher.open(index, static=static)
        self.columns, self.options = tuple(columns), options
        taken = next((name for name in self.columns if name in ("qid", "query", "docno", "score", "rank")), None)
        if taken is not None:
            raise ConfigError(f"The column '{taken}' is there in any case. Name fields, 'text' or 'title'.")

    def _shown(self, hit_id: str) -> dict[str, Any]:
        """The columns that are added for a document; None where it lacks a field."""
        if not self.columns:
            return {}
        stored = self.searcher.backend.get(hit_id)
        if stored is None:
            return dict.fromkeys(self.columns)
        known = {**metadata_of(stored.fields)[0], "text": stored.text, "title": stored.title}
        return {name: known.get(name) for name in self.columns}


class LexiteRetriever(pt.Transformer, _Asking):
    """A retriever of PyTerrier: queries in, ranked documents out.

        LexiteRetriever("notes.lexite", num_results=100, then=[Hybrid()]) >> LexiteReranker(other)
        pt.Experiment([LexiteRetriever(index)], topics, qrels, ["ndcg_cut_10", "map"])

    Scores fall strictly within a query: the later of two equal documents gets the next smaller number in single precision, so
    that measures see the ranks that lexite gave.

    Args:
        index: a searcher, or the folder of an index.
        num_results: documents for each query, at most.
        columns: what is added of each document: ``"text"``, ``"title"`` and names of fields.
        static: open the folder with its static table, so that no model is loaded.
        **options: of each search, as for :meth:`lexite.Searcher.rank`: ``where``, ``then``, ``preset``, ``scoring`` …
    """

    def __init__(
        self,
        index: Searcher | str | Path,
        *,
        num_results: int = 1000,
        columns: Sequence[str] = (),
        static: bool = False,
        **options: Any,
    ) -> None:
        _Asking.__init__(self, index, columns, static, options)
        if num_results < 1:
            raise ConfigError(f"num_results is {num_results}, but must be at least 1.")
        self.num_results = num_results

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Ranks documents for each row of queries; other columns of the queries stay."""
        pt.validate.query_frame(inp, extra_columns=["query"], context=self)
        kept = [name for name in inp.columns if name not in (*_OWN_COLUMNS, *self.columns)]
        rows: list[dict[str, Any]] = []
        queries = inp[kept].to_dict(orient="records")
        for part in _parts(queries):
            texts = [str(row["query"]) for row in part]
            for row, hits in zip(part, self.searcher.rank(texts, self.num_results, **self.options), strict=True):
                rows += [{**row, **hit, **self._shown(hit["docno"])} for hit in _scored(hits)]
        return pd.DataFrame(rows, columns=[*kept, "docno", "score", "rank", *self.columns])

    def fuse_rank_cutoff(self, k: int) -> LexiteRetriever:
        """The retriever that finds ``k`` documents at most, which PyTerrier makes of ``retriever % k``."""
        if k >= self.num_results:
            return self
        return LexiteRetriever(self.searcher, num_results=k, columns=self.columns, **self.options)

    def __repr__(self) -> str:
        return f"LexiteRetriever({_name(self)}, num_results={self.num_results}{_said(self.options)})"


class LexiteReranker(pt.Transformer, _Asking):
    """A reranker of PyTerrier: scores the documents that another transformer found, and ranks them anew.

    A document that shares no term with the query has the score 0, and comes last. Where strategies follow (``then``), they
    see the documents that have a score.

    Args:
        index: a searcher, or the folder of an index, which has these documents.
        columns: what is added of each document: ``"text"``, ``"title"`` and names of fields.
        static: open the folder with its static table, so that no model is loaded.
        **options: of each search, as for :meth:`lexite.Searcher.rank`: ``then``, ``preset``, ``scoring`` …
    """

    def __init__(
        self, index: Searcher | str | Path, *, columns: Sequence[str] = (), static: bool = False, **options: Any
    ) -> None:
        _Asking.__init__(self, index, columns, static, options)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Ranks the documents of each query anew; other columns of documents stay.

        Raises:
            CorpusError: the index lacks one of the documents.
        """
        pt.validate.columns(inp, includes=["qid", "query", "docno"], context=self)
        replaced = ("score", "rank", *self.columns)
        kept = [name for name in inp.columns if name not in replaced]
        groups = [group.to_dict(orient="records") for _, group in inp[kept].groupby("qid", sort=False)]
        rows: list[dict[str, Any]] = []
        for part in _parts(groups):
            texts = [str(group[0]["query"]) for group in part]
            among = [[str(row["docno"]) for row in group] for group in part]
            most = max(map(len, among), default=1)
            for group, hits in zip(part, self.searcher.rank(texts, most, among=among, **self.options), strict=True):
                rows += self._ranked(group, hits)
        return pd.DataFrame(rows, columns=[*kept, "score", "rank", *self.columns])

    def _ranked(self, group: Sequence[dict[str, Any]], hits: Sequence[Hit]) -> Iterator[dict[str, Any]]:
        own = {str(row["docno"]): row for row in group}
        found = [hit for hit in hits if hit.id in own]
        rest = [name for name in own if name not in {hit.id for hit in found}]
        least = min([0.0, *(hit.score for hit in found)])
        scores = strictly_decreasing(np.array([*(hit.score for hit in found), *[least] * len(rest)], dtype=np.float32))
        for rank, (name, score) in enumerate(zip([*(hit.id for hit in found), *rest], scores.tolist(), strict=True)):
            yield {**own[name], "score": score, "rank": rank, **self._shown(name)}

    def __repr__(self) -> str:
        return f"LexiteReranker({_name(self)}{_said(self.options)})"


def _scored(hits: Sequence[Hit]) -> Iterator[dict[str, Any]]:
    """Hits as columns of PyTerrier, whose ranks begin with 0."""
    scores = strictly_decreasing(np.array([hit.score for hit in hits], dtype=np.float32)).tolist()
    for rank, (hit, score) in enumerate(zip(hits, scores, strict=True)):
        yield {"docno": hit.id, "score": score, "rank": rank}


def _parts(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), QUERIES_AT_ONCE):
        yield items[start : start + QUERIES_AT_ONCE]


def _name(asking: _Asking) -> str:
    return repr(str(asking.searcher.path)) if asking.searcher.path else type(asking.searcher.backend).__name__


def _said(options: Mapping[str, Any]) -> str:
    return "".join(f", {name}={value!r}" for name, value in options.items())
