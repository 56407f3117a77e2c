"""Callbacks that watch and steer a training: lower k step by step, count dead latents, measure BM25 now and then.

The trainer itself logs each term of a loss that returns several (``SparseEncoderTrainer.track_loss_components``), so there is
no callback for that.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback

from lexite.errors import ArgumentError, ConfigError
from lexite.integrations.sentence_transformers.preparation import own_modules, unwrap
from lexite.integrations.sentence_transformers.token_encoder import SparseAutoEncoderTokenEncoder

_log = logging.getLogger(__name__)


class KAnnealingCallback(TrainerCallback):
    """Lowers k while training, from ``start`` to the encoder's own (CSRv2's recipe for ultra-sparse codes).

    In step t (from 0) of T: ``k(t) = round(start - (start - k) · min(1, t / (share · T)))``, so k is the encoder's own for the
    last ``1 - share`` of the steps. ``query_k``, where the encoder has one, is lowered alike to its own value.

    Only forward passes in training mode see the larger k. ``encoder.k`` never changes, so checkpoints, evaluations on the way
    and a model whose training was interrupted all have the final k. k depends on the step alone, so a resumed training goes on
    with the right one.

    Args:
        start: the first k.
        share: share of the steps in which k is lowered, above 0 and at most 1.

    Attributes:
        k: the k of the step in progress; None before training.

    Raises:
        ConfigError: a value is out of range; when training begins, also if ``start`` is below the encoder's k or above the
            number of latents.
    """

    def __init__(self, start: int, share: float = 0.7) -> None:
        if start < 1:
            raise ConfigError(f"start is {start}, but must be at least 1.")
        if not 0 < share <= 1:
            raise ConfigError(f"share is {share}, but must be above 0 and at most 1.")
        self.start, self.share = start, share
        self.k: int | None = None
        self._progress = 0.0

    def k_at(self, step: int, n_steps: int, final: int) -> int:
        """The k of a step.

        Args:
            step: steps done before it.
            n_steps: of the whole training.
            final: the k that it ends with.
        """
        return self._lowered(min(1.0, step / (self.share * n_steps)), final)

    def _lowered(self, progress: float, final: int) -> int:
        return round(self.start - (self.start - final) * progress)

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Installs the hooks that change the encoder's k in training."""
        encoder, _ = own_modules(model)
        largest = max(encoder.k, encoder.query_k or 0)
        if not largest <= self.start <= encoder.hidden_dim:
            raise ConfigError(
                f"start is {self.start}, but k is lowered: it must be at least the encoder's k ({largest}) and at most its "
                f"number of latents ({encoder.hidden_dim})."
            )
        _TrainingK.remove(encoder)
        _TrainingK(self).register(encoder)

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Computes the k of the step."""
        self._progress = min(1.0, state.global_step / (self.share * state.max_steps))
        self.k = self._lowered(self._progress, own_modules(model)[0].k)

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Removes the hooks."""
        _TrainingK.remove(own_modules(model)[0])


class _TrainingK:
    """Hooks that give an encoder another k for the length of a forward pass.

    An exception leaves no trace in the encoder's configuration. If one ends the training, the hooks stay behind, but they do
    nothing once their callback is gone, nor in a copy of the model, and the next annealing removes them.
    """

    def __init__(self, callback: KAnnealingCallback | None = None) -> None:
        self._callback = (lambda: None) if callback is None else weakref.ref(callback)
        self._own: tuple[int, int | None] | None = None

    def register(self, encoder: SparseAutoEncoderTokenEncoder) -> None:
        encoder.register_forward_pre_hook(self.begin)
        encoder.register_forward_hook(self.end, always_call=True)

    @staticmethod
    def remove(encoder: SparseAutoEncoderTokenEncoder) -> None:
        for hooks in (encoder._forward_pre_hooks, encoder._forward_hooks):
            for key in [key for key, hook in hooks.items() if isinstance(getattr(hook, "__self__", None), _TrainingK)]:
                del hooks[key]

    def begin(self, encoder: SparseAutoEncoderTokenEncoder, inputs: Any) -> None:
        callback = self._callback()
        if callback is not None and encoder.training:
            self._own = encoder.k, encoder.query_k
            encoder.k = callback._lowered(callback._progress, encoder.k)
            if encoder.query_k is not None:
                encoder.query_k = callback._lowered(callback._progress, encoder.query_k)

    def end(self, encoder: SparseAutoEncoderTokenEncoder, inputs: Any, outputs: Any) -> None:
        if self._own is not None:
            encoder.k, encoder.query_k = self._own
            self._own = None

    def __reduce__(self) -> tuple[type[_TrainingK], tuple[()]]:
        return _TrainingK, ()


class LoggingCallback(TrainerCallback):
    """A callback that has numbers of its own to log.

    A callback does not know its trainer. With ``callbacks=[callback]``, its numbers join ``trainer.state.log_history``, which
    checkpoints keep, and the log of this module. With ``callback.add_to(trainer)``, they go through ``trainer.log``, and so to
    every service that the trainer reports to.
    """

    def __init__(self) -> None:
        self._trainer: Any = None

    def add_to(self, trainer: Any) -> None:
        """Adds the callback to a trainer, and lets it log there."""
        self._trainer = trainer
        trainer.add_callback(self)

    def log(self, state: Any, control: Any, values: Mapping[str, float]) -> None:
        """Logs numbers at the step that training is at."""
        if self._trainer is None:
            state.log_history.append({**values, "epoch": state.epoch, "step": state.global_step})
            if state.is_world_process_zero:
                _log.info("Step %d: %s", state.global_step, ", ".join(f"{name} {value:.4f}" for name, value in values.items()))
            return
        should_log = control.should_log  # trainer.log resets it, although the trainer's own numbers may still be due
        self._trainer.log(dict(values))
        control.should_log = should_log


