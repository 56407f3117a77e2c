"""Folders of dictionary_learning: ``config.json``, and the state dict as ``ae.safetensors``.

The library itself saves ``ae.pt``, a pickle, which lexite does not open; :data:`CONVERSION` makes one out of the other.
Written against the formulas of dictionary_learning 0.1.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import torch

from lexite.errors import ModelError
from lexite.sae.autoencoder import Precision, SparseAutoencoder
from lexite.sae.config import SAEConfig
from lexite.sae.formats.reading import Origin, Parts, Settings, TensorFile, refuse_pickles
from lexite.sae.formats.saelens import gated_parts

logger = logging.getLogger("lexite")
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "ae.safetensors"
CONVERSION = (
    'python -c "import torch; from safetensors.torch import save_file; '
    "state = torch.load('ae.pt', map_location='cpu', weights_only=True); "
    "save_file({name: value.clone().contiguous() for name, value in state.items()}, 'ae.safetensors')\""
)
"""Run in the folder, in an environment with torch and safetensors, this turns ``ae.pt`` into ``ae.safetensors``."""


def read_dictionary_learning(
    path: str | Path, *, precision: Precision = "auto", device: str | torch.device = "cpu"
) -> SparseAutoencoder:
    """Reads a folder of dictionary_learning whose weights were converted.

    The class named in ``config.json`` decides: ``AutoEncoder`` (with the norms of its atoms folded into the encoder, as the
    library does when it loads one), ``AutoEncoderNew``, ``GatedAutoEncoder``, ``JumpReluAutoEncoder``, ``AutoEncoderTopK``,
    ``BatchTopKSAE`` and ``MatryoshkaBatchTopKSAE`` (both with the threshold of the training).

    Args:
        path: the folder.
        precision: of the selection.
        device: where to put the weights.

    Raises:
        ModelError: a file is missing, damaged or a pickle, or the class is not one of these.
    """
    folder = Path(path)
    trainer = Settings(folder / CONFIG_FILE).part("trainer")
    kind = trainer.text("dict_class")
    if kind not in _KINDS:
        known = ", ".join(_KINDS)
        raise ModelError(f"{trainer.path}: trainer.dict_class is {kind or 'missing'}, but lexite reads {known}.")
    if not (folder / WEIGHTS_FILE).is_file():
        refuse_pickles(folder, f"Turn it into {WEIGHTS_FILE}, in that folder: {CONVERSION}")
    tensors = TensorFile(folder / WEIGHTS_FILE)
    shape = tensors.shape("W_enc" if "W_enc" in tensors else "encoder.weight")
    if len(shape) != 2:
        raise ModelError(f"{tensors.path}: the encoder's weights have the shape {shape}, but must be a matrix.")
    n_latents, d_model = reversed(shape) if "W_enc" in tensors else shape
    parts = _KINDS[kind](tensors, n_latents, d_model)
    topk = kind == "AutoEncoderTopK"
    config = SAEConfig(
        d_model=d_model,
        n_latents=n_latents,
        k=_k(trainer, tensors, n_latents, required=topk),
        rule=_RULES[kind],
        apply_b_dec_to_input=kind not in ("AutoEncoderNew", "JumpReluAutoEncoder"),
    )
    moved = [tensor.to(device) for tensor in (parts.encoder, parts.encoder_bias, parts.decoder, parts.decoder_bias)]
    thresholds = None if parts.thresholds is None else parts.thresholds.clamp(min=0).to(device)
    return SparseAutoencoder(
        config, *moved, activation="topk" if topk else "jumprelu", thresholds=thresholds, precision=precision
    )


def origin(path: str | Path) -> Origin:
    """What a folder of dictionary_learning says about the states that the autoencoder was trained on."""
    trainer = Settings(Path(path) / CONFIG_FILE).part("trainer")
    layer = trainer.values.get("layer")
    place = trainer.text("submodule_name") or (f"layer {layer}" if isinstance(layer, int) else "")
    return Origin("dictionary_learning", trainer.text("lm_name"), place)


def _k(trainer: Settings, tensors: TensorFile, n_latents: int, *, required: bool) -> int:
    """The k of the training: the weights' own, else that of the settings, else all latents.

    Raises:
        ModelError: both name one and they differ, or it is needed and is missing or out of range.
    """
    if "k" in tensors:
        own = int(tensors.take("k"))
        if trainer.values.get("k", own) != own:
            raise ModelError(f"{trainer.path}: trainer.k is {trainer.values['k']}, but {tensors.path.name} says {own}.")
        trainer = Settings(trainer.path, {"k": own})
    if required or "k" in trainer.values:
        return trainer.count("k", n_latents)
    return n_latents


def _linear(tensors: TensorFile, n_latents: int, d_model: int, decoder_bias: str) -> Parts:
    """Weights of two ``nn.Linear``: the decoder's is (d_model, n_latents)."""
    encoder = tensors.matrix("encoder.weight", n_latents, d_model)
    bias = tensors.take("encoder.bias", n_latents)
    decoder = tensors.matrix("decoder.weight", n_latents, d_model, transposed=True)
    return Parts(encoder, bias, decoder, tensors.take(decoder_bias, d_model), torch.zeros(n_latents))


