"""Tasks with one core each: all of them, once, with errors, interrupts and torch's threads as they should be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
import torch

from lexite.kernels.threads import parallel_ranges, parallel_tasks


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LEXITE_THREADS", "2")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


ONE_THREAD = """
import os, time
os.environ["LEXITE_THREADS"] = "2"
from lexite.kernels.threads import in_task, parallel_tasks, task_threads
import torch
torch.set_num_threads(2)
done, threads = [], set()
def work(task):
    done.append(task)
    threads.add((in_task(), torch.get_num_threads(), task_threads()))
    time.sleep(0.001)
parallel_tasks(work, range(50))
assert sorted(done) == list(range(50)), done
assert threads == {(True, 1, 1)}, threads
assert (in_task(), torch.get_num_threads(), task_threads()) == (False, 2, 2)
"""


def test_every_task_is_done_once_and_with_one_torch_thread() -> None:
    # In a process of its own: the threads live on, and other tests may have changed torch's number in them.
    done = subprocess.run([sys.executable, "-c", ONE_THREAD], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


LATE = """
import threading
from lexite.kernels.threads import parallel_ranges, parallel_tasks, together
parallel_tasks(lambda task: None, range(2))
def work():
    threading.main_thread().join()
    done = []
    parallel_ranges(lambda start, stop: done.extend(range(start, stop)), 300)
    together(done.append, 4)
    parallel_tasks(done.append, range(5))
    assert sorted(done) == sorted([*range(300), *range(4), *range(5)]), done
    try:
        parallel_ranges(lambda start, stop: 1 // (299 - stop + 1), 300)
    except ZeroDivisionError:
        print("done")
threading.Thread(target=work).start()
"""


def test_a_thread_goes_on_when_the_main_thread_has_ended() -> None:
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_threads_started_later_have_torchs_own_number() -> None:
    parallel_tasks(lambda task: None, range(4))
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert found == [2]


def test_two_tasks_run_at_once() -> None:
    meeting = threading.Barrier(2, timeout=120)
    parallel_tasks(lambda task: meeting.wait() and None, range(2))


def test_loops_inside_a_task_are_not_split() -> None:
    ranges: list[tuple[int, int]] = []
    parallel_tasks(lambda task: parallel_ranges(lambda start, stop: ranges.append((start, stop)), 1000), range(2))
    assert ranges == [(0, 1000)] * 2


def test_tasks_inside_a_task_run_in_its_thread() -> None:
    names: list[set[str]] = []

    def outer(task: int) -> None:
        inner = {threading.current_thread().name}
        parallel_tasks(lambda _: inner.add(threading.current_thread().name), range(3))
        names.append(inner)

    parallel_tasks(outer, range(2))
    assert [len(inner) for inner in names] == [1, 1]


@pytest.mark.parametrize("threads", ["1", "2"])
def test_an_error_is_raised_and_later_tasks_are_dropped(threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXITE_THREADS", threads)
    begun: list[int] = []

    def work(task: int) -> None:
        begun.append(task)
        time.sleep(0.005)
        if task == 3:
            raise ValueError("task 3")

    with pytest.raises(ValueError, match="task 3"):
        parallel_tasks(work, range(1000))
    count = len(begun)
    assert count < 100
    time.sleep(0.02)
    assert len(begun) == count  # nothing goes on behind the caller's back
    parallel_tasks(begun.append, [7, 8])  # and the threads are fit for the next
    assert sorted(begun[count:]) == [7, 8]


INTERRUPTED = """
import os, signal, time
os.environ["LEXITE_THREADS"] = "2"
from lexite.kernels.threads import parallel_tasks
signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background ignores the signal
begun = []
def work(task):
    begun.append(task)
    if task == 2:
        os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)
try:
    parallel_tasks(work, range(1000))
except KeyboardInterrupt:
    print(len(begun))
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are others there")
def test_ctrl_c_stops_the_rest() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True)
    assert done.returncode == 0 and 3 <= int(done.stdout) < 500, done.stderr


@pytest.mark.parametrize("tasks", [0, 1])
def test_none_and_one_run_in_the_callers_thread(tasks: int) -> None:
    names: list[str] = []
    parallel_tasks(lambda task: names.append(threading.current_thread().name), range(tasks))
    assert names == [threading.current_thread().name] * tasks


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python 3.12 warns of forks beside threads
def test_a_forked_child_has_threads_of_its_own() -> None:
    parallel_tasks(lambda task: None, range(4))
    child = os.fork()
    if child == 0:
        parallel_tasks(lambda task: None, range(4))
        os._exit(7)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 7
            return
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the child hangs")
