"""Measures of a ranking against judgements, computed by ir-measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lexite.errors import CorpusError, MissingExtraError
from lexite.ranking.rankings import strict_run

MEASURES = ("nDCG@10", "R@100", "MRR@10")
_NAMES_IN_IR_MEASURES = {"nDCG@10": "nDCG@10", "R@100": "R@100", "MRR@10": "RR@10"}


@dataclass(frozen=True)
class MeasuredRun:
    """What a run is worth.

    Attributes:
        mean: measure -> mean over all judged queries; a query for which nothing was returned counts as 0.
        per_query: measure -> query id -> value, with every judged query, in the order of the qrels.
    """

    mean: dict[str, float]
    per_query: dict[str, dict[str, float]]


def evaluate_run(qrels: Mapping[str, Mapping[str, int]], run: Mapping[str, Mapping[str, float]]) -> MeasuredRun:
    """Measures a run with ir-measures (trec_eval's definitions).

    - ``nDCG@10``: sum over the first ten ranks r of grade / log2(r + 1), divided by the largest value that the judged documents
      allow (Järvelin and Kekäläinen 2002, gains are the grades).
    - ``R@100``: share of the relevant documents among the first hundred ranks.
    - ``MRR@10``: 1 / rank of the first relevant document, 0 when none is among the first ten.

    A document is relevant when its grade is above 0. Queries of the run without judgements are left out; judged queries without
    results count as 0, and so do judged queries without any relevant document. Ties rank in the order of the mapping.

    Args:
        qrels: query id -> document id -> grade.
        run: query id -> document id -> score.

    Raises:
        CorpusError: there are no judgements, or a score is not a finite number.
        MissingExtraError: ir-measures is not installed.

    >>> evaluate_run({"q": {"a": 1, "b": 0}}, {"q": {"b": 2.0, "a": 1.0}}).mean["MRR@10"]
    0.5
    """
    if not qrels:
        raise CorpusError("There are no judgements to measure with: the qrels are empty.")
    ir_measures = import_ir_measures()
    strict = strict_run({query: scored for query, scored in run.items() if query in qrels and scored})
    per_query = {measure: dict.fromkeys(qrels, 0.0) for measure in MEASURES}
    names = {ir_measures.parse_measure(name): measure for measure, name in _NAMES_IN_IR_MEASURES.items()}
    if strict:
        judgements = {query: dict(grades) for query, grades in qrels.items()}
        for metric in ir_measures.iter_calc(list(names), judgements, strict):
            per_query[names[metric.measure]][metric.query_id] = float(metric.value)
    return MeasuredRun({measure: sum(values.values()) / len(values) for measure, values in per_query.items()}, per_query)


def import_ir_measures() -> Any:
    """The module ir_measures; raises :class:`MissingExtraError` when it is not installed."""
    try:
        import ir_measures
    except ImportError as error:
        raise MissingExtraError("ir-measures", "eval", "Measuring a run") from error
    return ir_measures
