"""``lexite delete``: documents out of an index."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexite.cli.arguments import JsonFlag
from lexite.cli.options import configured
from lexite.cli.output import print_json, say
from lexite.wording import counted


@configured()
def delete_verb(
    index: Annotated[Path, typer.Argument(help="Folder of the index.", metavar="INDEX")],
    ids: Annotated[list[str], typer.Argument(help="Ids of the documents.", metavar="ID...")],
    *,
    as_json: JsonFlag = False,
) -> None:
    """Delete documents from an index.

    All of them are deleted, or none: an id that is not in the index is an error. Statistics are right at once.
    """
    from lexite.index import BM25Index

    with BM25Index.writer(index) as writer:
        deleted = writer.delete(ids)
        writer.commit()
    total = BM25Index.open(index).n_documents
    if as_json:
        print_json({"index": str(index), "deleted": deleted, "documents": total})
    else:
        say(f"{counted(deleted)} deleted; {index} holds {total:,}.")
