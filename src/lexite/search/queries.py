"""From texts to encoded queries, as an index recorded it: through the model, or through a static table."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from lexite.config import from_dict, to_dict
from lexite.errors import ArgumentError, ConfigError, IndexFormatError, ModelError
from lexite.scoring.rows import SparseRows, columns_of
from lexite.scoring.transform import drop_small
from lexite.search.indexing import NUMBERS, PREFIX, READING
from lexite.search.query_passes import RecentPasses, keepable
from lexite.terms.components import TOKENS_AT_ONCE
from lexite.terms.config import Profile, TermsConfig, with_profile
from lexite.terms.queries import EncodedQueries

if TYPE_CHECKING:
    from lexite.backbone.states import TokenStates
    from lexite.index import BM25Index, VocabularyInfo
    from lexite.sae import SparseCodes
    from lexite.terms import LatentTermEncoder, StaticTable

logger = logging.getLogger("lexite")
MODEL_OPTIONS = ("device", "precision", "trust_remote_code", "revision", *READING)

_NO_MODEL = "{} need the model. Leave --static out, in Python static=True."


Weigh = Callable[[Sequence[str], NDArray[np.int64]], NDArray[np.float32]]
"""Gives the raw weights of some latents in texts, ``(n_texts, n)``."""


class QueryEncoder(Protocol):
    """Encodes queries, and the passages of a hit, among which the one that explains it is looked for.

    It may have ``strategies``, which every search runs before its own. It may have a method ``token_codes(texts)``: the codes
    of the tokens whose states ``token_states`` gives, with as many latents as queries have. Without it they are computed anew.
    And it may have a method ``passage_weights``, which gives some columns of ``encode_passages`` (:data:`Weigh`) in less time
    than to take them from it.
    """

    @property
    def fingerprint(self) -> str:
        """Of the vocabulary whose terms come out."""
        ...

    @property
    def kind(self) -> str:
        """``model``, ``static`` or ``cascade``, for people."""
        ...

    def encode(
        self, texts: Sequence[str], *, k_queries: int | None = None, floor_queries: float | None = None
    ) -> EncodedQueries:
        """Encodes queries as the index recorded, but for what is given."""
        ...

    def encode_passages(self, texts: Sequence[str]) -> SparseRows:
        """Raw weights of passages of documents, ``(n_texts, n_latents)``."""
        ...

    def dense(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Dense vectors of queries, ``(n_texts, d)`` of length 1; from the pass of the model that encoded them a moment ago.

        Raises:
            ArgumentError: there is no model.
            BackboneError: the model has no single vector per text.
        """
        ...

    def dense_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The dense vectors that the model gives for passages of documents, ``(n_texts, d)``.

        Raises:
            ArgumentError: queries are encoded without the model.
        """
        ...

    def token_states(self, texts: Sequence[str]) -> TokenStates:
        """States of the tokens of queries; from the pass of the model that encoded them a moment ago.

        Raises:
            ArgumentError: there is no model.
        """
        ...

    def of_newer(self, index: BM25Index) -> QueryEncoder:
        """What encodes queries for a newer commit of the same index, which may have recorded other settings."""
        ...


@dataclass(frozen=True)
class ModelQueries:
    """Queries through the model.

    Attributes:
        encoder: the vocabulary with its model, encoding as the index recorded.
        deliberate: settings that are other than recorded on purpose (:attr:`EncodedQueries.deliberate`).
        kind: ``model``.
        passes: what the model gave for the last few batches of queries.
    """

    encoder: LatentTermEncoder
    deliberate: frozenset[str] = frozenset()
    kind: str = "model"
    passes: RecentPasses = field(default_factory=RecentPasses, init=False, repr=False, compare=False)

    @property
    def fingerprint(self) -> str:
        """Of the vocabulary."""
        return self.encoder.fingerprint

    def encode(
        self, texts: Sequence[str], *, k_queries: int | None = None, floor_queries: float | None = None
    ) -> EncodedQueries:
        """Encodes queries."""
        if keepable(texts):
            own = self.passes.of(self.encoder.backbone, texts)
            few = self.encoder.sae.limited or own.states.n_tokens <= TOKENS_AT_ONCE
            codes = own.codes(self.encoder, self._largest_k(k_queries)) if few else None
            queries = self.encoder.queries_of_states(own.states, texts, k=k_queries, floor=floor_queries, codes=codes)
        else:
            queries = self.encoder.encode_queries(texts, k=k_queries, floor=floor_queries)
        return dataclasses.replace(queries, deliberate=queries.deliberate | self.deliberate)

    def encode_passages(self, texts: Sequence[str]) -> SparseRows:
        """Raw weights of passages, encoded as documents are."""
        return self.encoder.encode_documents(texts)

    def dense(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Dense vectors of queries."""
        if not keepable(texts):
            return self.encoder.backbone.dense(texts, "query")
        return self.passes.of(self.encoder.backbone, texts).vectors()

    def dense_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Dense vectors of passages of documents."""
        return self.encoder.backbone.dense(texts, "document")

    def token_states(self, texts: Sequence[str]) -> TokenStates:
        """States of the tokens of queries."""
        if not keepable(texts):
            return self.encoder.backbone.encode(texts, "query").check()
        return self.passes.of(self.encoder.backbone, texts).states

    def token_codes(self, texts: Sequence[str]) -> SparseCodes:
        """Codes of the tokens of queries, with as many latents as queries have by the vocabulary."""
        k = self.encoder.k_for("query")
        if not keepable(texts):
            return self.encoder.codes(self.token_states(texts), k)
        return self.passes.of(self.encoder.backbone, texts).codes(self.encoder, k).first(k)

    def _largest_k(self, k: int | None) -> int:
        """As many latents of a token as its terms and :meth:`token_codes` need."""
        return max(self.encoder.k_for("query", k), self.encoder.k_for("query"))

    def of_newer(self, index: BM25Index) -> ModelQueries:
        """The same model, encoding as the newer commit recorded."""
        return dataclasses.replace(self, encoder=encoder_of(index.vocabulary, self.encoder))


@dataclass(frozen=True)
class StaticQueries:
    """Queries through a static table: neither torch nor transformers is loaded.

    Attributes:
        table: encodes queries and passages alike.
        fingerprint: of the vocabulary that it was counted with.
        floor: share of a query's heaviest term below which terms are dropped.
        vocabulary: where the vocabulary is now; None for where it was when the index was built.
        kind: ``static``.
    """

    table: StaticTable
    fingerprint: str
    floor: float = 0.0
    vocabulary: str | Path | None = None
    kind: str = "static"

    def encode(
        self, texts: Sequence[str], *, k_queries: int | None = None, floor_queries: float | None = None
    ) -> EncodedQueries:
        """Encodes queries: the sums, or the largest values, of the rows of their word pieces.

        Raises:
            ArgumentError: ``k_queries`` is given, of which a table knows nothing.
        """
        if k_queries is not None:
            raise ArgumentError("k_queries has no effect on static queries, whose table has its terms already. Leave it out.")
        floor = self.floor if floor_queries is None else floor_queries
        rows = drop_small(self.table.encode_rows(texts), floor)
        deliberate = frozenset[str]() if floor_queries is None else frozenset({"floor_queries"})
        return EncodedQueries(rows, list(texts), self.fingerprint, {"floor_queries": floor}, deliberate)

    def encode_passages(self, texts: Sequence[str]) -> SparseRows:
        """The same of passages, with all terms."""
        return self.table.encode_rows(texts)

    def passage_weights(self, texts: Sequence[str], latents: NDArray[np.int64]) -> NDArray[np.float32]:
        """Some columns of :meth:`encode_passages`."""
        return self.table.weights_of(texts, latents)

    def dense(self, texts: Sequence[str]) -> NoReturn:
        """Not possible without the model; raises :class:`ArgumentError`."""
        raise ArgumentError(_NO_MODEL.format("Dense vectors of queries"))

    def dense_passages(self, texts: Sequence[str]) -> NoReturn:
        """Not possible without the model; raises :class:`ArgumentError`."""
        raise ArgumentError(_NO_MODEL.format("Dense vectors of passages"))

    def token_states(self, texts: Sequence[str]) -> NoReturn:
        """Not possible without the model; raises :class:`ArgumentError`."""
        raise ArgumentError(_NO_MODEL.format("States of the tokens of queries"))

    def token_codes(self, texts: Sequence[str]) -> NoReturn:
        """Not possible without the model; raises :class:`ArgumentError`."""
        raise ArgumentError(_NO_MODEL.format("Codes of the tokens of queries"))

    def of_newer(self, index: BM25Index) -> StaticQueries:
        """The table of the newer commit."""
        return static_queries_of(index, self.vocabulary)


def weigher(encoder: QueryEncoder) -> Weigh:
    """What gives raw weights of passages by an encoder."""
    own: Weigh | None = getattr(encoder, "passage_weights", None)
    return own or (lambda texts, latents: columns_of(encoder.encode_passages(texts), latents))


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Lets garbage lie: loading makes a million objects that stay, and a tenth of its time would go to looking through them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_no_collection()
def load_encoder(
    vocabulary: str | Path,
    *,
    prefix: int | None = None,
    profile: Profile | None = None,
    terms: Mapping[str, Any] | None = None,
    **model: Any,
) -> LatentTermEncoder:
    """Loads a vocabulary with its model, to build an index with it; imports torch.

    Args:
        vocabulary: as for ``LatentTermEncoder.from_pretrained``.
        prefix: the first latents only.
        profile: takes the place of what the vocabulary says about k and floors.
        terms: fields of ``TermsConfig``, which win over both.
        **model: how the model runs and reads texts, as for ``LatentTermEncoder.from_pretrained``.
    """
    from lexite.terms import LatentTermEncoder

    unknown = next((name for name in model if name not in MODEL_OPTIONS), None)
    if unknown is not None:
        raise ArgumentError(f"There is no option '{unknown}'. Of the model there are {', '.join(MODEL_OPTIONS)}.")
    encoder = LatentTermEncoder.from_pretrained(vocabulary, **model)
    backbone = encoder.backbone
    logger.info("Model %s in %s on %s.", backbone.name, backbone.precision, getattr(backbone, "device", "cpu"))
    return configured_encoder(encoder, prefix=prefix, profile=profile, terms=terms)


def configured_encoder(
    encoder: LatentTermEncoder,
    *,
    prefix: int | None = None,
    profile: Profile | None = None,
    terms: Mapping[str, Any] | None = None,
) -> LatentTermEncoder:
    """An encoder with other settings; arguments as for :func:`load_encoder`."""
    encoder = encoder if prefix is None else encoder.prefix(prefix)
    chosen = encoder.terms
    if profile is not None:
        chosen = with_profile(chosen, profile, encoder.sae.largest_k)
    if terms:
        chosen = from_dict(TermsConfig, {**to_dict(chosen), **terms}, "terms")
    return encoder if chosen == encoder.terms else encoder.replaced(terms=chosen)


@_no_collection()
def encoder_of(
    made_by: VocabularyInfo, vocabulary: str | Path | LatentTermEncoder | None = None, **model: Any
) -> LatentTermEncoder:
    """The vocabulary that made an index, encoding as the index recorded.

    Args:
        made_by: what the index recorded (``BM25Index.vocabulary``).
        vocabulary: where the vocabulary is now, or the encoder itself; None looks where it was when the index was built.
        **model: how the model runs, and what of its reading is other than recorded.

    Raises:
        IndexFormatError: ``vocabulary`` is another one, or the index does not say where its own is.
        ConfigError: options of the model beside an encoder, which is loaded already; or a reading of documents that is other
            than recorded.
    """
    from lexite.backbone import read_otherwise
    from lexite.terms import LatentTermEncoder

    reading = {key: made_by.terms_config[key] for key in READING if key in made_by.terms_config}
    other = next((key for key in READING if key != "query_prompt" and key in model and model[key] != reading.get(key)), None)
    if other is not None:
        raise ConfigError(
            f"The index recorded {other} {reading.get(other)!r}, and its documents were read so. Leave {other} out, or build "
            "the index again with another."
        )
    numbers = {key: made_by.terms_config[key] for key in NUMBERS if key in made_by.terms_config}
    prefix = made_by.terms_config.get(PREFIX)
    if isinstance(vocabulary, LatentTermEncoder):
        if model:
            raise ConfigError(f"The encoder is loaded already, so {', '.join(model)} can have no effect. Leave it out.")
        encoder, name = vocabulary, vocabulary.name
        if dict(encoder.components.reading) != reading:
            encoder = encoder.replaced(backbone=read_otherwise(encoder.backbone, reading))
    else:
        name = str(vocabulary or made_by.model)
        if not name:
            raise IndexFormatError("The index does not say where its vocabulary is. Name it with vocabulary=....")
        encoder = load_encoder(name, **{**reading, **model})
    if prefix is not None and prefix < encoder.sae.config.n_latents:
        encoder = encoder.prefix(prefix)
    check_made_by(made_by, name, encoder.fingerprint)
    return configured_encoder(encoder, terms=numbers)


def check_made_by(made_by: VocabularyInfo, name: str, fingerprint: str) -> None:
    """Refuses a vocabulary that did not make an index.

    Raises:
        IndexFormatError: it has another fingerprint than the index recorded.
    """
    if fingerprint != made_by.fingerprint:
        raise IndexFormatError(
            f"The index was made by the vocabulary '{made_by.name}' ({made_by.fingerprint[:12]}), but "
            f"'{name}' is another one ({fingerprint[:12]}). Name its own with vocabulary=...."
        )


def static_queries_of(index: BM25Index, vocabulary: str | Path | None = None) -> StaticQueries:
    """Static queries through the table of an index, else through that of its vocabulary.

    Args:
        index: the index.
        vocabulary: where the vocabulary is now; None looks where it was when the index was built.

    Raises:
        IndexFormatError: there is neither, or ``vocabulary`` is another one, or the index's table is damaged.
    """
    table, made_by = index.static(), index.vocabulary
    if table is None:
        table = _table_of_vocabulary(index, str(vocabulary or made_by.model))
    return StaticQueries(table, made_by.fingerprint, made_by.terms_config.get("floor_queries", 0.0), vocabulary)


def _table_of_vocabulary(index: BM25Index, name: str) -> StaticTable:
    from lexite.terms.static import load_static

    advice = "Search without static=True, or index the documents again with it."
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
            f"Name its own with vocabulary=.... {advice}"
        )
    return table
