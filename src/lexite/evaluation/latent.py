"""The system under test: BM25 over latent terms, with literal words or without, indexed as `lexite index` does it."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from scipy.sparse import vstack

from lexite.corpus import Document
from lexite.corpus.passages import CutDocuments, PassageConfig
from lexite.corpus.text_fields import FieldWeights
from lexite.errors import ConfigError
from lexite.evaluation.chains import Chains
from lexite.evaluation.judged import JudgedCollection
from lexite.evaluation.systems import Costs, SystemResult
from lexite.files import storage_errors
from lexite.index import BM25Index, EncodedQueries
from lexite.index.side_config import SideDataConfig
from lexite.progress import progress
from lexite.ranking.rankings import Ranking
from lexite.scoring.config import scoring_of
from lexite.scoring.words import LiteralConfig
from lexite.search.indexing import Indexer, index_documents, summed_fields
from lexite.search.queries import configured_encoder, static_queries_of
from lexite.search.side_collection import SideCollector
from lexite.terms.static_counts import counter_for

if TYPE_CHECKING:
    from lexite.backbone import TokenStates
    from lexite.backbone.config import Kind
    from lexite.terms import BM25Config, LatentTermEncoder


class KeptStates(Protocol):
    """Something that keeps token states of collections, such as :class:`lexite.evaluation.cache.StateCache`."""

    def states(self, collection: JudgedCollection, kind: Kind) -> Iterator[TokenStates]:
        """Token states of the collection's documents or queries, in order, chunk by chunk."""
        ...

    def documents(
        self, collection: JudgedCollection, passages: PassageConfig | None = None, weights: FieldWeights | None = None
    ) -> Iterator[tuple[list[Document], CutDocuments, TokenStates]]:
        """The collection's documents, in order, some at a time, with the token states of their passages or fields."""
        ...


@runtime_checkable
class KeptVectors(Protocol):
    """Something that keeps dense vectors of collections beside their token states."""

    def passage_vectors(self, collection: JudgedCollection, passages: PassageConfig | None = None) -> npt.NDArray[np.float32]:
        """Dense vectors of the passages of the collection's documents, in order."""
        ...


