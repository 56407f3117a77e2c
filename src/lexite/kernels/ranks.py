"""The processes that work on one batch. A process alone is the simplest case, in which each of them has nothing to ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

import torch

from lexite.kernels.numbers import Number

T = TypeVar("T")


class Audience(Protocol):
    """Processes outside that work for those of a batch, and wait for the first of these."""

    size: int

    def goes_on(self) -> None:
        """Tells them, now and then, that the first rank is still at work."""
        ...

    def waits(self) -> AbstractContextManager[None]:
        """They wait meanwhile, as long as it takes."""
        ...


class Ranks:
    """This process alone: every method gives back what it was given. :mod:`lexite.training.ranks` has the other case.

    With several ranks, all of them call the same methods in the same order, each with its own part of the batch.

    Attributes:
        rank: number of this process, from 0.
        size: how many there are.
        audience: processes beside these that work for them; None where there are none.
    """

    rank: int = 0
    size: int = 1
    audience: Audience | None = None

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files, shows progress and logs."""
        return self.rank == 0

    def sums(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The sums over all ranks, element by element; all of one type, and of the same shapes on all ranks.

        Several ranks may overwrite the tensors given.
        """
        return tensors

    def totals(self, values: Sequence[Number]) -> list[Number]:
        """The sums of numbers over all ranks, in fp64."""
        return list(values)

    def count(self, n: int) -> int:
        """The sum of a whole number over all ranks."""
        return n

    def smallest(self, tensor: torch.Tensor) -> torch.Tensor:
        """The smallest over all ranks, element by element."""
        return tensor

    def joined(self, tensor: torch.Tensor) -> tuple[torch.Tensor, slice]:
        """The elements (n,) of all ranks one after the other, and where those of this one are."""
        return tensor, slice(0, len(tensor))

    def any(self, flag: bool) -> bool:
        """Whether it is so on any rank."""
        return flag

    def by_first(self, action: Callable[[], T]) -> T:
        """What ``action`` returns on the first rank, which alone runs it, as JSON values; an error there is one everywhere.

        The others wait as long as it takes.
        """
        with self.patience():
            return action()

    def patience(self) -> AbstractContextManager[None]:
        """Lets the audience wait for what takes longer than a step."""
        return nullcontext() if self.audience is None else self.audience.waits()

    def from_first(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The tensors of the first rank; what the others give is not looked at."""
        return tensors

    def collect(self, rows: torch.Tensor, owners: torch.Tensor) -> torch.Tensor:
        """Brings rows that are spread over the ranks to the first one.

        Args:
            rows: (own rows, d) those of this rank, in order.
            owners: (n,) int64 the rank that has each row, the same on all ranks.

        Returns:
            (n, d) on the first rank; nothing, (0, d), on the others.
        """
        return rows


ALONE = Ranks()
"""This process alone."""
