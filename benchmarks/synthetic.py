"""Collections of any size from real ones, for benchmarks of the index.

Real terms, resampled from the encoded collections with their document-frequency and length distributions kept: a made document
crosses two real ones of the same collection and about the same length. For each term a coin, drawn from the seed, the number of
the document and the term alone, says which of the two decides: the first with probability 0.7, else the second; the document
has the term, with its real weight, if the one that decides has it. So a term that a share s of the real documents has is in a
share s of the made ones, in expectation and whatever the terms have to do with each other, and documents are as long as the
real ones. Words are crossed by the same rule, so that an engine over words can index "the same documents".

Real documents are drawn with a probability that grows with a power of their length, such that the mean number of postings comes
out as wanted; all distributions are compared with those of this weighted source. What is not kept: with far more documents than
real ones, every real one has many near copies, so the best hits of a query are closer to each other than in a real collection.

The source are the test collections in ../shared/data beside the checkout, or in data/ of the folder that LEXITE_SHARED names.
They are encoded by the default vocabulary on first use (some ten minutes on two cores) and kept in a cache folder. Without them
it is the documentation of Python, which comes with lexite. The static table encodes them in seconds, into a cache folder that
is then given to the other scripts:

    python benchmarks/synthetic.py [--documents 20000] [--postings 500] [--cache DIR] [--encode-only [NAME …]]
    python benchmarks/synthetic.py --encode-only --static --cache DIR
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_array, load_npz, save_npz, vstack

SHARED = Path(os.environ.get("LEXITE_SHARED") or Path(__file__).resolve().parents[2] / "shared")
COLLECTIONS = SHARED / "data" / "collections"
NAMES = ("scifact", "npl", "nfcorpus_pre", "cisi", "cranfield", "medline", "datafinder", "wikiqa", "tatqa")
BUILTIN = "python"
SHARE, NEIGHBOURS, POSTINGS, QUERY_TERMS = 0.7, 25, 500, 100
GOLDEN, STEP = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)


@dataclass(frozen=True)
class Encoded:
    """A collection with its terms: texts, ids, judgements (empty where there are none) and raw weights at k 8."""

    name: str
    texts: list[str]
    document_ids: list[str]
    query_texts: list[str]
    query_ids: list[str]
    qrels: dict[str, dict[str, int]]
    documents: csr_array
    queries: csr_array


@dataclass(frozen=True)
class _Texts:
    name: str
    documents: list[tuple[str, str]]
    queries: list[tuple[str, str]]
    qrels: dict[str, dict[str, int]]


def default_cache() -> Path:
    """Where encoded collections are kept unless told otherwise: the user's cache folder / lexite-bench."""
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "lexite-bench"


def add_options(options: argparse.ArgumentParser) -> None:
    """Adds the options that all scripts with synthetic collections share."""
    options.add_argument("--postings", type=float, default=POSTINGS, help="mean postings of a document to aim at")
    options.add_argument("--seed", type=int, default=0, help="of the synthetic documents")
    options.add_argument(
        "--cache", type=Path, default=default_cache(), metavar="DIR", help="where encoded collections are kept"
    )


def load_collections(cache: Path, names: Sequence[str] = NAMES) -> list[Encoded]:
    """The source collections with their terms; encodes what the cache lacks, in a process of its own."""
    sources = list(_read_sources(names))
    if [source.name for source in sources] == [BUILTIN]:
        print(f"{COLLECTIONS} is absent: the source is the documentation of Python, which has no judgements.", flush=True)
    paths = [_cache_path(cache, source) for source in sources]
    if not all(path.exists() for pair in paths for path in pair):
        env = {name: value for name, value in os.environ.items() if not name.endswith("_THREADS")}  # of a caller on one core
        subprocess.run([sys.executable, __file__, "--cache", str(cache), "--encode-only", *names], check=True, env=env)
    return [
        Encoded(
            source.name,
            [text for _, text in source.documents],
            [identifier for identifier, _ in source.documents],
            [text for _, text in source.queries],
            [identifier for identifier, _ in source.queries],
            source.qrels,
            csr_array(load_npz(documents)),
            csr_array(load_npz(queries)),
        )
        for source, (documents, queries) in zip(sources, paths, strict=True)
    ]


