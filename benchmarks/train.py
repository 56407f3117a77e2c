"""Training from a filled buffer, against the limit: the bare product of the same states with the encoder.

The product is one matrix product of a batch of 4,096 token states of width 384 with the encoder's weights, in bf16 where the
processor is fast at it, into memory that is there already. A training step needs it and everything else: selection, decoding,
all gradients, clipping, AdamW and the normalisation of the atoms. Steps and products are timed in turn, in one process. The
states are those of all-MiniLM-L6-v2 on the documentation of Python's standard library.

    python benchmarks/train.py [--json FILE] [--latents 8192 16384]
"""

from __future__ import annotations

from itertools import islice

import lexite.kernels  # noqa: F401  (before torch, so that its threads leave the cores to the loops)

# isort: split
import numpy as np
import torch
from common import interleave, parser, ratio, report

from lexite.backbone import iterate_states, load_backbone
from lexite.corpus import builtin_documents
from lexite.kernels.hardware import fast_bf16
from lexite.sae import SAEConfig
from lexite.training.buffer import ShuffleBuffer
from lexite.training.config import TrainingConfig
from lexite.training.step import TrainingState

BATCH, K, BUFFER = 4096, 16, 131_072


def filled_buffer() -> ShuffleBuffer:
    """A buffer full of real token states."""
    backbone = load_backbone()
    texts = (document.full_text for document in islice(builtin_documents(), 1500))
    parts = [chunk.states.bfloat16() for chunk in iterate_states(backbone, texts, "document")]
    states = torch.cat(parts)
    states = states.repeat(-(-BUFFER // len(states)), 1)[:BUFFER]
    buffer = ShuffleBuffer(BUFFER, backbone.d_model)
    buffer.restore({"rows": states, "pending": states[:0]})
    return buffer


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--latents", type=int, nargs="+", default=[8192, 16384], help="sizes of the dictionary")
    options.add_argument("--runs", type=int, default=30, help="counted steps of each")
    given = options.parse_args()
    dtype = torch.bfloat16 if fast_bf16() else torch.float32
    buffer = filled_buffer()
    full = {name: tensor.clone() for name, tensor in buffer.state().items()}
    rows, ratios, figures = [], {}, {}
    for n_latents in given.latents:
        d_model = buffer.rows.shape[1]
        config = TrainingConfig(dead_after_tokens=10**12)
        state = TrainingState(SAEConfig(d_model, n_latents, K), config, dtype)
        state.set_mean(buffer.rows.float().mean(0))
        generator = np.random.default_rng(0)
        weight = torch.randn(n_latents, d_model).to(dtype)
        inputs, out = buffer.rows[:BATCH].to(dtype).clone(), torch.empty(BATCH, n_latents, dtype=dtype)

        def step(state: TrainingState = state, generator: np.random.Generator = generator) -> None:
            if buffer.size < BATCH:
                buffer.restore(full)
            state.step(buffer.draw(BATCH, generator), 1e-3)

        def product(inputs: torch.Tensor = inputs, weight: torch.Tensor = weight, out: torch.Tensor = out) -> None:
            torch.mm(inputs, weight.t(), out=out)

        timings = interleave(given.runs, 5, product=product, step=step)
        ratios[f"train_vs_product_{n_latents}"] = ratio(timings["product"], timings["step"])
        for name, timing in timings.items():
            rate = BATCH / timing.median
            figures[f"{name}_tokens_per_second_{n_latents}"] = rate
            share = f"{ratios[f'train_vs_product_{n_latents}']:.2f}" if name == "step" else "1"
            rows.append([f"{name}, {n_latents:,} latents", f"{timing.median * 1e3:,.1f}", timing.spread, f"{rate:,.0f}", share])
    columns = ["", "ms (median)", "ms (min – max)", "tokens per second", "share of the product's rate"]
    report(f"Training, {BATCH:,} tokens a batch, k {K}, {dtype}", columns, rows, ratios, figures, given.json)


if __name__ == "__main__":
    main()
