"""Several processes that train one autoencoder together, as ``torchrun`` starts them.

What they tell each other goes through torch.distributed: by gloo where it is in the memory of hosts, by NCCL where it is on
GPUs. No pickle is sent. A process that ends takes the others with it: their next exchange fails at once where its connection
is closed, and after a time limit where it is only silent.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from lexite.errors import ConfigError, LexiteError, TrainingError
from lexite.kernels.numbers import Number
from lexite.kernels.ranks import ALONE, Ranks

T = TypeVar("T")
SECONDS = "LEXITE_RANK_SECONDS"
"""Environment variable with the seconds that a rank waits for the others in an exchange."""
LONGEST_WAIT = 1800.0  # by default: a rank may be sending texts through its model meanwhile
PATIENCE = datetime.timedelta(days=7)  # for the first rank, which measures, names and writes while the others wait
JOINING = datetime.timedelta(minutes=10)
SMALL_BYTES = 1 << 18  # tensors up to this size are sent together
EXPLANATION_SECONDS = 3.0  # that a rank waits for another's reason to end
INTERRUPTED = 130  # exit status, as that of the command line
_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class ProcessRanks(Ranks):
    """This process among others. See :class:`lexite.kernels.ranks.Ranks` for what the methods give.

    Args:
        rank: number of this process.
        size: number of processes.
        store: a key-value store that all of them reach; what ends a rank is left there.
        wait: seconds that an exchange may take.
        local_rank: number of this process on its machine, which is the number of its GPU.
        local_size: number of processes on this machine.

    Raises:
        TrainingError: the others cannot be reached.
    """

    def __init__(self, rank: int, size: int, store: Store, wait: float, local_rank: int = 0, local_size: int = 1) -> None:
        self.rank, self.size, self._store = rank, size, PrefixStore("lexite", store)
        self.local_rank = local_rank
        own_gpus = torch.cuda.is_available() and local_size <= torch.cuda.device_count() and dist.is_nccl_available()
        self._nccl = own_gpus
        if own_gpus:
            torch.cuda.set_device(local_rank)
        backend = "cpu:gloo,cuda:nccl" if own_gpus else "gloo"
        self._limit = limit = datetime.timedelta(seconds=wait)

        def join() -> None:
            groups = PrefixStore("groups", store)
            dist.init_process_group(backend, store=groups, rank=rank, world_size=size, timeout=limit)
            self._patient = dist.new_group(backend="gloo", timeout=PATIENCE)

        self._world, self._group = size, None
        self._safely(join)

    @property
    def on_gpus(self) -> bool:
        """Whether every process here has a GPU of its own, from which it sends tensors."""
        return self._nccl

    @property
    def wait(self) -> float:
        """Seconds that an exchange may take."""
        return self._limit.total_seconds()

    def leading(self, n: int) -> Ranks:
        """The first ``n`` ranks as a group of their own. All ranks call this; of use is the result on those ``n``."""
        made: list[Any] = []

        def divide() -> None:
            some = list(range(n))
            made.extend([dist.new_group(some, timeout=self._limit), dist.new_group(some, PATIENCE, "gloo")])

        self._safely(divide)
        if n == 1:
            return Ranks()
        group = copy.copy(self)
        group.size, (group._group, group._patient) = n, made
        return group

    def send(self, tensor: torch.Tensor, rank: int) -> None:
        """Sends a contiguous tensor to another rank, which calls :meth:`receive`; nothing where it has no elements."""
        if tensor.numel():
            self._safely(lambda: dist.send(_as_bytes(tensor), rank))

    def receive(self, tensor: torch.Tensor, rank: int) -> torch.Tensor:
        """Fills a contiguous tensor with what another rank sends, and returns it."""
        if tensor.numel():
            self._safely(lambda: dist.recv(_as_bytes(tensor), rank))
        return tensor

    def order(self, numbers: Sequence[int], rank: int) -> None:
        """Sends some whole numbers to another rank, which listens (:meth:`ordered`)."""
        self._safely(lambda: _in_time(dist.isend(torch.tensor(numbers), rank, group=self._patient), self._limit))

    def ordered(self, n: int) -> list[int]:
        """The next ``n`` numbers from the first rank, however long it takes; a thread of its own may wait for them."""
        numbers = torch.zeros(n, dtype=torch.int64)
        self._safely(lambda: dist.recv(numbers, 0, group=self._patient))
        return [int(number) for number in numbers.tolist()]

    def sums(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Small tensors are sent together, large ones each on its own, all at the same time."""
        small = [tensor for tensor in tensors if tensor.numel() * tensor.element_size() <= SMALL_BYTES]
        packed = torch.cat([tensor.reshape(-1) for tensor in small]) if small else None
        large = [tensor for tensor in tensors if tensor.numel() * tensor.element_size() > SMALL_BYTES]
        sent = [*([] if packed is None else [packed]), *large]
        summed = self._reduced(sent, dist.ReduceOp.SUM)
        parts = iter(torch.split(summed[0], [tensor.numel() for tensor in small]) if small else ())
        whole = iter(summed[1:] if small else summed)
        return tuple(
            next(parts).view(tensor.shape) if tensor.numel() * tensor.element_size() <= SMALL_BYTES else next(whole)
            for tensor in tensors
        )

    def totals(self, values: Sequence[Number]) -> list[Number]:
        """As tensors on an accelerator, where one of the values is."""
        device = next((value.device for value in values if isinstance(value, torch.Tensor)), None)
        if device is None:
            return list(self.sums(torch.tensor(values, dtype=torch.float64))[0].tolist())
        parts = [torch.as_tensor(value, dtype=torch.float64, device=device).reshape(()) for value in values]
        return list(self.sums(torch.stack(parts))[0].unbind())

    def count(self, n: int) -> int:
        """By way of the hosts."""
        return int(self.sums(torch.tensor([n]))[0])

    def smallest(self, tensor: torch.Tensor) -> torch.Tensor:
        """Overwrites the tensor where it can."""
        return self._reduced([tensor.contiguous()], dist.ReduceOp.MIN)[0]

    def joined(self, tensor: torch.Tensor) -> tuple[torch.Tensor, slice]:
        """Sizes first, then all parts in one exchange, filled up to the largest."""
        own = torch.zeros(self.size, dtype=torch.int64)
        own[self.rank] = len(tensor)
        sizes: list[int] = self.sums(own)[0].tolist()
        most, begin = max(sizes), sum(sizes[: self.rank])
        table = tensor.new_zeros(self.size, most)
        table[self.rank, : len(tensor)] = tensor
        (table,) = self._reduced([table], dist.ReduceOp.SUM)
        parts = [table[rank, :size] for rank, size in enumerate(sizes)]
        return torch.cat(parts), slice(begin, begin + len(tensor))

    def any(self, flag: bool) -> bool:
        """By way of the hosts."""
        return self.count(int(flag)) > 0

    def by_first(self, action: Callable[[], T]) -> T:
        """Where the action ends with an error, this is raised on the first rank, and a :class:`TrainingError` on the others."""
        if not self.leads:
            told: dict[str, Any] = self._heard()
            if "error" in told:
                raise TrainingError(told["error"])
            value: T = told["value"]
            return value
        try:
            with self.patience():
                value = action()
        except Exception as error:
            with contextlib.suppress(TrainingError):
                self._say({"error": str(error) or type(error).__name__})
            raise
        self._say({"value": value})
        return value

    def from_first(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """One after the other, by way of the hosts."""
        kinds = {name: (str(tensor.dtype).removeprefix("torch."), list(tensor.shape)) for name, tensor in tensors.items()}
        received = {}
        for name, (dtype, shape) in self.by_first(lambda: kinds).items():
            if self.leads:
                held = tensors[name].cpu().contiguous()
            else:
                held = torch.empty(shape, dtype=getattr(torch, dtype))
            if held.numel():
                self._broadcast(_as_bytes(held))
            received[name] = tensors[name] if self.leads else held
        return received

    def collect(self, rows: torch.Tensor, owners: torch.Tensor) -> torch.Tensor:
        """The other ranks send theirs one after the other."""
        if not self.leads:
            self.send(rows.contiguous(), 0)
            return rows[:0]
        whole = torch.empty(len(owners), rows.shape[1], dtype=rows.dtype)
        whole[owners == 0] = rows
        for rank in range(1, self.size):
            theirs = owners == rank
            part = torch.empty(int(theirs.sum()), rows.shape[1], dtype=rows.dtype)
            whole[theirs] = self.receive(part, rank)
        return whole

    def report(self, error: BaseException) -> bool:
        """Leaves the reason why this rank ends to the others.

        Returns:
            Whether the first rank ends for the same reason, and says so.
        """
        text = str(error) or type(error).__name__
        _for_a_while(lambda: self._store.set(f"ended/{self.rank}", text))
        return not self.leads and self._reason(0) == text

    def leave(self) -> None:
        """Closes the connections."""
        with contextlib.suppress(Exception):
            dist.destroy_process_group()

    def _reduced(self, tensors: list[torch.Tensor], operation: Any) -> list[torch.Tensor]:
        """All-reduced tensors; several at the same time."""
        here = [tensor if tensor.is_cpu or self._nccl else tensor.cpu() for tensor in tensors]

        def reduce() -> None:
            works = [dist.all_reduce(tensor, operation, self._group, async_op=True) for tensor in here if tensor.numel()]
            for work in works:
                work.wait()

        self._safely(reduce)
        return [sent.to(tensor.device) for sent, tensor in zip(here, tensors, strict=True)]

    def _broadcast(self, data: torch.Tensor) -> None:
        """The others wait as long as it takes, and the first rank as long as in any exchange."""

        def broadcast() -> None:
            work = dist.broadcast(data, 0, group=self._patient, async_op=True)
            work.wait(self._limit if self.leads else PATIENCE)

        self._safely(broadcast)

    def _say(self, value: dict[str, Any]) -> None:
        data = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        self._broadcast(torch.tensor([len(data)]))
        self._broadcast(data)

    def _heard(self) -> dict[str, Any]:
        size = torch.zeros(1, dtype=torch.int64)
        self._broadcast(size)
        data = torch.empty(int(size), dtype=torch.uint8)
        self._broadcast(data)
        heard: dict[str, Any] = json.loads(data.numpy().tobytes())
        return heard

    def _safely(self, exchange: Callable[[], object]) -> None:
        """Makes an exchange; an error of torch.distributed becomes one for people."""
        try:
            exchange()
        except (RuntimeError, OSError) as error:
            raise TrainingError(self._why_lost(error)) from error

    def _why_lost(self, error: Exception) -> str:
        for rank in range(self._world):
            reason = self._reason(rank, EXPLANATION_SECONDS / self._world) if rank != self.rank else ""
            if reason:
                return f"Rank {rank} has ended, so this one stops too. The reason there: {reason}"
        kept = "The last checkpoint is kept: go on with resume=True."
        if "timed out" in str(error).lower() or "timeout" in str(error).lower():
            return (
                "Another rank was waited for in vain: it hangs, or cannot be reached. "
                f"{SECONDS} sets how many seconds a rank waits. {kept}"
            )
        return (
            "Another rank has ended without giving a reason (killed, out of memory, or its machine is gone), so this one "
            f"stops too. {kept}"
        )

    def _reason(self, rank: int, seconds: float = EXPLANATION_SECONDS) -> str:
        """Why a rank has ended, if it says so within some seconds."""
        until = time.monotonic() + seconds
        told: list[str] = []

        def ask() -> None:
            while time.monotonic() < until and not told:
                if self._store.check([f"ended/{rank}"]):
                    told.append(self._store.get(f"ended/{rank}").decode())
                time.sleep(0.05)

        _for_a_while(ask, seconds)
        return told[0] if told else ""


def _for_a_while(action: Callable[[], object], seconds: float = EXPLANATION_SECONDS) -> None:
    """Does something with the store, which may be gone, or hang, with the rank that keeps it."""

    def work() -> None:
        with contextlib.suppress(Exception):
            action()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)


