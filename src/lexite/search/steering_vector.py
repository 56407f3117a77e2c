"""Steering vectors: which latents to boost and which to mute, learned from pairs of documents, one of them preferred.

YaPO learns sparse steering vectors in the latents of a sparse autoencoder from preferences. Here the score is linear in the
query's weights, so the same is a small convex problem. A vector has for each latent t a boost a ≥ 0 and a muting 0 ≤ m ≤ 1,
and makes of a query's transformed weights v, whose mean over its latents is s::

    v'_t = v_t · (1 - m_t) + s · a_t

For a pair of a query, a preferred document p and a rejected one r, with D(v) = Σ v · worth · (impact in p - impact in r)::

    loss = mean over pairs of log(1 + exp(-SHARPNESS · D(v') / Σ v · worth)) + penalty · Σ (a + m)

The penalty is a share of the smallest one with which the vector is empty, so it means the same for all pairs. The minimum is
found by proximal gradient descent with momentum (FISTA: Beck and Teboulle 2009) from 0, so it is the same each time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexite.errors import ArgumentError, ConfigError
from lexite.files import read_json, write_json
from lexite.wording import one_line

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from lexite.index.term_space import TermSpace
    from lexite.terms.queries import EncodedQueries

FORMAT, FORMAT_VERSION = "lexite-steering-vector", 1
SHARPNESS = 10.0
SPARSITY = 0.2
MOST_BOOST = 1e6
"""Of a concept or a latent; far above what changes a ranking any further."""
MOST_TERM = 2**31 - 1
STEPS, TOLERANCE = 2000, 1e-9


class Change(NamedTuple):
    """What a vector does to a latent.

    Attributes:
        boost: a; what is added, in mean weights of the query's latents.
        mute: m; the share of the query's weight that is taken away.
    """

    boost: float
    mute: float


@dataclass(frozen=True)
class SteeringVector:
    """A sparse steering vector.

    Attributes:
        changes: by the number of the latent.
        fingerprint: of the vocabulary whose latents they are; empty where that is not known.
    """

    changes: dict[int, Change]
    fingerprint: str = ""

    @property
    def n_boosted(self) -> int:
        """How many latents it boosts."""
        return sum(change.boost > 0 for change in self.changes.values())

    @property
    def n_muted(self) -> int:
        """How many latents it mutes, wholly or in part."""
        return sum(change.mute > 0 for change in self.changes.values())

    def listed(self, label: Callable[[int], str] | None = None) -> list[dict[str, Any]]:
        """Its latents with their changes as JSON values, the largest changes first.

        Args:
            label: words for a latent, for people; None leaves them out.
        """
        ordered = sorted(self.changes.items(), key=lambda pair: (-max(pair[1]), pair[0]))
        return [
            {"term": latent, **({} if label is None else {"label": label(latent)}), **change._asdict()}
            for latent, change in ordered
        ]

    def arrays(self, n_latents: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Boost and muting of all latents, (n_latents,) each."""
        boost, mute = np.zeros(n_latents), np.zeros(n_latents)
        for latent, each in self.changes.items():
            boost[latent], mute[latent] = each.boost, each.mute
        return boost, mute

    def changed(self, space: TermSpace, queries: EncodedQueries) -> EncodedQueries:
        """Queries that it has changed; words stay as they are.

        Args:
            space: the terms of the index.
            queries: the queries.
        """
        from scipy.sparse import csr_array, vstack

        boost, mute = self.arrays(space.n_latents)
        rows = []
        for vector in (space.queries(queries)[[number]].toarray()[0] for number in range(len(queries))):
            vector[: space.n_latents] = steered(vector[: space.n_latents], boost, mute)
            rows.append(csr_array(vector[None]))
        return space.encoded(csr_array(vstack(rows, format="csr")), queries)

    def check(self, fingerprint: str, n_latents: int, where: str = "The steering vector") -> None:
        """Refuses a vector for another vocabulary; raises :class:`ArgumentError`."""
        if self.fingerprint and fingerprint and self.fingerprint != fingerprint:
            raise ArgumentError(
                f"{where} was learned for another vocabulary ({self.fingerprint[:12]}) than this index has "
                f"({fingerprint[:12]}). Learn it anew from this index."
            )
        if strange := next((latent for latent in self.changes if not 0 <= latent < n_latents), None):
            raise ArgumentError(f"{where} has the latent {strange}, but this index has the latents 0 to {n_latents - 1}.")

    def save(self, path: str | Path, label: Callable[[int], str] | None = None) -> None:
        """Writes it as JSON, atomically, the largest changes first.

        Args:
            path: the file.
            label: words for a latent, for people; None leaves them out.

        Raises:
            StorageError: the file cannot be written.
        """
        head = {"format": FORMAT, "format_version": FORMAT_VERSION, "vocabulary": self.fingerprint}
        write_json(path, {**head, "terms": self.listed(label)})

    @classmethod
    def load(cls, path: str | Path) -> SteeringVector:
        """Reads what :meth:`save` wrote.

        Raises:
            ConfigError: the file is missing, damaged, or of a newer format.
        """
        values = read_json(path, ConfigError)
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise ConfigError(f"{path} holds no steering vector. SteeringVector.save writes one.")
        version = values.get("format_version")
        if version != FORMAT_VERSION or isinstance(version, bool):
            raise ConfigError(f"{path} has format version {one_line(str(version))[:60]}; this lexite reads {FORMAT_VERSION}.")
        try:
            listed = [
                (_latent(each["term"]), Change(_number(each["boost"]), _number(each["mute"]))) for each in values["terms"]
            ]
            fingerprint = values["vocabulary"]
        except (KeyError, TypeError, ValueError, OverflowError):
            listed, fingerprint = [], None
        if not isinstance(fingerprint, str):
            raise ConfigError(
                f"{path} is damaged: it needs a vocabulary and a list of terms, each with the numbers term, boost and mute."
            )
        changes: dict[int, Change] = {}
        for latent, change in listed:
            if latent in changes:
                raise ConfigError(f"{path}: latent {latent} occurs twice.")
            if not (0 <= change.boost <= MOST_BOOST and 0 <= change.mute <= 1):
                raise ConfigError(f"{path}: of latent {latent}, boost must be from 0 to {MOST_BOOST:g}, and mute from 0 to 1.")
            changes[latent] = change
        return cls(changes, fingerprint)


