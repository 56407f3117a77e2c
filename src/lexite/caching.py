"""Results of methods that are kept."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def remembered(method: Callable[P, R], n_results: int | None) -> Callable[P, R]:
    """A method whose latest results are kept, for its object to hold as an attribute.

    The object is held weakly. So it goes with the last who holds it, and the files that it has open with it, where a cache of
    a bound method would hold it until Python looks for circles.

    Args:
        method: bound to its object.
        n_results: how many results to keep, None for all.
    """
    held = weakref.WeakMethod(method)

    @functools.lru_cache(maxsize=n_results)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = held()
        if bound is None:
            raise ReferenceError("The object of this method is gone.")
        result: R = bound(*args, **kwargs)
        return result

    return call  # type: ignore[return-value]
