"""What latent terms lose when they are pooled and scored as plain sparse embeddings, one change at a time.

The way of sentence-transformers' pull request 3796 (special tokens pooled, texts cut at the model's window, raw sums, dot
product) is brought step by step to lexite's defaults, and each choice is changed alone from either end. Every text goes
through the model once per way to read it; the rest is choosing among its tokens and its codes.

    python benchmarks/ablation.py COLLECTION... --vocabulary default --cache cache --json ablation.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from frontier import CHOSEN_ON, TOP_K, Encoded, index_rows
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lexite import BM25Config, BM25Index, LatentTermEncoder
from lexite.backbone import load_backbone
from lexite.corpus import ReadOptions
from lexite.evaluation.baselines.dense import DOCUMENTS_PER_TILE, BestSoFar, DenseSystem
from lexite.evaluation.cache import StateCache
from lexite.evaluation.judged import JudgedCollection, open_collections, read_collection
from lexite.evaluation.latent import to_ranking
from lexite.evaluation.measures import evaluate_run
from lexite.index import EncodedQueries
from lexite.ranking.rankings import Ranking, to_run
from lexite.scoring.config import QueryTransform
from lexite.scoring.formula import inverse_document_frequency
from lexite.scoring.transform import apply_transform
from lexite.terms.config import TermsConfig

CONTENT, PROMPT, SPECIAL = 0, 1, 2  # what a token is to its text
PROMPTS = {"query": "query: ", "document": "passage: "}
LEXITE = TermsConfig(k_documents=8, k_queries=6)
ROOTS: dict[str, Any] = {"document_transform": "sqrt", "query_transform": "sqrt"}
PAPER = BM25Config(k1=8.0, b=0.7, idf="robertson", idf_power=1.0, **ROOTS)


@dataclass(frozen=True)
class Reading:
    """How texts go through the model, and whether states of special tokens and of prompts are kept."""

    long: Literal["window", "truncate"] = "window"
    max_length: int | None = None
    prompts: bool = False
    keep: bool = False


@dataclass(frozen=True)
class Product:
    """Scores without BM25: the dot product of both sides' weights, or their cosine; query weights times the idf if asked."""

    transform: QueryTransform = "none"
    idf: bool = False
    cosine: bool = False


@dataclass(frozen=True)
class Way:
    """A way to read texts, to pool their tokens and to score them."""

    reading: Reading
    terms: TermsConfig
    scoring: BM25Config | Product
    pool_special: bool = False
    pool_prompts: bool = False


@dataclass(frozen=True)
class Variant:
    """A way that is measured, under its name."""

    family: str
    label: str
    way: Way


CUT = Reading(long="truncate", keep=True)
READINGS = {
    "windows": Reading(),
    "windows-all": Reading(keep=True),
    "cut": CUT,
    "cut-128": replace(CUT, max_length=128),
    "prompts": replace(CUT, prompts=True),
}


def pull_request(k: int) -> Way:
    """What the pull request's modules give with the library's own similarity."""
    terms = TermsConfig(k_documents=k, k_queries=k, floor_documents=0.0, floor_queries=0.0)
    return Way(CUT, terms, Product(), pool_special=True, pool_prompts=True)


def defaults() -> Way:
    """What lexite does when nothing is said."""
    return Way(Reading(), LEXITE, BM25Config())


def variants(k: int) -> list[Variant]:
    """All that is measured for a vocabulary that was trained with ``k`` latents per token."""
    found = [Variant("ladder", label, way) for label, way in ladder(k)]
    for family, start in (("from the default", defaults()), ("from the pull request's way", pull_request(k))):
        found.append(Variant(family, "nothing changed", start))
        found += [Variant(family, label, way) for label, way in single_changes(start) if way != start]
    return found


def ladder(k: int) -> list[tuple[str, Way]]:
    """From the pull request's way to the default; each step keeps those before it."""
    way = pull_request(k)
    steps: list[tuple[str, dict[str, Any]]] = [
        ("the pull request's way: dot product", {}),
        ("+ square roots", {"scoring": Product("sqrt")}),
        ("+ BM25 of the paper", {"scoring": PAPER}),
        ("+ BM25 of lexite", {"scoring": BM25Config()}),
        ("+ special tokens left out", {"pool_special": False}),
        ("+ windows", {"reading": Reading()}),
        ("+ floors, six latents per token of a query: the default", {"terms": LEXITE, "pool_prompts": False}),
    ]
    found = []
    for label, changes in steps:
        way = replace(way, **changes)
        found.append((label, way))
    return found


