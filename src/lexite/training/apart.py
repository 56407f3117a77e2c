"""The backbone on other ranks than the autoencoder: some processes send texts through the model, the others train.

Encoding ranks take the chunks of a text by turns, each whole, so states and their order are those of a process alone. They work
ahead of what is asked for, by a few chunks and no more. The first training rank asks for a chunk when the buffer has room; the
rank whose turn it is sends every training rank the states of its texts, as the buffer keeps them.
"""

from __future__ import annotations

import contextlib
import enum
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np
import torch

from lexite.errors import ConfigError, TrainingError
from lexite.kernels.ranks import Ranks
from lexite.training.ahead import ReadAhead
from lexite.training.ranks import ProcessRanks
from lexite.training.shares import WHOLE, Share
from lexite.training.sources import Chunk, DivisibleSource, StateSource
from lexite.training.stopping import stop_signals

T = TypeVar("T")
SILENCE = 10.0  # seconds after which the first rank says that it is still at work, or a part of what a rank waits
KEPT = torch.bfloat16  # the number format of the buffer


class Order(enum.IntEnum):
    """What the first training rank tells those that encode."""

    PASS = 0  # read from the text with that number on
    CHUNK = 1  # send the next chunk
    AT_WORK = 2
    WAIT = 3  # as long as it takes
    DONE = 4
    INTERRUPTED = 5


class Wire(Protocol):
    """How all processes of a run reach each other: :class:`lexite.training.ranks.ProcessRanks`."""

    rank: int

    @property
    def wait(self) -> float:
        """Seconds that an exchange may take."""
        ...

    def send(self, tensor: torch.Tensor, rank: int) -> None:
        """Sends a contiguous tensor."""
        ...

    def receive(self, tensor: torch.Tensor, rank: int) -> torch.Tensor:
        """Fills a tensor with one that is sent."""
        ...

    def order(self, numbers: Sequence[int], rank: int) -> None:
        """Sends whole numbers."""
        ...

    def ordered(self, n: int) -> list[int]:
        """Whole numbers from the first rank, however long it takes."""
        ...


def check_encoding_ranks(n: int, ranks: Ranks) -> None:
    """Refuses a number of encoding ranks that leaves nothing to train.

    Raises:
        ConfigError: there are too few processes.
    """
    if n and ranks.size == 1:
        raise ConfigError(
            f"encoding_ranks is {n}, but this process is alone, so it encodes and trains. Start several: "
            f"torchrun --nproc-per-node {n + 1} -m lexite train …"
        )
    if n >= ranks.size > 1:
        raise ConfigError(
            f"encoding_ranks is {n}, and there are {ranks.size} processes: at least one of them must train. "
            f"Start more, or encode on at most {ranks.size - 1}."
        )


class EncodingRanks:
    """The ranks that encode, as the training ranks see them: the last ones of all.

    Args:
        wire: of all processes.
        training: how many train.
        size: how many encode.
        device: where states are sent from and to: a GPU, or the memory of hosts.
    """

    def __init__(self, wire: Wire, training: int, size: int, device: torch.device | None = None) -> None:
        self.wire, self.training, self.size = wire, training, size
        self.device = device or torch.device("cpu")
        self._last = time.monotonic()

    def tell(self, order: Order, number: int = 0, *, to: int | None = None) -> None:
        """Gives an order to one of them, or to all; the first training rank does, and the others pass over it."""
        if self.wire.rank == 0:
            for encoder in range(self.size) if to is None else [to]:
                self.wire.order([order, number], self.training + encoder)
            self._last = time.monotonic() if to is None else self._last

    def goes_on(self) -> None:
        """See :class:`lexite.kernels.ranks.Audience`."""
        if time.monotonic() - self._last > min(SILENCE, self.wire.wait / 4):
            self.tell(Order.AT_WORK)

    @contextlib.contextmanager
    def waits(self) -> Iterator[None]:
        """See :class:`lexite.kernels.ranks.Audience`."""
        self.tell(Order.WAIT)
        yield
        self.tell(Order.AT_WORK)

    @contextlib.contextmanager
    def until_done(self) -> Iterator[None]:
        """Ends them with the run; where it ends with an error, they find out that the ranks are gone, and why."""
        try:
            yield
        except KeyboardInterrupt:
            with contextlib.suppress(TrainingError):
                self.tell(Order.INTERRUPTED)
            raise
        self.tell(Order.DONE)


class SentStates:
    """A source whose states come from the encoding ranks.

    Args:
        source: what they read; it is not read here.
        encoders: these ranks.
    """

    def __init__(self, source: StateSource, encoders: EncodingRanks) -> None:
        self.repeatable, self.identity = source.repeatable, source.identity
        self._encoders = encoders

    def chunks(self, skip_texts: int = 0, share: Share = WHOLE) -> Iterator[Chunk]:
        """See :class:`lexite.training.sources.StateSource`.

        Raises:
            TrainingError: the encoding ranks read different texts.
        """
        encoders = self._encoders
        encoders.tell(Order.PASS, skip_texts)
        position = skip_texts
        turn = 0
        while (chunk := self._received(turn, position, share)) is not None:
            yield chunk
            position += chunk.n_texts
            turn = (turn + 1) % encoders.size
        for other in range(1, encoders.size):  # they are at the end as well
            if self._received((turn + other) % encoders.size, position, share) is not None:
                raise _different_texts()

    def _received(self, encoder: int, position: int, share: Share) -> Chunk | None:
        """The next chunk of an encoding rank: states of this rank's texts; None at the end of the text."""
        encoders = self._encoders
        wire, sender = encoders.wire, encoders.training + encoder
        encoders.goes_on()
        encoders.tell(Order.CHUNK, to=encoder)
        here, first, n_texts, width = wire.receive(torch.zeros(4, dtype=torch.int64), sender).tolist()
        if not here:
            return None
        if first != position:
            raise _different_texts()
        lengths, owners = wire.receive(torch.zeros(2, n_texts, dtype=torch.int64), sender).numpy()
        own = lengths[owners == share.rank]
        offsets = np.concatenate([[0], own.cumsum()]).astype(np.int64)
        states = torch.empty(int(offsets[-1]), width, dtype=KEPT, device=encoders.device)
        wire.receive(states, sender)
        return Chunk(states, offsets) if share == WHOLE else Chunk(states, offsets, owners)


