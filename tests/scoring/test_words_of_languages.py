"""Words of languages without blanks, and of German compounds, find what whole runs do not: plain BM25 on words alone."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from word_cases import CASES

from lexite.scoring.words import LiteralConfig

WHOLE = LiteralConfig(literal_unspaced="whole")
GERMAN = LiteralConfig(literal_compounds="german")


def mean_reciprocal_rank(language: str, literal: LiteralConfig) -> float:
    """Of the documents that answer; a tie counts half, and a document without a word of the question not at all."""
    texts, questions = CASES[language]
    documents = [literal.words_of(text) for text in texts]
    lengths = [document.total() for document in documents]
    frequency = Counter(word for document in documents for word in document)
    total = 0.0
    for question, answer in questions:
        asked = literal.words_of(question)
        scores = [0.0] * len(documents)
        for number, (document, length) in enumerate(zip(documents, lengths, strict=True)):
            norm = 2.5 * (0.25 + 0.75 * length * len(lengths) / sum(lengths))
            for word, n in asked.items():
                idf = math.log(1 + (len(documents) - frequency[word] + 0.5) / (frequency[word] + 0.5))
                scores[number] += n * idf * document[word] / (document[word] + norm)
        best = scores[answer]
        if best > 0:
            total += 1 / (0.5 + sum(score > best for score in scores) + sum(score == best for score in scores) / 2)
    return total / len(questions)


@pytest.mark.parametrize(("language", "whole"), [("Thai", 0.60), ("Chinese", 0.0), ("Japanese", 0.0), ("Korean", 0.08)])
def test_pairs_find_words_inside_runs(language: str, whole: float) -> None:
    assert mean_reciprocal_rank(language, WHOLE) < whole + 0.01
    assert mean_reciprocal_rank(language, LiteralConfig()) > 0.96


def test_parts_of_compounds_are_found() -> None:
    pytest.importorskip("HanTa")
    assert mean_reciprocal_rank("German", LiteralConfig()) == 0.0
    assert mean_reciprocal_rank("German", GERMAN) >= 0.74
