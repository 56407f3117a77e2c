"""``lexite get``: documents of an index, as it keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexite.cli.arguments import JsonFlag
from lexite.cli.documents import document_to_json, print_document
from lexite.cli.options import configured
from lexite.cli.output import console, print_json
from lexite.errors import CorpusError


@configured()
def get_verb(
    index: Annotated[Path, typer.Argument(help="Folder of the index.", metavar="INDEX")],
    ids: Annotated[list[str], typer.Argument(help="Ids of the documents.", metavar="ID...")],
    *,
    as_json: JsonFlag = False,
) -> None:
    """Show documents of an index: title, fields and text.

    An index that was built with --no-text has ids and fields alone. With --json, each document is an object on a line.
    """
    from lexite.index import BM25Index

    opened = BM25Index.open(index)
    found = [opened.get(identifier) for identifier in ids]
    for identifier, document in zip(ids, found, strict=True):
        if document is None:
            raise CorpusError(f"The index has no document '{identifier}'.")
    for document in found:
        if document is not None:
            if as_json:
                print_json(document_to_json(document))
            else:
                print_document(console(), document)
