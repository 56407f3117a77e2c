"""Loading the backbone that a configuration names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexite.backbone.config import BackboneConfig, Kind
from lexite.backbone.locate import find_model, weight_files
from lexite.config import from_dict, to_dict
from lexite.errors import BackboneError
from lexite.files import read_json

if TYPE_CHECKING:
    from lexite.backbone.bare_model import BareModel, BareSettings
    from lexite.backbone.base import Backbone
    from lexite.backbone.precision import Precision
    from lexite.backbone.transformer import TransformerBackbone

SAVED_CONFIG = "config_sentence_transformers.json"
LATE_INTERACTION_TYPES = ("MultiVectorEncoder", "ColBERT")
DEFAULT_WINDOW = 512
SHORT_WINDOW = 512
MODEL_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_PROMPT_NAMES: dict[Kind, tuple[str, ...]] = {"query": ("query",), "document": ("document", "passage", "corpus")}


def load_backbone(config: BackboneConfig | None = None) -> Backbone:
    """Loads the model that ``config`` names: a model folder, a hub name, or a folder of precomputed states.

    Args:
        config: the configuration; None takes all defaults (all-MiniLM-L6-v2 from the installed model package).

    Example:
        >>> backbone = load_backbone()
        >>> backbone.d_model, backbone.encode(["seven seas"], "document").n_tokens
        (384, 2)

    Raises:
        BackboneError: the model is unknown, cannot be downloaded, is damaged, or is of a kind that has no token states.
    """
    config = config or BackboneConfig()
    from lexite.backbone.store import StateStore, is_store

    if is_store(config.model):
        from lexite.backbone.precomputed import PrecomputedBackbone

        return PrecomputedBackbone(StateStore.open(config.model))
    folder = find_model(config)
    return load_folder(folder, config)


def load_folder(folder: Path, config: BackboneConfig) -> TransformerBackbone:
    """Loads the model in ``folder``, as ``config`` asks for."""
    from lexite.backbone.bare_model import bare_settings
    from lexite.backbone.precision import resolve_device, resolve_precision
    from lexite.backbone.scoring import MaxSimScorer, SingleVectorScorer
    from lexite.backbone.transformer import TransformerBackbone
    from lexite.kernels.threads import use_torch

    use_torch()
    late = is_late_interaction(folder)
    check_weights(folder)
    device = resolve_device("cpu" if (config.device, config.precision) == ("auto", "int8") else config.device)
    precision = resolve_precision(config, device)
    settings = None if late or config.trust_remote_code else bare_settings(folder)
    if settings is not None:
        model, state_modules = load_bare_model(folder, settings, device, precision), 1
    else:
        model = load_dense_model(folder, config, device, precision, late)
        state_modules = state_module_count(model, config.model)
    transformer = model[0]
    windows = _windows(transformer, config)
    if precision == "int8":
        from lexite.backbone.int8 import Int8Model

        names = [name for name in MODEL_INPUTS if name in model.tokenizer.model_input_names]
        transformer.model = Int8Model(
            transformer.model,
            names,
            _positions(transformer.model),
            lambda: load_dense_model(folder, config, device, precision, late)[0].model,
        )
    if device == "cpu" and precision == "bf16" and max(windows.values()) <= SHORT_WINDOW:
        from lexite.backbone.attention import use_short_attention

        use_short_attention(transformer.model)
    scorer = (MaxSimScorer if late else SingleVectorScorer)(model.similarity_fn_name)
    return TransformerBackbone(
        model,
        state_modules=state_modules,
        folder=folder,
        config=config,
        precision=precision,
        windows=windows,
        prompts=_prompts(model, folder, config),
        skipped={"document": _skipped(model, "document"), "query": _skipped(model, "query")},
        scorer=scorer,
    )


def read_otherwise(backbone: Backbone, changes: Mapping[str, str]) -> Backbone:
    """The same model, reading texts in another way. Its ``fingerprint`` stays, since it tells models apart.

    Terms from such states keep their meaning. Documents and queries fit best when both are read in the same way.

    Args:
        backbone: the model; it is shared and left as it is. One that reads no texts is given back.
        changes: ``long`` (``"window"`` or ``"truncate"``), ``query_prompt``, ``document_prompt`` (``""`` for none), each in
            place of what the model was loaded with. Earlier changes do not count.

    Raises:
        ConfigError: ``long`` is neither.
    """
    from lexite.backbone.transformer import TransformerBackbone

    if not isinstance(backbone, TransformerBackbone):
        return backbone
    backbone = backbone.as_loaded
    if not changes:
        return backbone
    config = from_dict(BackboneConfig, {**to_dict(backbone.config), **changes}, "option")
    return backbone.reading_with(config, _windows(backbone.model[0], config), changes)


def is_late_interaction(folder: Path) -> bool:
    """Whether a model folder holds a late-interaction model.

    Raises:
        BackboneError: the folder holds no model, or one of another kind (a reranker, a sparse encoder).
    """
    if not (folder / "config.json").is_file() and not (folder / "modules.json").is_file():
        raise BackboneError(f"{folder} is not the folder of a model: it holds neither config.json nor modules.json.")
    kind = _mapping(folder / SAVED_CONFIG).get("model_type", "SentenceTransformer")
    if kind in ("CrossEncoder", "SparseEncoder"):
        raise BackboneError(f"{folder} holds a {kind}, not a dense retriever. Name a bi-encoder or a late-interaction model.")
    return kind in LATE_INTERACTION_TYPES or "HF_ColBERT" in (_mapping(folder / "config.json").get("architectures") or [])


def _mapping(path: Path) -> dict[str, Any]:
    """A JSON file of a model folder; empty when there is no such file."""
    values = read_json(path, BackboneError) if path.is_file() else {}
    if not isinstance(values, dict):
        raise BackboneError(f"{path} does not hold a mapping. The file is damaged.")
    return values


def check_weights(folder: Path) -> None:
    """Opens every safetensors file of a model, which compares its header with its length.

    Raises:
        BackboneError: a file is damaged; the message names it.
    """
    from safetensors import SafetensorError, safe_open

    for path in weight_files(folder):
        if path.suffix == ".safetensors":
            try:
                with safe_open(path, framework="np") as tensors:
                    tensors.keys()
            except (SafetensorError, OSError) as error:
                raise BackboneError(f"The weight file {path} is damaged ({error}). Get the model again.") from error


def load_dense_model(folder: Path, config: BackboneConfig, device: str, precision: Any, late: bool) -> Any:
    """The model of sentence-transformers in a folder, in evaluation mode.

    Raises:
        BackboneError: it cannot be loaded.
    """
    from sentence_transformers import SentenceTransformer

    from lexite.backbone.precision import torch_dtype

    loader: Any = SentenceTransformer
    if late:
        try:
            from sentence_transformers import MultiVectorEncoder
        except ImportError as error:
            raise BackboneError(
                "Late-interaction models need sentence-transformers 6.2 or newer. Run: pip install -U sentence-transformers"
            ) from error
        loader = MultiVectorEncoder
    try:
        with _quiet_loading():
            model = loader(
                str(folder),
                device=device,
                trust_remote_code=config.trust_remote_code,
                local_files_only=not config.trust_remote_code,
                model_kwargs={"dtype": torch_dtype(precision)},
            )
    except Exception as error:  # whatever the model's own code raises
        raise BackboneError(f"The model in {folder} cannot be loaded: {_one_line(error)}") from error
    model.eval()
    return model


def load_bare_model(folder: Path, settings: BareSettings, device: str, precision: Precision) -> BareModel:
    """The transformer of a folder alone, in evaluation mode.

    Raises:
        BackboneError: it cannot be loaded.
    """
    from lexite.backbone.bare_model import BareModel
    from lexite.backbone.precision import torch_dtype

    try:
        with _quiet_loading():
            return BareModel(folder, settings, device, torch_dtype(precision))
    except Exception as error:  # whatever the model's files make the libraries raise
        raise BackboneError(f"The model in {folder} cannot be loaded: {_one_line(error)}") from error


@contextlib.contextmanager
def _quiet_loading() -> Iterator[None]:
    """Keeps the progress bar of transformers off the terminal, where it would stand between lexite's own lines."""
    from transformers.utils import logging

    bar: Any = logging  # untyped in transformers
    shown = bar.is_progress_bar_enabled()
    bar.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bar.enable_progress_bar()


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:400]