def encode_missing(cache: Path, names: Sequence[str], static: bool) -> None:
    """Encodes the collections that the cache lacks, by the model or by the static table."""
    missing = [source for source in _read_sources(names) if not all(path.exists() for path in _cache_path(cache, source))]
    if not missing:
        return
    encode = _static_encoder() if static else _model_encoder()
    cache.mkdir(parents=True, exist_ok=True)
    for source in missing:
        print(f"encoding {source.name}, {len(source.documents):,} documents, for {cache}", flush=True)
        documents, queries = encode([text for _, text in source.documents], [text for _, text in source.queries])
        for path, matrix in zip(_cache_path(cache, source), (documents, queries), strict=True):
            unfinished = path.with_name("unfinished-" + path.name)
            save_npz(unfinished, matrix, compressed=False)
            os.replace(unfinished, path)


def _model_encoder() -> Callable[[list[str], list[str]], tuple[csr_array, csr_array]]:
    import lexite.kernels  # noqa: F401  (before torch, so that its threads leave the cores to the loops)
    from lexite.terms import LatentTermEncoder

    encoder = LatentTermEncoder.from_pretrained()
    return lambda texts, queries: (encoder.encode_documents(texts, k=8), encoder.encode_queries(queries, k=8).to_csr())


def _static_encoder() -> Callable[[list[str], list[str]], tuple[csr_array, csr_array]]:
    from lexite.scoring.transform import drop_small
    from lexite.terms.config import TermsConfig
    from lexite.terms.static import load_static

    (table, _), floor = load_static("default"), TermsConfig().floor_documents

    def encode(texts: list[str], queries: list[str]) -> tuple[csr_array, csr_array]:
        return drop_small(csr_array(table.encode(texts)), floor), csr_array(table.encode(queries))

    return encode


def _read_sources(names: Sequence[str]) -> Iterator[_Texts]:
    from lexite.corpus import builtin_documents, open_collection

    if there := [name for name in names if (COLLECTIONS / name).is_dir()]:
        for name in there:
            collection = open_collection(COLLECTIONS / name)
            documents = [(document.id, document.full_text) for document in collection.documents()]
            yield _Texts(name, documents, [(query.id, query.text) for query in collection.queries()], collection.qrels)
        return
    entries = list(builtin_documents())
    sentences = [(document.id, " ".join(document.text.split()).partition(". ")[0]) for document in entries[::10]]
    yield _Texts(BUILTIN, [(document.id, document.full_text) for document in entries], sentences, {})


def _cache_path(cache: Path, source: _Texts) -> tuple[Path, Path]:
    """Files of the terms of documents and queries; their names change with the texts and with the vocabulary."""
    from lexite.evaluation.judged import TextDigest
    from lexite.terms.hub import find_folder

    digest = TextDigest()
    digest.add(json.loads((find_folder("default") / "lexite.json").read_text(encoding="utf-8"))["fingerprint"])
    for _, text in source.documents + source.queries:
        digest.add(text)
    stem = f"{source.name}-{digest.hexdigest()[:16]}"
    return cache / f"{stem}-documents.npz", cache / f"{stem}-queries.npz"


