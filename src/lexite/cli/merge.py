"""``lexite merge``: an index with many changes into one segment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexite.cli.arguments import JsonFlag, WaitOption
from lexite.cli.options import configured
from lexite.cli.output import print_json, say
from lexite.wording import counted


@configured()
def merge_verb(
    index: Annotated[Path, typer.Argument(help="Folder of the index.", metavar="INDEX")],
    *,
    wait: WaitOption = 0.0,
    as_json: JsonFlag = False,
) -> None:
    """Bring an index into one segment, without what was deleted.

    Segments are merged now and then anyway. After many changes this makes searches somewhat faster and the folder smaller.
    """
    from lexite.index import BM25Index

    with BM25Index.writer(index, wait=wait) as writer:
        writer.merge()
    merged = BM25Index.open(index)
    if as_json:
        print_json({"index": str(index), "documents": merged.n_documents, "bytes": merged.bytes})
    else:
        say(f"{index} holds {counted(merged.n_documents)} in one segment.")
