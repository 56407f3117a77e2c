"""``LiveEngine``: a running search engine as a backend of searches, over a driver that speaks to it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexite.engines.asking import AskedQuery, WordNumbers, asked_queries, check_search_scoring
from lexite.engines.base import Capabilities, EngineHit
from lexite.engines.driver import Counts, Driver, PassageParts
from lexite.engines.explaining import explanation_of
from lexite.engines.forms.base import Collection, check_top_k
from lexite.engines.known_counts import KnownCounts
from lexite.engines.limits import Wanted, questions_of, refuse_options
from lexite.engines.live_loading import add_documents, check_makeable, load_index
from lexite.engines.loading import Loaded, LoadSettings
from lexite.engines.record import CollectionRecord, read_collection_record, record_of
from lexite.engines.routes import route
from lexite.engines.statistics import LENGTH_MOVED
from lexite.errors import ArgumentError, ConfigError, CorpusError, EngineError
from lexite.index import Explanation, Hit, StoredDocument, VocabularyInfo
from lexite.index.checks import check_top_k as check_number_of_hits
from lexite.ranking.hits import PassageHit
from lexite.scoring.config import BM25Config, scoring_of
from lexite.scoring.words import LiteralConfig

if TYPE_CHECKING:
    from lexite.index import BM25Index, EncodedQueries
    from lexite.index.config import DocumentLike
    from lexite.index.document_ids import Among
    from lexite.index.filters import Where
    from lexite.index.side_data import PassageCodes, PassageVectors
    from lexite.scoring.rows import SparseRows

logger = logging.getLogger(__name__)
STATISTICS_AGE = 60.0
"""Seconds for which counts that an engine gave are taken to be right. Own changes are seen at once."""


class LiveEngine:
    """A collection of a running engine. ``Searcher(engine, queries)`` searches it as it searches an index.

    What the documents are made of is recorded in the collection, so that it is opened by its address alone. The mean length is
    baked into what documents hold: the one of the index that was loaded, or of the first documents that were added.

    Args:
        driver: speaks to the engine.
        route_name: what documents of a new collection hold; None: what the engine usually does.
        scale: S of a route with whole numbers; None: the usual one.
        text: whether a new collection keeps titles and texts.
        fields: whether documents take their fields along.
        keep_terms: whether the engine gives the terms of a document back.
        most_terms: terms of a query at most; None: as many as the engine takes. The lightest are cut.
        statistics_age: seconds for which counts of the engine are kept.

    Raises:
        ConfigError: the engine has no such route, or does not have the choice of ``keep_terms``.
    """

    def __init__(
        self,
        driver: Driver,
        *,
        route_name: str | None = None,
        scale: float | None = None,
        text: bool = True,
        fields: bool = True,
        keep_terms: bool = False,
        most_terms: int | None = None,
        statistics_age: float = STATISTICS_AGE,
    ) -> None:
        self.driver = driver
        chosen = route(route_name or driver.form.routes[0], scale)
        if chosen.name not in driver.form.routes:
            raise ConfigError(f"{driver.engine} has no route '{chosen.name}'. It has {', '.join(driver.form.routes)}.")
        if keep_terms and not driver.capabilities.keeps_terms:
            raise ConfigError(f"{driver.engine} holds terms in one way alone. Leave keep_terms=True out.")
        self.new_route, self._text, self._keep_terms = chosen, text, keep_terms
        self.takes_fields = fields and driver.form.holds_texts
        self._most_terms = min((most for most in (most_terms, driver.form.most_terms) if most is not None), default=None)
        self._record: CollectionRecord | None = None
        self._known = KnownCounts(statistics_age)
        self._warned = False

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return dataclasses.replace(self.driver.capabilities, most_terms=self._most_terms)

    @property
    def record(self) -> CollectionRecord:
        """How the documents of the collection were made.

        Raises:
            EngineError: there is no such collection.
            IndexFormatError: lexite did not make it.
        """
        if self._record is None:
            value = self.driver.read_record()
            if value is None:
                where = self.driver.address
                raise EngineError(f"There is no collection at {where}. Load an index: lexite load INDEX --to {where}")
            self._record = read_collection_record(value, self.driver.address)
        return self._record

    def exists(self) -> bool:
        """Whether the collection is there."""
        return self.driver.read_record() is not None

    def keep_record(self, record: CollectionRecord) -> None:
        """Writes a new record."""
        self.driver.write_record(record.to_json())
        self._record = record

    @property
    def vocabulary(self) -> VocabularyInfo:
        """Which vocabulary made the terms."""
        return self.record.vocabulary

    @property
    def scoring(self) -> BM25Config:
        """How searches score unless told otherwise."""
        return self.record.scoring

    @property
    def literal(self) -> LiteralConfig | None:
        """How literal words are indexed; None when there are none."""
        return self.record.literal

    @property
    def n_documents(self) -> int:
        """Number of documents."""
        return self.counts.n_documents

    @property
    def counts(self) -> Counts:
        """What the collection holds, as the engine said :data:`STATISTICS_AGE` seconds ago at most."""
        return self._known.counts(self.driver)

    def forget_counts(self) -> None:
        """Asks the engine for its counts again when they are next needed."""
        self._known.forget()

    @property
    def drift(self) -> float | None:
        """How far the mean length has moved from the one that is baked in, as a share; None where the engine does not say."""
        mean, baked = self.counts.mean_length, self.record.average_length
        return None if mean is None or not baked else mean / baked - 1.0

    def create(
        self, vocabulary: VocabularyInfo, scoring: BM25Config | None = None, literal: LiteralConfig | None = None
    ) -> None:
        """Makes an empty collection; arguments as for :meth:`lexite.engines.base.Engine.create`.

        Raises:
            ConfigError: the route cannot express the scoring.
            EngineError: there is a collection of this name, or the engine cannot be reached.
        """
        chosen, text, keep_terms = self.new_route, self._text, self._keep_terms
        own = literal if literal is not None and literal.literal else None
        self.make(CollectionRecord(vocabulary, scoring or BM25Config(), own, chosen, text=text, keep_terms=keep_terms))

    def make(self, record: CollectionRecord) -> None:
        """Makes an empty collection of a record; errors as for :meth:`create`."""
        check_makeable(self.driver, record)
        self.driver.create(record.collection(self.driver.name, _no_word))
        self.keep_record(record)
        self.forget_counts()

    def new_record(self, index: BM25Index, scoring: BM25Config) -> CollectionRecord:
        """The record of a collection that is to hold an index."""
        text = self._text and self.driver.form.holds_texts
        return record_of(index, scoring, self.new_route, fields=self.takes_fields, text=text, keep_terms=self._keep_terms)

    def drop(self) -> None:
        """Removes the collection with all its documents, if there is one."""
        self.driver.drop()
        self._record = None
        self.forget_counts()

    def add(
        self,
        documents: Sequence[DocumentLike],
        rows: SparseRows,
        *,
        replace: bool = False,
        settings: LoadSettings | None = None,
    ) -> Loaded:
        """Adds documents.

        Args:
            documents: with ids that the collection does not have.
            rows: raw weights of their latent terms, ``(len(documents), n_latents)``. Literal words are taken from the texts,
                where the collection has words.
            replace: whether documents of the same ids are replaced; else they are an error.
            settings: how they are sent, and whether those that the engine cannot hold are left out.

        Returns:
            How many the engine took, and which it did not take.

        Raises:
            CorpusError: documents that the engine cannot hold, or has already. Nothing was sent then. Documents that the
                engine refuses by itself are named in the same way when the others are there.
            EngineError: the engine cannot be reached.
        """
        return add_documents(self, documents, rows, replace=replace, settings=settings or LoadSettings())

    def load(
        self,
        index: BM25Index,
        *,
        scoring: BM25Config | None = None,
        overwrite: bool = False,
        settings: LoadSettings | None = None,
        show_progress: bool = False,
    ) -> Loaded:
        """Makes a collection that holds an index. A load that was stopped goes on where it was.

        Args:
            index: the index.
            scoring: how searches are to score; None: as the index does.
            overwrite: whether a collection that is there is replaced.
            settings: how documents are sent.
            show_progress: whether to show progress on stderr.

        Raises:
            EngineError: the collection is there already, or the engine cannot be reached.
            CorpusError: as for :meth:`add`.
        """
        return load_index(
            self, index, scoring or index.scoring, overwrite=overwrite, settings=settings or LoadSettings(), show=show_progress
        )

    def delete(self, ids: Iterable[str]) -> int:
        """Deletes documents; says how many there were."""
        there = self.driver.present([ids] if isinstance(ids, str) else list(ids))
        if there:
            self.driver.delete(sorted(there))
            self.forget_counts()
        return len(there)

    def search(
        self,
        queries: EncodedQueries,
        top_k: int = 10,
        *,
        scoring: BM25Config | None = None,
        exclude: Sequence[str | None] | None = None,
        among: Among | None = None,
        approximate: bool = False,
        where: Where | None = None,
        sort: str | None = None,
        min_score: float | None = None,
        min_coverage: float | None = None,
    ) -> list[list[Hit]]:
        """The best documents for each query; arguments and errors as for ``BM25Index.search``.

        Hits are :class:`EngineHit`, which say how many terms of the query were cut.

        Raises:
            ArgumentError: the engine cannot do what an option asks.
            ConfigError: a scoring that differs in what was baked into documents.
            EngineError: the engine cannot be reached, or refuses the query.
        """
        limits = Wanted(exclude, among, where, sort, min_score)
        refuse_options(self.driver, limits, approximate=approximate, min_coverage=min_coverage)
        check_number_of_hits(top_k)
        chosen = scoring_of(scoring, self.scoring)
        asked, numbers = self._asked(queries, chosen)
        self._warn_of_unfinished()
        collection = self._collection(numbers)
        if not top_k or not asked:
            return [[] for _ in asked]
        check_top_k(self.driver.engine, top_k, self.capabilities.most_hits)
        kept = [query.heaviest(self._most_terms) for query in asked]
        n_filled, held = self.counts.n_filled, self.record.route
        engine_queries = [
            own.for_engine(held, n_filled, chosen, len(query.terms) - len(own.terms))
            for query, own in zip(asked, kept, strict=True)
        ]
        questions = questions_of(self.driver, self.record.fields, engine_queries, top_k, limits)
        n_cut = [question.query.n_cut for question in questions]
        if any(n_cut):
            logger.debug("%s takes %s terms of a query; up to %d were cut.", self.driver.engine, self._most_terms, max(n_cut))
        found = self.driver.search(questions, collection)
        return [
            [EngineHit(each.document, each.score, rank, -1, each.span, cut) for rank, each in enumerate(own, start=1)]
            for own, cut in zip(found, n_cut, strict=True)
        ]

    def _asked(self, queries: EncodedQueries, scoring: BM25Config) -> tuple[list[AskedQuery], WordNumbers]:
        def frequencies(numbers: WordNumbers, terms: NDArray[np.int64]) -> NDArray[np.int64]:
            return self._known.frequencies(self.driver, self._collection(numbers).names.of(terms.tolist()))

        check_search_scoring(self.driver.address, self.record, scoring)
        return asked_queries(self.driver.address, queries, self.record, scoring, self.counts, frequencies)

    def _collection(self, numbers: WordNumbers) -> Collection:
        return self.record.collection(self.driver.name, numbers.word, numbers.n_latents + len(numbers.words))

    def get(self, identifier: str) -> StoredDocument | None:
        """The document with this id; None when there is none. Its text is put together of its passages."""
        if not isinstance(identifier, str):
            raise ArgumentError(f"A document is named by its id, which is text, not by a {type(identifier).__name__}.")
        return self.driver.get(identifier, self.record.fields)

    def explain(self, query: EncodedQueries, document: str, *, scoring: BM25Config | None = None) -> Explanation:
        """Which terms made the score of a document, with the numbers of the formula.

        The engine says what each term adds. The weights in the document follow from that, as precisely as the route holds them.

        Raises:
            CorpusError: there is no such document.
        """
        chosen = scoring_of(scoring, self.scoring)
        asked, numbers, found = self._parts(query, document, chosen, "explain a hit")
        best = max(found, key=lambda each: sum(each.parts.values()))
        return explanation_of(document, asked, best, self.counts, self.record, chosen, _word_of(numbers))

    def passages(self, query: EncodedQueries, document: str, *, scoring: BM25Config | None = None) -> Sequence[PassageHit]:
        """The passages of a document that share a term with a query, best first.

        Raises:
            CorpusError: there is no such document.
        """
        _, _, found = self._parts(query, document, scoring_of(scoring, self.scoring), "rank the passages of a document")
        scored = [PassageHit(float(np.float32(sum(each.parts.values()))), each.span) for each in found if each.parts]
        return sorted(scored, key=lambda each: -each.score)

    def _parts(
        self, query: EncodedQueries, document: str, scoring: BM25Config, purpose: str
    ) -> tuple[AskedQuery, WordNumbers, list[PassageParts]]:
        if len(query) != 1:
            raise ArgumentError(f"One query is needed to {purpose}, not {len(query)}.")
        (asked,), numbers = self._asked(query, scoring)
        kept = asked.heaviest(self._most_terms)
        engine_query = kept.for_engine(self.record.route, self.counts.n_filled, scoring)
        found = self.driver.parts(engine_query, document, self._collection(numbers))
        if not found:
            raise CorpusError(f"{self.driver.address} has no document '{document}'.")
        return kept, numbers, found

    @property
    def side_data(self) -> frozenset[str]:
        """Engines keep nothing of passages for second stages."""
        return frozenset()

    def vectors(self, hits: Sequence[Hit]) -> PassageVectors:
        """Raises ArgumentError: engines keep no vectors of passages."""
        raise ArgumentError(f"{type(self).__name__} keeps no dense vectors. Ask an index that has some.")

    def token_codes(self, hits: Sequence[Hit]) -> PassageCodes:
        """Raises ArgumentError: engines keep no codes of tokens."""
        raise ArgumentError(f"{type(self).__name__} keeps no token codes. Ask an index that has some.")

    def warn_of_drift(self) -> float | None:
        """Looks how far the mean length has moved, warns where that is too far, and returns :attr:`drift`."""
        drift = self.drift
        if drift is not None and abs(drift) > LENGTH_MOVED:
            logger.warning(
                "The mean length of the documents at %s moved by %+.1f%% from the one that they were written with, more than "
                "%.0f%%. Rankings begin to suffer: load the index again (lexite load --overwrite).",
                self.driver.address,
                100 * drift,
                100 * LENGTH_MOVED,
            )
        return drift

    def _warn_of_unfinished(self) -> None:
        """Warns once where not all documents of an index are there."""
        if self.record.loading is not None and not self._warned:
            self._warned = True
            logger.warning(
                "Loading an index into %s was stopped before its end, so documents are missing. Load it again in the same way, "
                "and it goes on.",
                self.driver.address,
            )

    def close(self) -> None:
        """Ends the connection. The documents stay."""
        self.driver.close()

    def __len__(self) -> int:
        return self.n_documents

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.driver.address})"


def _word_of(numbers: WordNumbers) -> Callable[[int], str | None]:
    return lambda term: None if term < numbers.n_latents else numbers.word(term)


def _no_word(term: int) -> str:
    raise IndexError(f"There is no word number {term}.")
