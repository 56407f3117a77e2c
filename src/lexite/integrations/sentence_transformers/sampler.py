"""Batches of rows that fill a budget of tokens, alike in every process and after a resume."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers.base.sampler import DefaultBatchSampler
from torch.utils.data import RandomSampler

from lexite.errors import ArgumentError, ConfigError

N_TOKENS = "n_tokens"
"""Column of a dataset: for each text column, how many tokens of it are pooled."""
TEXT_NUMBER = "text_number"
"""Column of a dataset of windows: which text a window comes from."""
TOKENS_PER_BATCH = 4096
_BATCHES_AHEAD = 4  # rows that wait, in batches' worth of tokens, among which the next batch finds what fits
_ATTEMPTS = 8
_log = logging.getLogger(__name__)


class TokenBudgetBatchSampler(DefaultBatchSampler):
    """Fills each batch with rows of a shuffled dataset up to a number of tokens.

    Rows are drawn at random, anew for each epoch. A row that does not fit waits, and comes first in the next batch. Windows of
    one text go to different batches where there is a choice, since the tokens of a text resemble each other. Each row is in
    exactly one batch of an epoch; the last two batches share the remaining rows and may be smaller. Batches depend on the
    dataset, the seed and the epoch alone. All epochs have the same number of batches, as the trainer expects. The number is a
    multiple of the processes, which do their steps together; batches are divided to reach it.

    The trainer makes it: ``SparseEncoderTrainingArguments(batch_sampler=collator.batch_sampler)``, with a
    :class:`~lexite.integrations.sentence_transformers.collator.TokenBudgetDataCollator`. Several datasets at once
    (``DatasetDict``) work in one process only, since the library's samplers of several datasets need a fixed number of rows.

    Args:
        dataset: with the counts that ``token_windows`` or ``count_tokens`` writes.
        batch_size: the number of rows that the trainer asks for; not used, since the budget decides.
        drop_last: not used, since nothing is left out. The trainer sets it in several processes to give each as many batches,
            which they have here anyway.
        valid_label_columns: not used here; the trainer hands it to every sampler.
        generator: not used, since batches depend on seed and epoch.
        seed: of the order.
        tokens_per_batch: most tokens of a batch, for each text column.

    Raises:
        ArgumentError: the dataset has no counts, too few rows, or a row that is larger than the budget.
        ConfigError: the budget is below 1.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        drop_last: bool = False,
        valid_label_columns: list[str] | None = None,
        generator: torch.Generator | None = None,
        seed: int = 0,
        *,
        tokens_per_batch: int = TOKENS_PER_BATCH,
    ) -> None:
        super().__init__(dataset, batch_size, False, valid_label_columns, generator, seed)
        if tokens_per_batch < 1:
            raise ConfigError(f"tokens_per_batch is {tokens_per_batch}, but must be at least 1.")
        self.tokens_per_batch = tokens_per_batch
        self._sizes = _column(dataset, N_TOKENS).reshape(len(dataset), -1)
        self._texts = _column(dataset, TEXT_NUMBER) if TEXT_NUMBER in dataset.column_names else np.arange(len(dataset))
        self._check()
        self._first = self._packed(0, 0)
        self._length = self._rounded(len(self._first))
        if _processes() > 1:
            # A number would tell accelerate to look for batches of just so many rows.
            self.batch_size = None  # type: ignore[assignment]
        held = self._sizes.sum(axis=0).max() / max(len(self._first), 1)
        _log.info("%d batches of %.0f tokens on average, of at most %d.", self._length, held, tokens_per_batch)

    def __len__(self) -> int:
        """Number of batches, the same in every epoch."""
        return self._length

    def __iter__(self) -> Iterator[list[int]]:
        """Row numbers of each batch of the epoch that ``set_epoch`` named."""
        yield from self.batches(self.epoch)

    def batches(self, epoch: int) -> list[list[int]]:
        """Row numbers of each batch of an epoch."""
        for attempt in range(_ATTEMPTS):
            packed = self._first if (epoch, attempt) == (0, 0) else self._packed(epoch, attempt)
            if len(packed) <= len(self._first):
                return divided(packed, self._length)
        # No later order packs as well as the first one did: take its batches in another order.
        order = np.random.default_rng((self.seed or 0, epoch)).permutation(len(self._first))
        return divided([self._first[i] for i in order], self._length)

    def _packed(self, epoch: int, attempt: int) -> list[list[int]]:
        order = np.random.default_rng((self.seed or 0, epoch, attempt)).permutation(len(self._sizes))
        return pack(self._sizes, self._texts, order, self.tokens_per_batch)

    def _rounded(self, n_batches: int) -> int:
        """The number of batches, raised to suit the processes."""
        processes = _processes()
        length = -(-n_batches // processes) * processes
        if not 1 <= length <= len(self._sizes):
            raise ArgumentError(f"The dataset's {len(self._sizes)} rows are too few for batches in {processes} process(es).")
        return length

    def _check(self) -> None:
        largest = self._sizes.max(axis=1, initial=0)
        if len(largest) and largest.max() > self.tokens_per_batch:
            row = int(largest.argmax())
            raise ArgumentError(
                f"Row {row} (counted from 0) has {largest[row]} tokens in a column, more than tokens_per_batch = "
                f"{self.tokens_per_batch}. Raise it, or cut the texts with token_windows."
            )


class TokenBudgetBatches:
    """Makes the samplers of a trainer's datasets: by tokens where rows were counted, by rows for other evaluations.

    A trainer calls it first for the dataset to train on, later for the datasets to evaluate, and does not say which is which. A
    dataset without counts is taken for an evaluation if another data loader had a dataset with counts before. It then gets the
    library's own batches of ``per_device_eval_batch_size`` rows.

    Args:
        tokens_per_batch: most tokens of a batch, for each text column.
    """

    def __init__(self, tokens_per_batch: int = TOKENS_PER_BATCH) -> None:
        self.tokens_per_batch = tokens_per_batch
        self._last: torch.Generator | None = None  # of the last dataset with counts; one data loader has one generator
        self._has_told = False

    def __call__(
        self,
        dataset: Any,
        batch_size: int = 1,
        drop_last: bool = False,
        valid_label_columns: list[str] | None = None,
        generator: torch.Generator | None = None,
        seed: int = 0,
    ) -> DefaultBatchSampler:
        """The sampler of a dataset.

        Args:
            dataset: to train on or to evaluate.
            batch_size: rows of a batch of a dataset without counts.
            drop_last: whether a last batch of fewer rows is left out, of a dataset without counts.
            valid_label_columns: handed on.
            generator: that of the data loader.
            seed: of the order.

        Raises:
            ArgumentError: a dataset to train on has no counts, too few rows, or a row that is larger than the budget.
        """
        is_evaluation = self._last is not None and generator is not self._last
        if is_evaluation and not _has_column(dataset, N_TOKENS):
            self._tell(batch_size)
            rows: Any = RandomSampler(dataset, generator=generator)  # as the library's own choice is
            return DefaultBatchSampler(rows, batch_size, drop_last, valid_label_columns, generator, seed)
        sampler = TokenBudgetBatchSampler(
            dataset, batch_size, drop_last, valid_label_columns, generator, seed, tokens_per_batch=self.tokens_per_batch
        )
        self._last = generator
        return sampler

    def _tell(self, batch_size: int) -> None:
        if not self._has_told:
            _log.warning(
                "A dataset has no column '%s', and is taken for an evaluation: its batches are of %d rows, whatever their "
                "tokens. To keep to the budget, prepare it with token_windows or count_tokens.",
                N_TOKENS,
                batch_size,
            )
        self._has_told = True

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}  # checkpoints save the training arguments, which hold this object


