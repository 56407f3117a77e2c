"""The metrics log of a run: one JSON object per line."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from lexite.files import storage_errors
from lexite.training.results import StepMetrics


class MetricsLog:
    """Sums what steps measured and writes a record every so many tokens.

    A record holds: ``tokens`` seen; ``fvu``, the fraction of variance unexplained, Σ‖x - x^‖² / Σ‖x - mean(x)‖² with the
    mean of each batch, over the tokens since the last record; ``l0``, mean active latents per token; ``dead_share``, share of
    latents not active in the last ``dead_after_tokens`` tokens; ``losses``, the mean over the steps of each term of the loss by
    its name, its weight included, and ``gradient_norm``, likewise; ``density_histogram``, ``zipf_exponent``, ``zipf_r2`` and
    ``zipf_r2_middle`` of the running densities (:mod:`lexite.sae.measures`); ``k`` and ``learning_rate`` of the last step;
    ``tokens_per_second`` since the last record, all work included; ``seconds`` since this process began to train.

    Args:
        path: the JSONL file; it is opened for appending. None keeps no log, as on ranks that write no files.
        n_latents: size of the dictionary.
        keep_bytes: how much of an existing file belongs to this run; what is behind it is cut off.
    """

    def __init__(self, path: Path | None, n_latents: int, keep_bytes: int = 0) -> None:
        self._n_latents = n_latents
        self._file: IO[bytes] | None = None
        if path is not None:
            with storage_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = open(path, "a+b")  # noqa: SIM115  (open for as long as the run goes on)
                self._file.truncate(keep_bytes)
        self._path = path
        self._start = self._last = time.perf_counter()
        self.sums = {"squared_error": 0.0, "variance": 0.0, "active": 0.0, "tokens": 0.0, "gradient_norm": 0.0}
        self.losses: dict[str, float] = {}
        self.steps = self._n_dead = 0
        self.newest: dict[str, Any] = {}

    def add(self, metrics: StepMetrics) -> None:
        """Counts one step, whose numbers have been read (:meth:`StepMetrics.read`)."""
        for name in self.sums:
            self.sums[name] += float(getattr(metrics, name))
        for name, loss in metrics.losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + float(loss)
        self.steps += 1
        self._n_dead = int(metrics.n_dead)

    def write(self, tokens: int, learning_rate: float, more: Mapping[str, Any]) -> None:
        """Writes a record over the steps since the last one, if there were any, with ``more`` at its end."""
        if not self.steps:
            return
        now, sums = time.perf_counter(), self.sums
        self.newest = {
            "tokens": tokens,
            "fvu": sums["squared_error"] / max(sums["variance"], 1e-30),
            "l0": sums["active"] / max(sums["tokens"], 1),
            "dead_share": self._n_dead / self._n_latents,
            "losses": {name: total / self.steps for name, total in self.losses.items()},
            "gradient_norm": sums["gradient_norm"] / self.steps,
            "learning_rate": learning_rate,
            "tokens_per_second": sums["tokens"] / max(now - self._last, 1e-9),
            "seconds": now - self._start,
            **more,
        }
        if self._file is not None and self._path is not None:
            with storage_errors(self._path):
                self._file.write(json.dumps(self.newest).encode() + b"\n")
                self._file.flush()
        self._last, self.steps, self.losses = now, 0, {}
        self.sums = dict.fromkeys(sums, 0.0)

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` needs."""
        sums = {"sums": self.sums, "losses": self.losses, "steps": self.steps}
        return {"bytes": self._path.stat().st_size if self._path else 0, **sums, "newest": self.newest}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on with the sums of an earlier process; its part of the file was kept with ``keep_bytes``."""
        self.sums, self.steps, self.newest = dict(state["sums"]), int(state["steps"]), dict(state["newest"])
        self.losses = dict(state["losses"])
        self._n_dead = round(float(self.newest.get("dead_share", 0)) * self._n_latents)

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
