"""Short runs on random token states, alone and on ranks that are threads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from thread_ranks import on_ranks

from lexite.kernels.ranks import ALONE, Ranks
from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.sae.objective import ObjectiveConfig
from lexite.training.config import TrainingConfig
from lexite.training.run import METRICS_FILE, TrainingResult, train_autoencoder
from lexite.training.shares import WHOLE, Share
from lexite.training.sources import Chunk, StateSource, own_part

D, LATENTS = 24, 96


def token_states(n: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(48, D, generator=torch.Generator().manual_seed(99))
    return (torch.relu(torch.randn(n, 48, generator=generator) - 1) @ directions + torch.arange(D) / D).bfloat16()


class Numbers:
    """A source of random states, cut into texts of 0 to 11 tokens; ranks deal the texts by turns, or in another way."""

    repeatable = True

    def __init__(self, texts: int = 200, *, seed: int = 0, fail_at: int | None = None, dealt: str = "fairly") -> None:
        self.identity, self.fail_at, self.dealt = [f"numbers {texts} {seed}"], fail_at, dealt
        self.lengths = np.arange(texts) * 7 % 12
        self.states = token_states(int(self.lengths.sum()), seed)

    def chunks_by_turns(self, skip_texts: int, turn: Share) -> Iterator[Chunk]:
        for number, chunk in enumerate(self.chunks(skip_texts)):
            if number % turn.size == turn.rank:
                yield replace(chunk, first=skip_texts + 10 * number)

    def chunks(self, skip_texts: int = 0, share: Share = WHOLE) -> Iterator[Chunk]:
        bounds = np.r_[0, self.lengths.cumsum()]
        for start in range(0, len(self.lengths), 10):
            end = min(start + 10, len(self.lengths))
            if start < skip_texts:
                continue
            if self.fail_at is not None and start >= self.fail_at:
                raise RuntimeError("killed")
            chunk = self.states[bounds[start] : bounds[end]], bounds[start : end + 1] - bounds[start]
            if share == WHOLE:
                yield Chunk(*chunk)
            elif self.dealt == "fairly":
                yield own_part(*chunk, share)
            else:  # the last rank has nothing, or nothing from the middle of each pass on
                owners = np.zeros(end - start, dtype=np.int64)
                owners[1::2] = share.size - 1 if self.dealt == "half" and start < 100 else 0
                own = owners == share.rank
                offsets = np.r_[0, np.diff(chunk[1])[own].cumsum()].astype(np.int64)
                yield Chunk(chunk[0][torch.from_numpy(np.repeat(own, np.diff(chunk[1])))], offsets, owners)


def fit(folder: Path, source: StateSource, ranks: Ranks, *, resume: bool = False, **changes: Any) -> TrainingResult:
    """A short run on some ranks."""
    objective = ObjectiveConfig(**{key: changes.pop(key) for key in ("flops_coefficient",) if key in changes})
    sae = SAEConfig(D, 48, 3, rule=changes.pop("rule", "topk"), normalize_activations="expected_average_only_in")
    values = {"tokens": 3000, "batch_tokens": 50, "buffer_tokens": 300, "log_tokens": 300, "checkpoint_tokens": 500, **changes}
    config = TrainingConfig(**{"init_tokens": 200, "dead_after_tokens": 400, **values})
    return train_autoencoder(source, folder, sae, config, objective=objective, resume=resume, show_progress=False, ranks=ranks)


def run(folder: Path, size: int = 1, source: Numbers | None = None, *, resume: bool = False, **changes: Any) -> TrainingResult:
    """What the first of some ranks returns; the others have the same weights."""
    if size == 1:
        return fit(folder, source or Numbers(), ALONE, resume=resume, **changes)
    return agreed(on_ranks(size, lambda ranks: fit(folder, source or Numbers(), ranks, resume=resume, **changes)))


def agreed(results: Sequence[TrainingResult]) -> TrainingResult:
    """What all ranks have returned."""
    for result in results[1:]:
        assert same(result.autoencoder, results[0].autoencoder)
        assert result.summary == results[0].summary
    return results[0]


NAMES = ("encoder_weight", "encoder_bias", "decoder_weight", "decoder_bias")


def same(a: SparseAutoencoder, b: SparseAutoencoder) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in NAMES)


def distance(a: SparseAutoencoder, b: SparseAutoencoder) -> float:
    return max(float((getattr(a, name) - getattr(b, name)).abs().max()) for name in NAMES)


def untimed(folder: Path) -> list[dict[str, Any]]:
    """What a log says that does not depend on the speed of a run."""
    return [{k: v for k, v in r.items() if k not in ("seconds", "tokens_per_second")} for r in records(folder)]


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / METRICS_FILE).read_text().splitlines()]
