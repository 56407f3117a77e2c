"""``BM25Similarity``: BM25 as a score function over sparse embeddings, with the statistics of a whole collection."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from lexite.config import to_dict
from lexite.errors import ArgumentError, ModelError
from lexite.files import atomic_write, json_checksum
from lexite.integrations.sentence_transformers.embedding_rows import Embeddings, WeightRows, device_of, read_rows
from lexite.scoring.config import BM25Config, saved_scoring
from lexite.scoring.formula import length_norms, saturation_form, worth_of_terms
from lexite.scoring.transform import transform_weights

STATISTICS_FILE = "bm25_statistics.safetensors"
FORMAT_VERSION = 1
_FORMAT = "lexite-bm25-statistics"
_BLOCK_ELEMENTS = 1 << 25  # of scores or query weights that one step of a product makes: 128 MiB of float32


@dataclasses.dataclass(frozen=True)
class CollectionStatistics:
    """The numbers of a collection that BM25 needs.

    Attributes:
        n_documents: number of documents, empty ones too.
        document_frequency: ``(n_terms,)`` int64: how many documents hold each term.
        total_length: sum of the lengths of the documents; the length of one is the sum of its transformed weights.
    """

    n_documents: int
    document_frequency: NDArray[np.int64]
    total_length: float

    @property
    def average_length(self) -> float:
        """Mean length of a document; 0 for an empty collection."""
        return self.total_length / self.n_documents if self.n_documents else 0.0


class BM25Similarity:
    """BM25 between sparse embeddings of queries and of documents.

    The score is that of :class:`lexite.BM25Index`: the sum over the terms t of the query of
    ``q_t · worth_t · (tf · factor / (tf + k1 · (1 - b + b · dl / avgdl)) + delta)`` that the document holds; tf is its weight
    of t, dl the sum of its weights; ``lexite.scoring.formula`` defines the idf, its power and the other forms. Document
    frequencies and the mean length are those of all documents that were fitted, whichever of them are scored.

    Called with queries and documents, an instance serves as a score function of the evaluators of sentence-transformers.
    Embeddings are torch tensors (COO, CSR or dense, any floating type), numpy arrays, scipy sparse arrays, or lists of rows; a
    single one may have one axis. Gradients do not pass.

    Args:
        scoring: k1, b, form and power of the idf, delta; None takes the defaults. ``literal_weight`` has no effect.
        raw_embeddings: whether the embeddings are raw sums of activations, which still need the transforms of ``scoring``. By
            default they count as transformed, as ``encode_query`` and ``encode_document`` return them.

    >>> similarity = BM25Similarity(BM25Config(k1=1.0, b=0.0)).fit(np.array([[0.0, 4.0], [1.0, 1.0]]))
    >>> similarity(np.array([1.0, 0.0]), np.array([[0.0, 4.0], [1.0, 1.0]])).gt(0).tolist()
    [[False, True]]
    """

    def __init__(self, scoring: BM25Config | None = None, *, raw_embeddings: bool = False) -> None:
        self._scoring = scoring or BM25Config()
        self._raw_embeddings = raw_embeddings
        self._statistics: CollectionStatistics | None = None

    @property
    def scoring(self) -> BM25Config:
        """How documents are scored."""
        return self._scoring

    @property
    def raw_embeddings(self) -> bool:
        """Whether the transforms of ``scoring`` are applied to the embeddings."""
        return self._raw_embeddings

    @property
    def statistics(self) -> CollectionStatistics:
        """Statistics of the documents fitted so far.

        Raises:
            ModelError: nothing was fitted.
        """
        if self._statistics is None:
            raise ModelError(
                "This BM25Similarity knows no collection yet. Call fit(document_embeddings) first, or load saved statistics "
                "with BM25Similarity.load(folder)."
            )
        return self._statistics

    def fit(self, corpus: Embeddings) -> BM25Similarity:
        """Counts the statistics of a collection, in place of those fitted before.

        Args:
            corpus: embeddings of all documents of the collection.

        Returns:
            Itself.

        Raises:
            ArgumentError, ModelError: the embeddings are of no supported kind, or hold weights that BM25 cannot use. The
                earlier statistics stay then.
        """
        self._statistics = self._with_documents(None, corpus)
        return self

    def partial_fit(self, chunk: Embeddings) -> BM25Similarity:
        """Adds the next documents of a collection to the statistics.

        The result is the same to the last bit, however a collection is cut into chunks.

        Args:
            chunk: embeddings of documents that were not given before.

        Returns:
            Itself.

        Raises:
            ArgumentError, ModelError: as :meth:`fit`; also when the chunk has another width than the ones before.
        """
        self._statistics = self._with_documents(self._statistics, chunk)
        return self

    def __call__(self, queries: Embeddings, documents: Embeddings) -> torch.Tensor:
        """Scores of every document for every query.

        Args:
            queries: ``(n_queries, n_terms)``.
            documents: ``(n_documents, n_terms)``: the collection, or a part of it.

        Returns:
            ``(n_queries, n_documents)`` float32, dense, on the device of the documents; 0 where no term is shared.

        Raises:
            ArgumentError: the embeddings are of no supported kind.
            ModelError: nothing was fitted, the widths differ, or a weight is not finite or negative.
        """
        impacts = self._impacts(documents)
        factors = self._factors(queries).to(impacts.values.device)
        product = product_in_blocks if impacts.values.is_cuda else product_on_cpu
        return product(factors, impacts).to(device_of(documents))

    def pairwise(self, queries: Embeddings, documents: Embeddings) -> torch.Tensor:
        """Scores of document i for query i.

        Args:
            queries: ``(n, n_terms)``.
            documents: ``(n, n_terms)``.

        Returns:
            ``(n,)`` float32 on the device of the documents.

        Raises:
            ArgumentError: there are not as many queries as documents, or the embeddings are of no supported kind.
            ModelError: as when calling.
        """
        impacts = self._impacts(documents)
        factors = self._factors(queries).to(impacts.values.device)
        n, n_terms = impacts.shape
        if factors.shape[0] != n:
            raise ArgumentError(f"There are {factors.shape[0]} queries and {n} documents, but pairs need as many of both.")
        scores = torch.zeros(n, dtype=torch.float32, device=impacts.values.device)
        if len(impacts.values):
            held, asked = (part.rows * n_terms + part.terms for part in (impacts, factors))
            places = torch.searchsorted(held, asked).clamp_(max=len(held) - 1)
            shared = held[places] == asked
            scores.index_add_(0, factors.rows[shared], factors.values[shared] * impacts.values[places[shared]])
        return scores.to(device_of(documents))

    def save(self, folder: str | Path) -> None:
        """Writes scoring and statistics as ``bm25_statistics.safetensors``, 8 bytes per term.

        Args:
            folder: where; it is made when missing, and other files in it stay.

        Raises:
            ModelError: nothing was fitted.
            StorageError: the file cannot be written.
        """
        statistics = self.statistics
        info = {
            "format": _FORMAT,
            "format_version": FORMAT_VERSION,
            "scoring": to_dict(self._scoring),
            "raw_embeddings": self._raw_embeddings,
            "n_documents": statistics.n_documents,
            "total_length": statistics.total_length,
            "document_frequency": _digest(statistics.document_frequency),
        }
        described = json.dumps({**info, "sha256": json_checksum(info)})
        tensors = {"document_frequency": statistics.document_frequency}
        with atomic_write(Path(folder) / STATISTICS_FILE) as file:
            file.write(to_safetensors(tensors, metadata={"lexite": described}))

    @classmethod
    def load(cls, folder: str | Path) -> BM25Similarity:
        """Reads what :meth:`save` wrote.

        Args:
            folder: that holds ``bm25_statistics.safetensors``.

        Raises:
            ModelError: the file is missing, damaged, of another kind or of a newer format.
        """
        path = Path(folder) / STATISTICS_FILE
        info, document_frequency = _read(path)
        similarity = cls(saved_scoring(info["scoring"], str(path)), raw_embeddings=info["raw_embeddings"])
        similarity._statistics = CollectionStatistics(info["n_documents"], document_frequency, info["total_length"])
        return similarity

    def _with_documents(self, known: CollectionStatistics | None, chunk: Embeddings) -> CollectionStatistics:
        """``known`` statistics with those of further documents."""
        width = len(known.document_frequency) if known is not None and known.n_documents else None
        weights = self._document_weights(chunk, width)
        n_terms = weights.shape[1]
        counts = torch.bincount(weights.terms, minlength=n_terms).cpu().numpy().astype(np.int64)
        total = 0.0
        if known is not None and known.n_documents:
            counts, total = counts + known.document_frequency, known.total_length
        # added one after the other, so that the rounding does not depend on the chunks
        lengths = np.concatenate([[total], _lengths(weights).astype(np.float64)])
        before = known.n_documents if known is not None else 0
        return CollectionStatistics(before + weights.shape[0], counts, float(np.add.accumulate(lengths)[-1]))

    def _document_weights(self, documents: Embeddings, n_terms: int | None) -> WeightRows:
        weights = read_rows(documents, "documents", n_terms)
        if not self._raw_embeddings:
            return weights
        return weights._replace(values=_transformed(weights.values, self._scoring.document_transform))

    def _width(self) -> int | None:
        """Number of terms that embeddings must have; None while the collection is empty."""
        return len(self.statistics.document_frequency) if self.statistics.n_documents else None

    def _impacts(self, documents: Embeddings) -> WeightRows:
        """What each posting adds to a score, but for the factor of the query: ``lexite.scoring.formula.impacts`` in torch."""
        weights = self._document_weights(documents, self._width())
        norms = length_norms(_lengths(weights), self.statistics.average_length, self._scoring)
        scale, summand = saturation_form(self._scoring)
        tf, norm = weights.values, torch.from_numpy(norms).to(weights.values.device)[weights.rows]
        return weights._replace(values=tf * float(scale) / (tf + norm) + float(summand))

    def _factors(self, queries: Embeddings) -> WeightRows:
        """Weights of queries, times what each term is worth."""
        weights = read_rows(queries, "queries", self._width())
        values = _transformed(weights.values, self._scoring.query_transform) if self._raw_embeddings else weights.values
        if not self.statistics.n_documents:
            return weights._replace(values=torch.zeros_like(values))
        statistics = self.statistics
        n_terms = len(statistics.document_frequency)
        worth = worth_of_terms(statistics.n_documents, statistics.document_frequency, n_terms, self._scoring)
        worth_of_each = torch.from_numpy(worth).to(values.device)[weights.terms]
        return weights._replace(values=(values.double() * worth_of_each).float())


def product_on_cpu(queries: WeightRows, documents: WeightRows) -> torch.Tensor:
    """The dense product ``queries · documentsᵀ`` through scipy, for a few queries at a time.

    The result is ``(n_queries, n_documents)`` float32. Parts of a score are added in ascending order of terms, so that a score
    does not depend on which others are computed.
    """
    n_queries, n_documents = queries.shape[0], documents.shape[0]
    scores = np.zeros((n_queries, n_documents), dtype=np.float32)
    if not scores.size:
        return torch.from_numpy(scores)
    _check_widths(queries, documents)
    left, right = queries.to_scipy(), documents.to_scipy().T.tocsr()
    step = max(1, _BLOCK_ELEMENTS // max(1, n_documents))
    for first in range(0, n_queries, step):
        scores[first : first + step] = (left[first : first + step] @ right).toarray()
    return torch.from_numpy(scores)


def product_in_blocks(queries: WeightRows, documents: WeightRows) -> torch.Tensor:
    """The same product through torch, on the device of both: blocks of queries are made dense, documents never are."""
    n_queries, n_documents = queries.shape[0], documents.shape[0]
    scores = torch.zeros((n_queries, n_documents), dtype=torch.float32, device=documents.values.device)
    if not scores.numel():
        return scores
    _check_widths(queries, documents)
    if not len(documents.values) or not len(queries.values):
        return scores
    left = documents.to_coo()
    step = max(1, _BLOCK_ELEMENTS // max(queries.shape[1], n_documents))
    bounds = torch.searchsorted(queries.rows, torch.arange(0, n_queries + step, step, device=queries.rows.device)).tolist()
    for number, first in enumerate(range(0, n_queries, step)):
        part = slice(bounds[number], bounds[number + 1])
        width = min(step, n_queries - first)
        block = torch.zeros((queries.shape[1], width), dtype=torch.float32, device=scores.device)
        block[queries.terms[part], queries.rows[part] - first] = queries.values[part]
        scores[first : first + width] = torch.sparse.mm(left, block).T
    return scores


def _check_widths(queries: WeightRows, documents: WeightRows) -> None:
    if queries.shape[1] != documents.shape[1]:
        raise ModelError(
            f"The embeddings of queries have {queries.shape[1]} dimensions, those of documents {documents.shape[1]}. "
            "Encode both with the same vocabulary."
        )


def _transformed(values: torch.Tensor, transform: Any) -> torch.Tensor:
    return torch.from_numpy(transform_weights(values.cpu().numpy(), transform)).to(values.device)


def _lengths(weights: WeightRows) -> NDArray[np.float32]:
    """Length of each text: the sum of its weights, added in float64."""
    sums = torch.bincount(weights.rows, weights=weights.values.double(), minlength=weights.shape[0])
    return sums.float().cpu().numpy()


def _digest(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _read(path: Path) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """The description and the document frequencies in a file of statistics, after checking them."""
    if not path.is_file():
        raise ModelError(f"{path} does not exist. BM25Similarity.save(folder) writes it.")
    try:
        with safe_open(path, framework="numpy") as file:
            info = json.loads((file.metadata() or {}).get("lexite", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path} is damaged: {error}. Fetch it again, or fit and save anew.") from error
    if not isinstance(info, dict) or info.get("format") != _FORMAT:
        raise ModelError(f"{path} does not hold statistics for BM25 that lexite wrote.")
    if info.get("format_version") != FORMAT_VERSION:
        raise ModelError(
            f"{path} has format version {info.get('format_version')}, but this lexite reads version {FORMAT_VERSION}. "
            "Install a newer lexite."
        )
    frequencies = tensors.get("document_frequency")
    described = json_checksum(info) == info.get("sha256")
    if frequencies is None or not described or _digest(frequencies) != info["document_frequency"]:
        raise ModelError(f"{path} is damaged: its checksum is not the recorded one. Fetch it again, or fit and save anew.")
    return info, frequencies
