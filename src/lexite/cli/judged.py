"""``--like``, ``--unlike`` and ``--save-terms`` of ``lexite search``: documents that a person judged, and queries to keep."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexite.cli.options import flag
from lexite.cli.output import WrongUsage
from lexite.ranking.hits import Hit
from lexite.wording import counted

if TYPE_CHECKING:
    from lexite.corpus import Query
    from lexite.search import Searcher, SearchHit

logger = logging.getLogger("lexite")


@dataclass(frozen=True)
class Judged:
    """Documents that hits should be like or not like, and where the queries that come of it are kept.

    Attributes:
        liked: ids of the first.
        disliked: ids of the others.
        path: file for the queries; None keeps them nowhere.
        alone: whether the liked documents are all that is asked.
    """

    liked: tuple[str, ...]
    disliked: tuple[str, ...]
    path: Path | None
    alone: bool

    @classmethod
    def of(cls, liked: Sequence[str] | None, disliked: Sequence[str] | None, path: Path | None, *, asked: bool) -> Judged:
        """What the command line says.

        Args:
            liked: ids.
            disliked: likewise.
            path: file for the queries.
            asked: whether there are queries on the command line or in a file.

        Raises:
            WrongUsage: there is nothing that documents could be unlike of, or no query to keep.
        """
        if disliked and not liked and not asked:
            raise WrongUsage("--unlike needs a query, or --like. Give one.")
        if path is not None and not asked and not liked:
            raise WrongUsage("--save-terms keeps queries of the command line, of --queries or of --like. Give one.")
        return cls(tuple(liked or ()), tuple(disliked or ()), path, bool(liked) and not asked)

    def options(self) -> dict[str, Any]:
        """Options of a search."""
        liked = {"liked": self.liked} if self.liked and not self.alone else {}
        return {**liked, **({"disliked": self.disliked} if self.disliked else {})}

    def hits(self, searcher: Searcher, described: Mapping[str, Any], options: Mapping[str, Any]) -> list[SearchHit]:
        """The documents that are like the liked ones."""
        return searcher.more_like(self.liked, **described, **_without_operators(options))

    @staticmethod
    def ranked(hits: Sequence[SearchHit]) -> list[Hit]:
        """Hits as a run takes them."""
        return [Hit(hit.id, hit.score, hit.rank, hit.document) for hit in hits]

    def save(self, searcher: Searcher, queries: Sequence[Query], options: Mapping[str, Any]) -> None:
        """Writes the queries as they were asked in the end, where that is wanted."""
        if self.path is None:
            return
        from lexite.search.answering import no_terms
        from lexite.search.term_files import write_term_queries

        given = {name: value for name, value in options.items() if name not in ("top_k", "offset")}
        if self.alone:
            found = searcher.expanded(no_terms(searcher.backend), liked=self.liked, **_without_operators(given))
            ids = ["like"]
        else:
            found, ids = searcher.expanded([query.text for query in queries], **given), [query.id for query in queries]
        write_term_queries(self.path, ids, found, searcher.label)
        scored, own = searcher.scoring or searcher.index.scoring, searcher.index.scoring
        others = [each.name for each in fields(scored) if getattr(scored, each.name) != getattr(own, each.name)]
        logger.info("%s: %s", counted(len(ids), "query", "queries"), self.path)
        if others:
            beside = " ".join(f"{flag(name)} {getattr(scored, name)}" for name in others)
            logger.warning("These queries were asked with %s. Say so beside --terms too.", beside)


def _without_operators(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options for a query without a text, in which there are no operators and nothing to encode."""
    return {name: value for name, value in options.items() if name not in ("operators", "k_queries", "floor_queries")}
