"""What a sparse autoencoder is trained for: the terms of its loss and the settings of its selection rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lexite.config import option
from lexite.errors import ConfigError

Auxiliary = Literal["auto", "none", "dead", "zipf"]


@dataclass(frozen=True)
class ObjectiveConfig:
    """Terms of the loss and settings of the rules. Options have the names and defaults of SAELens where it has them.

    The loss is FVU, plus each term below whose weight is not zero and that the rule uses. All are divided by the variance of
    the batch, Σ‖x - mean(x)‖², so that a weight means the same for every model.

    Attributes:
        auxiliary: which latents learn from the remaining error: none; dead ones (AuxK); all that fire more rarely than a Zipf
            curve says, weighted by their shortfall (formula ours). auto takes what the source of the rule does.
        zipf_fraction: a latent is under-used below this share of its target density.
        zipf_exponent: α of the target densities (rank + β)^-α of zipf, and of feature_choice.
        zipf_offset: β of the same.
        multi_topk_coefficient: weight of the error with 4k latents (Gao et al. 2024; 1/8 there); 0 leaves it out.
        l1_coefficient: weight of Σ f (relu_l1) or of the gates (gated); steered where there is a target of L0.
        p_anneal_to: relu_l1 penalises Σ f^p with p falling from 1 to this over the second half of a run; 1 for plain L1.
        l0_coefficient: weight of (L0 / target - 1)² (jumprelu).
        l0_target: active latents per token that jumprelu, gated and relu_l1 aim at; None for k; 0 leaves l1_coefficient alone.
        jumprelu_bandwidth: width of the window in which thresholds get gradients.
        jumprelu_init_threshold: thresholds at the start; None takes what gives the target of L0 on the first batch.
        topk_threshold_lr: share of the newest batch in the running mean of thresholds.
        afa_coefficient: weight of (‖f‖ - ‖x - b_dec‖)² (top_afa).
        flops_coefficient: weight of the IDF-aware FLOPS of pooled texts (arXiv 2411.04403).
        retrieval_weight: how much the gradient of the retrieval loss counts in gradient_topk.
        retrieval_temperature: of that loss.
        matryoshka: nested dictionaries: prefixes of the sizes given, or drawn anew at each step.
        matryoshka_widths: sizes of the fixed prefixes, with commas; the whole dictionary is always the last. Empty for
            1/16, 1/8, 1/4, 1/2.
        matryoshka_prefixes: how many prefixes are drawn, the whole dictionary included.
        k_anneal_from: k at the start, lowered linearly to k; None for no annealing.
        k_anneal_share: share of the run after which k is reached, then held (CSRv2: .7).
        sparsity_warm_up_tokens: tokens over which the weights of L1, L0 and FLOPS rise from 0.
        normalize_decoder: keep atoms at unit norm.
        rescale_acts_by_decoder_norm: where atoms are free: select and penalise u · ‖d‖; folded into the weights at the end.
        decoder_init_norm: norm of the atoms at the start, where they are free.
    """

    auxiliary: Auxiliary = option("auto", "Latents that learn from what is left over: none, dead, or rarer than Zipf's law.")
    zipf_fraction: float = option(0.1, "A latent is under-used below this share of its target density.", minimum=0.0)
    zipf_exponent: float = option(1.0, "Exponent of the target densities.", minimum=0.0)
    zipf_offset: float = option(100.0, "Offset of the ranks in the target densities.", minimum=0.0)
    multi_topk_coefficient: float = option(0.0, "Weight of the error with 4k latents (rule topk).", minimum=0.0)
    l1_coefficient: float = option(1.0, "Weight of the L1 norm (rules relu_l1 and gated).", minimum=0.0)
    p_anneal_to: float = option(1.0, "Exponent at which the L1 penalty ends (rule relu_l1).", minimum=0.05, maximum=1.0)
    l0_coefficient: float = option(1.0, "Weight of the distance of L0 from its target (rule jumprelu).", minimum=0.0)
    l0_target: float | None = option(None, "L0 that jumprelu, gated and relu_l1 aim at (default: k; 0: none).", minimum=0.0)
    jumprelu_bandwidth: float = option(0.05, "Window in which thresholds get gradients (rule jumprelu).", minimum=1e-6)
    jumprelu_init_threshold: float | None = option(None, "Thresholds at the start (default: by the target of L0).", minimum=0.0)
    topk_threshold_lr: float = option(0.01, "Share of a new batch in running thresholds.", minimum=0.0, maximum=1.0)
    afa_coefficient: float = option(1 / 32, "Weight of the difference of norms (rule top_afa).", minimum=0.0)
    flops_coefficient: float = option(0.0, "Weight of the IDF-aware FLOPS of pooled texts.", minimum=0.0)
    retrieval_weight: float = option(1.0, "Weight of the retrieval gradient (rule gradient_topk).", minimum=0.0)
    retrieval_temperature: float = option(0.05, "Temperature of the retrieval loss (rule gradient_topk).", minimum=1e-3)
    matryoshka: Literal["none", "fixed", "sampled"] = option("none", "Train nested dictionaries, for --prefix.")
    matryoshka_widths: str = option("", "Sizes of the fixed prefixes, with commas (default: 1/16, 1/8, 1/4, 1/2).")
    matryoshka_prefixes: int = option(5, "Prefixes per step when they are drawn.", minimum=2, maximum=64)
    k_anneal_from: int | None = option(None, "k at the start, lowered to k (default: no annealing).", minimum=1)
    k_anneal_share: float = option(0.7, "Share of the run after which k is reached.", minimum=0.0, maximum=1.0)
    sparsity_warm_up_tokens: int = option(0, "Tokens over which penalties rise to their weight.", minimum=0, count=True)
    normalize_decoder: bool = option(True, "Keep atoms at unit norm.")
    rescale_acts_by_decoder_norm: bool = option(True, "Where atoms are free, weigh activations by their norms.")
    decoder_init_norm: float = option(0.1, "Norm of atoms at the start, where they are free.", minimum=1e-6)

    def widths(self, n_latents: int) -> list[int]:
        """Sizes of the nested dictionaries, ascending; the whole one alone where there are none.

        Raises:
            ConfigError: ``matryoshka_widths`` does not hold sizes below ``n_latents``.
        """
        if self.matryoshka != "fixed":
            return [n_latents]
        if not self.matryoshka_widths.strip():
            return sorted({max(n_latents // share, 1) for share in (16, 8, 4, 2, 1)})
        try:
            sizes = {int(size) for size in self.matryoshka_widths.split(",")}
        except ValueError:
            sizes = {0}
        if min(sizes) < 1 or max(sizes) > n_latents:
            raise ConfigError(
                f"matryoshka_widths is {self.matryoshka_widths!r}, but must hold sizes from 1 to {n_latents}, with commas."
            )
        return sorted(sizes | {n_latents})

    def target(self, k: int) -> float:
        """The L0 to aim at; 0 for none."""
        return float(k) if self.l0_target is None else self.l0_target
