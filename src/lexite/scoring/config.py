"""How weights become a score: the numbers of BM25 and the transforms of both sides' weights.

A saved vocabulary carries one :class:`BM25Config`, so that queries are scored as was meant. It acts on the raw weights that an
index keeps, and each search may choose another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lexite.config import from_dict, option, to_dict
from lexite.errors import ConfigError

Transform = Literal["sqrt", "log1p", "none"]
QueryTransform = Literal["sqrt", "pow0.75", "log1p", "none"]
IdfForm = Literal["lucene", "robertson", "bm25+"]
EARLIER_SCORING = {"idf_power": 1.0, "literal_weight": 3.0}
"""The scoring of files that do not name these, for they are from before there was a choice."""


@dataclass(frozen=True)
class BM25Config:
    """BM25 over latent terms, and over literal words where an index has them.

    Attributes:
        k1: how late the weight of a term saturates.
        b: how much a long document is discounted; 0 not at all, 1 fully.
        idf: the inverse document frequency, with N documents of which df hold the term.
            ``lucene``: log(1 + (N - df + 0.5) / (df + 0.5)); ``robertson``: max(0, log((N - df + 0.5) / (df + 0.5)));
            ``bm25+``: log((N + 1) / df), together with ``delta``.
        idf_power: the idf of a latent term is raised to this power. Below 1, rare latents count less against the frequent ones;
            the idf of literal words is left as it is.
        delta: what ``bm25+`` adds for every term that matches; the other forms do not use it.
        document_transform: applied to the raw sums of a document before anything else. The document's length is the sum of the
            results.
        query_transform: applied to the raw sums of a query; the results multiply the score of each term. It may also be
            ``pow0.75``, w to the power 0.75.
        literal_weight: multiplies the score of each literal word of a query (``lexite.scoring.words``); with 0 they are left
            out, so that latent terms alone are searched. Without effect on an index that has no literal words.

    >>> BM25Config().k1
    2.5
    """

    k1: float = option(2.5, "How late the weight of a term saturates (BM25's k1).", minimum=0.0, maximum=1e6)
    b: float = option(0.75, "How much long documents are discounted (BM25's b).", minimum=0.0, maximum=1.0)
    idf: IdfForm = option("lucene", "Form of the inverse document frequency.")
    idf_power: float = option(
        0.5, "Power of the inverse document frequency of latent terms; 0 weighs all terms alike.", minimum=0.0, maximum=4.0
    )
    delta: float = option(
        1.0, "What bm25+ adds for every matching term; the other forms do not use it.", minimum=0.0, maximum=1e6
    )
    document_transform: Transform = option("none", "Transform of the weights of documents.")
    query_transform: QueryTransform = option("pow0.75", "Transform of the weights of queries.")
    literal_weight: float = option(
        3.25,
        "Weight of literal words of the query beside latent terms, where the index has them; 0 leaves them out.",
        minimum=0.0,
        maximum=1e6,
    )


def saved_scoring(values: Mapping[str, Any], where: str) -> BM25Config:
    """The scoring that a vocabulary or an index was saved with, in this version or an earlier one.

    Args:
        values: its fields as they were saved.
        where: the file they were read from, for error messages.

    Raises:
        ConfigError: a field is unknown or has no valid value.
    """
    return from_dict(BM25Config, {**EARLIER_SCORING, **values}, where)


def scoring_of(given: BM25Config | Mapping[str, Any] | None, saved: BM25Config) -> BM25Config:
    """BM25's numbers: a whole configuration that is given, or the saved one with some numbers replaced.

    Raises:
        ConfigError: a name is unknown, or a value out of range.
    """
    if given is None:  # as in most searches, where building it again would take as long as the search
        return saved
    if isinstance(given, BM25Config):
        return given
    if not isinstance(given, Mapping):
        raise ConfigError(f"scoring is a {type(given).__name__}. Give a BM25Config, or some numbers by name: {{'k1': 1.2}}.")
    return from_dict(BM25Config, {**to_dict(saved), **given}, "scoring")
