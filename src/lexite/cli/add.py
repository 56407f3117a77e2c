"""``lexite add``: more documents into an index."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lexite.backbone.base import TEXTS_PER_CHUNK
from lexite.backbone.config import BackboneConfig
from lexite.cli.arguments import (
    RUNTIME,
    RUNTIME_HEADING,
    JsonFlag,
    Sources,
    WaitOption,
    begun,
    need_sources,
    open_documents,
    report_skipped,
    skipped_to_json,
)
from lexite.cli.options import configured
from lexite.cli.output import is_quiet, print_json, quoted, say
from lexite.config import Overrides
from lexite.corpus.options import ReadOptions
from lexite.wording import counted

if TYPE_CHECKING:
    from lexite.corpus import ReadReport


@configured(only={"model": RUNTIME}, read="Reading", model=RUNTIME_HEADING)
def add_verb(
    index: Annotated[Path, typer.Argument(help="Folder of the index.", metavar="INDEX")],
    sources: Sources = None,
    *,
    replace: Annotated[bool, typer.Option("--replace", help="Let documents take the place of those with the same id.")] = False,
    wait: WaitOption = 0.0,
    vocabulary: Annotated[
        str | None, typer.Option("--vocabulary", help="Where the index's vocabulary is, if it was moved.", metavar="NAME")
    ] = None,
    as_json: JsonFlag = False,
    read: ReadOptions,
    model: Overrides[BackboneConfig],
) -> None:
    """Add documents to an index, or replace them.

    They are encoded as the documents of the index were, with their literal words if the index has those; they are counted into
    its static table if it has one; and they can be found at once when the command ends. All of them are added, or none. A
    document whose id is in the index already is an error without --replace; with --skip-bad it is passed over.
    """
    from lexite.index import BM25Index
    from lexite.search.indexing import Indexer, index_documents, only_new
    from lexite.search.queries import encoder_of

    sources = need_sources(sources, f"add {quoted(index)}")
    with BM25Index.writer(index, wait=wait) as writer:  # a lock and ids that are there are found before the model is loaded
        types = BM25Index.open(index).fields
        documents, report = open_documents(sources, read, taken=writer, held=writer.n_documents, field_types=types)
        new = (
            documents
            if replace
            else begun(only_new(documents, writer, _skip(report) if read.skip_bad else None), TEXTS_PER_CHUNK)
        )
        encoder = encoder_of(BM25Index.open(index).vocabulary, vocabulary, **model.values)
        indexer = Indexer.change(writer, encoder)
        taken, replaced = index_documents(indexer, new, replace=replace, show_progress=not is_quiet())
        indexer.commit()
    report_skipped(report)
    total = BM25Index.open(index).n_documents
    if as_json:
        counts: dict[str, Any] = {"index": str(index), "added": taken - replaced, "replaced": replaced}
        counts |= {**skipped_to_json(report), "documents": total}
        print_json({**counts, **indexer.unread.to_json()})
    else:
        also = f", {replaced:,} replaced" if replace else ""
        say(f"{counted(taken - replaced)} added{also}; {index} holds {total:,}.")


def _skip(report: ReadReport) -> Callable[[str], None]:
    """What counts a document that the index has already as skipped, not as read."""

    def skip(message: str) -> None:
        report.read -= 1
        report.skip(message, "in the index already")

    return skip