def train_apart(
    source: DivisibleSource, fit: Callable[[StateSource, Ranks], T], ranks: Ranks, encoding: int, device: str
) -> T | None:
    """Trains on the first ranks and encodes on the others.

    Args:
        source: the texts.
        fit: trains on a source of states with the ranks that do.
        ranks: all processes, each of which calls this alike.
        encoding: how many of them encode, as :func:`check_encoding_ranks` allows.
        device: where this process computes.

    Returns:
        What ``fit`` returns; None on a rank that encodes.
    """
    assert isinstance(ranks, ProcessRanks)  # others are alone
    training = ranks.size - encoding
    place = torch.device(device)
    on_hosts = ranks.any(not ranks.on_gpus or place.type != "cuda")
    encoders = EncodingRanks(ranks, training, encoding, torch.device("cpu") if on_hosts else place)
    trainers = ranks.leading(training)
    if ranks.rank >= training:
        serve(source, encoders)
        return None
    trainers.audience = encoders
    with encoders.until_done():
        return fit(SentStates(source, encoders), trainers)


def serve(source: DivisibleSource, encoders: EncodingRanks) -> None:
    """What an encoding rank does: it sends chunks until the run is over.

    Args:
        source: what it reads, and sends through its model.
        encoders: all ranks that encode.

    Raises:
        TrainingError: the training ranks have ended, or say nothing for too long.
        KeyboardInterrupt: the run was interrupted, or this process was twice.
    """
    number = encoders.wire.rank - encoders.training
    orders = _Orders(encoders.wire)
    ahead: ReadAhead | None = None
    try:
        with stop_signals():  # the training ranks have them too, and say when to stop
            while True:
                order, skip_texts = orders.next()
                if order == Order.PASS:
                    if ahead is not None:
                        ahead.close()
                    chunks = source.chunks_by_turns(skip_texts, Share(number, encoders.size))
                    ahead = ReadAhead(map(_as_kept, chunks), encoders.device)
                elif order == Order.CHUNK and ahead is not None:
                    _send(next(ahead, None), encoders)
                elif order == Order.DONE:
                    return
                elif order == Order.INTERRUPTED:
                    raise KeyboardInterrupt
    finally:
        if ahead is not None:
            ahead.close()


def _as_kept(chunk: Chunk) -> Chunk:
    return replace(chunk, states=chunk.states.to(KEPT))


def _send(chunk: Chunk | None, encoders: EncodingRanks) -> None:
    """Deals the texts of a chunk to the training ranks, so that all have about as many tokens, and sends them."""
    wire, ranks = encoders.wire, range(encoders.training)
    if chunk is None:
        for rank in ranks:
            wire.send(torch.zeros(4, dtype=torch.int64), rank)
        return
    lengths = np.diff(chunk.offsets).astype(np.int64)
    owners = Share(size=encoders.training).deal(lengths.tolist())
    head = torch.tensor([1, chunk.first, len(lengths), chunk.states.shape[1]])
    table = torch.from_numpy(np.stack([lengths, owners]))
    for rank in ranks:
        is_own = torch.from_numpy(np.repeat(owners == rank, lengths)).to(chunk.states.device)
        for part in (head, table, chunk.states if len(ranks) == 1 else chunk.states[is_own]):
            wire.send(part.contiguous(), rank)


class _Orders:
    """Orders as they arrive; a thread of its own listens, so that silence is noticed."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._arrived: queue.Queue[tuple[int, int] | Exception] = queue.Queue()
        self._patient = False
        threading.Thread(target=self._listen, name="lexite-orders", daemon=True).start()

    def _listen(self) -> None:
        try:
            order = Order.AT_WORK
            while order not in (Order.DONE, Order.INTERRUPTED):
                order, number = (int(value) for value in self._wire.ordered(2))  # type: ignore[assignment]
                self._arrived.put((order, number))
        except Exception as error:  # raised again where orders are awaited
            self._arrived.put(error)

    def next(self) -> tuple[int, int]:
        """The next order and its number.

        Raises:
            TrainingError: nothing has come for as long as a rank waits, or the first rank is gone.
        """
        limit = 1.5 * self._wire.wait  # the first rank itself may wait for another meanwhile
        try:
            arrived = self._arrived.get(timeout=None if self._patient else limit)
        except queue.Empty:
            raise TrainingError(
                f"The training ranks have said nothing for {limit:,.0f} seconds: one of them hangs. "
                "LEXITE_RANK_SECONDS sets how many seconds a rank waits. The last checkpoint is kept: go on with resume=True."
            ) from None
        if isinstance(arrived, Exception):
            raise arrived
        self._patient = arrived[0] == Order.WAIT
        return arrived


def _different_texts() -> TrainingError:
    return TrainingError(
        "The encoding ranks read different texts. Give all of them the same files, which do not change while the run goes on."
    )
