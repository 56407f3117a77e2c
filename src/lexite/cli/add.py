"""``lexite add``: more documents into an index."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexite.backbone.config import BackboneConfig
from lexite.cli.arguments import (
    RUNTIME,
    RUNTIME_HEADING,
    JsonFlag,
    Sources,
    feed,
    load_encoder_of,
    need_sources,
    open_documents,
    report_skipped,
)
from lexite.cli.options import configured
from lexite.cli.output import counted, print_json
from lexite.config import Overrides
from lexite.corpus.options import ReadOptions
from lexite.errors import CorpusError

if TYPE_CHECKING:
    from lexite.corpus import Document, ReadReport
    from lexite.index import IndexWriter
    from lexite.terms import LatentTermEncoder

logger = logging.getLogger("lexite")


@configured(only={"model": RUNTIME}, read="Reading", model=RUNTIME_HEADING)
def add_verb(
    index: Annotated[Path, typer.Argument(help="Folder of the index.", metavar="INDEX")],
    sources: Sources = None,
    *,
    replace: Annotated[bool, typer.Option("--replace", help="Let documents take the place of those with the same id.")] = False,
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

    sources = need_sources(sources, f"add {index}")
    opened = BM25Index.open(index)
    documents, report = open_documents(sources, read)
    encoder = load_encoder_of(opened, vocabulary, model)
    with BM25Index.writer(index, vocabulary=encoder.fingerprint) as writer:
        new = documents if replace else _new_ones(documents, writer, read, report)
        added = _feed_and_count(writer, encoder, new, replace)
        writer.commit()
    report_skipped(report)
    total = BM25Index.open(index).n_documents
    if as_json:
        print_json({"index": str(index), "added": added, "skipped": report.skipped, "documents": total})
    else:
        print(f"{counted(added)} added; {index} holds {total:,}.")


def _feed_and_count(writer: IndexWriter, encoder: LatentTermEncoder, documents: Iterator[Document], replace: bool) -> int:
    """Encodes documents into an index, and counts them into its static table; returns how many were added.

    Documents that are replaced stay counted, as deleted ones do: a table has sums over tokens, not over documents.
    """
    from lexite.terms.static import counter_for

    table = writer.static()
    counter = None if table is None else counter_for(encoder.backbone, encoder.n_latents)
    added = feed(writer, encoder, documents, counter=counter, replace=replace)
    if table is not None and counter is not None:
        writer.set_static(counter.moved(table, prior_tokens=math.inf))
    elif table is not None:
        logger.info("%s has no tokenizer, so the index's static table stays as it is.", encoder.backbone.name)
    return added


def _new_ones(
    documents: Iterator[Document], writer: IndexWriter, options: ReadOptions, report: ReadReport
) -> Iterator[Document]:
    """The documents whose ids the index does not have; another is an error, or counted as skipped with ``--skip-bad``."""
    for document in documents:
        if document.id not in writer:
            yield document
        elif options.skip_bad:
            report.read -= 1
            report.skip(f"The index has a document '{document.id}' already.")
        else:
            raise CorpusError(
                f"The index has a document '{document.id}' already. Let it be replaced with --replace, "
                "or pass over such documents with --skip-bad. Nothing was added."
            )
