"""From text to a finished vocabulary: train, measure, save."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lexite.backbone import Backbone, BackboneConfig, StateStore, TokenStates, iterate_states, load_backbone
from lexite.backbone.precision import resolve_device
from lexite.backbone.precomputed import PrecomputedBackbone
from lexite.backbone.store import is_store
from lexite.config import differences, to_dict
from lexite.corpus import ReadOptions
from lexite.errors import BackboneError, ConfigError, StorageError, TrainingError
from lexite.files import check_output_folder, check_replaceable, read_json, replace_folder, storage_errors, write_json
from lexite.kernels.ranks import ALONE, Ranks
from lexite.labelling import LabelConfig, label_vocabulary
from lexite.recipes.sample import SAMPLE_CHUNK, SAMPLE_TOKENS, limited
from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.sae.config import check_k
from lexite.sae.objective import ObjectiveConfig
from lexite.sae.rules import rule_class
from lexite.scoring.config import BM25Config
from lexite.terms.config import SavingConfig, TermsConfig, completed
from lexite.terms.encoder import LatentTermEncoder
from lexite.terms.manifest import CARD, MANIFEST, ModelDetails, read_manifest
from lexite.terms.measure import measured
from lexite.terms.saving import save_components
from lexite.training.apart import check_encoding_ranks, train_apart
from lexite.training.checkpoint import latest_checkpoint
from lexite.training.config import TrainingConfig
from lexite.training.run import METRICS_FILE, Probe, TrainingResult, train_autoencoder
from lexite.training.sources import StateSource, StoreSource, TextSource
from lexite.training.together import check_ranks

logger = logging.getLogger("lexite")
WORK_FOLDER = "training"
WORK_MARKER = "run.json"
RECIPE_FILE = "recipe.yaml"
SUMMARY_FILE = "summary.json"


@dataclass(frozen=True, slots=True)
class _Input:
    """The backbone of a run and the stream that it trains on."""

    backbone: Backbone
    stream: TextSource | StoreSource

    @property
    def reading(self) -> dict[str, Any]:
        """How texts are read, as JSON values."""
        return (self.stream.options if isinstance(self.stream, TextSource) else ReadOptions()).what_is_read()

    def sample(self) -> Iterator[TokenStates]:
        """Token states from the beginning of the stream, until there are enough."""
        if isinstance(self.stream, StoreSource):
            return limited(self.stream.store.iterate())
        return limited(iterate_states(self.backbone, self.stream.sample(), "document", texts_per_chunk=SAMPLE_CHUNK))


def train(
    sources: Sequence[str | Path],
    output: str | Path,
    *,
    backbone: BackboneConfig | None = None,
    sae: SAEConfig | None = None,
    training: TrainingConfig | None = None,
    objective: ObjectiveConfig | None = None,
    terms: TermsConfig | None = None,
    scoring: BM25Config | None = None,
    read: ReadOptions | None = None,
    saving: SavingConfig | None = None,
    probe: Probe | None = None,
    start: LatentTermEncoder | None = None,
    resume: bool = False,
    overwrite: bool = False,
    show_progress: bool = False,
    ranks: Ranks = ALONE,
    encoding_ranks: int = 0,
) -> dict[str, Any]:
    """Trains a vocabulary on texts, without labels, and saves it.

    The run keeps its checkpoints and its log under ``output/training``; when it is done, the finished vocabulary takes the
    place of the folder, with the log and the recipe beside it.

    Args:
        sources: as :func:`lexite.read_documents` takes them, or one folder of precomputed token states.
        output: folder of the vocabulary.
        backbone: the dense model; default all-MiniLM-L6-v2, or that of ``start``.
        sae: size of the dictionary; ``d_model`` is taken from the backbone. With ``start`` the default is its own.
        training: the recipe.
        objective: terms of the loss and settings of the selection rule.
        terms: pooling and k, saved with the vocabulary; by default those of ``start``, if there is one.
        scoring: saved with the vocabulary; the same default.
        read: field names of the sources, and whether bad records are skipped.
        saving: number format and card of the saved vocabulary.
        probe: measures the autoencoder while it is trained; what it returns goes into the log.
        start: a vocabulary whose autoencoder is trained further, in place of random weights. Where it was saved without its
            decoder, ridge regression fits one to the first token states.
        resume: go on from the last checkpoint in ``output``.
        overwrite: replace a vocabulary or a run in ``output``.
        show_progress: progress on stderr.
        ranks: the processes that train together, each of which calls this alike; :func:`lexite.training.ranks.joined` gives
            them. Only the first one reads and writes ``output``, and measures and names the terms at the end.
        encoding_ranks: how many of them, the last ones, send the texts through the model for the others, which train
            (:mod:`lexite.training.apart`). By default each does both.

    Returns:
        A summary of the run: ``output``, ``name``, ``fingerprint``, ``tokens``, ``passes``, ``fvu``, ``l0``, ``dead_share``,
        ``seconds``, ``tokens_per_second``, ``precision``, ``settings``.

    Raises:
        CorpusError: a source is missing or bad.
        ConfigError: options do not fit together.
        TrainingError: training cannot start, go on or be resumed.
        StorageError: ``output`` holds something else, or cannot be written.
        KeyboardInterrupt: after a checkpoint was written.
    """
    folder = Path(output)
    check_encoding_ranks(encoding_ranks, ranks)
    training, objective = training or TrainingConfig(), objective or ObjectiveConfig()
    ranks.by_first(lambda: _check_folder(folder, resume, overwrite))
    given = _open_input(sources, backbone, read, None if start is None else start.backbone)
    sae = replace(sae or (SAEConfig() if start is None else start.sae.config), d_model=given.backbone.d_model)
    terms = terms or (TermsConfig() if start is None else start.terms)
    scoring = scoring or (BM25Config() if start is None else start.scoring)
    saving = saving or SavingConfig()
    settings = _settings(given, [sae, training, objective, terms, scoring, saving])
    if start is not None:
        _check_start(start, given.backbone, sae)
        settings["start"] = start.source or start.name
    for k in (settings["k_documents"], settings["k_queries"]):
        check_k(sae.k if k is None else k, sae.n_latents)
    if ranks.by_first(lambda: resume and _is_finished(folder)):
        return ranks.by_first(lambda: _summary_of_finished(folder, settings))
    ranks.by_first(lambda: _claim(folder, settings, keep=resume))
    fixed = [to_dict(config) for config in (given.backbone.config, terms, scoring)]
    described = {key: settings[key] for part in (given.reading, *fixed) for key in part}
    if start is not None:
        described["start"] = start.fingerprint
    device = _device(given.backbone, backbone)

    def fit(stream: StateSource, training_ranks: Ranks) -> TrainingResult:
        return train_autoencoder(
            stream,
            folder / WORK_FOLDER,
            sae,
            training,
            objective=objective,
            probe=probe,
            description=described,
            precision=given.backbone.config.product_precision,
            device=device,
            start=None if start is None else start.sae,
            resume=resume,
            show_progress=show_progress,
            ranks=training_ranks,
        )

    with _nothing_left_behind(folder, ranks):
        if encoding_ranks:
            stream = _text_stream(given)
            asked = {**settings, "sources": stream.identity, "resume": resume, "encoding_ranks": encoding_ranks}
            check_ranks(ranks, asked, repeatable=stream.repeatable, buffer="memory")
            result = train_apart(stream, fit, ranks, encoding_ranks, device)
        else:
            result = fit(given.stream, ranks)

    def finish() -> dict[str, Any]:
        assert result is not None  # the first rank trains
        details = _details(start, folder, saving, settings)
        encoder = _measured(given, result.autoencoder, terms, scoring, details, show_progress)
        encoder = _labelled(encoder, given, training.seed, show_progress)
        logger.info("Saving the vocabulary to %s.", folder)
        return _publish(encoder, folder, result, saving, settings)

    return ranks.by_first(finish)


def _details(start: LatentTermEncoder | None, folder: Path, saving: SavingConfig, settings: dict[str, Any]) -> ModelDetails:
    """What the card of the vocabulary says."""
    trained_on = saving.training_data if start is None else _trained_further_on(start, saving.training_data)
    return ModelDetails(saving.name or folder.absolute().name, saving.licence, trained_on, settings)


def _measured(
    given: _Input, sae: SparseAutoencoder, terms: TermsConfig, scoring: BM25Config, details: ModelDetails, show_progress: bool
) -> LatentTermEncoder:
    """The encoder with frequencies of its terms."""
    encoder = LatentTermEncoder(given.backbone, sae, terms, scoring, details=details)
    logger.info("Measuring frequencies and labels of the terms on up to %s tokens of the training text.", f"{SAMPLE_TOKENS:,}")
    return measured(encoder, given.sample(), source="the training text", show_progress=show_progress)


def _labelled(encoder: LatentTermEncoder, given: _Input, seed: int, show_progress: bool) -> LatentTermEncoder:
    """The encoder with names of its latents, where there are texts: token states alone have no words around them."""
    if not isinstance(given.stream, TextSource):
        return encoder
    logger.info("Naming the latents on up to %s tokens of the training text.", f"{SAMPLE_TOKENS:,}")
    config = LabelConfig(label_tokens=SAMPLE_TOKENS, seed=seed)
    texts, source = given.stream.sample(), "the training text"
    return encoder.replaced(vocabulary=label_vocabulary(encoder, texts, config, source=source, show_progress=show_progress))


def _trained_further_on(start: LatentTermEncoder, training_data: str) -> str:
    """The training data of a vocabulary that began from another, which was trained on data of its own."""
    before = start.details.training_data or "What that was trained on was not recorded."
    lately = (training_data or "the sources that the recipe names").rstrip().removesuffix(".")
    return f"Trained further from `{start.name}`, on {lately}. Of `{start.name}`: {before}"


def _check_start(start: LatentTermEncoder, backbone: Backbone, sae: SAEConfig) -> None:
    """Refuses a vocabulary that cannot be trained further in the way that was asked for.

    Raises:
        TrainingError: it reads the states of another model.
        ConfigError: it has another size, or the rule asked for cannot begin with its weights.
    """
    if start.backbone.fingerprint != backbone.fingerprint:
        raise TrainingError(
            f"'{start.name}' was trained on token states of {start.backbone.name}, but the states here are of {backbone.name} "
            "or were made in another way. Leave start=... out to train a new vocabulary on them."
        )
    accepted = rule_class(sae.rule).starts_from
    if start.sae.activation not in accepted:
        weights = f"weights of the activation {', '.join(accepted)}" if accepted else "random weights"
        raise ConfigError(
            f"'{start.name}' has the activation {start.sae.activation}, and the rule asked for is {sae.rule}, which begins "
            f"with {weights} only. A vocabulary of the rule topk can be trained further, with the same rule."
        )
    kept = start.sae.config
    for key in ("n_latents", "apply_b_dec_to_input", "normalize_activations"):
        if getattr(sae, key) != getattr(kept, key):
            raise ConfigError(f"{key} is {getattr(sae, key)}, but '{start.name}' has {getattr(kept, key)}. Leave it out.")


def _open_input(
    sources: Sequence[str | Path], config: BackboneConfig | None, read: ReadOptions | None, loaded: Backbone | None
) -> _Input:
    """Opens the stream and its backbone: the maker of a folder's states, ``loaded`` where it fits, or a newly loaded one."""
    stores = [source for source in sources if is_store(str(source))]
    if stores and len(sources) > 1:
        raise TrainingError("A folder of token states is trained on alone. Name it as the only source.")
    if not stores:
        kept = loaded is not None and config in (None, loaded.config)
        model = loaded if loaded is not None and kept else _loaded(config or BackboneConfig())
        if isinstance(model, PrecomputedBackbone):
            raise TrainingError(f"{model.config.model} holds token states, not a model. Name it as the source of the training.")
        return _Input(model, TextSource(sources, model, read))
    store = StateStore.open(stores[0])
    return _Input(_model_of(store, "auto" if config is None else config.device), StoreSource(store))


