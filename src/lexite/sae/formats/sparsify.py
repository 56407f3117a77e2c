"""Folders of EleutherAI's sparsify (``eai-sparsify``): ``cfg.json`` and ``sae.safetensors``.

Written against the formulas of sparsify 1.3 and compared with it in the tests.
"""

from __future__ import annotations

from pathlib import Path

import torch

from lexite.errors import ModelError
from lexite.sae.autoencoder import Precision, SparseAutoencoder
from lexite.sae.config import SAEConfig
from lexite.sae.formats.reading import Origin, Settings, TensorFile, refuse_pickles, write_pair

CONFIG_FILE = "cfg.json"
WEIGHTS_FILE = "sae.safetensors"
UNIT_NORM = 1e-4  # atoms whose norms differ from 1 by less than this count as atoms of unit norm
_ACTIVATIONS = ("topk",)  # those that sparsify and lexite both have; both name them alike
_REFUSED = {
    "transcode": "it maps one place of a model to another",
    "skip_connection": "it adds a linear map of the state to what latents reconstruct",
    "signed": "it keeps latents with negative values",
}
_CONVERSION = "Load it in the release of sparsify that wrote it and save it again with save_to_disk(folder), as safetensors."


def read_sparsify(path: str | Path, *, precision: Precision = "auto", device: str | torch.device = "cpu") -> SparseAutoencoder:
    """Reads the folder of one hookpoint.

    ``normalize_decoder`` and ``multi_topk`` concern training only.

    Args:
        path: the folder.
        precision: of the selection.
        device: where to put the weights.

    Raises:
        ModelError: a file is missing or damaged, or the autoencoder is of a kind that cannot be represented; the key is named.
    """
    folder = Path(path)
    settings = Settings(folder / CONFIG_FILE)
    for key, reason in _REFUSED.items():
        if settings.flag(key):
            raise ModelError(
                f"{settings.path}: {key} is true: {reason}, which lexite cannot do. Take an autoencoder without it."
            )
    activation = settings.text("activation", "topk")
    if activation not in _ACTIVATIONS:
        raise ModelError(
            f"{settings.path}: activation is {activation!r}, but lexite reads topk only. Take an autoencoder with topk."
        )
    if not (folder / WEIGHTS_FILE).is_file():
        refuse_pickles(folder, _CONVERSION)
    d_model = settings.count("d_in")
    given = settings.values.get("num_latents")
    n_latents = settings.count("num_latents") if given else d_model * settings.count("expansion_factor")
    tensors = TensorFile(folder / WEIGHTS_FILE)
    return SparseAutoencoder(
        SAEConfig(d_model=d_model, n_latents=n_latents, k=settings.count("k", n_latents)),
        tensors.matrix("encoder.weight", n_latents, d_model).to(device),
        tensors.take("encoder.bias", n_latents).to(device),
        tensors.matrix("W_dec", n_latents, d_model).to(device),
        tensors.take("b_dec", d_model).to(device),
        precision=precision,
    )


def origin(path: str | Path) -> Origin:
    """What a folder of sparsify says about the states that the autoencoder was trained on: the hookpoint is its name."""
    folder = Path(path).absolute()
    run = folder.parent / "config.json"
    return Origin("sparsify", Settings(run).text("model") if run.is_file() else "", folder.name)


def write_sparsify(sae: SparseAutoencoder, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Writes an autoencoder as a folder that ``sparsify.SparseCoder.load_from_disk`` loads, with the same codes, in fp32.

    An autoencoder that does not subtract the decoder's bias from the states gets that folded into the encoder's:
    W_enc x + b_enc = W_enc (x - b_dec) + (b_enc + W_enc b_dec).

    Args:
        sae: with its decoder, and the activation topk.
        folder: new, empty, or (with ``overwrite``) a folder with a ``cfg.json`` that is replaced.
        overwrite: replace a folder that is there.

    Returns:
        The folder.

    Raises:
        ModelError: sparsify cannot represent it.
        StorageError: the folder holds something else, or cannot be written.
    """
    decoder, config = sae.decoder_weight, sae.config
    if decoder is None:
        raise ModelError("sparsify needs a decoder, but this autoencoder was saved without it. Take the one that was trained.")
    if sae.activation not in _ACTIVATIONS:
        raise ModelError(f"sparsify has no activation {sae.activation}, only topk. Write it for SAELens with write_saelens.")
    if config.normalize_activations not in ("none", "expected_average_only_in"):  # the latter leaves states as they are
        raise ModelError(
            f"sparsify has no normalize_activations, but this autoencoder has {config.normalize_activations}. "
            "Write it for SAELens with write_saelens."
        )
    bias = sae.encoder_bias
    if not config.apply_b_dec_to_input:
        bias = bias + sae.encoder_weight @ sae.decoder_bias
    settings = {
        "activation": sae.activation,
        "expansion_factor": max(config.n_latents // config.d_model, 1),
        "normalize_decoder": bool(((decoder.norm(dim=1) - 1).abs() < UNIT_NORM).all()),
        "num_latents": config.n_latents,
        "k": config.k,
        "multi_topk": False,
        "skip_connection": False,
        "transcode": False,
        "d_in": config.d_model,
    }
    tensors = {"encoder.weight": sae.encoder_weight, "encoder.bias": bias, "W_dec": decoder, "b_dec": sae.decoder_bias}
    return write_pair(folder, (CONFIG_FILE, settings), (WEIGHTS_FILE, tensors), overwrite=overwrite)