class Generator:
    """Makes documents from real ones; document number i is the same whatever is made before it.

    Args:
        documents: raw weights of the real documents, CSR, ``(n, n_terms)``.
        groups: ``(n,)`` the collection of each; only documents of one collection are crossed.
        postings: mean postings of a made document to aim at; None draws all real documents equally often.
        seed: another seed makes other documents.

    Raises:
        ValueError: no weighting of the real documents has so many or so few postings in the mean.
    """

    def __init__(
        self, documents: csr_array, groups: Sequence[int] | NDArray[Any], postings: float | None, seed: int = 0
    ) -> None:
        self.documents = csr_array(documents)
        self.documents.sort_indices()
        self.lengths = np.diff(self.documents.indptr)
        self.seed = np.uint64(seed)
        self.weights = weigh(self.lengths, postings)
        self._cumulative = np.cumsum(self.weights)
        groups = np.asarray(groups)
        self._order = np.lexsort((self.lengths, groups))  # neighbours here are of one collection and about as long
        self._place = np.argsort(self._order)
        ordered = groups[self._order]
        self._low, self._high = np.searchsorted(ordered, ordered), np.searchsorted(ordered, ordered, side="right")

    @classmethod
    def of(cls, collections: Sequence[Encoded], postings: float | None = POSTINGS, seed: int = 0) -> Generator:
        """A generator over all documents of some collections."""
        groups = np.repeat(np.arange(len(collections)), [collection.documents.shape[0] for collection in collections])
        try:
            return cls(vstack([collection.documents for collection in collections], format="csr"), groups, postings, seed)
        except ValueError as error:
            raise SystemExit(f"{error} Choose another --postings.") from None

    def parents(self, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which two real documents each of the documents ``start … stop`` crosses."""
        numbers = np.arange(start, stop, dtype=np.uint64)
        first = np.searchsorted(self._cumulative, self._uniform(numbers, 1) * self._cumulative[-1], side="right")
        first = np.minimum(first, len(self._cumulative) - 1)
        place = self._place[first]
        low, high = self._low[place], self._high[place]
        reach = np.minimum(NEIGHBOURS, high - low)
        distance = 1 + (self._uniform(numbers, 2) * reach).astype(np.int64)
        place = np.where(self._uniform(numbers, 3) < 0.5, place - distance, place + distance)
        place = np.where(place < low, 2 * low - 1 - place, place)  # folded back at both ends, so that all are met equally often
        place = np.where(place >= high, 2 * high - 1 - place, place)
        return first, self._order[place]

    def rows(self, start: int, stop: int) -> csr_array:
        """Raw weights of the documents ``start … stop``, CSR, columns ascending."""
        return self.cross(self.documents, start, stop)

    def chunks(self, n_documents: int, size: int) -> Iterator[csr_array]:
        """The first ``n_documents`` documents, ``size`` at a time."""
        for start in range(0, n_documents, size):
            yield self.rows(start, min(start + size, n_documents))

    def cross(self, matrix: csr_array, start: int, stop: int) -> csr_array:
        """The same documents in other terms, such as counts of words: rows of ``matrix`` belong to the real documents."""
        first, second = self.parents(start, stop)
        numbers = np.arange(start, stop, dtype=np.uint64)
        counts = np.zeros(stop - start, dtype=np.int64)
        arrays = (matrix.indptr, matrix.indices, matrix.data, first, second, numbers, self.seed, np.uint64(SHARE * 2**64))
        count_crossed(*arrays, counts)
        indptr = np.concatenate([[0], np.cumsum(counts)])
        terms, values = np.empty(indptr[-1], dtype=np.int32), np.empty(indptr[-1], dtype=matrix.data.dtype)
        fill_crossed(*arrays, indptr, terms, values)
        if indptr[-1] < 2**31:  # else scipy would widen the terms too
            indptr = indptr.astype(np.int32)
        return csr_array((values, terms, indptr), shape=(stop - start, matrix.shape[1]))

    def _uniform(self, numbers: NDArray[np.uint64], purpose: int) -> NDArray[np.float64]:
        with np.errstate(over="ignore"):
            hashes = mix_array((numbers + np.uint64(1)) * GOLDEN + self.seed * STEP + np.uint64(purpose << 40))
        return (hashes >> np.uint64(11)) * 2.0**-53


def weigh(lengths: NDArray[Any], postings: float | None) -> NDArray[np.float64]:
    """How often each real document is drawn, in proportion to a power of its length; the weights add up to 1."""
    filled = lengths > 0
    if postings is None or not filled.any():
        return np.full(len(lengths), 1.0 / len(lengths))
    logarithms = np.log(np.where(filled, lengths, 1))

    def weights(power: float) -> NDArray[np.float64]:
        made = np.where(filled, np.exp(power * (logarithms - logarithms.max())), 0.0)
        return made / made.sum()

    low, high = -8.0, 8.0
    reached = [float(weights(power) @ lengths) for power in (low, high)]
    if not reached[0] <= postings <= reached[1]:
        raise ValueError(
            f"A mean of {postings:g} postings cannot be had from these documents, only {reached[0]:.0f} to {reached[1]:.0f}."
        )
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if weights(middle) @ lengths < postings else (low, middle)
    return weights(low)


@njit(cache=True, inline="always")
def mix(x: Any) -> Any:
    """The finalizer of splitmix64 (Steele, Lea and Flood 2014): a bijection of 64-bit numbers that looks random."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(cache=True)
def mix_array(x: Any) -> Any:
    out = np.empty_like(x)
    for i in range(len(x)):
        out[i] = mix(x[i])
    return out


@njit(cache=True, inline="always")
def _from_first(state: Any, term: Any, threshold: Any) -> Any:
    return mix(state ^ (np.uint64(term) * STEP)) < threshold


@njit(cache=True)
def count_crossed(
    indptr: Any, terms: Any, values: Any, first: Any, second: Any, numbers: Any, seed: Any, threshold: Any, counts: Any
) -> None:
    """Terms of each made document."""
    for row in range(len(numbers)):
        state = mix((numbers[row] + np.uint64(1)) * GOLDEN + seed * STEP)
        n = 0
        for i in range(indptr[first[row]], indptr[first[row] + 1]):
            n += _from_first(state, terms[i], threshold)
        for j in range(indptr[second[row]], indptr[second[row] + 1]):
            n += not _from_first(state, terms[j], threshold)
        counts[row] = n


@njit(cache=True)
def fill_crossed(
    indptr: Any,
    terms: Any,
    values: Any,
    first: Any,
    second: Any,
    numbers: Any,
    seed: Any,
    threshold: Any,
    out_indptr: Any,
    out_terms: Any,
    out_values: Any,
) -> None:
    """Terms and weights of each made document, in ascending order of terms."""
    for row in range(len(numbers)):
        state = mix((numbers[row] + np.uint64(1)) * GOLDEN + seed * STEP)
        i, i_end = indptr[first[row]], indptr[first[row] + 1]
        j, j_end = indptr[second[row]], indptr[second[row] + 1]
        place = out_indptr[row]
        while i < i_end or j < j_end:
            from_i = j >= j_end or (i < i_end and terms[i] <= terms[j])
            both = from_i and j < j_end and terms[i] == terms[j]
            term = terms[i] if from_i else terms[j]
            chosen = _from_first(state, term, threshold)
            if chosen == from_i or both:
                out_terms[place] = term
                out_values[place] = values[i] if chosen else values[j]
                place += 1
            i += from_i
            j += both or not from_i


def choose_queries(
    collections: Sequence[Encoded], n_queries: int, terms: float = QUERY_TERMS, seed: int = 0
) -> tuple[csr_array, list[str]]:
    """A sample of the collections' own queries, without repetition, with about ``terms`` terms in the mean.

    Queries with less than half or more than twice as many terms are left out where there are enough others: the slowest
    queries are to tell of slow searches, not of long queries. Every collection gets the same chance, whatever its number of
    queries, and longer queries a larger or smaller one, by the power of their length that brings the mean near the goal.

    Returns:
        Raw weights, CSR, and texts.
    """
    queries = vstack([collection.queries for collection in collections], format="csr")
    texts = [text for collection in collections for text in collection.query_texts]
    sizes = [collection.queries.shape[0] for collection in collections]
    lengths = np.diff(queries.indptr)
    share = np.repeat([1.0 / size for size in sizes], sizes)
    luck = np.random.default_rng(seed).exponential(size=len(lengths))
    usable = (lengths >= terms / 2) & (lengths <= 2 * terms)
    if usable.sum() < n_queries:
        usable = lengths > 0
    n_queries = min(n_queries, int(usable.sum()))

    def sample(power: float) -> NDArray[np.int64]:
        weights = np.where(usable, share * np.maximum(lengths, 1.0) ** power, 1e-300)
        return np.sort(np.argsort(luck / weights, kind="stable")[:n_queries])  # Efraimidis and Spirakis 2006

    chosen = min((sample(power) for power in np.linspace(-3, 3, 121)), key=lambda rows: abs(lengths[rows].mean() - terms))
    order = np.random.default_rng(seed + 1).permutation(chosen)
    return csr_array(queries[order]), [texts[i] for i in order]


@dataclass(frozen=True)
class Profile:
    """How terms and lengths are distributed: shares of documents with each term, and postings of documents, with weights."""

    densities: NDArray[np.float64]
    lengths: NDArray[np.int64]
    weights: NDArray[np.float64]

    @property
    def mean(self) -> float:
        return float(self.lengths @ self.weights)

    def quantile(self, share: float) -> float:
        """The number of postings that a share of the documents stays below."""
        order = np.argsort(self.lengths)
        return float(self.lengths[order][np.searchsorted(np.cumsum(self.weights[order]), share)])

    def terms_above(self, density: float) -> int:
        return int((self.densities > density).sum())

    @property
    def zipf_slope(self) -> float:
        """Slope of log density over log rank, from rank 10 to 5,000 or to the last term used."""
        falling = np.sort(self.densities[self.densities > 0])[::-1][9:5000]
        return float(np.polyfit(np.log(np.arange(10, 10 + len(falling))), np.log(falling), 1)[0])


def source_profile(generator: Generator) -> Profile:
    """Of the real documents, weighted as they are drawn."""
    matrix = generator.documents
    weights = np.repeat(generator.weights, generator.lengths)
    densities = np.bincount(matrix.indices, weights=weights, minlength=matrix.shape[1])
    return Profile(densities, generator.lengths, generator.weights)


def made_profile(generator: Generator, n_documents: int) -> Profile:
    """Of the first made documents."""
    counts = np.zeros(generator.documents.shape[1], dtype=np.int64)
    lengths = []
    for chunk in generator.chunks(n_documents, 10_000):
        counts += np.bincount(chunk.indices, minlength=len(counts))
        lengths.append(np.diff(chunk.indptr))
    return Profile(counts / n_documents, np.concatenate(lengths), np.full(n_documents, 1 / n_documents))


def main() -> None:
    from common import parser, report

    options = parser(__doc__)
    options.add_argument("--documents", type=int, default=20_000, help="synthetic documents to compare with the real ones")
    options.add_argument("--queries", type=int, default=300, help="queries to choose")
    options.add_argument(
        "--encode-only", nargs="*", metavar="NAME", help="only encode the collections that the cache lacks, of all or of these"
    )
    options.add_argument(
        "--static", action="store_true", help="encode them by the static table, in a cache folder of their own"
    )
    add_options(options)
    given = options.parse_args()
    if given.encode_only is not None:
        encode_missing(given.cache, given.encode_only or NAMES, given.static)
        return
    collections = load_collections(given.cache)
    generator = Generator.of(collections, given.postings, given.seed)
    source, made = source_profile(generator), made_profile(generator, given.documents)
    queries, _ = choose_queries(collections, given.queries, seed=given.seed)
    figures = {"real_documents": float(generator.documents.shape[0]), "query_terms": queries.nnz / queries.shape[0]}
    figures["real_documents_effective"] = float(1 / (generator.weights**2).sum())
    rows = []
    for name, profile in (("real, as drawn", source), ("synthetic", made)):
        key = name.split(",")[0]
        cells = {"postings": profile.mean, **{f"p{q}": profile.quantile(q / 100) for q in (5, 50, 95)}}
        cells.update({f"above_{d}": float(profile.terms_above(d)) for d in (0.5, 0.1, 0.01)})
        rows.append([name, *[f"{value:,.0f}" for value in cells.values()], f"{profile.zipf_slope:.3f}"])
        figures.update({f"{key}_{part}": value for part, value in cells.items()} | {f"{key}_zipf_slope": profile.zipf_slope})
    frequent = source.densities > 0.01
    error = np.abs(made.densities[frequent] / source.densities[frequent] - 1)
    figures["density_error_mean"], figures["density_error_worst"] = float(error.mean()), float(error.max())
    columns = ["", "postings, mean", "5 %", "median", "95 %", "terms in > 50 %", "> 10 %", "> 1 %", "Zipf slope"]
    title = f"{given.documents:,} synthetic documents from {generator.documents.shape[0]:,} real ones"
    report(title, columns, rows, {}, figures, given.json)
    print(
        f"Terms in more than 1 % of the documents: shares differ by {error.mean():.1%} in the mean, {error.max():.0%} at most."
    )
    print(f"The real documents are drawn as {figures['real_documents_effective']:,.0f} equally likely ones would be.")
    print(f"{queries.shape[0]} queries of the collections, {figures['query_terms']:.0f} terms in the mean.")


if __name__ == "__main__":
    main()
