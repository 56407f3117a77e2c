"""The record of a run: its settings, how its training ended, and the quality of its vocabulary on each collection."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lexite.errors import ModelError
from lexite.evaluation.judged import JudgedCollection, TextDigest
from lexite.files import read_json, write_json
from lexite.sae.zipf import fit_zipf
from lexite.terms.vocabulary import Vocabulary

RECORD_FILE = "record.json"
FORMAT = "lexite-comparison-run"
FORMAT_VERSION = 1
CURVE_POINTS = 200
_TRAINING = ("tokens", "passes", "fvu", "l0", "dead_share", "seconds", "tokens_per_second", "precision")
_OF_DENSITIES = ("zipf_exponent", "zipf_r2", "zipf_r2_middle", "decoder_coherence")  # where the log has them


@dataclass
class RunRecord:
    """A run of a comparison.

    Attributes:
        recipe: name of the recipe.
        seed: of the training.
        fingerprint: of the vocabulary.
        settings: everything that decides the result but for the token states.
        training: how the training ended: ``fvu``, ``l0``, ``dead_share``, ``seconds``, ``tokens_per_second`` and more.
        log: the last record of the metrics log.
        density: how often latents fire on the sample that the vocabulary was measured on: ``ranks`` and ``values`` of a
            thinned curve, and the power law fitted to the whole: ``zipf_exponent``, ``zipf_scale``, ``zipf_r2``,
            ``zipf_r2_middle``.
        evaluation: collection -> ``{"digest": …, "k": {k: row}}``; a k is a number as text or ``"trained"``, a row what
            :func:`lexite.evaluation.comparison.sweep.evaluate_cuts` gives.
    """

    recipe: str
    seed: int
    fingerprint: str
    settings: dict[str, Any]
    training: dict[str, Any]
    log: dict[str, Any]
    density: dict[str, Any]
    evaluation: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the run, which is that of its folder."""
        return run_name(self.recipe, self.seed)

    def missing(self, collection: JudgedCollection, cuts: list[str]) -> list[str]:
        """The cuts that were not measured on the present version of this collection."""
        done = self.evaluation.get(collection.name, {})
        known = done.get("k", {}) if done.get("digest") == digest_of(collection) else {}
        return [cut for cut in cuts if cut not in known]

    def add(self, collection: JudgedCollection, rows: dict[str, dict[str, float | None]]) -> None:
        """Takes over what was measured on a collection; numbers of an earlier version of the collection are dropped."""
        digest = digest_of(collection)
        done = self.evaluation.get(collection.name)
        if done is None or done.get("digest") != digest:
            done = self.evaluation[collection.name] = {"digest": digest, "k": {}}
        done["k"].update(rows)

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values."""
        return {"format": FORMAT, "format_version": FORMAT_VERSION, **vars(self)}

    def save(self, folder: Path) -> None:
        """Writes the record beside the vocabulary, atomically."""
        write_json(folder / RECORD_FILE, self.to_json())


def run_name(recipe: str, seed: int) -> str:
    """Name of a run.

    >>> run_name("zipf", 1)
    'zipf-seed1'
    """
    return f"{recipe}-seed{seed}"


def load_record(folder: Path) -> RunRecord | None:
    """The record in the folder of a run; None when there is none.

    Raises:
        ModelError: it is damaged or of another format.
    """
    path = folder / RECORD_FILE
    if not path.is_file():
        return None
    values = read_json(path)
    if (
        not isinstance(values, dict)
        or values.pop("format", None) != FORMAT
        or values.pop("format_version", None) != FORMAT_VERSION
    ):
        raise ModelError(f"{path} is not the record of a run of this version of lexite. Delete the folder to train it again.")
    try:
        return RunRecord(**values)
    except TypeError as error:
        raise ModelError(f"{path} is damaged: {error}. Delete it to measure the run again.") from error


def new_record(recipe: str, seed: int, settings: dict[str, Any], folder: Path) -> RunRecord:
    """The record of a run whose vocabulary is finished, before anything was measured on a collection.

    Args:
        recipe: name of the recipe.
        seed: of the training.
        settings: everything that decides the result but for the token states.
        folder: of the vocabulary, with the summary and the log of its training.

    Raises:
        ModelError: a file is missing or damaged.
    """
    summary = read_json(folder / "summary.json")
    training = {key: summary[key] for key in (*_TRAINING, *_OF_DENSITIES) if key in summary}
    density = density_of(Vocabulary.load(folder))
    return RunRecord(recipe, seed, summary["fingerprint"], settings, training, _last_line(folder / "metrics.jsonl"), density)


def density_of(vocabulary: Vocabulary) -> dict[str, Any]:
    """How often latents fire, as JSON values; see :class:`RunRecord`."""
    densities = np.sort(vocabulary.token_density)[::-1]
    densities = densities[densities > 0]
    ranks = np.unique(np.geomspace(1, max(len(densities), 1), CURVE_POINTS).round().astype(int))[: len(densities)]
    fit = fit_zipf(densities)
    return {
        "ranks": ranks.tolist(),
        "values": densities[ranks - 1].tolist() if len(densities) else [],
        "zipf_exponent": fit.exponent,
        "zipf_scale": 10.0**fit.log10_scale,
        "zipf_r2": fit.r2,
        "zipf_r2_middle": fit.r2_middle,
    }


def digest_of(collection: JudgedCollection) -> str:
    """SHA-256 over all of a collection that decides a measure: documents, their ids, queries and judgements."""
    digest = TextDigest()
    digest.add(collection.digest)
    for identifier in collection.document_ids:
        digest.add(identifier)
    for query in collection.queries:
        digest.add(query.id)
        digest.add(query.text)
        for document, grade in collection.qrels[query.id].items():
            digest.add(f"{document}\t{grade}")
    return digest.hexdigest()


def _last_line(path: Path) -> dict[str, Any]:
    """The last record of a metrics log."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        values = json.loads(lines[-1]) if lines else {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}. Train the run again.") from error
    return dict(values)
