"""A sparse autoencoder that was trained elsewhere, used as a vocabulary of lexite."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from lexite.backbone import Backbone, BackboneConfig, TokenStates, iterate_states, load_backbone
from lexite.backbone.precomputed import PrecomputedBackbone
from lexite.config import to_dict
from lexite.corpus import ReadOptions, ReadReport, read_documents
from lexite.errors import ConfigError, ModelError
from lexite.files import check_output_folder, check_replaceable
from lexite.labelling import LabelConfig, label_vocabulary
from lexite.recipes.sample import SAMPLE_CHUNK, SAMPLE_TOKENS, limited
from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.sae.autoencoder import Precision
from lexite.sae.folding import fold_input_scale
from lexite.sae.formats import dictionary_learning, saelens, sparsify
from lexite.sae.formats.reading import PICKLES, Origin, Settings
from lexite.sae.normalisation import average_norm_scale
from lexite.sae.storage import CONFIG_FILE as OWN_CONFIG
from lexite.scoring.config import BM25Config
from lexite.terms.config import SavingConfig, TermsConfig
from lexite.terms.encoder import LatentTermEncoder
from lexite.terms.manifest import MANIFEST, ModelDetails, read_manifest
from lexite.terms.measure import measured
from lexite.terms.saving import backbone_device
from lexite.training.sources import SAMPLE_CHARACTERS
from lexite.wording import counted

logger = logging.getLogger("lexite")
HEAD_TOKENS = 16384
"""Tokens from the beginning of the text, on which the fit of the autoencoder to the model's states is measured."""
WEIGHTS_FILES = (saelens.WEIGHTS_FILE, sparsify.WEIGHTS_FILE, dictionary_learning.WEIGHTS_FILE)
DEPTHS = ("*/", "*/*/", "*/*/*/")  # where weights are looked for in a folder that holds none itself


@dataclass(frozen=True)
class _Format:
    """One kind of folder: its reader, and the function that says where the autoencoder comes from."""

    read: Callable[..., SparseAutoencoder]
    origin: Callable[[str | Path], Origin]


_SAELENS = _Format(saelens.read_saelens, saelens.origin)
_SPARSIFY = _Format(sparsify.read_sparsify, sparsify.origin)
_DICTIONARY_LEARNING = _Format(dictionary_learning.read_dictionary_learning, dictionary_learning.origin)
_OWN = _Format(SparseAutoencoder.load, lambda path: Origin("lexite"))


def read_sae(path: str | Path, *, precision: Precision = "auto", device: str | torch.device = "cpu") -> SparseAutoencoder:
    """Reads a sparse autoencoder from a folder of SAELens, sparsify, dictionary_learning or lexite, told apart by its files.

    Args:
        path: the folder.
        precision: of the selection.
        device: where to put the weights.

    Raises:
        ModelError: it is none of these, damaged, a pickle, or of a kind that cannot be represented; one line.
    """
    return _format_of(Path(path)).read(path, precision=precision, device=device)


def vocabulary_from_sae(
    sae: SparseAutoencoder,
    backbone: Backbone,
    *,
    texts: Iterable[str] | None = None,
    source: str = "",
    input_scale: float | None = None,
    terms: TermsConfig | None = None,
    scoring: BM25Config | None = None,
    details: ModelDetails | None = None,
    show_progress: bool = False,
) -> LatentTermEncoder:
    """Makes a vocabulary of an autoencoder and the model that it was trained on.

    Args:
        sae: as :func:`read_sae` returns it, or made from your own tensors.
        backbone: the dense retriever whose last hidden states the autoencoder was trained on.
        texts: a sample of text, on which frequencies of the terms are measured and latents are named. It is read once, up to a
            million tokens. Without it terms have numbers only.
        source: what the sample is, for people.
        input_scale: factor of the states in training, if the weights do not contain it yet; it is folded into them. By default
            it is estimated on the text when the autoencoder says ``normalize_activations: expected_average_only_in``.
        terms: pooling, and the latents kept per token.
        scoring: saved with the vocabulary.
        details: name, licence and data, for people.
        show_progress: show progress on stderr.

    Raises:
        ModelError: the autoencoder reads states of another width, or needs a scale that is not known.
        ConfigError: a scale is given to an autoencoder that scales states by itself.
        CorpusError: there is no text in ``texts``.
    """
    encoder = LatentTermEncoder(backbone, sae, terms, scoring, details=details)
    return _fit_and_measure(encoder, texts, source, input_scale, show_progress)[0]


