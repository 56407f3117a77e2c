"""Measuring a vocabulary on judged collections: baselines, measures, paired tests, a report."""

from lexite.evaluation.baselines import BASELINES
from lexite.evaluation.comparison import Comparison, compare_recipes
from lexite.evaluation.evaluate import DEFAULT_BASELINES, evaluate_collections
from lexite.evaluation.measures import MEASURES, MeasuredRun, evaluate_run
from lexite.evaluation.probe import make_probe
from lexite.evaluation.report import COLUMNS, EvaluationReport
from lexite.evaluation.significance import PairedTest, paired_test
from lexite.evaluation.systems import Costs

__all__ = [
    "BASELINES",
    "COLUMNS",
    "DEFAULT_BASELINES",
    "MEASURES",
    "Comparison",
    "Costs",
    "EvaluationReport",
    "MeasuredRun",
    "PairedTest",
    "compare_recipes",
    "evaluate_collections",
    "evaluate_run",
    "make_probe",
    "paired_test",
]
