"""The module that turns the sparse codes of a text's tokens into the weights of its terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from scipy.sparse import csr_array
from sentence_transformers.base.modules.module import Module
from sentence_transformers.sentence_transformer.modules import Pooling as DensePooling

from lexite.config import to_dict
from lexite.errors import ArgumentError, ConfigError, ModelError
from lexite.integrations.sentence_transformers.layout import TokenLayout, pooled_tokens, token_layout
from lexite.integrations.sentence_transformers.saved import FORMAT_VERSION, check_among, read_config
from lexite.integrations.sentence_transformers.token_encoder import SparseAutoEncoderTokenEncoder
from lexite.scoring.config import BM25Config, QueryTransform, saved_scoring
from lexite.scoring.transform import apply_transform, drop_small
from lexite.terms.config import Pooling as SparsePooling
from lexite.terms.pooling import pool_arrays

PoolingStrategy = Literal["sum", "max", "max_log1p"]
_EARLIER = {"transform": "none", "query_transform": "none", "include_special_tokens": True}  # of pull request 3796


class SparseTokenPooling(DensePooling):
    """Pools the sparse codes of the tokens of each text into one row of term weights.

    The raw weight of latent j in a text with tokens T is ``Σ f_j(t)`` or ``max f_j(t)`` over the t in T. Small weights may be
    dropped, outside training; a transform is applied to the rest (Latent Terms, arXiv 2605.29384, takes the sum and its square
    root).

    It reads ``token_sparse_values`` and ``token_sparse_indices`` and writes three features:

    - ``sentence_embedding`` (texts, embedding_dimension): transformed weights, dense, fp32;
    - ``term_weights``, of the same shape: the weights before the transform, which an index stores;
    - ``token_mask`` (n,) bool: which of the n tokens that are not padding were pooled.

    It inherits from the library's ``Pooling`` only so that ``SparseEncoder.set_pooling_include_prompt`` finds it.

    Args:
        embedding_dimension: number of latents.
        pooling_strategy: ``"sum"``, ``"max"`` or ``"max_log1p"``, the maximum of log(1 + f).
        include_prompt: whether tokens of a prompt are pooled.
        values_key: the feature that holds values.
        indices_key: the feature that holds indices.
        include_special_tokens: whether special tokens ([CLS], [SEP], …) are pooled.
        transform: transform of the weights of documents, and of texts without a task: ``"sqrt"``, ``"log1p"``, ``"pow0.75"`` or
            ``"none"``.
        query_transform: the same for the task ``"query"``; None for ``transform``.
        floor: weights below this share of a text's largest are dropped; 0 drops none.
        query_floor: the same for queries; None for ``floor``.
        skipped_ids: further token ids that are not pooled, by task ``"document"`` and ``"query"``.
        scoring: numbers of BM25, by name, that the weights are meant for; None for the defaults. They are kept here because
            every class that loads the folder reads this module. Transforms among them are ignored: they have arguments.
        checkpoint_format_version: format version of the folder that the configuration comes from.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    config_keys = [
        "embedding_dimension",
        "pooling_strategy",
        "include_prompt",
        "values_key",
        "indices_key",
        "include_special_tokens",
        "transform",
        "query_transform",
        "floor",
        "query_floor",
        "skipped_ids",
        "scoring",
        "checkpoint_format_version",
    ]
    config_key_renames = {"sae_width": "embedding_dimension"}
    forward_kwargs = {"task", "max_active_dims"}

    def __init__(
        self,
        embedding_dimension: int,
        pooling_strategy: PoolingStrategy = "sum",
        include_prompt: bool = True,
        values_key: str = "token_sparse_values",
        indices_key: str = "token_sparse_indices",
        include_special_tokens: bool = False,
        transform: QueryTransform = "sqrt",
        query_transform: QueryTransform | None = None,
        floor: float = 0.0,
        query_floor: float | None = None,
        skipped_ids: dict[str, list[int]] | None = None,
        scoring: Mapping[str, Any] | None = None,
        checkpoint_format_version: int = FORMAT_VERSION,
    ) -> None:
        Module.__init__(self)  # type: ignore[no-untyped-call]  # the dense pooling's own arguments mean nothing here
        if embedding_dimension < 1:
            raise ConfigError(f"embedding_dimension is {embedding_dimension}, but must be at least 1.")
        check_among("pooling_strategy", pooling_strategy, get_args(PoolingStrategy))
        for name, value in (("transform", transform), ("query_transform", query_transform or transform)):
            check_among(name, value, get_args(QueryTransform))
        for name, share in (("floor", floor), ("query_floor", query_floor or 0.0)):
            if not 0 <= share <= 1:
                raise ConfigError(f"{name} is {share}, but must be a share, from 0 to 1.")
        check_among("checkpoint_format_version", checkpoint_format_version, (1, FORMAT_VERSION))
        self.embedding_dimension = self.pooling_output_dimension = embedding_dimension
        self.pooling_strategy, self.include_prompt = pooling_strategy, include_prompt
        self.values_key, self.indices_key = values_key, indices_key
        self.include_special_tokens, self.skipped_ids = include_special_tokens, skipped_ids
        self.transform, self.query_transform = transform, query_transform
        self.floor, self.query_floor = floor, query_floor
        self._numbers = BM25Config() if scoring is None else saved_scoring(scoring, "SparseTokenPooling: scoring")
        self.checkpoint_format_version = FORMAT_VERSION
        self.special_ids: tuple[int, ...] = ()

    def on_model_ready(self, model: Any) -> None:
        """Asks the model's tokenizer which tokens are special, and checks the number of latents.

        Raises:
            ModelError: the sparse autoencoder has another number.
        """
        tokenizer = getattr(model, "tokenizer", None)
        self.special_ids = tuple(sorted({int(i) for i in getattr(tokenizer, "all_special_ids", ())}))
        for module in model:
            if isinstance(module, SparseAutoEncoderTokenEncoder) and module.hidden_dim != self.embedding_dimension:
                raise ModelError(
                    f"The sparse autoencoder has {module.hidden_dim} latents, but the pooling behind it expects "
                    f"{self.embedding_dimension} (embedding_dimension)."
                )

    @property
    def scoring(self) -> BM25Config:
        """How the weights are scored. Its transforms have been applied to the weights already."""
        document = "none" if self.transform == "pow0.75" else self.transform  # BM25Config has pow0.75 for queries alone
        return replace(self._numbers, document_transform=document, query_transform=self.transform_for("query"))

    @scoring.setter
    def scoring(self, value: BM25Config) -> None:
        if not isinstance(value, BM25Config):
            raise ArgumentError(f"scoring is a {type(value).__name__}, but must be a lexite.BM25Config.")
        self._numbers = value
        self.transform, self.query_transform = value.document_transform, value.query_transform

    def transform_for(self, task: str | None) -> QueryTransform:
        """The transform of a text's weights."""
        return self.query_transform if task == "query" and self.query_transform is not None else self.transform

    def floor_for(self, task: str | None) -> float:
        """The share of a text's largest weight below which weights are dropped."""
        return self.query_floor if task == "query" and self.query_floor is not None else self.floor

    def forward(  # type: ignore[override]
        self, features: dict[str, Any], task: str | None = None, max_active_dims: int | None = None
    ) -> dict[str, Any]:
        """Adds the pooled weights to the features, under the keys that the class lists.

        Args:
            features: with the values and indices of :class:`SparseAutoEncoderTokenEncoder`.
            task: ``"query"`` takes the transform and the floor of queries.
            max_active_dims: most terms to keep per text, the heaviest; None for all.

        Raises:
            ModelError: the values or indices are missing, or have another shape.
        """
        layout, values, indices = self._codes(features, task)
        n = layout.n_texts * self.embedding_dimension
        flat = (layout.texts[:, None] * self.embedding_dimension + indices).reshape(-1)
        pooled = values.new_zeros(n)
        if self.pooling_strategy == "sum":
            pooled = pooled.index_add(0, flat, values.reshape(-1))
        else:
            pooled = pooled.scatter_reduce(0, flat, values.reshape(-1), "amax")
        weights = pooled.view(layout.n_texts, self.embedding_dimension)
        if self.pooling_strategy == "max_log1p":
            weights = torch.log1p(weights)
        if not self.training:
            weights = _kept(weights, self.floor_for(task), max_active_dims)
        features["term_weights"] = weights
        features["sentence_embedding"] = transformed(weights, self.transform_for(task))
        return features

    def rows(
        self, features: dict[str, Any], task: str | None = None, max_active_dims: int | None = None, *, raw: bool = False
    ) -> csr_array[np.float32]:
        """The same weights as sparse rows, without the dense tensor of all latents.

        Args:
            features: as for :meth:`forward`.
            task: as for :meth:`forward`.
            max_active_dims: as for :meth:`forward`.
            raw: leave out the transform, as an index stores weights.

        Returns:
            (texts, embedding_dimension) float32, columns ascending within a row, no stored zeros.
        """
        layout, values, indices = self._codes(features, task)
        counts = np.bincount(layout.texts.cpu().numpy(), minlength=layout.n_texts)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        parts = values.detach().cpu().numpy(), indices.detach().cpu().numpy().astype(np.int32)
        pooling: SparsePooling = "sum" if self.pooling_strategy == "sum" else "max"
        pooled = pool_arrays(*parts, offsets, self.embedding_dimension, pooling)
        if self.pooling_strategy == "max_log1p":
            pooled = apply_transform(pooled, "log1p")
        kept = largest_of_rows(drop_small(pooled, self.floor_for(task)), max_active_dims)
        return kept if raw else apply_transform(kept, self.transform_for(task))

    def left_out_ids(self, task: str | None) -> tuple[int, ...]:
        """Ids of the tokens that are not pooled in texts of a task: special tokens, if left out, and skipped tokens."""
        special = () if self.include_special_tokens else self.special_ids
        return special + tuple((self.skipped_ids or {}).get(task or "document", ()))

    def _codes(self, features: dict[str, Any], task: str | None) -> tuple[TokenLayout, torch.Tensor, torch.Tensor]:
        """The codes of the tokens; the values of tokens that are not pooled are 0."""
        for key in (self.values_key, self.indices_key):
            if key not in features:
                raise ModelError(f"'{key}' is missing: SparseTokenPooling comes behind SparseAutoEncoderTokenEncoder.")
        if features[self.values_key].shape != features[self.indices_key].shape:
            raise ModelError(f"'{self.values_key}' and '{self.indices_key}' must have one shape (…, k).")
        layout = token_layout(features, self.values_key)
        mask = pooled_tokens(features, layout, self.left_out_ids(task), self.include_prompt)
        features["token_mask"] = mask
        values = layout.gather(features[self.values_key]).float()
        return layout, torch.where(mask[:, None], values, 0.0), layout.gather(features[self.indices_key])

    def get_embedding_dimension(self) -> int:
        """Number of latents."""
        return self.embedding_dimension

    def get_config_dict(self) -> dict[str, Any]:
        """Values of ``config.json``."""
        numbers = {name: value for name, value in to_dict(self.scoring).items() if not name.endswith("_transform")}
        return {key: numbers if key == "scoring" else getattr(self, key) for key in self.config_keys}

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Writes ``config.json``."""
        Path(output_path).mkdir(parents=True, exist_ok=True)
        self.save_config(output_path)

    @classmethod
    def load_config(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The configuration of a folder, in this format or that of pull request 3796.

        Raises:
            ModelError: there is none, or it has a key that is not known.
        """
        config = read_config(cls, *args, **kwargs)
        if "embedding_dimension" not in config:
            raise ModelError("The configuration of SparseTokenPooling names no embedding_dimension. Copy the folder again.")
        return {**_EARLIER, **config} if config.get("checkpoint_format_version", 1) == 1 else config


