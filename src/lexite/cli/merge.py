"""``lexite merge``: one index into one segment, or several indexes into one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from lexite.cli.arguments import JsonFlag, Overwrite, WaitOption
from lexite.cli.options import configured
from lexite.cli.output import WrongUsage, print_json, quoted, say
from lexite.wording import counted


@configured()
def merge_verb(
    indexes: Annotated[list[Path], typer.Argument(help="Folder of an index; with -o, of several.", metavar="INDEX...")],
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of a new index, of all documents.", metavar="DIR", show_default=False),
    ] = None,
    overwrite: Overwrite = False,
    wait: WaitOption = 0.0,
    as_json: JsonFlag = False,
) -> None:
    """Bring an index into one segment, without what was deleted; or, with -o, several indexes into a new one.

    Segments are merged now and then anyway. After many changes this makes searches somewhat faster and the folder smaller.

    Several indexes of the same vocabulary and settings become one as a build of all their documents would be. They stay as
    they are.

    Example: lexite merge january.lexite february.lexite -o both.lexite
    """
    from lexite.index import BM25Index
    from lexite.index.joining import join_indexes

    if output is None:
        if len(indexes) > 1:
            raise WrongUsage("Several indexes become a new one: name its folder with -o.")
        if overwrite:
            raise WrongUsage("--overwrite has no effect without -o. Leave it out.")
        with BM25Index.writer(indexes[0], wait=wait) as writer:
            writer.merge()
        merged = BM25Index.open(indexes[0])
        if as_json:
            print_json({"index": str(indexes[0]), "documents": merged.n_documents, "bytes": merged.bytes})
        else:
            say(f"{indexes[0]} holds {counted(merged.n_documents)} in one segment.")
        return
    if wait:
        raise WrongUsage("--wait has no effect with -o, which changes no index. Leave it out.")
    started = time.monotonic()
    join_indexes(indexes, output, overwrite=overwrite)
    merged = BM25Index.open(output)
    seconds = time.monotonic() - started
    if as_json:
        summary = {"index": str(output), "merged": [str(index) for index in indexes], "documents": merged.n_documents}
        print_json({**summary, "bytes": merged.bytes, "seconds": round(seconds, 2)})
    else:
        say(
            f"{output} holds {counted(merged.n_documents)} of {counted(len(indexes), 'index', 'indexes')}, in {seconds:,.1f} s."
        )
        say(f"Search it: lexite search {quoted(output)}")