def single_changes(start: Way) -> Iterable[tuple[str, Way]]:
    """Each choice alone, from one of the two ends."""
    for label, scoring in scorings().items():
        yield f"score: {label}", replace(start, scoring=scoring)
    yield "special tokens pooled", replace(start, reading=replace(start.reading, keep=True), pool_special=True)
    yield "special tokens left out", replace(start, pool_special=False)
    yield "windows", replace(start, reading=replace(start.reading, long="window"))
    yield "cut at the window", replace(start, reading=CUT)
    yield "cut at 128 tokens", replace(start, reading=READINGS["cut-128"])
    if start.reading == CUT:  # one more reading of all texts is enough
        prompted = replace(start, reading=READINGS["prompts"])
        yield "prompts, pooled", prompted
        yield "prompts, left out", replace(prompted, pool_prompts=False)
    yield "floors of 1.5% and 8%", replace(start, terms=with_floors(start.terms, LEXITE))
    yield "no floors", replace(start, terms=with_floors(start.terms, TermsConfig(floor_documents=0.0, floor_queries=0.0)))
    for k in (1, 2, 4, 6, 8, 16):
        yield f"k {k}", replace(start, terms=replace(start.terms, k_documents=k, k_queries=k))


def with_floors(terms: TermsConfig, other: TermsConfig) -> TermsConfig:
    return replace(terms, floor_documents=other.floor_documents, floor_queries=other.floor_queries)


def scorings() -> dict[str, BM25Config | Product]:
    """All scores, by name."""
    own = BM25Config()
    return {
        "dot product": Product(),
        "dot product of square roots": Product("sqrt"),
        "dot product of log1p": Product("log1p"),
        "cosine": Product(cosine=True),
        "cosine of square roots": Product("sqrt", cosine=True),
        "idf": Product(idf=True),
        "idf, square roots": Product("sqrt", idf=True),
        "idf, cosine": Product(idf=True, cosine=True),
        "idf, cosine of square roots": Product("sqrt", idf=True, cosine=True),
        "BM25 of the paper": PAPER,
        "BM25 of the paper, raw sums": replace(PAPER, document_transform="none", query_transform="none"),
        "BM25 of lexite": own,
        "BM25 of lexite without idf": replace(own, idf_power=0.0),
        "BM25 of lexite without lengths": replace(own, b=0.0),
        "BM25 of lexite, hardly saturated": replace(own, k1=1000.0),
    }


@dataclass(frozen=True)
class Codes:
    """Codes of the tokens whose states are kept, and what each token is to its text."""

    encoded: Encoded
    roles: NDArray[np.uint8]

    def pooled(self, way: Way, kind: str, n_latents: int) -> csr_array:
        """Raw weights, one row per text, of the tokens that the way counts."""
        kept = self.roles == CONTENT
        if way.pool_special:
            kept |= self.roles == SPECIAL
        if way.pool_prompts:
            kept |= self.roles == PROMPT
        before = np.concatenate([[0], np.cumsum(kept)])
        chosen = Encoded(self.encoded.values[kept], self.encoded.indices[kept], before[self.encoded.offsets])
        terms = way.terms
        if kind == "document":
            return chosen.rows(terms.k_documents or 0, terms.floor_documents, n_latents)
        return chosen.rows(terms.k_queries or 0, terms.floor_queries, n_latents)


def token_roles(ids: NDArray[np.int32], offsets: NDArray[np.int64], special: Sequence[int], n_prompt: int) -> NDArray[np.uint8]:
    """What each token is: special by its id, else prompt among the first ``n_prompt`` others of a text, else content."""
    is_special = np.isin(ids, np.asarray(special))
    ordinary = np.concatenate([[0], np.cumsum(~is_special)])
    place = ordinary[1:] - np.repeat(ordinary[offsets[:-1]], np.diff(offsets))  # counted from 1 within the text
    roles = np.where(place <= n_prompt, PROMPT, CONTENT)
    return np.where(is_special, SPECIAL, roles).astype(np.uint8)


