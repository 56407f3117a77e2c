"""lexite as a model of beir's ``EvaluateRetrieval``, beside its lexical, sparse and dense ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from lexite.corpus.records import Document
from lexite.errors import ArgumentError, ConfigError, CorpusError, MissingExtraError
from lexite.files import read_json, write_json
from lexite.integrations.shared.metadata import fields_of
from lexite.ranking.rankings import strictly_decreasing
from lexite.search import Searcher

try:
    from beir.retrieval.search import BaseSearch
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "beir":
        raise
    raise MissingExtraError("beir", "beir", "A model for beir") from error

QUERIES_AT_ONCE = 256
Corpus = Mapping[str, Mapping[str, Any]]
Results = dict[str, dict[str, float]]


class LexiteSearch(BaseSearch):
    """BM25 over latent terms as a model of beir.

        retriever = EvaluateRetrieval(LexiteSearch())
        results = retriever.retrieve(corpus, queries)
        ndcg, _map, recall, precision = retriever.evaluate(qrels, results, retriever.k_values)

    ``search`` indexes the corpus in a temporary folder, unless it is that of the call before; ``encode`` keeps an index that
    ``search_from_files`` opens. Title and text of a document are indexed, and its other values are fields to filter by. A
    document with the id of the query is no hit, as in beir's own models. Scores fall strictly, so that beir cannot reorder
    equal ones.

    Args:
        searcher: an index that has the corpus already; None: each corpus is indexed.
        options: of each search, as for :meth:`lexite.Searcher.rank`: ``then``, ``preset``, ``where``, ``scoring`` …
        static: encode queries with the static table that is counted from the corpus.
        **build: options of :meth:`lexite.Searcher.build`, such as ``vocabulary``, for an index that is made. Texts are not
            stored; strategies that read them need ``store_text=True``.
    """

    def __init__(
        self,
        searcher: Searcher | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        static: bool = False,
        **build: Any,
    ) -> None:
        if searcher is not None and not isinstance(searcher, Searcher):
            raise ArgumentError(f"A corpus lies in a Searcher, not in a {type(searcher).__name__}.")
        if searcher is not None and (build or static):
            raise ConfigError(f"The searcher is open, so {next(iter(build), 'static')} can have no effect. Leave it out.")
        self.options, self.static, self.build = dict(options or {}), static, {"store_text": False, **build}
        self._given = searcher
        self._made: Searcher | None = None
        self._corpus: Corpus | None = None

    def search(
        self, corpus: Corpus, queries: Mapping[str, str], top_k: int, score_function: str | None = None, **kwargs: Any
    ) -> Results:
        """The best documents for each query. beir calls it.

        Args:
            corpus: documents by id, with ``text`` and ``title``.
            queries: texts by id.
            top_k: documents for each query, at most.
            score_function: not used: BM25 scores.
            **kwargs: options of this search.

        Raises:
            CorpusError: a document has no text, or the searcher that was given lacks one.
        """
        return _rankings(self._searcher_of(corpus), queries, top_k, {**self.options, **kwargs})

    def encode(
        self,
        corpus: Corpus,
        queries: Mapping[str, str],
        encode_output_path: str = "./embeddings/",
        overwrite: bool = False,
        query_filename: str = "queries.pkl",
        corpus_filename: str = "corpus.*.pkl",
        **kwargs: Any,
    ) -> None:
        """Indexes a corpus into a folder, and writes the queries beside it as JSON. beir calls it.

        Args:
            corpus: as for :meth:`search`.
            queries: texts by id.
            encode_output_path: the folder.
            overwrite: replace an index that is there.
            query_filename: the file of queries. It is JSON, whatever it is called.
            corpus_filename: the index, which is a folder; ``*`` becomes ``lexite``.
            **kwargs: options of :meth:`lexite.Searcher.build` for this index.
        """
        folder = Path(encode_output_path)
        folder.mkdir(parents=True, exist_ok=True)
        options = {"overwrite": overwrite, "show_progress": False, **self.build, **kwargs}
        Searcher.build(_documents(corpus), folder / corpus_filename.replace("*", "lexite"), **options).close()
        write_json(folder / query_filename, dict(queries))

    def search_from_files(
        self, query_embeddings_file: str, corpus_embeddings_files: Sequence[str], top_k: int, **kwargs: Any
    ) -> Results:
        """The best documents for each query of a file, in an index that :meth:`encode` made. beir calls it.

        Raises:
            CorpusError: the queries are no such file.
            ConfigError: there is not one index.
        """
        if len(corpus_embeddings_files) != 1:
            raise ConfigError(f"encode makes one index of a corpus, but here are {len(corpus_embeddings_files)}. Name one.")
        queries = _queries_in(Path(query_embeddings_file))
        vocabulary = {name: self.build[name] for name in ("vocabulary",) if name in self.build}
        with Searcher.open(corpus_embeddings_files[0], static=self.static, **vocabulary) as searcher:
            return _rankings(searcher, queries, top_k, {**self.options, **kwargs})

    def close(self) -> None:
        """Removes the index of the last corpus. The model can be used again."""
        if self._made is not None:
            self._made.close()
        self._made = self._corpus = None

    def __enter__(self) -> LexiteSearch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _searcher_of(self, corpus: Corpus) -> Searcher:
        if self._given is not None:
            missing = next((name for name in corpus if name not in self._given), None)
            if missing is not None:
                raise CorpusError(f"The searcher has no document '{missing}' of the corpus. Index this corpus, or give none.")
            return self._given
        if self._made is None or self._corpus is not corpus or len(self._made) != len(corpus):
            self.close()
            made = Searcher.build(_documents(corpus), **self.build)
            self._made, self._corpus = made, corpus
        if not self.static:
            return self._made
        return Searcher.open(self._made.index, static=True)


def _documents(corpus: Corpus) -> Iterator[Document]:
    if not corpus:
        raise CorpusError("The corpus has no document.")
    for name, row in corpus.items():
        others = {key: value for key, value in row.items() if key not in ("_id", "text", "title")}
        yield Document(name, row.get("text") or "", row.get("title") or "", fields=fields_of(others, name))


def _rankings(searcher: Searcher, queries: Mapping[str, str], top_k: int, options: Mapping[str, Any]) -> Results:
    """The ids and scores of the hits of each query, without a document of the query's own id."""
    found: Results = {}
    names = list(queries)
    for start in range(0, len(names), QUERIES_AT_ONCE):
        part = names[start : start + QUERIES_AT_ONCE]
        exclude = [name if name in searcher else None for name in part]
        own = {"exclude": exclude} if any(exclude) else {}
        ranked = searcher.rank([queries[name] for name in part], top_k, **{**own, **options})
        for name, hits in zip(part, ranked, strict=True):
            scores = strictly_decreasing(np.array([hit.score for hit in hits], dtype=np.float32)).tolist()
            found[name] = {hit.id: score for hit, score in zip(hits, scores, strict=True)}
    return found


def _queries_in(path: Path) -> dict[str, str]:
    found = read_json(path, CorpusError)
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise CorpusError(f"{path} holds no queries as encode writes them.")
    return found