class LatentSystem:
    """Encodes the documents, writes a real index into a temporary folder, and searches it.

    Args:
        encoder: the vocabulary under test.
        scoring: BM25's numbers; None takes the encoder's own.
        k_documents: latents kept per token of a document; None takes the encoder's own.
        k_queries: the same for queries.
        cache: where token states are kept; None: nowhere.
        show_progress: whether progress is shown on stderr.
        literal: whether literal words are indexed and searched too, and how.
        static: whether the index is searched with static queries too, through a table as `lexite index` makes it.
        passages: how long texts are cut into passages; None leaves them whole.
        field_weights: how much title, headings and body count, encoded apart; None encodes them together.
        chains: second stages that are measured over the same index, which then keeps texts and what they need.
        side_data: how the index keeps what they need; None keeps vectors in int8.
        static_scoring: BM25's numbers for static queries, some by name in place of ``scoring``'s.

    Raises:
        ConfigError: a k below 1 or above the number of latents, or a backbone that cannot have a static table.
    """

    def __init__(
        self,
        encoder: LatentTermEncoder,
        scoring: BM25Config | None = None,
        k_documents: int | None = None,
        k_queries: int | None = None,
        cache: KeptStates | None = None,
        show_progress: bool = False,
        literal: LiteralConfig | None = None,
        static: bool = False,
        passages: PassageConfig | None = None,
        field_weights: FieldWeights | None = None,
        chains: Chains | None = None,
        side_data: SideDataConfig | None = None,
        static_scoring: Mapping[str, Any] | None = None,
    ) -> None:
        self.passages, self.field_weights, self.chains = passages, field_weights, chains or Chains()
        self.side_data = self.chains.side_data(side_data)
        self.literal = literal if literal is not None and literal.literal else None
        k = {"k_documents": encoder.k_for("document", k_documents), "k_queries": encoder.k_for("query", k_queries)}
        self.encoder, self.cache, self.show_progress = configured_encoder(encoder, terms=k), cache, show_progress
        self.scoring = encoder.scoring if scoring is None else scoring
        self.static, self.static_scoring = static, scoring_of(static_scoring, self.scoring)
        if static and counter_for(encoder.backbone, encoder.n_latents) is None:
            raise ConfigError(
                f"{encoder.backbone.name} has no tokenizer that can be carried along, so it can have no static queries. "
                "Leave static=True out."
            )

    def run(self, collection: JudgedCollection, top_k: int) -> SystemResult:
        """Encodes, indexes and searches a collection.

        Raises:
            StorageError: the folder for temporary files (TMPDIR) has no room.
        """
        queries = self.queries(collection)
        with storage_errors(tempfile.gettempdir()):
            folder = tempfile.TemporaryDirectory(prefix="lexite-eval-", ignore_cleanup_errors=True)
        with folder as name:
            index = self.indexed(Path(name) / "index", collection)
            result = self._search(index, collection, queries, top_k)
            chains = self.chains.run(index, self.encoder, collection, queries, result, top_k)
            result = dataclasses.replace(result, chains=chains)
            if self.static:
                static = static_queries_of(index).encode(collection.query_texts)
                result = dataclasses.replace(result, static=self._search(index, collection, static, top_k, self.static_scoring))
            del index  # its files are mapped
        return result

    def _search(
        self,
        index: BM25Index,
        collection: JudgedCollection,
        queries: EncodedQueries,
        top_k: int,
        scoring: BM25Config | None = None,
    ) -> SystemResult:
        index.search_arrays(queries[:1], top_k, scoring=scoring)  # what only a first search does takes no part in the time
        began = time.perf_counter()
        documents, scores = index.search_arrays(queries, top_k, scoring=scoring)
        milliseconds = 1000 * (time.perf_counter() - began) / len(queries)
        postings, size = index.n_postings / index.n_documents, index.bytes / index.n_documents
        return SystemResult(
            [to_ranking(row, values) for row, values in zip(documents, scores, strict=True)],
            Costs(postings, (queries.n_terms + self._words_in(collection)) / len(queries), size),
            milliseconds=milliseconds,
        )

    def indexed(self, path: Path, collection: JudgedCollection) -> BM25Index:
        """The index of a collection, written into a folder that does not exist yet."""
        indexer = Indexer.create(
            path,
            self.encoder,
            scoring=self.scoring,
            literal=self.literal or LiteralConfig(literal=False),
            passages=self.passages,
            field_weights=self.field_weights,
            side_data=self.side_data,
            store_text=bool(self.chains.strategies),
            static=self.static,
        )
        title = f"{collection.name}: latent terms"
        with indexer:
            if self.cache is None:
                total = len(collection.document_ids)
                index_documents(indexer, collection.read(), title=title, total=total, show_progress=self.show_progress)
            else:
                self._take_states(indexer, collection, self.cache, title)
            indexer.commit()
        return BM25Index.open(path)

    def _take_states(self, indexer: Indexer, collection: JudgedCollection, cache: KeptStates, title: str) -> None:
        """Takes documents whose token states are kept."""
        side = indexer.writer.side_data if self.field_weights is None else None
        kept = None
        if side is not None and side.vectors is not None:
            if isinstance(cache, KeptVectors):
                kept = cache.passage_vectors(collection, self.passages)
            else:
                side = None  # as with fields, the indexer sends the passages through the model
        place = 0
        with progress(title, len(collection.document_ids), show=self.show_progress) as bar:
            for documents, cut, states in cache.documents(collection, self.passages, self.field_weights):
                floor = None if cut.fields is None else 0.0
                sink = None if side is None else SideCollector(side, self.encoder.sae, wants_vectors=False)
                rows = self.encoder.encode_states(states, "document", floor=floor, static=indexer.counter, sink=sink)
                if sink is not None and kept is not None:
                    sink.add_vectors(kept[place : place + len(cut.texts)])
                place += len(cut.texts)
                collected = None if sink is None else sink.collected()
                indexer.take(documents, summed_fields(self.encoder, rows, cut), cut, side=collected)
                bar.advance(len(documents))

    def queries(self, collection: JudgedCollection) -> EncodedQueries:
        """The collection's queries by the model, with their token states from the cache where there is one."""
        texts = collection.query_texts
        if self.cache is None:
            return self.encoder.encode_queries(texts)
        states = self.cache.states(collection, "query")
        chunks = [self.encoder.queries_of_states(chunk, [""] * chunk.n_texts) for chunk in states]
        rows = vstack([chunk.to_csr() for chunk in chunks], format="csr")
        return dataclasses.replace(chunks[0], rows=rows, texts=texts)

    def _words_in(self, collection: JudgedCollection) -> int:
        """Sum over the queries of their distinct literal words that are searched."""
        if self.literal is None or not self.scoring.literal_weight:
            return 0
        return sum(len(self.literal.words_of(text)) for text in collection.query_texts)


def to_ranking(documents: npt.NDArray[np.int32], scores: npt.NDArray[np.float32]) -> Ranking:
    """A row of what :meth:`lexite.index.BM25Index.search_arrays` gives, as a ranking."""
    found = documents >= 0  # rows with fewer hits than columns are filled with -1
    return Ranking(documents[found].astype(np.int64), scores[found])
