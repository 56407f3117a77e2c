"""The system under test: BM25 over latent terms, with literal words or without, indexed as `lexite index` does it."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, vstack

from lexite.corpus import Document
from lexite.errors import ConfigError
from lexite.evaluation.judged import JudgedCollection
from lexite.evaluation.systems import Costs, SystemResult
from lexite.files import storage_errors
from lexite.index import BM25Index, VocabularyInfo
from lexite.progress import progress
from lexite.ranking.rankings import Ranking
from lexite.scoring.transform import drop_small
from lexite.scoring.words import LiteralConfig, literal_words
from lexite.terms.static import StaticCounter, counter_for, table_of_corpus

if TYPE_CHECKING:
    from lexite.backbone import TokenStates
    from lexite.backbone.config import Kind
    from lexite.terms import BM25Config, LatentTermEncoder


class KeptStates(Protocol):
    """Something that keeps token states of collections, such as :class:`lexite.evaluation.cache.StateCache`."""

    def states(self, collection: JudgedCollection, kind: Kind) -> Iterator[TokenStates]:
        """Token states of the collection's documents or queries, in order, chunk by chunk."""
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
        static: whether the index is searched with static queries too. It then has a table, counted from its documents as they
            are encoded, as `lexite index` makes it.

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
    ) -> None:
        self.literal = literal if literal is not None and literal.literal else None
        self.encoder, self.cache, self.show_progress = encoder, cache, show_progress
        self.scoring = encoder.scoring if scoring is None else scoring
        self.k: dict[Kind, int] = {
            "document": encoder.k_for("document", k_documents),
            "query": encoder.k_for("query", k_queries),
        }
        self.static = static
        if static and counter_for(encoder.backbone, encoder.n_latents) is None:
            raise ConfigError(
                f"{encoder.backbone.name} has no tokenizer that can be carried along, so it can have no static queries. "
                "Leave --static out."
            )

    def run(self, collection: JudgedCollection, top_k: int) -> SystemResult:
        """Encodes, indexes and searches a collection.

        Raises:
            StorageError: the folder for temporary files (TMPDIR) has no room.
        """
        queries = vstack(list(self._weights(collection, "query")), format="csr")
        with storage_errors(tempfile.gettempdir()):
            folder = tempfile.TemporaryDirectory(prefix="lexite-eval-", ignore_cleanup_errors=True)
        with folder as name:
            index = self._build_index(Path(name) / "index", collection)
            result = self._search(index, collection, queries, top_k)
            if table := index.static():
                rows = drop_small(table.encode(collection.query_texts), self.encoder.floor_for("query"))
                static = self._search(index, collection, rows, top_k)
                result = dataclasses.replace(result, static=static)
            del index  # its files are mapped
        return result

    def _search(self, index: BM25Index, collection: JudgedCollection, queries: csr_array, top_k: int) -> SystemResult:
        documents, scores = index.search_arrays(queries, top_k, scoring=self.scoring, texts=collection.query_texts)
        postings, size = index.n_postings / index.n_documents, index.bytes / index.n_documents
        return SystemResult(
            [to_ranking(row, values) for row, values in zip(documents, scores, strict=True)],
            Costs(postings, (queries.nnz + self._words_in(collection)) / queries.shape[0], size),
        )

    def _build_index(self, path: Path, collection: JudgedCollection) -> BM25Index:
        if self.literal:
            documents = collection.read()  # for their words; texts are not stored
        else:
            documents = (Document(identifier, "") for identifier in collection.document_ids)
        counter = counter_for(self.encoder.backbone, self.encoder.n_latents) if self.static else None
        info = VocabularyInfo(self.encoder.fingerprint, self.encoder.name, self.encoder.n_latents)
        shown = progress(f"{collection.name}: latent terms", len(collection.document_ids), show=self.show_progress)
        with shown as bar, BM25Index.create(path, info, self.scoring, store_text=False, literal=self.literal) as writer:
            for weights in self._weights(collection, "document", counter):
                writer.add(list(islice(documents, weights.shape[0])), weights)
                bar.advance(weights.shape[0])
            if counter is not None:
                writer.set_static(table_of_corpus(counter, self.encoder))
            writer.commit()
        return BM25Index.open(path)

    def _words_in(self, collection: JudgedCollection) -> int:
        """Different literal words of the queries that are searched, added up."""
        if self.literal is None or not self.scoring.literal_weight:
            return 0
        return sum(len(literal_words(text, self.literal.literal_stop_words)) for text in collection.query_texts)

    def _weights(self, collection: JudgedCollection, kind: Kind, counter: StaticCounter | None = None) -> Iterator[csr_array]:
        """Raw weights of the documents or queries, chunk by chunk; the codes of documents are counted on the way."""
        k = self.k[kind]
        if self.cache is not None:
            states = self.cache.states(collection, kind)
            yield from (self.encoder.encode_states(chunk, kind, k=k, raw=True, static=counter) for chunk in states)
        elif kind == "document":
            yield from self.encoder.iterate_documents(collection.texts(), k=k, raw=True, static=counter)
        else:
            yield self.encoder.encode_queries(collection.query_texts, k=k, raw=True)


def to_ranking(documents: npt.NDArray[np.int32], scores: npt.NDArray[np.float32]) -> Ranking:
    """A row of what :meth:`lexite.index.BM25Index.search_arrays` gives, as a ranking."""
    found = documents >= 0  # rows with fewer hits than columns are filled with -1
    return Ranking(documents[found].astype(np.int64), scores[found])
