"""Running work on all cores: compiled loops over ranges of rows, and whole tasks with one core each.

Threads are Python threads that call code which releases the interpreter lock: they sleep when there is nothing to do, unlike
those of an OpenMP pool, which would spin beside torch's own pool and slow both down. Inside a task torch has one thread, and a
compiled loop is not split again, so that there are never more busy threads than cores.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from lexite.kernels.hardware import n_threads

T = TypeVar("T")
_here = threading.local()
_starting = threading.Lock()


@functools.cache
def _pool(size: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(size, thread_name_prefix="lexite-kernel")


@functools.cache
def _task_pool(size: int) -> ThreadPoolExecutor:
    """Threads in which torch has one thread each; the caller's number of torch threads is what it was."""
    import torch

    before = torch.get_num_threads()
    ready = threading.Barrier(size + 1)

    def start() -> None:
        _here.in_task = True
        torch.get_num_threads()  # the first call in a thread sets it to torch's number for all
        torch.set_num_threads(1)
        ready.wait()

    pool = ThreadPoolExecutor(size, thread_name_prefix="lexite-task", initializer=start)
    for _ in range(size):
        pool.submit(int)
    ready.wait()
    torch.set_num_threads(before)  # torch gives the number set last to threads that start later
    return pool


if hasattr(os, "register_at_fork"):  # a child has none of its parent's threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
    os.register_at_fork(after_in_child=_task_pool.cache_clear)


def parallel_ranges(kernel: Callable[..., Any], n: int, *arguments: Any, smallest: int = 64) -> None:
    """Calls ``kernel(*arguments, start, stop)`` on ranges that cover ``0 … n``, in parallel.

    Args:
        kernel: a compiled function that releases the interpreter lock and writes its results into its arguments.
        n: number of rows.
        arguments: what the kernel takes before ``start`` and ``stop``.
        smallest: rows under which splitting does not pay.
    """
    parts = 1 if in_task() else max(1, min(n_threads(), n // smallest))
    bounds = [n * i // parts for i in range(parts + 1)]
    futures = [_pool(n_threads()).submit(kernel, *arguments, bounds[i], bounds[i + 1]) for i in range(1, parts)]
    try:
        kernel(*arguments, bounds[0], bounds[1])
    finally:
        wait(futures)  # the caller may take away what they read as soon as this returns or raises
    for future in futures:
        future.result()


def in_task() -> bool:
    """Whether the caller runs inside a task of :func:`parallel_tasks`."""
    return getattr(_here, "in_task", False)


def task_threads() -> int:
    """How many tasks :func:`parallel_tasks` runs at once: the cores to use, and no more than torch may use; 1 inside a task."""
    import torch

    return 1 if in_task() else min(n_threads(), torch.get_num_threads())


def parallel_tasks(function: Callable[[T], None], tasks: Iterable[T]) -> None:
    """Calls ``function(task)`` for each task, several at once, with one core for each.

    Tasks begin in their order. With one thread, or a single task, they run in the caller's thread with all of torch's threads.

    Args:
        function: does a task; most of its time is spent in code that releases the interpreter lock.
        tasks: what it is called with.

    Raises:
        Exception: what ``function`` raised for the first task that failed. Tasks that had not begun by then are dropped;
            also after Ctrl-C.
    """
    listed = list(tasks)
    threads = task_threads()
    if threads == 1 or len(listed) == 1:
        for task in listed:
            function(task)
        return
    with _starting:
        pool = _task_pool(threads)
    futures: list[Future[None]] = []
    try:
        futures.extend(pool.submit(function, task) for task in listed)
        for future in futures:
            future.result()
    finally:
        for future in futures:
            future.cancel()
        wait(futures)
