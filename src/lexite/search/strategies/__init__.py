"""Second stages that come with lexite, one file each. :mod:`lexite.search.strategy` says what a strategy is.

:data:`STRATEGIES` has them by name, for the command line and for evaluation.
"""

from __future__ import annotations

from lexite.search.strategies.chain import Chain as Chain

__all__ = ["Chain"]
