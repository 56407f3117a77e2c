"""``lexite export-query``: a query as the request that another search engine takes."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lexite.backbone.config import BackboneConfig
from lexite.cli.arguments import RUNTIME, RUNTIME_HEADING, JsonFlag
from lexite.cli.export import STATIC_TABLE, Format, RouteOption, ScaleOption
from lexite.cli.options import configured
from lexite.cli.output import WrongUsage, print_json, say
from lexite.cli.query_input import listed_queries
from lexite.config import Overrides
from lexite.corpus.options import ReadOptions
from lexite.engines.export_settings import ExportSettings
from lexite.errors import QueryError
from lexite.scoring.config import BM25Config
from lexite.terms.config import TermsConfig
from lexite.wording import counted

if TYPE_CHECKING:
    from lexite.engines.requests import Request
    from lexite.index import BM25Index

logger = logging.getLogger("lexite")


@configured(
    only={"terms": ("k_queries", "floor_queries"), "model": (*RUNTIME, "query_prompt")},
    terms="Terms",
    scoring="Scoring (default: what the index says)",
    model=RUNTIME_HEADING,
)
def export_query_verb(
    index: Annotated[Path, typer.Argument(help="Folder of the index.", metavar="INDEX")],
    query: Annotated[list[str], typer.Argument(help="Words of the query.", metavar="QUERY...")],
    *,
    to: Annotated[Format | None, typer.Option("--to", help="Format of the request.", show_default=False)] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            help="Folder of the export that the engine was loaded from: format, route, scale, name and scoring are its own.",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
    top_k: Annotated[int, typer.Option("--top-k", help="Documents that are wanted.", min=1)] = 10,
    most_terms: Annotated[
        int | None,
        typer.Option(
            "--most-terms",
            help="Terms at most; the lightest are cut. Default: as many as the engine takes.",
            min=1,
            show_default=False,
        ),
    ] = None,
    route: RouteOption = None,
    scale: ScaleOption = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            help="Name of the collection, table or schema in the engine. Default: lexite.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option("--where", help="Refused: filters are not translated. Put the engine's own into the request."),
    ] = None,
    static: Annotated[
        bool, typer.Option("--static", help="Encode the query with the index's static table. No model is loaded.")
    ] = False,
    vocabulary: Annotated[
        str | None, typer.Option("--vocabulary", help="Where the index's vocabulary is, if it was moved.", metavar="NAME")
    ] = None,
    as_json: JsonFlag = False,
    terms: Overrides[TermsConfig],
    scoring: Overrides[BM25Config],
    model: Overrides[BackboneConfig],
) -> None:
    """Write a query as the request that another search engine takes.

    Prints the body alone; with --json an object with the body, where it goes, and how many terms it has.

    Example: lexite export-query notes.lexite how do plants breathe --to opensearch-bulk
    """
    from lexite.engines.requests import request_of
    from lexite.index import BM25Index
    from lexite.search.opening import queries_and_labels

    if where is not None:
        raise QueryError("Filters are not translated to other engines. Put the engine's own filter into the request.")
    if (to is None) == (export is None):
        raise WrongUsage("Give the format with --to, or the export that the engine was loaded from with --export.")
    if to == STATIC_TABLE:
        raise WrongUsage("A static table takes no requests. Name the format of the engine with --to.")
    if export is not None and (route is not None or scale is not None or name is not None or scoring.values):
        raise WrongUsage("--export says route, scale, name and scoring. Leave these options out.")
    opened = BM25Index.open(index)
    scored = scoring.over(opened.scoring)
    settings = ExportSettings(to or "", route, scale, name="lexite" if name is None else name)
    if export is not None:
        settings, scored = _of_export(opened, export)
    (asked,) = listed_queries(query, None, ReadOptions())
    encoder, _ = queries_and_labels(opened, static, vocabulary, dict(model.values))
    encoded = encoder.encode([asked.text], **terms.values)
    found = request_of(opened, encoded, settings, top_k, scoring=scored, most_terms=most_terms)
    _print(found, as_json)


def _of_export(opened: BM25Index, folder: Path) -> tuple[ExportSettings, BM25Config]:
    """The settings and the scoring of an export; warns where the index has moved away from it."""
    from lexite.engines.export import read_manifest
    from lexite.engines.statistics import drift_of, load_record, statistics_of

    manifest, record = read_manifest(folder), load_record(folder)
    drift = drift_of(record, statistics_of(opened, record.scoring))
    if drift.moved:
        logger.warning("%s Export the index again.", " ".join(drift.reasons()))
    known = {field.name for field in dataclasses.fields(ExportSettings)}
    settings: dict[str, Any] = {key: value for key, value in manifest["settings"].items() if key in known}
    if settings["scale"] == 1:  # a route without whole numbers
        settings["scale"] = None
    return ExportSettings(**settings), record.scoring


def _print(found: Request, as_json: bool) -> None:
    if found.n_cut:
        logger.warning(
            "The engine takes %s of a query at most: the %s lightest were cut.",
            counted(found.n_terms, "term"),
            f"{found.n_cut:,}",
        )
    if as_json:
        print_json({"request": found.target, "body": found.body, "terms": found.n_terms, "cut": found.n_cut})
    elif isinstance(found.body, str):
        say(found.body)
    else:
        print_json(found.body)
