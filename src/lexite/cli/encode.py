"""``lexite encode``: texts into weights of latent terms, for other programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Literal

import numpy as np
import typer

from lexite.backbone.config import BackboneConfig, Kind
from lexite.cli.arguments import (
    NEEDS_WORDS,
    READING_OF_TEXT,
    RUNTIME,
    RUNTIME_HEADING,
    WORDS_HEADING,
    FieldWeightOption,
    JsonFlag,
    PassagesOption,
    PrefixOption,
    ProfileOption,
    Sources,
    VocabularyOption,
    load_vocabulary,
    need_sources,
    open_documents,
    open_queries,
    report_skipped,
)
from lexite.cli.encode_shards import ShardOptions, encode_on_ray, encode_one_shard
from lexite.cli.options import configured
from lexite.cli.output import WrongUsage, is_quiet, print_json, say, speaks_unicode, standard_output
from lexite.config import Overrides
from lexite.corpus.options import ReadOptions
from lexite.files import atomic_write
from lexite.progress import progress
from lexite.scoring.transform import apply_transform
from lexite.scoring.words import LiteralConfig
from lexite.search.indexing import chunks
from lexite.terms.config import TermsConfig
from lexite.wording import counted

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from lexite.corpus import ReadReport
    from lexite.terms import LatentTermEncoder

Chunk = tuple[list[str], "csr_array"]


@configured(
    recipe=True,
    only={
        "terms": ("k_documents", "k_queries", "floor_documents", "floor_queries"),
        "model": RUNTIME + READING_OF_TEXT,
    },
    needs=NEEDS_WORDS,
    read="Reading",
    terms="Terms",
    words=f"{WORDS_HEADING} (with --shard)",
    model=RUNTIME_HEADING,
)
def encode_verb(
    sources: Sources = None,
    *,
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", help="FILE.npz, FILE.jsonl, - for JSONL on stdout, or with --shard a folder.", metavar="FILE|DIR"
        ),
    ] = "-",
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            help="Encode one share of the sources for 'lexite index --from-terms': its number, counted from 0, and how many "
            "there are. All shards have the same folder as their output.",
            metavar="N/COUNT",
            show_default=False,
        ),
    ] = None,
    on: Annotated[
        Literal["ray"] | None,
        typer.Option("--on", help="Encode all shards on a cluster of Ray, in place of one with --shard.", show_default=False),
    ] = None,
    shards: Annotated[
        int | None,
        typer.Option("--shards", help="With --on: how many shards there are.", min=1, metavar="COUNT", show_default=False),
    ] = None,
    cpus: Annotated[
        float, typer.Option("--cpus-per-shard", help="With --on: cores that a shard takes while it is encoded.", min=0.0)
    ] = 1.0,
    gpus: Annotated[
        float, typer.Option("--gpus-per-shard", help="With --on: GPUs that a shard takes; 0.5 lets two share one.", min=0.0)
    ] = 0.0,
    vocabulary: VocabularyOption = "default",
    prefix: PrefixOption = None,
    profile: ProfileOption = None,
    kind: Annotated[Kind, typer.Option("--kind", help="What the texts are encoded as.")] = "document",
    raw: Annotated[bool, typer.Option("--raw", help="Write raw sums, without the vocabulary's transform of weights.")] = False,
    text: Annotated[bool, typer.Option("--text/--no-text", help="With --shard: keep titles and texts.")] = True,
    static: Annotated[
        bool, typer.Option("--static/--no-static", help="With --shard: count the codes for the static table of an index.")
    ] = True,
    passages: PassagesOption = "auto",
    field_weight: FieldWeightOption = None,
    as_json: JsonFlag = False,
    read: ReadOptions,
    terms: Overrides[TermsConfig],
    words: LiteralConfig,
    model: Overrides[BackboneConfig],
) -> None:
    """Turn texts into weights of latent terms.

    JSONL holds {"id": ..., "raw": ..., "terms": {LATENT: WEIGHT, ...}} per text, which 'lexite search --terms' reads. NPZ
    holds a CSR matrix of texts by latents, which scipy.sparse.load_npz reads, and an array "ids".

    With --shard, one share of the documents becomes a file of terms, words, texts and fields, from which 'lexite index
    --from-terms' builds an index without the model.

    Example: lexite encode corpus.jsonl -o weights.npz
    """
    sources = need_sources(sources, "encode")
    options = ShardOptions(text, static, passages, field_weight, words, read)
    if on is not None and (shard is not None or shards is None):
        raise WrongUsage("--on encodes all shards on a cluster: give their number with --shards, and leave --shard out.")
    if on is None and (shards is not None or cpus != 1.0 or gpus):
        raise WrongUsage("--shards, --cpus-per-shard and --gpus-per-shard have no effect without --on. Leave them out.")
    if shards is not None or shard is not None:
        if output == "-" or kind != "document" or raw:
            raise WrongUsage(
                "--shard and --on write raw weights of documents into a folder: name it with -o, without --kind and --raw."
            )

        if shard is None:
            loading = {"prefix": prefix, "profile": profile, "terms": terms.values, **model.values}
            encode_on_ray(sources, output, shards or 1, options, vocabulary, loading, cpus=cpus, gpus=gpus, as_json=as_json)
            return

        def load() -> LatentTermEncoder:
            return load_vocabulary(vocabulary, model, prefix, terms, profile)

        encode_one_shard(sources, output, shard, options, load, as_json=as_json)
        return
    options.check_idle()
    path = Path(output)
    if path.suffix not in (".npz", ".jsonl") and output != "-":
        raise WrongUsage(f"{output} should end in .npz or .jsonl, so that the format is known.")
    if as_json and output == "-":
        raise WrongUsage("Standard output holds the texts' weights, so --json has no place there. Name a file with -o.")
    stream, report = _open(sources, kind, read)
    encoder = load_vocabulary(vocabulary, model, prefix, terms, profile)
    weights = _encode(encoder, stream, kind, raw)
    n_texts = n_terms = 0
    if output == "-":
        n_texts, n_terms = _write_jsonl(standard_output(), weights, raw)
    elif path.suffix == ".jsonl":
        with atomic_write(path, "w") as file:
            n_texts, n_terms = _write_jsonl(file, weights, raw)
    else:
        with atomic_write(path) as file:
            n_texts, n_terms = _write_npz(file, weights)
    report_skipped(report)
    if output != "-" and as_json:
        print_json({"output": output, "texts": n_texts, "skipped": report.skipped, "terms": n_terms, "kind": kind})
    elif output != "-":
        terms_each = counted(round(n_terms / max(n_texts, 1)), "term")
        say(f"{counted(n_texts, 'text')}, {terms_each} each: {output}")


def _open(sources: list[str], kind: Kind, read: ReadOptions) -> tuple[Iterator[tuple[str, str]], ReadReport]:
    """Ids and texts: of documents with their titles, or of queries, which a text file holds one a line."""
    if kind == "query":
        queries, report = open_queries(sources, read)
        return ((query.id, query.text) for query in queries), report
    documents, report = open_documents(sources, read.for_texts())
    return ((document.id, document.full_text) for document in documents), report


def _encode(encoder: LatentTermEncoder, stream: Iterator[tuple[str, str]], kind: Kind, raw: bool) -> Iterator[Chunk]:
    scoring = encoder.scoring
    transform = scoring.document_transform if kind == "document" else scoring.query_transform
    with progress("Encoding", unit="texts", show=not is_quiet()) as bar:
        for chunk in chunks(stream):
            texts = [text for _, text in chunk]
            rows = encoder.encode_documents(texts) if kind == "document" else encoder.encode_queries(texts).to_csr()
            yield [id for id, _ in chunk], rows if raw else apply_transform(rows, transform)
            bar.advance(len(chunk))


def _write_jsonl(file: IO[str], stream: Iterator[Chunk], raw: bool) -> tuple[int, int]:
    n_texts = n_terms = 0
    escaped = not speaks_unicode(file)
    digits = ".9g" if raw else ".6g"  # nine digits bring a float32 back as it was
    for ids, weights in stream:
        for row, name in enumerate(ids):
            start, end = weights.indptr[row], weights.indptr[row + 1]
            pairs = zip(weights.indices[start:end].tolist(), weights.data[start:end].tolist(), strict=True)
            terms = {str(term): float(f"{weight:{digits}}") for term, weight in pairs}
            file.write(json.dumps({"id": name, "raw": raw, "terms": terms}, ensure_ascii=escaped) + "\n")
        n_texts, n_terms = n_texts + len(ids), n_terms + weights.nnz
    return n_texts, n_terms


def _write_npz(file: IO[bytes], stream: Iterator[Chunk]) -> tuple[int, int]:
    from scipy.sparse import vstack

    names: list[str] = []
    parts: list[csr_array] = []
    for ids, weights in stream:
        names += ids
        parts.append(weights)
    matrix = vstack(parts, format="csr")
    arrays = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr, "shape": np.array(matrix.shape)}
    np.savez_compressed(file, format=np.bytes_("csr"), _is_array=True, ids=np.array(names, dtype=np.str_), **arrays)
    return len(names), int(matrix.nnz)
