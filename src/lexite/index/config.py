"""What an index is described by, and what it hands out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from lexite.corpus.records import FieldValue

SEGMENT_POSTINGS = 200_000_000  # after which a segment is closed, unless told otherwise


@dataclass(frozen=True)
class VocabularyInfo:
    """Which vocabulary made the terms of an index.

    Attributes:
        fingerprint: identifies everything that changes terms (``LatentTermEncoder.fingerprint``). Queries and documents with
            another fingerprint are refused.
        name: what a person calls it.
        n_terms: number of terms, the columns of every matrix of weights.
        terms_config: how documents were encoded (``k_documents`` and so on), so that ``add`` does the same later; ``prefix``
            is there when they were encoded with the first latents of the vocabulary only.
        model: name or path to load the vocabulary again; empty when it was not loaded from anywhere.
    """

    fingerprint: str
    name: str
    n_terms: int
    terms_config: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """What an index keeps of a document so that it can be shown.

    Attributes:
        id: its id.
        title: its title; empty when the index was built without text.
        text: its text; likewise.
        fields: what else is known of it, by name. Times are in UTC.
    """

    id: str
    title: str
    text: str
    fields: Mapping[str, FieldValue] = field(default_factory=dict, hash=False)


class DocumentLike(Protocol):
    """What the writer reads of a document; ``lexite.corpus.Document`` has it."""

    @property
    def id(self) -> str:
        """The document's id."""
        ...

    @property
    def title(self) -> str:
        """Its title, may be empty."""
        ...

    @property
    def text(self) -> str:
        """Its text."""
        ...

    @property
    def fields(self) -> Mapping[str, FieldValue]:
        """Its fields."""
        ...
