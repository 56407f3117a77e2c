"""``lexite export``: an index as files that another search engine loads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lexite.cli.arguments import JsonFlag, Overwrite, count_of, need_output
from lexite.cli.options import configured
from lexite.cli.output import WrongUsage, is_quiet, print_json, say
from lexite.config import Overrides
from lexite.engines.export_settings import PART_SIZE, Compression, ExportSettings
from lexite.scoring.config import BM25Config
from lexite.wording import counted, size

if TYPE_CHECKING:
    from lexite.engines.export import Exported
    from lexite.index import BM25Index

STATIC_TABLE = "static-table"
NAME, USUAL_PART = "lexite", f"{PART_SIZE // 10**6}M"
Format = Literal[
    "opensearch-bulk",
    "elasticsearch-bulk",
    "solr",
    "anserini",
    "qdrant",
    "vespa",
    "ciff",
    "parquet",
    "arrow",
    "postgres",
    "static-table",
]
RouteOption = Annotated[
    str | None,
    typer.Option(
        "--route",
        help="What documents hold: saturation, linear, frequencies, impacts, impacts-idf or integers. Default: what suits the "
        "format best.",
        metavar="NAME",
        show_default=False,
    ),
]
ScaleOption = Annotated[
    float | None,
    typer.Option(
        "--scale",
        help="What values are multiplied by before they are rounded to whole numbers. Default: 200 of frequencies, 255 of "
        "integers.",
        metavar="NUMBER",
        show_default=False,
    ),
]


@configured(scoring="Scoring (default: what the index says)", with_defaults=())
def export_verb(
    index: Annotated[Path, typer.Argument(help="Folder of the index.", metavar="INDEX")],
    *,
    to: Annotated[Format | None, typer.Option("--to", help="Format to write.", show_default=False)] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; must be new or empty.", metavar="DIR")
    ] = None,
    route: RouteOption = None,
    scale: ScaleOption = None,
    text: Annotated[
        bool | None,
        typer.Option(
            "--text/--no-text", help="Whether titles and texts go along. Default: where they can.", show_default=False
        ),
    ] = None,
    fields: Annotated[
        bool | None,
        typer.Option("--fields/--no-fields", help="Whether fields go along. Default: where they can.", show_default=False),
    ] = None,
    keep_terms: Annotated[
        bool, typer.Option("--keep-terms", help="Let the engine give the terms back with a document, at three times the size.")
    ] = False,
    name: Annotated[
        str, typer.Option("--name", help="Name of the collection, table or schema in the engine.", metavar="NAME")
    ] = NAME,
    part_size: Annotated[
        str, typer.Option("--part-size", help="Bytes of each file, about, before it is compressed.", metavar="COUNT")
    ] = USUAL_PART,
    compress: Annotated[Compression, typer.Option("--compress", help="How files are compressed.")] = "none",
    vocabulary: Annotated[
        str | None,
        typer.Option("--vocabulary", help="Where the index's vocabulary is, if it was moved (static-table).", metavar="NAME"),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            "--check",
            help="Write nothing: say how far the index has moved from what an export recorded. A folder of one, or its "
            "export.json.",
            metavar="RECORD",
            show_default=False,
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: JsonFlag = False,
    scoring: Overrides[BM25Config],
) -> None:
    """Write an index as files that another search engine loads, in parts.

    An export that was stopped goes on where it was when it is called again in the same way.

    Example: lexite export notes.lexite --to opensearch-bulk -o export
    """
    from lexite.index import BM25Index

    if check is not None:
        if to is not None or output is not None:
            raise WrongUsage("--check writes nothing. Leave --to and -o out.")
        _check(BM25Index.open(index), check, scoring, as_json)
        return
    if to is None:
        raise WrongUsage("No format was named. Give one with --to.")
    place = need_output(output)
    opened = BM25Index.open(index)
    scored = scoring.over(opened.scoring)
    if to == STATIC_TABLE:
        idle = [
            *(["--route"] if route is not None else []),
            *(["--scale"] if scale is not None else []),
            *(["--text"] if text is not None else []),
            *(["--fields"] if fields is not None else []),
            *(["--keep-terms"] if keep_terms else []),
            *(["--name"] if name != NAME else []),
            *(["--part-size"] if part_size != USUAL_PART else []),
            *(["--compress"] if compress != "none" else []),
        ]
        if idle:
            raise WrongUsage(f"{idle[0]} has no effect on a static table, which holds no documents. Leave it out.")
        _export_table(opened, place, scored, vocabulary, overwrite, as_json)
        return
    if vocabulary is not None:
        raise WrongUsage("--vocabulary is for static-table alone. Leave it out.")
    from lexite.engines.export import export_index

    settings = ExportSettings(to, route, scale, text, fields, keep_terms, name, count_of(part_size, "--part-size"), compress)
    done = export_index(opened, place, settings, scoring=scored, overwrite=overwrite, show_progress=not is_quiet())
    _report(done, to, as_json)


def _report(done: Exported, to: str, as_json: bool) -> None:
    if as_json:
        facts: dict[str, Any] = {"output": str(done.folder), "to": to, "route": done.route.name, "documents": done.n_documents}
        facts |= {"passages": done.n_passages, "bytes": done.n_bytes, "parts": [part.name for part in done.parts]}
        print_json({**facts, "resumed": done.resumed, "setup": list(done.setup)})
        return
    before = f", {done.resumed} of them there before" if done.resumed else ""
    say(
        f"{counted(done.n_documents)}, {counted(done.n_passages, 'passage')}, {size(done.n_bytes)} in "
        f"{counted(len(done.parts), 'file')}{before}, by the route {done.route.name}: {done.folder}"
    )
    if done.setup:
        say(f"What the engine is told first: {', '.join(done.setup)}")


def _export_table(
    opened: BM25Index, place: Path, scoring: BM25Config, vocabulary: str | None, overwrite: bool, as_json: bool
) -> None:
    from lexite.engines.static_table import export_static_table

    done = export_static_table(opened, place, scoring=scoring, vocabulary=vocabulary, overwrite=overwrite)
    total = sum(done.files.values())
    if as_json:
        facts = {"output": str(place), "to": STATIC_TABLE, "word_pieces": done.n_pieces, "words": done.n_words}
        print_json({**facts, "bytes": total, "files": done.files})
    else:
        words = f", {counted(done.n_words, 'literal word')}" if done.n_words else ""
        say(f"{counted(done.n_pieces, 'word piece')}{words}, {size(total)}: {place}")


def _check(opened: BM25Index, record: Path, scoring: Overrides[BM25Config], as_json: bool) -> None:
    from lexite.engines.statistics import describe_drift, drift_of, load_record, statistics_of

    recorded = load_record(record)
    now = statistics_of(opened, scoring.over(opened.scoring))
    drift = drift_of(recorded, now)
    if as_json:
        print_json({**vars(drift), "moved": drift.moved, "reasons": drift.reasons()})
        return
    say(describe_drift(recorded, now))
    if drift.moved:
        say(f"{' '.join(drift.reasons())} Export the index again.")
    else:
        say("The ranking has hardly moved: what the engine holds can stay.")
