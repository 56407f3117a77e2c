"""Fusion with a ranking from outside: a TREC run, another searcher, or any function from a query to ids and scores."""

from __future__ import annotations

import functools
import logging
import math
import os
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lexite.config import option
from lexite.errors import ArgumentError, CorpusError
from lexite.ranking.fusion import Fusion, fused
from lexite.ranking.hits import Hit
from lexite.search.strategies.candidates import check_settings
from lexite.search.strategies.newcomers import allowed_documents, has_numbers, newcomers
from lexite.search.strategies.rescoring import ranked_anew, scores_of
from lexite.wording import one_line

if TYPE_CHECKING:
    from lexite.search.strategy import Answer

logger = logging.getLogger("lexite")

Source = Callable[[str], Any] | Mapping[str, Mapping[str, float]]
"""A function from the text of a query to a ranking, or rankings by the text or the id of a query."""


@dataclass(frozen=True)
class Outside:
    """Adds the scores of an outside ranking: ``normalised(score) + weight · normalised(outside score)``.

    Each score is normalised over the documents of its own ranking among the candidates, and a document that a ranking does not
    have gets its least. Documents that only the outside ranking has come in, where the index has them and the search allows
    them (``where``, ``among``, ``exclude``).

        Outside(run="bm25.run", queries="queries.jsonl")
        Outside(source=lambda text: {"d7": 3.2, "d1": 2.5})
        Outside(source=other_searcher.rank)

    Attributes:
        source: a function from the text of a query to ids and scores: a mapping, hits, or pairs; the ``rank`` or ``search`` of
            another searcher; or a mapping of such rankings by the text of the query, or by its id where ``queries`` says which
            query has which.
        query_ids: the id of each query by its text, in place of a file.

    Raises:
        ConfigError: a setting of the wrong type, or outside its limits.
        ArgumentError: there is neither a run nor a source, or both.
    """

    run: str = option("", "TREC run with the outside ranking.")
    queries: str = option("", "File of queries that says which id of the run a text has. Without it the id is the text.")
    weight: float = option(1.0, "Weight of the outside score, where the score so far has 1.", minimum=0.0, maximum=1e6)
    fusion: Fusion = option("minmax", "How both are brought to one scale: least to greatest, reciprocal ranks, deviations.")
    candidates: int = option(100, "Hits of each query that are fused, from either ranking.", minimum=1)
    source: Source | None = option(None, "", hidden=True)
    query_ids: Mapping[str, str] | None = option(None, "", hidden=True)

    def __post_init__(self) -> None:
        check_settings(self, "outside")
        if (self.source is None) == (not self.run):
            raise ArgumentError(
                "An outside ranking comes from a TREC run or from a source. Give one of them: run= (--outside-run) or source=."
            )

    def __call__(self, answer: Answer) -> Answer:
        """Ranks anew."""
        texts = answer.queries.texts
        if texts is None:
            raise ArgumentError("An outside ranking is found by the text of a query, which these queries have not. Give texts.")
        comes_in = _Incoming(answer)
        rankings, asked = [], 0
        for query, (text, hits) in enumerate(zip(texts, answer.rankings, strict=True)):
            outside = self.ranking(text)
            head, rest = list(hits[: self.candidates]), list(hits[self.candidates :])
            risen = [hit for hit in rest if _score(outside, hit.id) is not None]
            new = comes_in.hits(query, hits, outside)
            head += [*risen, *new]
            asked += len(outside)
            if self.fusion == "rrf":  # by their ranks, also where scores are equal
                outside = {name: -float(place) for place, name in enumerate(outside)}
            scores = np.concatenate([scores_of(head[: len(head) - len(new)]), np.full(len(new), np.nan)])
            found = (_score(outside, hit.id) for hit in head)
            other = np.array([math.nan if value is None else value for value in found], dtype=np.float64)
            left = [hit for hit in rest if _score(outside, hit.id) is None]
            rankings.append(ranked_anew(head, fused(scores, other, self.weight, self.fusion), left))
        self._warn_of_strangers(len(texts), asked, comes_in)
        return answer.with_rankings(rankings)

    def _warn_of_strangers(self, n_queries: int, asked: int, comes_in: _Incoming) -> None:
        """Says so where an outside ranking changes nothing, since it is of other queries or of other documents."""
        if not n_queries:
            return
        if not asked and not callable(source := self._source()):
            some = ", ".join(f"'{one_line(str(name))[:40]}'" for name in islice(source, 3)) or "none"
            logger.warning(
                "The outside ranking has none of the queries asked, so it changes nothing. Its queries: %s. Where these are "
                "ids, give the file of queries too: queries= (--outside-queries).",
                some,
            )
        elif asked and not comes_in.n_known and comes_in.looked:
            logger.warning("No document of the outside ranking is in the index, so it changes nothing. Are the ids the same?")

    def ranking(self, text: str) -> dict[str, float]:
        """The best candidates of the outside ranking for a query, by id; empty where it does not have the query.

        Raises:
            ArgumentError: the source gives something else than ids and scores.
            CorpusError: a file cannot be read.
        """
        source = self._source()
        if callable(source):
            found = _pairs(source(text))
        else:
            names = [self._ids().get(text), text, urllib.parse.quote(text)]
            found = _pairs(next((source[name] for name in names if name is not None and name in source), {}))
        best = sorted(found.items(), key=lambda pair: -pair[1])[: self.candidates]
        return dict(best)

    def _source(self) -> Source:
        return _read_run(self.run, _changed(self.run)) if self.source is None else self.source

    def _ids(self) -> Mapping[str, str]:
        if self.query_ids is not None:
            return self.query_ids
        return _read_query_ids(self.queries, _changed(self.queries)) if self.queries else {}


