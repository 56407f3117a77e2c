"""The lexical baseline: BM25 over words, by bm25s with its own defaults."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np

from lexite.errors import MissingExtraError
from lexite.evaluation.judged import JudgedCollection
from lexite.evaluation.systems import Costs, SystemResult
from lexite.ranking.rankings import Ranking, best


class LexicalSystem:
    """BM25 over words, by bm25s as it comes.

    That is method ``lucene``, k1 1.5, b 0.75, and its default tokeniser: lower case, words of two or more letters, English stop
    words dropped, no stemming. Documents that share no word with the query are not ranked, where bm25s alone would fill up with
    documents of score 0, and ties are broken by document order.

    Raises:
        MissingExtraError: bm25s is not installed.
    """

    def __init__(self) -> None:
        self._bm25s = _import_bm25s()

    def run(self, collection: JudgedCollection, top_k: int) -> SystemResult:
        """Indexes the words of the documents and ranks them for each query."""
        tokens = self._bm25s.tokenize(collection.texts(), show_progress=False)
        queries = words_of(collection.query_texts)
        n_documents = len(collection.document_ids)
        terms_per_query = sum(len(set(words)) for words in queries) / len(queries)
        if not tokens.vocab:  # nothing but stop words and signs in the whole corpus
            nothing = Ranking(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))
            return SystemResult([nothing] * len(queries), Costs(0.0, terms_per_query, 0.0))
        index = self._bm25s.BM25(method="lucene")
        index.index(tokens, show_progress=False)
        arrays = [index.scores[name] for name in ("data", "indices", "indptr")]
        costs = Costs(len(arrays[0]) / n_documents, terms_per_query, sum(array.nbytes for array in arrays) / n_documents)
        return SystemResult([_rank(index, words, top_k) for words in queries], costs)


def _rank(index: Any, words: list[str], top_k: int) -> Ranking:
    known = [word for word in words if word in index.vocab_dict]
    if not known:
        return Ranking(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))
    scores = np.asarray(index.get_scores(known), dtype=np.float32)
    matching = np.flatnonzero(scores > 0)
    return best(scores[matching], top_k, matching)


def words_of(texts: Iterable[str]) -> list[list[str]]:
    """The words of texts as bm25s takes them by itself."""
    words: list[list[str]] = _import_bm25s().tokenize(texts, return_ids=False, show_progress=False)
    return words


def _import_bm25s() -> Any:
    try:
        import bm25s
    except ImportError as error:
        raise MissingExtraError("bm25s", "eval", "The baseline bm25") from error
    logging.getLogger("bm25s").setLevel(
        logging.WARNING
    )  # it sets itself to DEBUG, and would show each step in a program that logs
    return bm25s
