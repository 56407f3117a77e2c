"""Run by two processes: every way in which ranks tell each other something, over gloo. Prints "fine" at the end."""

from __future__ import annotations

import torch

from lexite.errors import TrainingError
from lexite.training.ranks import ProcessRanks, device_of, joined


def check_numbers(ranks: ProcessRanks) -> None:
    rank = ranks.rank
    large = torch.arange(100_000, dtype=torch.float32) * (rank + 1)
    a, b, c = ranks.sums(torch.tensor([1.0, rank]), large.clone(), torch.tensor(0.5))
    assert a.tolist() == [2.0, 1.0] and torch.equal(b, torch.arange(100_000) * 3.0) and float(c) == 1.0
    assert ranks.sums(torch.empty(0, 4))[0].shape == (0, 4)
    assert ranks.totals([0.1, rank]) == [0.2, 1.0] and ranks.totals([torch.tensor(2.0), 1.0])[0] == 4.0
    assert ranks.count(rank + 3) == 7
    assert ranks.smallest(torch.tensor([rank, -rank])).tolist() == [0, -1]
    assert ranks.any(rank == 1) and not ranks.any(False)
    for parts in ([[1.5, 2.5], [3.5]], [[], [1.0, 2.0]], [[], []]):
        every, own = ranks.joined(torch.tensor(parts[rank]))
        assert every.tolist() == parts[0] + parts[1] and every[own].tolist() == parts[rank]


def check_tensors(ranks: ProcessRanks) -> None:
    rank = ranks.rank
    given = {
        "bf16": torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).bfloat16(),
        "flag": torch.ones((), dtype=torch.uint8),
        "none": torch.empty(0, 7, dtype=torch.float64),
    }
    told = ranks.from_first(given if rank == 0 else {})
    assert all(torch.equal(told[name], given[name]) and told[name].dtype == given[name].dtype for name in given)
    owners = torch.tensor([1, 0, 0, 1, 1])
    rows = torch.arange(10.0).view(5, 2).bfloat16()
    brought = ranks.collect(rows[owners == rank], owners)
    assert torch.equal(brought, rows if rank == 0 else rows[:0])
    assert torch.equal(ranks.collect(rows[:0], owners[:0]), rows[:0])


def check_first(ranks: ProcessRanks) -> None:
    asked: list[int] = []
    assert ranks.by_first(lambda: asked.append(ranks.rank) or {"a": [1, "é"]}) == {"a": [1, "é"]}
    assert asked == [0][: 1 - ranks.rank]

    def fail() -> None:
        raise ValueError("broken")

    try:
        ranks.by_first(fail)
    except ValueError:
        assert ranks.rank == 0
    except TrainingError as error:
        assert ranks.rank == 1 and str(error) == "broken"


if __name__ == "__main__":
    with joined() as these:
        assert isinstance(these, ProcessRanks) and these.size == 2 and these.leads == (these.rank == 0)
        assert device_of(these, "cpu") == "cpu"
        for check in (check_numbers, check_tensors, check_first):
            check(these)
    print("fine")
