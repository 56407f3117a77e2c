"""How few bits a stored weight may have: what coarser weights do to the ranking, and how many bits they take.

    python benchmarks/weight_codes.py COLLECTION... --cache cache --json codes.json

Each weight is replaced by the nearest of the numbers that a code can hold, in documents alone; lengths come from the replaced
weights. ``float m``: a float32 with m bits of mantissa, so m = 7 is bfloat16. ``log b``: 2^b numbers from 2^-8 to 2^16, evenly
spaced in the logarithm. ``overlap`` is the share of the exact top ten that is found again, ``nDCG`` the change of nDCG@10.
``bits``: what a weight takes when each passage's weights are packed in as many bits as its own range of codes needs.

With ``--static``, documents and queries are encoded by the static table of the vocabulary, which takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from judged_collections import Indexed, indexed_collections, judged_parser, ndcg
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from lexite import LatentTermEncoder
from lexite.corpus import ReadOptions
from lexite.evaluation.judged import JudgedCollection, open_collections, read_collection
from lexite.files import write_json
from lexite.index import BM25Index
from lexite.ranking.hits import Hit
from lexite.scoring.formula import average_length, impacts, length_norms, saturation_form
from lexite.scoring.transform import drop_small, transform_weights
from lexite.scoring.words import LiteralConfig
from lexite.terms import load_static
from lexite.terms.queries import EncodedQueries

TOP_K = 10
MANTISSAS = (4, 5, 6, 7, 8, 9, 10, 12)
LOG_BITS, LOWEST, HIGHEST = (8, 10, 11, 12, 16), -8.0, 16.0
Codes = NDArray[np.int64]


def main() -> None:
    parser = judged_parser(__doc__)
    parser.add_argument("--static", action="store_true", help="encode with the static table")
    args = parser.parse_args()
    found: dict[str, Any] = {}
    if args.static:
        made = statically_encoded(args.collections, args.vocabulary)
    else:
        made = indexed_collections(LatentTermEncoder.from_pretrained(args.vocabulary), args.collections, args.cache)
    for collection, index, queries in made:
        found[collection.name] = measured(collection, index, queries)
        if args.json is not None:
            write_json(args.json, found)


def statically_encoded(collections: Sequence[str], vocabulary: str) -> Iterator[Indexed]:
    """Collections with their words, encoded by the static table, with the default floor of documents."""
    table, manifest = load_static(vocabulary)
    for opened in open_collections(collections, "test"):
        collection = read_collection(opened, ReadOptions(skip_bad=True))
        documents = list(collection.read())
        texts, asked = [each.full_text for each in documents], [each.text for each in collection.queries]
        rows = drop_small(csr_array(table.encode(texts)), manifest["terms"]["floor_documents"])
        index = BM25Index.in_memory(rows, [each.id for each in documents], texts=texts, literal=LiteralConfig())
        yield Indexed(collection, index, EncodedQueries(csr_array(table.encode(asked)), asked))


def measured(collection: JudgedCollection, index: BM25Index, queries: EncodedQueries) -> dict[str, Any]:
    """What each code does to one collection."""
    parts = list(index.iterate_passages(index.scoring.document_transform))
    rows = csr_array(vstack([part.rows for part in parts], format="csr"))
    documents = np.concatenate([part.documents for part in parts])
    factors = index.query_factors(queries)
    exact = ranked(index, rows, documents, factors)
    before = ndcg(exact, collection)
    each = index.info()["postings_per_document"]
    print(f"{collection.name}: {len(rows.data):,} postings, {each:.0f} a document, nDCG {before.mean():.4f}")
    facts: dict[str, Any] = {"postings": len(rows.data), "nDCG@10": float(before.mean()), "codes": {}}
    for name, coded in CODES.items():
        codes, values = coded(rows.data)
        hits = ranked(index, csr_array((values, rows.indices, rows.indptr), shape=rows.shape), documents, factors)
        pairs = [({hit.id for hit in a[:TOP_K]}, {hit.id for hit in b[:TOP_K]}) for a, b in zip(exact, hits, strict=True)]
        shared = [len(a & b) / len(a) for a, b in pairs]
        facts["codes"][name] = {
            "overlap": float(np.mean(shared)),
            "nDCG": float((ndcg(hits, collection) - before).mean()),
            "bits": packed_bits(codes, rows.indptr),
        }
        print(f"  {name:9s}", {key: round(value, 5) for key, value in facts["codes"][name].items()}, flush=True)
    return facts


def ranked(
    index: BM25Index, rows: csr_array[np.float32], documents: NDArray[np.int64], factors: csr_array[np.float32]
) -> list[list[Hit]]:
    """The best documents of each query, by all scores; a document has that of its best passage."""
    scoring = index.scoring
    tf = transform_weights(rows.data, scoring.document_transform)
    owners = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    lengths = np.bincount(owners, weights=tf, minlength=rows.shape[0]).astype(np.float32)
    norms = length_norms(lengths, average_length(lengths), scoring)
    parts = impacts(tf, norms[owners], saturation_form(scoring))
    columns = csr_array((parts, rows.indices, rows.indptr), shape=rows.shape).T.tocsr()
    first = np.flatnonzero(np.r_[True, np.diff(documents) > 0])
    numbers, found = documents[first], []
    for row in range(factors.shape[0]):
        scores = np.maximum.reduceat((factors[[row]] @ columns).toarray().ravel(), first)
        best = np.lexsort((numbers, -scores))[: TOP_K + 1]
        found.append(
            [Hit(index.document_id(int(numbers[i])), float(scores[i]), n, int(numbers[i])) for n, i in enumerate(best, 1)]
        )
    return found


def float_codes(mantissa: int) -> Callable[[NDArray[np.float32]], tuple[Codes, NDArray[np.float32]]]:
    """The code of float32 numbers with a shorter mantissa, to nearest."""

    def coded(weights: NDArray[np.float32]) -> tuple[Codes, NDArray[np.float32]]:
        drop = 23 - mantissa
        codes = (weights.view(np.uint32) + np.uint32(1 << (drop - 1))) >> np.uint32(drop)
        return codes.astype(np.int64), (codes << np.uint32(drop)).astype(np.uint32).view(np.float32)

    return coded


def log_codes(bits: int) -> Callable[[NDArray[np.float32]], tuple[Codes, NDArray[np.float32]]]:
    """The code of numbers that are evenly spaced in the logarithm."""

    def coded(weights: NDArray[np.float32]) -> tuple[Codes, NDArray[np.float32]]:
        step = (HIGHEST - LOWEST) / ((1 << bits) - 1)
        codes = np.clip(np.rint((np.log2(weights.astype(np.float64)) - LOWEST) / step), 0, (1 << bits) - 1)
        return codes.astype(np.int64), np.exp2(LOWEST + codes * step).astype(np.float32)

    return coded


def packed_bits(codes: Codes, bounds: NDArray[Any]) -> float:
    """Bits of a weight, in the mean, when each row takes as many as the range of its codes needs."""
    filled = np.flatnonzero(np.diff(bounds))
    starts = bounds[:-1][filled]
    spread = np.maximum.reduceat(codes, starts) - np.minimum.reduceat(codes, starts)
    width = np.ceil(np.log2(spread + 1))
    return float((width * np.diff(bounds)[filled]).sum() / len(codes))


CODES = {f"float {m}": float_codes(m) for m in MANTISSAS} | {f"log {b}": log_codes(b) for b in LOG_BITS}

if __name__ == "__main__":
    main()
