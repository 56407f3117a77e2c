"""The encoder that users load and save: text in, weights of latent terms out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from lexite.config import to_dict
from lexite.errors import ArgumentError, ConfigError, ModelError
from lexite.terms.chunks import TEXTS_PER_CHUNK, text_chunks
from lexite.terms.config import TermsConfig
from lexite.terms.encoding import Encoding, encode_texts, pooled_rows, stack_rows
from lexite.terms.manifest import ModelDetails
from lexite.terms.scoring import BM25Config, QueryTransform
from lexite.terms.vocabulary import Vocabulary

if TYPE_CHECKING:
    from lexite.backbone.base import Backbone
    from lexite.backbone.config import Kind
    from lexite.backbone.states import TokenStates
    from lexite.integrations.sentence_transformers import LatentTermsSparseEncoder
    from lexite.sae import SparseAutoencoder, SparseCodes
    from lexite.terms.static import StaticCounter, StaticTable

TOKENS_AT_ONCE = 16_384  # whose codes are held together, where a token may have any number of latents
SaveDtype = Literal["fp32", "bf16"]


class LatentTermEncoder:
    """Turns texts into weights of latent terms: backbone, sparse autoencoder, pooling, in this order.

    Args:
        backbone: the dense retriever that gives token states.
        sae: the sparse autoencoder that turns a state into a few latents.
        terms: pooling, and the latents kept per token.
        scoring: how the weights are meant to be scored; carried along, and used for the transforms here.
        vocabulary: frequencies and labels of the terms, when they were measured.
        details: name, licence, data, recipe and results, for people.
        source: name or path that loads this encoder again; empty when it was never saved.
        prefix_size: how many latents of what ``source`` loads are here, the first ones; None when all are.
        static: the table that encodes queries without a model, when it was measured.

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
    ) -> None:
        self.backbone, self.sae = backbone, sae
        self.terms = terms or TermsConfig()
        self.scoring = scoring or BM25Config()
        self.vocabulary = vocabulary
        self.details = details or ModelDetails()
        self.source, self.prefix_size = source, prefix_size
        self.static = static
        if sae.config.d_model != backbone.d_model:
            raise ModelError(
                f"The sparse autoencoder reads states of width {sae.config.d_model}, "
                f"but {backbone.name} gives states of width {backbone.d_model}."
            )
        if vocabulary is not None and vocabulary.n_latents != self.n_latents:
            raise ModelError(f"The vocabulary describes {vocabulary.n_latents} terms, but there are {self.n_latents} latents.")
        if static is not None and static.n_latents != self.n_latents:
            raise ModelError(f"The static table gives {static.n_latents} terms, but there are {self.n_latents} latents.")
        self.k_for("document")
        self.k_for("query")

    def __repr__(self) -> str:
        return f"LatentTermEncoder({self.name!r}, {self.backbone.name}, {self.n_latents} latents, k {self.k_for('document')})"

    @property
    def name(self) -> str:
        """Its short name."""
        return self.details.name

    @property
    def n_latents(self) -> int:
        """Number of latents, which is the number of terms and of columns."""
        return int(self.sae.n_terms)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all that decides which terms a text gets: model, prompts, token policy, autoencoder, pooling.

        k is left out: it makes rows longer or shorter, but terms keep their meaning, so documents and queries of the same
        vocabulary at different k fit together. The scoring is left out too: it can be changed at search time.
        """
        parts = {"backbone": self.backbone.fingerprint, "sae": self.sae.fingerprint, "pooling": self.terms.pooling}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def k_for(self, kind: Kind, k: int | None = None) -> int:
        """The number of latents kept per token: ``k`` itself, else what the configuration says, else as trained.

        Raises:
            ConfigError: less than 1 or more than there are latents.
        """
        own = self.terms.k_documents if kind == "document" else self.terms.k_queries
        chosen = next((int(value) for value in (k, own) if value is not None), int(self.sae.largest_k))
        most = self.sae.config.n_latents
        if not 1 <= chosen <= most:
            raise ConfigError(f"k is {chosen}, but must be between 1 and {most}, the number of latents.")
        return chosen

    def floor_for(self, kind: Kind, floor: float | None = None) -> float:
        """The share of a text's heaviest term below which terms are dropped: ``floor`` itself, else as configured.

        Raises:
            ConfigError: it is no share.
        """
        own = self.terms.floor_documents if kind == "document" else self.terms.floor_queries
        chosen = own if floor is None else floor
        if not 0 <= chosen <= 1:
            raise ConfigError(f"The floor is {chosen}, but must be a share, from 0 to 1.")
        return chosen

    def encode_documents(
        self,
        texts: Iterable[str],
        *,
        k: int | None = None,
        floor: float | None = None,
        raw: bool = False,
        static: StaticCounter | None = None,
        texts_per_chunk: int = TEXTS_PER_CHUNK,
        show_progress: bool = False,
    ) -> csr_array[np.float32]:
        """Encodes documents.

        Args:
            texts: the documents' texts (title and text joined by a space); any iterable.
            k: latents kept per token; default as configured, else as trained.
            floor: share of a text's heaviest term below which terms are dropped; default as configured.
            raw: give the pooled activations, as an index stores them; else they are transformed as the scoring says
                (by default their square root).
            static: counts the codes by word piece on the way, for a static table of these documents.
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
        return stack_rows(
            encode_texts(self, texts, self._how("document", k, floor, raw, static), texts_per_chunk, show_progress),
            self.n_latents,
        )

    def encode_queries(
        self,
        texts: Iterable[str],
        *,
        k: int | None = None,
        floor: float | None = None,
        raw: bool = False,
        texts_per_chunk: int = TEXTS_PER_CHUNK,
        show_progress: bool = False,
    ) -> csr_array[np.float32]:
        """Encodes queries, with the query prompt, ``k_queries`` and the query transform; else like :meth:`encode_documents`."""
        _check_texts(texts, "encode_queries")
        return stack_rows(
            encode_texts(self, texts, self._how("query", k, floor, raw), texts_per_chunk, show_progress), self.n_latents
        )

    def iterate_documents(
        self,
        texts: Iterable[str],
        *,
        k: int | None = None,
        floor: float | None = None,
        raw: bool = False,
        static: StaticCounter | None = None,
        texts_per_chunk: int = TEXTS_PER_CHUNK,
        show_progress: bool = False,
    ) -> Iterator[csr_array[np.float32]]:
        """Encodes a stream of documents chunk by chunk, in order, with memory for one chunk.

        A chunk ends after ``texts_per_chunk`` texts or 512 KiB of text, whichever comes first. Arguments, rows and
        errors are those of :meth:`encode_documents`.
        """
        _check_texts(texts, "iterate_documents")
        return encode_texts(self, texts, self._how("document", k, floor, raw, static), texts_per_chunk, show_progress)

    def encode_states(
        self,
        states: TokenStates,
        kind: Kind,
        *,
        k: int | None = None,
        floor: float | None = None,
        raw: bool = False,
        static: StaticCounter | None = None,
    ) -> csr_array[np.float32]:
        """Encodes texts whose token states are there already; see :meth:`encode_documents`.

        Raises:
            ModelError: the states are of another width than the autoencoder reads.
        """
        how = self._how(kind, k, floor, raw, static)
        return how.finish(pooled_rows(self, states, how))

    def portions(self, states: TokenStates) -> Iterator[TokenStates]:
        """The same texts in parts whose codes fit into memory: where k does not bound them, one token may have thousands."""
        return iter([states]) if self.sae.limited else states.pieces(TOKENS_AT_ONCE)

    def codes(self, states: TokenStates, k: int) -> SparseCodes:
        """The latents of each token, before pooling: ``(n_tokens, k)``.

        Raises:
            ModelError: the states are of another width than the autoencoder reads.
        """
        if states.d_model != self.sae.config.d_model:
            raise ModelError(f"The states have width {states.d_model}, but this vocabulary reads {self.sae.config.d_model}.")
        return self.sae.encode(states.states, k)

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
        row = self.encode_queries([text], k=k)
        order = np.lexsort((row.indices, -row.data))
        return [(int(row.indices[i]), self.label(int(row.indices[i])), float(row.data[i])) for i in order]

    def label(self, term: int) -> str:
        """A short label of a term for people; its number when no labels were measured."""
        return self.vocabulary.label(term) if self.vocabulary is not None else f"latent {term}"

    def prefix(self, n_latents: int) -> LatentTermEncoder:
        """The vocabulary of the first latents alone, among which those of a token are then chosen.

        It needs no training where latents are in order of importance: those of a nested (Matryoshka) dictionary, and those of
        one that ``lexite rank`` put in order. Terms keep their numbers and labels. The fingerprint is another one, because a
        token gets other terms; an index remembers the prefix it was made with.

        Args:
            n_latents: how many latents; all of them give the vocabulary itself.

        Raises:
            ConfigError: fewer than 1, fewer than are kept per token, or more than there are.
        """
        from lexite.terms.selection import prefix_encoder

        return prefix_encoder(self, n_latents)

    def reordered(self, order: ArrayLike) -> LatentTermEncoder:
        """The vocabulary with its latents in another order, or with only some of them; labels and frequencies go along.

        Args:
            order: numbers of latents, each at most once; latent ``order[i]`` becomes latent i, as
                :attr:`lexite.sae.progressive.LatentRanking.order` has them.

        Raises:
            ConfigError: fewer latents than are kept per token.
            ModelError: a number is out of range or occurs twice, or none is left.
        """
        from lexite.terms.selection import reordered_encoder

        return reordered_encoder(self, order)

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
        from lexite.terms.folder import load_encoder

        choices = {"device": device, "precision": precision, "trust_remote_code": trust_remote_code}
        reading = {"long": long, "query_prompt": query_prompt, "document_prompt": document_prompt}
        return load_encoder(name_or_path, choices, revision=revision, backbone=backbone, reading=reading)

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
            encoder_only: leave out the decoder, which encoding does not need.
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
        from lexite.terms.folder import save_encoder

        return save_encoder(self, path, overwrite=overwrite, encoder_only=encoder_only, dtype=dtype, results=results)

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
        from lexite.terms.folder import push_encoder

        return push_encoder(
            self, repo_id, private=private, token=token, encoder_only=encoder_only, dtype=dtype, message=message
        )

    def to_sentence_transformers(self) -> LatentTermsSparseEncoder:
        """The same vocabulary as a SparseEncoder of sentence-transformers, with weights of its own.

        It gives the same terms, but cuts a text at the model's window, as that library does, where this encoder reads on in
        further windows unless it was loaded with ``long="truncate"``. The dense model is loaded in fp32.

        Raises:
            ModelError: the backbone is no model but precomputed states, or the activation has no counterpart there.
        """
        from lexite.integrations.sentence_transformers.conversion import to_sentence_transformers

        return to_sentence_transformers(self)

    @classmethod
    def from_sentence_transformers(
        cls,
        model: LatentTermsSparseEncoder | str | Path,
        *,
        dense_folder: str | Path | None = None,
        overwrite: bool = False,
        device: str | None = None,
        precision: Literal["auto", "bf16", "fp32", "int8"] | None = None,
    ) -> LatentTermEncoder:
        """A vocabulary from a SparseEncoder with latent terms.

        Args:
            model: a :class:`lexite.integrations.sentence_transformers.LatentTermsSparseEncoder`, or the folder or name of one.
            dense_folder: where the dense part is saved, if it is not, unchanged, the model that the vocabulary was made for.
            overwrite: replace a model that is in ``dense_folder``.
            device: where the dense model runs; default the best there is.
            precision: number format of the dense model; default as it was.

        Raises:
            ModelError: the dense part needs a ``dense_folder``, or something has no counterpart in lexite; one line.
        """
        from lexite.integrations.sentence_transformers.conversion import from_sentence_transformers

        return from_sentence_transformers(
            model, dense_folder=dense_folder, overwrite=overwrite, device=device, precision=precision
        )

    def _transform(self, kind: Kind) -> QueryTransform:
        return self.scoring.document_transform if kind == "document" else self.scoring.query_transform

    def _how(self, kind: Kind, k: int | None, floor: float | None, raw: bool, static: StaticCounter | None = None) -> Encoding:
        transform: QueryTransform = "none" if raw else self._transform(kind)
        return Encoding(kind, self.k_for(kind, k), self.floor_for(kind, floor), transform, static)

    def config_dict(self) -> dict[str, Any]:
        """All configurations, as JSON values, for reports and for an index to remember."""
        parts = {"backbone": self.backbone.config, "sae": self.sae.config, "terms": self.terms, "scoring": self.scoring}
        return {key: to_dict(value) for key, value in parts.items()}


def _check_texts(texts: Iterable[str], function: str) -> None:
    if isinstance(texts, (str, bytes)):
        raise ArgumentError(f"{function} takes a list of texts, not one text. Write {function}([text]).")
    if not isinstance(texts, Iterable):
        raise ArgumentError(f"{function} takes a list of texts, not a {type(texts).__name__}.")
