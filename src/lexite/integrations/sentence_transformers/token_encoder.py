"""The module that turns token states into sparse codes, with everything that a loss outside of it needs to train it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors.torch import save as to_bytes
from sentence_transformers.base.modules.module import Module
from torch import nn

from lexite.errors import ConfigError, ModelError
from lexite.files import atomic_write
from lexite.integrations.sentence_transformers.layout import token_layout
from lexite.integrations.sentence_transformers.saved import (
    FORMAT_VERSION,
    WEIGHTS,
    check_among,
    encoder_from,
    place,
    read_config,
    read_tensors,
)
from lexite.integrations.sentence_transformers.training_codes import (
    CurrentProduct,
    codes_above_thresholds,
    decoded_of_dead,
    largest_codes,
)
from lexite.integrations.sentence_transformers.weight_state import weight_state
from lexite.kernels.autograd import decoded
from lexite.kernels.product import stack_slots
from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.sae.autoencoder import Precision
from lexite.sae.codes import SparseCodes
from lexite.sae.config import Normalisation, check_k
from lexite.sae.normalisation import normalise

Variant = Literal["topk", "jumprelu"]
OutputFormat = Literal["topk", "dense", "both"]
MORE = 4  # the second code of Multi-TopK has MORE · k latents


class SparseAutoEncoderTokenEncoder(Module):
    """Turns each token state into a few active latents of a sparse autoencoder.

    The pre-activations of a token state x are ``u = W_enc (x - b_pre) + b_enc``. Its code f has the k largest u above zero
    (``topk``), or the k largest u above the thresholds θ of their latents (``jumprelu``). ``W_decᵀ f + b_pre`` gives the state
    back (Gao et al. 2024, arXiv 2406.04093, section 2). Everything is computed in fp32, whatever the type of the backbone, but
    latents are chosen in bf16 where the processor is fast at it, as in :class:`lexite.SparseAutoencoder`, which encodes outside
    training.

    It reads ``token_embeddings`` and writes two features in the layout of the batch: ``token_sparse_values`` (fp32, 0 in unused
    slots) and ``token_sparse_indices`` (int64). A token has k slots; for ``jumprelu``, as many as the batch needs, at most k.
    Padding gets no code. The losses are outside. For them, a module with a decoder also writes while training, for the n tokens
    that are not padding:

    - ``sae_input_normalized`` (n, input_dim): the states to reconstruct;
    - ``sae_output_decoded`` (n, input_dim): the reconstruction, with the bias;
    - ``sae_token_values`` and ``sae_token_indices`` (n, k): the code, -1 in unused slots of the indices;
    - with ``multi_topk``, ``sae_output_decoded_4k``: the reconstruction from 4k latents;
    - while latents are dead, ``sae_output_decoded_aux``: the reconstruction from dead latents alone, without the bias.

    Args:
        input_dim: width of a token state.
        hidden_dim: number of latents, which is the width of a pooled text.
        k: latents kept per token.
        variant: ``"topk"`` or ``"jumprelu"`` (``"standard"``, the pull request's name, is ``"topk"``).
        output_format: ``"topk"``; with ``"dense"`` or ``"both"`` the codes are also written as ``token_sparse_embeddings``, a
            dense tensor of hidden_dim numbers per token, for looking at a few texts.
        k_aux: dead latents per token in the auxiliary reconstruction; 0 for none.
        frozen: whether the weights are left as they are in training.
        rms_scale: factor of the states, before anything else; None for 1.
        token_batch_size: tokens encoded at once, where memory is short; None for the best size.
        has_decoder: whether there is a decoder, which encoding does not need.
        query_k: latents kept per token of a query; None for k.
        normalize: how a state is scaled first: ``"none"``, ``"constant_norm_rescale"`` (norm √input_dim) or ``"layer_norm"``.
        apply_b_dec_to_input: whether b_pre is subtracted from a state before it is encoded.
        dead_after_tokens: number of tokens without activity after which a latent counts as dead.
        jumprelu_bandwidth: width ε of the window in which thresholds get gradients. New thresholds start at ε / 2, since a
            threshold of zero would get none.
        precision: number format in which latents are chosen: ``"auto"``, ``"bf16"`` or ``"fp32"``.
        checkpoint_format_version: format version of the folder that the configuration comes from.

    Raises:
        ConfigError: a value is unknown or out of range, or k is larger than the number of latents.
    """

    config_keys = [
        "input_dim",
        "hidden_dim",
        "k",
        "variant",
        "output_format",
        "k_aux",
        "frozen",
        "rms_scale",
        "token_batch_size",
        "has_decoder",
        "query_k",
        "normalize",
        "apply_b_dec_to_input",
        "dead_after_tokens",
        "jumprelu_bandwidth",
        "precision",
        "checkpoint_format_version",
    ]
    config_key_renames = {"sae_width": "hidden_dim", "topk": "k"}
    forward_kwargs = {"task"}

    W_enc: nn.Parameter
    b_enc: nn.Parameter
    b_pre: nn.Parameter
    W_dec: nn.Parameter | None
    theta: nn.Parameter | None
    data_mean: torch.Tensor | None
    tokens_since_active: torch.Tensor

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int,
        k: int,
        variant: Variant | Literal["standard"] = "topk",
        output_format: OutputFormat = "topk",
        k_aux: int = 512,
        frozen: bool = False,
        rms_scale: float | None = None,
        token_batch_size: int | None = None,
        has_decoder: bool = True,
        query_k: int | None = None,
        normalize: Normalisation = "none",
        apply_b_dec_to_input: bool = True,
        dead_after_tokens: int = 1_000_000,
        jumprelu_bandwidth: float = 0.05,
        precision: Precision = "auto",
        checkpoint_format_version: int = FORMAT_VERSION,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.variant: Variant = "topk" if variant == "standard" else variant
        check_among("variant", self.variant, get_args(Variant))
        check_among("output_format", output_format, get_args(OutputFormat))
        check_among("normalize", normalize, ("none", "constant_norm_rescale", "layer_norm"))
        check_among("precision", precision, get_args(Precision))
        check_among("checkpoint_format_version", checkpoint_format_version, (1, FORMAT_VERSION))
        _check_counts(input_dim=input_dim, hidden_dim=hidden_dim, dead_after_tokens=dead_after_tokens)
        if k_aux < 0:
            raise ConfigError(f"k_aux is {k_aux}, but must be 0 (no auxiliary latents) or more.")
        if token_batch_size is not None and token_batch_size < 1:
            raise ConfigError(f"token_batch_size is {token_batch_size}, but must be at least 1, or None.")
        for name, factor in (("rms_scale", rms_scale), ("jumprelu_bandwidth", jumprelu_bandwidth)):
            if factor is not None and not 0 < factor < math.inf:
                raise ConfigError(f"{name} is {factor}, but must be a number above 0.")
        self.input_dim, self.hidden_dim = input_dim, hidden_dim
        self.k = check_k(k, hidden_dim)
        self.query_k = None if query_k is None else check_k(query_k, hidden_dim)
        self.output_format, self.k_aux, self.frozen = output_format, k_aux, frozen
        self.rms_scale, self.token_batch_size, self.has_decoder = rms_scale, token_batch_size, has_decoder
        self.normalize, self.apply_b_dec_to_input = normalize, apply_b_dec_to_input
        self.dead_after_tokens, self.jumprelu_bandwidth = dead_after_tokens, jumprelu_bandwidth
        self.precision: Precision = precision
        self.checkpoint_format_version = FORMAT_VERSION  # of what this class saves
        self.multi_topk = False
        """Whether the states are also decoded from 4k latents while training. A loss that needs this sets it."""
        self.bypassed = False
        """Whether tokens get no code for now. A loss that encodes other tokens itself sets it."""
        atoms = _random_atoms(hidden_dim, input_dim)
        self.W_enc = nn.Parameter(atoms.clone(), requires_grad=not frozen)
        self.b_enc = nn.Parameter(torch.zeros(hidden_dim), requires_grad=not frozen)
        self.b_pre = nn.Parameter(torch.zeros(input_dim), requires_grad=not frozen)
        self.W_dec = nn.Parameter(atoms, requires_grad=not frozen) if has_decoder else None
        thresholds = torch.full((hidden_dim,), jumprelu_bandwidth / 2)
        self.theta = nn.Parameter(thresholds, requires_grad=not frozen) if self.variant == "jumprelu" else None
        self.register_buffer("data_mean", None)
        self.register_buffer("tokens_since_active", torch.zeros(hidden_dim, dtype=torch.int64))
        self._encoder_cache: tuple[object, SparseAutoencoder] | None = None
        self._product = CurrentProduct()

    def k_for(self, task: str | None) -> int:
        """Latents kept per token of a text: those of a query for the task ``"query"``, else k."""
        return self.query_k if task == "query" and self.query_k is not None else self.k

    def forward(  # type: ignore[override]
        self, features: dict[str, Any], task: str | None = None
    ) -> dict[str, Any]:
        """Adds the codes to the features, under the keys that the class lists.

        Args:
            features: with ``token_embeddings``; see :mod:`lexite.integrations.sentence_transformers.layout` for the layouts.
            task: ``"query"`` takes ``query_k``.

        Raises:
            ModelError: the states have another width, or hold NaN or infinity.
        """
        layout = token_layout(features)
        states = layout.gather(features["token_embeddings"])
        if states.shape[1] != self.input_dim:
            raise ModelError(
                f"Token states have the width {states.shape[1]}, but the sparse autoencoder reads {self.input_dim}."
            )
        k = self.k_for(task)
        if self.bypassed:
            values, indices = states.new_zeros(len(states), 1, dtype=torch.float32), states.new_zeros(len(states), 1).long()
        elif self.training and torch.is_grad_enabled():
            with torch.autocast(states.device.type, enabled=False):
                values, indices = self._train(features, states, k)
        else:
            codes = self.encode_tokens(states, k)
            values, indices = codes.values, codes.indices
        features["token_sparse_values"] = layout.restore(values)
        features["token_sparse_indices"] = layout.restore(indices.clamp(min=0).long())
        if self.output_format != "topk":
            wide = features["token_sparse_values"]
            dense = wide.new_zeros(*wide.shape[:-1], self.hidden_dim)
            features["token_sparse_embeddings"] = dense.scatter_add(-1, features["token_sparse_indices"], wide)
        return features

    def encode_tokens(self, states: torch.Tensor, k: int | None = None) -> SparseCodes:
        """Codes of token states (n, input_dim), without gradients.

        Args:
            states: any float type.
            k: most latents to keep per token; as configured by default.
        """
        # The autoencoder reuses its memory from call to call; memory made in inference mode could not be written to outside it.
        with torch.inference_mode(False), torch.no_grad():
            autoencoder = self.autoencoder()
            parts = torch.split(states, self.token_batch_size) if self.token_batch_size and len(states) else [states]
            codes = [autoencoder.encode(self._shifted(part), self.k if k is None else k) for part in parts]
        if len(codes) == 1:
            return codes[0]
        values = stack_slots([part.values for part in codes], 0.0, states.device)
        return SparseCodes(values, stack_slots([part.indices for part in codes], -1, states.device), self.hidden_dim)

    def decode_tokens(self, codes: SparseCodes) -> torch.Tensor:
        """Reconstructions from codes, (n, input_dim), normalised where the encoder normalises its input.

        Raises:
            ModelError: there is no decoder.
        """
        return decoded(codes.values, codes.indices, self.require_decoder().float()) + self.b_pre.float()

    def train(self, mode: bool = True) -> SparseAutoEncoderTokenEncoder:
        """Sets training or evaluation mode, as for any module."""
        if mode != self.training:
            self._encoder_cache = None
        super().train(mode)
        return self

    def autoencoder(self) -> SparseAutoencoder:
        """The weights as lexite's own autoencoder, built again when they have changed.

        ``data_mean`` and ``rms_scale`` are not part of it: they are applied to a state first.
        """
        if self.training:  # weights change with every step
            return self._autoencoder()
        parameters = (self.W_enc, self.b_enc, self.b_pre, self.W_dec, self.theta)
        key = (weight_state(parameters), self.k, self.normalize, self.apply_b_dec_to_input, self.precision)
        if self._encoder_cache is None or self._encoder_cache[0] != key:
            self._encoder_cache = (key, self._autoencoder())
        return self._encoder_cache[1]

    def _autoencoder(self) -> SparseAutoencoder:
        config = SAEConfig(
            d_model=self.input_dim,
            n_latents=self.hidden_dim,
            k=self.k,
            apply_b_dec_to_input=self.apply_b_dec_to_input,
            normalize_activations=self.normalize,
        )
        return SparseAutoencoder(
            config,
            self.W_enc.detach(),
            self.b_enc.detach(),
            None if self.W_dec is None else self.W_dec.detach(),
            self.b_pre.detach(),
            activation=self.variant,
            thresholds=None if self.theta is None else self.theta.detach().float().clamp(min=0),
            precision=self.precision,
            weight_dtype=torch.bfloat16 if self.W_enc.dtype == torch.bfloat16 else torch.float32,
        )

    def _shifted(self, states: torch.Tensor) -> torch.Tensor:
        """States in fp32, less ``data_mean`` or times ``rms_scale``, where the module has one of them."""
        states = states.float()
        if self.data_mean is not None:
            return states - self.data_mean.float()
        return states if self.rms_scale is None else states * self.rms_scale

    def prepared(self, states: torch.Tensor) -> torch.Tensor:
        """Token states as the decoder should give them back, (n, input_dim): fp32, shifted, normalised."""
        return normalise(self._shifted(states), self.normalize)[0]

    def _train(self, features: dict[str, Any], states: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Codes with gradients; adds to the features what losses need."""
        targets = self.prepared(states)
        if not bool(torch.isfinite(targets).all()):
            raise ModelError("A token state holds NaN or infinity. Check the backbone's precision, weights and learning rate.")
        inputs = targets - self.b_pre.float() if self.apply_b_dec_to_input else targets
        weight, bias = self.W_enc.float(), self.b_enc.float()
        values, indices = self._codes(inputs, weight, bias, min(MORE * k if self.multi_topk else k, self.hidden_dim))
        first, chosen = values[:, :k].contiguous(), indices[:, :k].contiguous()
        if self.W_dec is not None:
            atoms, offset = self.W_dec.float(), self.b_pre.float()
            features["sae_input_normalized"] = targets
            features["sae_output_decoded"] = decoded(first, chosen, atoms) + offset
            features["sae_token_values"], features["sae_token_indices"] = first, torch.where(first > 0, chosen, -1)
            if self.multi_topk:
                features["sae_output_decoded_4k"] = decoded(values, indices, atoms) + offset
            dead = self.dead_latents().nonzero().squeeze(1) if self.k_aux else indices.new_zeros(0)
            if len(dead):
                some = self.token_batch_size
                features["sae_output_decoded_aux"] = decoded_of_dead(inputs, dead, weight, bias, atoms, self.k_aux, some)
        return first, chosen

    def _codes(
        self, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, k: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Values and latents of the k slots of each token, the largest value first; -1 marks a slot without effect."""
        dtype = torch.bfloat16 if self.autoencoder_precision == "bf16" else torch.float32
        product = self._product.of(weight.detach(), bias.detach(), dtype)
        if self.theta is None:
            return largest_codes(product, inputs, weight, bias, k)
        thresholds, some = self.theta.float().clamp(min=0), self.token_batch_size
        return codes_above_thresholds(product, inputs, weight, bias, thresholds, self.jumprelu_bandwidth, k, some)

    @property
    def autoencoder_precision(self) -> str:
        """Number format in which latents are chosen on this machine: "bf16" or "fp32"."""
        from lexite.kernels.hardware import fast_bf16

        if self.precision != "auto":
            return self.precision
        return "bf16" if fast_bf16(str(self.W_enc.device)) else "fp32"

    def dead_latents(self) -> torch.Tensor:
        """(hidden_dim,) bool: latents that were not active in the last ``dead_after_tokens`` tokens."""
        return self.tokens_since_active >= self.dead_after_tokens

    @torch.no_grad()
    def count(self, indices: torch.Tensor, mask: torch.Tensor | None = None) -> None:
        """Counts tokens for :meth:`dead_latents`, over all processes of a distributed training.

        Args:
            indices: (n, k), -1 in slots that are not used.
            mask: (n,) bool, tokens that count; None for all.
        """
        kept = indices if mask is None else indices[mask]
        fired = torch.zeros(self.hidden_dim, dtype=torch.int64, device=kept.device)
        fired[kept[kept >= 0].long()] = 1
        n = torch.tensor([len(kept)], device=kept.device)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(fired, op=torch.distributed.ReduceOp.MAX)
            torch.distributed.all_reduce(n)
        self.tokens_since_active += n
        self.tokens_since_active[fired > 0] = 0

    @torch.no_grad()
    def normalize_decoder_(self) -> None:
        """Brings each atom to unit norm, in place.

        Raises:
            ModelError: there is no decoder.
        """
        decoder = self.require_decoder()
        decoder.div_(decoder.norm(dim=1, keepdim=True).clamp(min=1e-8))

    def require_decoder(self) -> nn.Parameter:
        """The decoder's weights.

        Raises:
            ModelError: there is none.
        """
        if self.W_dec is None:
            raise ModelError(
                "This sparse autoencoder has no decoder, which reconstruction needs. Fit one to some texts: "
                "lexite.integrations.sentence_transformers.fit_decoder(model, texts)."
            )
        return self.W_dec

    def get_embedding_dimension(self) -> int:
        """Number of latents."""
        return self.hidden_dim

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Writes ``config.json`` and ``model.safetensors``; safetensors whatever ``safe_serialization`` says."""
        Path(output_path).mkdir(parents=True, exist_ok=True)
        self.save_config(output_path)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        if not bool(self.tokens_since_active.any()):
            tensors.pop("tokens_since_active")  # of interest only where training goes on
        with atomic_write(Path(output_path) / WEIGHTS) as file:
            file.write(to_bytes(tensors, metadata={"format": "pt"}))

    @classmethod
    def load(  # type: ignore[override]
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        **kwargs: Any,
    ) -> SparseAutoEncoderTokenEncoder:
        """Reads a folder that :meth:`save` wrote, or the module of pull request 3796.

        Raises:
            ModelError: a file is missing or damaged, a tensor has another shape than the configuration says, or the
                configuration holds an unknown value.
        """
        hub: dict[str, Any] = {
            "subfolder": subfolder,
            "token": token,
            "cache_folder": cache_folder,
            "revision": revision,
            "local_files_only": local_files_only,
        }
        config = read_config(cls, model_name_or_path, **hub)
        return encoder_from(cls, config, read_tensors(model_name_or_path, **hub), place(model_name_or_path, hub))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_encoder_cache": None}  # built from the weights again; it cannot be pickled


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ConfigError(f"{name} is {count}, but must be at least 1.")


def _random_atoms(hidden_dim: int, input_dim: int) -> torch.Tensor:
    """(hidden_dim, input_dim) Kaiming-uniform rows at unit norm, from torch's own generator."""
    bound = math.sqrt(3.0 / input_dim)
    return nn.functional.normalize(torch.empty(hidden_dim, input_dim).uniform_(-bound, bound), dim=1)
