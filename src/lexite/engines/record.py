"""What an engine remembers of a collection beside its documents, so that whoever opens it asks and adds in the same way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lexite.config import to_dict
from lexite.engines.forms.base import Collection
from lexite.engines.routes import Route, route
from lexite.engines.term_names import TermNames
from lexite.errors import ConfigError, IndexFormatError
from lexite.files import json_checksum
from lexite.index.config import VocabularyInfo
from lexite.index.field_types import FieldType
from lexite.scoring.config import BM25Config, saved_scoring
from lexite.scoring.words import LiteralConfig, saved_literal

if TYPE_CHECKING:
    from lexite.index import BM25Index

FORMAT, FORMAT_VERSION = "lexite-engine", 1


@dataclass(frozen=True)
class CollectionRecord:
    """How the documents of a collection were made.

    Attributes:
        vocabulary: what made the terms.
        scoring: how searches score unless told otherwise.
        literal: how words are indexed beside latent terms; None: they are not.
        route: what documents hold.
        average_length: avgdl that is baked into what documents hold; 0 before the first ones come.
        fields: types of the fields of documents, by name.
        text: whether titles and texts are kept.
        keep_terms: whether the engine keeps the terms in what it gives back for a document.
        has_passages: whether a document may be several passages.
        next_number: order number of the next document.
        loading: while an index is being loaded: ``source``, which says of what, and ``next_document``.
    """

    vocabulary: VocabularyInfo
    scoring: BM25Config
    literal: LiteralConfig | None
    route: Route
    average_length: float = 0.0
    fields: Mapping[str, FieldType] = field(default_factory=dict)
    text: bool = True
    keep_terms: bool = False
    has_passages: bool = False
    next_number: int = 0
    loading: Mapping[str, Any] | None = None

    def collection(self, name: str, word: Callable[[int], str], n_terms: int = 0) -> Collection:
        """What forms have to know.

        Args:
            name: of the collection.
            word: gives the word of a term behind the latents.
            n_terms: number of terms; 0: the latents alone.
        """
        n_latents = self.vocabulary.n_terms
        return Collection(
            name,
            self.route,
            self.scoring,
            TermNames(n_latents, word),
            n_terms or n_latents,
            self.fields,
            self.text,
            self.keep_terms,
            self.has_passages,
        )

    def to_json(self) -> dict[str, Any]:
        """The record as an engine keeps it."""
        scale = self.route.scale if self.route.rounding == "count" else None
        value = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "vocabulary": {**dataclasses.asdict(self.vocabulary), "terms_config": dict(self.vocabulary.terms_config)},
            "scoring": to_dict(self.scoring),
            "literal": None if self.literal is None else to_dict(self.literal),
            "route": self.route.name,
            "scale": scale,
            "average_length": self.average_length,
            "fields": dict(self.fields),
            "text": self.text,
            "keep_terms": self.keep_terms,
            "has_passages": self.has_passages,
            "next_number": self.next_number,
            "loading": None if self.loading is None else dict(self.loading),
        }
        return {**value, "sha256": json_checksum(value)}


def record_of(
    index: BM25Index, scoring: BM25Config, route: Route, *, fields: bool, text: bool, keep_terms: bool
) -> CollectionRecord:
    """The record of a collection that is to hold an index.

    Args:
        index: the index.
        scoring: how searches are to score.
        route: what documents will hold.
        fields: whether they take their fields along.
        text: whether titles and texts are kept, where the index has some.
        keep_terms: whether the engine keeps the terms in what it gives back.
    """
    return CollectionRecord(
        index.vocabulary,
        scoring,
        index.literal,
        route,
        average_length=index.average_length(scoring.document_transform),
        fields=dict(index.fields) if fields else {},
        text=text and index.stores_text,
        keep_terms=keep_terms,
        has_passages=index.passages_config is not None or index.n_passages > index.n_documents,
    )


def made_by_lexite(value: Any) -> bool:
    """Whether a value is a record of lexite's, whole or damaged."""
    return isinstance(value, Mapping) and value.get("format") == FORMAT


def read_collection_record(value: Any, where: str) -> CollectionRecord:
    """A record that :meth:`CollectionRecord.to_json` made.

    Args:
        value: the JSON value.
        where: where it was read, for messages.

    Raises:
        IndexFormatError: it is damaged, of another version, or no such record.
    """
    if not made_by_lexite(value):
        raise IndexFormatError(f"{where} was not made by lexite: it has no record of how its documents were made.")
    if value.get("format_version") != FORMAT_VERSION:
        raise IndexFormatError(f"{where} has format version {value.get('format_version')}; this lexite reads {FORMAT_VERSION}.")
    if value.get("sha256") != json_checksum(value):
        raise IndexFormatError(f"The record of {where} is damaged: its checksum is wrong. Load the index again.")
    try:
        return CollectionRecord(
            VocabularyInfo(**value["vocabulary"]),
            saved_scoring(value["scoring"], where),
            None if value["literal"] is None else saved_literal(value["literal"], where),
            route(value["route"], value["scale"]),
            float(value["average_length"]),
            dict(value["fields"]),
            bool(value["text"]),
            bool(value["keep_terms"]),
            bool(value["has_passages"]),
            int(value["next_number"]),
            value["loading"],
        )
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise IndexFormatError(f"The record of {where} is damaged: {error}.") from error
