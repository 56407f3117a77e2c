"""The sparse encoder of latent terms: a SparseEncoder that knows how its terms are scored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from scipy.sparse import csr_array
from sentence_transformers import SparseEncoder
from sentence_transformers.util import batch_to_device, load_dir_path

from lexite.errors import ArgumentError, ConfigError, ModelError
from lexite.integrations.sentence_transformers.extras import EXTRAS_FOLDER, LatentTermsExtras
from lexite.integrations.sentence_transformers.layout import prompt_lengths
from lexite.integrations.sentence_transformers.model_card import LatentTermsModelCardData
from lexite.integrations.sentence_transformers.preparation import DOCUMENT_PROMPTS
from lexite.integrations.sentence_transformers.saved import check_among
from lexite.integrations.sentence_transformers.sentence_as_token import SentenceAsToken
from lexite.integrations.sentence_transformers.token_encoder import SparseAutoEncoderTokenEncoder
from lexite.integrations.sentence_transformers.token_pooling import SparseTokenPooling
from lexite.progress import progress
from lexite.scoring.config import BM25Config
from lexite.terms.chunks import text_chunks
from lexite.terms.encoding import stack_rows

if TYPE_CHECKING:
    from lexite.integrations.sentence_transformers.similarity import BM25Similarity

Task = Literal["query", "document"]
REQUIREMENTS = {"lexite": {"specifier": ">=0.1", "reason": "It holds the modules that make latent terms: pip install lexite"}}
_OWN_MODULES: dict[str, type] = {
    module.__name__: module for module in (SentenceAsToken, SparseAutoEncoderTokenEncoder, SparseTokenPooling)
}
_PROMPT_NAMES: dict[str, tuple[str, ...]] = {"query": ("query",), "document": DOCUMENT_PROMPTS}
_TEXTS_PER_CHUNK = 4096


class LatentTermsSparseEncoder(SparseEncoder):
    """A SparseEncoder whose dimensions are latent terms, meant to be scored by BM25.

    Everything of the library's SparseEncoder works: ``encode``, ``encode_query``, ``encode_document``, the trainer, evaluators,
    saving and pushing. In addition it loads its folders, and those of the library's pull request 3796, without
    ``trust_remote_code``; carries the numbers of BM25 (:attr:`scoring`); encodes a corpus into sparse rows
    (:meth:`encode_csr`); and writes a model card that says what its terms are.

    Args:
        model_name_or_path: a folder or a name on the Hugging Face hub; None where ``modules`` are given.
        scoring: how terms are scored; default as saved.
        extras: labels, static table and details of the vocabulary that the model was made from.
        **kwargs: as for ``SparseEncoder``.

    Raises:
        ModelError: the folder or name holds no latent terms.

    Example:
        >>> from lexite.integrations.sentence_transformers import to_sentence_transformers
        >>> model = to_sentence_transformers("default")
        >>> model.encode_document(["The tides follow the moon."]).shape
        torch.Size([1, 16384])
    """

    model_card_data_class = LatentTermsModelCardData

    def __init__(
        self,
        model_name_or_path: str | None = None,
        *,
        scoring: BM25Config | None = None,
        extras: LatentTermsExtras | None = None,
        **kwargs: Any,
    ) -> None:
        self._saved_extras: Mapping[str, Any] = {}
        self._saved_active_dims: int | None = None
        self.extras = extras or LatentTermsExtras()
        self._given_extras = extras is not None
        super().__init__(model_name_or_path, **kwargs)
        if self.max_active_dims is None:  # 6.0 and 6.1 neither save nor read it
            self.max_active_dims = self._saved_active_dims
        for kind in (SparseAutoEncoderTokenEncoder, SparseTokenPooling):
            self._own(kind)
        if scoring is not None:
            self.scoring = scoring

    @property
    def scoring(self) -> BM25Config:
        """How terms are scored, as the pooling says. Its transforms have been applied to encoded weights already."""
        return self.token_pooling.scoring

    @scoring.setter
    def scoring(self, value: BM25Config) -> None:
        self.token_pooling.scoring = value

    @property
    def token_encoder(self) -> SparseAutoEncoderTokenEncoder:
        """The module with the sparse autoencoder."""
        module: SparseAutoEncoderTokenEncoder = self._own(SparseAutoEncoderTokenEncoder)
        return module

    @property
    def token_pooling(self) -> SparseTokenPooling:
        """The module that pools."""
        module: SparseTokenPooling = self._own(SparseTokenPooling)
        return module

    def _own(self, kind: type) -> Any:
        found = next((module for module in self if isinstance(module, kind)), None)
        if found is None:
            raise ModelError(
                f"The model has no {kind.__name__}, so it makes no latent terms. Make one from a dense retriever with "
                "LatentTermsSparseEncoder.from_dense(name), or from a vocabulary with to_sentence_transformers(name)."
            )
        return found

    @classmethod
    def from_dense(
        cls,
        model: Any,
        *,
        hidden_dim: int = 16_384,
        k: int = 8,
        texts: Iterable[str] | None = None,
        train_backbone: bool = False,
        seed: int = 0,
        **encoder_options: Any,
    ) -> LatentTermsSparseEncoder:
        """A dense retriever with a new sparse autoencoder behind its token states, to be trained.

        Args:
            model: a SentenceTransformer (or late-interaction model), or the folder or name of one.
            hidden_dim: number of latents.
            k: latents kept per token.
            texts: a few thousand texts, whose mean token state becomes the decoder's bias, where training should begin. None
                leaves the bias at zero.
            train_backbone: whether the dense model's own weights are trained too.
            seed: seed of the new weights.
            **encoder_options: further options of :class:`SparseAutoEncoderTokenEncoder`.

        Raises:
            BackboneError: the model cannot be loaded, or has no token states.
        """
        from lexite.integrations.sentence_transformers.preparation import center_on, dense_modules, freeze_backbone

        modules, prompts, width = dense_modules(model)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = SparseAutoEncoderTokenEncoder(width, hidden_dim, k, **encoder_options)
        pooling = SparseTokenPooling(hidden_dim, include_prompt=False, transform="none", query_transform="pow0.75")
        made = cls(modules=[*modules, encoder, pooling], prompts=prompts)
        if not train_backbone:
            freeze_backbone(made)
        if texts is not None:
            center_on(made, texts)
        return made

    def encode_csr(
        self,
        texts: Iterable[str],
        *,
        task: Task | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool = False,
        max_active_dims: int | None = None,
        raw: bool = False,
    ) -> csr_array[np.float32]:
        """The rows of ``encode_query`` or ``encode_document`` as a sparse matrix, never dense, for corpora of any size.

        Args:
            texts: any iterable of texts.
            task: ``"query"``, ``"document"``, or None for what ``encode`` gives.
            prompt_name: name of a prompt; default the task's own, as the library chooses it.
            prompt: a prompt itself.
            batch_size: texts that go through the model at once.
            show_progress_bar: show progress on stderr.
            max_active_dims: most terms to keep per text; default as the model says.
            raw: leave out the transform, which gives pooled activations as an index stores them.

        Returns:
            (texts, latents) float32 CSR, columns ascending within a row, no stored zeros.

        Raises:
            ArgumentError: one text instead of many.
            ConfigError: ``batch_size`` or ``max_active_dims`` is below 1, or there is no such task.
        """
        if isinstance(texts, (str, bytes)):
            raise ArgumentError("encode_csr takes many texts, not one. Write encode_csr([text]).")
        most = self.max_active_dims if max_active_dims is None else max_active_dims
        for name, value in (("batch_size", batch_size), ("max_active_dims", most)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}, but must be at least 1.")
        check_among("task", task, (*_PROMPT_NAMES, None))
        if prompt is None and prompt_name is None and task is not None:
            prompt_name = next((name for name in _PROMPT_NAMES[task] if name in self.prompts), None)
        prompt = self._resolve_prompt(prompt, prompt_name)
        self.eval()
        rows: list[csr_array[np.float32]] = []
        total = len(texts) if isinstance(texts, Sequence) else None
        with progress("Encoding", total, "texts", show_progress_bar) as bar:
            for chunk in text_chunks(texts, _TEXTS_PER_CHUNK):
                order = np.argsort([-len(text) for text in chunk], kind="stable")
                batches = [[chunk[i] for i in order[start : start + batch_size]] for start in range(0, len(order), batch_size)]
                parts = [self.token_pooling.rows(self._codes(batch, task, prompt), task, most, raw=raw) for batch in batches]
                rows.append(stack_rows(parts, self.token_pooling.embedding_dimension)[np.argsort(order)])
                bar.advance(len(chunk))
        return stack_rows(rows, self.token_pooling.embedding_dimension)

    @torch.inference_mode()
    def _codes(self, texts: list[str], task: Task | None, prompt: str | None) -> dict[str, Any]:
        """The features of some texts after the modules before the pooling."""
        kwargs = {} if task is None else {"task": task}
        features: dict[str, Any] = batch_to_device(self.preprocess(texts, prompt=prompt, **kwargs), self.device)
        for module in self:
            if isinstance(module, SparseTokenPooling):
                break
            features = module(features, **(kwargs if "task" in getattr(module, "forward_kwargs", ()) else {}))
        return features

    def preprocess(self, inputs: Any, prompt: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """Tokenizes; see ``SparseEncoder.preprocess``.

        The library counts a prompt's tokens by tokenizing the prompt alone, but a tokenizer may join its end with the beginning
        of a text. Here ``prompt_length`` counts only tokens that belong to the prompt alone. Where the count differs from text
        to text, it is a tensor with one number for each.
        """
        features: dict[str, Any] = super().preprocess(inputs, prompt=prompt, **kwargs)
        length = features.get("prompt_length")
        if prompt and isinstance(length, int) and length > 0:
            alone = super().preprocess([prompt])["input_ids"].reshape(-1)[:length]
            lengths = prompt_lengths(features, alone)
            features["prompt_length"] = int(lengths[0]) if bool((lengths == lengths[0]).all()) else lengths
        return features

    def decode(self, embeddings: torch.Tensor, top_k: int | None = None) -> Any:
        """The terms of embeddings, with their labels, the heaviest first.

        Args:
            embeddings: (latents,) or (texts, latents), sparse or dense.
            top_k: most terms to give per text; None for all.

        Returns:
            ``(label, weight)`` pairs of one text, or a list of them per text. Latents without labels are ``latent 7``.

        Raises:
            ConfigError: ``top_k`` is below 1.
        """
        if top_k is not None and top_k < 1:
            raise ConfigError(f"top_k is {top_k}, but must be at least 1, or None.")
        if embeddings.ndim == 2:
            return [self.decode(row, top_k) for row in embeddings]
        weights = embeddings.to_dense().float().cpu()
        terms = weights.nonzero().squeeze(1)
        best = terms[weights[terms].sort(descending=True, stable=True).indices][:top_k]
        return [(self._label(term), float(weights[term])) for term in best.tolist()]

    def _label(self, term: int) -> str:
        vocabulary = self.extras.vocabulary
        return f"latent {term}" if vocabulary is None else vocabulary.label(term)

    def bm25(self, documents: Any) -> BM25Similarity:
        """BM25 with the statistics of some documents, under the model's scoring.

        Args:
            documents: encoded documents, as ``encode_document`` or ``encode_csr`` gives them.

        Returns:
            A function of encoded queries and documents.
        """
        from lexite.integrations.sentence_transformers.similarity import BM25Similarity

        similarity = BM25Similarity(self.scoring)
        similarity.fit(documents)
        return similarity

    def save(self, path: str, *args: Any, **kwargs: Any) -> None:
        """Writes the model's folder; see ``SparseEncoder.save``."""
        super().save(path, *args, **kwargs)
        if path is not None:  # with None the library saves nothing
            self.extras.save(path)

    def _get_model_config(self) -> dict[str, Any]:
        """The library's values, what must be installed, and where the model comes from."""
        most = {} if self.max_active_dims is None else {"max_active_dims": self.max_active_dims}
        return {**super()._get_model_config(), **most, "requirements": REQUIREMENTS, "lexite": self.extras.config()}

    def _parse_model_config(self, model_config: dict[str, Any]) -> None:
        super()._parse_model_config(model_config)
        self._saved_active_dims = model_config.get("max_active_dims")
        saved = model_config.get("lexite", {})
        self._saved_extras = saved

    def _load_modules(self, model_name_or_path: str, *args: Any, **kwargs: Any) -> Any:
        try:
            loaded = super()._load_modules(model_name_or_path, *args, **kwargs)
        except json.JSONDecodeError as error:
            raise ModelError(f"A JSON file of {model_name_or_path} is damaged ({error}). Copy the folder again.") from error
        if not self._given_extras:
            hub: dict[str, Any] = {key: kwargs.get(key) for key in ("token", "cache_folder", "revision")}
            hub["local_files_only"] = bool(kwargs.get("local_files_only"))
            has_files = bool(self._saved_extras.get("has_files"))
            folder = load_dir_path(model_name_or_path, EXTRAS_FOLDER, **hub) if has_files else None
            self.extras = LatentTermsExtras.load(self._saved_extras, folder)
        return loaded

    def _load_module_class_from_ref(self, class_ref: str, *args: Any, **kwargs: Any) -> type:
        """Finds this package's modules without ``trust_remote_code``: they are installed, not downloaded."""
        package, _, name = class_ref.rpartition(".")
        if name in _OWN_MODULES and package.split(".")[0] in ("lexite", "sentence_transformers"):
            return _OWN_MODULES[name]
        found: type = super()._load_module_class_from_ref(class_ref, *args, **kwargs)
        return found

    def _load_default_modules(self, model_name_or_path: str, *args: Any, **kwargs: Any) -> Any:
        problem = "holds no latent terms" if Path(model_name_or_path).exists() else "cannot be found or holds no latent terms"
        raise ModelError(
            f"{model_name_or_path} {problem}. For a dense retriever, LatentTermsSparseEncoder.from_dense(name) "
            "puts a new sparse autoencoder behind it; to_sentence_transformers(name) takes a vocabulary of lexite."
        )

    def _load_converted_modules(self, model_name_or_path: str, *args: Any, **kwargs: Any) -> Any:
        return self._load_default_modules(model_name_or_path)