def reader(encoder: LatentTermEncoder, reading: Reading) -> LatentTermEncoder:
    """The same model, which reads so."""
    prompts = {f"{kind}_prompt": prompt for kind, prompt in PROMPTS.items()} if reading.prompts else {}
    kept = {"special_tokens": "keep", "prompt_tokens": "keep"} if reading.keep else {}
    changes: dict[str, Any] = {"long": reading.long, "max_length": reading.max_length, **prompts, **kept}
    return LatentTermEncoder(load_backbone(replace(encoder.backbone.config, **changes)), encoder.sae)


def read_codes(
    encoder: LatentTermEncoder, states: StateCache, prompted: bool, collection: JudgedCollection, kind: Any, k: int
) -> Codes:
    """Codes of a collection's documents or queries, from states that ``states`` keeps."""
    tokenizer = states.backbone.model.tokenizer  # type: ignore[attr-defined]
    n_prompt = len(tokenizer(PROMPTS[kind], add_special_tokens=False)["input_ids"]) if prompted else 0
    values, indices, roles, offsets = [], [], [], [np.zeros(1, np.int64)]
    for chunk in states.states(collection, kind):
        codes = encoder.codes(chunk, k)
        values.append(codes.values.numpy())
        indices.append(codes.indices.numpy())
        roles.append(token_roles(chunk.token_ids, chunk.offsets, tokenizer.all_special_ids, n_prompt))
        offsets.append(np.asarray(chunk.offsets[1:], np.int64) + offsets[-1][-1])
    return Codes(Encoded(np.concatenate(values), np.concatenate(indices), np.concatenate(offsets)), np.concatenate(roles))


def rank_by_product(documents: csr_array, queries: csr_array, product: Product, top_k: int) -> list[Ranking]:
    """The best documents of each query by an exhaustive product; documents that share nothing with it are left out."""
    rows, weights = (apply_transform(side, product.transform).astype(np.float32) for side in (documents, queries))
    if product.cosine:  # of the query the length does not matter
        norms = np.sqrt(rows.multiply(rows).sum(axis=1))
        rows = csr_array((rows.data / np.repeat(norms, np.diff(rows.indptr)), rows.indices, rows.indptr), shape=rows.shape)
    if product.idf:
        frequency = np.bincount(rows.indices, minlength=rows.shape[1])
        idf = inverse_document_frequency(rows.shape[0], frequency, "lucene").astype(np.float32)
        weights = csr_array((weights.data * idf[weights.indices], weights.indices, weights.indptr), shape=weights.shape)
    best = BestSoFar(queries.shape[0], top_k)
    for start in range(0, rows.shape[0], DOCUMENTS_PER_TILE):
        best.add((weights @ rows[start : start + DOCUMENTS_PER_TILE].T).toarray())
    return [Ranking(r.documents[r.scores > 0], r.scores[r.scores > 0]) for r in best.rankings]


def rank(
    index: BM25Index, documents: csr_array, queries: csr_array, scoring: BM25Config | Product, top_k: int
) -> list[Ranking]:
    """The best documents of each query, by the index of these documents where the score is BM25."""
    if isinstance(scoring, Product):
        return rank_by_product(documents, queries, scoring, top_k)
    found = index.search_arrays(EncodedQueries(queries), top_k, scoring=scoring)
    return [to_ranking(*row) for row in zip(*found, strict=True)]


def measure(collection: JudgedCollection, rankings: Sequence[Ranking]) -> float:
    """nDCG@10 of rankings of one document more than ``TOP_K``."""
    run = to_run([query.id for query in collection.queries], rankings, collection.document_ids, TOP_K)
    return evaluate_run(collection.qrels, run).mean["nDCG@10"]


def means(by_name: dict[str, float]) -> dict[str, Any]:
    """Means over all collections, and over the half on which lexite's defaults were chosen and the other."""

    def mean(names: Iterable[str]) -> float | None:
        values = [by_name[name] for name in names]
        return float(np.mean(values)) if values else None

    return {
        "ndcg": mean(by_name),
        "ndcg_chosen_on": mean(name for name in by_name if name in CHOSEN_ON),
        "ndcg_rest": mean(name for name in by_name if name not in CHOSEN_ON),
        "collections": by_name,
    }


