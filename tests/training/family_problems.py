"""Small random models in any state of training, as lexite holds them and as the dense family does."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from dense_family import EXTRA, PARAMETERS, Family

from lexite.sae import SAEConfig
from lexite.sae.objective import ObjectiveConfig
from lexite.training.batches import Batch, Moment
from lexite.training.config import TrainingConfig
from lexite.training.results import Gradients
from lexite.training.step import TrainingState

RULES = [
    "topk", "batch_topk", "mutual_choice", "feature_choice", "jumprelu",
    "abs_topk", "top_afa", "gated", "gradient_topk", "relu_l1",
]  # fmt: skip
DEAD_AFTER = 1000


@dataclass
class Problem:
    """A state of training and a batch."""

    state: TrainingState
    batch: Batch
    moment: Moment

    @property
    def family(self) -> Family:
        """The dense implementation of the same, from the tensors as they are now."""
        state, offsets = self.state, self.batch.offsets
        return Family(
            rule=state.sae.rule,
            k=state.sae.k if self.moment.k is None else self.moment.k,
            final_k=state.sae.k,
            tensors={name: tensor.clone() for name, tensor in state.tensors.items()},
            states=self.batch.states,
            offsets=None if offsets is None else offsets.tolist(),
            o=state.objective,
            c=state.config,
            apply_b_dec_to_input=state.sae.apply_b_dec_to_input,
            sparsity=self.moment.sparsity,
            p=self.moment.p,
            widths=widths(state.objective, state.sae.n_latents),
        )


def widths(objective: ObjectiveConfig, n_latents: int) -> list[int]:
    """Sizes of the fixed nested dictionaries."""
    if objective.matryoshka != "fixed":
        return [n_latents]
    return sorted({*(int(width) for width in objective.matryoshka_widths.split(",")), n_latents})


def make_state(
    rule: str,
    d: int = 8,
    latents: int = 30,
    k: int = 3,
    *,
    bias: bool = True,
    config: dict[str, object] | None = None,
    dtype: torch.dtype = torch.float32,
    **settings: object,
) -> TrainingState:
    """A fresh state; ``settings`` are those of the objective."""
    recipe = {
        "batch_tokens": 64,
        "buffer_tokens": 128,
        "dead_after_tokens": DEAD_AFTER,
        "learning_rate": 0.01,
        **(config or {}),
    }
    sae = SAEConfig(d, latents, k, rule=rule, apply_b_dec_to_input=bias)
    objective = ObjectiveConfig(**settings)  # type: ignore[arg-type]
    return TrainingState(sae, TrainingConfig(**recipe), dtype, objective=objective)  # type: ignore[arg-type]


def shake(state: TrainingState, seed: int, *, dead: float = 0.3) -> None:
    """Puts a state anywhere: random weights, a share of latents dead, densities that span orders of magnitude."""
    generator = torch.Generator().manual_seed(seed)
    n_latents, d = state.tensors["encoder_weight"].shape

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator)

    tensors = {name: tensor.clone() for name, tensor in state.tensors.items()}
    tensors["encoder_weight"] = normal(n_latents, d) / d**0.5
    tensors["encoder_bias"] = normal(n_latents) / 5
    atoms = torch.nn.functional.normalize(normal(n_latents, d), dim=1)
    tensors["decoder_weight"] = atoms * (0.5 + uniform(n_latents, 1)) if state.weights.free else atoms
    tensors["decoder_bias"] = normal(d) / 3
    gone = uniform(n_latents) < dead
    tensors["tokens_since_active"] = torch.where(gone, DEAD_AFTER + 5, (uniform(n_latents) * DEAD_AFTER / 2).long())
    tensors["tokens_seen"] = torch.tensor(10 * DEAD_AFTER)
    tensors["density"] = torch.where(gone, 0.0, torch.exp(4 * normal(n_latents).clamp(max=1.0) - 4)).double()
    tensors["text_share"] = uniform(n_latents).double()
    tensors["rule_started"] = torch.ones((), dtype=torch.uint8)
    for name in EXTRA.get(state.sae.rule, ()):
        tensors[name] = {
            "threshold": 0.2 + 0.8 * uniform(n_latents),
            "gate_bias": normal(n_latents) / 5 - 0.5,
            "gate_scale": normal(n_latents) / 5,
        }[name]
    if "penalty_factor" in tensors:
        tensors["penalty_factor"] = torch.tensor(0.3, dtype=torch.float64)
    state.restore(tensors, 5)


def draw_states(n: int, d: int, seed: int) -> torch.Tensor:
    """States with a mean of their own."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator) * 1.5 + torch.arange(d) / d


