"""The sparse autoencoder that users load: encode, decode, save, load. It carries no optimizer, no loss and no trackers."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch

from lexite.config import to_dict
from lexite.errors import ModelError
from lexite.kernels.accelerator import on_cpu
from lexite.kernels.hardware import fast_bf16
from lexite.kernels.product import EncoderProduct, stack_slots
from lexite.kernels.sparse import decode
from lexite.kernels.threads import use_torch
from lexite.sae.activations import ACTIVATIONS, Activation, Encoder
from lexite.sae.codes import SparseCodes
from lexite.sae.config import SAEConfig, check_k
from lexite.sae.normalisation import normalise
from lexite.sae.storage import StoredSAE, read_sae_files, write_sae

ROWS_HASHED = 4096  # rows of a matrix that are copied at a time for its checksum
Precision = Literal["auto", "bf16", "fp32"]
_SAVED_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_Change = Callable[[torch.Tensor], torch.Tensor]


class SparseAutoencoder:
    """From token states to a few latents each, and back (Gao et al. 2024, arXiv 2406.04093, section 2).

    With x a token state, W_enc and W_dec the weights, b_enc and b_dec the biases:

        u = W_enc (x - b_dec) + b_enc;   f = activation(u);   x^ = W_dec f + b_dec

    The activation looks at one token at a time (:mod:`lexite.sae.activations`), even where the rule of the training looked at
    a batch. Pre-activations select latents in bf16 where the processor is fast at it, and in fp32 elsewhere. The values of the
    selected latents are always fp32. The number format can change the choice between latents that are nearly equal.

    Args:
        config: sizes, and how states are scaled before they are encoded.
        encoder_weight: (n_latents, d_model).
        encoder_bias: (n_latents,).
        decoder_weight: (n_latents, d_model), an atom per row; None for an encoder that is shipped alone.
        decoder_bias: (d_model,).
        activation: "topk", "abs_topk", "jumprelu" or "top_afa".
        thresholds: (n_latents,) at least 0, for jumprelu and only for it; zeros make it a plain ReLU.
        precision: of the selection: "auto", "bf16" or "fp32".
        weight_dtype: type in which the matrices are saved.

    Raises:
        ModelError: the shape of a tensor is not what ``config`` says, or thresholds and activation do not fit together.
    """

    def __init__(
        self,
        config: SAEConfig,
        encoder_weight: torch.Tensor,
        encoder_bias: torch.Tensor,
        decoder_weight: torch.Tensor | None,
        decoder_bias: torch.Tensor,
        *,
        activation: Activation = "topk",
        thresholds: torch.Tensor | None = None,
        precision: Precision = "auto",
        weight_dtype: torch.dtype = torch.float32,
    ) -> None:
        if activation not in ACTIVATIONS:
            raise ModelError(f"There is no activation {activation!r}; there are {', '.join(ACTIVATIONS)}.")
        self._selector = ACTIVATIONS[activation]
        if (thresholds is not None) != self._selector.thresholds:
            raise ModelError(f"The activation {activation} {'takes no' if thresholds is not None else 'needs'} thresholds.")
        matrix = (config.n_latents, config.d_model)
        given = {
            "encoder_weight": (encoder_weight, matrix),
            "encoder_bias": (encoder_bias, matrix[:1]),
            "decoder_weight": (decoder_weight, matrix),
            "decoder_bias": (decoder_bias, matrix[1:]),
            "thresholds": (thresholds, matrix[:1]),
        }
        for name, (tensor, shape) in given.items():
            if tensor is not None and tuple(tensor.shape) != shape:
                raise ModelError(f"{name} has the shape {tuple(tensor.shape)}, but the configuration says {shape}.")
        use_torch()
        self.config, self.activation = config, activation
        self.weight_dtype = weight_dtype
        self.encoder_bias = encoder_bias.to(torch.float32)
        self.decoder_bias = decoder_bias.to(torch.float32)
        self.thresholds = None if thresholds is None else thresholds.to(torch.float32)
        bf16 = fast_bf16(str(encoder_weight.device)) if precision == "auto" else precision == "bf16"
        self._product = EncoderProduct(encoder_weight, self.encoder_bias, torch.bfloat16 if bf16 else torch.float32)
        # Where the product's matrix holds the weights without rounding, there is no second copy of them.
        rounded = bf16 and encoder_weight.dtype != torch.bfloat16
        self._exact_weight = encoder_weight.to(torch.float32) if rounded else None
        self._decoder_weight = decoder_weight  # in the type of the file until it is needed
        self._fingerprint = ""

    @property
    def encoder_weight(self) -> torch.Tensor:
        """(n_latents, d_model) fp32; may be copied for each use."""
        return self.stored_encoder.to(torch.float32)

    @property
    def decoder_weight(self) -> torch.Tensor | None:
        """(n_latents, d_model) fp32; None when it was left out."""
        if self._decoder_weight is not None:
            self._decoder_weight = self._decoder_weight.to(torch.float32)
        return self._decoder_weight

    @property
    def stored_encoder(self) -> torch.Tensor:
        """The encoder's weights as they are held, fp32 or bf16, without rounding."""
        return self._product.matrix[:, : self.config.d_model] if self._exact_weight is None else self._exact_weight

    @property
    def stored_decoder(self) -> torch.Tensor | None:
        """The decoder's weights as they are held."""
        return self._decoder_weight

    @property
    def n_terms(self) -> int:
        """Number of terms: one per latent, or two where each sign of an activation is a term of its own."""
        return self.config.n_latents * (2 if self._selector.signed else 1)

    @property
    def limited(self) -> bool:
        """Whether k bounds the latents of a token; else the token's own activations decide how many there are."""
        return self._selector.limited

    @property
    def largest_k(self) -> int:
        """Most latents that a token keeps by default: k where k bounds them, else all."""
        return self.config.k if self.limited else self.config.n_latents

    @property
    def precision(self) -> str:
        """Number format of the selection, "bf16" or "fp32"."""
        return "bf16" if self._product.matrix.dtype == torch.bfloat16 else "fp32"

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.encoder_bias.device

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything that decides codes: sizes, encoder, biases, thresholds, in the precision of the file."""
        if not self._fingerprint:
            digest = hashlib.sha256(json.dumps(self._deciding(), sort_keys=True).encode())
            vectors = [self.encoder_bias, self.decoder_bias, *([] if self.thresholds is None else [self.thresholds])]
            for tensor in (*torch.split(self.stored_encoder, ROWS_HASHED), *vectors):
                as_saved = tensor.to(self.weight_dtype) if tensor.ndim == 2 else tensor
                digest.update(as_saved.float().cpu().contiguous().numpy().data)
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def _deciding(self) -> dict[str, object]:
        """The part of the configuration that decides codes. Settings about states are in it only where not the default."""
        config = self.config
        values: dict[str, object] = {"rule": self.activation, "d_model": config.d_model, "n_latents": config.n_latents}
        default = SAEConfig()
        treatment = {key: getattr(config, key) for key in ("apply_b_dec_to_input", "normalize_activations")}
        return {**values, "k": config.k, **{key: v for key, v in treatment.items() if v != getattr(default, key)}}

    def encode(self, states: torch.Tensor, k: int | None = None) -> SparseCodes:
        """Codes of token states.

        Args:
            states: (n, d_model), any float type.
            k: most latents to keep per token; as trained by default. The largest are kept, so a smaller k keeps the first.

        Returns:
            Codes with ``n_terms`` terms, sorted by falling value within each token. With topk and abs_topk, values that the
            number format of the selection does not tell apart can be in any order.

        Raises:
            ConfigError: k is larger than the number of latents.
            ModelError: the states have another width, or hold NaN or infinity.
        """
        k = check_k(self.largest_k if k is None else k, self.config.n_latents)
        if states.ndim != 2 or states.shape[1] != self.config.d_model:
            raise ModelError(f"Token states have the shape {tuple(states.shape)}, but the width must be {self.config.d_model}.")
        states = states if on_cpu(self.decoder_bias) else states.to(self.device)  # once, and as they are: bf16 is half of fp32
        encoder = Encoder(self._product, self._exact_weight, self.encoder_bias, self.thresholds)
        parts: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        sums: list[torch.Tensor] = []

        def fill(rows: slice) -> None:
            with torch.no_grad():
                centred = self._centred(states[rows])
                if on_cpu(centred):
                    _check_finite(centred, rows.start)
                else:
                    sums.append(centred.sum())
                parts[rows.start] = self._selector.choose(encoder, centred, k)

        blocks = self._product.for_each_block(len(states), fill)
        if sums and not bool(torch.stack(sums).isfinite().all()):  # on an accelerator the host waits once for all blocks
            for rows in blocks:
                _check_finite(self._centred(states[rows]), rows.start)
        ordered = [parts[rows.start] for rows in blocks]
        if not ordered:
            width = k if self.limited else 0
            nothing = torch.empty(0, width, device=self.device)
            return SparseCodes(nothing, nothing.to(torch.int32), self.n_terms)
        values = stack_slots([part[0] for part in ordered], 0.0, self.device)
        return SparseCodes(values, stack_slots([part[1] for part in ordered], -1, self.device), self.n_terms)

    def _centred(self, states: torch.Tensor) -> torch.Tensor:
        """States as the encoder's product takes them."""
        known, _, _ = normalise(states.to(self.device, torch.float32), self.config.normalize_activations)
        centred = known - self.decoder_bias if self.config.apply_b_dec_to_input else known
        return centred.contiguous()

    def decode(self, codes: SparseCodes) -> torch.Tensor:
        """Reconstructed states, (n, d_model) fp32, as the autoencoder sees them: after ``normalize_activations``.

        Raises:
            ModelError: it was saved as an encoder only.
        """
        weight = self.decoder_weight
        if weight is None:
            raise ModelError("This vocabulary was saved as an encoder only, without the decoder that reconstruction needs.")
        values, indices = codes.values, codes.indices
        if self.n_terms > self.config.n_latents:
            values, indices = codes.signed(self.config.n_latents)
        return decode(values, indices, weight) + self.decoder_bias

    def reconstruct(self, states: torch.Tensor, k: int | None = None) -> torch.Tensor:
        """States after encoding and decoding, (n, d_model) fp32, with ``normalize_activations`` undone.

        Args:
            states: (n, d_model), any float type.
            k: as for :meth:`encode`.

        Raises:
            ModelError: as :meth:`encode` and :meth:`decode`.
        """
        decoded = self.decode(self.encode(states, k))
        _, scale, shift = normalise(states.to(self.device, torch.float32), self.config.normalize_activations)
        return decoded * scale + shift

    def to(self, device: str | torch.device) -> SparseAutoencoder:
        """The same autoencoder on another device."""
        return self._with(self.config, lambda tensor: tensor.to(device), self.decoder_bias.to(device))

    def reordered(self, order: torch.Tensor) -> SparseAutoencoder:
        """The autoencoder with its latents in another order, or with only some of them.

        Args:
            order: (n,) numbers of latents, each at most once; latent ``order[i]`` becomes latent i.

        Raises:
            ModelError: a number is out of range or occurs twice, or none is left.
        """
        order = order.to(self.device, torch.int64)
        n = self.config.n_latents
        if not len(order) or int(order.min()) < 0 or int(order.max()) >= n or int(order.bincount().max()) > 1:
            raise ModelError(f"An order of latents holds numbers from 0 to {n - 1}, each at most once, and at least one.")
        sizes = {"n_latents": len(order), "k": min(self.config.k, len(order))}
        config = SAEConfig(**{**to_dict(self.config), **sizes})
        return self._with(config, lambda tensor: tensor[order].contiguous(), self.decoder_bias)

    def prefix(self, n_latents: int) -> SparseAutoencoder:
        """The autoencoder of the first latents alone, as nested dictionaries allow it.

        Raises:
            ModelError: fewer than 1 or more than there are.
        """
        if not 1 <= n_latents <= self.config.n_latents:
            raise ModelError(f"A prefix of {n_latents} latents cannot be taken: there are {self.config.n_latents}.")
        return self.reordered(torch.arange(n_latents))

    def _with(self, config: SAEConfig, change: _Change, decoder_bias: torch.Tensor) -> SparseAutoencoder:
        """Another autoencoder, each tensor with a row per latent passed through ``change``."""
        decoder, thresholds = self._decoder_weight, self.thresholds
        return SparseAutoencoder(
            config,
            change(self.stored_encoder),
            change(self.encoder_bias),
            None if decoder is None else change(decoder),
            decoder_bias,
            activation=self.activation,
            thresholds=None if thresholds is None else change(thresholds),
            precision="bf16" if self.precision == "bf16" else "fp32",
            weight_dtype=self.weight_dtype,
        )

    def save(
        self, folder: str | Path, *, encoder_only: bool = False, dtype: Literal["fp32", "bf16"] | None = None
    ) -> SparseAutoencoder:
        """Writes ``sae.safetensors`` and ``sae.json``.

        Args:
            folder: made when missing.
            encoder_only: leave out the decoder's matrix; half the size, no reconstruction.
            dtype: type of the matrices in the file; as they were loaded or trained by default.

        Returns:
            What :meth:`load` will return: itself, unless ``dtype`` rounds the weights.

        Raises:
            StorageError: the folder cannot be written.
        """
        matrices = _SAVED_TYPES[dtype] if dtype else self.weight_dtype
        tensors = {
            "encoder_weight": self.stored_encoder.to(matrices),
            "encoder_bias": self.encoder_bias,
            "decoder_bias": self.decoder_bias,
        }
        if self.stored_decoder is not None and not encoder_only:
            tensors["decoder_weight"] = self.stored_decoder.to(matrices)
        if self.thresholds is not None:
            tensors["thresholds"] = self.thresholds
        write_sae(Path(folder), StoredSAE(self.config, self.activation, tensors))
        whole_and_unrounded = matrices == self.weight_dtype and not encoder_only
        return self if whole_and_unrounded else SparseAutoencoder.load(folder)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        precision: Precision = "auto",
        device: str | torch.device = "cpu",
        verify: bool = True,
    ) -> SparseAutoencoder:
        """Reads a folder written by :meth:`save`.

        Args:
            folder: holds ``sae.safetensors`` and ``sae.json``.
            precision: of the selection.
            device: where to put the weights.
            verify: compare the weights' checksum.

        Raises:
            ModelError: a file is missing, damaged, or of a newer format.
        """
        stored = read_sae_files(Path(folder), device=device, verify=verify)
        tensors = stored.tensors
        return SparseAutoencoder(
            stored.config,
            tensors["encoder_weight"],
            tensors["encoder_bias"],
            tensors.get("decoder_weight"),
            tensors["decoder_bias"],
            activation=stored.activation,
            thresholds=tensors.get("thresholds"),
            precision=precision,
            weight_dtype=tensors["encoder_weight"].dtype,
        )


def _check_finite(centred: torch.Tensor, first: int) -> None:
    """Refuses a block of states with NaN or infinity, with :class:`ModelError`; the first has the number ``first``."""
    if not math.isfinite(float(centred.sum())) and not bool(torch.isfinite(centred).all()):  # a sum may overflow
        row = first + int((~torch.isfinite(centred)).any(1).nonzero()[0])
        raise ModelError(f"Token state {row} holds NaN or infinity. Check the backbone's precision and weights.")
