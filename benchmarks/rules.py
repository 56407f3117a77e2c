"""Training steps of every selection rule and objective, against those of topk at the same size.

Each variant is trained for a while first, so that thresholds and penalties have brought it to the number of latents per token
that it aims at; the time of a step depends on that number, which is printed. Then all of them take steps in turn, in one
process. The states are those of all-MiniLM-L6-v2 on the documentation of Python's standard library, in batches of 4,096 tokens.

    python benchmarks/rules.py [--json FILE] [--latents 8192] [--only RULE ...]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lexite.kernels  # noqa: F401  (before torch, so that its threads leave the cores to the loops)

# isort: split
import numpy as np
import torch
from common import parser, ratio, report
from train import BATCH, BUFFER, K, in_turn

from lexite.backbone import iterate_states, load_backbone
from lexite.corpus import builtin_documents
from lexite.kernels.hardware import fast_bf16
from lexite.sae import SAEConfig
from lexite.sae.objective import ObjectiveConfig
from lexite.sae.rules import rule_names
from lexite.training.batches import Batch
from lexite.training.config import TrainingConfig
from lexite.training.passages import PassageBuffer
from lexite.training.results import StepMetrics
from lexite.training.sources import Chunk
from lexite.training.step import TrainingState

WARM_UP = 400  # steps
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "matryoshka_fixed": ("topk", {"matryoshka": "fixed"}),
    "matryoshka_sampled": ("topk", {"matryoshka": "sampled"}),
    "multi_topk": ("topk", {"multi_topk_coefficient": 0.125}),
    "free_rescaled": ("topk", {"normalize_decoder": False}),
    "flops": ("topk", {"flops_coefficient": 0.003}),
}


def states_of_texts() -> Chunk:
    """Real token states, with the bounds of their texts."""
    parts, lengths = [], [0]
    texts = (document.full_text for document in builtin_documents())
    for chunk in iterate_states(load_backbone(), texts, "document"):
        parts.append(chunk.states.bfloat16())
        lengths += np.diff(chunk.offsets).tolist()
        if sum(lengths) >= BUFFER:
            break
    return Chunk(torch.cat(parts), np.cumsum(lengths))


def stepper(chunk: Chunk, n_latents: int, rule: str, changes: dict[str, Any]) -> Callable[[], StepMetrics]:
    """A function that takes a step on a random batch."""
    config = TrainingConfig(dead_after_tokens=10**12)
    dtype = torch.bfloat16 if fast_bf16() else torch.float32
    sae = SAEConfig(chunk.states.shape[1], n_latents, K, rule=rule)
    state = TrainingState(sae, config, dtype, objective=ObjectiveConfig(**changes))
    state.look_at(chunk.states)
    generator = np.random.default_rng(0)
    passages = PassageBuffer(len(chunk.states), sae.d_model)

    def batch() -> Batch:
        if not state.needs_passages:
            return Batch(chunk.states[torch.from_numpy(generator.choice(len(chunk.states), BATCH, replace=False))])
        if passages.size < BATCH:
            left = iter([chunk])
            passages.refill(lambda: next(left, None))
        return passages.draw(BATCH, generator)

    def step() -> StepMetrics:
        return state.step(batch(), 1e-3)

    return step


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--latents", type=int, default=8192, help="size of the dictionary")
    options.add_argument("--runs", type=int, default=6, help="counted turns of each")
    options.add_argument("--only", nargs="+", default=[], help="these rules and variants, beside topk")
    given = options.parse_args()
    every = {**{rule: (rule, {}) for rule in rule_names()}, **VARIANTS}
    chosen = ["topk", *(name for name in every if name != "topk" and (not given.only or name in given.only))]
    chunk = states_of_texts()
    steps = {name: stepper(chunk, given.latents, *every[name]) for name in chosen}
    last: dict[str, StepMetrics] = {}
    for name, step in steps.items():
        for _ in range(WARM_UP):
            last[name] = step()
    timings = in_turn({**steps}, given.runs)
    rows, ratios, figures = [], {}, {}
    for name, timing in timings.items():
        l0 = last[name].active / last[name].tokens
        ratios[f"speed_{name}_vs_topk"] = ratio(timings["topk"], timing)
        figures |= {f"{name}_tokens_per_second": BATCH / timing.median, f"{name}_l0": l0}
        cells = [f"{timing.median * 1e3:,.1f}", timing.spread, f"{BATCH / timing.median:,.0f}", f"{l0:.1f}"]
        rows.append([name, *cells, f"{ratios[f'speed_{name}_vs_topk']:.2f}"])
    columns = ["", "ms (median)", "ms (min – max)", "tokens per second", "L0", "speed, topk = 1"]
    report(
        f"Training steps of {given.latents:,} latents, {BATCH:,} tokens a batch, k {K}",
        columns,
        rows,
        ratios,
        figures,
        given.json,
    )


if __name__ == "__main__":
    main()
