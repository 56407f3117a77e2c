"""A training run: states through the shuffled buffer into optimizer steps, with a log and checkpoints."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lexite.config import to_dict
from lexite.errors import TrainingError
from lexite.kernels.hardware import fast_bf16
from lexite.kernels.ranks import ALONE, Ranks
from lexite.progress import ProgressBar, progress
from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.sae.autoencoder import Precision
from lexite.sae.measures import decoder_coherence, density_histogram
from lexite.sae.objective import ObjectiveConfig
from lexite.sae.zipf import fit_zipf
from lexite.training.batches import Batch, moment
from lexite.training.buffer import ShuffleBuffer
from lexite.training.buffers import make_buffer
from lexite.training.checkpoint import Checkpoint, save_checkpoint
from lexite.training.config import STORAGE_ONLY, TrainingConfig
from lexite.training.device_buffer import DeviceShuffleBuffer
from lexite.training.metrics import MetricsLog
from lexite.training.reading import Reader
from lexite.training.results import StepMetrics
from lexite.training.resuming import check_resumed, processes
from lexite.training.schedule import learning_rate
from lexite.training.shared_buffer import SharedBuffer
from lexite.training.sources import Chunk, StateSource
from lexite.training.step import TrainingState
from lexite.training.stopping import stop_signals
from lexite.training.together import align, check_ranks, newest_checkpoint, set_up

logger = logging.getLogger("lexite")
METRICS_FILE = "metrics.jsonl"
BUFFER_FILE = "buffer.bin"
LARGEST_BATCH = 1.25
"""Tokens that would be left for a small last batch are added to the batch before, if that stays below this many batches."""
STEPS_UNREAD = 64
"""Steps after which the numbers of an accelerator are read at the latest; the host waits for it then."""
FEW_STEPS = 10
"""Fewer steps teach next to nothing: the learning rate falls to zero over them, and is zero for a single step."""
_SUMMARISED = ("fvu", "l0", "dead_share", "zipf_exponent", "zipf_r2", "zipf_r2_middle", "decoder_coherence")
Probe = Callable[[SparseAutoencoder], dict[str, float]]


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A finished run.

    Attributes:
        autoencoder: the trained autoencoder.
        summary: tokens, passes over the text, the last record of the metrics log, seconds, number format.
    """

    autoencoder: SparseAutoencoder
    summary: dict[str, Any]


def train_autoencoder(
    source: StateSource,
    folder: Path,
    sae: SAEConfig,
    config: TrainingConfig,
    *,
    objective: ObjectiveConfig | None = None,
    probe: Probe | None = None,
    description: Mapping[str, Any] | None = None,
    precision: Precision = "auto",
    device: str = "cpu",
    start: SparseAutoencoder | None = None,
    resume: bool = False,
    show_progress: bool = True,
    ranks: Ranks = ALONE,
) -> TrainingResult:
    """Trains a sparse autoencoder on a stream of token states.

    Several processes (:func:`lexite.training.ranks.joined`) call it alike. Each sends its share of the texts through the
    model and has its part of each batch. The first one writes files.

    Args:
        source: the states.
        folder: for the metrics log and the checkpoints.
        sae: sizes; ``d_model`` must be the width of the states.
        config: the recipe.
        objective: terms of the loss and settings of the rule.
        probe: measures the autoencoder as it stands, every ``probe_tokens`` tokens and at the end; what it returns is logged.
        description: further options that must not change when the run is resumed.
        precision: of the wide products.
        device: where the weights are, and the shuffled buffer with them. A run may be resumed on another device.
        start: a trained autoencoder of the same sizes to go on from; None starts from random weights.
        resume: go on from the newest checkpoint in ``folder``, if there is one.
        show_progress: a progress bar on stderr.
        ranks: the processes that share the work.

    Raises:
        ConfigError: options do not fit together.
        TrainingError: there are no tokens, the loss is not finite, a checkpoint does not fit or is damaged, or another process
            has ended.
        KeyboardInterrupt: after a checkpoint was written, on SIGINT or SIGTERM.
    """
    run = _Run(source, folder, sae, config, objective or ObjectiveConfig(), description or {}, precision, device, probe, ranks)
    asked = {**run.configuration, **to_dict(config), "resume": resume, "probe": probe is not None}
    check_ranks(ranks, asked, repeatable=source.repeatable, buffer=config.buffer)
    show_progress = show_progress and ranks.leads
    if start is not None:
        run.state.start_from(start)
    checkpoint = newest_checkpoint(folder, ranks) if resume else None
    if checkpoint is not None:
        run.restore(checkpoint)
        logger.info("Going on from %s tokens.", f"{run.done:,}")
    try:
        with stop_signals() as stop:
            run.prepare(show_progress)
            with progress("Training", run.total, "tokens", show_progress) as bar:
                bar.go_on_from(run.done)
                run.loop(bar, stop)
    finally:
        run.close()
    return TrainingResult(run.state.autoencoder(), ranks.by_first(run.summary))


