"""One optimizer step of a sparse autoencoder, put together from the parts of a run."""

from __future__ import annotations

import torch

from lexite.errors import ConfigError
from lexite.kernels.numbers import number
from lexite.kernels.ranks import ALONE, Ranks
from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.sae.objective import ObjectiveConfig
from lexite.sae.rules import make_rule
from lexite.sae.rules.base import Tensors
from lexite.training.batches import Batch, Moment
from lexite.training.config import TrainingConfig
from lexite.training.inputs import Inputs
from lexite.training.loss import Loss
from lexite.training.optimizer import Optimizer
from lexite.training.results import Gradients, StepMetrics
from lexite.training.trackers import Trackers
from lexite.training.weights import Weights


class TrainingState:
    """All that a step reads and changes.

    Args:
        sae: sizes and rule.
        config: the recipe.
        product_dtype: number format of the wide products.
        device: where to train.
        objective: terms of the loss and settings of the rule.
        ranks: the processes that share each batch.

    Attributes:
        device: where it trains.
        rule: chooses the latents.
        weights: parameters, and the form in which a step reads them.
        optimizer: moments, and the count of steps.
        trackers: what is counted about each latent.
        inputs: the scale of the states.
        loss: gives the gradients of a batch.
        tensors: the tensors of all these parts by name, which is what a checkpoint holds. Steps change them in place.

    Raises:
        ConfigError: the rule does not exist, or settings do not fit together.
    """

    def __init__(
        self,
        sae: SAEConfig,
        config: TrainingConfig,
        product_dtype: torch.dtype,
        device: str | torch.device = "cpu",
        objective: ObjectiveConfig | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.ranks = ranks
        self.sae, self.config, self.objective = sae, config, objective or ObjectiveConfig()
        self.device = torch.device(device)
        self.rule = make_rule(sae, self.objective)
        _check(sae, self.objective)
        self.weights = Weights(sae, self.objective, self.rule, config.seed, product_dtype, device)
        self.optimizer = Optimizer(self.weights, self.rule, config)
        self.trackers = Trackers(sae.n_latents, config.dead_after_tokens, device)
        self.inputs = Inputs(sae, device)
        self.tensors: Tensors = {
            **self.weights.tensors,
            **self.optimizer.tensors,
            **self.trackers.tensors,
            **self.inputs.tensors,
        }
        self.loss = Loss(sae, self.objective, config, self.rule, self.weights, self.trackers, self.tensors, ranks)

    @property
    def steps(self) -> int:
        """Steps so far."""
        return self.optimizer.steps

    @property
    def needs_passages(self) -> bool:
        """Whether batches must be made of whole passages."""
        return self.rule.needs_passages or self.objective.flops_coefficient > 0

    def start_from(self, autoencoder: SparseAutoencoder) -> None:
        """Takes the weights of a trained autoencoder of the same size; :meth:`look_at` fits a decoder that it lacks."""
        self.weights.start_from(autoencoder)

    def look_at(self, states: torch.Tensor) -> None:
        """Sets up the run on the first states, (n, d_model).

        Random weights get the mean state as the decoder's bias, and the states' scale where it is needed. The weights of a
        trained autoencoder (:meth:`start_from`) keep their bias, and get a decoder if they have none.
        """
        states = states.to(self.device)
        if self.weights.random:
            states = states.float()
            self.inputs.measure(states)
            self.tensors["decoder_bias"].copy_(self.inputs.scaled(states).float().mean(0))
        else:
            self.weights.complete(self.inputs.scaled(states))

    def restore(self, tensors: Tensors, steps: int) -> None:
        """Brings back the tensors of an earlier state."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])
        self.optimizer.steps = steps
        self.loss.auxiliary.forget()
        self.weights.refresh()

    def autoencoder(self) -> SparseAutoencoder:
        """The autoencoder as it stands, with weights of its own and all factors folded in."""
        finished = self.rule.finish({**self.tensors, "encoder_bias": self.weights.effective.bias})
        return self.inputs.folded(self.weights.autoencoder(finished))

    @torch.no_grad()
    def step(self, batch: Batch | torch.Tensor, learning_rate: float, moment: Moment | None = None) -> StepMetrics:
        """One step of AdamW on the loss.

        Args:
            batch: states, and passages where the rule or a term of the loss needs them.
            learning_rate: of this step.
            moment: where the anneals stand; their end by default.
        """
        gradients = self.gradients(batch, moment)
        n, active = gradients.view.n_tokens, gradients.latents.active
        total = number(active.sum())
        norm = self.optimizer.norm(gradients)
        self.trackers.count(active, n, gradients.text_share)
        self.optimizer.update(gradients, norm, learning_rate)
        self.rule.observe(gradients.view, gradients.selection, gradients.values)
        error, variance = gradients.squared_error, gradients.variance
        return StepMetrics(error, variance, total, n, gradients.losses, norm, gradients.n_dead)

    @torch.no_grad()
    def gradients(self, batch: Batch | torch.Tensor, moment: Moment | None = None) -> Gradients:
        """Codes, losses and gradients of a batch. Weights stay as they are, unless a rule sets itself up.

        Args:
            batch: as for :meth:`step`.
            moment: as for :meth:`step`.
        """
        batch = Batch(batch) if isinstance(batch, torch.Tensor) else batch
        scaled = self.inputs.scaled(batch.states.to(self.device))  # as they are: bf16 is half the way of fp32
        centred = self.inputs.centred(scaled, self.tensors["decoder_bias"])
        return self.loss.gradients(batch, scaled, centred, moment or Moment(), self.steps)


def _check(sae: SAEConfig, objective: ObjectiveConfig) -> None:
    """Refuses settings that do not fit the size of the dictionary, before anything is done."""
    objective.widths(sae.n_latents)
    start = objective.k_anneal_from
    if start is not None and start > sae.n_latents:
        raise ConfigError(f"k_anneal_from is {start}, but there are only {sae.n_latents} latents.")
