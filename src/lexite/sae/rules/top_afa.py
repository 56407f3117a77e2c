"""top-AFA: as many latents as the norm of the state asks for (arXiv 2503.24277, section 4).

Activations are sorted by falling value; the shortest run whose norm comes nearest to ‖x - b_dec‖ is kept. The loss gets the
AFA term, ``λ (‖f‖ - ‖x - b_dec‖)²``, which teaches activations to have that norm. Neither the Gram matrix of the dictionary
nor a full sort is needed; see :func:`lexite.sae.activations.top_afa`.
"""

from __future__ import annotations

import torch

from lexite.kernels.accelerator import on_cpu
from lexite.kernels.numbers import Number, number
from lexite.kernels.slots import Slots
from lexite.sae import activations
from lexite.sae.rules.base import Finished, Rule, Selection, Tensors, View


class TopAFA(Rule):
    """The largest activations, as many as bring their joint norm nearest to the state's."""

    def select(self, view: View) -> Selection:
        """As at use."""
        if not len(view.states):  # other ranks have the batch
            nothing = view.states.new_empty(0, 1)
            return Selection(Slots.of_rows(nothing.int()), nothing.squeeze(1))
        encoder = activations.Encoder(view.product, view.encoder_weight, view.encoder_bias, None)
        parts: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

        def fill(rows: slice) -> None:
            with torch.no_grad():
                parts[rows.start] = activations.top_afa(encoder, view.states[rows], view.product.n_latents)

        blocks = view.product.for_each_block(len(view.states), fill)
        ordered = [parts[rows.start] for rows in blocks]
        slots = Slots.joined([Slots.of_rows(indices) for _, indices in ordered])
        if not on_cpu(view.states):  # slots that are not used stay
            return Selection(slots, torch.cat([values.reshape(-1) for values, _ in ordered]))
        return Selection(slots, torch.cat([values[indices >= 0] for values, indices in ordered]))

    def penalties(self, view: View, slots: Slots, values: torch.Tensor, gradients: torch.Tensor) -> dict[str, Number]:
        """The AFA term; the state's norm is a constant in it."""
        coefficient = self.objective.afa_coefficient
        if not coefficient:
            return {}
        tokens = slots.tokens
        norms = torch.zeros(slots.n_tokens, device=values.device).index_add_(0, tokens, values.square()).sqrt_()
        excess = norms - view.states.norm(dim=1)
        gradients += 2 * coefficient * view.scale * (excess / norms.clamp(min=1e-12))[tokens] * values
        return {"afa": coefficient * view.scale * number(excess.double().square().sum())}

    def finish(self, tensors: Tensors) -> Finished:
        """The same."""
        return Finished("top_afa")
