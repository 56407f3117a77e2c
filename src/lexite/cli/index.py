"""``lexite index``: documents into an index."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from lexite.backbone.config import BackboneConfig
from lexite.cli.arguments import (
    NEEDS_WORDS,
    READING_OF_TEXT,
    RUNTIME,
    RUNTIME_HEADING,
    WORDS_HEADING,
    JsonFlag,
    Overwrite,
    PrefixOption,
    ProfileOption,
    Sources,
    VocabularyOption,
    feed,
    load_encoder,
    need_output,
    need_sources,
    open_documents,
    report_skipped,
    static_counter,
    vocabulary_info,
)
from lexite.cli.options import configured
from lexite.cli.output import print_json
from lexite.config import Overrides
from lexite.corpus.options import ReadOptions
from lexite.scoring.config import BM25Config
from lexite.scoring.words import LiteralConfig
from lexite.terms.config import TermsConfig


@configured(
    recipe=True,
    only={"terms": ("k_documents", "floor_documents"), "model": RUNTIME + READING_OF_TEXT},
    needs=NEEDS_WORDS,
    read="Reading",
    terms="Terms",
    scoring="Scoring (default: what the vocabulary says; can be changed at search time)",
    words=WORDS_HEADING,
    model=RUNTIME_HEADING,
)
def index_verb(
    sources: Sources = None,
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the index.", metavar="DIR")] = None,
    vocabulary: VocabularyOption = "default",
    prefix: PrefixOption = None,
    profile: ProfileOption = None,
    overwrite: Overwrite = False,
    text: Annotated[bool, typer.Option("--text/--no-text", help="Keep titles and texts, so that results show them.")] = True,
    static: Annotated[
        bool,
        typer.Option(
            "--static/--no-static",
            help="Keep a table that encodes queries without the model, counted from these documents.",
        ),
    ] = True,
    as_json: JsonFlag = False,
    read: ReadOptions,
    terms: Overrides[TermsConfig],
    scoring: Overrides[BM25Config],
    words: LiteralConfig,
    model: Overrides[BackboneConfig],
) -> None:
    """Build an index from documents.

    Documents are streamed: a corpus may be larger than memory. Nothing is committed until all of them are in, and a build
    that is killed leaves what was there before.

    Example: lexite index notes/ -o notes.lexite && lexite search notes.lexite
    """
    from lexite.index import BM25Index, check_index_folder
    from lexite.terms.static import table_of_corpus

    sources, output = need_sources(sources, "index"), need_output(output)
    check_index_folder(output, overwrite=overwrite)
    documents, report = open_documents(sources, read)
    started = time.monotonic()
    encoder = load_encoder(vocabulary, model, prefix, terms, profile)
    info, scored = vocabulary_info(encoder, model), scoring.over(encoder.scoring)
    counter = static_counter(encoder) if static else None
    with (
        _nothing_left_behind(output) as taken,
        BM25Index.create(output, info, scored, overwrite=overwrite, store_text=text, literal=words) as writer,
    ):
        taken.append(output)
        added = feed(writer, encoder, documents, counter=counter)
        if counter is not None:
            writer.set_static(table_of_corpus(counter, encoder))
        writer.commit()
    report_skipped(report)
    index = BM25Index.open(output)
    seconds = time.monotonic() - started
    summary = {
        "index": str(output),
        "documents": added,
        "skipped": report.skipped,
        "postings": index.n_postings,
        "bytes": index.bytes,
        "seconds": round(seconds, 2),
        "precision": encoder.backbone.precision,
    }
    if as_json:
        print_json(summary)
        return
    print(f"{added:,} documents, {index.n_postings / max(added, 1):,.0f} terms each, in {seconds:,.1f} s: {output}")
    print(f"Search it: lexite search {output}")


@contextlib.contextmanager
def _nothing_left_behind(folder: Path) -> Iterator[list[Path]]:
    """Removes a new folder again when the block ends with an error, Ctrl-C included, before the first commit.

    Yields:
        A list to put the folder in once it is locked. Without that nothing is removed: another process may write there.
    """
    from lexite.index.manifest import COMMIT_NAME

    new, taken = not folder.exists(), list[Path]()
    try:
        yield taken
    except BaseException:
        if new and taken and not (folder / COMMIT_NAME).exists():
            shutil.rmtree(folder, ignore_errors=True)
        raise