def import_vocabulary(
    path: str | Path,
    output: str | Path,
    *,
    backbone: BackboneConfig | None = None,
    sources: Sequence[str | Path] = (),
    input_scale: float | None = None,
    terms: TermsConfig | None = None,
    scoring: BM25Config | None = None,
    read: ReadOptions | None = None,
    saving: SavingConfig | None = None,
    overwrite: bool = False,
    show_progress: bool = False,
) -> dict[str, Any]:
    """Reads an autoencoder, makes a vocabulary of it and saves that; what ``lexite import`` does.

    Args:
        path: the folder, as for :func:`read_sae`.
        output: folder of the vocabulary.
        backbone: the dense model on whose states it was trained; default all-MiniLM-L6-v2.
        sources: a sample of text, as :func:`lexite.read_documents` takes it; see :func:`vocabulary_from_sae`.
        input_scale: see :func:`vocabulary_from_sae`.
        terms: pooling and k, saved with the vocabulary.
        scoring: saved with the vocabulary.
        read: field names of the sources, and whether bad records are skipped.
        saving: number format and card of the saved vocabulary.
        overwrite: replace a vocabulary in ``output``.
        show_progress: progress on stderr.

    Returns:
        ``output``, ``name``, ``fingerprint``, ``library``, ``trained_on``, ``place``, ``activation``, ``rule``, ``d_model``,
        ``n_latents``, ``n_terms``, ``k``, ``normalize_activations``; and, with text, ``l0`` (mean number of active latents per
        token) and ``fvu`` (share of the variance of the states that the reconstruction leaves over), both on its first 16,384
        tokens, ``input_scale``, ``n_documents``, ``n_tokens`` and ``latents_used``.

    Raises:
        ModelError, BackboneError, CorpusError, StorageError: see :func:`read_sae` and :func:`vocabulary_from_sae`.
    """
    folder, config, saving = Path(output), backbone or BackboneConfig(), saving or SavingConfig(licence="unknown")
    kind = _format_of(Path(path))
    came_from = kind.origin(path)
    check_output_folder(folder, MANIFEST, overwrite=overwrite)
    check_replaceable(folder)
    report = ReadReport()
    documents = read_documents(sources, (read or ReadOptions()).for_texts(), report) if sources else None
    model = load_backbone(config)
    if isinstance(model, PrecomputedBackbone):
        raise ModelError(f"{config.model} holds token states, not a model, so no text could be encoded. Name the model itself.")
    sae = kind.read(path, precision=config.product_precision, device=backbone_device(model))
    details = ModelDetails(saving.name or folder.absolute().name, saving.licence, saving.training_data)
    encoder = LatentTermEncoder(model, sae, terms, scoring, details=details)
    _say_where_from(came_from, encoder)
    texts = None if documents is None else (document.full_text for document in documents)
    names = ", ".join(str(source) for source in sources)
    encoder, fit = _fit_and_measure(encoder, texts, names, input_scale, show_progress)
    if report.skipped:
        were = "was" if report.skipped == 1 else "were"
        logger.warning("%s %s skipped: %s", counted(report.skipped, "bad record"), were, " ".join(report.messages))
    facts = {"library": came_from.library, "trained_on": came_from.model, "place": came_from.place}
    recipe = {
        "imported": Path(path).absolute().name,
        **facts,
        "activation": sae.activation,
        **to_dict(sae.config),
        **fit,
    }
    known = {key: value for key, value in recipe.items() if value not in ("", None)}
    encoder = encoder.replaced(details=replace(details, recipe=known))
    encoder.save_pretrained(folder, overwrite=overwrite, encoder_only=saving.encoder_only, dtype=saving.weights)
    return _summary(folder, encoder, {**facts, **fit})


