"""The comparison itself: trains what is not trained yet, measures what is not measured yet, and gathers the records."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexite.config import differences
from lexite.corpus import ReadOptions
from lexite.errors import ConfigError, ModelError, StorageError
from lexite.evaluation.cache import StateCache
from lexite.evaluation.comparison.recipes import Recipe, read_recipes
from lexite.evaluation.comparison.records import RunRecord, load_record, new_record, run_name
from lexite.evaluation.comparison.report import Comparison
from lexite.evaluation.comparison.states import StoredStates, TextStates, choose_states, model_of
from lexite.evaluation.comparison.sweep import TRAINED, cuts_of, evaluate_cuts
from lexite.evaluation.judged import JudgedCollection, open_collections, read_collection
from lexite.evaluation.measures import import_ir_measures
from lexite.files import check_output_folder, read_json, storage_errors, write_json
from lexite.sae.config import check_k
from lexite.terms.config import completed

if TYPE_CHECKING:
    from lexite.backbone import Backbone, StateStore

logger = logging.getLogger("lexite")
PLAN_FILE = "plan.json"
RUNS, STATES, CACHE = "runs", "states", "cache"
_FORMAT = {"format": "lexite-comparison-plan", "format_version": 1}


def compare_recipes(
    recipes: Sequence[str | Path],
    collections: Sequence[str | Path],
    output: str | Path,
    *,
    states: str | Path | None = None,
    sources: Sequence[str] = (),
    cache: str | Path | None = None,
    k: Sequence[int] = (),
    seeds: Sequence[int] = (),
    split: str = "test",
    overwrite: bool = False,
    show_progress: bool = False,
) -> Comparison:
    """Trains several recipes on the same token states and measures each vocabulary on the same collections.

    Everything is kept under ``output``: each run with its vocabulary and ``record.json`` under ``runs/NAME-seedS``, token
    states of text under ``states``, token states of collections under ``cache``. Finished work is not done again. After an
    interruption the same call goes on where it stopped, a half-trained run from its last checkpoint. A later call with more
    recipes, seeds, collections or numbers of latents does only what is new.

    Args:
        recipes: YAML files with the keys of ``lexite train``; a recipe has the name of its file.
        collections: BEIR folders; a collection has the name of its folder.
        output: folder of the comparison.
        states: a folder of token states to train on; None makes them of text.
        sources: texts; none takes those of the recipes, which must then agree.
        cache: folder for the token states of collections; None is ``output/cache``.
        k: numbers of latents kept per token, of documents and queries alike; none: as each recipe says.
        seeds: of the trainings; none: as each recipe says.
        split: name of the file of judgements, ``qrels/SPLIT.tsv``.
        overwrite: train a run again when its recipe has changed.
        show_progress: whether progress is shown on stderr.

    Raises:
        ConfigError: a recipe or an option is not valid, or a recipe changed since its run.
        CorpusError: a text or a collection is missing or bad.
        BackboneError: token states or the model that makes them are missing or damaged.
        TrainingError: a training fails.
        StorageError: a folder holds something else, or cannot be written.
        MissingExtraError: ir-measures is not installed.
        KeyboardInterrupt: what was done is kept.
    """
    import_ir_measures()
    read = read_recipes(recipes)
    for recipe in read:
        for number in k:
            _check_cut(recipe, number)
    folder = check_output_folder(output, PLAN_FILE, overwrite=True)
    chosen = choose_states(read, states, sources, folder / STATES, show_progress)
    opened = open_collections(collections, split)
    judged = [read_collection(collection, ReadOptions()) for collection in opened]  # all are checked before the first run
    runs = [
        _Run(recipe, seed, folder / RUNS / run_name(recipe.name, seed)) for recipe in read for seed in _seeds(recipe, seeds)
    ]
    _claim(folder, chosen, runs, overwrite)
    worker = _Worker(chosen, judged, list(dict.fromkeys(k)), Path(cache or folder / CACHE), show_progress)
    records = []
    for number, run in enumerate(runs, start=1):
        records.append(worker.finish(run, f"{number}/{len(runs)} {run.folder.name}"))
    return Comparison(records, [collection.name for collection in judged], worker.cuts)


@dataclass(frozen=True)
class _Run:
    """One training of a comparison."""

    recipe: Recipe
    seed: int
    folder: Path

    @property
    def settings(self) -> dict[str, Any]:
        return self.recipe.settings(self.seed)

    def is_trained(self) -> bool:
        """Whether the vocabulary is there and no other training has begun in its folder."""
        from lexite.recipes.from_text import SUMMARY_FILE, WORK_FOLDER
        from lexite.training.checkpoint import latest_checkpoint

        return (self.folder / SUMMARY_FILE).is_file() and not latest_checkpoint(self.folder / WORK_FOLDER)

    def changes(self) -> list[str]:
        """What differs between the recipe and what is in the folder, finished or not."""
        from lexite.recipes.from_text import SUMMARY_FILE, WORK_FOLDER, WORK_MARKER

        for name in (f"{WORK_FOLDER}/{WORK_MARKER}", SUMMARY_FILE):
            if (self.folder / name).is_file():
                found = completed(read_json(self.folder / name)["settings"])
                return differences({key: found.get(key) for key in self.settings}, self.settings)
        return []


class _Worker:
    """Finishes one run after the other; the model is loaded when the first needs it."""

    def __init__(
        self,
        states: TextStates | StoredStates,
        collections: Sequence[JudgedCollection],
        ks: Sequence[int],
        cache: Path,
        show_progress: bool,
    ) -> None:
        self.states, self.collections, self.ks, self.cache, self.show_progress = states, collections, ks, cache, show_progress
        self.cuts = [str(number) for number in ks] or [TRAINED]
        self._store: StateStore | None = None
        self._model: Backbone | None = None

    def store(self) -> StateStore:
        """The token states, made when they are missing."""
        if self._store is None:
            self._store = self.states.open()
        return self._store

    def model(self) -> Backbone:
        """The model that encodes collections."""
        if self._model is None:
            self._model = model_of(self.store())
        return self._model

    def finish(self, run: _Run, title: str) -> RunRecord:
        """Trains and measures what is missing of a run; its record is written after every collection."""
        record = load_record(run.folder) if run.is_trained() else None
        if record is None:
            if not run.is_trained():
                self.model()  # an error of loading should come before a long training
                logger.info("%s: training", title)
                self._train(run)
            record = new_record(run.recipe.name, run.seed, run.settings, run.folder)
        missing = [(collection, record.missing(collection, self.cuts)) for collection in self.collections]
        if any(cuts for _, cuts in missing):
            logger.info("%s: measuring", title)
            self._measure(run, record, [(collection, cuts) for collection, cuts in missing if cuts])
        else:
            logger.info("%s: done before", title)
        return record

    def _train(self, run: _Run) -> None:
        from lexite.recipes.from_text import train

        configs = run.recipe.with_seed(run.seed)
        train([self.store().path], run.folder, **configs, resume=True, show_progress=self.show_progress)

    def _measure(self, run: _Run, record: RunRecord, missing: Sequence[tuple[JudgedCollection, list[str]]]) -> None:
        from lexite.terms import LatentTermEncoder

        encoder = LatentTermEncoder.from_pretrained(run.folder, backbone=self.model())
        if encoder.fingerprint != record.fingerprint:
            raise ModelError(f"{run.folder} holds another vocabulary than its record says. Delete the folder to train it anew.")
        cache = StateCache(self.cache, encoder, self.show_progress)
        for collection, names in missing:
            cuts = [cut for cut in cuts_of(encoder, self.ks) if cut.name in names]
            record.add(collection, evaluate_cuts(encoder, collection, cuts, cache, show_progress=self.show_progress))
            record.save(run.folder)


def _check_cut(recipe: Recipe, number: int) -> None:
    try:
        check_k(number, recipe.n_latents)
    except ConfigError as error:
        raise ConfigError(f"{recipe.path}: {error}") from None


def _seeds(recipe: Recipe, seeds: Sequence[int]) -> list[int]:
    return list(dict.fromkeys(seeds)) if seeds else [recipe.seed]


def _claim(folder: Path, states: TextStates | StoredStates, runs: Sequence[_Run], overwrite: bool) -> None:
    """Claims the folder for this comparison. Runs that are out of date are refused, or removed with ``overwrite``.

    Raises:
        ConfigError: the token states or a recipe changed, and ``overwrite`` is off.
    """
    identity = states.identity()
    plan = read_json(folder / PLAN_FILE, StorageError) if (folder / PLAN_FILE).is_file() else {"states": identity}
    changed = differences(plan["states"], identity)
    if changed and not overwrite:
        raise ConfigError(
            f"{folder} holds a comparison on other token states ({changed[0]}). Choose another output folder, or train "
            "everything anew with overwrite=True."
        )
    outdated = [folder / RUNS, folder / STATES] if changed else []
    for run in runs:
        differing = run.changes()
        if differing and not overwrite:
            raise ConfigError(
                f"{run.recipe.path} has changed since its run in {run.folder} ({'; '.join(differing)}). Give the recipe "
                "another name, or train it anew with overwrite=True."
            )
        outdated += [run.folder] if differing else []
    with storage_errors(folder):
        for path in outdated:
            shutil.rmtree(path, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / PLAN_FILE, {**_FORMAT, "states": identity})
