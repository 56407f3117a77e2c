"""Arguments and options that several verbs share, and what they stand for."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from lexite.backbone.config import BackboneConfig
from lexite.cli.output import WrongUsage
from lexite.config import Overrides, parse_count
from lexite.errors import ConfigError, CorpusError
from lexite.terms.config import Profile, TermsConfig
from lexite.wording import counted

if TYPE_CHECKING:
    from lexite.corpus import Document, Query, ReadOptions, ReadReport
    from lexite.terms import LatentTermEncoder

logger = logging.getLogger("lexite")
T = TypeVar("T")

KINDS_SHOWN = 8
RUNTIME = ("device", "precision", "trust_remote_code")
READING_OF_TEXT = ("long", "query_prompt", "document_prompt")  # the vocabulary stays the same
RUNTIME_HEADING = "Model"
WORDS_HEADING = "Literal words"
NEEDS_WORDS = {
    "literal": ("literal_weight", "literal_weight_documents", "literal_stop_words", "literal_unspaced", "literal_compounds")
}

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        help="Files (text, Markdown, HTML, PDF, DOCX, PPTX, e-mail, code, JSONL, CSV, TSV, Parquet; also .gz, .bz2, .xz, "
        ".zst), folders, patterns ('docs/**/*.md'), BEIR folders, builtin:python, ir_datasets:NAME, or - for standard input.",
        metavar="SOURCES...",
        show_default=False,
    ),
]
VocabularyOption = Annotated[
    str, typer.Option("--vocabulary", help="Vocabulary: a folder, a name on the Hugging Face hub, or default.", metavar="NAME")
]
WaitOption = Annotated[
    float, typer.Option("--wait", help="Seconds to wait while another process writes the index.", min=0.0, metavar="SECONDS")
]
PassagesOption = Annotated[
    str,
    typer.Option(
        "--passages",
        help="How texts are cut into passages: auto (some 160 words, where there are more than 250), none, words of each, or "
        "tables (as auto, and rows of tables too).",
        metavar="auto|none|tables|N",
    ),
]
FieldWeightOption = Annotated[
    list[str] | None,
    typer.Option(
        "--field-weight",
        help="Encode title, headings and body apart, and let one count so much: title=2. Can be given for each of them.",
        metavar="FIELD=N",
        show_default=False,
    ),
]
PrefixOption = Annotated[
    int | None,
    typer.Option(
        "--prefix",
        help="Use the first N latents only, of a nested vocabulary or a ranked one.",
        metavar="N",
        show_default=False,
    ),
]
ProfileOption = Annotated[
    Profile | None,
    typer.Option(
        "--profile",
        help="How many terms texts get, in place of what the vocabulary says: full drops none, small makes a small index. "
        "Options that are given win over it.",
        show_default=False,
    ),
]
PresetOption = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help="Way of searching, chosen by measurement: fast, cascade, default, best, tables or code (docs/second-stages.md).",
        metavar="NAME",
        show_default=False,
    ),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for machines.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output of the same kind that exists already.")]


def need_sources(sources: Sequence[str] | None, verb: str) -> list[str]:
    """The sources, when there are any.

    Raises:
        WrongUsage: there are none, neither on the command line nor in a recipe.
    """
    if not sources:
        raise WrongUsage(f"No documents were named. Give files or folders: lexite {verb} SOURCES..., or - for standard input.")
    return list(sources)


def need_output(output: Path | None) -> Path:
    """The output, when there is one.

    Raises:
        WrongUsage: there is none, neither on the command line nor in a recipe.
    """
    if output is None:
        raise WrongUsage("No output was named. Give one with -o.")
    return output


def count_of(text: str, option: str) -> int:
    """The count that an option was given, such as ``500k``.

    Raises:
        WrongUsage: it is no whole number.
    """
    try:
        return parse_count(text)
    except ConfigError as error:
        raise WrongUsage(f"{option}: {error}") from None


def load_vocabulary(
    vocabulary: str,
    model: Overrides[BackboneConfig],
    prefix: int | None = None,
    terms: Overrides[TermsConfig] | None = None,
    profile: Profile | None = None,
) -> LatentTermEncoder:
    """Loads the vocabulary that the options name, to build an index with it; see :func:`lexite.search.queries.load_encoder`."""
    from lexite.search.queries import load_encoder

    values = None if terms is None else terms.values
    return load_encoder(vocabulary, prefix=prefix, profile=profile, terms=values, **model.values)


def report_skipped(report: ReadReport) -> None:
    """Warns about what was skipped, with the first messages and the reasons, and tells what else is worth knowing."""
    for note in report.notes:
        logger.warning("%s", note)
    if report.skipped:
        for message in report.messages:
            logger.warning("%s", message)
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in report.reasons.most_common())
        skipped = "1 was skipped" if report.skipped == 1 else f"{report.skipped:,} were skipped"
        logger.warning("%s (%s), %s read.", skipped, reasons, f"{report.read:,}")
    if report.unread:
        listed = ", ".join(f"{ending} {count:,}" for ending, count in report.unread.most_common(KINDS_SHOWN))
        more = " …" if len(report.unread) > KINDS_SHOWN else ""
        logger.info("Not read, since of another kind: %s (%s%s).", counted(report.unread.total(), "file"), listed, more)


def skipped_to_json(report: ReadReport) -> dict[str, Any]:
    """What was left out, as JSON values: counts, reasons and the first messages."""
    return {
        "skipped": report.skipped,
        "skipped_reasons": dict(report.reasons),
        "skipped_messages": report.messages,
        "notes": report.notes,
        "files_not_read": dict(report.unread),
    }


def open_documents(
    sources: Sequence[str],
    options: ReadOptions,
    *,
    taken: Container[str] = (),
    held: int = 0,
    field_types: Mapping[str, str] | None = None,
) -> tuple[Iterator[Document], ReadReport]:
    """A stream of documents and the report that fills while it is read. The first is read at once, to fail early.

    Args:
        sources: as a person named them.
        options: how they are read.
        taken: ids of documents that are in an index already, which records without an id do not get.
        held: how many these are.
        field_types: types of the fields that the index has.
    """
    from lexite.corpus import ReadReport, read_documents

    report = ReadReport()
    return begun(read_documents(sources, options, report, taken=taken, held=held, field_types=field_types)), report


def open_queries(sources: Sequence[str], options: ReadOptions) -> tuple[Iterator[Query], ReadReport]:
    """The same for queries; an id that occurs in two sources is an error."""
    from lexite.corpus import ReadReport

    report = ReadReport()
    return begun(_queries_of(sources, options, report)), report


def _queries_of(sources: Sequence[str], options: ReadOptions, report: ReadReport) -> Iterator[Query]:
    from lexite.corpus import read_queries

    ids: set[str] = set()
    for source in sources:
        for query in read_queries(source, options, report):
            if query.id in ids:  # as in text files, whose queries are numbered from 1 in each
                raise CorpusError(
                    f"{source}: the query id '{query.id}' occurred in a source before. Take the sources one by one."
                )
            ids.add(query.id)
            yield query


def begun(stream: Iterator[T], n: int = 1) -> Iterator[T]:
    """The same stream, with its first ``n`` items read already, so that what is wrong with them is found early."""
    return chain(list(islice(stream, n)), stream)