def transformed(weights: torch.Tensor, transform: QueryTransform) -> torch.Tensor:
    """Weights (any shape, 0 or more) after a transform. At 0 the derivative of a root is infinite and is taken as 0."""
    if transform == "none":
        return weights
    if transform == "log1p":
        return torch.log1p(weights)
    positive = weights > 0
    roots = torch.sqrt(torch.where(positive, weights, 1.0))
    return torch.where(positive, roots if transform == "sqrt" else roots * torch.sqrt(roots), 0.0)


def _kept(weights: torch.Tensor, floor: float, most: int | None) -> torch.Tensor:
    """Rows without the weights below a share of the largest, and with at most ``most`` weights."""
    if floor:
        weights = torch.where(weights >= floor * weights.amax(dim=1, keepdim=True), weights, 0.0)
    if most is not None and most < weights.shape[1]:
        values, columns = weights.topk(max(most, 0), dim=1)
        weights = torch.zeros_like(weights).scatter_(1, columns, values)
    return weights


def largest_of_rows(rows: csr_array[np.float32], most: int | None) -> csr_array[np.float32]:
    """Rows with at most ``most`` weights each, the largest; None keeps all.

    >>> largest_of_rows(csr_array(np.array([[3.0, 1, 2], [0, 5, 0]])), 2).toarray().tolist()
    [[3.0, 0.0, 2.0], [0.0, 5.0, 0.0]]
    """
    lengths = np.diff(rows.indptr)
    if most is None or not rows.nnz or lengths.max() <= most:
        return rows
    row = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((rows.indices, -rows.data, row))
    kept = np.zeros(rows.nnz, dtype=np.bool_)
    kept[order] = np.arange(rows.nnz) - np.repeat(rows.indptr[:-1], lengths) < most
    bounds = np.concatenate([[0], np.cumsum(np.minimum(lengths, most))]).astype(rows.indptr.dtype)
    return csr_array((rows.data[kept], rows.indices[kept], bounds), shape=rows.shape)
