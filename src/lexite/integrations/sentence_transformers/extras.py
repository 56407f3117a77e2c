"""What a vocabulary has beyond weights: labels, the static table, its name and how it was made."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lexite.config import from_dict
from lexite.errors import ModelError
from lexite.files import read_json, sha256_file, write_json
from lexite.terms.manifest import MANIFEST, ModelDetails, check_files, has_vocabulary
from lexite.terms.static import ARRAYS_NAME as STATIC_ARRAYS
from lexite.terms.static import StaticTable
from lexite.terms.vocabulary import Vocabulary

EXTRAS_FOLDER = "latent_terms"
FORMAT_VERSION = 1
Part = Literal["vocabulary", "static", "details"]


@dataclass(frozen=True)
class LatentTermsExtras:
    """Carried along by :class:`LatentTermsSparseEncoder`, so that nothing is lost on the way from lexite and back.

    Attributes:
        vocabulary: frequencies and labels of the terms; None where they were not measured.
        static: the table that encodes queries without a model; None where there is none.
        details: name, licence, data, recipe and results, for people.
        origin: how the vocabulary was saved: ``backbone`` (its configuration and fingerprint), ``sae``, ``terms``, ``scoring``,
            ``weights``; and ``state``, digests of the weights and of the attributes above, by which changes are seen.
    """

    vocabulary: Vocabulary | None = None
    static: StaticTable | None = None
    details: ModelDetails = field(default_factory=ModelDetails)
    origin: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_files(self) -> bool:
        """Whether there is anything that is saved in files of its own."""
        return self.vocabulary is not None or self.static is not None

    def digests(self) -> dict[str, str]:
        """A digest of the vocabulary, the static table and the details, for ``origin``."""
        return {"vocabulary": _digest(self.vocabulary), "static": _digest(self.static), "details": _digest(self.details)}

    def came_along(self, part: Part) -> bool:
        """Whether a part came with the vocabulary and has not been replaced since."""
        recorded = self.origin.get("state", {}).get(part)
        return recorded is None or recorded == _digest(getattr(self, part))

    def of_other_weights(self, n_latents: int, licence: str | None = None) -> LatentTermsExtras:
        """The extras of a model whose weights have changed: the labels stay, and a note of where the model came from.

        Frequencies, static table and results belong to the earlier weights, and are dropped. A part that was replaced since
        then stays.

        Args:
            n_latents: number of latents now; labels of another number are of no use.
            licence: licence of the model, where somebody named one.
        """
        vocabulary, static, details = self.vocabulary, self.static, self.details
        if vocabulary is not None and self.came_along("vocabulary"):
            vocabulary = _labels_alone(vocabulary, details.name) if vocabulary.n_latents == n_latents else None
        if self.came_along("static"):
            static = None
        if self.came_along("details"):
            details = _successor(details, licence)
        return replace(self, vocabulary=vocabulary, static=static, details=details)

    def of_other_settings(self, *, keep_static: bool) -> LatentTermsExtras:
        """The extras of a model with other settings (k, floors, pooling, scoring): all but the results.

        Args:
            keep_static: whether documents still get the codes that the static table was counted from.
        """
        static = self.static if keep_static or not self.came_along("static") else None
        details = replace(self.details, results=None) if self.came_along("details") else self.details
        return replace(self, static=static, details=details)

    def config(self) -> dict[str, Any]:
        """JSON values for the model's configuration."""
        return {
            "format_version": FORMAT_VERSION,
            "details": dataclasses.asdict(self.details),
            "origin": dict(self.origin),
            "has_files": self.has_files,
        }

    def save(self, path: str | Path) -> None:
        """Writes labels and table, with their checksums, into a folder beside the model's modules, where there are any."""
        if not self.has_files:
            return
        folder = Path(path) / EXTRAS_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        names = [name for part in (self.vocabulary, self.static) if part is not None for name in part.save(folder)]
        facts = {name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_file(folder / name)} for name in names}
        write_json(folder / MANIFEST, {"format_version": FORMAT_VERSION, "files": facts})

    @classmethod
    def load(cls, config: Mapping[str, Any], folder: str | Path | None) -> LatentTermsExtras:
        """Reads what :meth:`config` and :meth:`save` wrote.

        Args:
            config: values of :meth:`config`; empty for a model without extras.
            folder: the folder of the files; None where there is none.

        Raises:
            ModelError: a file is missing or damaged, or of a newer format.
        """
        if not config:
            return cls()
        if config.get("format_version") != FORMAT_VERSION:
            version = config.get("format_version")
            raise ModelError(f"The model's latent terms have format version {version}; this lexite reads {FORMAT_VERSION}.")
        details = from_dict(ModelDetails, config.get("details", {}), "config_sentence_transformers.json: lexite.details")
        origin = dict(config.get("origin", {}))
        if not config.get("has_files"):
            return cls(details=details, origin=origin)
        if folder is None:
            raise ModelError(f"The model's folder lacks the folder '{EXTRAS_FOLDER}'. Copy the whole folder again.")
        folder = Path(folder)
        manifest = read_json(folder / MANIFEST)
        files = manifest.get("files", {}) if isinstance(manifest, dict) else {}
        check_files(folder, files)
        vocabulary = Vocabulary.load(folder) if has_vocabulary(files) else None
        static = StaticTable.load(folder) if STATIC_ARRAYS in files else None
        return cls(vocabulary, static, details, origin)


def _successor(details: ModelDetails, licence: str | None) -> ModelDetails:
    """Details of a model that was trained on from a vocabulary; the recipe names it as ``lexite train --from`` does."""
    before = details.training_data or "What that was trained on was not recorded."
    return ModelDetails(
        name=f"{details.name}-tuned",
        licence=licence or "unknown",
        training_data=f"Trained further from `{details.name}`, on what is not recorded here. Of `{details.name}`: {before}",
        recipe={"start": details.name},
    )


def _labels_alone(vocabulary: Vocabulary, name: str) -> Vocabulary:
    """Labels without frequencies. The words still hint at what a latent stands for; the numbers would be wrong."""
    nothing = np.zeros(vocabulary.n_latents, dtype=np.int64)
    return replace(
        vocabulary,
        document_counts=nothing,
        token_counts=nothing,
        n_documents=0,
        n_tokens=0,
        source=f"{name} before it was trained further (labels; frequencies were not counted since)",
    )


def _digest(part: Vocabulary | StaticTable | ModelDetails | None) -> str:
    """SHA-256 over a part, the same before it is saved and after; empty where there is none."""
    if part is None:
        return ""
    described: Any
    arrays: tuple[Any, ...] = ()
    if isinstance(part, ModelDetails):
        described = dataclasses.asdict(part)
    elif isinstance(part, Vocabulary):
        described, arrays = [part.summary(), list(part.labels)], (part.document_counts, part.token_counts)
    else:  # saving rounds the values, so tables are told apart by the terms of their word pieces
        described, arrays = part.pooling, (part.counts, part.weights.indptr, part.weights.indices)
    digest = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode())
    for values in arrays:
        digest.update(np.ascontiguousarray(values, dtype=np.int64).tobytes())
    return digest.hexdigest()