class Tested:
    """A vocabulary, its variants, and what they gave so far."""

    def __init__(self, name: str, families: Sequence[str] | None, readings: Sequence[Reading]) -> None:
        self.encoder = LatentTermEncoder.from_pretrained(name)
        self.k = int(self.encoder.sae.largest_k)
        wanted = [v for v in variants(self.k) if families is None or v.family in families]
        self.variants = [v for v in wanted if v.way.reading in readings]
        self.found: dict[Way, dict[str, float]] = {variant.way: {} for variant in self.variants}

    def run(self, states: StateCache, reading: Reading, collection: JudgedCollection) -> None:
        """Measures all ways that read texts so; documents pooled in one way are scored in all before the next."""
        ways = [way for way in self.found if way.reading == reading]
        if not ways:
            return
        most = max(k for way in ways for k in (way.terms.k_documents or 0, way.terms.k_queries or 0))
        kinds = ("document", "query")
        codes = {kind: read_codes(self.encoder, states, reading.prompts, collection, kind, most) for kind in kinds}
        pooled_alike: dict[Way, list[Way]] = {}
        for way in ways:
            pooled_alike.setdefault(replace(way, scoring=Product()), []).append(way)
        for alike in pooled_alike.values():
            rows = {kind: codes[kind].pooled(alike[0], kind, self.encoder.n_latents) for kind in kinds}
            own = LatentTermEncoder(states.backbone, self.encoder.sae, alike[0].terms)
            with tempfile.TemporaryDirectory(prefix="lexite-bench-", ignore_cleanup_errors=True) as folder:
                index = index_rows(Path(folder) / "index", own, collection, rows["document"])
                for way in alike:
                    rankings = rank(index, rows["document"], rows["query"], way.scoring, TOP_K + 1)
                    self.found[way][collection.name] = measure(collection, rankings)

    def report(self) -> dict[str, Any]:
        """What it is, and a row for each variant."""
        recipe = self.encoder.details.recipe or {}
        named = {key: recipe.get(key) for key in ("tokens", "seed", "special_tokens", "long", "normalize_activations")}
        return {
            "name": self.encoder.name,
            "fingerprint": self.encoder.fingerprint,
            "n_latents": self.encoder.n_latents,
            "k": self.k,
            "training": named,
            "rows": [
                {"family": v.family, "label": v.label, "way": dataclasses.asdict(v.way), **means(self.found[v.way])}
                for v in self.variants
            ],
        }


def run(tested: Sequence[Tested], collections: Sequence[JudgedCollection], cache: str) -> dict[str, float]:
    """Measures all vocabularies; returns nDCG@10 of the dense model on each collection."""
    first = tested[0].encoder
    dense = {}
    for collection in collections:
        rankings = DenseSystem(first.backbone, StateCache(cache, first)).run(collection, TOP_K + 1).rankings
        dense[collection.name] = measure(collection, rankings)
    for reading in dict.fromkeys(way.reading for each in tested for way in each.found):
        states = StateCache(cache, reader(first, reading))
        for collection in collections:
            for each in tested:
                each.run(states, reading, collection)
            print(reading, collection.name, flush=True)
    return dense


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", nargs="+")
    parser.add_argument("--vocabulary", nargs="+", default=["default"], help="all of the same dense model")
    parser.add_argument("--cache", required=True, help="folder for token states, as of lexite eval --cache")
    parser.add_argument("--json", help="file for the results")
    parser.add_argument("--families", help="comma-separated; all by default")
    readings = ", ".join(READINGS)
    parser.add_argument("--readings", help=f"comma-separated, of {readings}; each is a pass over the texts; all by default")
    options = parser.parse_args()
    families = None if options.families is None else options.families.split(",")
    names = list(READINGS) if options.readings is None else options.readings.split(",")
    if unknown := [name for name in names if name not in READINGS]:
        parser.error(f"there is no reading '{unknown[0]}'; there are {readings}")
    chosen = [READINGS[name] for name in names]
    tested = [Tested(name, families, chosen) for name in options.vocabulary]
    collections = [read_collection(opened, ReadOptions()) for opened in open_collections(options.collections, "test")]
    dense = means(run(tested, collections, options.cache))
    results: dict[str, Any] = {"dense": dense, "vocabularies": [each.report() for each in tested]}
    print(f"the dense model: {dense['ndcg']:.4f}")
    for vocabulary in results["vocabularies"]:
        print(f"{vocabulary['name']} {vocabulary['fingerprint'][:12]}")
        for row in vocabulary["rows"]:
            print(f"  {row['family']:28s} {row['label']:56s} {row['ndcg']:.4f}")
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
