"""How an index is exported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PART_SIZE = 50_000_000
Compression = Literal["none", "gzip", "zstd"]


@dataclass(frozen=True)
class ExportSettings:
    """How an index is exported.

    Attributes:
        to: name of the form.
        route: what documents hold; None: what the form usually does.
        scale: S of a route with whole numbers; None: the usual one.
        text: whether titles and texts go along; None: where index and form have them.
        fields: whether fields go along; likewise.
        keep_terms: whether the engine keeps the terms in what it gives back for a document.
        name: of the collection, table or schema in the engine.
        part_size: bytes of a part, about, before they are compressed.
        compress: how parts are compressed.
    """

    to: str
    route: str | None = None
    scale: float | None = None
    text: bool | None = None
    fields: bool | None = None
    keep_terms: bool = False
    name: str = "lexite"
    part_size: int = PART_SIZE
    compress: Compression = "none"
