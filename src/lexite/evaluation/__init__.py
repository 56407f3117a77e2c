"""Measuring a vocabulary on judged collections: baselines, measures, paired tests, a report."""

from lexite.evaluation.evaluate import BASELINES, DEFAULT_BASELINES, evaluate_collections
from lexite.evaluation.measures import MEASURES, MeasuredRun, evaluate_run
from lexite.evaluation.report import COLUMNS, EvaluationReport
from lexite.evaluation.significance import PairedTest, paired_test
from lexite.evaluation.systems import Costs

__all__ = [
    "BASELINES",
    "COLUMNS",
    "DEFAULT_BASELINES",
    "MEASURES",
    "Costs",
    "EvaluationReport",
    "MeasuredRun",
    "PairedTest",
    "evaluate_collections",
    "evaluate_run",
    "paired_test",
]
