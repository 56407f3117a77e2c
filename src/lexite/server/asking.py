"""The questions that a server answers, as functions over a snapshot: the API and the MCP server call the same ones."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lexite.config import from_dict
from lexite.errors import ArgumentError
from lexite.index.field_types import json_value
from lexite.index.side_data import VECTORS
from lexite.ranking.hits import Hit
from lexite.scoring.config import scoring_of
from lexite.scoring.rows import CSRRows
from lexite.search.answering import FIELD_OPTIONS, answered
from lexite.search.operators import missing_words
from lexite.search.presets import preset_of
from lexite.search.strategies import STRATEGIES
from lexite.search.strategies.dense_scores import exhaustive_rankings
from lexite.search.strategies.hybrid import EXHAUSTIVE_LIMIT
from lexite.search.strategies.newcomers import allowed_documents
from lexite.search.strategy import Answer
from lexite.server.analysing import Kind, Task
from lexite.server.refusals import NotFound
from lexite.server.schemas import (
    AnalysisRequest,
    DifferencesRequest,
    Json,
    Limits,
    PropertiesRequest,
    RankingsRequest,
    Stage,
    Steering,
    System,
    TermsRequest,
    Way,
)
from lexite.server.showing import described, example_json, hits_json, query_concepts
from lexite.server.tokens import tokens_of
from lexite.terms.queries import EncodedQueries
from lexite.wording import counted

if TYPE_CHECKING:
    from lexite.index import BM25Index
    from lexite.scoring.config import BM25Config
    from lexite.search import Searcher
    from lexite.search.strategy import Strategy
    from lexite.server.indexes import Snapshot

MOST_CANDIDATES = 500
RESCORED = 30
TITLE_CHARACTERS = 300


@dataclass(frozen=True)
class Asker:
    """Answers questions within limits.

    Attributes:
        max_text: characters of a query.
        max_top_k: hits of a query, those that are passed over included.
        max_queries: queries at once.
        max_documents: documents of an analysis.
    """

    max_text: int = 10_000
    max_top_k: int = 200
    max_queries: int = 64
    max_documents: int = 50_000

    def search(self, snapshot: Snapshot, queries: Sequence[str], asked: Limits, facets: Sequence[str] = ()) -> list[Json]:
        """The hits of each query with their passages and the parts of their scores, as JSON values.

        Raises:
            ArgumentError, ConfigError: a limit is passed, or an option has no such value.
            FilterError, QueryError: the filter or the operators cannot be answered.
        """
        self._check_texts(queries)
        self._check_depth(asked.top_k + asked.offset)
        counts = [facet.to_json() for facet in snapshot.index.facets(list(facets), where=asked.where)] if facets else []
        began = time.perf_counter()
        searcher, answer = _answered(snapshot, queries, asked)
        replies = []
        for number, query in enumerate(answer.queries):
            asked_for, hits = described(snapshot, searcher, query, answer, answer.rankings[number], asked.snippets)
            reply = self._head(snapshot) | {"query": queries[number], "encoded_by": searcher.queries.kind}
            reply |= {"concepts": query_concepts(snapshot, asked_for)}
            reply |= {"hits": hits_json(snapshot, hits, asked.marks)}
            if asked.operators and not hits:
                reply["missing"] = missing_words(snapshot.index, queries[number])
            if counts:
                reply["facets"] = counts
            replies.append(reply)
        took = round((time.perf_counter() - began) * 1000, 2)
        return [reply | {"milliseconds": took} for reply in replies]

    def explain(self, snapshot: Snapshot, query: str, document: str, way: Way) -> Json:
        """Every number of the score of a document, as JSON values.

        Raises:
            NotFound: the index has no such document.
        """
        self._check_texts([query])
        if snapshot.index.find(document) is None:
            raise unknown_document(document)
        searcher, answer = _answered(snapshot, [query], Limits(top_k=1, steering=way.steering, scoring=way.scoring))
        scoring = answer.options["scoring"]
        explanation = snapshot.index.explain(answer.queries, document, scoring=scoring).labelled(searcher.label)
        folded = snapshot.concepts.is_folded
        terms = [{**dataclasses.asdict(term), "common": folded(term.term, term.word)} for term in explanation.terms]
        known = {key: value for key, value in explanation.to_json().items() if key != "terms"}
        shares = [(term["score"], bool(term["common"])) for term in terms]
        return self._head(snapshot) | known | {"common_share": _share_of_common(shares), "terms": terms}

    def rankings(self, snapshot: Snapshot, asked: RankingsRequest) -> Json:
        """How other systems rank the same documents: words alone, and the dense model, as JSON values."""
        self._check_texts([asked.query])
        self._check_depth(asked.top_k)
        found = {system: _ranking(snapshot, system, asked) for system in dict.fromkeys(asked.systems)}
        return self._head(snapshot) | {"query": asked.query, "rankings": found}

    def terms(self, snapshot: Snapshot, asked: TermsRequest) -> Json:
        """The tokens of a text with their latents, and the terms of the whole, as JSON values."""
        self._check_texts([asked.text])
        searcher = snapshot.searcher
        tokens = tokens_of(searcher, asked.text, asked.kind)
        if asked.kind == "query":
            encoded = searcher.encode([asked.text])
        else:
            encoded = dataclasses.replace(
                no_latents(snapshot.index, asked.text), rows=searcher.queries.encode_passages([asked.text])
            )
        latents = sorted({latent for token in tokens for latent, _ in token.latents})
        asked_for, _ = snapshot.index.score_parts(encoded, [], scoring=searcher.scoring)
        return self._head(snapshot) | {
            "text": asked.text,
            "encoded_by": searcher.queries.kind,
            "tokens": [
                {
                    "text": token.text,
                    "start": token.start,
                    "end": token.end,
                    "latents": [{"concept": latent, "activation": round(amount, 4)} for latent, amount in token.latents],
                }
                for token in tokens
            ],
            "labels": {str(latent): searcher.label(latent) for latent in latents},
            "terms": query_concepts(snapshot, asked_for),
        }

    def concept(self, snapshot: Snapshot, number: int) -> Json:
        """A latent: label, frequency, words, examples with marks, and the latents that it fires with, as JSON values.

        Raises:
            NotFound: there is none of this number.
        """
        concepts = snapshot.concepts
        if not 0 <= number < snapshot.index.n_latents:
            raise NotFound(f"There is no concept {number}; this index has the concepts 0 to {snapshot.index.n_latents - 1}.")
        examples = [example_json(snapshot, number, hit, strength) for hit, strength in concepts.examples(number)]
        found = {"words": concepts.words(number), "examples": examples, "related": concepts.related(number)}
        return self._head(snapshot) | concepts.facts(number) | found

    def concepts_named(self, snapshot: Snapshot, name: str, most: int = 20) -> Json:
        """The latents whose labels have all words of a name, the most frequent in this index first, as JSON values."""
        self._check_texts([name])
        found = snapshot.concepts.named(name)[:most]
        return self._head(snapshot) | {"name": name, "concepts": [snapshot.concepts.facts(number) for number in found]}

    def document(self, snapshot: Snapshot, identifier: str) -> Json:
        """A document with its text and fields, as JSON values.

        Raises:
            NotFound: the index has none of this id.
        """
        stored = snapshot.index.get(identifier)
        if stored is None:
            raise unknown_document(identifier)
        fields = {name: json_value(value) for name, value in stored.fields.items()}
        return self._head(snapshot) | {"id": stored.id, "title": stored.title, "text": stored.text, "fields": fields}

    def task(self, snapshot: Snapshot, kind: Kind, asked: AnalysisRequest, other: Snapshot | None = None) -> Task:
        """An analysis that is to be made, as :class:`lexite.server.analysing.Analyser` takes it.

        Args:
            snapshot: the index.
            kind: which analysis.
            asked: the request.
            other: the index of the other documents of differences.

        Raises:
            ArgumentError: a limit is passed, or what is asked for cannot be compared.
            FilterError: a filter cannot be answered.
        """
        index, label = snapshot.index, snapshot.searcher.label
        others = None if other is None else other.index
        query = None
        if isinstance(asked, DifferencesRequest):
            self._check_sides(index, others, asked)
        else:
            self._check_number(index, asked.where)
        if isinstance(asked, PropertiesRequest):
            query = self._described(snapshot, asked)
        options = asked.model_dump(exclude={"where", "other", *(("most",) if kind == "clusters" else ())})
        return Task(kind, index, [label(number) for number in range(index.n_latents)], asked.where, options, others, query)

    def _check_sides(self, index: BM25Index, others: BM25Index | None, asked: DifferencesRequest) -> None:
        if asked.where is None and others is None:
            raise ArgumentError("Differences need where, whose documents are compared with the others, or another index.")
        if others is not None and others.vocabulary.fingerprint != index.vocabulary.fingerprint:
            raise ArgumentError("The two indexes are of different vocabularies, so their concepts cannot be compared.")
        everything = others is None and asked.against is None  # all that do not pass the filter are the other side
        self._check_number(index, None if everything else asked.where)
        self._check_number(others or index, asked.against)
        if everything:
            index.select(asked.where)  # says at once what is wrong with the filter

    def _described(self, snapshot: Snapshot, asked: PropertiesRequest) -> EncodedQueries | None:
        """The sentence of a property, encoded; None where there are examples."""
        if (asked.sentence is None) == (not asked.positive):
            raise ArgumentError("A property is described by a sentence, or by positive examples. Give one of them.")
        if asked.sentence is None:
            return None
        if asked.negative:
            raise ArgumentError("negative goes with positive; a sentence has no examples.")
        self._check_texts([asked.sentence])
        return snapshot.searcher.encode([asked.sentence])

    def _check_number(self, index: BM25Index, where: str | None) -> None:
        number = index.n_documents if where is None else len(index.select(where))
        if number > self.max_documents:
            raise ArgumentError(
                f"{number:,} documents would be analysed, but at most {self.max_documents:,} are taken. Narrow the filter."
            )

    @staticmethod
    def describe(snapshot: Snapshot) -> Json:
        """An index in numbers, with the types of its fields, as JSON values."""
        index = snapshot.index
        return Asker._head(snapshot) | {
            "documents": index.n_documents,
            "passages": index.n_passages,
            "concepts": index.n_latents,
            "fields": dict(index.fields),
            "words": index.literal is not None,
            "stores_text": index.stores_text,
            "side_data": sorted(index.side_data),
            "vocabulary": index.vocabulary.name,
            "encoded_by": snapshot.searcher.queries.kind,
        }

    @staticmethod
    def _head(snapshot: Snapshot) -> Json:
        return {"index": snapshot.name, "generation": snapshot.index.generation}

    def _check_texts(self, texts: Sequence[str]) -> None:
        if len(texts) > self.max_queries:
            raise ArgumentError(
                f"There are {counted(len(texts), 'query', 'queries')}, but at most {self.max_queries} are taken."
            )
        longest = max(map(len, texts), default=0)
        if longest > self.max_text:
            raise ArgumentError(f"The text has {longest:,} characters, but at most {self.max_text:,} are taken. Shorten it.")
        if any(not text.strip() for text in texts):
            raise ArgumentError("The text is empty. Write a question.")

    def _check_depth(self, depth: int) -> None:
        if depth > self.max_top_k:
            raise ArgumentError(f"{depth} hits are asked for, but at most {self.max_top_k} are given, offset included.")


def unknown_document(identifier: str) -> NotFound:
    """The error that an index has no document of an id."""
    return NotFound(f"The index has no document '{identifier[:100]}'.")


def no_latents(index: BM25Index, text: str) -> EncodedQueries:
    """A query that asks for the words of a text alone."""
    nothing = CSRRows(np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), (1, index.n_latents))
    return EncodedQueries(nothing, [text], index.vocabulary.fingerprint)


def _answered(snapshot: Snapshot, queries: Sequence[str], asked: Limits) -> tuple[Searcher, Answer]:
    """The answer to queries, and the searcher that gave it: the static one for a static preset."""
    searcher, scoring = snapshot.searcher, _scoring(snapshot, asked.scoring)
    stages: list[Strategy] = []
    if asked.preset is not None:
        if asked.then:
            raise ArgumentError("A preset has its own stages, so then has no place beside it. Leave one of them out.")
        preset = preset_of(asked.preset)
        searcher = snapshot.static if preset.static else searcher
        scoring = scoring_of(preset.scoring, scoring) if preset.scoring and not asked.scoring else scoring
        stages = preset.chain()
    else:
        stages = [_stage(each) for each in asked.then]
    if asked.steering.moves:
        first = 1 if stages and getattr(stages[0], "static_first", False) else 0
        stages.insert(first, _steer(asked.steering))
    limits: dict[str, Any] = {name: getattr(asked, name) for name in FIELD_OPTIONS}
    answer = answered(
        searcher.index,
        searcher.queries,
        searcher.label,
        searcher.scoring,
        list(queries),
        asked.top_k,
        scoring=scoring,
        then=stages,
        offset=asked.offset,
        operators=asked.operators,
        **limits,
    )
    return searcher, answer


def _scoring(snapshot: Snapshot, given: Mapping[str, Any]) -> BM25Config:
    return scoring_of(dict(given) or None, snapshot.searcher.scoring or snapshot.index.scoring)


def _stage(stage: Stage) -> Strategy:
    """A second stage with its settings checked."""
    depth = stage.settings.get("candidates")
    if isinstance(depth, (int, float)) and depth > MOST_CANDIDATES:
        raise ArgumentError(f"{stage.name}: {depth} candidates are asked for, but at most {MOST_CANDIDATES} are scored.")
    built: Strategy = from_dict(STRATEGIES[stage.name], dict(stage.settings), stage.name)
    return built


def _steer(steering: Steering) -> Strategy:
    boost = tuple(f"{each.concept}={each.factor:.6f}" for each in steering.boost)
    made: Strategy = STRATEGIES["steer"](boost=boost, mute=tuple(steering.mute))
    return made


def _ranking(snapshot: Snapshot, system: System, asked: RankingsRequest) -> Json:
    """A ranking by another system, or why there is none."""
    index = snapshot.index
    if system == "words":
        if index.literal is None:
            return {"unavailable": "The index has no words beside its concepts, so BM25 on words cannot rank."}
        weight = index.scoring.literal_weight or 1.0
        scoring = scoring_of({"literal_weight": weight}, index.scoring)
        hits = index.search(no_latents(index, asked.query), asked.top_k, scoring=scoring, where=asked.where)[0]
        return {"how": "BM25 on the words of the same index", "hits": [_short(index, hit) for hit in hits]}
    if snapshot.searcher.queries.kind == "static":
        return {"unavailable": "This server answers with static queries, without the dense model. Start it without --static."}
    if VECTORS in index.side_data and index.n_documents <= EXHAUSTIVE_LIMIT:
        queries = snapshot.searcher.queries
        answer = Answer(queries.encode([asked.query]), [[]], asked.top_k, index, {"where": asked.where}, queries)
        (best,) = exhaustive_rankings(answer, allowed_documents(answer), asked.top_k)
        pairs = zip(best.documents.tolist(), best.scores.tolist(), strict=True)
        hits = [Hit(index.document_id(number), score, rank, number) for rank, (number, score) in enumerate(pairs, start=1)]
        return {"how": "Cosines of the dense model with all passages", "hits": [_short(index, hit) for hit in hits]}
    if VECTORS not in index.side_data and not index.stores_text:
        return {"unavailable": "The index keeps neither vectors nor texts. Build it with --vectors int8."}
    kept = VECTORS in index.side_data
    depth = MOST_CANDIDATES if kept else RESCORED
    stage = Stage(name="rescore", settings={"candidates": depth, "from_text": not kept})
    _, answer = _answered(snapshot, [asked.query], Limits(top_k=asked.top_k, where=asked.where, then=[stage]))
    why = "an exhaustive ranking would take too long" if kept else "the index keeps no vectors"
    how = f"Cosines of the dense model for the best {depth} of lexite's own ranking, since {why}"
    return {"how": how, "hits": [_short(index, hit) for hit in answer.rankings[0]]}


def _short(index: BM25Index, hit: Hit) -> Json:
    stored = index.stored(hit.document)
    title = stored.title or stored.text
    return {"rank": hit.rank, "id": hit.id, "score": round(hit.score, 5), "title": title[:TITLE_CHARACTERS]}


def _share_of_common(parts: Sequence[tuple[float, bool]]) -> float:
    total = sum(score for score, _ in parts)
    return round(sum(score for score, is_common in parts if is_common) / total, 5) if total else 0.0
