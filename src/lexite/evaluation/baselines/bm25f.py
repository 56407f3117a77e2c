"""BM25F: words of title, headings and body, each field with a weight and a length of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from lexite.corpus.passages import heading_lines, text_without
from lexite.corpus.text_fields import NAMES, FieldWeights, field_weights_of
from lexite.errors import ConfigError
from lexite.evaluation.baselines.lexical import words_of
from lexite.evaluation.baselines.weights import Cut, measured
from lexite.evaluation.judged import JudgedCollection
from lexite.evaluation.systems import SystemResult

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from lexite.corpus.passages import TextOfDocument

DOCUMENTS_AT_ONCE = 2048


@dataclass(frozen=True)
class BM25FConfig:
    """BM25F's numbers.

    Attributes:
        weights: v of each field.
        k1: how late the weight of a word saturates.
        b: how much a long field is discounted, in all fields alike.
    """

    weights: FieldWeights = field(default_factory=lambda: FieldWeights(title=2.0, headings=2.0))
    k1: float = 1.5
    b: float = 0.75


@dataclass(frozen=True)
class BM25FSystem:
    """Simple BM25F (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009, section 3.6).

    Fields s of a document d, such as its title, have weights v_s. The counts of a word t are added up over the fields, each
    count divided by the length of its field, and saturate together::

        tf(t, d) = Σ_s v_s · count_s(t, d) / (1 - b + b · length_s(d) / average length_s)
        score    = Σ_t count(t, query) · idf(t) · tf(t, d) / (k1 + tf(t, d))

    idf is Lucene's, log(1 + (N - df + .5) / (df + .5)), which is never negative as the book's may be; df counts the
    documents that have the word in any field. Words are those of the baseline ``bm25``, so that with a single field both have
    the same scores.

    Attributes:
        config: its numbers.
        cut: how many terms are kept.
    """

    config: BM25FConfig = field(default_factory=BM25FConfig)
    cut: Cut = field(default_factory=Cut)

    def cut_to(self, cut: Cut) -> BM25FSystem:
        """The same system with fewer terms."""
        return replace(self, cut=cut)

    def run(self, collection: JudgedCollection, top_k: int) -> SystemResult:
        """Weighs the words of the documents, and ranks them for each query."""
        words = WordNumbers()
        counted = _counted_fields(collection, words)
        queries = words.rows(words_of(collection.query_texts))
        documents = bm25f_weights([(weight, words.widened(rows)) for weight, rows in self._weighted(counted)], self.config)
        return measured(documents, words.widened(queries), top_k, self.cut)

    def _weighted(self, counted: Sequence[csr_array]) -> list[tuple[float, csr_array]]:
        return [(getattr(self.config.weights, name), rows) for name, rows in zip(NAMES, counted, strict=True)]


def bm25f_weights(fields: Sequence[tuple[float, csr_array]], config: BM25FConfig) -> csr_array:
    """What each word of each document adds to a score for each time that a query has it.

    Args:
        fields: the weight of each field, and how often each document has each word there, ``(n_documents, n_words)``.
        config: k1 and b.
    """
    from scipy.sparse import csr_array, diags_array

    frequencies = csr_array(fields[0][1].shape, dtype=np.float64)
    for weight, counts in fields:
        lengths = counts.sum(axis=1).astype(np.float64)
        if weight and lengths.any():
            frequencies = frequencies + diags_array(weight / (1 - config.b + config.b * lengths / lengths.mean())) @ counts
    frequencies = csr_array(frequencies)
    n_documents = frequencies.shape[0]
    df = np.bincount(frequencies.indices, minlength=frequencies.shape[1])
    idf = np.log1p((n_documents - df + 0.5) / (df + 0.5))
    impacts = idf[frequencies.indices] * frequencies.data / (config.k1 + frequencies.data)
    return csr_array((impacts, frequencies.indices, frequencies.indptr), shape=frequencies.shape)


class WordNumbers:
    """Numbers of words, given as they come."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def rows(self, texts: Iterable[Sequence[str]]) -> csr_array:
        """How often each text has each word, as wide as words are known when all were seen."""
        from scipy.sparse import csr_array

        columns, counts, bounds = list[int](), list[int](), [0]
        for words in texts:
            for word, count in Counter(words).items():
                columns.append(self.numbers.setdefault(word, len(self.numbers)))
                counts.append(count)
            bounds.append(len(columns))
        return csr_array((np.array(counts, dtype=np.float64), columns, bounds), shape=(len(bounds) - 1, len(self.numbers)))

    def widened(self, rows: csr_array) -> csr_array:
        """The same rows with a column for every word."""
        from scipy.sparse import csr_array

        return csr_array((rows.data, rows.indices, rows.indptr), shape=(rows.shape[0], len(self.numbers)))


def bm25f_of(argument: str) -> BM25FConfig:
    """The numbers from what a person writes: weights of fields and the other numbers, such as ``title=3:body=1:b=0.4``.

    Raises:
        ConfigError: there is no such number, or it is out of range.

    >>> bm25f_of("title=3:k1=1.2")
    BM25FConfig(weights=FieldWeights(title=3.0, headings=2.0, body=1.0), k1=1.2, b=0.75)
    """
    config, weights = BM25FConfig(), list[str]()
    for part in filter(None, argument.split(":")):
        name, _, written = part.partition("=")
        if name in NAMES:
            weights.append(part)
            continue
        limit = {"k1": 1e6, "b": 1.0}.get(name)
        if limit is None:
            raise ConfigError(f"bm25f has no number '{name}'. It has {', '.join(NAMES)}, k1, b: bm25f:title=3:b=0.4.")
        try:
            value = float(written)
        except ValueError:
            value = -1.0
        if not 0 <= value <= limit:
            raise ConfigError(f"bm25f's {name} is '{written}', but must be a number from 0 to {limit:g}.")
        config = replace(config, k1=value) if name == "k1" else replace(config, b=value)
    if not weights:
        return config
    given = {part.partition("=")[0] for part in weights}
    kept = [f"{name}={getattr(config.weights, name)}" for name in NAMES if name not in given]
    return replace(config, weights=field_weights_of([*weights, *kept]) or config.weights)


def _counted_fields(collection: JudgedCollection, words: WordNumbers) -> list[csr_array]:
    """How often each document has each word in its title, its headings and its body."""
    from scipy.sparse import vstack

    parts: list[list[csr_array]] = [[] for _ in NAMES]
    documents = collection.read()
    while some := list(islice(documents, DOCUMENTS_AT_ONCE)):
        for part, texts in zip(parts, zip(*map(fields_of, some), strict=True), strict=True):
            part.append(words.rows(words_of(list(texts))))
    return [vstack([words.widened(rows) for rows in part], format="csr") for part in parts]


def fields_of(document: TextOfDocument) -> tuple[str, str, str]:
    """Title, headings and body of a document."""
    headings = heading_lines(document.text)
    body = text_without(document.text, headings, 0, len(document.text))
    return document.title, " ".join(heading.words for heading in headings), body
