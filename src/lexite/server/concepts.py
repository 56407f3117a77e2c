"""What is known of the latents of an index: their labels, how frequent they are, where they fire, what they fire with."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexite.caching import remembered
from lexite.scoring.formula import inverse_document_frequency
from lexite.scoring.rows import CSRRows
from lexite.scoring.words import ENGLISH_STOP_WORDS
from lexite.search.concepts import latents_named
from lexite.search.labels import kinds_of
from lexite.terms.queries import EncodedQueries

if TYPE_CHECKING:
    from lexite.index import BM25Index
    from lexite.ranking.hits import Hit
    from lexite.terms.static import StaticTable

LOOKED_AT = 200
"""Documents in which a latent is strongest: examples come from them, and what it fires with is counted in them."""
STRONG, FURTHER = 3, (0.5, 0.95)
"""Examples of a latent: so many of the strongest, and those at these places of the documents that are looked at."""
NEIGHBOURS = 12
WORDS = 12
LEAST_TOGETHER = 3
COMMON_SHARE, ENOUGH_PASSAGES = 0.3, 100
"""From this share of the passages on, a latent tells documents apart no better than a stop word does, if they are so many."""


class Example(NamedTuple):
    """A document in which a latent fires.

    Attributes:
        hit: the document, with its best passage.
        strength: ``strong``, ``middling`` or ``weak`` among the documents that were looked at.
    """

    hit: Hit
    strength: str


class Concepts:
    """The latents of an index as people see them. What takes long is found once, when it is first asked for.

    Args:
        index: the opened index.
        label: words for a latent.
    """

    def __init__(self, index: BM25Index, label: Callable[[int], str]) -> None:
        self.index, self.label, self.kind = index, label, kinds_of(label)
        self.related = remembered(self._related, 256)

    def is_common(self, number: int) -> bool:
        """Whether a latent stands for function words or punctuation, or fires nearly everywhere.

        The vocabulary tells the kind of a latent. Where it does not, the label decides.
        """
        return bool(self._frequent[number]) or self._function(number)

    def is_folded(self, term: int, word: str | None) -> bool:
        """Whether a term is one of the common words of explanations: a common latent, or a function word."""
        return self.is_common(term) if word is None else word in FUNCTION_WORDS

    def facts(self, number: int) -> dict[str, Any]:
        """Label and frequency of a latent, as JSON values."""
        frequency = int(self.index.document_frequency[number])
        return {
            "concept": number,
            "label": self.label(number),
            **({"kind": kind} if (kind := self.kind(number)) else {}),
            "common": self.is_common(number),
            "passages": frequency,
            "share_of_passages": round(frequency / max(self.index.n_passages, 1), 6),
            "idf": round(float(self._idf[number]), 4),
            "share_of_postings": round(frequency / max(self._n_postings, 1), 8),
        }

    def named(self, name: str) -> list[int]:
        """The latents whose labels have all words of a name, or the one of a number; the most frequent first.

        Raises:
            ArgumentError: there is none.
        """
        wanted = name.strip().rstrip("*")
        wanted += "" if wanted.isascii() and wanted.isdigit() else "*"
        found = latents_named(wanted, self.label, self.index.n_latents)
        return sorted(found, key=lambda number: -int(self.index.document_frequency[number]))

    def words(self, number: int) -> list[dict[str, Any]]:
        """The words that a latent stands in for: those whose rows of the static table give it most weight, as JSON values.

        Pieces that go on a word are left out. Nothing where the index has no table.
        """
        columns = self._columns
        if columns is None:
            return []
        own = slice(columns.bounds[number], columns.bounds[number + 1])
        pieces, weights = columns.pieces[own], columns.weights[own]
        found: list[dict[str, Any]] = []
        for place in np.argsort(-weights, kind="stable").tolist():
            word = columns.word(int(pieces[place]))
            if word:
                found.append({"word": word, "weight": round(float(weights[place]), 4)})
            if len(found) == WORDS:
                break
        return found

    def strongest(self, number: int, top_k: int = LOOKED_AT) -> list[Hit]:
        """The documents in which a latent is strongest, relative to their length."""
        one = CSRRows(np.array([0, 1]), np.array([number], np.int32), np.ones(1, np.float32), (1, self.index.n_latents))
        return self.index.search(EncodedQueries(one, fingerprint=self.index.vocabulary.fingerprint), top_k)[0]

    def examples(self, number: int) -> list[Example]:
        """Documents in which a latent fires: the strongest, one from the middle and a weak one of those looked at."""
        hits = self.strongest(number)
        chosen = [Example(hit, "strong") for hit in hits[:STRONG]]
        for share, strength in zip(FURTHER, ("middling", "weak"), strict=True):
            place = int(share * len(hits))
            if STRONG <= place < len(hits):
                chosen.append(Example(hits[place], strength))
        return chosen

    def _related(self, number: int) -> list[dict[str, Any]]:
        """The latents that fire with another, as JSON values.

        Among the documents in which the latent is strongest, n_j have latent j. Its lift is n_j by what its share of all
        passages lets expect; latents are ordered by ``n_j · log(lift)``. Common ones are left out.
        """
        hits = self.strongest(number)
        if not hits:
            return []
        rows = self.index.rows([hit.document for hit in hits])
        latents = rows.indices[rows.indices < self.index.n_latents]
        together = np.bincount(latents, minlength=self.index.n_latents).astype(np.float64)
        frequency = self.index.document_frequency[: self.index.n_latents].astype(np.float64)
        expected = len(hits) * (frequency + 0.5) / (self.index.n_passages + 1.0)
        lift = together / expected
        gain = np.where(together >= LEAST_TOGETHER, together * np.log(np.maximum(lift, 1e-9)), -np.inf)
        gain[number] = -np.inf
        found: list[dict[str, Any]] = []
        for each in np.argsort(-gain, kind="stable")[: 4 * NEIGHBOURS].tolist():
            if gain[each] > 0 and not self.is_common(each) and len(found) < NEIGHBOURS:
                found.append(
                    {
                        "concept": each,
                        "label": self.label(each),
                        "together": round(together[each] / len(hits), 4),
                        "lift": round(float(lift[each]), 2),
                    }
                )
        return found

    @functools.cached_property
    def _frequent(self) -> NDArray[np.bool_]:
        frequency: NDArray[np.int64] = self.index.document_frequency[: self.index.n_latents]
        return frequency > COMMON_SHARE * max(self.index.n_passages, ENOUGH_PASSAGES)

    @functools.cached_property
    def _function(self) -> Callable[[int], bool]:
        return remembered(self._has_function, None)

    def _has_function(self, number: int) -> bool:
        kind = self.kind(number)
        return kind == "function" if kind else is_function_label(self.label(number))

    @functools.cached_property
    def _idf(self) -> NDArray[np.float64]:
        frequency = self.index.document_frequency[: self.index.n_latents]
        return inverse_document_frequency(self.index.n_passages, frequency, self.index.scoring.idf)

    @functools.cached_property
    def _n_postings(self) -> int:
        return int(self.index.document_frequency[: self.index.n_latents].sum())

    @functools.cached_property
    def _columns(self) -> _Columns | None:
        table = self.index.static()
        return None if table is None else _Columns(table)


class _Columns:
    """The entries of a static table by latent."""

    def __init__(self, table: StaticTable) -> None:
        rows, bounds = table.rows, np.asarray(table.rows.indptr, dtype=np.int64)
        order = np.argsort(rows.indices, kind="stable")
        lengths = bounds[1:] - bounds[:-1]
        owners = np.repeat(np.arange(table.n_pieces, dtype=np.int32), lengths)
        self.pieces, self.weights = owners[order], rows.data[order]
        counts = np.bincount(rows.indices, minlength=table.n_latents)
        self.bounds = np.concatenate([[0], np.cumsum(counts)])
        self._table = table

    def word(self, piece: int) -> str:
        """The word of a piece; empty for one that goes on a word, for punctuation and for special tokens."""
        written = self._table.piece(piece)
        return written if any(letter.isalnum() for letter in written) and not written.startswith(("##", "[", "<")) else ""


FUNCTION_WORDS = ENGLISH_STOP_WORDS | frozenset(
    "about after all also am any because been before being both can could did do does each from had has have he her here him "
    "his how i its itself just may me might more most must my nor off once only other our out over own per she should so some "
    "than themselves those through too under until up upon us very we were what when where which while who whom whose why "
    "would you your".split()
)


def is_function_label(label: str) -> bool:
    """Whether all that a label names is punctuation or a function word.

    >>> is_function_label("the, “,”, “.”"), is_function_label("the, cat"), is_function_label("latent 7")
    (True, False, False)
    """
    named = [part.strip().strip("“”").casefold() for part in label.replace("“,”", "“;”").split(",")]
    return bool(named) and all(word in FUNCTION_WORDS or not any(letter.isalnum() for letter in word) for word in named)
