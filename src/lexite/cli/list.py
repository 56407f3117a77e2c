"""``lexite list``: the documents of an index."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lexite.cli.arguments import JsonFlag
from lexite.cli.documents import fields_to_json, print_heading
from lexite.cli.field_view import FieldView
from lexite.cli.options import configured
from lexite.cli.output import WrongUsage, console, print_json
from lexite.search.limits import HitLimits
from lexite.wording import escaped


@configured()
def list_verb(
    index: Annotated[Path, typer.Argument(help="Folder of the index.", metavar="INDEX")],
    *,
    where: Annotated[
        str | None, typer.Option("--where", help="Only documents that pass a filter, as in SQL's WHERE.", metavar="FILTER")
    ] = None,
    sort: Annotated[
        str | None, typer.Option("--sort", help="Order by a field; FIELD:desc begins with the largest.", metavar="FIELD")
    ] = None,
    show: Annotated[
        str | None, typer.Option("--show", help="Fields to show, with commas between them.", metavar="FIELDS")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="Show so many documents at most.", min=1)] = None,
    offset: Annotated[int, typer.Option("--offset", help="Leave out the first ones.", min=0)] = 0,
    ids_only: Annotated[
        bool, typer.Option("--ids", help="Print an id on each line, as lexite delete --from reads them.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """List the documents of an index, with title and id, in the order in which they came or by a field.

    Example: lexite list notes.lexite --where "year >= 2020" --show year,author
    """
    from lexite.index import BM25Index

    if ids_only and (as_json or show):
        raise WrongUsage("--ids prints ids alone, so --json and --show have no place beside it.")
    opened = BM25Index.open(index)
    view = FieldView.of(opened, show, None, HitLimits(where=where, sort=sort))
    numbers = opened.select(where, sort=sort)
    stop = None if limit is None else offset + limit
    out = console()
    for number in numbers[offset:stop].tolist():
        if ids_only:
            _print_id(opened.document_id(number))
            continue
        document = opened.stored(number)
        if as_json:
            print_json({"id": document.id, "title": document.title, "fields": fields_to_json(document.fields)})
        else:
            print_heading(out, document, view.names)


def _print_id(identifier: str) -> None:
    """Writes an id on one line: as it is for another program, safe to look at on a terminal.

    An id with a line break is escaped everywhere, since its parts might be ids of other documents.
    """
    as_it_is = not sys.stdout.isatty() and "\n" not in identifier and "\r" not in identifier
    print(identifier if as_it_is else escaped(identifier))
