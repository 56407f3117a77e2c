"""BM25: its configuration, the transforms of weights, the formula, and the words of a text. It needs numpy alone."""

from __future__ import annotations

from lexite.scoring.config import BM25Config as BM25Config
from lexite.scoring.words import LiteralConfig as LiteralConfig

__all__ = ["BM25Config", "LiteralConfig"]
