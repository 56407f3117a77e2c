"""Whether a run may go on from a checkpoint, and what is said about it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lexite.config import differences
from lexite.errors import TrainingError

logger = logging.getLogger("lexite")
OF_THE_MACHINE = ("device", "training_device", "tokens_per_batch")
"""Keys of a configuration that say where a run is computed; it may go on elsewhere, and ranks may differ in them."""


def check_resumed(
    info: Mapping[str, Any], configuration: Mapping[str, Any], n_ranks: int, folder: Path, *, any_precision: bool
) -> None:
    """Refuses a checkpoint of another configuration, and warns where the last digits will differ.

    Args:
        info: of the checkpoint.
        configuration: of the run that would go on.
        n_ranks: processes that would.
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
    if info.get("ranks", 1) != n_ranks:
        moved.append(f"number of processes {info.get('ranks', 1)} before, {n_ranks} now")
    if moved:
        logger.warning("The run goes on in another way (%s): its last digits will differ from here on.", "; ".join(moved))
    if info["threads"] != torch.get_num_threads():
        logger.warning("The run had %s threads before: its last bits will differ.", info["threads"])