class DeadLatentsCallback(LoggingCallback):
    """Logs the share of dead latents, ``dead_latents``, whenever the trainer logs its loss.

    A latent is dead if it was not active in the last ``dead_after_tokens`` tokens of the encoder. ``TokenReconstructionLoss``
    counts them over all processes.

    Args:
        warn_above: share above which a warning is logged, once; None for no warning.

    Raises:
        ConfigError: ``warn_above`` is no share.
    """

    def __init__(self, warn_above: float | None = None) -> None:
        super().__init__()
        if warn_above is not None and not 0 <= warn_above <= 1:
            raise ConfigError(f"warn_above is {warn_above}, but must be a share, from 0 to 1, or None.")
        self.warn_above = warn_above
        self._warned = False

    def on_log(self, args: Any, state: Any, control: Any, model: Any = None, logs: Any = None, **kwargs: Any) -> None:
        """Logs the share beside the loss."""
        if "loss" not in (logs or {}):
            return
        encoder, _ = own_modules(model)
        share = float(encoder.dead_latents().float().mean())
        self.log(state, control, {"dead_latents": share})
        if self.warn_above is not None and share > self.warn_above and not self._warned and state.is_world_process_zero:
            self._warned = True
            _log.warning(
                "%.1f%% of the latents were not active in the last %d tokens. A larger k_aux or weight of the auxiliary loss, "
                "a lower learning rate, or center_on before training may help.",
                100 * share,
                encoder.dead_after_tokens,
            )


class BM25ProbeCallback(LoggingCallback):
    """Measures BM25 retrieval on a small collection before, while and after training, and logs its nDCG.

    The number is named as the evaluator names its primary metric: ``probe_bm25_ndcg@10``. The first process measures, while
    others wait at their next step, so the collection should be small: some hundred documents. Weights, gradients, random
    numbers and modes of the model are left as they were.

    Args:
        queries: query id -> text.
        corpus: document id -> text.
        relevant_docs: query id -> ids of relevant documents.
        evaluator: an evaluator with a ``primary_metric``, instead of the three.
        every_steps: optimizer steps from one measurement to the next.

    Raises:
        ArgumentError: neither a collection nor an evaluator, or both.
        ConfigError: ``every_steps`` is below 1.
    """

    def __init__(
        self,
        queries: Mapping[str, str] | None = None,
        corpus: Mapping[str, str] | None = None,
        relevant_docs: Mapping[str, set[str]] | None = None,
        *,
        evaluator: Any = None,
        every_steps: int = 500,
    ) -> None:
        super().__init__()
        given = [part is not None for part in (queries, corpus, relevant_docs)]
        if evaluator is not None and any(given) or evaluator is None and not all(given):
            raise ArgumentError("The probe needs queries, corpus and relevant_docs, or instead of them an evaluator.")
        if every_steps < 1:
            raise ConfigError(f"every_steps is {every_steps}, but must be at least 1.")
        self.every_steps = every_steps
        self._measured_at: int | None = None
        self.evaluator = evaluator
        if queries is not None and corpus is not None and relevant_docs is not None:
            from lexite.integrations.sentence_transformers.evaluation import BM25InformationRetrievalEvaluator

            self.evaluator = BM25InformationRetrievalEvaluator(dict(queries), dict(corpus), dict(relevant_docs), name="probe")

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Measures what training starts from."""
        if state.global_step == 0:
            self._measure(state, control, model)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Measures where it is time."""
        if state.global_step % self.every_steps == 0:
            self._measure(state, control, model)

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Measures the result."""
        if self._measured_at != state.global_step:
            self._measure(state, control, model)

    def _measure(self, state: Any, control: Any, model: Any) -> None:
        self._measured_at = state.global_step
        if not state.is_world_process_zero:
            return
        model = unwrap(model)
        modes = {module: module.training for module in model.modules()}
        model.eval()
        try:
            metrics = self.evaluator(model, output_path=None, epoch=state.epoch or 0, steps=state.global_step)
        finally:
            for module, training in modes.items():
                module.training = training
        name = self.evaluator.primary_metric
        self.log(state, control, {name: float(metrics[name])})


class SamplerEpochCallback(TrainerCallback):
    """Tells a batch sampler the epoch when training in several processes goes on from a checkpoint.

    A trainer that resumes within a later epoch wraps its batches once more. Then the epoch does not reach the sampler, which
    would repeat the batches of the first epoch. This concerns the library's own samplers and ``TokenBudgetBatchSampler``.
    """

    def on_epoch_begin(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **kwargs: Any) -> None:
        """Passes the epoch on through all wrappers."""
        sampler = getattr(train_dataloader, "batch_sampler", None)
        while sampler is not None:
            if hasattr(sampler, "set_epoch"):
                sampler.set_epoch(int(state.epoch or 0))
            sampler = getattr(sampler, "batch_sampler", None)
