"""``lexite delete``: documents out of an index."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexite.cli.arguments import JsonFlag, WaitOption
from lexite.cli.options import configured
from lexite.cli.output import WrongUsage, print_json, quoted, say
from lexite.wording import counted


@configured()
def delete_verb(
    index: Annotated[Path, typer.Argument(help="Folder of the index.", metavar="INDEX")],
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of the documents.", metavar="ID...")] = None,
    *,
    ids_from: Annotated[
        Path | None, typer.Option("--from", help="File with an id on each line; - is standard input.", metavar="FILE")
    ] = None,
    missing_ok: Annotated[bool, typer.Option("--missing-ok", help="Pass over ids that the index does not have.")] = False,
    wait: WaitOption = 0.0,
    as_json: JsonFlag = False,
) -> None:
    """Delete documents from an index.

    All of them are deleted, or none: an id that is not in the index is an error. Statistics are right at once.

    Example: lexite list notes.lexite --where "year < 2010" --ids | lexite delete notes.lexite --from -
    """
    from lexite.cli.id_files import read_ids
    from lexite.index import BM25Index

    if not ids and ids_from is None:
        raise WrongUsage(f"No documents were named. Give ids: lexite delete {quoted(index)} ID..., or --from FILE.")
    listed = [*(ids or ()), *(read_ids(ids_from) if ids_from is not None else ())]
    with BM25Index.writer(index, wait=wait) as writer:
        deleted = writer.delete(listed, missing_ok=missing_ok)
        writer.commit()
    total = BM25Index.open(index).n_documents
    if as_json:
        print_json({"index": str(index), "deleted": deleted, "documents": total})
    else:
        say(f"{counted(deleted)} deleted; {index} holds {total:,}.")
