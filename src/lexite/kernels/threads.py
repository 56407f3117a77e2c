"""Running a compiled loop over ranges of rows on all cores.

Threads are Python threads that call kernels compiled with ``nogil``: they sleep when there is nothing to do, unlike those of
an OpenMP pool, which would spin beside torch's own pool and slow both down.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lexite.kernels.hardware import n_threads


@functools.cache
def _pool(size: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(size, thread_name_prefix="lexite-kernel")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a child has none of its parent's threads


def parallel_ranges(kernel: Callable[..., Any], n: int, *arguments: Any, smallest: int = 64) -> None:
    """Calls ``kernel(*arguments, start, stop)`` on ranges that cover ``0 … n``, in parallel.

    Args:
        kernel: a compiled function that releases the interpreter lock and writes its results into its arguments.
        n: number of rows.
        arguments: what the kernel takes before ``start`` and ``stop``.
        smallest: rows under which splitting does not pay.
    """
    parts = max(1, min(n_threads(), n // smallest))
    bounds = [n * i // parts for i in range(parts + 1)]
    futures = [_pool(n_threads()).submit(kernel, *arguments, bounds[i], bounds[i + 1]) for i in range(1, parts)]
    kernel(*arguments, bounds[0], bounds[1])
    for future in futures:
        future.result()
