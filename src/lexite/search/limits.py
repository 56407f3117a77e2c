"""Which hits of a search are wanted: options of the command line, and of whoever asks in its way."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from lexite.config import option


@dataclass(frozen=True)
class HitLimits:
    """Options that decide which documents are hits, and in which order; see ``docs/filters.md``."""

    where: str | None = option(None, "Only documents for which this is true, as in SQL: \"year >= 2020 and 'law' in tags\".")
    sort: str | None = option(None, "Field that hits are sorted by, in place of their scores: year, or year:desc.")
    offset: int = option(0, "Hits to pass over: the second page of ten has offset 10.", minimum=0)
    min_score: float | None = option(None, "Least score of a hit.")
    min_coverage: float | None = option(
        None, "Least share of the query that a hit covers, from 0 to 1.", minimum=0.0, maximum=1.0
    )

    def given(self) -> dict[str, Any]:
        """The options that were given, as ``Searcher.search`` takes them."""
        values = asdict(self)
        return {name: value for name, value in values.items() if value is not None and (name != "offset" or value)}
