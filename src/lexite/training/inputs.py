"""Token states on their way into a step: scaled as the configuration says, then centred."""

from __future__ import annotations

import torch

from lexite.kernels.accelerator import on_cpu
from lexite.kernels.numbers import number
from lexite.kernels.sparse import Centred, centre
from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.sae.folding import fold_input_scale
from lexite.sae.normalisation import average_norm_scale, normalise
from lexite.sae.rules.base import Tensors


class Inputs:
    """Scales and centres token states (see :mod:`lexite.sae.normalisation`).

    Args:
        sae: says how.
        device: where the tensors are.

    Attributes:
        tensors: ``input_scale`` (), the factor of ``expected_average_only_in``; 1 otherwise.
    """

    def __init__(self, sae: SAEConfig, device: str | torch.device) -> None:
        self.kind, self.d_model = sae.normalize_activations, sae.d_model
        self.tensors: Tensors = {"input_scale": torch.ones((), dtype=torch.float64, device=device)}
        self._centred = Centred.empty(0, sae.d_model)  # made at the first step, for its number of tokens

    @property
    def has_factor(self) -> bool:
        """Whether one factor scales all states; it is folded into the weights of the finished autoencoder."""
        return self.kind == "expected_average_only_in"

    def measure(self, states: torch.Tensor) -> None:
        """Takes the factor from the first states, (n, d_model) fp32, where there is one."""
        if self.has_factor:
            scale = average_norm_scale(float(states.norm(dim=1).mean()), self.d_model)
            self.tensors["input_scale"].fill_(scale)

    def scaled(self, states: torch.Tensor) -> torch.Tensor:
        """States (n, d_model) as the autoencoder sees them."""
        if self.kind == "none":
            return states
        if self.has_factor:
            return states.float() * number(self.tensors["input_scale"])
        return normalise(states.float(), self.kind)[0] if len(states) else states.float()

    def centred(self, scaled: torch.Tensor, bias: torch.Tensor) -> Centred:
        """Scaled states without the decoder's bias, (d_model,); memory that the next call uses again."""
        if on_cpu(scaled) and len(self._centred.states) != len(scaled):
            self._centred = Centred.empty(len(scaled), self.d_model)
        return centre(scaled, bias, self._centred)

    def folded(self, autoencoder: SparseAutoencoder) -> SparseAutoencoder:
        """An autoencoder of scaled states as one of the states themselves."""
        return fold_input_scale(autoencoder, float(self.tensors["input_scale"])) if self.has_factor else autoencoder
