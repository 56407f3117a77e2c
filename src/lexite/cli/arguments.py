"""Steps that several verbs share: load a vocabulary, read documents, encode them and hand them to an index."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from lexite.backbone.config import BackboneConfig
from lexite.cli.output import is_quiet
from lexite.config import Overrides
from lexite.errors import ConfigError, CorpusError, IndexFormatError
from lexite.progress import progress
from lexite.terms.config import Profile, TermsConfig, with_profile

if TYPE_CHECKING:
    from lexite.corpus import Document, Query, ReadOptions, ReadReport
    from lexite.index import BM25Index, IndexWriter, VocabularyInfo
    from lexite.terms import LatentTermEncoder
    from lexite.terms.static import StaticCounter

logger = logging.getLogger("lexite")
T = TypeVar("T")

DOCUMENTS_PER_CHUNK = 1024
RUNTIME = ("device", "precision", "trust_remote_code")
READING_OF_TEXT = ("long", "query_prompt", "document_prompt")  # they leave the vocabulary what it is
RUNTIME_HEADING = "Model"
WORDS_HEADING = "Literal words"
NEEDS_WORDS = {"literal": ("literal_weight_documents", "literal_stop_words")}
TERMS = ("k_documents", "k_queries", "floor_documents", "floor_queries")  # that an index records
PREFIX = "prefix"  # key under which an index records how many latents of its vocabulary it was made with

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        help="BEIR folders, JSONL, CSV, TSV, Parquet, text or Markdown files (also .gz, .xz, .zst), folders of text, "
        "builtin:python, or - for standard input.",
        metavar="SOURCES...",
        show_default=False,
    ),
]
VocabularyOption = Annotated[
    str, typer.Option("--vocabulary", help="Vocabulary: a folder, a name on the Hugging Face hub, or default.", metavar="NAME")
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
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for machines.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output of the same kind that exists already.")]


def need_sources(sources: Sequence[str] | None, verb: str) -> list[str]:
    """The sources, when there are any.

    Raises:
        ConfigError: there are none, neither on the command line nor in a recipe.
    """
    if not sources:
        raise ConfigError(f"No documents were named. Give files or folders: lexite {verb} SOURCES..., or - for standard input.")
    return list(sources)


def need_output(output: Path | None) -> Path:
    """The output, when there is one.

    Raises:
        ConfigError: there is none, neither on the command line nor in a recipe.
    """
    if output is None:
        raise ConfigError("No output was named. Give one with -o.")
    return output


def load_encoder(
    vocabulary: str,
    model: Overrides[BackboneConfig],
    prefix: int | None = None,
    terms: Overrides[TermsConfig] | None = None,
    profile: Profile | None = None,
) -> LatentTermEncoder:
    """Loads a vocabulary with its backbone, all of it or its first ``prefix`` latents; imports torch.

    ``profile`` takes the place of what the vocabulary says about k and floors, and ``terms`` that of both.
    """
    from lexite.terms import LatentTermEncoder

    encoder = LatentTermEncoder.from_pretrained(vocabulary, **model.values)
    backbone = encoder.backbone
    logger.info("Model %s in %s on %s.", backbone.name, backbone.precision, getattr(backbone, "device", "cpu"))
    encoder = encoder if prefix is None else encoder.prefix(prefix)
    if profile is not None:
        encoder.terms = with_profile(encoder.terms, profile, encoder.sae.largest_k)
    encoder.terms = encoder.terms if terms is None else terms.over(encoder.terms)
    return encoder


def load_encoder_of(index: BM25Index, vocabulary: str | None, model: Overrides[BackboneConfig]) -> LatentTermEncoder:
    """Loads the vocabulary that made an index, to read texts and to make terms as for it.

    Args:
        index: the index.
        vocabulary: where the vocabulary is now; None looks where it was when the index was built.
        model: how the backbone runs, and what is to be other than the index recorded.

    Raises:
        IndexFormatError: ``vocabulary`` is another one, or the index does not say where its own is.
    """
    made_by = index.vocabulary
    if vocabulary is None and not made_by.model:
        raise IndexFormatError("The index does not say where its vocabulary is. Name it with --vocabulary.")
    recorded = {key: made_by.terms_config[key] for key in READING_OF_TEXT if key in made_by.terms_config}
    numbers = {key: made_by.terms_config[key] for key in TERMS if key in made_by.terms_config}
    encoder = load_encoder(vocabulary or made_by.model, Overrides({**recorded, **model.values}))
    prefix = made_by.terms_config.get(PREFIX)
    if prefix is not None and prefix < encoder.sae.config.n_latents:
        encoder = encoder.prefix(prefix)
    check_made_by(index, vocabulary or made_by.model, encoder.fingerprint)
    encoder.terms = dataclasses.replace(encoder.terms, **numbers)
    return encoder


def check_made_by(index: BM25Index, name: str, fingerprint: str) -> None:
    """Refuses a vocabulary that did not make an index.

    Raises:
        IndexFormatError: it has another fingerprint than the index recorded.
    """
    made_by = index.vocabulary
    if fingerprint != made_by.fingerprint:
        raise IndexFormatError(
            f"The index was made by the vocabulary '{made_by.name}' ({made_by.fingerprint[:12]}), but "
            f"'{name}' is another one ({fingerprint[:12]}). Name its own with --vocabulary."
        )


def chunks(items: Iterable[T], size: int = DOCUMENTS_PER_CHUNK) -> Iterator[list[T]]:
    """Consecutive lists of ``size`` items; the last may be shorter.

    >>> list(chunks("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    stream = iter(items)
    while chunk := list(islice(stream, size)):
        yield chunk


def feed(
    writer: IndexWriter,
    encoder: LatentTermEncoder,
    documents: Iterable[Document],
    *,
    counter: StaticCounter | None = None,
    replace: bool = False,
    total: int | None = None,
) -> int:
    """Encodes a stream of documents into an index, chunk by chunk.

    Args:
        writer: an open writer; it is not committed here.
        encoder: the index's vocabulary.
        documents: any iterable, read once.
        counter: counts the codes of the documents by word piece, for a static table.
        replace: whether documents whose ids are in the index take their place.
        total: how many documents there are, when known.

    Returns:
        How many documents were added.
    """
    added = 0
    with progress("Indexing", total=total, unit="documents", show=not is_quiet()) as bar:
        for chunk in chunks(documents):
            weights = encoder.encode_documents([document.full_text for document in chunk], raw=True, static=counter)
            if replace:
                writer.replace(chunk, weights)
            else:
                writer.add(chunk, weights)
            added += len(chunk)
            bar.advance(len(chunk))
    return added


def report_skipped(report: ReadReport) -> None:
    """Warns about records that were skipped, with the first messages."""
    if report.skipped:
        for message in report.messages:
            logger.warning("%s", message)
        logger.warning("%s bad records were skipped, %s were read.", f"{report.skipped:,}", f"{report.read:,}")


def vocabulary_info(encoder: LatentTermEncoder, model: Overrides[BackboneConfig] | None = None) -> VocabularyInfo:
    """What an index records about its vocabulary.

    Args:
        encoder: the vocabulary; if it is a prefix of a saved one, that is recorded, so that queries get the same latents.
        model: what was given about the backbone. How texts are read is recorded, so that later ones are read alike.
    """
    from lexite.index import VocabularyInfo

    given = model.values if model else {}
    numbers = (encoder.k_for("document"), encoder.k_for("query"), encoder.floor_for("document"), encoder.floor_for("query"))
    config = {**dict(zip(TERMS, numbers, strict=True)), **{key: given[key] for key in READING_OF_TEXT if key in given}}
    if encoder.prefix_size is not None:
        config[PREFIX] = encoder.prefix_size
    return VocabularyInfo(encoder.fingerprint, encoder.name, encoder.n_latents, config, encoder.source)


def static_counter(encoder: LatentTermEncoder) -> StaticCounter | None:
    """What counts the documents of an index for its static table, where the model can have one."""
    from lexite.terms.static import counter_for

    counter = counter_for(encoder.backbone, encoder.n_latents)
    if counter is None:
        logger.info("%s has no tokenizer that can be carried along, so the index gets no static table.", encoder.backbone.name)
    return counter


def open_documents(sources: Sequence[str], options: ReadOptions) -> tuple[Iterator[Document], ReadReport]:
    """A stream of documents and the report that fills while it is read. The first is read at once, to fail early."""
    from lexite.corpus import ReadReport, read_documents

    report = ReadReport()
    return _begun(read_documents(sources, options, report)), report


def open_queries(sources: Sequence[str], options: ReadOptions) -> tuple[Iterator[Query], ReadReport]:
    """The same for queries; an id that occurs in two sources is an error."""
    from lexite.corpus import ReadReport

    report = ReadReport()
    return _begun(_queries_of(sources, options, report)), report


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


def _begun(stream: Iterator[T]) -> Iterator[T]:
    """The same stream, with its first item read already."""
    return chain(list(islice(stream, 1)), stream)