def pack(sizes: npt.NDArray[np.int64], texts: npt.NDArray[np.int64], order: Iterable[int], budget: int) -> list[list[int]]:
    """Deals rows out to batches within a budget.

    Args:
        sizes: (rows, columns) tokens of each, at most the budget.
        texts: (rows,) text that each row comes from.
        order: rows in the order in which they are drawn.
        budget: most tokens in a column of a batch.

    Returns:
        Rows of each batch; each row is in one. The last two share evenly what remains for them.

    Example:
        >>> pack(np.array([[6], [8], [4], [3], [5]]), np.arange(5), range(5), 10)
        [[0, 2], [1], [4, 3]]
    """
    columns, of_text, largest = sizes.tolist(), texts.tolist(), sizes.max(axis=1, initial=0).tolist()
    rest, waiting, n_waiting = deque(int(row) for row in order), list[int](), 0
    batches: list[list[int]] = []
    while rest or waiting:
        while rest and n_waiting < _BATCHES_AHEAD * budget:
            waiting.append(rest.popleft())
            n_waiting += largest[waiting[-1]]
        batch, waiting = _filled(waiting, columns, of_text, budget)
        n_waiting -= sum(largest[row] for row in batch)
        batches.append(batch)
    return batches[:-2] + evened(batches[-2:], sizes, budget)


