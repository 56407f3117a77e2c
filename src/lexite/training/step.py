"""One optimizer step of a TopK sparse autoencoder, and the state that it changes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from lexite.kernels.adam import AdamStep, remove_parallel, update_rows
from lexite.kernels.product import EncoderProduct
from lexite.kernels.sparse import Centred, LatentGradients, Reconstruction, centre, latent_gradients, reconstruct
from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.training.auxiliary import auxiliary_gradients
from lexite.training.config import TrainingConfig

BETA1, BETA2 = 0.9, 0.999
EPSILON = 6.25e-10  # Gao et al. 2024: small beside the gradients of a normalised loss
PARAMETERS = ("encoder_weight", "encoder_bias", "decoder_weight", "decoder_bias")


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """What one step measured.

    Attributes:
        squared_error: Σ‖x - x^‖² over the batch.
        variance: Σ‖x - mean(x)‖² over the batch; FVU is the ratio of the two.
        active: active latents, summed over the tokens.
        tokens: tokens in the batch.
        aux_loss: AuxK, coefficient included; 0 while no latent is dead.
        gradient_norm: before clipping.
        n_dead: dead latents before the step.
    """

    squared_error: float
    variance: float
    active: int
    tokens: int
    aux_loss: float
    gradient_norm: float
    n_dead: int


def variance_and_squares(centred: Centred, bias: torch.Tensor) -> tuple[float, float]:
    """Σ‖x - mean(x)‖² and Σ‖x‖² over a batch, from the sums over its centred states c = x - b.

    Σ‖x - mean(x)‖² = Σ‖c‖² - ‖Σc‖² / n, and Σ‖x‖² = Σ‖c‖² + 2 b·Σc + n‖b‖². All in fp64.

    Args:
        centred: of the batch.
        bias: (d_model,), what was subtracted.
    """
    n, total, b = len(centred.states), centred.totals.sum(0).double(), bias.double()
    squared = float(centred.squared.sum(dtype=torch.float64))
    variance = squared - float(total @ total) / max(n, 1)
    return max(variance, 0.0), squared + 2 * float(b @ total) + n * float(b @ b)


class TrainingState:
    """Weights, moments and counters of a run: all that a step reads and changes.

    Args:
        sae: sizes.
        config: the recipe.
        product_dtype: number format of the wide products.
        device: where to train.
    """

    def __init__(
        self, sae: SAEConfig, config: TrainingConfig, product_dtype: torch.dtype, device: str | torch.device = "cpu"
    ) -> None:
        self.sae, self.config = sae, config
        generator = torch.Generator().manual_seed(config.seed)
        bound = math.sqrt(3.0 / sae.d_model)  # Kaiming's uniform bound for a linear layer; the norm is set to 1 right away
        atoms = torch.rand(sae.n_latents, sae.d_model, generator=generator).mul_(2 * bound).sub_(bound)
        atoms.div_(atoms.norm(dim=1, keepdim=True))
        self.tensors: dict[str, torch.Tensor] = {
            "encoder_weight": atoms.clone(),
            "encoder_bias": torch.zeros(sae.n_latents),
            "decoder_weight": atoms,
            "decoder_bias": torch.zeros(sae.d_model),
            "tokens_since_active": torch.zeros(sae.n_latents, dtype=torch.int64),
        }
        for name in PARAMETERS:
            for moment in ("first", "second"):
                self.tensors[f"{moment}.{name}"] = torch.zeros_like(self.tensors[name])
        self.tensors = {name: tensor.to(device) for name, tensor in self.tensors.items()}
        self.steps = 0
        self.product_dtype = product_dtype
        self._refresh_product()
        self._centred = Centred.empty(0, sae.d_model)  # both are made at the first step, for its number of tokens
        self._pass = Reconstruction.empty(0, sae.k, sae.d_model)
        self._gradients = LatentGradients(
            torch.zeros_like(self.tensors["encoder_weight"]),
            torch.zeros_like(self.tensors["decoder_weight"]),
            torch.zeros_like(self.tensors["encoder_bias"]),
            torch.zeros_like(self.tensors["tokens_since_active"]),
        )

    def _refresh_product(self) -> None:
        weight, bias = self.tensors["encoder_weight"], self.tensors["encoder_bias"]
        self.product = EncoderProduct(weight, bias, self.product_dtype)

    def set_mean(self, mean: torch.Tensor) -> None:
        """Starts the decoder's bias from the mean token state, (d_model,)."""
        self.tensors["decoder_bias"].copy_(mean)

    def restore(self, tensors: dict[str, torch.Tensor], steps: int) -> None:
        """Brings back the tensors of an earlier state."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])
        self.steps = steps
        self._refresh_product()

    def autoencoder(self) -> SparseAutoencoder:
        """The autoencoder as it stands, with weights of its own."""
        weights = [self.tensors[name].clone() for name in PARAMETERS]
        precision: Literal["bf16", "fp32"] = "bf16" if self.product_dtype == torch.bfloat16 else "fp32"
        return SparseAutoencoder(self.sae, weights[0], weights[1], weights[2], weights[3], precision=precision)

    @torch.no_grad()
    def step(self, batch: torch.Tensor, learning_rate: float) -> StepMetrics:
        """One step of AdamW on the loss FVU + AuxK.

        Args:
            batch: (n, d_model) token states, any float type.
            learning_rate: of this step.
        """
        tensors, gradients = self.tensors, self._gradients
        if len(self._centred.states) != len(batch):
            self._centred = Centred.empty(len(batch), self.sae.d_model)
            self._pass = Reconstruction.empty(len(batch), self.sae.k, self.sae.d_model)
        centred = centre(batch, tensors["decoder_bias"], self._centred)
        states, (variance, squares) = centred.states, variance_and_squares(centred, tensors["decoder_bias"])
        # A batch of (nearly) equal states has no variance to explain; the floor keeps its gradients finite.
        scale = 1 / max(variance, 1e-6 * squares, 1e-12)
        indices = self.product.select(states, self.sae.k)
        encoder, bias, decoder = (tensors[name] for name in PARAMETERS[:3])
        result = reconstruct(states, indices, encoder, bias, decoder, scale, self._pass)
        latent_gradients(states, indices, result, self.sae.n_latents, scale, gradients)
        fired = gradients.counts > 0
        active = int(gradients.counts.sum())
        dead = tensors["tokens_since_active"] >= self.config.dead_after_tokens
        n_dead = int(dead.sum())
        aux_loss = self._add_auxiliary(states, result.errors, dead, gradients) if n_dead else 0.0
        # The bias enters twice: added to the reconstruction, subtracted from what the encoder sees.
        offset = 2 * scale * result.totals.sum(0) - gradients.bias @ encoder
        squared_norm = remove_parallel(decoder, gradients) + float(offset.square().sum())
        self._update(gradients, offset, math.sqrt(squared_norm), learning_rate)
        since = tensors["tokens_since_active"]
        since.add_(len(batch)).masked_fill_(fired, 0)
        error = float(result.squared.sum(dtype=torch.float64))
        return StepMetrics(error, variance, active, len(batch), aux_loss, math.sqrt(squared_norm), n_dead)

    def _add_auxiliary(
        self, states: torch.Tensor, errors: torch.Tensor, dead: torch.Tensor, gradients: LatentGradients
    ) -> float:
        if not self.config.aux_loss_coefficient:
            return 0.0
        rows = dead.nonzero().squeeze(1)
        encoder, bias, decoder = (self.tensors[name][rows] for name in PARAMETERS[:3])
        k_aux, coefficient = self.config.k_aux, self.config.aux_loss_coefficient
        extra = auxiliary_gradients(states, errors, encoder, bias, decoder, k_aux, coefficient, self.product_dtype)
        idle = rows[gradients.counts[rows] == 0]  # their rows were not written in this step
        gradients.encoder[idle] = 0
        gradients.decoder[idle] = 0
        gradients.encoder.index_add_(0, rows, extra.encoder)
        gradients.decoder.index_add_(0, rows, extra.decoder)
        gradients.bias.index_add_(0, rows, extra.bias)
        gradients.counts[rows] += 1
        return extra.loss

    def _update(self, gradients: LatentGradients, offset: torch.Tensor, norm: float, learning_rate: float) -> None:
        self.steps += 1
        clip = min(1.0, self.config.clip_norm / (norm + 1e-6)) if self.config.clip_norm else 1.0
        decay = self.config.weight_decay
        matrices = AdamStep(learning_rate, BETA1, BETA2, EPSILON, decay, self.steps, clip)
        biases = AdamStep(learning_rate, BETA1, BETA2, EPSILON, 0.0, self.steps, clip)
        get, counts = self.tensors, gradients.counts
        parts = {name: (get[name], get[f"first.{name}"], get[f"second.{name}"]) for name in PARAMETERS}
        update_rows(*parts["encoder_weight"], gradients.encoder, counts, matrices, mirror=self.product.matrix)
        update_rows(*parts["decoder_weight"], gradients.decoder, counts, matrices, unit_norm=True)
        columns = [tensor.unsqueeze(1) for tensor in (*parts["encoder_bias"], gradients.bias)]
        update_rows(columns[0], columns[1], columns[2], columns[3], counts, biases)
        row = [tensor.unsqueeze(0) for tensor in (*parts["decoder_bias"], offset)]
        update_rows(row[0], row[1], row[2], row[3], torch.ones(1, dtype=torch.int64, device=offset.device), biases)
        self.product.set_bias(get["encoder_bias"])