def _text_stream(given: _Input) -> TextSource:
    """The texts that encoding ranks read.

    Raises:
        ConfigError: there are only states.
    """
    if not isinstance(given.stream, TextSource):
        raise ConfigError(
            "encoding_ranks sends texts through the model, but the source is a folder of token states. Leave it out."
        )
    return given.stream


def _device(backbone: Backbone, asked: BackboneConfig | None) -> str:
    """Where to train: where the model is; for states whose model is not there, the device asked for, or the best there is."""
    own = getattr(backbone, "device", None)
    return str(own) if own is not None else resolve_device("auto" if asked is None else asked.device)


def _loaded(config: BackboneConfig) -> Backbone:
    logger.info("Loading the model %s.", config.model)
    return load_backbone(config)


def _model_of(store: StateStore, device: str) -> Backbone:
    """The model that made the states, which gives labels to terms; the folder's record of it where it cannot be loaded."""
    recorded = PrecomputedBackbone(store)
    if isinstance(store.backbone.get("config"), dict):
        try:
            model = _loaded(replace(recorded.config, device=device))
            if model.fingerprint == recorded.fingerprint:
                return model
        except BackboneError as error:
            logger.info("The model that made the states cannot be loaded, so the terms get no labels (%s)", error)
    return recorded


def _settings(given: _Input, configs: Sequence[Any]) -> dict[str, Any]:
    """All options of a run under the keys of a recipe, with the sources."""
    sources = given.stream.sources if isinstance(given.stream, TextSource) else [str(given.stream.store.path)]
    values: dict[str, Any] = {"sources": sources}
    values.update(given.reading)
    for config in (given.backbone.config, *configs):
        values.update(to_dict(config))
    values.pop("d_model")
    return values