def _filled(
    waiting: list[int], columns: Sequence[Sequence[int]], of_text: Sequence[int], budget: int
) -> tuple[list[int], list[int]]:
    """A batch from waiting rows, first from texts that it does not hold yet; and the rows that go on waiting."""
    batch: list[int] = []
    room, held = [budget] * len(columns[waiting[0]]), set[int]()
    for repeats in (False, True):
        later = []
        for row in waiting:
            if (repeats or of_text[row] not in held) and all(
                size <= left for size, left in zip(columns[row], room, strict=True)
            ):
                batch.append(row)
                held.add(of_text[row])
                room = [left - size for size, left in zip(columns[row], room, strict=True)]
            else:
                later.append(row)
        waiting = later
    return batch, waiting


def evened(batches: list[list[int]], sizes: npt.NDArray[np.int64], budget: int) -> list[list[int]]:
    """Two batches with their rows dealt out evenly, so that the last step is not made of a few tokens.

    Rows are dealt out from the largest on, each to the batch with fewer tokens. If this breaks the budget, the batches stay as
    they were.
    """
    rows = sorted((row for batch in batches for row in batch), key=lambda row: -int(sizes[row].max()))
    made: list[list[int]] = [[] for _ in batches]
    held = np.zeros((len(batches), sizes.shape[1]), dtype=np.int64)
    for row in rows:
        least = int(held.max(axis=1).argmin())
        made[least].append(row)
        held[least] += sizes[row]
    return made if all(made) and held.max(initial=0) <= budget else batches


def divided(batches: list[list[int]], length: int) -> list[list[int]]:
    """The batches, the longest of them halved until there are ``length``."""
    batches = list(batches)
    while len(batches) < length:
        i = max(range(len(batches)), key=lambda i: len(batches[i]))
        half = len(batches[i]) // 2
        batches[i : i + 1] = [batches[i][:half], batches[i][half:]]
    return batches


def _column(dataset: Any, name: str) -> npt.NDArray[np.int64]:
    """A column of numbers, whatever format or transform the dataset sets for its rows."""
    if not _has_column(dataset, name):
        raise ArgumentError(
            f"The dataset has no column '{name}', so its batches cannot be filled by tokens. Prepare it with "
            "token_windows(dataset, model, collator), or count_tokens for rows of several texts."
        )
    return np.asarray(dataset.select_columns([name]).with_format("numpy")[:][name], dtype=np.int64)


def _has_column(dataset: Any, name: str) -> bool:
    return name in (getattr(dataset, "column_names", None) or [])


def _processes() -> int:
    """Number of processes of a distributed training, 1 outside one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size()
    return 1
