"""What a vocabulary of lexite has beyond weights: labels, the static table, its name and how it was made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lexite.config import from_dict
from lexite.errors import ModelError
from lexite.files import read_json, sha256_file, write_json
from lexite.terms.manifest import MANIFEST, ModelDetails, check_files, has_vocabulary
from lexite.terms.static import ARRAYS_NAME as STATIC_ARRAYS
from lexite.terms.static import StaticTable
from lexite.terms.vocabulary import Vocabulary

EXTRAS_FOLDER = "latent_terms"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class LatentTermsExtras:
    """Carried along by :class:`LatentTermsSparseEncoder`, so that nothing is lost on the way from lexite and back.

    Attributes:
        vocabulary: frequencies and labels of the terms; None where they were not measured.
        static: the table that encodes queries without a model; None where there is none.
        details: name, licence, data, recipe and results, for people.
        origin: how the vocabulary was saved: ``backbone`` (its configuration and fingerprint), ``sae``, ``terms``, ``weights``.
    """

    vocabulary: Vocabulary | None = None
    static: StaticTable | None = None
    details: ModelDetails = field(default_factory=ModelDetails)
    origin: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_files(self) -> bool:
        """Whether there is anything that is saved in files of its own."""
        return self.vocabulary is not None or self.static is not None

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
        """Reads what :meth:`config` and :meth:`save` made.

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
