"""Which shuffled buffer a run has."""

from __future__ import annotations

from pathlib import Path

import torch

from lexite.errors import ConfigError
from lexite.kernels.ranks import Ranks
from lexite.training.buffer import ShuffleBuffer
from lexite.training.device_buffer import DevicePassageBuffer, DeviceShuffleBuffer
from lexite.training.passages import PassageBuffer
from lexite.training.shared_buffer import SharedBuffer

AnyBuffer = ShuffleBuffer | PassageBuffer | DeviceShuffleBuffer | DevicePassageBuffer | SharedBuffer


def make_buffer(
    tokens: int, d_model: int, device: torch.device, file: Path | None, ranks: Ranks, *, passages: bool
) -> AnyBuffer:
    """The buffer of a run.

    Args:
        tokens: that it holds, on all ranks together.
        d_model: width of a state.
        device: where the states are.
        file: that holds the states in place of memory.
        ranks: the processes that fill it and draw from it.
        passages: whether it keeps whole passages.

    Raises:
        ConfigError: passages can't be kept in a file.
    """
    if ranks.size > 1:
        return SharedBuffer(tokens, d_model, ranks, device, passages=passages)
    if not passages:
        if device.type == "cpu" or file is not None:
            return ShuffleBuffer(tokens, d_model, file)
        return DeviceShuffleBuffer(tokens, d_model, device)
    if file is not None:
        raise ConfigError("A buffer of whole passages is kept in memory: use buffer='memory' with this rule and these losses.")
    return PassageBuffer(tokens, d_model) if device.type == "cpu" else DevicePassageBuffer(tokens, d_model, device)
