"""Comparing recipes: several trainings on the same token states, each measured on the same collections."""

from lexite.evaluation.comparison.recipes import Recipe, read_recipes
from lexite.evaluation.comparison.report import Comparison, ComparisonRow
from lexite.evaluation.comparison.run import compare_recipes

__all__ = ["Comparison", "ComparisonRow", "Recipe", "compare_recipes", "read_recipes"]