class _Run:
    """Everything that changes while a run goes on."""

    def __init__(
        self,
        source: StateSource,
        folder: Path,
        sae: SAEConfig,
        config: TrainingConfig,
        objective: ObjectiveConfig,
        description: Mapping[str, Any],
        precision: str,
        device: str,
        probe: Probe | None,
        ranks: Ranks,
    ) -> None:
        bf16 = fast_bf16(device) if precision == "auto" else precision == "bf16"
        self._any_precision = precision == "auto"
        self.precision = "bf16" if bf16 else "fp32"
        self.source, self.folder, self.config, self.objective = source, folder, config, objective
        self._probe, self.ranks = probe, ranks
        self.configuration = {
            **to_dict(sae),
            **{key: value for key, value in to_dict(config).items() if key not in STORAGE_ONLY},
            **to_dict(objective),
            **description,
            "training_precision": self.precision,
            "training_device": device.partition(":")[0],
            "sources": list(source.identity),
        }
        self.state = TrainingState(sae, config, torch.bfloat16 if bf16 else torch.float32, device, objective, ranks)
        self._buffer_file = folder / BUFFER_FILE if config.buffer == "disk" else None
        if ranks.leads:
            folder.mkdir(parents=True, exist_ok=True)
        file, passages = self._buffer_file, self.state.needs_passages
        self.buffer = make_buffer(config.buffer_tokens, sae.d_model, self.state.device, file, ranks, passages=passages)
        self.generator = np.random.default_rng(config.seed)
        self.done, self.total = 0, config.tokens
        self.reader = Reader(source, config.epochs, self.state.device, ranks)
        self._unread: list[StepMetrics] = []
        self._noted = ""
        self._log: MetricsLog | None = None
        self._log_state: dict[str, Any] = {}
        self._started = time.perf_counter()
        self._seconds_before = 0.0

    @property
    def log(self) -> MetricsLog:
        """The metrics log, opened at its first use so that a refused resume leaves it alone."""
        if self._log is None:
            keep = int(self._log_state.get("bytes", 0))
            path = self.folder / METRICS_FILE if self.ranks.leads else None
            self._log = MetricsLog(path, self.state.sae.n_latents, keep)
            if self._log_state:
                self._log.restore(self._log_state)
        return self._log

    def loop(self, bar: ProgressBar, stop: threading.Event) -> None:
        """Steps until the token budget, or the text, is used up."""
        config = self.config
        while self.done < self.total:
            self._refill(lambda held, wanted: bar.advance(0, f"reading text: {held:,} of {wanted:,} tokens"))
            left = self.total - self.done
            drawn = self.buffer.draw(
                left if left < LARGEST_BATCH * config.batch_tokens else config.batch_tokens, self.generator
            )
            batch = Batch(drawn) if isinstance(drawn, torch.Tensor) else drawn
            if not batch.n_tokens:
                break
            now = moment(self.objective, self.state.sae.k, self.done, self.total)
            before, self.done = self.done, self.done + batch.n_tokens
            warmup = 0.05 * config.tokens if config.warmup_tokens is None else config.warmup_tokens
            warmup = round(warmup * self.total / config.tokens)  # a run that is cut short warms up in proportion
            rate = learning_rate(self.done, self.total, config.learning_rate, warmup)
            self._unread.append(self.state.step(batch, rate, now).packed())
            probing = self._probe is not None and self._is_due(config.probe_tokens, before)
            logging_now = probing or self._is_due(config.log_tokens, before)
            stopping = self.ranks.any(stop.is_set())
            if self.ranks.audience is not None:
                self.ranks.audience.goes_on()
            saving = stopping or self._is_due(config.checkpoint_tokens, before)  # also at the end: minutes follow
            if self.state.device.type == "cpu" or logging_now or saving or len(self._unread) >= STEPS_UNREAD:
                self._read()
            if probing:
                bar.advance(0, "measuring on the probe")
            if logging_now:
                self._record(rate, now.k, probing)
            bar.total = self.total
            bar.advance(batch.n_tokens, self._noted)
            if saving:
                bar.advance(0, "writing a checkpoint")
                self.save()
            if stopping and self.done < self.total:
                raise KeyboardInterrupt

    def _read(self) -> None:
        """Reads what the steps since the last time have measured, checks it and puts it in the log."""
        for metrics in StepMetrics.read(self._unread):
            self._check(metrics)
            self.log.add(metrics)
            self._noted = self._note(metrics)
        self._unread.clear()

    def _is_due(self, interval: int, before: int) -> bool:
        """Whether the last step passed a multiple of ``interval`` tokens, or was the last of the run."""
        return self.done // interval > before // interval or self.done >= self.total

    def _record(self, rate: float, k: int | None, probing: bool) -> None:
        """Writes a record of the metrics log; the first rank measures, on the probe too, while the others wait."""
        self.ranks.by_first(lambda: self.log.write(self.done, rate, {"k": k, **self._measures(probing)}))

    def _measures(self, probing: bool) -> dict[str, Any]:
        """Further values for the log: densities and their fit; with the probe also its result, and how alike the atoms are."""
        density = self.state.tensors["density"].cpu().numpy().clip(0, 1)
        values: dict[str, Any] = {"density_histogram": density_histogram(density, 1)}
        if (density > 0).sum() > 2:
            fit = fit_zipf(density)
            values |= {"zipf_exponent": fit.exponent, "zipf_r2": fit.r2, "zipf_r2_middle": fit.r2_middle}
        if (probing or self.done >= self.total) and len(density) > 1:
            values["decoder_coherence"] = decoder_coherence(self.state.tensors["decoder_weight"]).largest
        if probing and self._probe is not None:
            with self.reader.quiet():
                values |= self._probe(self.state.autoencoder())
        return values

    def prepare(self, show_progress: bool) -> None:
        """Fills the buffer of a new run, which takes minutes with a large model, and sets up the run on its first states.

        Raises:
            TrainingError: there is no token.
        """
        if self.done:
            return
        room = min(self.config.buffer_tokens, self.total)
        logger.info("Filling the buffer with up to %s token states.", f"{room:,}")
        with progress("Filling the buffer", room, "tokens", show_progress) as bar:
            self._refill(lambda held, _: bar.advance(held - bar.done))
            bar.advance(self.buffer.size - bar.done)
        if not self.buffer.size:
            raise TrainingError("The text gave no token to train on. Check the sources.")
        self._warn_of_few_steps()
        first = self.config.init_tokens
        states = self.buffer.first(first) if isinstance(self.buffer, SharedBuffer) else self.buffer.rows[:first]
        set_up(self.state, states, self.ranks)

    def _refill(self, told: Callable[[int, int], None]) -> None:
        """Fills the buffer when it is half empty, but never past the tokens that are still to be trained on.

        Args:
            told: is called before each chunk of text with the tokens that the buffer holds and will hold.
        """
        left = self.total - self.done
        if self.buffer.size >= min(self.config.buffer_tokens // 2, left):
            return
        wanted = min(self.config.buffer_tokens, left)

        def next_states() -> torch.Tensor | None:
            told(self.buffer.size, wanted)
            return self.reader.next_states()

        def next_chunk() -> Chunk | None:
            told(self.buffer.size, wanted)
            return self.reader.next_chunk()

        if isinstance(self.buffer, (ShuffleBuffer, DeviceShuffleBuffer)):
            self.buffer.refill(next_states, left)
        else:
            self.buffer.refill(next_chunk, left)
        self._shorten()

    def _shorten(self) -> None:
        """Plans for fewer tokens, once a pass over the text has shown that it gives fewer than were asked for."""
        available = self.reader.tokens_available
        if available is not None and available < self.total:
            logger.info("The text gives %s tokens in all, fewer than asked for.", f"{available:,}")
            self.total = available
            if self.done:  # else it is looked at when the buffer is full
                self._warn_of_few_steps()

    def _warn_of_few_steps(self) -> None:
        size = self.config.batch_tokens
        steps = max(math.floor(self.total / size - LARGEST_BATCH) + 2, 1)
        if steps < FEW_STEPS:
            logger.warning(
                "%s tokens in all and %s a step make %d step%s: too few to learn anything, so the vocabulary stays nearly "
                "what it was at the start. Give more text, more tokens or epochs, or smaller batches.",
                f"{self.total:,}", f"{size:,}", steps, "" if steps == 1 else "s",
            )  # fmt: skip

    def _check(self, metrics: StepMetrics) -> None:
        if not math.isfinite(metrics.squared_error + metrics.gradient_norm):
            raise TrainingError(
                f"The loss is no longer a finite number after {self.done:,} tokens. Lower the learning rate; "
                "checkpoints from before are kept."
            )

    def _note(self, metrics: StepMetrics) -> str:
        fvu = metrics.squared_error / max(metrics.variance, 1e-30)
        dead = metrics.n_dead / self.state.sae.n_latents
        return f"FVU {fvu:.3f}  L0 {metrics.active / metrics.tokens:.1f}  dead {dead:.1%}"

    def save(self) -> None:
        """Writes a checkpoint; the first rank does, of all ranks together."""
        align(self.state, self.ranks)
        info = {
            "configuration": self.configuration,
            **processes(self.ranks),
            "done": self.done,
            "total": self.total,
            "steps": self.state.steps,
            **self.reader.state(),
            "generator": self.generator.bit_generator.state,
            "log": self.log.state(),
            "seconds": self.seconds,
            "threads": torch.get_num_threads(),
        }
        checkpoint = Checkpoint(self.state.tensors, self.buffer.state(), info)
        self.ranks.by_first(lambda: str(save_checkpoint(self.folder, self.done, checkpoint)))

    def restore(self, checkpoint: Checkpoint) -> None:
        """Takes over everything from a checkpoint.

        Raises:
            TrainingError: it was made with another configuration; the message names the keys.
        """
        info = checkpoint.info
        check_resumed(info, self.configuration, self.ranks, self.folder, any_precision=self._any_precision)
        self.state.restore(checkpoint.state, info["steps"])
        self.buffer.restore(checkpoint.buffer)
        self.done, self.total = info["done"], info["total"]
        self.reader.restore(info)
        self.generator.bit_generator.state = info["generator"]
        self._log_state, self._seconds_before = info["log"], info["seconds"]

    @property
    def seconds(self) -> float:
        """Seconds of training, over all processes that worked on the run."""
        return self._seconds_before + time.perf_counter() - self._started

    def summary(self) -> dict[str, Any]:
        """See :class:`TrainingResult`."""
        last = {key: value for key, value in self.log.newest.items() if key in _SUMMARISED}
        rate = self.done / max(self.seconds, 1e-9)
        return {
            "tokens": self.done,
            "passes": self.reader.passes + 1 if self.reader.texts_read else self.reader.passes,
            **last,
            "seconds": round(self.seconds, 1),
            "tokens_per_second": round(rate, 1),
            "precision": self.precision,
        }

    def close(self) -> None:
        """Stops reading, closes the log and removes the buffer's file."""
        self.reader.close()
        if self._log is not None:
            self._log.close()
        if self._buffer_file is not None:
            self._buffer_file.unlink(missing_ok=True)
