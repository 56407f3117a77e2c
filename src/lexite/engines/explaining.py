"""Explanations of what an engine found: it gives the parts of a score, and the formula gives the numbers behind them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lexite.engines.asking import AskedQuery
from lexite.engines.driver import Counts, PassageParts
from lexite.engines.record import CollectionRecord
from lexite.index.explanation import ExplainedTerm, Explanation
from lexite.scoring.config import BM25Config
from lexite.scoring.formula import coverage, length_norms, saturation_form
from lexite.scoring.transform import raw_weights


def explanation_of(
    document: str,
    asked: AskedQuery,
    passage: PassageParts,
    counts: Counts,
    record: CollectionRecord,
    scoring: BM25Config,
    word_of: Callable[[int], str | None],
) -> Explanation:
    """Takes the score of a document apart, which is that of one of its passages.

    Args:
        document: its id.
        asked: the query.
        passage: its best passage.
        counts: of the collection.
        record: of the collection.
        scoring: of the search.
        word_of: gives the literal word of a term; None for a latent.
    """
    form = saturation_form(scoring)
    norm = float(length_norms(np.array([passage.length], np.float32), record.average_length, scoring)[0])
    terms = []
    for place, part in passage.parts.items():
        term, word = int(asked.terms[place]), word_of(int(asked.terms[place]))
        saturation = part / float(asked.factors[place])
        above = saturation - float(form.delta)
        tf = norm * above / max(float(form.scale) - above, 1e-9)
        terms.append(
            ExplainedTerm(
                term,
                "latent" if word is None else "word",
                f"latent {term}" if word is None else f'"{word}"',
                word,
                int(asked.frequency[place]),
                float(asked.idf[place]),
                float(asked.worth[place]),
                float(asked.weights[place]),
                float(raw_weights(np.array([max(tf, 0.0)]), scoring.document_transform)[0]),
                tf,
                saturation,
                float(np.float32(part)),
            )
        )
    terms.sort(key=lambda each: -each.score)
    score = float(np.float32(math.fsum(passage.parts.values())))
    shared = asked.factors[list(passage.parts)]
    return Explanation(
        document,
        score,
        counts.n_passages,
        passage.length,
        record.average_length,
        norm,
        coverage(shared, asked.factors),
        tuple(terms),
        math.fsum([score, *(-each.score for each in terms)]),
    )
