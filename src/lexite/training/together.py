"""What the ranks of a run do together before, between and after its steps. A process alone passes through."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lexite.config import differences
from lexite.errors import ConfigError, TrainingError
from lexite.kernels.ranks import Ranks
from lexite.training.checkpoint import Checkpoint, latest_checkpoint, load_checkpoint
from lexite.training.resuming import OF_THE_MACHINE
from lexite.training.step import TrainingState
from lexite.version import __version__

logger = logging.getLogger("lexite")


def check_ranks(ranks: Ranks, configuration: Mapping[str, Any], *, repeatable: bool, buffer: str) -> None:
    """Refuses ranks that were started with different settings, and what several ranks can't do.

    Args:
        ranks: the processes.
        configuration: of this one: all that decides what it does, and when.
        repeatable: whether the source can be read more than once.
        buffer: where the shuffled buffer is.

    Raises:
        ConfigError: what several ranks can't do.
        TrainingError: a setting differs; the message names it.
    """
    if ranks.size == 1:
        return
    if buffer == "disk":
        raise ConfigError("Several ranks keep the buffer in memory, each its part of it. Leave buffer='disk' out.")
    if not repeatable:
        raise ConfigError("Several ranks can't share standard input. Name files.")
    here: dict[str, Any] = json.loads(json.dumps({**configuration, "version": __version__}))
    first = ranks.by_first(lambda: here)
    changed = differences(*({k: v for k, v in c.items() if k not in OF_THE_MACHINE} for c in (first, here)))
    if changed:
        raise TrainingError(
            f"It was started with other settings than rank 0 ({'; '.join(changed)}). "
            "Start all ranks with the same command, on the same files."
        )


def newest_checkpoint(folder: Path, ranks: Ranks) -> Checkpoint | None:
    """The newest checkpoint under ``folder``, or None; the first rank reads it for all.

    Raises:
        TrainingError: it is damaged, or of another format.
    """
    read: list[Checkpoint] = []

    def look() -> dict[str, Any] | None:
        path = latest_checkpoint(folder)
        if path is None:
            return None
        logger.info("Reading the checkpoint %s.", path)
        read.append(load_checkpoint(path))
        return read[0].info

    info = ranks.by_first(look)
    if info is None:
        return None
    own = read[0] if read else Checkpoint({}, {}, {})
    return Checkpoint(ranks.from_first(own.state), ranks.from_first(own.buffer), info)


def set_up(state: TrainingState, states: torch.Tensor, ranks: Ranks) -> None:
    """Sets up a run on its first states, (n, d_model), which the first rank has; the others take what it makes of them."""
    ranks.by_first(lambda: state.look_at(states))
    take_over(state, ranks)


def take_over(state: TrainingState, ranks: Ranks) -> None:
    """Brings all ranks to the tensors of the first one."""
    if ranks.size > 1:
        state.restore(ranks.from_first(state.tensors), state.steps)


def align(state: TrainingState, ranks: Ranks) -> None:
    """Brings all ranks to the tensors of the first one if they differ, as on machines of several kinds.

    On machines of one kind they never do, since all make the same steps by the same gradients.
    """
    if ranks.size == 1:
        return
    sums = [
        zlib.crc32(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data) for tensor in state.tensors.values()
    ]
    here = torch.tensor(sums)
    if not torch.equal(ranks.smallest(here.clone()), -ranks.smallest(-here)):
        logger.warning("The weights of the ranks differ in their last digits. All go on with those of rank 0.")
        take_over(state, ranks)
