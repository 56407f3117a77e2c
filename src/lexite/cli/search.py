"""``lexite search``: one question, a file of queries, or a conversation."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lexite.backbone.config import BackboneConfig
from lexite.cli.arguments import RUNTIME, RUNTIME_HEADING, PresetOption
from lexite.cli.engine_search import address_in, engine_searcher, refuse_idle, refuse_operators
from lexite.cli.field_view import FieldView, print_facets
from lexite.cli.hits import print_hits
from lexite.cli.judged import Judged
from lexite.cli.options import configured, flag
from lexite.cli.output import WrongUsage, console, print_json
from lexite.cli.query_input import listed_queries, piped_queries
from lexite.cli.run_output import report_run, write_run
from lexite.cli.strategy_options import StrategySettings, with_strategies
from lexite.config import Overrides
from lexite.corpus.options import ReadOptions
from lexite.errors import ConfigError, QueryError
from lexite.scoring.config import BM25Config, scoring_of
from lexite.search import Searcher
from lexite.search.indexing import chunks
from lexite.search.labels import labels_of
from lexite.search.limits import HitLimits
from lexite.search.opening import opened_index
from lexite.search.operators import missing_words, parse_query
from lexite.search.presets import preset_of
from lexite.search.results import describe_hits
from lexite.search.tabular import preset_for_index
from lexite.search.term_files import read_term_queries
from lexite.terms.config import TermsConfig
from lexite.wording import escaped, one_line

if TYPE_CHECKING:
    from rich.console import Console

    from lexite.corpus import Query
    from lexite.index import BM25Index
    from lexite.search import SearchHit

PROMPT = "\nquery> "


@configured(
    only={
        "terms": ("k_queries", "floor_queries"),
        "model": (*RUNTIME, "query_prompt"),
        "read": ("id_field", "text_field", "header", "skip_bad"),
    },
    limits="Filters",
    read="Reading (of --queries)",
    terms="Terms",
    scoring="Scoring (default: what the index says)",
    model=RUNTIME_HEADING,
)
@with_strategies
def search_verb(
    index: Annotated[
        Path,
        typer.Argument(help="Folder of the index, or address of an engine: opensearch://HOST:9200/NAME.", metavar="INDEX"),
    ],
    query: Annotated[
        list[str] | None,
        typer.Argument(help="Words of one query. None: asks for queries, or reads them from a pipe.", metavar="QUERY..."),
    ] = None,
    *,
    further: Annotated[
        list[Path] | None,
        typer.Option(
            "--index",
            help="Folder of a further index, which is searched as one with INDEX; can be given several times.",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
    top_k: Annotated[int, typer.Option("--top-k", help="Documents per query.", min=1)] = 10,
    queries: Annotated[
        Path | None, typer.Option("--queries", help="File of queries: JSONL, CSV, TSV, or one a line.", metavar="FILE")
    ] = None,
    terms_file: Annotated[
        Path | None,
        typer.Option(
            "--terms",
            help="File of queries that are terms already, as 'lexite encode --kind query --raw -o FILE.jsonl' writes them. "
            "No model is loaded. - is stdin.",
            metavar="FILE",
        ),
    ] = None,
    static: Annotated[
        bool,
        typer.Option("--static", help="Encode queries with the index's static table. No model is loaded."),
    ] = False,
    run: Annotated[
        Path | None,
        typer.Option("--run", help="Write the ranking as a TREC run, with no text; - is stdout.", metavar="FILE"),
    ] = None,
    snippets: Annotated[
        bool, typer.Option("--snippets/--no-snippets", help="Look for the passage of each document that matches best.")
    ] = True,
    passages_per_hit: Annotated[
        int, typer.Option("--passages-per-hit", help="Whole passages that match to show with each document.", min=0)
    ] = 0,
    show: Annotated[
        str | None,
        typer.Option("--show", help="Fields to show with each document: names with commas between them.", metavar="FIELDS"),
    ] = None,
    facets: Annotated[
        str | None,
        typer.Option(
            "--facets",
            help="Count the values of these fields among all documents that pass --where: names with commas between them.",
            metavar="FIELDS",
        ),
    ] = None,
    like: Annotated[
        list[str] | None,
        typer.Option(
            "--like",
            help="Id of a document that hits should be like; can be given several times. Without a query, these documents are "
            "the query, and are no hits.",
            metavar="ID",
        ),
    ] = None,
    unlike: Annotated[
        list[str] | None,
        typer.Option(
            "--unlike", help="Id of a document that hits should not be like; can be given several times.", metavar="ID"
        ),
    ] = None,
    save_terms: Annotated[
        Path | None,
        typer.Option("--save-terms", help="Write the queries as they were asked in the end, for --terms.", metavar="FILE"),
    ] = None,
    approximate: Annotated[
        bool, typer.Option("--approximate", help="Search faster, and miss a hit now and then; scores stay exact.")
    ] = False,
    operators: Annotated[
        bool | None,
        typer.Option(
            "--operators/--no-operators",
            help='Whether +word and "a phrase" must be in a document, and -word must not. Default: in queries that are typed.',
            show_default=False,
        ),
    ] = None,
    vocabulary: Annotated[
        str | None, typer.Option("--vocabulary", help="Where the index's vocabulary is, if it was moved.", metavar="NAME")
    ] = None,
    then: Annotated[
        str | None,
        typer.Option("--then", help="Second stages, in order: names with commas between them.", metavar="NAMES"),
    ] = None,
    preset: PresetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per query, each on a line.")] = False,
    strategies: StrategySettings,
    limits: HitLimits,
    read: ReadOptions,
    terms: Overrides[TermsConfig],
    scoring: Overrides[BM25Config],
    model: Overrides[BackboneConfig],
) -> None:
    """Search an index.

    With no query, asks for one after the other on a terminal, or takes one per line from a pipe.

    Example: lexite search notes.lexite how do plants breathe
    """
    if as_json and str(run) == "-":
        raise WrongUsage("Standard output holds the run, so --json has no place there. Name a file with --run.")
    if terms_file is not None and (query or queries or static):
        raise WrongUsage("--terms takes the place of words, of --queries and of --static. Give one of them.")
    if terms_file is not None and (then or preset):
        raise WrongUsage("--terms holds terms, of which second stages know no texts. Leave --then and --preset out.")
    if then and preset:
        raise WrongUsage("--preset takes the place of --then. Give one of them.")
    chains = strategies.chains([then] if then else [])
    static = static or (preset is not None and preset_of(preset).static)
    if terms_file is not None and (like or unlike or save_terms):
        raise WrongUsage("--terms holds queries as they are asked. Leave --like, --unlike and --save-terms out.")
    if terms_file is not None and operators:
        raise WrongUsage("--terms holds terms, in which there are no operators. Leave --operators out.")
    if terms_file is not None:
        _check_place("--terms", (*terms.values, *model.values))
    elif static:
        _check_place("--static", (*(key for key in terms.values if key == "k_queries"), *model.values))
    address = address_in(index)
    if address is not None:
        stages = [stage for chain in chains.values() for stage in chain]
        refuse_idle(
            {
                "--index": bool(further),
                "--terms": terms_file is not None,
                "--facets": facets is not None,
                "--show": show is not None,
                "--like": bool(like),
                "--unlike": bool(unlike),
                "--save-terms": save_terms is not None,
                "--approximate": approximate,
                "--operators": bool(operators),
                "--preset": preset is not None,
                "A cascade": any(getattr(stage, "static_first", False) for stage in stages),
            }
        )
        listed = listed_queries(query, queries, read)
        if query:
            refuse_operators(listed[0].text, operators)
        asked_with = {"top_k": top_k, **terms.values, **limits.given(), **({"then": stages} if stages else {})}
        check = partial(refuse_operators, operators=operators)
        with engine_searcher(address, static, vocabulary, scoring.values, model.values) as over:
            _ask(Session(over, asked_with, snippets, passages_per_hit, check=check), listed, run, as_json)
        return
    opened = opened_index([index, *(further or [])])
    chosen = None if preset is None else preset_for_index(preset, opened)
    stages = [stage for chain in chains.values() for stage in chain] if chosen is None else chosen.chain()
    cascade = stages.pop(0) if not static and stages and getattr(stages[0], "static_first", False) else None
    if scoring.values.get("literal_weight") and opened.literal is None:
        raise ConfigError(
            f"{index} has no literal words, so --literal-weight has no effect. Leave it out, or build the index with words."
        )
    scored = scoring.over(opened.scoring if chosen is None else scoring_of(chosen.scoring, opened.scoring))
    shown = FieldView.of(opened, show, facets, limits)
    if terms_file is not None:
        asked = _TermSearch(opened, terms_file, scored, top_k, approximate, limits)
        if run is not None:
            report_run(asked.write_run(run), run, as_json)
        else:
            asked.answer(vocabulary, as_json, shown)
        return
    listed = listed_queries(query, queries, read)
    judged = Judged.of(like, unlike, save_terms, asked=bool(listed))
    static = static or (judged.alone and not (stages or cascade or model.values) and opened.has_static)
    searcher = Searcher.open(opened, static=static, cascade=cascade, vocabulary=vocabulary, scoring=scored, **model.values)
    gc.freeze()  # what is loaded stays to the end: it is not looked through for garbage, not even then
    typed = queries is None and (bool(query) or sys.stdin.isatty())
    reads = {"operators": typed if operators is None else operators}
    options = {"top_k": top_k, "approximate": approximate, **reads, **terms.values, **limits.given(), **judged.options()}
    options |= {"then": stages} if stages else {}
    session = Session(searcher, options, snippets, passages_per_hit, shown)
    if judged.alone:
        hits = judged.hits(searcher, session.described(), options)
        if run is None:
            session.print_hits(hits, {"like": list(judged.liked)}, as_json)
        else:
            report_run(write_run(["like"], [judged.ranked(hits)], run), run, as_json)
    else:
        _ask(session, listed, run, as_json)
    judged.save(searcher, listed, options)


def _check_place(option: str, idle: Sequence[str]) -> None:
    """Refuses options of the model and of its terms beside one that needs neither."""
    if idle:
        named = ", ".join(map(flag, idle))
        raise WrongUsage(
            f"{option} needs no model, so options of the model and of its terms have no place beside it. Leave out {named}."
        )


def _ask(session: Session, listed: Sequence[Query], run: Path | None, as_json: bool) -> None:
    """Answers the queries that are listed; where there are none, those of a pipe or of a conversation."""
    if run is not None:
        report_run(session.write_run(listed or list(piped_queries()), run), run, as_json)
    elif listed:
        session.answer(listed, as_json, headings=len(listed) > 1)
    elif sys.stdin.isatty() and not as_json:
        session.converse()
    else:
        for piped in piped_queries():
            session.answer([piped], as_json, headings=True)


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
    """

    searcher: Searcher
    options: Mapping[str, Any]
    snippets: bool = True
    passages_per_hit: int = 0
    shown: FieldView = field(default_factory=FieldView)
    check: Callable[[str], None] | None = None

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
                print_json({"id": query.id, "query": query.text, **found, **self.shown.to_json()})
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
        """Prints hits; where there are none, which required words no document has."""
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


class _TermSearch:
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
