"""Reconstruction of token states, the training of a sparse autoencoder without labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from lexite.errors import ConfigError
from lexite.integrations.sentence_transformers.layout import token_layout
from lexite.integrations.sentence_transformers.losses.outputs import LATENT_TERMS, TOPK, outputs_of
from lexite.integrations.sentence_transformers.losses.shuffle import TokenShuffle
from lexite.integrations.sentence_transformers.preparation import backbone_modules, own_modules
from lexite.integrations.sentence_transformers.token_encoder import SparseAutoEncoderTokenEncoder
from lexite.sae.codes import SparseCodes


class TokenReconstructionLoss(nn.Module):
    """How well the latents of each token give its state back, over all tokens of a batch that are pooled.

    With x the states, x^ their reconstructions, and all sums over the tokens of the batch (Gao et al. 2024, arXiv 2406.04093,
    sections 2.1 and 2.3, appendix A.2):

    - ``fvu``: ``Σ‖x - x^‖² / Σ‖x - mean(x)‖²``, the fraction of variance unexplained;
    - ``fvu_4k``: the same with 4k latents, times ``multi_topk_coefficient``;
    - ``aux``: ``‖ê - E‖² / ‖E‖²`` with E = x - x^ held fixed and ê the reconstruction by the k_aux largest dead latents, times
      ``aux_coefficient``; while latents are dead.

    In evaluation there is only ``fvu``. The dense model may be frozen or trained along: scaling all states leaves the FVU as it
    is, so training cannot lower it by making states small. A latent is dead after a number of tokens without activity, counted
    in training only.

    Args:
        model: a SparseEncoder with :class:`SparseAutoEncoderTokenEncoder` and :class:`SparseTokenPooling`.
        multi_topk_coefficient: weight of the reconstruction with 4k latents (1/8 in the source); 0 leaves it out.
        aux_coefficient: weight of AuxK; 0 leaves it out.
        normalize_decoder: bring atoms to unit norm before each step.
        shuffle_tokens: size in tokens of a buffer that mixes many batches (:class:`TokenShuffle`); 0 for none. Without it, the
            states of a frozen dense model are learned slowly. It is not used in three cases: where the dense model is trained;
            beside another loss, which reconstructs its batches as they come; and in several processes, which exchange the
            gradients of whole forward passes only. A resumed run fills the buffer anew, and so differs in the last bits from a
            run that was never stopped.
        seed: seed of the mixing.

    Raises:
        ConfigError: a weight is below 0.
        ModelError: the sparse autoencoder has no decoder.
    """

    def __init__(
        self,
        model: nn.Module,
        multi_topk_coefficient: float = 0.0,
        aux_coefficient: float = 1 / 32,
        normalize_decoder: bool = True,
        shuffle_tokens: int = 131_072,
        seed: int = 0,
    ) -> None:
        super().__init__()
        numbers = {
            "multi_topk_coefficient": multi_topk_coefficient,
            "aux_coefficient": aux_coefficient,
            "shuffle_tokens": shuffle_tokens,
        }
        for name, value in numbers.items():
            if value < 0:
                raise ConfigError(f"{name} is {value}, but must be 0 or more.")
        self.model = model
        self.multi_topk_coefficient, self.aux_coefficient = multi_topk_coefficient, aux_coefficient
        self.normalize_decoder, self.shuffle_tokens = normalize_decoder, shuffle_tokens
        self._buffer = TokenShuffle(shuffle_tokens, seed) if shuffle_tokens else None
        own_modules(model)[0].require_decoder()

    def forward(
        self, sentence_features: Iterable[Mapping[str, Any]], labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """The terms of the loss for the features of all columns; labels are not used."""
        self.before_step()
        encoder, _ = own_modules(self.model)
        if self._shuffle is None or not encoder.training or not torch.is_grad_enabled():
            return self.terms_of(outputs_of(self.model, sentence_features))
        mixed = encoder({"token_embeddings": self._shuffle.exchange(self._states(sentence_features))})
        mixed["token_mask"] = torch.ones(len(mixed["token_embeddings"]), dtype=torch.bool, device=encoder.b_pre.device)
        return self.terms_of([mixed])

    @property
    def _shuffle(self) -> TokenShuffle | None:
        """The buffer, as long as the dense model is frozen: training it would soon put the kept states out of date."""
        trained = any(p.requires_grad for module in backbone_modules(self.model) for p in module.parameters())
        several = (
            torch.distributed.is_available() and torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1
        )
        return None if trained or several else self._buffer

    def _states(self, sentence_features: Iterable[Mapping[str, Any]]) -> torch.Tensor:
        """States of the pooled tokens of a batch, (n, d), without codes: the buffer gives out other tokens to encode."""
        encoder, _ = own_modules(self.model)
        encoder.bypassed = True
        try:
            outputs = outputs_of(self.model, sentence_features)
        finally:
            encoder.bypassed = False
        parts = [token_layout(each).gather(each["token_embeddings"])[each["token_mask"]] for each in outputs]
        return torch.cat(parts).detach()

    def before_step(self) -> None:
        """Tells the encoder which reconstructions to make, and brings the atoms to unit norm where they are trained."""
        encoder, _ = own_modules(self.model)
        encoder.multi_topk = (
            self.multi_topk_coefficient > 0
        )  # set at each step, since another loss of the same model may need it otherwise
        if self.normalize_decoder and encoder.training and not encoder.frozen:
            encoder.normalize_decoder_()

    def terms_of(self, outputs: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """The terms of the loss for the model's output."""
        encoder, _ = own_modules(self.model)
        parts = [_tokens_of(encoder, output) for output in outputs]
        states, decoded = (torch.cat([part[key] for part in parts]) for key in ("states", "decoded"))
        if encoder.training:
            for part in parts:
                encoder.count(part["indices"])
        errors = states - decoded
        total = (states - states.mean(0)).square().sum().clamp(min=1e-12)
        terms = {"fvu": errors.square().sum() / total}
        if all("decoded_4k" in part for part in parts):
            more = states - torch.cat([part["decoded_4k"] for part in parts])
            terms["fvu_4k"] = self.multi_topk_coefficient * more.square().sum() / total
        if self.aux_coefficient and all("decoded_aux" in part for part in parts):
            left = errors.detach()
            estimate = torch.cat([part["decoded_aux"] for part in parts])
            terms["aux"] = self.aux_coefficient * (estimate - left).square().sum() / left.square().sum().clamp(min=1e-30)
        return terms

    def get_config_dict(self) -> dict[str, Any]:
        """Its settings, for the model card; ``shuffle_tokens`` is 0 where the buffer is not used."""
        return {**self.settings_of_terms(), "shuffle_tokens": 0 if self._shuffle is None else self.shuffle_tokens}

    def settings_of_terms(self) -> dict[str, Any]:
        """The settings that decide what :meth:`terms_of` gives; another loss calls that with tokens of its own."""
        return {
            "multi_topk_coefficient": self.multi_topk_coefficient,
            "aux_coefficient": self.aux_coefficient,
            "normalize_decoder": self.normalize_decoder,
        }

    @property
    def citation(self) -> str:
        """Sources, in BibTeX."""
        return LATENT_TERMS + TOPK