def _as_bytes(tensor: torch.Tensor) -> torch.Tensor:
    """The memory of a contiguous tensor as bytes, which every exchange can send."""
    return tensor.reshape(-1).view(torch.uint8)


def _in_time(work: Any, limit: datetime.timedelta) -> None:
    work.wait(limit)


def started_by_torchrun(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is one of several, as the variables of torchrun say."""
    return all(environment.get(name) for name in _NEEDED) and environment["WORLD_SIZE"] != "1"


@contextlib.contextmanager
def joined(environment: Mapping[str, str] = os.environ) -> Iterator[Ranks]:
    """The processes that torchrun has started beside this one; this one alone where it has not.

    An error within is told to the others. Where the first rank has the same, this one ends with :class:`SystemExit`, so that
    people read it once.

    Raises:
        ConfigError: a variable of the environment is no number.
        TrainingError: the others cannot be reached.
    """
    if not started_by_torchrun(environment):
        yield ALONE
        return
    ranks = _join(environment)
    try:
        yield ranks
    except KeyboardInterrupt:
        ranks.report(TrainingError("It was interrupted."))
        if ranks.leads:
            raise
        raise SystemExit(INTERRUPTED) from None
    except Exception as error:
        if ranks.report(error):
            raise SystemExit(1) from error
        if ranks.leads or not isinstance(error, LexiteError):
            raise
        raise TrainingError(f"Rank {ranks.rank}: {error}") from error
    else:
        ranks.leave()


def device_of(ranks: Ranks, name: str | None) -> str:
    """The device of a rank: its own GPU where any GPU is meant.

    Args:
        ranks: the processes.
        name: as for :class:`lexite.backbone.BackboneConfig`; None for auto.
    """
    wanted = name or "auto"
    if isinstance(ranks, ProcessRanks) and wanted in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{ranks.local_rank % torch.cuda.device_count()}"
    return wanted


def _join(environment: Mapping[str, str]) -> ProcessRanks:
    def integer(name: str, default: int) -> int:
        try:
            return int(environment.get(name) or default)
        except ValueError:
            raise ConfigError(
                f"The environment variable {name} is {environment[name]!r}, but must be a whole number."
            ) from None

    rank, size = integer("RANK", 0), integer("WORLD_SIZE", 1)
    wait = max(integer(SECONDS, int(LONGEST_WAIT)), 1)
    local_rank, local_size = integer("LOCAL_RANK", rank), integer("LOCAL_WORLD_SIZE", size)
    place = f"{environment['MASTER_ADDR']}:{environment['MASTER_PORT']}"
    try:
        store, _, _ = next(rendezvous("env://", rank, size, timeout=min(JOINING, datetime.timedelta(seconds=wait))))
    except (RuntimeError, OSError, ValueError) as error:
        if "EADDRINUSE" in str(error) or "in use" in str(error):
            raise TrainingError(
                f"The port of {place} is in use, so the ranks cannot meet there. Choose another (MASTER_PORT, or torchrun "
                "--master-port)."
            ) from error
        raise TrainingError(f"Rank {rank} of {size} cannot meet the others at {place}: {error}.") from error
    return ProcessRanks(rank, size, store, wait, local_rank, local_size)
