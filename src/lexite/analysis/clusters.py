"""Clusters of documents, named by their concepts, beside clusters of shuffled rows; and a map of the documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array

from lexite.analysis.bars import plot_points
from lexite.analysis.corpora import Corpus, Example, presence
from lexite.analysis.correlations import shuffled
from lexite.errors import ArgumentError, MissingExtraError
from lexite.wording import one_line

Method = Literal["kmeans", "hdbscan"]
DIMENSIONS = 64
DENSITY_DIMENSIONS = 10  # densities say nothing in many
NULLS = 5
CONCEPTS = 4
SILHOUETTE_SAMPLE = 2000
LEAST_DOCUMENTS = 20


@dataclass(frozen=True)
class Cluster:
    """Documents that belong together.

    Attributes:
        name: the concepts that tell it best from the others.
        size: documents.
        concepts: the latents of these concepts.
        shares: share of its documents, and of the others, that have each.
        examples: documents nearest to its middle.
    """

    name: str
    size: int
    concepts: tuple[int, ...]
    shares: tuple[tuple[float, float], ...]
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Clusters:
    """A division of a corpus.

    Attributes:
        corpus: its name.
        method: kmeans or hdbscan.
        clusters: the largest first.
        assigned: ``(n_documents,)`` the cluster of each document by its place in ``clusters``; -1 for none.
        silhouette: mean silhouette (cosine) of the documents in clusters, from -1 to 1.
        chance: the same for five corpora with shuffled rows.
        better_than_chance: whether the silhouette is larger than all of these by three of their standard deviations.
        points: ``(n_documents, 2)`` places on a map; empty where none was asked for.
        truth: what the clusters were compared with; empty for nothing.
        adjusted_rand: the adjusted Rand index with it: 0 by chance, 1 where both divide alike.
    """

    corpus: str
    method: Method
    clusters: tuple[Cluster, ...]
    assigned: NDArray[np.int64] = field(repr=False)
    silhouette: float
    chance: tuple[float, ...]
    better_than_chance: bool
    points: NDArray[np.float32] = field(repr=False, default_factory=lambda: np.zeros((0, 2), np.float32))
    truth: str = ""
    adjusted_rand: float | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "assigned": self.assigned.tolist(), "points": self.points.round(4).tolist()}

    def lines(self) -> list[str]:
        """The result for people."""
        verdict = "better than" if self.better_than_chance else "no better than"
        chance = ", ".join(f"{value:.3f}" for value in self.chance)
        head = f"{len(self.clusters)} clusters of {one_line(self.corpus)} by {self.method}"
        lines = [f"{head}: silhouette {self.silhouette:.3f}, {verdict} those of shuffled rows ({chance})."]
        if self.truth:
            lines.append(f"Adjusted Rand index with {one_line(self.truth)}: {self.adjusted_rand:.3f}.")
        left = int((self.assigned < 0).sum())
        if left:
            lines.append(f"{left:,} documents are in no cluster.")
        for number, cluster in enumerate(self.clusters, start=1):
            lines.append(f"  {number}  {cluster.size:,}  {one_line(cluster.name)}")
            lines += [f"        {one_line(example.id)}  {one_line(example.text[:100])}" for example in cluster.examples]
        return lines

    def plot(self, path: str | Path) -> list[Path]:
        """Draws the map with the clusters in colours, as PNG and SVG.

        Raises:
            ArgumentError: there is no map.
        """
        if not len(self.points):
            raise ArgumentError("There is no map of these clusters. Ask for one: clusters(corpus, map_points=True).")
        verdict = "" if self.better_than_chance else " (no better than chance)"
        names = [cluster.name for cluster in self.clusters]
        return plot_points(self.points, self.assigned, names, path, title=f"{self.corpus}{verdict}")


def clusters(
    corpus: Corpus,
    *,
    n_clusters: int = 8,
    method: Method = "kmeans",
    concepts: Sequence[int] | None = None,
    nulls: int = NULLS,
    map_points: bool = False,
    seed: int = 0,
) -> Clusters:
    """Divides documents by their concepts.

    Weights are log(1 + weight) · idf, rows have length 1, and a truncated singular value decomposition keeps 64 dimensions
    (10 for HDBSCAN). scikit-learn's k-means or HDBSCAN divides them. A cluster is named by the concepts that its documents have
    more often than the others, by the log-odds ratio in standard errors. As a test for chance, rows are shuffled and divided
    likewise: each concept stays as frequent, and documents about as long.

    Args:
        corpus: documents.
        n_clusters: how many for k-means; for HDBSCAN the smallest has 1/20 of the documents a cluster would have.
        method: ``kmeans``, or ``hdbscan``, which finds the number and leaves documents out.
        concepts: latents to go by; None for all.
        nulls: shuffled corpora.
        map_points: whether a map is made too.
        seed: of everything random.

    Raises:
        ArgumentError: there are too few documents or clusters.
        MissingExtraError: scikit-learn, or umap-learn for a map, is not installed.
    """
    if len(corpus) < LEAST_DOCUMENTS or not 2 <= n_clusters <= len(corpus) // 2:
        raise ArgumentError(
            f"{len(corpus)} documents of {corpus.name} cannot be divided into {n_clusters} clusters: at least "
            f"{LEAST_DOCUMENTS} documents are needed, and two for each cluster."
        )
    rows = corpus.rows if concepts is None else csr_array(corpus.rows[:, sorted(set(concepts))])
    dimensions = DIMENSIONS if method == "kmeans" else DENSITY_DIMENSIONS
    space = reduced(rows, seed, dimensions)
    assigned = _divided(space, n_clusters, method, seed)
    silhouette = _silhouette(space, assigned, seed)
    chance = []
    for number in range(nulls):
        mixed = reduced(_shuffled_weights(rows, seed + number + 1), seed, dimensions)
        chance.append(_silhouette(mixed, _divided(mixed, n_clusters, method, seed), seed))
    bar = max(chance) + 3 * float(np.std(chance)) if chance else -1.0
    order = np.argsort(-np.bincount(assigned[assigned >= 0], minlength=1), kind="stable")
    places = np.full(int(assigned.max(initial=-1)) + 2, -1, dtype=np.int64)
    places[order[: int(assigned.max(initial=-1)) + 1]] = np.arange(int(assigned.max(initial=-1)) + 1)
    assigned = np.where(assigned >= 0, places[assigned], -1)
    described = tuple(_described(corpus, space, assigned, number) for number in range(int(assigned.max(initial=-1)) + 1))
    points = map_of(space, seed) if map_points else np.zeros((0, 2), np.float32)
    return Clusters(
        corpus.name, method, described, assigned, silhouette, tuple(chance), bool(chance) and silhouette > bar, points
    )


def agreement(found: Clusters, name: str, truth: Sequence[Any]) -> Clusters:
    """The same clusters with their adjusted Rand index (Hubert and Arabie, 1985) against a known division.

    Documents in no cluster count as one, and so do documents without a value.

    Args:
        found: clusters.
        name: of the known division.
        truth: the group of each document.
    """
    from sklearn.metrics import adjusted_rand_score

    value = float(adjusted_rand_score([str(each) for each in truth], found.assigned))
    return replace(found, truth=name, adjusted_rand=value)


def reduced(rows: csr_array[np.float32], seed: int, dimensions: int = DIMENSIONS) -> NDArray[np.float32]:
    """Documents in few dimensions, ``(n, dimensions)``, each of length 1; the products stay sparse.

    Args:
        rows: raw weights.
        seed: of the randomised decomposition.
        dimensions: how many.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.utils.extmath import randomized_svd
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "analysis", "Dividing documents") from error

    n = rows.shape[0]
    frequency = np.bincount(rows.indices, minlength=rows.shape[1])
    worth = np.log1p((n - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
    weighted = csr_array((np.log1p(rows.data) * worth[rows.indices], rows.indices, rows.indptr), shape=rows.shape)
    norms = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    scaled = csr_array(diags_array((1 / np.maximum(norms, 1e-9)).astype(np.float32)) @ weighted)
    size = max(2, min(dimensions, min(scaled.shape) - 1))
    left, values, _ = randomized_svd(scaled, size, n_iter=4, random_state=seed)
    space = (left * values).astype(np.float32)
    lengths = np.linalg.norm(space, axis=1, keepdims=True)
    return np.asarray(space / np.maximum(lengths, 1e-9), dtype=np.float32)


def map_of(space: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Places of documents on a plane by UMAP, ``(n, 2)``.

    Raises:
        MissingExtraError: umap-learn is not installed.
    """
    try:
        import umap
    except ImportError as error:
        raise MissingExtraError("umap-learn", "analysis", "A map of documents") from error

    neighbours = min(15, max(len(space) - 1, 2))
    plane = umap.UMAP(n_components=2, metric="cosine", n_neighbors=neighbours, random_state=seed, n_jobs=1)
    return np.asarray(plane.fit_transform(space), dtype=np.float32)


def _divided(space: NDArray[np.float32], n_clusters: int, method: Method, seed: int) -> NDArray[np.int64]:
    if method == "kmeans":
        from sklearn.cluster import KMeans

        return np.asarray(KMeans(n_clusters, n_init=4, random_state=seed).fit_predict(space), dtype=np.int64)
    try:
        from hdbscan import HDBSCAN
    except ImportError as error:
        raise MissingExtraError("hdbscan", "analysis", "Dividing documents with hdbscan") from error
    least = max(5, len(space) // (20 * n_clusters))
    return np.asarray(HDBSCAN(min_cluster_size=least, min_samples=5, core_dist_n_jobs=1).fit_predict(space), dtype=np.int64)


def _silhouette(space: NDArray[np.float32], assigned: NDArray[np.int64], seed: int) -> float:
    from sklearn.metrics import silhouette_score

    places = np.flatnonzero(assigned >= 0)
    if len(places) > SILHOUETTE_SAMPLE:
        places = np.random.default_rng(seed).choice(places, SILHOUETTE_SAMPLE, replace=False)
    groups = assigned[places]
    if not 2 <= len(np.unique(groups)) < len(groups):
        return -1.0
    return float(silhouette_score(space[places], groups, metric="cosine"))


def _shuffled_weights(rows: csr_array[np.float32], seed: int) -> csr_array[np.float32]:
    mixed = shuffled(presence(rows), seed)
    weights = np.random.default_rng(seed).permutation(rows.data)[: mixed.nnz]
    return csr_array((weights, mixed.indices, mixed.indptr), shape=mixed.shape)


def _described(corpus: Corpus, space: NDArray[np.float32], assigned: NDArray[np.int64], number: int) -> Cluster:
    own = np.flatnonzero(assigned == number)
    rows = presence(corpus.rows)
    inside = np.bincount(rows[own].indices, minlength=corpus.n_latents).astype(np.float64)
    outside = np.bincount(rows.indices, minlength=corpus.n_latents) - inside
    n, rest = float(len(own)), float(len(corpus) - len(own))
    odds = np.log((inside + 0.5) / (n - inside + 0.5)) - np.log((outside + 0.5) / (rest - outside + 0.5))
    error = np.sqrt(1 / (inside + 0.5) + 1 / (n - inside + 0.5) + 1 / (outside + 0.5) + 1 / (rest - outside + 0.5))
    best = np.argsort(-(odds / error), kind="stable")[: 8 * CONCEPTS].tolist()
    labels: dict[str, int] = {}
    for latent in sorted(best, key=lambda each: not corpus.has_name(each)):  # those with a name first, else in their order
        labels.setdefault(corpus.label(latent), latent)
        if len(labels) == CONCEPTS:
            break
    middle = space[own].mean(axis=0)
    nearest = own[np.argsort(-(space[own] @ middle), kind="stable")[:3]]
    return Cluster(
        "; ".join(labels),
        len(own),
        tuple(labels.values()),
        tuple((float(inside[latent] / n), float(outside[latent] / max(rest, 1))) for latent in labels.values()),
        tuple(corpus.example(int(place)) for place in nearest),
    )
