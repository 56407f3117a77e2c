"""The encoder that users load and save: text in, weights of latent terms out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from lexite.backbone.base import TEXTS_PER_CHUNK
from lexite.errors import ArgumentError
from lexite.scoring.config import BM25Config
from lexite.scoring.transform import transform_weights
from lexite.terms.chunks import text_chunks
from lexite.terms.component_access import ComponentAccess
from lexite.terms.components import Components
from lexite.terms.config import TermsConfig
from lexite.terms.encoding import Encoding, TextSink, encode_texts, pooled_rows, rows_of_codes, stack_rows
from lexite.terms.manifest import ModelDetails
from lexite.terms.queries import EncodedQueries
from lexite.terms.reopening import Reference, components_of, reference_to
from lexite.terms.saving import SaveDtype, load_components, push_components, save_components
from lexite.terms.selection import prefix_of, reordered
from lexite.terms.vocabulary import Vocabulary

if TYPE_CHECKING:
    from lexite.backbone.base import Backbone
    from lexite.backbone.config import Kind
    from lexite.backbone.states import TokenStates
    from lexite.sae import SparseAutoencoder, SparseCodes
    from lexite.terms.piece_counts import PieceCounts
    from lexite.terms.static import StaticTable
    from lexite.terms.static_counts import StaticCounter
    from lexite.terms.token_decoder import TokenDecoder


class LatentTermEncoder(ComponentAccess):
    """Turns texts into weights of latent terms: backbone, sparse autoencoder, pooling, in this order.

    It is safe from several threads. Another process gets it by pickle, if it was loaded from a folder or by name: the
    vocabulary is opened there again, with the same settings. A process that is forked from this one can use it as it is.

    Args:
        backbone: the dense retriever that gives token states.
        sae: the sparse autoencoder that turns a state into a few latents.
        terms: pooling, and the latents kept per token.
        scoring: how the weights are meant to be scored; an index of this vocabulary takes it over.
        vocabulary: frequencies and labels of the terms, when they were measured.
        details: name, licence, data, recipe and results, for people.
        source: name or path that loads this encoder again; empty when it was never saved.
        prefix_size: number of latents here, the first ones of a ``source`` that has more; None where all are here.
        static: the table that encodes queries without a model, when it was measured.
        token_decoder: what turns the latents of a token into its state again, for MaxSim where the autoencoder has no decoder.

    Raises:
        ModelError: the autoencoder or the vocabulary does not fit the backbone.
        ConfigError: more latents per token are asked for than there are.
    """

    def __init__(
        self,
        backbone: Backbone,
        sae: SparseAutoencoder,
        terms: TermsConfig | None = None,
        scoring: BM25Config | None = None,
        vocabulary: Vocabulary | None = None,
        *,
        details: ModelDetails | None = None,
        source: str = "",
        prefix_size: int | None = None,
        static: StaticTable | None = None,
        token_decoder: TokenDecoder | None = None,
    ) -> None:
        self.components = Components(
            backbone,
            sae,
            terms or TermsConfig(),
            scoring or BM25Config(),
            vocabulary,
            details or ModelDetails(),
            source,
            prefix_size,
            static,
            token_decoder=token_decoder,
        )

    @classmethod
    def of(cls, components: Components) -> LatentTermEncoder:
        """The encoder of parts that are there already."""
        encoder = cls.__new__(cls)
        encoder.components = components
        return encoder

    def replaced(self, **changes: Any) -> LatentTermEncoder:
        """The same encoder with other settings; the model is shared, this one is left as it is.

        Args:
            **changes: ``terms``, ``scoring``, ``vocabulary``, ``details``, ``static`` and so on, as the class takes them.

        Raises:
            ModelError, ConfigError: as the class.
        """
        return LatentTermEncoder.of(replace(self.components, **changes))

    def __reduce__(self) -> tuple[Any, ...]:
        return LatentTermEncoder._reopened, (reference_to(self.components),)

    @classmethod
    def _reopened(cls, reference: Reference) -> LatentTermEncoder:
        return cls.of(components_of(reference))

    def __copy__(self) -> LatentTermEncoder:
        return self.replaced()

    def __deepcopy__(self, memo: dict[int, Any]) -> LatentTermEncoder:
        return self.replaced()  # no part of it is ever changed

    def __repr__(self) -> str:
        return f"LatentTermEncoder({self.name!r}, {self.backbone.name}, {self.n_latents} latents, k {self.k_for('document')})"

    def encode_documents(
        self,
        texts: Iterable[str],
        *,
        k: int | None = None,
        floor: float | None = None,
        static: StaticCounter | None = None,
        pieces: PieceCounts | None = None,
        sink: TextSink | None = None,
        texts_per_chunk: int = TEXTS_PER_CHUNK,
        show_progress: bool = False,
    ) -> csr_array[np.float32]:
        """Encodes documents into raw weights, which is what an index stores.

        A search transforms them as :attr:`scoring` says. Outside an index, ``lexite.terms.apply_transform`` does that.

        Args:
            texts: the documents' texts (title and text joined by a space); any iterable.
            k: latents kept per token; default as configured, else as trained.
            floor: share of a text's heaviest term below which terms are dropped; default as configured.
            static: counts the codes by word piece on the way, for a static table of these documents.
            pieces: counts the word pieces on the way that the vocabulary cannot read.
            sink: takes token codes and dense vectors on the way, from the same pass of the model.
            texts_per_chunk: texts that go through the model before the next are read.
            show_progress: show progress on stderr.

        Returns:
            ``(n_texts, n_latents)`` float32 CSR, columns ascending within a row, no stored zeros.

        Raises:
            ArgumentError: one text instead of a list, or something that is not text.
            ConfigError: k is less than 1 or more than there are latents.
            BackboneError: the model fails, or gives NaN.
        """
        _check_texts(texts, "encode_documents")
        how = replace(self._how("document", k, floor, static), pieces=pieces, sink=sink)
        return stack_rows(encode_texts(self.components, texts, how, texts_per_chunk, show_progress), self.n_latents)

    def encode_queries(
        self,
        texts: Iterable[str],
        *,
        k: int | None = None,
        floor: float | None = None,
        texts_per_chunk: int = TEXTS_PER_CHUNK,
        show_progress: bool = False,
    ) -> EncodedQueries:
        """Encodes queries, with the query prompt, ``k_queries`` and ``floor_queries``.

        Args:
            texts: the queries; any iterable.
            k: latents kept per token; default as configured. A k that is given counts as meant: an index that recorded
                another one takes the queries all the same.
            floor: share of a query's heaviest term below which terms are dropped; likewise.
            texts_per_chunk: texts that go through the model before the next are read.
            show_progress: show progress on stderr.

        Returns:
            The queries, for ``BM25Index.search``; their raw weights are in ``rows``, ``(n_texts, n_latents)``.

        Raises:
            ArgumentError, ConfigError, BackboneError: as :meth:`encode_documents`.
        """
        _check_texts(texts, "encode_queries")
        listed, how = list(texts), self._how("query", k, floor)
        rows = stack_rows(encode_texts(self.components, listed, how, texts_per_chunk, show_progress), self.n_latents)
        return EncodedQueries(rows, listed, self.fingerprint, self._settings(how), _given(k_queries=k, floor_queries=floor))

    def iterate_documents(
        self,
        texts: Iterable[str],
        *,
        k: int | None = None,
        floor: float | None = None,
        static: StaticCounter | None = None,
        texts_per_chunk: int = TEXTS_PER_CHUNK,
        show_progress: bool = False,
    ) -> Iterator[csr_array[np.float32]]:
        """Encodes a stream of documents chunk by chunk, in order, with memory for one chunk.

        A chunk ends after ``texts_per_chunk`` texts or 512 KiB of text, whichever comes first. Arguments, rows and
        errors are those of :meth:`encode_documents`.
        """
        _check_texts(texts, "iterate_documents")
        how = self._how("document", k, floor, static)
        return encode_texts(self.components, texts, how, texts_per_chunk, show_progress)

    def encode_states(
        self,
        states: TokenStates,
        kind: Kind,
        *,
        k: int | None = None,
        floor: float | None = None,
        static: StaticCounter | None = None,
        sink: TextSink | None = None,
    ) -> csr_array[np.float32]:
        """The raw weights of texts whose token states are there already; see :meth:`encode_documents`.

        ``sink`` gets token codes alone: states have no dense vectors.

        Raises:
            ModelError: the states are of another width than the autoencoder reads.
        """
        how = replace(self._how(kind, k, floor, static), sink=sink)
        return how.finish(pooled_rows(self.components, states, how))

    def queries_of_states(
        self,
        states: TokenStates,
        texts: Iterable[str],
        *,
        k: int | None = None,
        floor: float | None = None,
        codes: SparseCodes | None = None,
    ) -> EncodedQueries:
        """Queries whose token states are there already; see :meth:`encode_queries`.

        Args:
            states: of their tokens.
            texts: of the queries.
            k: latents kept per token.
            floor: share of a query's heaviest term below which terms are dropped.
            codes: of the same tokens, at least ``k`` latents of each, where they are there already too.
        """
        how = self._how("query", k, floor)
        if codes is None:
            rows = how.finish(pooled_rows(self.components, states, how))
        else:
            rows = rows_of_codes(codes, states.offsets, k=how.k, floor=how.floor, pooling=self.terms.pooling)
        given = _given(k_queries=k, floor_queries=floor)
        return EncodedQueries(rows, list(texts), self.fingerprint, self._settings(how), given)

    def iterate_states(
        self, texts: Iterable[str], kind: Kind, *, texts_per_chunk: int = TEXTS_PER_CHUNK
    ) -> Iterator[TokenStates]:
        """The backbone's token states of a stream of texts, in the chunks of :meth:`iterate_documents`."""
        first = 0
        for chunk in text_chunks(texts, texts_per_chunk):
            yield self.backbone.encode(chunk, kind).check(first_text=first)
            first += len(chunk)

    def query_terms(self, text: str, *, k: int | None = None) -> list[tuple[int, str, float]]:
        """Explains a query: its terms, each with a label and its weight in the score, the heaviest first.

        Args:
            text: one query.
            k: latents kept per token; default as configured.

        Returns:
            ``(term, label, weight)``; the weight is transformed as the scoring says.

        Raises:
            ArgumentError: ``text`` is not one text.
        """
        if not isinstance(text, str):
            raise ArgumentError(f"query_terms takes one text, not a {type(text).__name__}.")
        row = self.encode_queries([text], k=k).to_csr()
        weights = transform_weights(row.data, self.scoring.query_transform)
        order = np.lexsort((row.indices, -weights))
        return [(int(row.indices[i]), self.label(int(row.indices[i])), float(weights[i])) for i in order]

    def label(self, term: int) -> str:
        """A short label of a term for people; its number when no labels were measured."""
        return self.vocabulary.label(term) if self.vocabulary is not None else f"latent {term}"

    def kind(self, term: int) -> str:
        """The kind of a term (see :mod:`lexite.labelling.kinds`); empty where the vocabulary was not labelled."""
        return "" if self.vocabulary is None else self.vocabulary.kind(term)

    def prefix(self, n_latents: int) -> LatentTermEncoder:
        """The vocabulary of the first latents alone; each token then chooses among these.

        It needs no training where latents stand in order of importance: in a nested (Matryoshka) dictionary, and in one that
        ``lexite rank`` put in order. Terms keep their numbers and labels. Tokens get other terms, so the fingerprint is another
        one. An index remembers the prefix that it was made with.

        Args:
            n_latents: how many latents; all of them give the vocabulary itself.

        Raises:
            ConfigError: fewer than 1, fewer than are kept per token, or more than there are.
        """
        parts = prefix_of(self.components, n_latents)
        return self if parts is self.components else LatentTermEncoder.of(parts)

    def reordered(self, order: ArrayLike) -> LatentTermEncoder:
        """The vocabulary with its latents in another order, or with only some of them; labels and frequencies go along.

        Args:
            order: numbers of latents, each at most once; latent ``order[i]`` becomes latent i, as
                :attr:`lexite.sae.progressive.LatentRanking.order` has them.

        Raises:
            ConfigError: fewer latents than are kept per token.
            ModelError: a number is out of range or occurs twice, or none is left.
        """
        return LatentTermEncoder.of(reordered(self.components, order))

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = "default",
        *,
        device: str | None = None,
        precision: Literal["auto", "bf16", "fp32", "int8"] | None = None,
        revision: str | None = None,
        trust_remote_code: bool = False,
        long: Literal["window", "truncate"] | None = None,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        backbone: Backbone | None = None,
    ) -> LatentTermEncoder:
        """Loads a vocabulary and the dense model that it was made for.

        Args:
            name_or_path: ``"default"``; a folder; or ``owner/name`` on the Hugging Face hub.
            device: where the model runs; default the best there is.
            precision: number format of the model; default as saved.
            revision: branch, tag or commit of the vocabulary on the hub.
            trust_remote_code: run Python code that the dense model brings along. Never taken from a saved folder.
            long: what happens to a text longer than the window; default as saved. This and the prompts change how texts are
                read, not which vocabulary it is: documents and queries should be read in the same way.
            query_prompt: text put before each query; default as saved.
            document_prompt: text put before each document; default as saved.
            backbone: a model that is loaded already, used instead of loading the one that the folder names.

        Raises:
            ModelError: not found, not a vocabulary, damaged, or made for another version of the model; one line.
            BackboneError: the dense model cannot be found or loaded.
        """
        choices = {"device": device, "precision": precision, "trust_remote_code": trust_remote_code}
        reading = {"long": long, "query_prompt": query_prompt, "document_prompt": document_prompt}
        return cls.of(load_components(name_or_path, choices, revision=revision, backbone=backbone, reading=reading))

    def save_pretrained(
        self,
        path: str | Path,
        *,
        overwrite: bool = False,
        encoder_only: bool = False,
        dtype: SaveDtype = "fp32",
        results: Mapping[str, Any] | str | Path | None = None,
    ) -> Path:
        """Writes a folder that :meth:`from_pretrained` loads: weights, configuration, labels and a model card.

        The folder appears whole or not at all.

        Args:
            path: the folder; new, empty, or (with ``overwrite``) a vocabulary that is replaced.
            overwrite: replace a vocabulary that is there.
            encoder_only: leave out the decoder, which encoding does not need; a small token decoder takes its place.
            dtype: number format of the saved weights. ``"bf16"`` halves the file; rounding changes the terms a little, so
                the saved vocabulary has another fingerprint.
            results: measured results for the card, as ``lexite eval --json`` writes them: a mapping or a file; default
                ``details.results``.

        Returns:
            The folder.

        Raises:
            StorageError: the folder holds something else, or cannot be written.
            ModelError: ``results`` are not of that form.
        """
        return save_components(
            self.components, path, overwrite=overwrite, encoder_only=encoder_only, dtype=dtype, results=results
        )

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = False,
        token: str | None = None,
        encoder_only: bool = False,
        dtype: SaveDtype = "fp32",
        message: str = "Add a lexite vocabulary",
    ) -> str:
        """Saves to a temporary folder and uploads that to the Hugging Face hub; the repository is made when missing.

        Args:
            repo_id: ``owner/name``.
            private: whether a new repository is private.
            token: access token; default the one that ``hf auth login`` stored.
            encoder_only: as in :meth:`save_pretrained`.
            dtype: as in :meth:`save_pretrained`.
            message: of the commit.

        Returns:
            The address of the repository.

        Raises:
            ModelError: the hub refuses or cannot be reached; one line.
        """
        return push_components(
            self.components, repo_id, private=private, token=token, encoder_only=encoder_only, dtype=dtype, message=message
        )

    def _how(self, kind: Kind, k: int | None, floor: float | None, static: StaticCounter | None = None) -> Encoding:
        return Encoding(kind, self.k_for(kind, k), self.floor_for(kind, floor), static)

    def _settings(self, how: Encoding) -> dict[str, Any]:
        """How queries are encoded, as an index records it."""
        own = {"k_queries": how.k, "floor_queries": how.floor}
        return {**own, **{key: self.components.reading.get(key) for key in ("query_prompt", "long")}}


def _check_texts(texts: Iterable[str], function: str) -> None:
    if isinstance(texts, (str, bytes)):
        raise ArgumentError(f"{function} takes a list of texts, not one text. Write {function}([text]).")
    if not isinstance(texts, Iterable):
        raise ArgumentError(f"{function} takes a list of texts, not a {type(texts).__name__}.")


def _given(**choices: Any) -> frozenset[str]:
    """The names of the choices that were made."""
    return frozenset(name for name, value in choices.items() if value is not None)
