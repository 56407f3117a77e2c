"""Running work on all cores: compiled loops over ranges of rows, and whole tasks with one core each.

Threads are Python threads that call code which releases the interpreter lock: they sleep when there is nothing to do, unlike
those of an OpenMP pool, which would spin beside torch's own pool and slow both down. Inside a task torch has one thread, and a
compiled loop is not split again, so that there are never more busy threads than cores.

A forked child has none of its parent's threads, but torch's OpenMP pool still counts on them: its next loop in the thread that
was forked would wait for ever. So torch gets one thread there, with which it leaves the pool alone. Tasks run in new threads,
cut as in the parent, so that parent and child compute the same bits. A single task, such as a query, is computed as the parent
would with one thread, which in fp32 rounds the last digits differently.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import ContextVar
from types import TracebackType
from typing import Any, TypeVar

from lexite.kernels.hardware import n_threads

T = TypeVar("T")
_here = threading.local()
TASKS_EVERYWHERE = 4
"""Tasks that work is cut into by :func:`same_cut_everywhere`: few enough for large batches, and enough for small machines."""
_running: list[None] = []
_same_cut: ContextVar[bool] = ContextVar("same_cut", default=False)


class ForkSafeLock:
    """A lock that is free in a forked child, also where a thread of the parent held it: that thread is not in the child.

    It is for what stays valid when such a thread is cut off in the middle, such as a cache that is filled last.

    Args:
        reentrant: whether the thread that holds it may take it again.
    """

    def __init__(self, *, reentrant: bool = False) -> None:
        self._new: Callable[[], Any] = threading.RLock if reentrant else threading.Lock
        self.renew()
        _locks.add(self)

    def renew(self) -> None:
        """Frees the lock, whoever holds it."""
        self._lock = self._new()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lock.release()


_locks: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()
_starting = ForkSafeLock()


class _Torch:
    """What a child must know about torch in the process that it was forked from.

    Attributes:
        used: whether lexite computes with torch, here or before the fork.
        forked: whether torch was imported before the fork, so that its pool may be there.
        threads: how many threads torch had before the fork; None in a process that was not forked.
    """

    used = False
    forked = False
    threads: int | None = None

    @classmethod
    def leave_pool(cls) -> None:
        """Gives torch one thread: those of its pool may have stayed in the parent."""
        import torch

        if cls.threads is None:
            cls.threads = torch.get_num_threads()
        torch.set_num_threads(1)

    @classmethod
    def after_fork(cls) -> None:
        cls.forked = "torch" in sys.modules
        if cls.used:
            cls.leave_pool()


def use_torch() -> None:
    """Says that this process computes with torch. Whoever loads or makes a model calls it before.

    From then on forked children can compute with torch too, in one thread each. Where nothing of lexite uses torch, children
    keep torch's number of threads.
    """
    if not _Torch.used:
        _Torch.used = True
        if _Torch.forked:
            _Torch.leave_pool()


@functools.cache
def _pool(size: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(size, thread_name_prefix="lexite-kernel")


@functools.cache
def _task_pool(size: int) -> ThreadPoolExecutor:
    """A pool of threads in which torch has one thread each; the caller keeps its number of torch threads."""
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


def _after_fork() -> None:
    """Drops what belongs to threads that are not in a forked child."""
    _pool.cache_clear()
    _task_pool.cache_clear()
    _running.clear()
    for lock in list(_locks):
        lock.renew()
    if "tokenizers" in sys.modules:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # it would wait for its own threads, where "true" was asked for
    _Torch.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextlib.contextmanager
def counted() -> Iterator[bool]:
    """Counts work of this process that keeps a core busy. Gives whether no other such work was going on when it began."""
    _running.append(None)  # a list is changed by one thread after the other
    try:
        yield len(_running) == 1
    finally:
        _running.pop()


def _begun(pool: ThreadPoolExecutor, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """Has a pool call a function. Once the main thread has ended, pools take nothing; a thread that goes on calls it itself."""
    try:
        return pool.submit(function, *arguments)
    except RuntimeError as error:
        if "shutdown" not in str(error):  # no thread could be started, and the pool has taken the call all the same
            raise
    done = Future[Any]()
    try:
        done.set_result(function(*arguments))
    except BaseException as error:
        done.set_exception(error)
    return done


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
    futures = [_begun(_pool(n_threads()), kernel, *arguments, bounds[i], bounds[i + 1]) for i in range(1, parts)]
    try:
        kernel(*arguments, bounds[0], bounds[1])
    finally:
        wait(futures)  # the caller may take away what they read as soon as this returns or raises
    for future in futures:
        future.result()


def together(function: Callable[[int], None], n: int) -> None:
    """Calls ``function`` with the numbers below n, each in a new thread: for work that waits for a disk more than it computes.

    Args:
        function: most of its time is spent in code that releases the interpreter lock.
        n: how many.

    Raises:
        Exception: raised by one of the calls; all have ended.
    """
    with ThreadPoolExecutor(n, thread_name_prefix="lexite-disk") as pool:
        for future in [_begun(pool, function, number) for number in range(n)]:
            future.result()


def in_task() -> bool:
    """Whether the caller runs inside a task of :func:`parallel_tasks`."""
    return getattr(_here, "in_task", False)


def task_threads() -> int:
    """How many tasks :func:`parallel_tasks` runs at once: the cores to use, and no more than torch may use; 1 inside a task.

    A forked child takes its parent's number, since work that is cut differently is rounded differently.
    """
    import torch

    return 1 if in_task() else min(n_threads(), _Torch.threads or torch.get_num_threads())


@contextlib.contextmanager
def same_cut_everywhere() -> Iterator[None]:
    """Lets work be cut into tasks as on a machine of :data:`TASKS_EVERYWHERE` cores, whatever this machine has.

    Work that is cut differently is rounded differently; so results are the same with any number of threads.
    """
    token = _same_cut.set(True)
    try:
        yield
    finally:
        _same_cut.reset(token)


def tasks_to_cut() -> int:
    """Into how many tasks work is cut that runs at once: one for each of :func:`task_threads`, or a fixed number."""
    return TASKS_EVERYWHERE if _same_cut.get() else task_threads()


def parallel_tasks(function: Callable[[T], None], tasks: Iterable[T]) -> None:
    """Calls ``function(task)`` for each task, several at once, with one core for each.

    Tasks begin in their order. With one thread, or a single task, they run in the caller's thread with all of torch's threads;
    a single task has one core too within :func:`same_cut_everywhere`.

    Args:
        function: does a task; most of its time is spent in code that releases the interpreter lock.
        tasks: its arguments.

    Raises:
        Exception: raised by ``function`` for the first task that failed. Tasks that have not begun are then dropped, as after
            Ctrl-C.
    """
    listed = list(tasks)
    threads = task_threads()
    if threads == 1 or (len(listed) == 1 and not _same_cut.get()):
        for task in listed:
            function(task)
        return
    with _starting:
        pool = _task_pool(threads)
    futures: list[Future[None]] = []
    try:
        futures.extend(_begun(pool, function, task) for task in listed)
        for future in futures:
            future.result()
    finally:
        for future in futures:
            future.cancel()
        wait(futures)