def _check_folder(folder: Path, resume: bool, overwrite: bool) -> None:
    """Refuses a folder of something else, and a run or vocabulary that the caller wants neither to resume nor to replace."""
    check_replaceable(folder)
    work = folder / WORK_FOLDER
    if resume and _is_finished(folder):
        return
    if latest_checkpoint(work):
        if not (resume or overwrite):
            raise StorageError(
                f"{folder} holds an unfinished training run. Go on with resume=True, or start anew with overwrite=True."
            )
    elif not (work / WORK_MARKER).is_file() or (folder / MANIFEST).exists():  # a run without a checkpoint is no loss
        check_output_folder(folder, MANIFEST, overwrite=overwrite)


def _is_finished(folder: Path) -> bool:
    """Whether a run ended here and no other has begun since."""
    return (folder / SUMMARY_FILE).is_file() and not latest_checkpoint(folder / WORK_FOLDER)


def _summary_of_finished(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The summary of a finished run, for a resume that finds nothing left to do.

    Raises:
        TrainingError: it was another run; the message names the keys.
    """
    summary: dict[str, Any] = read_json(folder / SUMMARY_FILE, TrainingError)
    before, now = ({**given, "device": ""} for given in (completed(summary["settings"]), settings))  # it may differ
    changed = differences(before, now)
    if changed:
        raise TrainingError(
            f"{folder} holds a finished vocabulary of another configuration ({'; '.join(changed)}). "
            "Choose another output folder, or replace it with overwrite=True."
        )
    logger.info("The run in %s is finished already.", folder)
    return {**summary, "output": str(folder)}


def _claim(folder: Path, settings: dict[str, Any], *, keep: bool) -> None:
    """Makes the work folder. What an earlier run left in it is removed, unless ``keep``."""
    work = folder / WORK_FOLDER
    with storage_errors(work):
        if not keep:
            shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True, exist_ok=True)
    if not (work / WORK_MARKER).exists():
        write_json(work / WORK_MARKER, {"format": "lexite-training-run", "format_version": 1, "settings": settings})


@contextlib.contextmanager
def _nothing_left_behind(folder: Path, ranks: Ranks) -> Iterator[None]:
    """Removes the work folder of a run that ended with an error before it had a checkpoint."""
    try:
        yield
    except BaseException:
        if ranks.leads and not latest_checkpoint(folder / WORK_FOLDER):
            shutil.rmtree(folder / WORK_FOLDER, ignore_errors=True)
            with contextlib.suppress(OSError):  # other files are in it
                folder.rmdir()
        raise


def _publish(
    encoder: LatentTermEncoder, folder: Path, result: TrainingResult, saving: SavingConfig, settings: dict[str, Any]
) -> dict[str, Any]:
    """Replaces the folder of the run by the finished vocabulary, in one step."""
    import yaml

    with replace_folder(folder) as fresh:
        shutil.copy2(folder / WORK_FOLDER / METRICS_FILE, fresh / METRICS_FILE)
        (fresh / RECIPE_FILE).write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), encoding="utf-8")
        saved = fresh / "vocabulary"
        name = folder.absolute().name
        save_components(encoder.components, saved, encoder_only=saving.encoder_only, dtype=saving.weights, load_name=name)
        fingerprint = read_manifest(saved)["fingerprint"]
        for path in saved.iterdir():
            path.rename(fresh / path.name)
        saved.rmdir()
        facts = {"output": str(folder), "name": encoder.name, "fingerprint": fingerprint}
        summary = {**facts, **result.summary, "settings": settings}
        write_json(fresh / SUMMARY_FILE, summary)
        _keep_foreign(folder, fresh)
    return summary


def _keep_foreign(folder: Path, fresh: Path) -> None:
    """Copies files that are not ours, such as notes, from the folder of the run into the folder that replaces it."""
    ours = {WORK_FOLDER, WORK_MARKER, METRICS_FILE, RECIPE_FILE, SUMMARY_FILE, MANIFEST, CARD}
    if (folder / MANIFEST).is_file():
        ours |= set(read_manifest(folder, verify=False)["files"])
    for path in folder.iterdir():
        if path.name not in ours and not (fresh / path.name).exists():
            (shutil.copytree if path.is_dir() else shutil.copy2)(path, fresh / path.name)