def holds_vector(path: Path) -> bool:
    """Whether a file is what :meth:`SteeringVector.save` writes, as far as its head says."""
    try:
        values = read_json(path, ConfigError)
    except ConfigError:
        return False
    return isinstance(values, dict) and values.get("format") == FORMAT


def _latent(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MOST_TERM:
        raise ValueError(f"a latent is a whole number, not {value!r}")
    return value


def _number(value: object) -> float:
    """A number of JSON, where true and text are none; raises OverflowError for one that is beyond floats."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def steered(
    weights: NDArray[np.float64], boost: NDArray[np.float64], mute: NDArray[np.float64], strength: float = 1.0
) -> NDArray[np.float64]:
    """V' of the module for the latents of one query, (n_latents,) each; ``strength`` multiplies boost and muting."""
    used = weights[weights > 0]
    mean = float(used.mean()) if len(used) else 0.0
    return weights * (1.0 - np.minimum(strength * mute, 1.0)) + mean * strength * boost


def learn_steering(
    space: TermSpace, queries: EncodedQueries, preferred: Sequence[str], rejected: Sequence[str], sparsity: float = SPARSITY
) -> SteeringVector:
    """Learns a steering vector from pairs.

    Args:
        space: the terms of the index (``BM25Index.term_space``).
        queries: a query for each pair; one may occur several times.
        preferred: for each the id of a document that should rank above the rejected one.
        rejected: for each the id of that one.
        sparsity: the penalty, as a share of the smallest one with which the vector is empty: from 0, where all latents of
            the documents may take part, to 1.

    Raises:
        ArgumentError: there are no pairs, or not one of each for each query; or ``sparsity`` is not above 0 and at most 1.
        CorpusError: the index has no document of an id.
    """
    from scipy.sparse import csr_array, hstack

    if not len(queries) or not len(queries) == len(preferred) == len(rejected):
        raise ArgumentError(
            f"A steering vector is learned from pairs: {len(queries)} queries need as many preferred and rejected documents; "
            f"there are {len(preferred)} and {len(rejected)}."
        )
    if not 0 < sparsity <= 1:
        raise ArgumentError(f"sparsity is {sparsity!r}, but must be above 0 and at most 1.")
    weights, worth = space.queries(queries), space.worth()
    places = {identifier: place for place, identifier in enumerate(dict.fromkeys([*preferred, *rejected]))}
    impacts = space.documents(places).impacts
    good, bad = (impacts[[places[identifier] for identifier in side]] for side in (preferred, rejected))
    difference = csr_array((good - bad).multiply(worth))
    latents = np.unique(difference.indices[difference.indices < space.n_latents])
    before = np.asarray(csr_array(weights.multiply(difference)).sum(axis=1)).ravel()
    scales = np.maximum(np.asarray(weights @ worth), 1e-30)
    own = csr_array(weights[:, : space.n_latents])
    means = np.asarray(own.sum(axis=1)).ravel() / np.maximum(np.diff(own.indptr), 1)
    gains = csr_array(difference[:, latents])
    parts = gains.multiply(means[:, None]), gains.multiply(own[:, latents]) * -1.0
    design = csr_array(hstack(parts, format="csr").multiply((SHARPNESS / scales)[:, None]))
    upper = np.concatenate([np.full(len(latents), MOST_BOOST), np.ones(len(latents))])  # what load takes
    found = minimised(design, before * SHARPNESS / scales, upper, sparsity)
    boost, mute = found[: len(latents)], found[len(latents) :]
    changed = np.flatnonzero((boost > 0) | (mute > 0))
    changes = {int(latents[place]): Change(float(boost[place]), float(mute[place])) for place in changed.tolist()}
    return SteeringVector(changes, queries.fingerprint)


def minimised(
    design: NDArray[np.float64] | csr_array[np.float64],
    margins: NDArray[np.float64],
    upper: NDArray[np.float64],
    sparsity: float,
) -> NDArray[np.float64]:
    """The x from 0 to ``upper`` with the least ``mean log(1 + exp(-(margins + design · x))) + penalty · Σ x``.

    Args:
        design: (n_pairs, n) what each unknown adds to the margin of each pair; most of it is 0.
        margins: (n_pairs,) without them.
        upper: (n,) largest values.
        sparsity: the penalty, as a share of the smallest one with which x is 0.
    """
    from scipy.sparse import csr_array

    n_pairs, rows = len(margins), csr_array(design)
    columns = csr_array(rows.T)

    def gradient(x: NDArray[np.float64]) -> NDArray[np.float64]:
        wrong = 1.0 / (1.0 + np.exp(np.clip(margins + rows @ x, -500, 500)))
        found: NDArray[np.float64] = np.asarray(columns @ wrong) / -n_pairs
        return found

    x = np.zeros(rows.shape[1])
    steepest = float(np.max(-gradient(x), initial=0.0))
    if steepest <= 0:
        return x
    penalty, step = sparsity * steepest, 4.0 * n_pairs / largest_stretch(rows) ** 2
    ahead, momentum = x, 1.0
    for _ in range(STEPS):
        new = np.clip(ahead - step * (gradient(ahead) + penalty), 0.0, upper)
        following = (1.0 + math.sqrt(1.0 + 4.0 * momentum**2)) / 2.0
        ahead = new + (momentum - 1.0) / following * (new - x)
        done = float(np.max(np.abs(new - x), initial=0.0)) <= TOLERANCE * max(float(np.max(new, initial=0.0)), 1.0)
        x, momentum = new, following
        if done:
            break
    return x


def largest_stretch(matrix: csr_array[np.float64]) -> float:
    """The largest singular value of a matrix that is not all 0.

    >>> from scipy.sparse import csr_array
    >>> largest_stretch(csr_array([[3.0, 4.0]])), round(largest_stretch(csr_array([[2.0, 0.0], [0.0, 7.0]])), 9)
    (5.0, 7.0)
    """
    from scipy.sparse.linalg import svds

    least = min(matrix.shape)
    if least == 1:
        return float(np.sqrt(matrix.multiply(matrix).sum()))
    begin = np.linspace(1.0, 2.0, least)  # the same each time, so that the vector is
    return float(svds(matrix, k=1, v0=begin, return_singular_vectors=False)[0])
