"""One optimizer step of a sparse autoencoder, and the state that it changes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import torch

from lexite.errors import ConfigError
from lexite.kernels.adam import AdamStep, remove_parallel, update_rows
from lexite.kernels.gradients import LatentGradients, Reconstruction, latent_gradients, reconstruct
from lexite.kernels.product import EncoderProduct
from lexite.kernels.rescaling import Effective, effective, to_free
from lexite.kernels.slots import Slots
from lexite.kernels.sparse import Centred, centre
from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.sae.folding import fold_input_scale
from lexite.sae.normalisation import average_norm_scale, normalise
from lexite.sae.objective import ObjectiveConfig
from lexite.sae.rules import make_rule
from lexite.sae.rules.base import Selection, View
from lexite.training.auxiliary import auxiliary_gradients, under_used
from lexite.training.batches import Batch, Moment
from lexite.training.config import TrainingConfig
from lexite.training.flops import flops_term
from lexite.training.nested import prefix_groups
from lexite.training.results import Gradients, StepMetrics, variance_and_squares
from lexite.training.starting import fit_decoder

BETA1, BETA2 = 0.9, 0.999
EPSILON = 6.25e-10  # Gao et al. 2024: small beside the gradients of a normalised loss
PARAMETERS = ("encoder_weight", "encoder_bias", "decoder_weight", "decoder_bias")


class TrainingState:
    """Weights, moments and counters of a run: all that a step reads and changes.

    Args:
        sae: sizes and rule.
        config: the recipe.
        product_dtype: number format of the wide products.
        device: where to train.
        objective: terms of the loss and settings of the rule.

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
    ) -> None:
        self.sae, self.config, self.objective = sae, config, objective or ObjectiveConfig()
        self.rule = make_rule(sae, self.objective)
        self.free = not self.objective.normalize_decoder
        self.rescaled = self.free and self.objective.rescale_acts_by_decoder_norm
        self.objective.widths(sae.n_latents)  # refuses what does not fit before anything is done
        start = self.objective.k_anneal_from
        if start is not None and start > sae.n_latents:
            raise ConfigError(f"k_anneal_from is {start}, but there are only {sae.n_latents} latents.")
        self.tensors = {name: tensor.to(device) for name, tensor in self._fresh().items()}
        self.trained = (*PARAMETERS, *self.rule.parameters)
        for name in self.trained:
            for moment in ("first", "second"):
                self.tensors[f"{moment}.{name}"] = torch.zeros_like(self.tensors[name])
        self.steps = 0
        self._started_from: SparseAutoencoder | None = None
        self.product_dtype = product_dtype
        self._groups = prefix_groups(self.objective, sae.n_latents, 0, config.seed).to(device)
        self._plain = torch.zeros_like(self._groups)
        self._refresh_product()
        self._centred = Centred.empty(0, sae.d_model)  # both are made at the first step, for its number of tokens
        self._pass = Reconstruction.empty(0, 1, sae.d_model)
        self._gradients = LatentGradients.empty(sae.n_latents, sae.d_model, device)

    def _fresh(self) -> dict[str, torch.Tensor]:
        """All tensors as they are before the first step."""
        n_latents, d_model = self.sae.n_latents, self.sae.d_model
        generator = torch.Generator().manual_seed(self.config.seed)
        bound = math.sqrt(3.0 / d_model)  # Kaiming's uniform bound for a linear layer; the norm is set right away
        atoms = torch.rand(n_latents, d_model, generator=generator).mul_(2 * bound).sub_(bound)
        atoms.div_(atoms.norm(dim=1, keepdim=True))
        if self.free:
            atoms.mul_(self.objective.decoder_init_norm)
        return {
            "encoder_weight": atoms.clone(),
            "encoder_bias": torch.zeros(n_latents),
            "decoder_weight": atoms,
            "decoder_bias": torch.zeros(d_model),
            "tokens_since_active": torch.zeros(n_latents, dtype=torch.int64),
            "tokens_seen": torch.zeros((), dtype=torch.int64),
            "density": torch.zeros(n_latents, dtype=torch.float64),
            "text_share": torch.zeros(n_latents, dtype=torch.float64),
            "input_scale": torch.ones((), dtype=torch.float64),
            "rule_started": torch.zeros((), dtype=torch.uint8),
            **self.rule.tensors(),
        }

    @property
    def needs_passages(self) -> bool:
        """Whether batches must be made of whole passages."""
        return self.rule.needs_passages or self.objective.flops_coefficient > 0

    @property
    def auxiliary(self) -> str:
        """Which latents learn from what is left over: "none", "dead" or "zipf"."""
        chosen = self.objective.auxiliary
        if chosen == "none" or not self.config.aux_loss_coefficient:
            return "none"
        return self.rule.auxiliary if chosen == "auto" else chosen

    def _refresh_product(self) -> None:
        """Makes the effective weights and the product anew, when weights were changed by other than a step."""
        encoder, bias, decoder = (self.tensors[name] for name in PARAMETERS[:3])
        if self.rescaled:
            self.weights = effective(encoder, bias, decoder)
        else:  # the tensors themselves: steps change them in place
            self.weights = Effective(encoder, bias, decoder, torch.ones_like(bias))
        self.product = EncoderProduct(self.weights.encoder, self._product_bias(), self.product_dtype)

    def _product_bias(self) -> torch.Tensor:
        name = self.rule.product_bias
        return self.weights.bias if name == "encoder_bias" else self.tensors[name]

    def start_from(self, autoencoder: SparseAutoencoder) -> None:
        """Takes the weights of a trained autoencoder of the same size; a decoder that it lacks is fitted later."""
        tensors = {
            "encoder_weight": autoencoder.encoder_weight,
            "encoder_bias": autoencoder.encoder_bias,
            "decoder_weight": autoencoder.decoder_weight,
            "decoder_bias": autoencoder.decoder_bias,
        }
        for name, tensor in tensors.items():
            if tensor is not None:
                self.tensors[name].copy_(tensor)
        self._started_from = autoencoder
        self._refresh_product()

    def look_at(self, states: torch.Tensor) -> None:
        """Takes from the first states, (n, d_model), what a run starts with.

        Random weights get the states' mean as the decoder's bias, and their scale where it is needed; weights of a trained
        autoencoder (:meth:`start_from`) keep their bias, and get a decoder if they have none.
        """
        if self._started_from is not None:
            if self._started_from.decoder_weight is None:
                self.tensors["decoder_weight"].copy_(fit_decoder(self._started_from, self._prepared(states)))
                self._refresh_product()
            return
        states = states.float()
        if self.sae.normalize_activations == "expected_average_only_in":
            scale = average_norm_scale(float(states.norm(dim=1).mean()), self.sae.d_model)
            self.tensors["input_scale"].fill_(scale)
        self.tensors["decoder_bias"].copy_(self._prepared(states).float().mean(0))

    def _prepared(self, states: torch.Tensor) -> torch.Tensor:
        """States as the autoencoder sees them."""
        kind = self.sae.normalize_activations
        if kind == "none":
            return states
        if kind == "expected_average_only_in":
            return states.float() * float(self.tensors["input_scale"])
        return normalise(states.float(), kind)[0]

    def restore(self, tensors: dict[str, torch.Tensor], steps: int) -> None:
        """Brings back the tensors of an earlier state."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])
        self.steps = steps
        self._refresh_product()

    def autoencoder(self) -> SparseAutoencoder:
        """The autoencoder as it stands, with weights of its own and all factors folded in."""
        encoder, bias, decoder = self.weights.encoder, self.weights.bias, self.weights.atoms
        finished = self.rule.finish({**self.tensors, "encoder_bias": bias})
        if finished.encoder_factor is not None:
            encoder = encoder * finished.encoder_factor[:, None]
        sae = SparseAutoencoder(
            replace(self.sae, normalize_activations="none") if self._scaled else self.sae,
            encoder.clone(),
            bias.clone(),
            decoder.clone(),
            self.tensors["decoder_bias"].clone(),
            activation=finished.activation,
            thresholds=finished.thresholds,
            precision=self._precision,
        )
        return fold_input_scale(sae, float(self.tensors["input_scale"])) if self._scaled else sae

    @property
    def _scaled(self) -> bool:
        return self.sae.normalize_activations == "expected_average_only_in"

    @property
    def _precision(self) -> Literal["bf16", "fp32"]:
        return "bf16" if self.product_dtype == torch.bfloat16 else "fp32"

    @torch.no_grad()
    def step(self, batch: Batch | torch.Tensor, learning_rate: float, moment: Moment | None = None) -> StepMetrics:
        """One step of AdamW on the loss.

        Args:
            batch: states, and passages where the rule or a term of the loss needs them.
            learning_rate: of this step.
            moment: where the anneals stand; their end by default.
        """
        gradients = self.gradients(batch, moment)
        latents, n = gradients.latents, gradients.selection.slots.n_tokens
        active = int(latents.active.sum())
        fired = latents.active > 0
        squared_norm = remove_parallel(self.tensors["decoder_weight"], latents, project=not self.free)
        extra = [gradients.offset, *gradients.rule.values()]
        norm = math.sqrt(squared_norm + sum(float(tensor.square().sum()) for tensor in extra))
        self._count(gradients, fired, n)
        self._update(gradients, norm, learning_rate)
        self.rule.observe(gradients.view, gradients.selection, gradients.values)
        error, variance = gradients.squared_error, gradients.variance
        return StepMetrics(error, variance, active, n, gradients.losses, norm, gradients.n_dead)

    @torch.no_grad()
    def gradients(self, batch: Batch | torch.Tensor, moment: Moment | None = None) -> Gradients:
        """Codes, losses and gradients of a batch. Nothing that is trained is changed, but for a rule that sets itself up.

        Args:
            batch: as for :meth:`step`.
            moment: as for :meth:`step`.
        """
        batch = Batch(batch) if isinstance(batch, torch.Tensor) else batch
        moment = moment or Moment()
        states, bias = self._prepared(batch.states), self.tensors["decoder_bias"]
        if len(self._centred.states) != len(states):
            self._centred = Centred.empty(len(states), self.sae.d_model)
        targets = centre(states, bias, self._centred)
        variance, squares = variance_and_squares(targets, bias)
        # A batch of (nearly) equal states has no variance to explain; the floor keeps its gradients finite.
        scale = 1 / max(variance, 1e-6 * squares, 1e-12)
        if self.objective.matryoshka == "sampled":
            self._groups = prefix_groups(self.objective, self.sae.n_latents, self.steps, self.config.seed).to(bias.device)
        weights = self.weights
        inputs = targets.states if self.sae.apply_b_dec_to_input else states.float()

        def frozen(slots: Slots, values: torch.Tensor) -> Reconstruction:
            return reconstruct(targets.states, slots, values, weights.atoms, self._plain, scale)

        view = View(
            inputs,
            self.product,
            weights.encoder,
            weights.bias,
            weights.atoms,
            self.tensors,
            self.sae.k if moment.k is None else moment.k,
            scale,
            moment.sparsity,
            moment.p,
            batch.offsets,
            frozen,
        )
        return self._gradients_of(view, targets.states, variance)

    def _gradients_of(self, view: View, targets: torch.Tensor, variance: float) -> Gradients:
        view = self._started(view)
        selection = self.rule.select(view)
        slots, values = selection.slots, self.rule.activate(view, selection)
        self._pass = main = reconstruct(targets, slots, values, view.decoder_weight, self._groups, view.scale, self._pass)
        losses = {"fvu": view.scale * float(main.squared.sum(dtype=torch.float64)) / main.squared.shape[1]}
        losses |= self.rule.penalties(view, slots, values, main.gradients)
        text_counts = self._add_flops(view, selection, values, main.gradients, losses)
        backward = self.rule.backward(view, selection, values, main.gradients)
        losses |= backward.losses
        out, groups = self._gradients, self._groups
        derivatives, second = self._more_latents(view, targets, selection, backward.preactivations, losses)
        latent_gradients(view.states, slots, values, derivatives, main.errors, groups, view.scale, out)
        offset = 2 * view.scale * main.totals.sum(0)
        if second is not None:
            weight = self.objective.multi_topk_coefficient * view.scale
            more = torch.relu(selection.preactivations)
            nothing = torch.zeros_like(more)
            latent_gradients(view.states, slots, more, nothing, second.errors, self._plain, weight, out, more=True)
            offset += 2 * weight * second.totals.sum(0)
        own = backward.parameters
        own_bias = own.pop("encoder_bias", None)
        n_dead = self._add_auxiliary(view, main.whole_errors, out, own_bias, losses)
        if self.sae.apply_b_dec_to_input:  # the bias enters twice: added to the reconstruction, subtracted from the input
            offset -= out.bias @ view.encoder_weight
        if own_bias is not None:
            out.bias.copy_(own_bias)
        if self.rescaled:
            to_free(out, self.tensors["encoder_weight"], self.tensors["encoder_bias"], self.weights)
        error = float(main.squared[:, -1].sum(dtype=torch.float64))
        return Gradients(out, offset, own, losses, view, selection, values, error, variance, n_dead, text_counts)

    def _started(self, view: View) -> View:
        """Lets the rule set itself up on the first batch of a run."""
        if bool(self.tensors["rule_started"]):
            return view
        self.rule.start(view)
        self.tensors["rule_started"].fill_(1)
        self._refresh_product()
        new = self.weights
        return replace(view, product=self.product, encoder_weight=new.encoder, encoder_bias=new.bias, decoder_weight=new.atoms)

    def _more_latents(
        self,
        view: View,
        targets: torch.Tensor,
        selection: Selection,
        derivatives: torch.Tensor,
        losses: dict[str, float],
    ) -> tuple[torch.Tensor, Reconstruction | None]:
        """Multi-TopK: the error with all slots that were selected, where the rule activates only the first of them."""
        coefficient = self.objective.multi_topk_coefficient
        if not coefficient or self.sae.rule != "topk":
            return derivatives, None
        more = torch.relu(selection.preactivations)
        second = reconstruct(targets, selection.slots, more, view.decoder_weight, self._plain, coefficient * view.scale)
        losses["multi_topk"] = coefficient * view.scale * float(second.squared.sum(dtype=torch.float64))
        return derivatives + torch.where(more > 0, second.gradients, 0.0), second

    def _add_flops(
        self,
        view: View,
        selection: Selection,
        values: torch.Tensor,
        gradients: torch.Tensor,
        losses: dict[str, float],
    ) -> torch.Tensor | None:
        coefficient = self.objective.flops_coefficient
        if not coefficient or view.offsets is None:
            return None
        share = self.tensors["text_share"]
        term = flops_term(selection.slots, values, view.offsets, share, coefficient * view.sparsity)
        gradients += term.gradients
        losses["flops"] = term.loss
        return term.text_counts / max(len(view.offsets) - 1, 1)

    def _add_auxiliary(
        self,
        view: View,
        errors: torch.Tensor,
        out: LatentGradients,
        own_bias: torch.Tensor | None,
        losses: dict[str, float],
    ) -> int:
        """Adds AuxK or aux_zipf to the gradients; returns the number of dead latents."""
        dead = self.tensors["tokens_since_active"] >= self.config.dead_after_tokens
        n_dead, kind = int(dead.sum()), self.auxiliary
        rows, weights = dead.nonzero().squeeze(1), None
        if kind == "zipf":
            if int(self.tensors["tokens_seen"]) < self.config.dead_after_tokens:  # too early to tell
                return n_dead
            o = self.objective
            rows, weights = under_used(self.tensors["density"], self.sae.k, o.zipf_fraction, o.zipf_exponent, o.zipf_offset)
        if kind == "none" or not len(rows):
            return n_dead
        parts = [tensor[rows] for tensor in (view.encoder_weight, view.encoder_bias, view.decoder_weight)]
        settings = (self.config.k_aux, self.config.aux_loss_coefficient, self.product_dtype, weights)
        extra = auxiliary_gradients(view.states, errors, parts[0], parts[1], parts[2], *settings)
        out.add_rows(rows, extra.encoder, extra.decoder, extra.bias)
        if own_bias is not None:
            own_bias.index_add_(0, rows, extra.bias)
        losses["aux"] = extra.loss
        return n_dead

    def _count(self, gradients: Gradients, fired: torch.Tensor, n: int) -> None:
        """Moves the trackers: tokens since a latent was last active, running densities, running shares of texts."""
        get = self.tensors
        get["tokens_since_active"].add_(n).masked_fill_(fired, 0)
        get["tokens_seen"].add_(n)
        # A plain mean at first, then one over about as many tokens as a latent has before it counts as dead.
        share = max(n / int(get["tokens_seen"]), min(n / self.config.dead_after_tokens, 1.0))
        get["density"].lerp_(gradients.latents.active.double() / n, share)
        if gradients.text_counts is not None:
            get["text_share"].lerp_(gradients.text_counts.double(), share)

    def _update(self, gradients: Gradients, norm: float, learning_rate: float) -> None:
        self.steps += 1
        clip = min(1.0, self.config.clip_norm / (norm + 1e-6)) if self.config.clip_norm else 1.0
        decay = self.config.weight_decay
        matrices = AdamStep(learning_rate, BETA1, BETA2, EPSILON, decay, self.steps, clip)
        vectors = AdamStep(learning_rate, BETA1, BETA2, EPSILON, 0.0, self.steps, clip)
        get, latents = self.tensors, gradients.latents
        parts = {name: (get[name], get[f"first.{name}"], get[f"second.{name}"]) for name in self.trained}
        mirror = None if self.rescaled else self.product.matrix
        update_rows(*parts["encoder_weight"], latents.encoder, latents.counts, matrices, mirror=mirror)
        update_rows(*parts["decoder_weight"], latents.decoder, latents.counts, matrices, unit_norm=not self.free)
        columns = {"encoder_bias": latents.bias, **gradients.rule}
        own = replace(vectors, learning_rate=learning_rate * self.rule.learning_rate_factor)
        for name, gradient in columns.items():
            weight, first, second = (tensor.unsqueeze(1) for tensor in parts[name])
            counts = latents.counts if name == "encoder_bias" else torch.ones_like(latents.counts)
            update_rows(weight, first, second, gradient.unsqueeze(1), counts, vectors if name == "encoder_bias" else own)
        row = [tensor.unsqueeze(0) for tensor in (*parts["decoder_bias"], gradients.offset)]
        update_rows(row[0], row[1], row[2], row[3], torch.ones(1, dtype=torch.int64, device=row[0].device), vectors)
        if self.rescaled:
            free = [get[name] for name in PARAMETERS[:3]]
            self.weights = effective(free[0], free[1], free[2], self.weights, self.product.matrix)
        self.product.set_bias(self._product_bias())
