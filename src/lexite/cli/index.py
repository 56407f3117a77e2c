"""``lexite index``: documents into an index."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lexite.backbone.config import BackboneConfig
from lexite.cli.arguments import (
    NEEDS_WORDS,
    READING_OF_TEXT,
    RUNTIME,
    RUNTIME_HEADING,
    WORDS_HEADING,
    FieldWeightOption,
    JsonFlag,
    Overwrite,
    PassagesOption,
    PrefixOption,
    PresetOption,
    ProfileOption,
    Sources,
    VocabularyOption,
    load_vocabulary,
    need_output,
    need_sources,
    open_documents,
    report_skipped,
    skipped_to_json,
)
from lexite.cli.index_shards import Given, index_shards
from lexite.cli.options import configured
from lexite.cli.output import WrongUsage, is_quiet, print_json, quoted, say
from lexite.config import Overrides
from lexite.corpus.options import ReadOptions
from lexite.corpus.passages import passages_of
from lexite.corpus.text_fields import field_weights_of
from lexite.index.side_config import SideDataConfig
from lexite.scoring.config import BM25Config, scoring_of
from lexite.scoring.words import LiteralConfig
from lexite.search.presets import preset_of
from lexite.search.tabular import preset_for_documents
from lexite.terms.config import TermsConfig
from lexite.wording import counted


@configured(
    recipe=True,
    only={"terms": ("k_documents", "floor_documents"), "model": RUNTIME + READING_OF_TEXT},
    needs=NEEDS_WORDS,
    read="Reading",
    terms="Terms",
    scoring="Scoring (default: what the vocabulary says; can be changed at search time)",
    words=WORDS_HEADING,
    side="Side files, for second stages",
    model=RUNTIME_HEADING,
)
def index_verb(
    sources: Sources = None,
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the index.", metavar="DIR")] = None,
    from_terms: Annotated[
        str | None,
        typer.Option(
            "--from-terms",
            help="Build from the shards in this folder, which 'lexite encode --shard' made, in place of SOURCES. No model is "
            "loaded.",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
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
    passages: PassagesOption = "auto",
    field_weight: FieldWeightOption = None,
    preset: PresetOption = None,
    as_json: JsonFlag = False,
    read: ReadOptions,
    terms: Overrides[TermsConfig],
    scoring: Overrides[BM25Config],
    words: LiteralConfig,
    side: SideDataConfig,
    model: Overrides[BackboneConfig],
) -> None:
    """Build an index from documents.

    Documents are streamed: a corpus may be larger than memory. Nothing is committed until all of them are in, and a build
    that is killed leaves what was there before.

    Example: lexite index notes/ -o notes.lexite && lexite search notes.lexite
    """
    from lexite.index import BM25Index, check_index_folder
    from lexite.search.indexing import Indexer, index_documents
    from lexite.search.sync_plan import files_of_build

    if from_terms is not None:
        given = Given(sources, vocabulary, prefix, profile, passages, field_weight, preset, read, terms, words, side, model)
        index_shards(
            from_terms, need_output(output), given, scoring, text=text, static=static, overwrite=overwrite, as_json=as_json
        )
        return
    sources, output = need_sources(sources, "index"), need_output(output)
    numbers: Mapping[str, Any] = scoring.values
    if preset is not None and preset_of(preset).static and not static:
        raise WrongUsage(f"The preset {preset} needs the static table. Leave --no-static out.")
    cutting, weights = passages_of(passages), field_weights_of(field_weight)
    check_index_folder(output, overwrite=overwrite)
    documents, report = open_documents(sources, read)
    if preset is not None:
        chosen, documents = preset_for_documents(preset, documents)
        side, words = chosen.side_data(side), chosen.words_over(words)
        cutting = passages_of(chosen.passages_over(passages))
        numbers = chosen.recorded_over(numbers)
    started, began = time.monotonic(), time.time_ns()
    encoder = load_vocabulary(vocabulary, model, prefix, terms, profile)
    indexer = Indexer.create(
        output,
        encoder,
        scoring=scoring_of(numbers, encoder.scoring),
        literal=words,
        passages=cutting,
        field_weights=weights,
        side_data=side,
        store_text=text,
        store_fields=read.asks_for_fields or None,
        static=static,
        overwrite=overwrite,
    )
    with indexer:
        added, _ = index_documents(indexer, documents, show_progress=not is_quiet())
        indexer.writer.set_files(files_of_build(sources, indexer.writer, began))
        indexer.commit()
    report_skipped(report)
    index = BM25Index.open(output)
    seconds = time.monotonic() - started
    summary = {
        "index": str(output),
        "documents": added,
        "passages": index.n_passages,
        **skipped_to_json(report),
        **indexer.unread.to_json(),
        "postings": index.n_postings,
        "bytes": index.bytes,
        "seconds": round(seconds, 2),
        "precision": encoder.backbone.precision,
    }
    if as_json:
        print_json(summary)
        return
    cut = f" in {counted(index.n_passages, 'passage')}" if index.n_passages > added else ""
    terms_each = counted(round(index.n_postings / max(index.n_passages, 1)), "term")
    say(f"{counted(added)}{cut}, {terms_each} each, in {seconds:,.1f} s: {output}")
    say(f"Search it: lexite search {quoted(output)}")