def _parameters(tensors: TensorFile, n_latents: int, d_model: int) -> Parts:
    """Weights of plain parameters: the encoder's is (d_model, n_latents)."""
    encoder = tensors.matrix("W_enc", n_latents, d_model, transposed=True)
    bias, decoder = tensors.take("b_enc", n_latents), tensors.matrix("W_dec", n_latents, d_model)
    return Parts(encoder, bias, decoder, tensors.take("b_dec", d_model))


def _standard(tensors: TensorFile, n_latents: int, d_model: int) -> Parts:
    parts = _linear(tensors, n_latents, d_model, "bias")
    parts.fold_norms()
    return parts


def _april(tensors: TensorFile, n_latents: int, d_model: int) -> Parts:
    return _linear(tensors, n_latents, d_model, "decoder.bias")


def _topk(tensors: TensorFile, n_latents: int, d_model: int) -> Parts:
    parts = _linear(tensors, n_latents, d_model, "b_dec")
    parts.thresholds = None  # it has one, but chooses k latents all the same
    return parts


def _gated(tensors: TensorFile, n_latents: int, d_model: int) -> Parts:
    encoder = tensors.matrix("encoder.weight", n_latents, d_model)
    decoder = tensors.matrix("decoder.weight", n_latents, d_model, transposed=True)
    parts = Parts(encoder, tensors.take("mag_bias", n_latents), decoder, tensors.take("decoder_bias", d_model))
    return gated_parts(parts, tensors.take("gate_bias", n_latents), tensors.take("r_mag", n_latents))


def _jumprelu(tensors: TensorFile, n_latents: int, d_model: int) -> Parts:
    parts = _parameters(tensors, n_latents, d_model)
    parts.thresholds = tensors.take("threshold", n_latents)
    return parts


def _batch_topk(tensors: TensorFile, n_latents: int, d_model: int) -> Parts:
    return _with_threshold(_linear(tensors, n_latents, d_model, "b_dec"), tensors)


def _matryoshka(tensors: TensorFile, n_latents: int, d_model: int) -> Parts:
    return _with_threshold(_parameters(tensors, n_latents, d_model), tensors)


def _with_threshold(parts: Parts, tensors: TensorFile) -> Parts:
    """One threshold for all latents. Before it is first set it is -1, which makes a plain ReLU."""
    threshold = tensors.take("threshold")
    if float(threshold) < 0:
        logger.warning(
            "%s: its threshold was never set, so that every latent above zero is kept. Was it trained?", tensors.path
        )
    parts.thresholds = threshold.expand(len(parts.encoder)).clone()
    return parts


_KINDS: dict[str, Callable[[TensorFile, int, int], Parts]] = {
    "AutoEncoder": _standard,
    "AutoEncoderNew": _april,
    "GatedAutoEncoder": _gated,
    "JumpReluAutoEncoder": _jumprelu,
    "AutoEncoderTopK": _topk,
    "BatchTopKSAE": _batch_topk,
    "MatryoshkaBatchTopKSAE": _matryoshka,
}
_RULES = {
    "AutoEncoder": "relu_l1",
    "AutoEncoderNew": "relu_l1",
    "GatedAutoEncoder": "gated",
    "JumpReluAutoEncoder": "jumprelu",
    "AutoEncoderTopK": "topk",
    "BatchTopKSAE": "batch_topk",
    "MatryoshkaBatchTopKSAE": "batch_topk",
}
