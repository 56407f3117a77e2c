"""Taking turns: threads that share a loop take its rounds one at a time, so that a slow thread holds up none of the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import extending, types

# Its own types do not tell that the compiler gives the first argument.
intrinsic: Callable[[Callable[..., Any]], Callable[..., Any]] = extending.intrinsic


@intrinsic
def take_turn(context: Any, counters: Any, place: Any, step: Any) -> Any:  # pragma: no cover - compiled
    """Adds ``step`` to ``counters[place]`` (int64) and returns what was there before, for one thread after the other."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.atomic_rmw("add", builder.gep(data, [arguments[1]]), arguments[2], "monotonic")

    return types.int64(counters, types.int64, types.int64), generate
