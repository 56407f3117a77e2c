"""Documents with words of a small language, and what an index of them must find."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from helpers_index import N_TERMS, weights_of
from scipy.sparse import csr_array

from lexite.corpus.records import Document
from lexite.index import BM25Config, BM25Index, LiteralConfig
from lexite.index.reference import reference_rows, reference_search
from lexite.scoring.words import literal_words
from lexite.terms import EncodedQueries

LITERAL = LiteralConfig(literal=True)
NAMES = [f"{first}{second}" for first in "bdgklmnprstv" for second in ("a", "e", "i", "o", "u", "ü", "an", "el", "7", "12")]


def texts_of(n: int, seed: int) -> list[str]:
    """Random texts: some words nearly everywhere, most of them rare; some texts are empty, some hold no word."""
    generator = np.random.default_rng(seed)
    shares = 1.0 / np.arange(1, len(NAMES) + 1)
    texts = []
    for _ in range(n):
        size = int(generator.integers(0, 12))
        words = generator.choice(NAMES, size, p=shares / shares.sum()).tolist()
        words += [f"x{generator.integers(10**6)}"] * int(generator.integers(0, 2))  # a word of its own
        texts.append(" -- ".join(words) if words else str(generator.choice(["", "...", "the of \U0001f600"])))
    return texts


def documents_with(ids: Sequence[str], texts: Sequence[str]) -> list[Document]:
    """Documents; every third has the first word of its text in its title."""
    made = []
    for number, (identifier, text) in enumerate(zip(ids, texts, strict=True)):
        title, _, rest = text.partition(" -- ") if number % 3 == 0 else ("", "", text)
        made.append(Document(identifier, rest, title))
    return made


def words_of(index: BM25Index) -> list[str]:
    return [index.word(term) for term in range(index.n_latents, index.n_terms)]


def assert_same_with_words(
    index: BM25Index,
    ids: Sequence[str],
    weights: csr_array,
    texts: Sequence[str],
    scorings: Sequence[BM25Config],
    top_k: int = 7,
) -> None:
    """The index holds these documents with their words, and finds what the reference finds, bit for bit."""
    words, literal = words_of(index), index.literal or LITERAL
    present = {word for text in texts for word in literal_words(text, literal.literal_stop_words)}
    assert len(set(words)) == len(words) and present <= set(words)
    rows = reference_rows(weights, texts, words, literal.literal_weight_documents, literal.literal_stop_words)
    assert list(index.ids) == list(ids)
    assert index.n_postings == rows.nnz
    assert index.document_frequency.tolist() == np.bincount(rows.indices, minlength=len(words) + N_TERMS).tolist()
    queries, asked = weights_of(6, seed=len(ids) + 1000, density=0.15), [*texts_of(5, len(ids)), "b12 unknown b12 pa"]
    asked_rows = reference_rows(queries, asked, words, 1.0, literal.literal_stop_words)
    for scoring in scorings:
        expected, scores = reference_search(rows, asked_rows, scoring, top_k, N_TERMS)
        found, found_scores = index.search_arrays(EncodedQueries(queries, asked), top_k, scoring=scoring)
        numbers = np.array([index.find(identifier) for identifier in ids] + [-1])
        assert found.tolist() == numbers[expected].tolist()
        assert (found_scores == scores).all()
        plain, plain_scores = reference_search(rows, csr_array((queries.data, queries.indices, queries.indptr),
                                               shape=(6, rows.shape[1])), scoring, top_k, N_TERMS)  # fmt: skip
        found, found_scores = index.search_arrays(EncodedQueries(queries), top_k, scoring=scoring)
        assert found.tolist() == numbers[plain].tolist() and (found_scores == plain_scores).all()
