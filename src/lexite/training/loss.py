"""The loss of a batch and its gradients: reconstruction, the rule's terms, FLOPS, a wider code, and the auxiliary loss."""

from __future__ import annotations

from dataclasses import replace

import torch

from lexite.kernels.gradients import LatentGradients, Reconstruction, latent_gradients, reconstruct
from lexite.kernels.numbers import Number, at_least, number
from lexite.kernels.ranks import ALONE, Ranks
from lexite.kernels.rescaling import to_free
from lexite.kernels.slots import Slots
from lexite.kernels.sparse import Centred
from lexite.sae import SAEConfig
from lexite.sae.objective import ObjectiveConfig
from lexite.sae.rules.base import Rule, Tensors, View
from lexite.training.auxiliary import Auxiliary
from lexite.training.batches import Batch, Moment
from lexite.training.config import TrainingConfig
from lexite.training.exchange import exchanged
from lexite.training.flops import add_flops
from lexite.training.nested import prefix_groups
from lexite.training.results import Gradients, variance_and_squares
from lexite.training.trackers import Trackers
from lexite.training.weights import Weights


class Loss:
    """Gives codes, terms of the loss and gradients of a batch.

    Args:
        sae: sizes, and whether the decoder's bias is subtracted from the input.
        objective: terms of the loss.
        config: the auxiliary loss, and the seed of nested dictionaries that are drawn.
        rule: chooses latents and may add terms.
        weights: what the gradients are by.
        trackers: which latents are dead or rare.
        tensors: all tensors of the run, for the rule.
        ranks: the processes that share each batch.

    Attributes:
        auxiliary: the auxiliary loss.
    """

    def __init__(
        self,
        sae: SAEConfig,
        objective: ObjectiveConfig,
        config: TrainingConfig,
        rule: Rule,
        weights: Weights,
        trackers: Trackers,
        tensors: Tensors,
        ranks: Ranks = ALONE,
    ) -> None:
        self.sae, self.objective, self.rule, self.weights, self.tensors = sae, objective, rule, weights, tensors
        self.ranks = ranks
        self.auxiliary = Auxiliary(sae, objective, config, rule, trackers, ranks)
        self._seed = config.seed
        self._device = weights.tensors["decoder_bias"].device
        self._groups = self._draw_groups(0)
        self._plain = torch.zeros_like(self._groups)
        self._pass = Reconstruction.empty(0, 1, sae.d_model)  # made at the first batch, for its number of tokens
        self._gradients = LatentGradients.empty(sae.n_latents, sae.d_model, self._device)

    def gradients(self, batch: Batch, scaled: torch.Tensor, centred: Centred, moment: Moment, step: int) -> Gradients:
        """Codes, terms of the loss and gradients of a batch.

        Args:
            batch: the states, and passages where the batch is made of whole ones.
            scaled: (n, d_model) the states as the autoencoder sees them.
            centred: the same without the decoder's bias.
            moment: where the anneals stand.
            step: number of the step; decides which prefixes are drawn.
        """
        variance, squares = variance_and_squares(centred, self.tensors["decoder_bias"], batch.n_tokens, self.ranks)
        # A batch of (nearly) equal states has no variance to explain; the floor keeps its gradients finite.
        scale = 1 / at_least(variance, 1e-6 * squares, 1e-12)
        if self.objective.matryoshka == "sampled":
            self._groups = self._draw_groups(step)
        inputs = centred.states if self.sae.apply_b_dec_to_input else scaled.float()
        view = self._set_up(self._view(inputs, centred.states, scale, batch, moment))
        return exchanged(self._of(view, centred.states, variance), self.ranks)

    def _draw_groups(self, step: int) -> torch.Tensor:
        groups = prefix_groups(self.objective, self.sae.n_latents, step, self._seed)
        self._prefixes = int(groups[-1]) + 1
        return groups.to(self._device)

    def _view(
        self,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        scale: Number,
        batch: Batch,
        moment: Moment,
    ) -> View:
        """What the rule sees of a step: ``inputs`` are encoded, ``targets`` reconstructed."""
        weights = self.weights.effective

        def with_atoms_held(slots: Slots, values: torch.Tensor) -> Reconstruction:
            return reconstruct(targets, slots, values, weights.atoms, self._plain, scale, prefixes=1)

        return View(
            inputs,
            self.weights.product,
            weights.encoder,
            weights.bias,
            weights.atoms,
            self.tensors,
            self.sae.k if moment.k is None else moment.k,
            scale,
            moment.sparsity,
            moment.p,
            batch.offsets,
            with_atoms_held,
            batch.n_tokens,
            self.ranks,
        )

    def _set_up(self, view: View) -> View:
        """Lets the rule set itself up on the first batch of a run."""
        if bool(self.tensors["rule_started"]):
            return view
        self.rule.start(view)
        self.tensors["rule_started"].fill_(1)
        self.weights.refresh()
        product, new = self.weights.product, self.weights.effective
        return replace(view, product=product, encoder_weight=new.encoder, encoder_bias=new.bias, decoder_weight=new.atoms)

    def _of(self, view: View, targets: torch.Tensor, variance: Number) -> Gradients:
        rule, out, groups = self.rule, self._gradients, self._groups
        selection = rule.select(view)
        slots, values = selection.slots, rule.activate(view, selection)
        self._pass = main = reconstruct(
            targets, slots, values, view.decoder_weight, groups, view.scale, self._pass, prefixes=self._prefixes
        )
        losses = {"fvu": view.scale * number(main.squared.sum(dtype=torch.float64)) / main.squared.shape[1]}
        losses |= rule.penalties(view, slots, values, main.gradients)
        flops = self.objective.flops_coefficient
        text_share = add_flops(view, selection, values, flops, self.tensors["text_share"], main.gradients, losses)
        backward = rule.backward(view, selection, values, main.gradients)
        losses |= backward.losses
        derivatives = backward.preactivations
        wider = rule.wider_code(selection)
        if wider is not None:
            weight = wider.weight * view.scale
            second = reconstruct(targets, slots, wider.values, view.decoder_weight, self._plain, weight, prefixes=1)
            losses[wider.name] = weight * number(second.squared.sum(dtype=torch.float64))
            derivatives = derivatives + torch.where(wider.values > 0, second.gradients, 0.0)
        latent_gradients(view.states, slots, values, derivatives, main.errors, groups, view.scale, out)
        offset = 2 * view.scale * main.totals.sum(0)
        if wider is not None:
            weight, nothing = wider.weight * view.scale, torch.zeros_like(wider.values)
            latent_gradients(view.states, slots, wider.values, nothing, second.errors, self._plain, weight, out, more=True)
            offset += 2 * weight * second.totals.sum(0)
        own = backward.parameters
        own_bias = own.pop("encoder_bias", None)
        n_dead = self.auxiliary.add(view, main.whole_errors, out, own_bias, losses)
        if self.sae.apply_b_dec_to_input:  # the bias enters twice: added to the reconstruction, subtracted from the input
            offset -= out.bias @ view.encoder_weight
        if own_bias is not None:
            out.bias.copy_(own_bias)
        if self.weights.rescaled:
            to_free(out, self.tensors["encoder_weight"], self.tensors["encoder_bias"], self.weights.effective)
        error = number(main.squared[:, -1].sum(dtype=torch.float64))
        return Gradients(out, offset, own, losses, view, selection, values, error, variance, n_dead, text_share)
