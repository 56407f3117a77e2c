"""Whether a run may go on from a checkpoint, and what is said about it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lexite.config import differences
from lexite.errors import TrainingError
from lexite.kernels.ranks import Ranks

logger = logging.getLogger("lexite")
OF_THE_MACHINE = ("device", "training_device", "tokens_per_batch")
"""Keys of a configuration that say where a run is computed; it may go on elsewhere, and ranks may differ in them."""


def processes(ranks: Ranks) -> dict[str, int]:
    """How many processes train, and how many encode for them, as a checkpoint records it."""
    return {"ranks": ranks.size, "encoding_ranks": 0 if ranks.audience is None else ranks.audience.size}


def check_resumed(
    info: Mapping[str, Any], configuration: Mapping[str, Any], ranks: Ranks, folder: Path, *, any_precision: bool
) -> None:
    """Refuses a checkpoint of another configuration, and warns where the last digits will differ.

    Args:
        info: of the checkpoint.
        configuration: of the run that would go on.
        ranks: the processes that would.
        folder: of the run.
        any_precision: whether the run chooses its number format itself.

    Raises:
        TrainingError: it was made with another configuration; the message names the keys.
    """
    free = (*OF_THE_MACHINE, *(["training_precision"] if any_precision else []))
    before, now = ({k: v for k, v in c.items() if k not in free} for c in (info["configuration"], configuration))
    changed = differences(before, now)
    if changed:
        raise TrainingError(
            f"The run in {folder} was started with another configuration ({'; '.join(changed)}). "
            "Resume with the same options, or start anew with overwrite=True."
        )
    moved = [
        f"{info['configuration'][key]} before, {configuration[key]} now"
        for key in ("training_device", "training_precision")
        if info["configuration"].get(key, configuration[key]) != configuration[key]
    ]
    then, here = {"ranks": 1, "encoding_ranks": 0} | dict(info), processes(ranks)
    if then["ranks"] != here["ranks"]:
        moved.append(f"number of processes {then['ranks']} before, {here['ranks']} now")
    elif here["ranks"] > 1 and bool(then["encoding_ranks"]) != bool(here["encoding_ranks"]):  # one alone has the same states
        moved.append("texts go through the model on other processes")
    if moved:
        logger.warning("The run goes on in another way (%s): its last digits will differ from here on.", "; ".join(moved))
    if info["threads"] != torch.get_num_threads():
        logger.warning("The run had %s threads before: its last bits will differ.", info["threads"])
