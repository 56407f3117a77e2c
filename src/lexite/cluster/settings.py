"""How the shards of one folder were made: the file ``manifest.json``, which is the same whichever shard is the first."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lexite.cluster.place import Place, read_bytes, read_record, write_record
from lexite.config import differing, from_dict, to_dict
from lexite.corpus.passages import PassageConfig
from lexite.corpus.text_fields import FieldWeights
from lexite.errors import ConfigError, StorageError
from lexite.files import json_checksum
from lexite.index import VocabularyInfo
from lexite.scoring.config import BM25Config, saved_scoring
from lexite.scoring.words import LiteralConfig, saved_literal

if TYPE_CHECKING:
    from lexite.terms import LatentTermEncoder
    from lexite.terms.static import StaticTable

MANIFEST_NAME, STATIC_NAME, TOKENIZER_NAME = "manifest.json", "static.safetensors", "tokenizer.json"
FORMAT, FORMAT_VERSION = "lexite-terms", 1
ATTEMPTS, PAUSE = 5, 0.2


@dataclass(frozen=True)
class TermsSettings:
    """What all shards of a folder have in common.

    Attributes:
        vocabulary: what made the latent terms.
        scoring: how searches score unless told otherwise.
        precision: in which the model ran.
        literal: how words are counted; None: they are not.
        passages: how long texts are cut; None: they are not.
        field_weights: how much title, headings and body count, encoded apart; None: they are encoded together.
        store_text: whether titles and texts are kept.
        store_fields: whether further fields are kept.
        static: whether the codes of documents are counted for a static table.
        n_shards: how many shards there are.
        sources: what identifies the files that are read; empty where they are not known.
        reading: how they are read.
    """

    vocabulary: VocabularyInfo
    scoring: BM25Config
    precision: str
    literal: LiteralConfig | None
    passages: PassageConfig | None
    field_weights: FieldWeights | None
    store_text: bool
    store_fields: bool
    static: bool
    n_shards: int
    sources: str = ""
    reading: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(
        cls,
        encoder: LatentTermEncoder,
        *,
        n_shards: int = 1,
        literal: LiteralConfig | None = None,
        passages: PassageConfig | None = None,
        field_weights: FieldWeights | None = None,
        store_text: bool = True,
        store_fields: bool = True,
        static: bool = True,
        sources: str = "",
        reading: Mapping[str, Any] | None = None,
    ) -> TermsSettings:
        """Settings for an encoder.

        Args:
            encoder: the vocabulary with its model.
            n_shards: how many shards there are.
            literal: how words are counted; None for the defaults, which count them.
            passages: how long texts are cut; None leaves them whole.
            field_weights: as in the class.
            store_text: likewise.
            store_fields: likewise.
            static: likewise, where the model has a tokenizer that can be carried along.
            sources: likewise.
            reading: likewise.

        Raises:
            MissingExtraError: words are cut by a package that is not installed.
        """
        from lexite.search.indexing import recorded
        from lexite.terms.static_counts import counter_for

        words = literal or LiteralConfig()
        words.check_installed()
        return cls(
            recorded(encoder),
            encoder.scoring,
            encoder.backbone.precision,
            words if words.literal else None,
            passages,
            field_weights,
            store_text,
            store_fields,
            static and counter_for(encoder.backbone, encoder.n_latents) is not None,
            n_shards,
            sources,
            dict(reading or {}),
        )

    def to_json(self) -> dict[str, Any]:
        """The settings, as JSON values."""
        vocabulary = dataclasses.asdict(self.vocabulary)
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "vocabulary": {**vocabulary, "terms_config": dict(self.vocabulary.terms_config)},
            "scoring": to_dict(self.scoring),
            "precision": self.precision,
            "literal": to_dict(self.literal) if self.literal else None,
            "passages": to_dict(self.passages) if self.passages else None,
            "field_weights": to_dict(self.field_weights) if self.field_weights else None,
            "store_text": self.store_text,
            "store_fields": self.store_fields,
            "static": self.static,
            "n_shards": self.n_shards,
            "sources": self.sources,
            "reading": dict(self.reading),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], where: str) -> TermsSettings:
        """Settings that :meth:`to_json` gave.

        Args:
            value: the JSON values.
            where: the file that they come from, for messages.

        Raises:
            StorageError: they are of another format, or damaged.
        """
        if value.get("format") != FORMAT:
            raise StorageError(f"{where} does not describe shards of 'lexite encode'.")
        if value.get("format_version") != FORMAT_VERSION:
            raise StorageError(
                f"{where} has format version {value.get('format_version')}, but this lexite reads {FORMAT_VERSION}. "
                "Encode again, or use the lexite that made it."
            )
        try:
            weights, passages, literal = value["field_weights"], value["passages"], value["literal"]
            return cls(
                VocabularyInfo(**value["vocabulary"]),
                saved_scoring(value["scoring"], where),
                str(value["precision"]),
                None if literal is None else saved_literal(literal, where),
                None if passages is None else from_dict(PassageConfig, passages, where),
                None if weights is None else from_dict(FieldWeights, weights, where),
                bool(value["store_text"]),
                bool(value["store_fields"]),
                bool(value["static"]),
                int(value["n_shards"]),
                str(value["sources"]),
                dict(value["reading"]),
            )
        except (KeyError, TypeError, ValueError, ConfigError) as error:
            raise StorageError(f"{where} is damaged: {error}.") from error

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides what a shard holds: everything but where the vocabulary lies."""
        value = self.to_json()
        return json_checksum({**value, "vocabulary": {**value["vocabulary"], "model": ""}})


