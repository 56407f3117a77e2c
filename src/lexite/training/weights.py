"""The weights of a run: how they begin, the form in which a step reads them, and the autoencoder that they make."""

from __future__ import annotations

import logging
import math
from typing import Literal

import torch

from lexite.kernels.product import EncoderProduct
from lexite.kernels.rescaling import Effective, effective
from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.sae.objective import ObjectiveConfig
from lexite.sae.rules.base import Finished, Rule, Tensors
from lexite.training.starting import fit_decoder

logger = logging.getLogger("lexite")
PARAMETERS = ("encoder_weight", "encoder_bias", "decoder_weight", "decoder_bias")


class Weights:
    """The parameters of an autoencoder in training, those of its rule, and the wide product over them.

    Args:
        sae: sizes.
        objective: whether the norms of atoms are free, and whether activations are rescaled by them.
        rule: its tensors are kept here.
        seed: of the random weights.
        product_dtype: number format of the wide product.
        device: where the tensors are.

    Attributes:
        tensors: the four parameters, and what the rule trains or tracks, by name. Steps change them in place. All are on the
            device but ``rule_started``, by which the host decides.
        trained: names of the tensors that the optimizer moves.
        free: whether atoms may have any norm; else they have unit norm.
        rescaled: whether atoms are free and activations are multiplied by their norms.
        effective: encoder, bias and atoms as a step reads them: W ‖d‖, b ‖d‖ and d / ‖d‖ where ``rescaled``, else the tensors
            themselves.
        product: the product of states with the effective encoder.
    """

    effective: Effective
    product: EncoderProduct

    def __init__(
        self,
        sae: SAEConfig,
        objective: ObjectiveConfig,
        rule: Rule,
        seed: int,
        product_dtype: torch.dtype,
        device: str | torch.device,
    ) -> None:
        self.sae, self.rule, self.product_dtype = sae, rule, product_dtype
        self.free = not objective.normalize_decoder
        self.rescaled = self.free and objective.rescale_acts_by_decoder_norm
        fresh = random_weights(sae, objective.decoder_init_norm if self.free else 1.0, seed)
        fresh |= {"rule_started": torch.zeros((), dtype=torch.uint8), **rule.tensors()}
        self.tensors: Tensors = {
            name: tensor if name == "rule_started" else tensor.to(device) for name, tensor in fresh.items()
        }
        self.trained = (*PARAMETERS, *rule.parameters)
        self._begun_from: SparseAutoencoder | None = None
        self.refresh()

    def refresh(self) -> None:
        """Makes the effective weights and the product anew, after anything but the optimizer has changed the tensors."""
        encoder, bias, decoder = (self.tensors[name] for name in PARAMETERS[:3])
        if self.rescaled:
            self.effective = effective(encoder, bias, decoder)
        else:
            self.effective = Effective(encoder, bias, decoder, torch.ones_like(bias))
        self.product = EncoderProduct(self.effective.encoder, self._product_bias(), self.product_dtype)

    def follow(self) -> None:
        """Brings the effective weights and the product's bias up to date after a step of the optimizer.

        Without rescaling, the optimizer itself writes the encoder into :attr:`mirror`.
        """
        if self.rescaled:
            encoder, bias, decoder = (self.tensors[name] for name in PARAMETERS[:3])
            self.effective = effective(encoder, bias, decoder, self.effective, self.product.matrix)
        self.product.set_bias(self._product_bias())

    @property
    def mirror(self) -> torch.Tensor | None:
        """The product's matrix, where it holds the encoder's weights as they are."""
        return None if self.rescaled else self.product.matrix

    def _product_bias(self) -> torch.Tensor:
        name = self.rule.product_bias
        return self.effective.bias if name == "encoder_bias" else self.tensors[name]

    @property
    def random(self) -> bool:
        """Whether the run began with random weights."""
        return self._begun_from is None

    def start_from(self, autoencoder: SparseAutoencoder) -> None:
        """Copies the weights of a trained autoencoder of the same size; see :meth:`complete` for one without a decoder."""
        tensors = {
            "encoder_weight": autoencoder.encoder_weight,
            "encoder_bias": autoencoder.encoder_bias,
            "decoder_weight": autoencoder.decoder_weight,
            "decoder_bias": autoencoder.decoder_bias,
        }
        for name, tensor in tensors.items():
            if tensor is not None:
                self.tensors[name].copy_(tensor)
        self._begun_from = autoencoder
        self.refresh()

    def complete(self, states: torch.Tensor) -> None:
        """Fits a decoder to states (n, d_model), as the autoencoder sees them, where the run began from weights without one."""
        if self._begun_from is not None and self._begun_from.decoder_weight is None:
            logger.info("The vocabulary was saved without its decoder. A new one is fitted to the first token states.")
            self.tensors["decoder_weight"].copy_(fit_decoder(self._begun_from, states))
            self.refresh()

    def autoencoder(self, finished: Finished) -> SparseAutoencoder:
        """The autoencoder as it stands, with tensors of its own.

        Args:
            finished: how it chooses latents, as the rule says.
        """
        encoder = self.effective.encoder
        if finished.encoder_factor is not None:
            encoder = encoder * finished.encoder_factor[:, None]
        return SparseAutoencoder(
            self.sae,
            encoder.clone(),
            self.effective.bias.clone(),
            self.effective.atoms.clone(),
            self.tensors["decoder_bias"].clone(),
            activation=finished.activation,
            thresholds=finished.thresholds,
            precision=self._precision,
        )

    @property
    def _precision(self) -> Literal["bf16", "fp32"]:
        return "bf16" if self.product_dtype == torch.bfloat16 else "fp32"


def random_weights(sae: SAEConfig, norm: float, seed: int) -> Tensors:
    """The four parameters before the first step: random atoms, the encoder as their transpose, biases of zero.

    Args:
        sae: sizes.
        norm: of each atom.
        seed: of the random numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    bound = math.sqrt(3.0 / sae.d_model)  # Kaiming's uniform bound for a linear layer; the norm is set right away
    atoms = torch.rand(sae.n_latents, sae.d_model, generator=generator).mul_(2 * bound).sub_(bound)
    atoms.div_(atoms.norm(dim=1, keepdim=True)).mul_(norm)
    return {
        "encoder_weight": atoms.clone(),
        "encoder_bias": torch.zeros(sae.n_latents),
        "decoder_weight": atoms,
        "decoder_bias": torch.zeros(sae.d_model),
    }