def reconstructions_beside(
    model: nn.Module, weight: float, given: TokenReconstructionLoss | None
) -> list[TokenReconstructionLoss]:
    """The reconstruction that another loss adds: the one given, else one with the defaults; none for the weight 0.

    The result is a list, because torch registers a module as a child of the other loss, and the model would be there twice.

    Raises:
        ConfigError: it is given, and its weight is 0.
    """
    if not weight:
        if given is not None:
            raise ConfigError("A reconstruction is given, but reconstruction_weight is 0. Set the weight, or leave it out.")
        return []
    return [given or TokenReconstructionLoss(model)]


def settings_beside(reconstructions: Iterable[TokenReconstructionLoss]) -> dict[str, Any]:
    """The settings of the reconstruction beside another loss, for the model card."""
    return {f"reconstruction_{name}": value for each in reconstructions for name, value in each.settings_of_terms().items()}


def _tokens_of(encoder: SparseAutoEncoderTokenEncoder, output: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """States, reconstructions and latents of the pooled tokens of one column."""
    if "sae_output_decoded" not in output:
        return _tokens_of_evaluation(encoder, output)
    names = {
        "states": "sae_input_normalized",
        "decoded": "sae_output_decoded",
        "decoded_4k": "sae_output_decoded_4k",
        "decoded_aux": "sae_output_decoded_aux",
        "indices": "sae_token_indices",
    }
    return {own: output[key][output["token_mask"]] for own, key in names.items() if key in output}


def _tokens_of_evaluation(encoder: SparseAutoEncoderTokenEncoder, output: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The same outside training, where the module decodes nothing."""
    layout = token_layout(output)
    names = ("token_embeddings", "token_sparse_values", "token_sparse_indices")
    states, values, latents = (layout.gather(output[name])[output["token_mask"]] for name in names)
    codes = SparseCodes(values.float(), torch.where(values > 0, latents, -1).int(), encoder.hidden_dim)
    return {"states": encoder.prepared(states), "decoded": encoder.decode_tokens(codes), "indices": codes.indices}
