"""The family of sparse autoencoders written out densely: tokens × latents matrices in double precision, autograd for gradients.

Every selection rule and every term of the loss as its source states it, without any code of lexite's. Only what has no
derivative is written by hand: the windows of JumpReLU, and the root of pooled weights near zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch

Tensor = torch.Tensor
PARAMETERS = ("encoder_weight", "encoder_bias", "decoder_weight", "decoder_bias")
EXTRA = {"jumprelu": ("threshold",), "gated": ("gate_bias", "gate_scale")}


class JumpReLU(torch.autograd.Function):
    """u where it is above θ; straight through a window for θ (Rajamanoharan et al. 2024, equation 11)."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(u, threshold)
        ctx.bandwidth = bandwidth
        return u * (u > threshold)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        u, threshold = ctx.saved_tensors
        window = ((u - threshold).abs() < ctx.bandwidth / 2).double()
        return gradient * (u > threshold), (gradient * window * -threshold / ctx.bandwidth).sum(0), None


class Step(torch.autograd.Function):
    """1 where u is above θ (equation 12)."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(u, threshold)
        ctx.bandwidth = bandwidth
        return (u > threshold).double()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:  # type: ignore[override]
        u, threshold = ctx.saved_tensors
        window = ((u - threshold).abs() < ctx.bandwidth / 2).double()
        return None, (gradient * window * -1 / ctx.bandwidth).sum(0), None


class Root(torch.autograd.Function):
    """√s, whose derivative is taken at no less than √s = .001."""

    @staticmethod
    def forward(ctx: Any, sums: Tensor) -> Tensor:
        root = sums.sqrt()
        ctx.save_for_backward(root)
        return root

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (root,) = ctx.saved_tensors
        return gradient / (2 * root.clamp(min=1e-3))


@dataclass
class Family:
    """One batch of one model.

    Attributes:
        rule: name.
        k: latents per token at this moment.
        final_k: latents per token at the end, which densities are measured by.
        tensors: raw parameters and trackers by the names that lexite's training state gives them.
        states: (n, d) x~.
        offsets: starts of passages.
        o: settings: any attribute of lexite's ObjectiveConfig that is looked at here.
        c: likewise of TrainingConfig.
        apply_b_dec_to_input: whether b_dec is subtracted from the input.
        sparsity: factor of penalties.
        p: exponent of the L1 penalty.
    """

    rule: str
    k: int
    final_k: int
    tensors: dict[str, Tensor]
    states: Tensor
    offsets: list[int] | None
    o: Any
    c: Any
    apply_b_dec_to_input: bool = True
    sparsity: float = 1.0
    p: float = 1.0
    widths: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.x = self.states.double()
        self.n = len(self.x)
        self.leaves = {
            name: self.tensors[name].double().clone().requires_grad_() for name in (*PARAMETERS, *EXTRA.get(self.rule, ()))
        }
        self.n_latents = len(self.leaves["encoder_bias"])
        variance = float((self.x - self.x.mean(0)).square().sum())
        self.scale = 1 / max(variance, 1e-6 * float(self.x.square().sum()), 1e-12)
        self.variance = variance
        self._weights()

    def _weights(self) -> None:
        """Effective weights, and the shared product z = W c."""
        w = self.leaves
        self.encoder, self.bias, self.decoder = w["encoder_weight"], w["encoder_bias"], w["decoder_weight"]
        if not self.o.normalize_decoder and self.o.rescale_acts_by_decoder_norm:
            norms = self.decoder.norm(dim=1)
            self.encoder, self.bias = self.encoder * norms[:, None], self.bias * norms
            self.decoder = self.decoder / norms[:, None]
        self.centred = self.x - w["decoder_bias"] if self.apply_b_dec_to_input else self.x
        self.z = self.centred @ self.encoder.t()

    def passages(self) -> list[tuple[int, int]]:
        """First token and the one behind the last of each passage."""
        assert self.offsets is not None
        return list(zip(self.offsets, self.offsets[1:], strict=False))

    # What is chosen

    def active(self, z: Tensor) -> Tensor:
        """(n, latents) mask of the activations that are not zero."""
        u, budget = z + self.bias.detach(), self.k * self.n
        if self.rule == "topk":
            return top(u, self.k) & (u > 0)
        if self.rule == "batch_topk":
            return top(torch.relu(u).reshape(1, -1), budget).view_as(u) & (u > 0)
        if self.rule == "mutual_choice":
            return top(u.reshape(1, -1), budget).view_as(u) & (u > 0)
        if self.rule == "feature_choice":
            mask = torch.zeros_like(u, dtype=torch.bool)
            for latent, tokens in enumerate(self.budgets()):
                mask[:, latent] = top(u[None, :, latent], tokens)[0]
            return mask & (u > 0)
        if self.rule == "jumprelu":
            return u > self.leaves["threshold"].detach()
        if self.rule == "abs_topk":
            return top(u.abs(), self.k)
        if self.rule == "top_afa":
            return self.nearest_norm(torch.relu(u))
        if self.rule == "gated":
            magnitude = self.leaves["gate_scale"].detach().exp() * z + self.bias.detach()
            return (z + self.leaves["gate_bias"].detach() > 0) & (magnitude > 0)
        if self.rule == "gradient_topk":
            return self.best_for_retrieval(torch.relu(u))
        assert self.rule == "relu_l1"
        return u > 0

    def budgets(self) -> list[int]:
        """Tokens of each latent under Feature Choice: a Zipf curve over the ranks by density, in whole numbers."""
        counts = whole_curve(
            self.n_latents, max(self.k * self.n, self.n_latents), self.o.zipf_exponent, self.o.zipf_offset, self.n
        )
        density = self.tensors["density"].tolist()
        ranks = sorted(range(self.n_latents), key=lambda i: (-density[i], i))
        found = [0] * self.n_latents
        for rank, latent in enumerate(ranks):
            found[latent] = counts[rank]
        return found

    def nearest_norm(self, positive: Tensor) -> Tensor:
        """The first latents, by falling activation, whose joint norm is nearest to that of the input."""
        mask = torch.zeros_like(positive, dtype=torch.bool)
        for token in range(self.n):
            order = positive[token].argsort(descending=True, stable=True)
            norms = positive[token][order].square().cumsum(0).sqrt()
            number = int((norms - self.centred[token].detach().norm()).abs().argmin()) + 1
            mask[token, order[:number]] = True
        return mask & (positive > 0)

    def best_for_retrieval(self, positive: Tensor) -> Tensor:
        """The k candidates with the largest f + β f g, g = |∂L/∂f| over its mean, L the retrieval loss of half passages."""
        candidates = top(positive, 4 * self.k) & (positive > 0)
        g = self.retrieval_gradient(torch.where(candidates, positive.detach(), 0.0))
        mean = g[candidates].mean() if candidates.any() else torch.tensor(0.0)
        score = positive * (1 + self.o.retrieval_weight * g / mean) if mean > 0 else positive
        return top(torch.where(candidates, score, 0.0), self.k) & candidates

    @torch.enable_grad()
    def retrieval_gradient(self, codes: Tensor) -> Tensor:
        """|∂L/∂f| by the candidates' activations."""
        f = codes.clone().requires_grad_()
        halves = [
            (f[start : start + (stop - start) // 2], f[start + (stop - start) // 2 : stop])
            for start, stop in self.passages()
            if stop - start > 1
        ]
        g = torch.zeros_like(f)
        if len(halves) > 1:
            queries, documents = (
                torch.stack([torch.nn.functional.normalize(Root.apply(pair[i].sum(0)), dim=0, eps=1e-12) for pair in halves])
                for i in (0, 1)
            )
            cosines = queries @ documents.t() / self.o.retrieval_temperature
            loss = torch.nn.functional.cross_entropy(cosines, torch.arange(len(halves)))
            (found,) = torch.autograd.grad(loss, f)
            g = torch.where(f > 0, found.abs(), 0.0)
        return g.detach()

    def under_used(self) -> Tensor:
        """(latents,) weights of the auxiliary term's latents; 0 for those without a part in it."""
        kind = self.o.auxiliary
        if kind == "auto":
            kind = "zipf" if self.rule in ("mutual_choice", "feature_choice") else "dead"
        if kind == "none" or not self.c.aux_loss_coefficient:
            return torch.zeros(self.n_latents, dtype=torch.double)
        if kind == "dead":
            return (self.tensors["tokens_since_active"] >= self.c.dead_after_tokens).double()
        weights = torch.zeros(self.n_latents, dtype=torch.double)
        if int(self.tensors["tokens_seen"]) < self.c.dead_after_tokens:
            return weights
        density = self.tensors["density"].tolist()
        curve = [(rank + 1 + self.o.zipf_offset) ** -self.o.zipf_exponent for rank in range(self.n_latents)]
        for rank, latent in enumerate(sorted(range(self.n_latents), key=lambda i: (-density[i], i))):
            limit = self.o.zipf_fraction * self.final_k * curve[rank] / sum(curve)
            if density[latent] < limit:
                weights[latent] = 1 - density[latent] / limit
        return weights

    def decisions(self, z: Tensor) -> list[Tensor]:
        """All that is decided by comparisons."""
        u = z + self.bias.detach()
        found = [self.active(z), u > 0, self.auxiliary_choice(u)]
        if self.rule == "topk":
            found.append(top(u, 4 * self.k))
        if self.rule == "jumprelu":
            found.append((u - self.leaves["threshold"].detach()).abs() < self.o.jumprelu_bandwidth / 2)
        if self.rule == "gated":
            found.append(z + self.leaves["gate_bias"].detach() > 0)
        return found

    def is_clear(self, noise: float = 1e-5) -> bool:
        """Whether rounding in single precision cannot change a decision: several times noise did not."""
        z = self.z.detach()
        if self.o.flops_coefficient and self.offsets is not None:  # the root has a steep derivative there
            with torch.no_grad():
                codes = self.codes()
            sums = torch.stack([codes[start:stop].clamp(min=0).sum(0) for start, stop in self.passages()])
            if ((sums > 0) & (sums < 3e-4)).any():
                return False
        plain, generator = self.decisions(z), torch.Generator().manual_seed(0)
        for _ in range(4):
            shaken = z + (2 * torch.rand(z.shape, generator=generator, dtype=torch.double) - 1) * noise
            if not all(torch.equal(a, b) for a, b in zip(plain, self.decisions(shaken), strict=True)):
                return False
        return True

    # What is learned

    def auxiliary_choice(self, u: Tensor) -> Tensor:
        """(n, latents) mask of the latents that the auxiliary term takes."""
        weights = self.under_used()
        scores = torch.where(weights > 0, torch.relu(u) * weights, 0.0)
        return top(scores, self.c.k_aux) & (scores > 0)

    def codes(self) -> Tensor:
        """(n, latents) f, signed for abs_topk."""
        mask, u = self.active(self.z.detach()), self.z + self.bias
        if self.rule == "jumprelu":
            return JumpReLU.apply(u, self.leaves["threshold"], self.o.jumprelu_bandwidth)  # type: ignore[no-any-return]
        if self.rule == "gated":
            return torch.where(mask, self.leaves["gate_scale"].exp() * self.z + self.bias, 0.0)
        return torch.where(mask, u, 0.0)

    def decoded(self, codes: Tensor) -> Tensor:
        return codes @ self.decoder + self.leaves["decoder_bias"]

    def losses(self, f: Tensor) -> dict[str, Tensor]:
        """The terms by name."""
        u, o, x = self.z + self.bias, self.o, self.x
        widths = self.widths or [self.n_latents]
        nested = torch.stack([(self.decoded(cut(f, width)) - x).square().sum() for width in widths])
        found = {"fvu": self.scale * nested.mean()}
        if self.rule == "topk" and o.multi_topk_coefficient:
            more = torch.where(top(u.detach(), 4 * self.k), torch.relu(u), 0.0)
            found["multi_topk"] = o.multi_topk_coefficient * self.scale * (self.decoded(more) - x).square().sum()
        weights = self.under_used()
        if weights.any():
            target = (x - self.decoded(f)).detach()
            codes = torch.where(self.auxiliary_choice(u.detach()), torch.relu(u) * weights, 0.0)
            error = (codes @ self.decoder - target).square().sum()
            found["aux"] = self.c.aux_loss_coefficient * error / target.square().sum()
        found |= self._penalties(f, u)
        if o.flops_coefficient and self.offsets is not None:
            found["flops"] = o.flops_coefficient * self.sparsity * self.flops(f)
        return found

    def _penalties(self, f: Tensor, u: Tensor) -> dict[str, Tensor]:
        """Terms that belong to a rule."""
        o = self.o
        if self.rule == "relu_l1":
            positive = f[f > 0].clamp(min=1e-6)
            before = float(self.tensors["penalty_p"])
            factor = float(self.tensors["penalty_factor"]) * float(
                (positive.pow(before).sum() / positive.pow(self.p).sum()).detach() if len(positive) else 1.0
            )
            return {"l1": o.l1_coefficient * factor * self.sparsity * self.scale * positive.pow(self.p).sum()}
        if self.rule == "jumprelu":
            target = self.k if o.l0_target is None else o.l0_target
            l0 = Step.apply(u, self.leaves["threshold"], o.jumprelu_bandwidth).sum() / self.n
            return {"l0": o.l0_coefficient * self.sparsity * (l0 / target - 1) ** 2}
        if self.rule == "top_afa" and o.afa_coefficient:
            gaps = torch.linalg.vector_norm(f, dim=1) - self.centred.detach().norm(dim=1)
            return {"afa": o.afa_coefficient * self.scale * gaps.square().sum()}
        if self.rule == "gated":
            gates = torch.relu(self.z + self.leaves["gate_bias"])
            weight = o.l1_coefficient * float(self.tensors["penalty_factor"]) * self.sparsity * self.scale
            error = gates @ self.decoder.detach() + self.leaves["decoder_bias"].detach() - self.x
            return {"gate_l1": weight * gates.sum(), "gate_reconstruction": self.scale * error.square().sum()}
        return {}

    def flops(self, f: Tensor) -> Tensor:
        """Σ_j v_j (mean over passages of w_j)², rare terms excused."""
        share = self.tensors["text_share"].double()
        idf = torch.log(1 + (1 - share + 1e-3) / (share + 1e-3))
        counted = torch.where(f > 0, f, 0.0)
        weights = torch.stack([Root.apply(counted[start:stop].sum(0)) for start, stop in self.passages()])
        return (weights.mean(0).square() / idf).sum()

    def run(self) -> tuple[Tensor, dict[str, float], dict[str, Tensor]]:
        """Codes (n, latents), terms of the loss, and the gradient of their sum by each raw parameter."""
        f = self.codes()
        losses = self.losses(f)
        torch.stack(list(losses.values())).sum().backward()
        gradients = {name: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for name, leaf in self.leaves.items()}
        return f.detach(), {name: loss.item() for name, loss in losses.items()}, gradients


def top(scores: Tensor, number: int) -> Tensor:
    """Mask of the largest entries of each row, the first among equals."""
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :number]
    return torch.zeros_like(scores, dtype=torch.bool).scatter(1, order, torch.ones_like(order, dtype=torch.bool))


def cut(codes: Tensor, width: int) -> Tensor:
    """Codes of the first latents alone."""
    return codes * (torch.arange(codes.shape[1]) < width)


def whole_curve(ranks: int, total: int, exponent: float, offset: float, largest: int) -> list[int]:
    """min(max(c (r + β)^-α, 1), largest) with the c for which it sums to the total, largest remainders rounded up."""
    weights = [(rank + offset) ** -exponent for rank in range(1, ranks + 1)]
    low, high = 0.0, 2 * largest / min(weights)
    for _ in range(200):
        middle = (low + high) / 2
        if sum(min(max(middle * w, 1), largest) for w in weights) < total:
            low = middle
        else:
            high = middle
    wanted = [min(max(high * w, 1), largest) for w in weights]
    counts = [math.floor(value + 1e-9) for value in wanted]
    by_remainder = sorted(range(ranks), key=lambda r: (-round(wanted[r] - counts[r], 9), r))
    for rank in by_remainder[: total - sum(counts)]:
        counts[rank] += 1
    return counts