class _Incoming:
    """Documents that an outside ranking brings in.

    Args:
        answer: the question.

    Attributes:
        n_known: how many of the documents that were handed to it the rankings or the back-end have.
        looked: whether all of them were looked for.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.n_known, self.looked = 0, True
        self._allowed = [set(each.tolist()) for each in allowed_documents(answer)] if has_numbers(answer) else None

    def hits(self, query: int, hits: Sequence[Hit], outside: Mapping[str, float]) -> list[Hit]:
        """Hits for the documents of an outside ranking that the ranking so far does not have.

        An engine that has no numbers of documents cannot say which of them a filter lets pass, so none come in there beside
        ``where``, ``min_score``, ``min_coverage`` and ``among``.
        """
        known = {hit.id for hit in hits}
        missing = [name for name in outside if name not in known and urllib.parse.unquote(name) not in known]
        self.n_known += len(outside) - len(missing)
        backend, options = self._answer.backend, self._answer.options
        if self._allowed is not None:
            numbers = [number for name in missing if (number := _number(backend, name)) is not None]
            self.n_known += len(numbers)
            allowed = [number for number in numbers if number in self._allowed[query]]
            return newcomers(self._answer, hits, list(dict.fromkeys(allowed)))
        if any(options.get(name) is not None for name in ("where", "min_score", "min_coverage", "among")):
            self.looked = False
            return []
        excluded = (options.get("exclude") or [None] * (query + 1))[query]
        found = (next((n for n in (name, urllib.parse.unquote(name)) if backend.get(n) is not None), None) for name in missing)
        there = [name for name in dict.fromkeys(found) if name is not None]
        self.n_known += len(there)
        return [Hit(name, 0.0, 0, -1) for name in there if name != excluded]


def _number(index: Any, name: str) -> int | None:
    """The number of a document by its id, which a run writes as in URLs where it has blanks."""
    found = (index.find(written) for written in (name, urllib.parse.unquote(name)))
    number: int | None = next((number for number in found if number is not None), None)
    return number


def _score(outside: Mapping[str, float], identifier: str) -> float | None:
    from lexite.ranking.trec import quote_id

    return outside.get(identifier, outside.get(quote_id(identifier)))


def _pairs(found: object) -> dict[str, float]:
    """Ids and scores of what a source gave: a mapping, hits, pairs, or a list that holds one ranking of hits."""
    if isinstance(found, Mapping):
        pairs = list(found.items())
    else:
        try:
            listed = list(found)  # type: ignore[call-overload]
        except TypeError:
            raise ArgumentError(f"An outside ranking is ids with scores, not a {type(found).__name__}.") from None
        if len(listed) == 1 and isinstance(listed[0], list) and all(hasattr(each, "score") for each in listed[0]):
            listed = listed[0]  # as rank gives for a text
        pairs = [(each.id, each.score) if hasattr(each, "score") else each for each in listed]
    try:
        if any(isinstance(pair, str) for pair in pairs):  # which would be taken apart like a pair
            raise TypeError
        scores = {identifier: float(score) for identifier, score in pairs}
    except (TypeError, ValueError):
        raise ArgumentError("An outside ranking is ids with scores: a mapping, a list of hits, or pairs.") from None
    strange = next((name for name, score in scores.items() if not isinstance(name, str) or not math.isfinite(score)), None)
    if strange is not None:
        raise ArgumentError(f"An outside ranking has ids that are text and scores that are finite; look at {strange!r}.")
    return scores


def _changed(path: str) -> int:
    """When a file was written, so that a file that changed is read again; 0 where there is none."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


@functools.lru_cache(maxsize=4)
def _read_run(path: str, changed: int) -> Mapping[str, Mapping[str, float]]:
    from lexite.ranking.trec import read_trec_run

    return read_trec_run(path)


@functools.lru_cache(maxsize=4)
def _read_query_ids(path: str, changed: int) -> Mapping[str, str]:
    from lexite.corpus import ReadOptions, read_queries

    ids: dict[str, str] = {}
    for query in read_queries(path, ReadOptions()):
        ids.setdefault(query.text, query.id)
    if not ids:
        raise CorpusError(f"{Path(path)} holds no queries.")
    return ids
