"""Where the time of a training step goes: its parts, timed within whole steps on real token states.

Each part is a function of the step, which is wrapped by a clock; the selection contains the product of the states with the
encoder, which is also timed alone, as in train.py. Medians over steps count. Whatever is not in a part is the rest.

    python benchmarks/train_parts.py [--latents 8192 16384] [--steps 30] [--json FILE]
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import lexite.kernels  # noqa: F401  (before torch, so that its threads leave the cores to the loops)

# isort: split
import numpy as np
import torch
from common import parser, report
from train import BATCH, K, filled_buffer

from lexite.backbone import load_backbone
from lexite.kernels.hardware import fast_bf16
from lexite.sae import SAEConfig
from lexite.training import loss, optimizer
from lexite.training.buffer import ShuffleBuffer
from lexite.training.config import TrainingConfig
from lexite.training.step import TrainingState

PARTS = {
    "draw": "draw of the batch from the buffer",
    "centred": "centring of the states",
    "select": "selection: the product, and the largest k of each token",
    "reconstruct": "reconstruction, errors and gradients of values",
    "latent_gradients": "gradients of encoder and decoder, latent by latent",
    "remove_parallel": "norm of the gradients, part along the atoms removed",
    "update_rows": "Adam over all rows, unit norm, the mirror in bf16",
}


class Clocks:
    """Seconds of each part in the step that runs."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def wrap(self, owner: Any, name: str) -> None:
        """Times every call of a function that ``owner`` has."""
        function: Callable[..., Any] = getattr(owner, name)

        def timed(*arguments: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds[name] += time.perf_counter() - begun

        setattr(owner, name, timed)


def parts_of_steps(buffer: ShuffleBuffer, n_latents: int, dtype: torch.dtype, steps: int, clocks: Clocks) -> dict[str, float]:
    """Median milliseconds of each part, of the whole step, and of the product alone."""
    full = {name: tensor.clone() for name, tensor in buffer.state().items()}
    d_model = full["rows"].shape[1]
    state = TrainingState(SAEConfig(d_model, n_latents, K), TrainingConfig(dead_after_tokens=10**12), dtype)
    state.look_at(full["rows"])
    clocks.wrap(state.rule, "select")
    clocks.wrap(state.inputs, "centred")
    generator = np.random.default_rng(0)
    weight = torch.randn(n_latents, d_model).to(dtype)
    inputs, out = full["rows"][:BATCH].to(dtype).clone(), torch.empty(BATCH, n_latents, dtype=dtype)
    taken: dict[str, list[float]] = defaultdict(list)
    used = 0.0
    for number in range(steps + 3):
        if buffer.size < BATCH:
            buffer.restore(full)
        clocks.seconds.clear()
        begun = time.perf_counter()
        batch = buffer.draw(BATCH, generator)
        clocks.seconds["draw"] = time.perf_counter() - begun
        state.step(batch, 1e-3)
        whole = time.perf_counter() - begun
        begun = time.perf_counter()
        torch.mm(inputs, weight.t(), out=out)
        alone = time.perf_counter() - begun
        if number >= 3:  # the first ones compile and touch new memory
            used += float((state.loss._gradients.counts > 0).float().mean()) / steps
            for name, seconds in {**clocks.seconds, "step": whole, "product": alone}.items():
                taken[name].append(seconds * 1e3)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    medians["rest"] = medians["step"] - sum(medians[name] for name in PARTS)
    return {**medians, "used_share": used}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--latents", type=int, nargs="+", default=[8192, 16384], help="sizes of the dictionary")
    options.add_argument("--steps", type=int, default=30, help="counted steps")
    given = options.parse_args()
    dtype = torch.bfloat16 if fast_bf16() else torch.float32
    buffer = filled_buffer(load_backbone())
    clocks = Clocks()
    for owner, name in (
        (loss, "reconstruct"),
        (loss, "latent_gradients"),
        (optimizer, "remove_parallel"),
        (optimizer, "update_rows"),
    ):
        clocks.wrap(owner, name)
    found = {n: parts_of_steps(buffer, n, dtype, given.steps, clocks) for n in given.latents}
    labels = {**PARTS, "rest": "the rest", "step": "the step", "product": f"the product alone, {dtype}"}
    rows = [[label, *(f"{found[n][name]:.1f}" for n in given.latents)] for name, label in labels.items()]
    rows.append(["share of the latents with a gradient", *(f"{found[n]['used_share']:.0%}" for n in given.latents)])
    ratios = {f"product_vs_step_{n}": found[n]["product"] / found[n]["step"] for n in given.latents}
    figures = {f"{name}_ms_{n}": found[n][name] for n in given.latents for name in labels}
    columns = ["ms (median)", *(f"{n:,} latents" for n in given.latents)]
    report(f"Parts of a training step, {BATCH:,} tokens, k {K}", columns, rows, ratios, figures, given.json)


if __name__ == "__main__":
    main()