def cut_into_passages(n: int, seed: int) -> torch.Tensor:
    """Offsets of passages of 1 to 9 tokens."""
    lengths: list[int] = []
    generator = torch.Generator().manual_seed(seed)
    while sum(lengths) < n:
        lengths.append(min(int(torch.randint(1, 10, (), generator=generator)), n - sum(lengths)))
    return torch.tensor([0, *lengths]).cumsum(0)


def make_problem(
    rule: str, n: int = 24, seed: int = 0, *, moment: Moment | None = None, dead: float = 0.3, **arguments: object
) -> Problem:
    """A shaken state and a batch, of passages where they are needed."""
    state = make_state(rule, **arguments)  # type: ignore[arg-type]
    shake(state, seed, dead=dead)
    offsets = cut_into_passages(n, seed) if state.needs_passages else None
    return Problem(state, Batch(draw_states(n, state.sae.d_model, seed + 1), offsets), moment or Moment())


def observe(state: TrainingState, states: torch.Tensor) -> torch.Tensor:
    """One step with a learning rate of zero, which moves trackers alone; the codes of before."""
    codes = dense_codes(state.gradients(Batch(states)), state.sae.n_latents)
    state.step(Batch(states), 0.0)
    return codes


def dense_codes(gradients: Gradients, n_latents: int) -> torch.Tensor:
    """(n, latents) activations, signed."""
    slots, values = gradients.selection.slots, gradients.values
    assert slots.indices.shape == values.shape
    assert slots.indices.dtype == torch.int32
    codes = torch.zeros(slots.n_tokens, n_latents, dtype=torch.double)
    for token, (start, stop) in enumerate(zip(slots.starts.tolist(), slots.starts.tolist()[1:], strict=False)):
        used = slots.indices[start:stop] >= 0  # on an accelerator places that are not used stay, with a value of 0
        assert not values[start:stop][~used].any()
        latents = slots.indices[start:stop][used].long()
        assert len(latents.unique()) == len(latents)  # none twice
        codes[token, latents] = values[start:stop][used].double()
    return codes


def check(problem: Problem) -> bool:
    """Compares codes, losses and gradients; False where rounding could change a decision."""
    family = problem.family
    if not family.is_clear():
        return False
    codes, losses, expected = family.run()
    found = problem.state.gradients(problem.batch, problem.moment)
    torch.testing.assert_close(dense_codes(found, family.n_latents), codes, rtol=1e-4, atol=1e-4)
    terms = {name: value for name, value in found.losses.items() if value or name in losses}
    assert set(terms) == set(losses), (terms, losses)
    for name, value in losses.items():
        assert abs(terms[name] - value) <= 1e-3 * abs(value) + 1e-6, (name, terms[name], value)
    gradients = found.parameters
    assert set(gradients) == set(expected) == {*PARAMETERS, *EXTRA.get(problem.state.sae.rule, ())}
    for name, gradient in expected.items():
        assert gradients[name].shape == problem.state.tensors[name].shape
        atol = 3e-5 * float(gradient.abs().max()) + 1e-8
        near = torch.isclose(gradients[name].double(), gradient, rtol=1e-3, atol=atol)
        assert bool(near.all()), (name, gradients[name][~near], gradient[~near])
    return True