def read_settings(place: Place) -> TermsSettings:
    """The settings of a folder of shards.

    Raises:
        StorageError: there are none, or they are damaged.
    """
    if MANIFEST_NAME not in place.names():
        raise StorageError(f"{place} holds no shards: it has no {MANIFEST_NAME}. Make some with 'lexite encode --shard'.")
    return TermsSettings.from_json(read_record(place, MANIFEST_NAME), f"{place}/{MANIFEST_NAME}")


def agree_on_settings(place: Place, settings: TermsSettings, table: StaticTable | None) -> None:
    """Writes the settings of a folder, where they are not there already; refuses others.

    Several processes may do so at once: each writes the same, and each looks afterwards at what is there.

    Args:
        place: the folder.
        settings: of the shard that is to be written.
        table: the static table of the vocabulary before any document was counted; None without one.

    Raises:
        StorageError: there are others, or they cannot be written.
    """
    names = place.names()
    if MANIFEST_NAME not in names:
        if names - {STATIC_NAME, TOKENIZER_NAME}:
            raise StorageError(f"{place} is not empty and holds no shards. Choose another output.")
        if table is not None:
            for name, content in ((STATIC_NAME, table.to_bytes()), (TOKENIZER_NAME, table.tokenizer.encode("utf-8"))):
                with place.write(name) as file:
                    file.write(content)
        write_record(place, MANIFEST_NAME, settings.to_json())
    found = _settled(place)
    if found.digest != settings.digest:
        raise StorageError(
            f"{place} holds shards that were made otherwise: {_difference(found, settings)}. "
            "Encode with the same settings, or choose another output."
        )


def _settled(place: Place) -> TermsSettings:
    """The settings that are there; where another process is about to write them, a moment later."""
    for attempt in range(ATTEMPTS):
        try:
            return read_settings(place)
        except StorageError:
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(PAUSE)
    raise AssertionError("the last attempt returns or raises")


def _difference(found: TermsSettings, wanted: TermsSettings) -> str:
    """The settings that differ, in words."""
    if found.vocabulary.fingerprint != wanted.vocabulary.fingerprint:
        return (
            f"vocabulary '{found.vocabulary.name}' ({found.vocabulary.fingerprint[:12]}), not "
            f"'{wanted.vocabulary.name}' ({wanted.vocabulary.fingerprint[:12]})"
        )
    there, here = ({**each.to_json(), "sources": "", "vocabulary": _encoding(each)} for each in (found, wanted))
    return differing(there, here, ", not ") or "from other files, or files of other sizes"


def _encoding(settings: TermsSettings) -> dict[str, Any]:
    """All of a vocabulary that decides what a shard holds, but for what its fingerprint tells: not where it lies."""
    made_with = settings.vocabulary
    return {"name": made_with.name, "n_terms": made_with.n_terms, **made_with.terms_config}


def untouched_static(place: Place) -> StaticTable:
    """The static table of the vocabulary as :func:`agree_on_settings` left it.

    Raises:
        StorageError: it is not there.
        ModelError: it is damaged.
    """
    from lexite.terms.static import StaticTable

    tokenizer = read_bytes(place, TOKENIZER_NAME).decode("utf-8")
    return StaticTable.from_bytes(read_bytes(place, STATIC_NAME), tokenizer, f"{place}/{STATIC_NAME}")
