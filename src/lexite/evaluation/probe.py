"""A quick measure of a sparse autoencoder in training: retrieval on a small collection whose token states are kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lexite.corpus import Document, ReadOptions
from lexite.corpus.passages import CutDocuments, PassageConfig, cut_documents
from lexite.corpus.text_fields import FieldWeights
from lexite.errors import BackboneError
from lexite.evaluation.judged import JudgedCollection, open_collections, read_collection
from lexite.evaluation.latent import LatentSystem
from lexite.evaluation.measures import evaluate_run, import_ir_measures
from lexite.ranking.rankings import to_run
from lexite.search.indexing import chunks

if TYPE_CHECKING:
    from lexite.backbone import Backbone, BackboneConfig, TokenStates
    from lexite.backbone.config import Kind
    from lexite.sae import SparseAutoencoder
    from lexite.terms import BM25Config, TermsConfig
    from lexite.training.run import Probe

logger = logging.getLogger("lexite")
TOP_K = 100


def make_probe(
    path: str | Path,
    backbone: Backbone | Callable[[], Backbone],
    *,
    terms: TermsConfig | None = None,
    scoring: BM25Config | None = None,
    split: str = "test",
) -> Probe:
    """Makes a function that measures an autoencoder on a small judged collection, for :func:`lexite.recipes.from_text.train`.

    The collection is read and checked at once. Its token states are computed at the first call and kept in memory as the
    backbone gives them (2 bytes x d_model per token in bf16). A later call costs only encoding, indexing and search.

    Args:
        path: a BEIR folder of at most a few thousand documents.
        backbone: the model that the autoencoder reads, or a function that loads it, which is called at the first probe.
        terms: pooling and the latents kept per token; None is the default, with the autoencoder's k.
        scoring: BM25's numbers; None is the default.
        split: name of the file of judgements.

    Returns:
        A function from an autoencoder to ``probe_ndcg@10``, ``probe_recall@100``, ``probe_postings_per_document`` and
        ``probe_terms_per_query``, as ``lexite eval`` gives them for the vocabulary.

    Raises:
        CorpusError: the collection is missing or unusable.
        MissingExtraError: ir-measures is not installed.
    """
    import_ir_measures()
    collection = read_collection(open_collections([path], split)[0], ReadOptions())
    states = _CollectionStates(collection, backbone)

    def probe(sae: SparseAutoencoder) -> dict[str, float]:
        from lexite.terms import LatentTermEncoder

        encoder = LatentTermEncoder(states.backbone, sae, terms, scoring)
        system = LatentSystem(encoder, cache=states, passages=PassageConfig())
        result = system.run(collection, TOP_K + 1)  # one more than is kept, for BEIR's rule
        run = to_run([query.id for query in collection.queries], result.rankings, collection.document_ids, TOP_K)
        measured = evaluate_run(collection.qrels, run).mean
        return {
            "probe_ndcg@10": measured["nDCG@10"],
            "probe_recall@100": measured["R@100"],
            "probe_postings_per_document": result.costs.postings_per_document or 0.0,
            "probe_terms_per_query": result.costs.terms_per_query or 0.0,
        }

    return probe


def training_probe(
    path: str | Path,
    sources: Sequence[str | Path],
    config: BackboneConfig,
    *,
    terms: TermsConfig | None = None,
    scoring: BM25Config | None = None,
) -> Probe:
    """:func:`make_probe` for a training that is described as :func:`lexite.recipes.from_text.train` takes it.

    Args:
        path: the collection.
        sources: what is trained on; a folder of token states names the model itself.
        config: the model, for texts.
        terms: as in :func:`make_probe`.
        scoring: as in :func:`make_probe`.

    Raises:
        CorpusError: the collection is missing or unusable.
        BackboneError: the token states do not say which model made them.
        MissingExtraError: ir-measures is not installed.
    """
    from lexite.backbone import StateStore, load_backbone
    from lexite.backbone.precomputed import PrecomputedBackbone
    from lexite.backbone.store import is_store

    store = next((str(source) for source in sources if is_store(str(source))), None)
    if store is not None:
        recorded = PrecomputedBackbone(StateStore.open(store))
        if "config" not in recorded.info():
            raise BackboneError(
                f"{store} does not say which model made its token states, so {path} cannot be encoded. Train without a probe."
            )
        config = recorded.config
    return make_probe(path, lambda: load_backbone(config), terms=terms, scoring=scoring)


@dataclass
class _CollectionStates:
    """Token states of one collection in memory, made when they are first asked for."""

    collection: JudgedCollection
    source: Backbone | Callable[[], Backbone]

    def __post_init__(self) -> None:
        self._backbone: Backbone | None = None
        self._chunks: dict[Kind | tuple[PassageConfig | None, FieldWeights | None], list[TokenStates]] = {}

    @property
    def backbone(self) -> Backbone:
        """The model, loaded at its first use."""
        if self._backbone is None:
            self._backbone = self.source() if callable(self.source) else self.source
        return self._backbone

    def states(self, collection: JudgedCollection, kind: Kind) -> Iterator[TokenStates]:
        """The states of the collection's whole documents or queries, in order, chunk by chunk."""
        from lexite.backbone import iterate_states

        def encode() -> Iterator[TokenStates]:
            texts = collection.texts() if kind == "document" else collection.query_texts
            return iterate_states(self.backbone, texts, kind)

        return iter(self._kept(kind, encode))

    def documents(
        self, collection: JudgedCollection, passages: PassageConfig | None = None, weights: FieldWeights | None = None
    ) -> Iterator[tuple[list[Document], CutDocuments, TokenStates]]:
        """The collection's documents, in order, some at a time, with the states of their passages or fields."""
        from lexite.backbone import iterate_states
        from lexite.backbone.states import concatenate

        def encode() -> Iterator[TokenStates]:
            for some in chunks(collection.read()):
                texts = cut_documents(some, passages, weights).encoded_texts
                yield concatenate(list(iterate_states(self.backbone, texts, "document")))

        for some, states in zip(chunks(collection.read()), self._kept((passages, weights), encode), strict=True):
            yield some, cut_documents(some, passages, weights), states

    def _kept(
        self, what: Kind | tuple[PassageConfig | None, FieldWeights | None], encode: Callable[[], Iterator[TokenStates]]
    ) -> list[TokenStates]:
        """States that are encoded once."""
        if what not in self._chunks:
            logger.info(
                "Encoding the %s of %s for the probe.", "queries" if what == "query" else "documents", self.collection.name
            )
            self._chunks[what] = list(encode())
        return self._chunks[what]
