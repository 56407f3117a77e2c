"""Why a document has its score: every number of the formula, by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from lexite.index.score_parts import ScoreParts, TermScore
from lexite.index.scorer import Scorer
from lexite.scoring.config import BM25Config
from lexite.scoring.formula import coverage
from lexite.scoring.rows import Rows
from lexite.wording import counted, escaped, one_line


@dataclass(frozen=True, slots=True)
class ExplainedTerm:
    """What one shared term adds to the score of a document.

    Attributes:
        term: its number.
        kind: ``latent`` or ``word``.
        label: words for people: the label of a latent where there is one, a literal word in quotation marks.
        word: the literal word; None for a latent.
        document_frequency: n, in how many documents the term occurs.
        idf: its inverse document frequency, before ``idf_power`` and ``literal_weight``.
        worth: what the idf comes to in the score: a latent's to the power ``idf_power``, a word's times ``literal_weight``.
        query_weight: the weight in the query, transformed.
        weight: the raw weight in the document, as the index keeps it.
        tf: that weight, transformed.
        saturation: ``tf · scale / (tf + norm) + delta``, with the norm of :class:`Explanation`. Scale is 1 and delta is 0,
            but for bm25+.
        score: ``query_weight · worth · saturation``, in single precision: the part of the document's score.
    """

    term: int
    kind: Literal["latent", "word"]
    label: str
    word: str | None
    document_frequency: int
    idf: float
    worth: float
    query_weight: float
    weight: float
    tf: float
    saturation: float
    score: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """The score of a document, taken apart. It prints as a tree.

    Attributes:
        id: of the document.
        score: BM25's score, as a search gives it.
        n_documents: N, the documents of the index, or their passages where some have several.
        length: of the document, or of its best passage: the sum of the transformed weights.
        average_length: mean length of the documents, or passages.
        norm: ``k1 · (1 - b + b · length / average_length)``.
        coverage: the share of the query that the document, or its best passage, covers: from 0 to 1
            (:func:`lexite.scoring.formula.coverage`).
        terms: the shared terms, the largest part first.
        rounding: what single precision adds or takes: the score less the exact sum of the terms' parts.
        common: latents among the terms that stand for function words and punctuation. They are shown as one line.
    """

    id: str
    score: float
    n_documents: int
    length: float
    average_length: float
    norm: float
    coverage: float
    terms: tuple[ExplainedTerm, ...]
    rounding: float
    common: tuple[int, ...] = ()

    @property
    def common_score(self) -> float:
        """What function words and punctuation add to the score."""
        return math.fsum(term.score for term in self.terms if term.kind == "latent" and term.term in self.common)

    @property
    def common_share(self) -> float:
        """Their share of the score."""
        return self.common_score / self.score if self.score > 0 else 0.0

    def shown(self) -> tuple[ExplainedTerm, ...]:
        """The terms without those that stand for function words and punctuation, the largest part first."""
        return tuple(term for term in self.terms if term.kind == "word" or term.term not in self.common)

    def parts(self) -> ScoreParts:
        """What each term adds, without how it comes to be."""
        terms = tuple(TermScore(term.term, term.score, term.word) for term in self.terms)
        return ScoreParts(self.score, self.coverage, terms)

    def leaves(self) -> Iterator[tuple[str, float]]:
        """The parts of the score with their names; ``math.fsum`` of them is the score exactly."""
        yield from ((term.label, term.score) for term in self.terms)
        if self.rounding:
            yield "rounding to single precision", self.rounding

    def labelled(self, label: Callable[[int], str]) -> Explanation:
        """The same with labels of latents.

        Args:
            label: gives the label of a latent's number.
        """
        named = (replace(term, label=label(term.term)) if term.kind == "latent" else term for term in self.terms)
        return replace(self, terms=tuple(named))

    def folded(self, kind: Callable[[int], str]) -> Explanation:
        """The same with latents of the kind ``function`` shown as one line.

        Args:
            kind: gives the kind of a latent's number.
        """
        latents = (term.term for term in self.terms if term.kind == "latent")
        return replace(self, common=tuple(term for term in latents if kind(term) == "function"))

    def to_json(self) -> dict[str, Any]:
        """All numbers, as JSON values."""
        return {**asdict(self), "common_score": self.common_score, "common_share": self.common_share}

    def __str__(self) -> str:
        lines = [
            f"{self.score:.4f}  {escaped(self.id)}",
            f"        N {counted(self.n_documents)}, length {self.length:.1f}, average length {self.average_length:.1f}, "
            f"{self.coverage:.0%} of the query",
        ]
        for term in self.shown():
            lines.append(f"  {term.score:.4f}  {term.kind} {one_line(term.label)}")
            lines.append(
                f"          query weight {term.query_weight:.4f} · worth {term.worth:.4f} (idf {term.idf:.4f}, "
                f"in {counted(term.document_frequency)}) · saturation {term.saturation:.4f} (tf {term.tf:.4f})"
            )
        if self.common:
            share = f"{counted(len(self.common), 'latent')}, {self.common_share:.0%} of the score"
            lines.append(f"  {self.common_score:.4f}  common words ({share})")
        return "\n".join(lines)


def explain_document(scorer: Scorer, query: Rows, passage: int, scoring: BM25Config, word: Callable[[int], str]) -> Explanation:
    """Takes the score of a document apart, which is that of one of its passages.

    Args:
        scorer: of the index.
        query: one query, its literal words included.
        passage: the passage's number.
        scoring: how to score.
        word: the literal word of a term.
    """
    facts = scorer.facts(query, passage, scoring)
    factors = (facts.query_weights * facts.worth).astype(np.float32)
    scores = factors * facts.saturation
    total = np.add.accumulate(scores, dtype=np.float32)[-1] if len(scores) else np.float32(0.0)
    order = np.argsort(-scores, kind="stable")
    columns = (
        facts.terms,
        facts.document_frequency,
        facts.idf,
        facts.worth,
        facts.query_weights,
        facts.weights,
        facts.tf,
        facts.saturation,
        scores,
    )
    terms = []
    for term, *numbers in zip(*(column[order].tolist() for column in columns), strict=True):
        literal = None if term < scorer.n_latents else word(term)
        label = f"latent {term}" if literal is None else f'"{literal}"'
        terms.append(ExplainedTerm(term, "latent" if literal is None else "word", label, literal, *numbers))
    score = float(total)
    return Explanation(
        facts.id,
        score,
        scorer.n_passages,
        facts.length,
        facts.average_length,
        facts.norm,
        coverage(factors, scorer.factors(query, scoring)),
        tuple(terms),
        math.fsum([score, *(-term.score for term in terms)]),
    )