def _summary(folder: Path, encoder: LatentTermEncoder, known: Mapping[str, Any]) -> dict[str, Any]:
    """What :func:`import_vocabulary` returns; ``known`` is what the folder said and what was measured."""
    sae = encoder.sae
    named = {"output": str(folder), "name": encoder.name, "fingerprint": read_manifest(folder)["fingerprint"]}
    sizes = {"activation": sae.activation, "n_terms": sae.n_terms, **to_dict(sae.config)}
    counts: dict[str, Any] = {}
    if encoder.vocabulary is not None:
        summary = encoder.vocabulary.summary()
        counts = {key: summary[key] for key in ("n_documents", "n_tokens", "latents_used")}
    return {**named, **sizes, **known, **counts}


def _format_of(folder: Path) -> _Format:
    """Tells the format of a folder by its files; raises :class:`ModelError` when it is none that can be read."""
    if not folder.is_dir():
        raise ModelError(
            f"{folder} is a file. Name the folder that holds it." if folder.exists() else f"{folder} does not exist."
        )
    if (folder / OWN_CONFIG).is_file():
        return _OWN
    if (folder / saelens.CONFIG_FILE).is_file():
        return _SPARSIFY if _is_sparsify(folder) else _SAELENS
    if any((folder / f"ae{suffix}").is_file() for suffix in (".safetensors", ".pt")):
        return _DICTIONARY_LEARNING
    found = (path for depth in DEPTHS for name in WEIGHTS_FILES for path in folder.glob(f"{depth}{name}"))
    inside = sorted(path.parent.relative_to(folder).as_posix() for path in found)
    if inside:
        more = f" and {len(inside) - 3} more" if len(inside) > 3 else ""
        raise ModelError(f"{folder} holds autoencoders in folders: {', '.join(inside[:3])}{more}. Name one of these.")
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    hint = (
        f" It holds {pickles[0]}, a pickle, which lexite does not open; docs/sae-import.md says how to convert one."
        if pickles
        else ""
    )
    raise ModelError(
        f"{folder} holds no sparse autoencoder that lexite reads: no cfg.json with {saelens.WEIGHTS_FILE} (SAELens) or "
        f"{sparsify.WEIGHTS_FILE} (sparsify), no config.json with {dictionary_learning.WEIGHTS_FILE} "
        f"(dictionary_learning).{hint}"
    )


def _is_sparsify(folder: Path) -> bool:
    """Whether a folder with a ``cfg.json``, a name that two libraries use, is one of sparsify."""
    if (folder / saelens.WEIGHTS_FILE).is_file():
        return False
    return (folder / sparsify.WEIGHTS_FILE).is_file() or "expansion_factor" in Settings(folder / sparsify.CONFIG_FILE).values


def _say_where_from(came_from: Origin, encoder: LatentTermEncoder) -> None:
    """Warns when the folder names a layer or another model: its states have the same width and another meaning."""
    same = came_from.model.lower().split("/")[-1] == encoder.backbone.config.model.lower().split("/")[-1]
    if came_from.place or (came_from.model and not same):
        place = f" ({came_from.place})" if came_from.place else ""
        logger.warning(
            "The autoencoder says that it was trained on %s%s. It is used on the last hidden states of %s; "
            "on other states than its own its terms mean nothing.",
            came_from.model or "a model that it does not name",
            place,
            encoder.backbone.name,
        )