def state_module_count(model: Any, name: str) -> int:
    """How many modules lie before the first that pools, masks or normalises. Their output is the token states."""
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    ends: tuple[type, ...] = (Normalize, Pooling)
    with contextlib.suppress(ImportError):
        from sentence_transformers.multi_vector_encoder.modules import BaseTokenPooling, MultiVectorMask

        ends = (*ends, MultiVectorMask, BaseTokenPooling)
    modules = list(model)
    if not isinstance(modules[0], Transformer) or modules[0].module_output_name != "token_embeddings":
        raise BackboneError(f"The model '{name}' does not begin with a transformer that gives token states.")
    if "message" in modules[0].modality_config:
        raise BackboneError(f"The model '{name}' reads text through a chat template, which is not supported.")
    return next((i for i, module in enumerate(modules) if isinstance(module, ends)), len(modules))


def _windows(transformer: Any, config: BackboneConfig) -> dict[Kind, int]:
    """Tokens in one sequence, for each kind of text.

    A late-interaction model may have a short query length and a document length. Windows are of the document length for
    both, since short windows have little context; cutting follows the model.
    """
    positions = _positions(transformer.model)
    limits = [n for n in (transformer.max_seq_length, positions) if n is not None and 0 < n < 10**6]
    longest = min(limits, default=DEFAULT_WINDOW)
    if config.max_length is not None:
        if 0 < positions < config.max_length:
            raise BackboneError(f"max_length is {config.max_length}, but the model has {positions} positions. Lower it.")
        return {"document": config.max_length, "query": config.max_length}
    document = min(transformer.document_length or longest, longest)
    if config.long == "window":
        return {"document": document, "query": document}
    expansion = transformer.query_expansion or {}
    query = transformer.query_length or longest
    if expansion:
        query = expansion["length"] if expansion["strategy"] == "fixed" else max(query, expansion["length"])
    return {"document": document, "query": min(query, longest)}


