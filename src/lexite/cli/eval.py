"""``lexite eval``: how good a vocabulary is on test collections."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lexite.backbone.config import BackboneConfig
from lexite.cli.arguments import (
    NEEDS_WORDS,
    READING_OF_TEXT,
    RUNTIME,
    RUNTIME_HEADING,
    WORDS_HEADING,
    FieldWeightOption,
    PassagesOption,
    PrefixOption,
    PresetOption,
    ProfileOption,
    VocabularyOption,
    load_vocabulary,
)
from lexite.cli.options import configured
from lexite.cli.output import WrongUsage, is_quiet, print_table, write_json
from lexite.cli.strategy_options import StrategySettings, with_strategies
from lexite.config import Overrides
from lexite.corpus.options import ReadOptions
from lexite.corpus.passages import passages_of
from lexite.corpus.text_fields import field_weights_of
from lexite.errors import ConfigError, StorageError
from lexite.index.side_config import SideDataConfig
from lexite.scoring.config import BM25Config
from lexite.scoring.words import LiteralConfig
from lexite.search.presets import Preset, preset_of
from lexite.search.tabular import preset_for_documents
from lexite.terms.config import TermsConfig


@configured(
    recipe=True,
    only={
        "terms": ("k_documents", "k_queries", "floor_documents", "floor_queries"),
        "read": ("skip_bad",),
        "model": RUNTIME + READING_OF_TEXT,
    },
    needs=NEEDS_WORDS,
    read="Reading",
    terms="Terms",
    scoring="Scoring (default: what the vocabulary says)",
    words=WORDS_HEADING,
    side="Side files, for second stages (default: what --then needs, vectors in int8)",
    model=RUNTIME_HEADING,
)
@with_strategies
def eval_verb(
    collections: Annotated[
        list[str] | None,
        typer.Argument(help="BEIR folders: corpus, queries, qrels.", metavar="COLLECTION...", show_default=False),
    ] = None,
    *,
    vocabulary: VocabularyOption = "default",
    prefix: PrefixOption = None,
    profile: ProfileOption = None,
    baselines: Annotated[
        str,
        typer.Option(
            "--baselines",
            help="Comma-separated: dense (the same backbone), bm25 (words), bm25f (words of title, headings, body), "
            "sparse:MODEL (a SparseEncoder), vectors:FOLDER (weights of terms), run:FILE (a TREC run); or none.",
        ),
    ] = "dense,bm25",
    postings: Annotated[
        str | None,
        typer.Option(
            "--postings",
            help="Postings per document that bm25f, sparse and vectors keep; or equal.",
            metavar="N",
            show_default="all",
        ),
    ] = None,
    query_terms: Annotated[str | None, typer.Option("--query-terms", help="The same for terms per query.", metavar="N")] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the results as JSON; - is stdout, in place of the table.", metavar="FILE"),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Which qrels: the name of the file in qrels/.")] = "test",
    top_k: Annotated[int, typer.Option("--top-k", help="Documents ranked per query.", min=100)] = 100,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Keep token states here, so that the model runs only once.", metavar="DIR")
    ] = None,
    runs: Annotated[Path | None, typer.Option("--runs", help="Write runs and qrels here in TREC form.", metavar="DIR")] = None,
    static: Annotated[
        bool,
        typer.Option("--static/--no-static", help="Search the same index with static queries too, through its own table."),
    ] = False,
    then: Annotated[
        list[str] | None,
        typer.Option(
            "--then",
            help="Second stages to measure over the same index: names with commas between them. Can be given several times.",
            metavar="NAMES",
            show_default=False,
        ),
    ] = None,
    preset: PresetOption = None,
    passages: PassagesOption = "auto",
    field_weight: FieldWeightOption = None,
    strategies: StrategySettings,
    read: ReadOptions,
    terms: Overrides[TermsConfig],
    scoring: Overrides[BM25Config],
    words: LiteralConfig,
    side: SideDataConfig,
    model: Overrides[BackboneConfig],
) -> None:
    """Measure a vocabulary on test collections, beside its baselines.

    Shows nDCG@10, R@100 and MRR@10, what the index costs, and paired tests of nDCG@10 against each baseline.

    Example: lexite eval collections/scifact --json scifact.json
    """
    from lexite.evaluation import evaluate_collections
    from lexite.evaluation.baselines import baselines_of
    from lexite.evaluation.evaluate import LEAST_TOP_K

    if not collections:
        raise WrongUsage("No collections were named. Give BEIR folders: lexite eval COLLECTION...")
    chains = strategies.chains(then or [])
    numbers: Mapping[str, Any] = scoring.values
    chosen = preset_of(preset or "default")
    if preset is not None:
        chosen = _preset_over(preset, collections, split, read)
        static, words, passages = static or chosen.static, chosen.words_over(words), chosen.passages_over(passages)
        numbers = chosen.recorded_over(numbers)
        chains |= {preset: chosen.chain()} if preset_of(preset).steps else {}
    cutting, weights = passages_of(passages), field_weights_of(field_weight)
    named = [name.strip() for name in baselines.split(",") if name.strip() not in ("", "none")]
    try:
        baselines_of(named)  # before the collections are read
    except ConfigError as error:
        raise WrongUsage(str(error)) from None
    if top_k < LEAST_TOP_K:  # a recipe's
        raise ConfigError(f"top_k is {top_k}, but R@100 needs at least {LEAST_TOP_K} documents per query.")
    if json_file is not None and str(json_file) != "-":
        _check_writable(json_file)
    report = evaluate_collections(
        lambda: load_vocabulary(vocabulary, model, prefix, terms, profile),
        collections,
        baselines=named,
        scoring=numbers,
        literal=words,
        passages=cutting,
        field_weights=weights,
        static=static,
        static_scoring={**chosen.scoring, **scoring.values} if preset is not None and chosen.static else None,
        chains=chains,
        side_data=side,
        postings=_kept("--postings", postings),
        query_terms=_kept("--query-terms", query_terms),
        top_k=top_k,
        split=split,
        cache=cache,
        runs_dir=runs,
        options=read,
        show_progress=not is_quiet(),
    )
    if json_file is None or str(json_file) != "-":
        print_table(report.table())
    if json_file is not None:
        write_json(report.to_json(), json_file)


def _preset_over(name: str, collections: Sequence[str | Path], split: str, read: ReadOptions) -> Preset:
    """The preset that suits the documents of the collections.

    Raises:
        WrongUsage: one suits some of them, and another one the others.
    """
    from lexite.evaluation.judged import open_collections

    opened = open_collections(collections, split)
    found = [preset_for_documents(name, each.documents(read.for_texts()))[0] for each in opened]
    if any(each is not found[0] for each in found):
        apart = ", ".join(each.name for each, preset in zip(opened, found, strict=True) if preset is not preset_of(name))
        raise WrongUsage(
            f"Most documents of {apart} have tables, and {name} treats such collections in another way. Measure them apart."
        )
    return found[0]


def _kept(option: str, written: str | None) -> float | Literal["equal"] | None:
    """How many postings or terms are kept, from what a person writes."""
    if written is None or written == "equal":
        return written  # type: ignore[return-value]
    try:
        return float(written)
    except ValueError:
        raise WrongUsage(f"{option} is '{written}', but must be a number, or equal.") from None


def _check_writable(path: Path) -> None:
    """Finds out before the work, not after it, that the results cannot be written."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise StorageError(f"{path} cannot be written. Name a file in a folder that you may write to.")