def _fit_and_measure(
    encoder: LatentTermEncoder,
    texts: Iterable[str] | None,
    source: str,
    input_scale: float | None,
    show_progress: bool,
) -> tuple[LatentTermEncoder, dict[str, Any]]:
    """The encoder with its scale folded in, its terms measured and its latents named, and how well it fits the states."""
    sample: list[str] = []
    read = _kept(texts or (), sample)
    stream = iterate_states(encoder.backbone, read, "document", texts_per_chunk=SAMPLE_CHUNK)
    head = _head(stream, HEAD_TOKENS)
    states = torch.cat([chunk.states.float() for chunk in head]) if head else None
    scale = _scale(encoder.sae, states, input_scale)
    if scale is not None:
        encoder = encoder.replaced(sae=fold_input_scale(encoder.sae, scale))
    if texts is None:
        return encoder, {} if scale is None else {"input_scale": scale}
    fit = _fit(encoder.sae, states) if states is not None else {}
    if fit.get("fvu") is not None and fit["fvu"] >= 1:
        logger.warning(
            "On this text the autoencoder reconstructs the states worse than their mean does (FVU %.2f). Was it trained on the "
            "last hidden states of %s?",
            fit["fvu"],
            encoder.backbone.name,
        )
    if fit and not encoder.sae.limited and encoder.sae.config.k == encoder.sae.config.n_latents:  # nobody said
        encoder = encoder.replaced(sae=_with_k(encoder.sae, max(1, round(fit["l0"]))))
    chunks = chain(head, limited(stream, SAMPLE_TOKENS - sum(chunk.n_tokens for chunk in head)))
    encoder = measured(encoder, chunks, source=source, show_progress=show_progress)
    logger.info("Naming the latents on up to %s tokens of the text.", f"{SAMPLE_TOKENS:,}")
    config = LabelConfig(label_tokens=SAMPLE_TOKENS)
    named = label_vocabulary(encoder, sample, config, source=source, show_progress=show_progress)
    return encoder.replaced(vocabulary=named), {**fit, "input_scale": scale}


def _kept(texts: Iterable[str], sample: list[str]) -> Iterator[str]:
    """Texts, the first of which are kept too: they are needed again, and may come from a stream that is read once."""
    characters = 0
    for text in texts:
        if characters < SAMPLE_CHARACTERS:
            sample.append(text)
            characters += len(text)
        yield text


def _head(stream: Iterator[TokenStates], n_tokens: int) -> list[TokenStates]:
    """The first chunks of a stream, until there are so many tokens."""
    chunks: list[TokenStates] = []
    while sum(chunk.n_tokens for chunk in chunks) < n_tokens and (chunk := next(stream, None)) is not None:
        chunks.append(chunk)
    return chunks


def _scale(sae: SparseAutoencoder, states: torch.Tensor | None, given: float | None) -> float | None:
    """The factor to fold into the weights: the one given, else an estimate where the autoencoder asks for one, else None."""
    kind = sae.config.normalize_activations
    if given is not None and kind in ("constant_norm_rescale", "layer_norm"):
        raise ConfigError(
            f"The autoencoder scales states by itself ({kind}), so that a scale of the input has no place. Leave it out."
        )
    if given is not None or kind != "expected_average_only_in":
        return given
    if states is None or not len(states):
        raise ModelError(
            "The autoencoder was trained on states scaled to a mean norm of √d (normalize_activations: "
            "expected_average_only_in), and the factor is not in its files. Give text to estimate it on (sources=...), or the "
            "factor itself (input_scale=...)."
        )
    scale = average_norm_scale(float(states.norm(dim=1).mean()), states.shape[1])
    logger.info("States are scaled by %.4g, which brings their mean norm on the text to √d.", scale)
    return scale


def _fit(sae: SparseAutoencoder, states: torch.Tensor) -> dict[str, float]:
    """Mean number of active latents per token, and FVU: Σ‖x - x^‖² / Σ‖x - mean(x)‖², where there is a decoder."""
    codes = sae.encode(states[:HEAD_TOKENS])
    fit = {"l0": codes.l0}
    if sae.stored_decoder is not None:
        known = states[:HEAD_TOKENS]
        left = (known - sae.reconstruct(known).to(known.device)).double().square().sum()
        variance = (known - known.mean(0)).double().square().sum()
        fit["fvu"] = float(left / variance.clamp(min=1e-30))
    return fit


def _with_k(sae: SparseAutoencoder, k: int) -> SparseAutoencoder:
    """An autoencoder that does not choose by k, with another k in its configuration."""
    return SparseAutoencoder(
        SAEConfig(**{**to_dict(sae.config), "k": k}),
        sae.stored_encoder,
        sae.encoder_bias,
        sae.stored_decoder,
        sae.decoder_bias,
        activation=sae.activation,
        thresholds=sae.thresholds,
        precision="bf16" if sae.precision == "bf16" else "fp32",
        weight_dtype=sae.weight_dtype,
    )
