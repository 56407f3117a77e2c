"""What ``lexite search`` shows of the fields of documents: some of them with each hit, and counts of their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lexite.errors import ConfigError
from lexite.wording import counted, escaped, one_line

if TYPE_CHECKING:
    from rich.console import Console

    from lexite.corpus.records import FieldValue
    from lexite.index import BM25Index
    from lexite.index.field_types import FieldType
    from lexite.index.field_values import Facet
    from lexite.search.limits import HitLimits


@dataclass(frozen=True)
class FieldView:
    """Which fields are shown.

    Attributes:
        names: of the fields that are shown with each hit.
        facets: counts of the values of fields.
        limited: whether only some documents that match are hits.
    """

    names: tuple[str, ...] = ()
    facets: tuple[Facet, ...] = ()
    limited: bool = False

    @classmethod
    def of(cls, index: BM25Index, show: str | None, facets: str | None, limits: HitLimits) -> FieldView:
        """What the options mean in an index. A wrong filter or name is found here, before a model is loaded.

        Args:
            index: the opened index.
            show: names of fields, with commas between them.
            facets: likewise.
            limits: which documents count.

        Raises:
            FilterError: there is no such field, or the filter or the field to sort by is wrong.
            ConfigError: a list of names has an empty one.
            MissingExtraError: a package that filters need is not installed.
        """
        index.check_fields(where=limits.where, sort=limits.sort)
        shown = tuple(_known(name, index.fields) for name in _listed("--show", show))
        counted = index.facets(_listed("--facets", facets), where=limits.where) if facets else []
        return cls(shown, tuple(counted), bool(limits.given()))

    def to_json(self) -> dict[str, Any]:
        """The counts as JSON values; nothing where none were asked for."""
        return {"facets": [facet.to_json() for facet in self.facets]} if self.facets else {}


def shown_value(value: FieldValue) -> str:
    """A value of a field on a line.

    >>> shown_value(["law", "tax"]), shown_value(True)
    ('law, tax', 'true')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    return one_line(", ".join(value) if isinstance(value, (list, tuple)) else str(value))


def print_facets(console: Console, facets: Sequence[Facet]) -> None:
    """Writes counts of values, a line for each field."""
    from rich.text import Text

    for facet in facets:
        counts = " · ".join(f"{shown_value(value)} {count:,}" for value, count in facet.values)
        more = facet.n_values - len(facet.values)
        rest = [f"{more:,} more values"] if more else []
        rest += [f"none {facet.n_without:,}"] if facet.n_without else []
        listed = " · ".join(filter(None, [counts, *rest]))
        console.print(Text.assemble((f"\n{escaped(facet.field)}", "bold"), f", {counted(facet.n_documents)}: {listed}"))


def _listed(option: str, names: str | None) -> list[str]:
    listed = [] if names is None else [name.strip() for name in names.split(",")]
    if not all(listed):
        raise ConfigError(f"{option} takes names of fields with commas between them, and one of them is empty: '{names}'.")
    return listed


def _known(name: str, fields: Mapping[str, FieldType]) -> str:
    from lexite.index.field_types import known_field

    return known_field(name, fields)
