"""What turns the words of a query into terms for ``lexite search``: the model, or a static table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lexite.cli.stored_terms import labels_of
from lexite.errors import IndexFormatError, ModelError
from lexite.scoring.transform import drop_small

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from lexite.index import BM25Index
    from lexite.terms import LatentTermEncoder, StaticTable


class QueryEncoder(Protocol):
    """Encodes queries, and the passages of a hit, among which the one that explains it is looked for."""

    @property
    def fingerprint(self) -> str:
        """Of the vocabulary whose terms come out."""
        ...

    def encode(self, texts: Sequence[str]) -> csr_array[Any]:
        """Raw weights of queries, ``(n_texts, n_latents)``."""
        ...

    def encode_passages(self, texts: Sequence[str]) -> csr_array[Any]:
        """Raw weights of passages of documents, ``(n_texts, n_latents)``."""
        ...

    def label(self, term: int) -> str:
        """Words for a latent term."""
        ...


@dataclass(frozen=True)
class ModelQueries:
    """Queries through the model.

    Attributes:
        encoder: the vocabulary with its model.
        k: latents kept per token of a query; None takes the vocabulary's own.
    """

    encoder: LatentTermEncoder
    k: int | None = None

    @property
    def fingerprint(self) -> str:
        """Of the vocabulary."""
        return self.encoder.fingerprint

    def encode(self, texts: Sequence[str]) -> csr_array[Any]:
        """Raw weights of queries."""
        return self.encoder.encode_queries(texts, k=self.k, raw=True)

    def encode_passages(self, texts: Sequence[str]) -> csr_array[Any]:
        """Raw weights of passages, encoded as documents are."""
        return self.encoder.encode_documents(texts, raw=True)

    def label(self, term: int) -> str:
        """Words for a latent term."""
        return self.encoder.label(term)


@dataclass(frozen=True)
class StaticQueries:
    """Queries through a static table: neither torch nor transformers is loaded.

    Attributes:
        table: encodes queries and passages alike.
        fingerprint: of the vocabulary that it was counted with.
        label: words for a latent term.
        floor: share of a query's heaviest term below which terms are dropped.
    """

    table: StaticTable
    fingerprint: str
    label: Callable[[int], str]
    floor: float = 0.0

    def encode(self, texts: Sequence[str]) -> csr_array[Any]:
        """Raw weights of queries: the sums, or the largest values, of the rows of their word pieces."""
        return drop_small(self.table.encode(texts), self.floor)

    def encode_passages(self, texts: Sequence[str]) -> csr_array[Any]:
        """The same of passages, with all terms."""
        return self.table.encode(texts)


def static_queries_of(index: BM25Index, vocabulary: str | None, floor: float | None = None) -> StaticQueries:
    """The static table of an index, else that of its vocabulary.

    Args:
        index: the index.
        vocabulary: where the vocabulary is now; None looks where it was when the index was built.
        floor: of queries; None takes what the vocabulary said when the index was built.

    Raises:
        IndexFormatError: there is neither, or ``vocabulary`` is another one, or the index's table is damaged.
    """
    table, made_by = index.static(), index.vocabulary
    if table is None:
        table = _table_of_vocabulary(index, vocabulary or made_by.model)
    chosen = made_by.terms_config.get("floor_queries", 0.0) if floor is None else floor
    return StaticQueries(table, made_by.fingerprint, labels_of(index, vocabulary), chosen)


def _table_of_vocabulary(index: BM25Index, name: str) -> StaticTable:
    from lexite.terms.static import load_static

    advice = "Search without --static, or index the documents again, without --no-static."
    if not name:
        raise IndexFormatError(f"{index.path} has no static table, and does not say where its vocabulary is. {advice}")
    try:
        table, manifest = load_static(name)
    except ModelError as error:
        raise IndexFormatError(
            f"{index.path} has no static table, nor can its vocabulary's be taken: {error} {advice}"
        ) from error
    made_by = index.vocabulary
    if manifest["fingerprint"] != made_by.fingerprint:
        raise IndexFormatError(
            f"{index.path} has no static table, and that of '{name}' is of another vocabulary "
            f"({manifest['fingerprint'][:12]}) than made the index ('{made_by.name}', {made_by.fingerprint[:12]}). "
            f"Name its own with --vocabulary. {advice}"
        )
    return table
