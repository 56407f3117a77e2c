"""Queries at a terminal: what is asked and printed, from a list, a pipe or a conversation."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexite.cli.effects_view import EffectsView
from lexite.cli.field_view import FieldView, print_facets
from lexite.cli.hits import print_hits
from lexite.cli.output import WrongUsage, console, print_json
from lexite.cli.run_output import write_run
from lexite.errors import QueryError
from lexite.scoring.config import BM25Config
from lexite.search import Searcher
from lexite.search.indexing import chunks
from lexite.search.labels import labels_of
from lexite.search.limits import HitLimits
from lexite.search.operators import missing_words, parse_query
from lexite.search.results import describe_hits
from lexite.search.term_files import read_term_queries
from lexite.wording import escaped, one_line

if TYPE_CHECKING:
    from rich.console import Console

    from lexite.corpus import Query
    from lexite.index import BM25Index
    from lexite.search import SearchHit

PROMPT = "\nquery> "


@dataclass(frozen=True)
class Session:
    """A searcher, and how it is asked at a terminal.

    Attributes:
        searcher: the searcher.
        options: of its searches: ``top_k``, ``approximate`` and so on.
        snippets: whether the best snippet of each document is looked for.
        passages_per_hit: whole passages that are shown with each document.
        shown: the fields that are shown with each document, and those whose values are counted.
        check: looks at what is typed in a conversation, and raises WrongUsage where it cannot be asked.
        effects: the second stages whose effects are shown after the hits.
    """

    searcher: Searcher
    options: Mapping[str, Any]
    snippets: bool = True
    passages_per_hit: int = 0
    shown: FieldView = field(default_factory=FieldView)
    check: Callable[[str], None] | None = None
    effects: EffectsView = field(default_factory=EffectsView)

    def search(self, text: str) -> list[SearchHit]:
        """The documents of a query with title, passage and matched terms."""
        return self.searcher.search(text, **self.described(), **self.options)

    def described(self) -> dict[str, Any]:
        """Options of a search that say what is told of each document."""
        return {"passages": self.snippets, "passages_per_hit": self.passages_per_hit}

    def print_hits(self, hits: Sequence[SearchHit], asked: Mapping[str, Any], as_json: bool) -> None:
        """Prints the hits of what was asked without words."""
        if as_json:
            print_json({**asked, "hits": [hit.to_json() for hit in hits], **self.shown.to_json()})
        else:
            print_hits(console(), hits, self.shown)
            print_facets(console(), self.shown.facets)

    def answer(self, queries: Sequence[Query], as_json: bool, headings: bool) -> None:
        """Prints the hits of queries."""
        from rich.text import Text

        out = console()
        for query in queries:
            hits = self.search(query.text)
            missing = self.missing(query.text, hits)
            if as_json:
                found: dict[str, Any] = {"hits": [hit.to_json() for hit in hits], **({"missing": missing} if missing else {})}
                print_json({"id": query.id, "query": query.text, **found, **self.effects.to_json(), **self.shown.to_json()})
                sys.stdout.flush()
                continue
            if headings:
                out.print(Text(f"\n{one_line(query.text)}", "bold magenta"))
            self.show(out, query.text, hits, missing)
        if not as_json:
            print_facets(out, self.shown.facets)

    def missing(self, text: str, hits: Sequence[SearchHit]) -> list[str]:
        """The required words of a query that no document has, where it has no hits."""
        return missing_words(self.searcher.index, text) if self.options.get("operators") and not hits else []

    def show(self, out: Console, text: str, hits: Sequence[SearchHit], missing: Sequence[str]) -> None:
        """Prints hits, and effects; where there are no hits, which required words no document has."""
        from rich.text import Text

        if hits or not (self.options.get("operators") and parse_query(text).has_operators):
            print_hits(out, hits, self.shown)
        elif missing:
            named = " or ".join(f"'{one_line(words)}'" for words in missing)
            out.print(Text(f"No document has {named}, which the query requires."))
        else:
            out.print(
                Text("No document that shares a term with the query has all that it requires and nothing that it excludes.")
            )
        self.effects.show(out)

    def converse(self) -> None:
        """Asks for queries until the input ends."""
        print_facets(console(), self.shown.facets)
        _enable_line_editing()
        print("Type a query; an empty line ends.", end="")
        while True:
            try:
                text = input(PROMPT).strip()
            except (EOFError, KeyboardInterrupt):
                print()
                return
            except UnicodeDecodeError:
                print("That was not valid UTF-8; type it again.")
                continue
            if not text:
                return
            try:
                if self.check is not None:
                    self.check(text)
                hits = self.search(text)
                self.show(console(), text, hits, self.missing(text, hits))
            except (QueryError, WrongUsage) as error:
                console().print(one_line(str(error)), markup=False)

    def write_run(self, queries: Sequence[Query], path: Path) -> tuple[int, int]:
        """Writes the rankings of queries as a TREC run, on stdout when the path is ``-``; returns how many queries and hits."""
        texts = [query.text for query in queries]
        hits = [found for chunk in chunks(texts) for found in self.searcher.rank(chunk, **self.options)]
        return write_run([query.id for query in queries], hits, path)


class TermSearch:
    """Queries that are terms already, and how an index is searched with them.

    Args:
        index: the opened index.
        path: file of the queries.
        scoring: what it is searched with.
        top_k: documents per query.
        approximate: whether to search faster, and miss a hit now and then.
        limits: which hits are wanted.
    """

    def __init__(
        self, index: BM25Index, path: Path, scoring: BM25Config, top_k: int, approximate: bool, limits: HitLimits
    ) -> None:
        self.index, self.scoring = index, scoring
        self.ids, self.queries = read_term_queries(path, index.n_latents)
        options = limits.given()
        offset = options.pop("offset", 0)
        found = index.search(self.queries, top_k + offset, scoring=scoring, approximate=approximate, **options)
        self.hits = [hits[offset:] for hits in found]

    def answer(self, vocabulary: str | None, as_json: bool, view: FieldView) -> None:
        """Prints the hits of the queries."""
        from rich.text import Text

        out, label = console(), labels_of(self.index, vocabulary)
        for identifier, query, hits in zip(self.ids, self.queries, self.hits, strict=True):
            shown = describe_hits(self.index, query, hits, scoring=self.scoring, label=label)
            if as_json:
                print_json({"id": identifier, "hits": [hit.to_json() for hit in shown], **view.to_json()})
                continue
            if len(self.ids) > 1:
                out.print(Text(f"\n{escaped(identifier)}", "bold magenta"))
            print_hits(out, shown, view)
        if not as_json:
            print_facets(out, view.facets)

    def write_run(self, path: Path) -> tuple[int, int]:
        """Writes the rankings as a TREC run; returns how many queries and hits."""
        return write_run(self.ids, self.hits, path)


def _enable_line_editing() -> None:
    try:
        import readline  # noqa: F401  its import gives input() editing and history
    except ImportError:  # not on every platform, and only a comfort
        return
