"""``lexite sync``: an index in step with files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lexite.backbone.config import BackboneConfig
from lexite.cli.arguments import (
    RUNTIME,
    RUNTIME_HEADING,
    JsonFlag,
    Sources,
    WaitOption,
    need_sources,
    report_skipped,
    skipped_to_json,
)
from lexite.cli.options import configured
from lexite.cli.output import is_quiet, print_json, quoted, say
from lexite.config import Overrides
from lexite.corpus.options import ReadOptions
from lexite.wording import counted, escaped

if TYPE_CHECKING:
    from lexite.terms import LatentTermEncoder


@configured(only={"model": RUNTIME}, read="Reading", model=RUNTIME_HEADING)
def sync_verb(
    index: Annotated[Path, typer.Argument(help="Folder of the index.", metavar="INDEX")],
    sources: Sources = None,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count new, changed and vanished files, and change nothing.")
    ] = False,
    wait: WaitOption = 0.0,
    vocabulary: Annotated[
        str | None, typer.Option("--vocabulary", help="Where the index's vocabulary is, if it was moved.", metavar="NAME")
    ] = None,
    as_json: JsonFlag = False,
    read: ReadOptions,
    model: Overrides[BackboneConfig],
) -> None:
    """Bring an index in step with files and folders.

    New files are added, changed ones replaced, vanished ones deleted; documents of other sources stay. Files are compared by
    size and time, then by their bytes. What was done is committed every 30 seconds: a sync that was killed is gone on with.

    Example: lexite sync notes.lexite notes/
    """
    from lexite.index import BM25Index
    from lexite.search.queries import encoder_of
    from lexite.search.syncing import sync_index

    sources = need_sources(sources, f"sync {quoted(index)}")

    def encoder() -> LatentTermEncoder:
        return encoder_of(BM25Index.open(index).vocabulary, vocabulary, **model.values)

    done = sync_index(index, sources, encoder, read=read, dry_run=dry_run, wait=wait, show_progress=not is_quiet())
    report_skipped(done.read)
    total = BM25Index.open(index).n_documents
    if as_json:
        counts: dict[str, Any] = {"index": str(index), "dry_run": dry_run, **done.to_json(), **skipped_to_json(done.read)}
        counts |= {"names": done.names} if dry_run else {}
        print_json({**counts, **done.unread.to_json(), "documents": total})
        return
    say(f"Files: {done.new:,} new, {done.changed:,} changed, {done.unchanged:,} unchanged, {done.vanished:,} vanished.")
    if dry_run:
        for sign, what in (("+", "new"), ("~", "changed"), ("-", "vanished")):
            for name in done.names[what]:
                say(f"{sign} {escaped(name)}")
        say(f"Nothing was changed; {index} holds {counted(total)}.")
        return
    same = f", {done.same:,} as they were" if done.same else ""
    say(
        f"Documents: {done.added:,} added, {done.replaced:,} replaced, {done.deleted:,} deleted{same}; {index} holds {total:,}."
    )
