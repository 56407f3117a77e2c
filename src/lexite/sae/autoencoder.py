"""The sparse autoencoder that users load: encode, decode, save, load. It carries no optimizer, no loss and no trackers."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from lexite.config import from_dict, to_dict
from lexite.errors import ModelError
from lexite.files import atomic_write, read_json, sha256_file, write_json
from lexite.kernels.hardware import fast_bf16
from lexite.kernels.product import EncoderProduct
from lexite.kernels.sparse import decode, selected_values
from lexite.kernels.threads import parallel_tasks
from lexite.sae.codes import SparseCodes
from lexite.sae.config import SAEConfig, check_k

FORMAT_VERSION = 1
WEIGHTS_FILE = "sae.safetensors"
CONFIG_FILE = "sae.json"
ROWS_HASHED = 4096  # rows of a matrix that are copied at a time for its checksum


class SparseAutoencoder:
    """TopK with ReLU (Gao et al. 2024, arXiv 2406.04093, section 2.3).

    With x a token state, W_enc and W_dec the weights, b_enc and b_dec the biases:

        u = W_enc (x - b_dec) + b_enc;   f = ReLU(TopK(u));   x^ = W_dec f + b_dec

    Latents are selected from pre-activations in bf16 where the processor is fast at it and in fp32 elsewhere; the values of
    those selected are always computed in fp32. Which is used can change the choice between latents that are nearly equal.

    Args:
        config: sizes.
        encoder_weight: (n_latents, d_model).
        encoder_bias: (n_latents,).
        decoder_weight: (n_latents, d_model), an atom of unit norm per row; None for an encoder that is shipped alone.
        decoder_bias: (d_model,).
        precision: of the selection: "auto", "bf16" or "fp32".
        weight_dtype: type in which the matrices are saved.

    Raises:
        ModelError: a tensor has another shape than ``config`` says.
    """

    def __init__(
        self,
        config: SAEConfig,
        encoder_weight: torch.Tensor,
        encoder_bias: torch.Tensor,
        decoder_weight: torch.Tensor | None,
        decoder_bias: torch.Tensor,
        *,
        precision: Literal["auto", "bf16", "fp32"] = "auto",
        weight_dtype: torch.dtype = torch.float32,
    ) -> None:
        matrix = (config.n_latents, config.d_model)
        expected = {"encoder_weight": matrix, "encoder_bias": matrix[:1], "decoder_weight": matrix, "decoder_bias": matrix[1:]}
        given = [encoder_weight, encoder_bias, decoder_weight, decoder_bias]
        for (name, shape), tensor in zip(expected.items(), given, strict=True):
            if tensor is not None and tuple(tensor.shape) != shape:
                raise ModelError(f"{name} has the shape {tuple(tensor.shape)}, but the configuration says {shape}.")
        self.config = config
        self.weight_dtype = weight_dtype
        self.encoder_bias = encoder_bias.to(torch.float32)
        self.decoder_bias = decoder_bias.to(torch.float32)
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
        return self._stored_weight().to(torch.float32)

    @property
    def decoder_weight(self) -> torch.Tensor | None:
        """(n_latents, d_model) fp32; None when it was left out."""
        if self._decoder_weight is not None:
            self._decoder_weight = self._decoder_weight.to(torch.float32)
        return self._decoder_weight

    def _stored_weight(self) -> torch.Tensor:
        """The encoder's weights as they are held, fp32 or bf16, without rounding."""
        return self._product.matrix[:, : self.config.d_model] if self._exact_weight is None else self._exact_weight

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
        """SHA-256 over all that decides the codes: sizes, encoder and biases, in the precision in which they are saved."""
        if not self._fingerprint:
            digest = hashlib.sha256(json.dumps({"rule": "topk", **to_dict(self.config)}, sort_keys=True).encode())
            for tensor in (*torch.split(self._stored_weight(), ROWS_HASHED), self.encoder_bias, self.decoder_bias):
                as_saved = tensor.to(self.weight_dtype) if tensor.ndim == 2 else tensor
                digest.update(as_saved.float().cpu().contiguous().numpy().data)
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def encode(self, states: torch.Tensor, k: int | None = None) -> SparseCodes:
        """Codes of token states.

        Args:
            states: (n, d_model), any float type.
            k: latents to keep per token; the trained k by default. Fewer are the first of the trained ones.

        Raises:
            ConfigError: k is larger than the number of latents.
            ModelError: the states have another width, or hold NaN or infinity.
        """
        k = check_k(self.config.k if k is None else k, self.config.n_latents)
        if states.ndim != 2 or states.shape[1] != self.config.d_model:
            raise ModelError(f"Token states have the shape {tuple(states.shape)}, but the width must be {self.config.d_model}.")
        values = torch.empty(len(states), k, device=self.device)
        indices = torch.empty(len(states), k, dtype=torch.int32, device=self.device)

        def fill(rows: slice) -> None:
            with torch.no_grad():
                self._encode(states[rows], rows.start, values[rows], indices[rows])

        parallel_tasks(fill, self._product.blocks(len(states)))
        return SparseCodes(values, indices, self.config.n_latents)

    def _encode(self, states: torch.Tensor, first: int, values: torch.Tensor, indices: torch.Tensor) -> None:
        """Codes of a block of tokens, the first of which has the number ``first``, into ``values`` and ``indices``."""
        centred = states.to(self.device, torch.float32) - self.decoder_bias
        if not math.isfinite(float(centred.sum())) and not bool(torch.isfinite(centred).all()):  # a sum may overflow
            row = first + int((~torch.isfinite(centred)).any(1).nonzero()[0])
            raise ModelError(f"Token state {row} holds NaN or infinity. Check the backbone's precision and weights.")
        self._product.select_block(centred, indices)
        if self._exact_weight is None:
            values.copy_(self._product.values(centred, indices, self.encoder_bias))
        else:
            values.copy_(selected_values(centred, indices, self._exact_weight, self.encoder_bias))
        indices.masked_fill_(values <= 0, -1)

    def decode(self, codes: SparseCodes) -> torch.Tensor:
        """Reconstructed states, (n, d_model) fp32.

        Raises:
            ModelError: it was saved as an encoder only.
        """
        weight = self.decoder_weight
        if weight is None:
            raise ModelError("This vocabulary was saved as an encoder only, without the decoder that reconstruction needs.")
        return decode(codes.values, codes.indices, weight) + self.decoder_bias

    def to(self, device: str | torch.device) -> SparseAutoencoder:
        """The same autoencoder on another device."""
        tensors = (self._stored_weight(), self.encoder_bias, self._decoder_weight, self.decoder_bias)
        moved = [None if tensor is None else tensor.to(device) for tensor in tensors]
        assert moved[0] is not None and moved[1] is not None and moved[3] is not None
        precision: Literal["bf16", "fp32"] = "bf16" if self.precision == "bf16" else "fp32"
        return SparseAutoencoder(
            self.config, moved[0], moved[1], moved[2], moved[3], precision=precision, weight_dtype=self.weight_dtype
        )

    def save(
        self, folder: str | Path, *, encoder_only: bool = False, dtype: Literal["fp32", "bf16"] | None = None
    ) -> SparseAutoencoder:
        """Writes ``sae.safetensors`` and ``sae.json``.

        Args:
            folder: made when missing.
            encoder_only: leave the decoder's matrix out; half the size, no reconstruction.
            dtype: type of the matrices in the file; as they were loaded or trained by default.

        Returns:
            What :meth:`load` will return: itself, unless ``dtype`` rounds the weights.

        Raises:
            StorageError: the folder cannot be written.
        """
        folder = Path(folder)
        matrices = {"fp32": torch.float32, "bf16": torch.bfloat16, None: self.weight_dtype}[dtype]
        tensors = {
            "encoder_weight": self._stored_weight().to(matrices),
            "encoder_bias": self.encoder_bias,
            "decoder_bias": self.decoder_bias,
        }
        if self._decoder_weight is not None and not encoder_only:
            tensors["decoder_weight"] = self._decoder_weight.to(matrices)
        with atomic_write(folder / WEIGHTS_FILE) as file:
            file.write(save({name: tensor.cpu().contiguous().clone() for name, tensor in tensors.items()}))  # tied ones too
        info = {
            "format": "lexite-sae",
            "format_version": FORMAT_VERSION,
            "rule": "topk",
            **to_dict(self.config),
            "sha256": sha256_file(folder / WEIGHTS_FILE),
        }
        write_json(folder / CONFIG_FILE, info)
        return self if matrices == self.weight_dtype and not encoder_only else SparseAutoencoder.load(folder)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        precision: Literal["auto", "bf16", "fp32"] = "auto",
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
        folder = Path(folder)
        info = read_json(folder / CONFIG_FILE)
        if not isinstance(info, dict) or info.get("format") != "lexite-sae":
            raise ModelError(f"{folder / CONFIG_FILE} does not describe a sparse autoencoder of lexite.")
        if info.get("format_version") != FORMAT_VERSION or info.get("rule") != "topk":
            raise ModelError(
                f"{folder / CONFIG_FILE} has format version {info.get('format_version')} and rule {info.get('rule')}, "
                f"but this lexite reads version {FORMAT_VERSION} with rule topk. Install a newer lexite."
            )
        path = folder / WEIGHTS_FILE
        if not path.is_file():
            raise ModelError(f"{path} does not exist.")
        if verify and sha256_file(path) != info.get("sha256"):
            raise ModelError(f"{path} is damaged: its checksum is not the one in {CONFIG_FILE}. Fetch or train it again.")
        config = from_dict(SAEConfig, {key: info[key] for key in ("d_model", "n_latents", "k") if key in info}, str(path))
        try:
            tensors = load_file(path, device=str(device))
            parts = [tensors["encoder_weight"], tensors["encoder_bias"], tensors["decoder_bias"]]
        except (SafetensorError, KeyError, OSError) as error:
            raise ModelError(f"{path} is damaged: {error}. Fetch or train it again.") from error
        decoder, dtype = tensors.get("decoder_weight"), parts[0].dtype
        return cls(config, parts[0], parts[1], decoder, parts[2], precision=precision, weight_dtype=dtype)
