"""``lexite encode``: texts into weights of latent terms, for other programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Literal

import numpy as np
import typer

from lexite.backbone.config import BackboneConfig
from lexite.cli.common import (
    RUNTIME,
    RUNTIME_HEADING,
    JsonFlag,
    Sources,
    VocabularyOption,
    chunks,
    load_encoder,
    need_sources,
    open_documents,
    report_skipped,
)
from lexite.cli.options import Overrides, configured
from lexite.cli.output import is_quiet, print_json, standard_output
from lexite.corpus.options import ReadOptions
from lexite.errors import ConfigError
from lexite.files import atomic_write
from lexite.progress import progress
from lexite.terms.config import TermsConfig

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from lexite.corpus import Document
    from lexite.terms import LatentTermEncoder

Chunk = tuple[list[str], "csr_array"]


@configured(
    recipe=True,
    only={"terms": ("k_documents", "k_queries"), "model": RUNTIME},
    read="Reading",
    terms="Terms",
    model=RUNTIME_HEADING,
)
def encode_verb(
    sources: Sources = None,
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="FILE.npz, FILE.jsonl, or - for JSONL on stdout.", metavar="FILE")
    ] = Path("-"),
    vocabulary: VocabularyOption = "default",
    kind: Annotated[Literal["document", "query"], typer.Option("--kind", help="What the texts are encoded as.")] = "document",
    raw: Annotated[bool, typer.Option("--raw", help="Write raw sums, without the vocabulary's transform of weights.")] = False,
    as_json: JsonFlag = False,
    read: ReadOptions,
    terms: Overrides[TermsConfig],
    model: Overrides[BackboneConfig],
) -> None:
    """Turn texts into weights of latent terms.

    JSONL holds {"id": ..., "terms": {LATENT: WEIGHT, ...}} per text. NPZ holds a CSR matrix of texts by latents, which
    scipy.sparse.load_npz reads, and an array "ids".

    Example: lexite encode corpus.jsonl -o weights.npz
    """
    sources = need_sources(sources, "encode")
    if output.suffix not in (".npz", ".jsonl") and str(output) != "-":
        raise ConfigError(f"{output} should end in .npz or .jsonl, so that the format is known.")
    documents, report = open_documents(sources, read)
    encoder = load_encoder(vocabulary, model)
    k = encoder.k_for(kind, terms.values.get("k_documents" if kind == "document" else "k_queries"))
    stream = _encode(encoder, documents, kind, k, raw)
    n_texts = n_terms = 0
    if str(output) == "-":
        n_texts, n_terms = _write_jsonl(standard_output(), stream)
    elif output.suffix == ".jsonl":
        with atomic_write(output, "w") as file:
            n_texts, n_terms = _write_jsonl(file, stream)
    else:
        with atomic_write(output) as file:
            n_texts, n_terms = _write_npz(file, stream)
    report_skipped(report)
    if str(output) != "-" and as_json:
        print_json({"output": str(output), "texts": n_texts, "skipped": report.skipped, "terms": n_terms, "kind": kind})
    elif str(output) != "-":
        print(f"{n_texts:,} texts, {n_terms / max(n_texts, 1):,.0f} terms each: {output}")


def _encode(
    encoder: LatentTermEncoder, documents: Iterator[Document], kind: Literal["document", "query"], k: int, raw: bool
) -> Iterator[Chunk]:
    encode = encoder.encode_documents if kind == "document" else encoder.encode_queries
    with progress("Encoding", unit="texts", show=not is_quiet()) as bar:
        for chunk in chunks(documents):
            yield [document.id for document in chunk], encode([document.full_text for document in chunk], k=k, raw=raw)
            bar.advance(len(chunk))


def _write_jsonl(file: IO[str], stream: Iterator[Chunk]) -> tuple[int, int]:
    n_texts = n_terms = 0
    for ids, weights in stream:
        for row, name in enumerate(ids):
            start, end = weights.indptr[row], weights.indptr[row + 1]
            pairs = zip(weights.indices[start:end].tolist(), weights.data[start:end].tolist(), strict=True)
            terms = {str(term): float(f"{weight:.6g}") for term, weight in pairs}
            file.write(json.dumps({"id": name, "terms": terms}, ensure_ascii=False) + "\n")
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