def _positions(model: Any) -> int:
    """How many positions the model has for tokens; -1 when there is no limit."""
    import torch

    if hasattr(model, "positions"):  # one in int8, which has no modules to look into
        return int(model.positions)
    positions = getattr(model.config, "max_position_embeddings", None) or -1
    for module in model.modules():
        table, padding = getattr(module, "position_embeddings", None), getattr(module, "padding_idx", None)
        if isinstance(table, torch.nn.Embedding) and isinstance(padding, int):  # RoBERTa's count from padding_idx + 1
            return int(positions) - padding - 1
    return int(positions)


def _prompts(model: Any, folder: Path, config: BackboneConfig) -> dict[Kind, str]:
    """The prompt of each kind: the option, else the model's own for that kind, else its default prompt, else none."""
    asked: dict[Kind, str | None] = {"query": config.query_prompt, "document": config.document_prompt}
    saved = _mapping(folder / SAVED_CONFIG).get("prompts") or {}
    result: dict[Kind, str] = {}
    for kind, names in _PROMPT_NAMES.items():
        own = next((model.prompts[name] for name in names if model.prompts.get(name)), None)
        if own is None and not any(name in saved for name in names) and model.default_prompt_name:
            own = model.prompts.get(model.default_prompt_name)
        option = asked[kind]
        result[kind] = option if option is not None else own or ""
    return result


def _skipped(model: Any, kind: Kind) -> tuple[int, ...]:
    """Ids that a late-interaction model leaves out of its scores for this kind of text (punctuation, mostly)."""
    skipped: set[int] = set()
    for module in model:
        ids = getattr(module, "_skiplist_ids", None)
        if ids is not None and kind in module.skiplist_tasks:
            skipped.update(int(i) for i in ids)
    return tuple(sorted(skipped))
