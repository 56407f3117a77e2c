"""One vocabulary on one collection at several numbers of latents per token, in one pass over the token states."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scipy.sparse import csr_array, vstack

from lexite.corpus.passages import PassageConfig
from lexite.evaluation.judged import JudgedCollection
from lexite.evaluation.latent import to_ranking
from lexite.evaluation.measures import evaluate_run
from lexite.evaluation.systems import Costs
from lexite.files import storage_errors
from lexite.index import BM25Index, EncodedQueries
from lexite.progress import progress
from lexite.ranking.rankings import to_run
from lexite.scoring.words import LiteralConfig
from lexite.search.indexing import Indexer
from lexite.search.queries import configured_encoder
from lexite.terms.encoding import rows_of_codes

if TYPE_CHECKING:
    from lexite.backbone import TokenStates
    from lexite.backbone.config import Kind
    from lexite.evaluation.cache import StateCache
    from lexite.terms import LatentTermEncoder

TOP_K = 100
TRAINED = "trained"
"""Name of the cut that keeps what the vocabulary says, in place of a number."""


@dataclass(frozen=True)
class Cut:
    """How many latents of each token are kept.

    Attributes:
        name: the number, or ``"trained"``.
        document: of documents.
        query: of queries.
    """

    name: str
    document: int
    query: int

    def of(self, kind: Kind) -> int:
        """The number for this kind of text."""
        return self.document if kind == "document" else self.query


def cuts_of(encoder: LatentTermEncoder, ks: Sequence[int]) -> list[Cut]:
    """The cuts to evaluate: at each k, or as the vocabulary says when there is none.

    Raises:
        ConfigError: a k is below 1 or above the number of latents.
    """
    if not ks:
        return [Cut(TRAINED, encoder.k_for("document"), encoder.k_for("query"))]
    return [Cut(str(k), encoder.k_for("document", k), encoder.k_for("query", k)) for k in ks]


def evaluate_cuts(
    encoder: LatentTermEncoder,
    collection: JudgedCollection,
    cuts: Sequence[Cut],
    cache: StateCache,
    *,
    show_progress: bool = False,
) -> dict[str, dict[str, float | None]]:
    """Measures a vocabulary on a collection at several cuts, with the numbers that ``lexite eval`` gives for each alone.

    Every token is encoded once, at the largest cut. Rows of codes fall in value, so a smaller cut is their first columns.

    Args:
        encoder: the vocabulary.
        collection: documents, queries and judgements.
        cuts: at least one, of different names.
        cache: gives the token states.
        show_progress: whether progress is shown on stderr.

    Returns:
        Name of the cut -> column of :class:`lexite.evaluation.EvaluationReport` -> value, with ``k_documents`` and
        ``k_queries``.

    Raises:
        StorageError: the folder for temporary files (TMPDIR) has no room.
    """
    queries = _queries(encoder, collection, cuts, cache)
    with storage_errors(tempfile.gettempdir()):
        folder = tempfile.TemporaryDirectory(prefix="lexite-compare-", ignore_cleanup_errors=True)
    with folder as name:
        _index(Path(name), encoder, collection, cuts, cache, show_progress)
        return {cut.name: _measure(Path(name) / cut.name, collection, cut, queries[cut.name]) for cut in cuts}


def _queries(
    encoder: LatentTermEncoder, collection: JudgedCollection, cuts: Sequence[Cut], cache: StateCache
) -> dict[str, EncodedQueries]:
    weights = _stacked(_weights(encoder, cache.states(collection, "query"), "query", cuts))
    return {name: EncodedQueries(rows, fingerprint=encoder.fingerprint) for name, rows in weights.items()}


def _index(
    folder: Path,
    encoder: LatentTermEncoder,
    collection: JudgedCollection,
    cuts: Sequence[Cut],
    cache: StateCache,
    show_progress: bool,
) -> None:
    """Writes one index per cut, all at once."""
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(progress(f"{collection.name}: terms", len(collection.document_ids), show=show_progress))
        indexers = {cut.name: stack.enter_context(_indexer(folder, encoder, cut)) for cut in cuts}
        for documents, cut, states in cache.documents(collection, PassageConfig()):
            weights = _stacked(_weights(encoder, [states], "document", cuts))
            for name, indexer in indexers.items():
                indexer.take(documents, weights[name], cut)
            bar.advance(len(documents))
        for indexer in indexers.values():
            indexer.commit()


def _indexer(folder: Path, encoder: LatentTermEncoder, cut: Cut) -> Indexer:
    own = configured_encoder(encoder, terms={"k_documents": cut.document, "k_queries": cut.query})
    return Indexer.create(folder / cut.name, own, literal=LiteralConfig(literal=False), store_text=False, static=False)


def _stacked(parts: Iterable[Mapping[str, csr_array]]) -> dict[str, csr_array]:
    """Rows of each cut in one matrix."""
    listed = list(parts)
    return {name: vstack([weights[name] for weights in listed], format="csr") for name in listed[0]}


def _weights(
    encoder: LatentTermEncoder, chunks: Iterable[TokenStates], kind: Kind, cuts: Sequence[Cut]
) -> Iterator[Mapping[str, csr_array]]:
    """Raw weights at every cut, chunk by chunk."""
    largest, floor, pooling = max(cut.of(kind) for cut in cuts), encoder.floor_for(kind), encoder.terms.pooling
    for states in (part for chunk in chunks for part in encoder.portions(chunk)):
        codes = encoder.codes(states, largest)
        yield {cut.name: rows_of_codes(codes, states.offsets, k=cut.of(kind), floor=floor, pooling=pooling) for cut in cuts}


def _measure(path: Path, collection: JudgedCollection, cut: Cut, queries: EncodedQueries) -> dict[str, float | None]:
    index = BM25Index.open(path)
    documents, scores = index.search_arrays(queries, TOP_K + 1)  # one more, for BEIR's rule
    rankings = [to_ranking(row, values) for row, values in zip(documents, scores, strict=True)]
    run = to_run([query.id for query in collection.queries], rankings, collection.document_ids, TOP_K)
    costs = Costs(index.n_postings / index.n_documents, queries.n_terms / len(queries), index.bytes / index.n_documents)
    measured = evaluate_run(collection.qrels, run).mean
    return {**measured, **asdict(costs), "k_documents": cut.document, "k_queries": cut.query}
