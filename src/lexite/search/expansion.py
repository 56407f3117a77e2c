"""Expanded queries: the terms of documents, latents and words alike, mixed into queries or taken out of them.

Queries and documents are vectors over the terms of an index (:mod:`lexite.index.term_space`): the score of a document is the
sum of ``v · worth · impact``. :func:`expand` takes a query's vector and documents, and gives another vector::

    c  = Σ w · x of the good documents - γ · mean x of the bad ones
    v' = max(0, (1 - mixing) · v + mixing · s · c)     with c 0 for terms that are not chosen

- ``rocchio`` (Rocchio, *Relevance feedback in information retrieval*, 1971): x are the impacts of a document's terms, saturated
  and normalised by length; s makes c as long as v, both multiplied by what terms are worth (Euclidean length).
- ``rm3`` (Abdul-Jaleel et al., *UMass at TREC 2004*): x are the shares of a document's length, an estimate of
  P(term | document); s makes the sums of c and v equal, for both are distributions there.

The weights w add up to 1. Chosen are the terms with the largest ``c · worth``, which is what a term can add to a score: so many
latents and as many words. Terms of the query always take part. s is taken for latents and for words apart, so that their
balance stays the query's; where the query has none of a kind, s is that of both together. A query without a term becomes c.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lexite.errors import ArgumentError
from lexite.ranking.hits import Hit

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from lexite.index.term_space import DocumentVectors, TermSpace
    from lexite.scoring.config import BM25Config
    from lexite.search.strategy import Backend
    from lexite.terms.queries import EncodedQueries

Method = Literal["rocchio", "rm3"]
Over = Literal["both", "latents", "words"]
DocumentWeights = Literal["scores", "softmax", "equal"]
Document = Hit | int | str


class HasTermSpace(Protocol):
    """A backend that shows documents and queries as vectors over its terms."""

    def term_space(self, scoring: BM25Config | None = None) -> TermSpace:
        """The vectors for a scoring."""
        ...


def term_space_of(backend: Backend, scoring: BM25Config | None, purpose: str) -> TermSpace:
    """The terms of a backend as vectors.

    Args:
        backend: an index, or an engine that has ``term_space`` too.
        scoring: how to score; None takes what the index says.
        purpose: what needs them, for the message.

    Raises:
        ArgumentError: the backend has none.
    """
    make = getattr(backend, "term_space", None)
    if make is None:
        raise ArgumentError(
            f"{purpose} needs the terms of documents, which {type(backend).__name__} does not give. Ask an index."
        )
    space: TermSpace = make(scoring)
    return space


@dataclass(frozen=True)
class Mixing:
    """How documents are mixed into a query.

    Attributes:
        method: how documents are weighed.
        terms: latents and words to take at most, so many of each.
        mixing: part of the expanded query that comes from documents, from 0 to 1.
        over: which terms are mixed; the others stay as they are.
        negative: γ, how strongly bad documents are taken out.
    """

    method: Method = "rocchio"
    terms: int = 30
    mixing: float = 0.5
    over: Over = "both"
    negative: float = 0.0


class Judged(NamedTuple):
    """The documents that a query is mixed with.

    Attributes:
        good: documents whose terms are mixed in.
        weights: (n,) of the good ones, 0 or more; they are made to add up to 1.
        bad: documents whose terms are taken out, all alike.
    """

    good: Sequence[Document]
    weights: NDArray[np.float64]
    bad: Sequence[Document] = ()


def weights_of_scores(scores: Sequence[float], kind: DocumentWeights) -> NDArray[np.float64]:
    """What documents weigh that were found with scores; the weights add up to 1.

    Args:
        scores: best first.
        kind: ``scores`` in proportion to the scores, those below 0 taken as 0; ``softmax`` of the scores by their standard
            deviation; ``equal``.

    >>> weights_of_scores([3.0, 1.0], "scores").tolist(), weights_of_scores([0.0, 0.0], "scores").tolist()
    ([0.75, 0.25], [0.5, 0.5])
    """
    given = np.asarray(scores, dtype=np.float64)
    if kind == "scores":
        weights = np.maximum(given, 0.0)
    elif kind == "softmax" and len(given):
        weights = np.exp((given - given.max()) / (given.std() or 1.0))
    else:
        weights = np.ones(len(given))
    total = weights.sum()
    return weights / total if total > 0 else np.full(len(given), 1.0 / max(len(given), 1))


def expanded_queries(space: TermSpace, queries: EncodedQueries, judged: Sequence[Judged], mixing: Mixing) -> EncodedQueries:
    """Queries with the terms of documents mixed in.

    Args:
        space: the terms of the index.
        queries: the queries.
        judged: for each its documents; a query without any stays as it is.
        mixing: how.

    Raises:
        ArgumentError: words are asked for, and there are none.
        CorpusError: the index has no document of an id.
    """
    from scipy.sparse import csr_array, vstack

    if mixing.over == "words" and not space.has_words:
        raise ArgumentError("Feedback over words needs literal words, which do not count in this search. Take latents.")
    vectors, worth = space.queries(queries), space.worth()
    rows = []
    for number, own in enumerate(judged):
        query = csr_array(vectors[[number]])
        if len(own.good) or len(own.bad):
            documents = space.documents([*own.good, *own.bad])
            query = expand(query, documents, len(own.good), own.weights, worth, space.n_latents, mixing)
        rows.append(query)
    together = csr_array(vstack(rows, format="csr")) if rows else vectors
    return space.encoded(together, queries)


def expand(
    query: csr_array[np.float64],
    documents: DocumentVectors,
    n_good: int,
    weights: NDArray[np.float64],
    worth: NDArray[np.float64],
    n_latents: int,
    mixing: Mixing,
) -> csr_array[np.float64]:
    """The vector of one query with documents mixed in; the module has the formula.

    Args:
        query: (1, n_terms) its vector.
        documents: as vectors: the good ones, then the bad ones.
        n_good: how many are good.
        weights: (n_good,) of the good ones.
        worth: (n_terms,) what terms are worth.
        n_latents: terms before the words.
        mixing: how.
    """
    from scipy.sparse import csr_array

    vectors = documents.impacts if mixing.method == "rocchio" else documents.shares
    terms = np.unique(np.concatenate([query.indices, vectors.indices]))  # few of all, so that arrays over them may be dense
    old, centre = np.zeros(len(terms)), np.zeros(len(terms))
    old[np.searchsorted(terms, query.indices)] = query.data
    n_bad = vectors.shape[0] - n_good
    shares = np.concatenate([weights / max(weights.sum(), 1e-30), np.full(n_bad, -mixing.negative / max(n_bad, 1))])
    owners = np.repeat(np.arange(vectors.shape[0]), np.diff(vectors.indptr))
    np.add.at(centre, np.searchsorted(terms, vectors.indices), vectors.data * shares[owners])
    of_latents, value = terms < n_latents, worth[terms]
    parts = {"latents": [of_latents], "words": [~of_latents], "both": [of_latents, ~of_latents]}[mixing.over]
    parts = [part & (value > 0) for part in parts]
    chosen = np.zeros(len(terms), dtype=bool)
    for part in parts:
        gain = np.where(part & (centre > 0), centre * value, 0.0)
        best = np.argsort(-gain, kind="stable")[: mixing.terms]
        chosen[best[gain[best] > 0]] = True
        chosen |= part & (old > 0)
    centre = np.where(chosen, centre, 0.0)
    new = old.copy()
    if not len(query.data):
        new = np.maximum(centre, 0.0)
    else:
        overall = _scale(old, centre, value, mixing.method, np.logical_or.reduce(parts))
        for part in parts:
            scale = _scale(old, centre, value, mixing.method, part) or overall
            new[part] = np.maximum((1.0 - mixing.mixing) * old[part] + mixing.mixing * scale * centre[part], 0.0)
    kept = np.flatnonzero(new > 0)
    return csr_array((new[kept], terms[kept], np.array([0, len(kept)])), shape=query.shape)


def _scale(
    old: NDArray[np.float64], centre: NDArray[np.float64], worth: NDArray[np.float64], method: Method, part: NDArray[np.bool_]
) -> float:
    """S of the module, over a part of the terms; 0 where query or documents have nothing there."""
    if method == "rm3":
        lengths = old[part].sum(), np.abs(centre[part]).sum()
    else:
        lengths = np.linalg.norm((old * worth)[part]), np.linalg.norm((centre * worth)[part])
    return float(lengths[0] / lengths[1]) if lengths[0] > 0 and lengths[1] > 0 else 0.0
