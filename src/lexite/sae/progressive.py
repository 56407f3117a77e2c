"""Progressive coding of a finished autoencoder: its latents in order of importance, so that any prefix is the best of its size.

Nested (Matryoshka) dictionaries are trained so that prefixes work. A dictionary that was trained whole can be cut too once its
latents are ranked: ``sae.reordered(ranking.order)`` puts them in order, and ``.prefix(n)`` then takes the first n.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from lexite.errors import CorpusError, ModelError
from lexite.kernels.sparse import selected_values
from lexite.sae.autoencoder import SparseAutoencoder
from lexite.sae.codes import SparseCodes
from lexite.sae.measures import ErrorSums
from lexite.sae.normalisation import normalise
from lexite.sae.zipf import ZipfFit, fit_zipf

RankBy = Literal["importance", "density"]
TOKENS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class LatentRanking:
    """The latents of an autoencoder in an order in which it can be cut.

    Attributes:
        by: what they were ranked by.
        order: ``(n_latents,)`` int64, the latents by falling value; of equal ones the lower number comes first.
        values: ``(n_latents,)`` float64, the value of each latent, by its number. By importance it is the rise of the fraction
            of variance unexplained when the latent is left out; it may be below 0. By density it is the share of tokens that
            the latent is active on.
        n_tokens: tokens that were looked at.
        fvu: fraction of variance unexplained over them with all latents (:func:`lexite.sae.measures.fvu`); None by density.
        fit: power law of the values, those of 0 and below left out.
    """

    by: RankBy
    order: NDArray[np.int64]
    values: NDArray[np.float64]
    n_tokens: int
    fvu: float | None
    fit: ZipfFit

    @property
    def sorted_values(self) -> NDArray[np.float64]:
        """The values by rank, the largest first."""
        return self.values[self.order]

    def summary(self) -> dict[str, Any]:
        """What was measured, without the value of each latent, as JSON values."""
        return {"by": self.by, "n_tokens": self.n_tokens, "fvu": self.fvu, "fit": asdict(self.fit)}


def rank_latents(
    sae: SparseAutoencoder, states: Iterable[torch.Tensor], *, by: RankBy = "importance", k: int | None = None
) -> LatentRanking:
    """Ranks the latents of an autoencoder by what they do on a sample of token states.

    The importance of latent i is the rise of the squared error when its part of the reconstruction is left out and all other
    activations stay as they are. With e_t = x_t - x^_t the error of token t, f_ti the activation and d_i the atom,

        importance_i = Σ_t (‖e_t + f_ti d_i‖² - ‖e_t‖²) / V = Σ_t (2 f_ti e_t·d_i + f_ti² ‖d_i‖²) / V

    over the tokens on which it is active; V = Σ_t ‖x_t - mean(x)‖². Importances do not add up: leaving out both i and j costs
    2 f_ti f_tj d_i·d_j more. Errors are measured on the states as they were given, before ``normalize_activations``. With
    ``abs_topk``, both terms of a latent count. (The formula is ours. Ranking a finished dictionary so that a prefix of it can
    be taken is known as progressive coding.)

    Args:
        sae: the autoencoder; by importance with its decoder.
        states: token states ``(n, d_model)``, chunk by chunk. Nothing is kept of a chunk but sums by latent.
        by: "importance", or "density", the share of tokens a latent is active on, which needs no decoder.
        k: most latents kept per token; as trained by default.

    Raises:
        ConfigError: k is larger than the number of latents.
        CorpusError: there is no token state.
        ModelError: it was saved as an encoder only, or states are of another width or hold NaN.
    """
    if by == "importance" and sae.stored_decoder is None:
        raise ModelError(
            "This vocabulary was saved as an encoder only, without the decoder that importance is measured with. "
            "Rank it by density, or train it again with its decoder."
        )
    rises, counts = np.zeros(sae.config.n_latents), np.zeros(sae.config.n_latents, dtype=np.int64)
    measured = _Rises(sae) if by == "importance" else None
    n_tokens = 0
    for chunk in states:
        for block in torch.split(chunk, TOKENS_AT_ONCE):
            codes = sae.encode(block, k)
            amounts, latents = codes.signed(sae.config.n_latents)
            active = amounts != 0
            used = latents[active].cpu().numpy()
            counts += np.bincount(used, minlength=len(counts))
            n_tokens += len(block)
            if measured is not None:
                gains = measured.of(block, codes)[active].cpu().numpy()
                rises += np.bincount(used, weights=gains, minlength=len(rises))
    if not n_tokens:
        raise CorpusError("There are no tokens to rank latents on. Name some text.")
    errors = measured.errors if measured is not None else None
    values = rises / (errors.variance or 1.0) if errors is not None else counts / n_tokens
    order = np.argsort(-values, kind="stable")
    fit = fit_zipf(np.maximum(values, 0.0))
    return LatentRanking(by, order, values, n_tokens, errors.fvu if errors is not None else None, fit)


class _Rises:
    """Measures what each activation does to the error of its token.

    Args:
        sae: an autoencoder with its decoder.

    Attributes:
        errors: the errors of all tokens so far.
    """

    def __init__(self, sae: SparseAutoencoder) -> None:
        decoder = sae.decoder_weight
        assert decoder is not None
        self.sae, self.decoder = sae, decoder
        self.squared_norms = decoder.double().square().sum(1)
        self.nothing = torch.zeros(len(decoder), device=decoder.device)
        self.errors = ErrorSums()

    def of(self, block: torch.Tensor, codes: SparseCodes) -> torch.Tensor:
        """How much ‖e‖² of its token rises when the latent of a slot is left out: (n, m) fp64, 0 in unused slots."""
        states = block.to(self.sae.device, torch.float32)
        _, scale, shift = normalise(states, self.sae.config.normalize_activations)
        error = states - (self.sae.decode(codes) * scale + shift)
        self.errors.add(states, error)
        amounts, latents = codes.signed(self.sae.config.n_latents)
        along = selected_values(error, latents, self.decoder, self.nothing, signed=True)
        added = amounts.double() * scale
        return 2 * added * along + added.square() * self.squared_norms[latents.clamp(min=0).long()]
