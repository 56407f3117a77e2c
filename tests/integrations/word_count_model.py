"""A SparseEncoder without a neural network: known words become known weights."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_array
from sentence_transformers import SparseEncoder
from sentence_transformers.base.modules import InputModule

N_TERMS = 40


def term_weight(term: int) -> float:
    return 0.3 + 0.17 * (term % 7)


class WordCounts(InputModule):
    """The word ``w12`` is term 12; other words are none. Counts are weighted, so that no two terms are alike by chance."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor
        self.seen: list[str] = []

    def preprocess(self, inputs, prompt=None, **kwargs):
        texts = [(prompt or "") + text for text in inputs]
        self.seen += texts
        return {"weights": torch.tensor(weights_of(texts).toarray() * np.float32(self.factor))}

    def forward(self, features, **kwargs):
        return {**features, "sentence_embedding": features["weights"]}

    def get_embedding_dimension(self) -> int:
        return N_TERMS

    def save(self, output_path, *args, **kwargs):
        raise NotImplementedError


def weights_of(texts: list[str]) -> csr_array:
    """What the model makes of texts, without the model."""
    dense = np.zeros((len(texts), N_TERMS), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in text.split():
            if word[0] == "w":
                dense[row, int(word[1:])] += np.float32(term_weight(int(word[1:])))
    return csr_array(dense)


def word_model(factor: float = 1.0, prompts: dict[str, str] | None = None) -> SparseEncoder:
    return SparseEncoder(modules=[WordCounts(factor)], prompts=prompts, device="cpu")


def collection(seed: int = 0, n_documents: int = 60, n_queries: int = 12):
    """Documents of a few words, some empty and some alike; short queries; some of the relevant documents share a word."""
    random = np.random.default_rng(seed)
    corpus = {f"d{number:03}": words(random, int(random.integers(0, 9))) for number in range(n_documents)}
    corpus["d010"], corpus["d020"], corpus["d030"] = corpus["d040"], "nothing known", ""
    queries = {f"q{number:02}": words(random, int(random.integers(1, 5))) for number in range(n_queries)}
    relevant = {}
    for number, (query, text) in enumerate(queries.items()):
        sharing = [document for document, held in corpus.items() if set(held.split()) & set(text.split())]
        chosen = random.choice(sharing, min(len(sharing), 1 + number % 3), replace=False)
        relevant[query] = {*chosen.tolist(), f"d{random.integers(0, n_documents):03}"}
    return queries, corpus, relevant


def words(random: np.random.Generator, n: int) -> str:
    return " ".join(f"w{term}" for term in random.integers(0, N_TERMS, n))
