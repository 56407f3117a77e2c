"""``lexite search``: one question, a file of queries, or a conversation."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexite.backbone.config import BackboneConfig
from lexite.cli.arguments import RUNTIME, RUNTIME_HEADING, PresetOption
from lexite.cli.effects_view import EffectsView
from lexite.cli.engine_search import address_in, engine_searcher, refuse_idle, refuse_operators
from lexite.cli.field_view import FieldView
from lexite.cli.judged import Judged
from lexite.cli.options import configured, flag
from lexite.cli.output import WrongUsage
from lexite.cli.query_input import listed_queries, piped_queries
from lexite.cli.run_output import report_run, write_run
from lexite.cli.session import Session, TermSearch
from lexite.cli.strategy_options import StrategySettings, with_strategies
from lexite.config import Overrides
from lexite.corpus.options import ReadOptions
from lexite.errors import ConfigError
from lexite.scoring.config import BM25Config, scoring_of
from lexite.search import Searcher
from lexite.search.limits import HitLimits
from lexite.search.opening import opened_index
from lexite.search.presets import preset_of
from lexite.search.tabular import preset_for_index
from lexite.terms.config import TermsConfig

if TYPE_CHECKING:
    from lexite.corpus import Query


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
    effects: Annotated[
        bool,
        typer.Option(
            "--effects",
            help="Show what each second stage changed in the answer of the stage before it: terms of the query, ranks of hits.",
        ),
    ] = False,
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
    if effects and (run is not None or terms_file is not None):
        raise WrongUsage("--effects are shown below hits that second stages found. Leave --run and --terms out.")
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
        stages, view = EffectsView.over([stage for chain in chains.values() for stage in chain], wanted=effects)
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
            _ask(Session(over, asked_with, snippets, passages_per_hit, check=check, effects=view), listed, run, as_json)
        return
    opened = opened_index([index, *(further or [])])
    chosen = None if preset is None else preset_for_index(preset, opened)
    named = [stage for chain in chains.values() for stage in chain]
    stages, view = EffectsView.over(named if chosen is None else chosen.chain(), wanted=effects)
    cascade = stages.pop(0) if not static and stages and getattr(stages[0], "static_first", False) else None
    if scoring.values.get("literal_weight") and opened.literal is None:
        raise ConfigError(
            f"{index} has no literal words, so --literal-weight has no effect. Leave it out, or build the index with words."
        )
    scored = scoring.over(opened.scoring if chosen is None else scoring_of(chosen.scoring, opened.scoring))
    shown = FieldView.of(opened, show, facets, limits)
    if terms_file is not None:
        asked = TermSearch(opened, terms_file, scored, top_k, approximate, limits)
        if run is not None:
            report_run(asked.write_run(run), run, as_json)
        else:
            asked.answer(vocabulary, as_json, shown)
        return
    listed = listed_queries(query, queries, read)
    judged = Judged.of(like, unlike, save_terms, asked=bool(listed))
    if effects and judged.alone:
        raise WrongUsage("--effects are those on a query, and --like stands alone here. Add a query.")
    static = static or (judged.alone and not (stages or cascade or model.values) and opened.has_static)
    searcher = Searcher.open(opened, static=static, cascade=cascade, vocabulary=vocabulary, scoring=scored, **model.values)
    gc.freeze()  # what is loaded stays to the end: it is not looked through for garbage, not even then
    typed = queries is None and (bool(query) or sys.stdin.isatty())
    reads = {"operators": typed if operators is None else operators}
    options = {"top_k": top_k, "approximate": approximate, **reads, **terms.values, **limits.given(), **judged.options()}
    options |= {"then": stages} if stages else {}
    session = Session(searcher, options, snippets, passages_per_hit, shown, effects=view)
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
