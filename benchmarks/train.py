"""Training from a filled buffer, against the limit (the bare product of the same states with the encoder) and other libraries.

The product is one matrix product of a batch of 4,096 token states of width 384 with the encoder's weights, in bf16 where the
processor is fast at it, into memory that is there already. A training step needs it and everything else: selection, decoding,
all gradients, clipping, AdamW and the normalisation of the atoms. The states are those of all-MiniLM-L6-v2 on the
documentation of Python's standard library.

The other libraries take a step as their own trainers do (see trainers.py), on the same states, with the same batch and sizes.
First every variant of each is tried (number formats, sparse activations, torch.compile); the fastest of each library then runs
in turn with the product and the step, in one process. A turn is three steps in a row, so that none pays for the memory that
the one before it threw about.

    python benchmarks/train.py [--json FILE] [--latents 8192 16384] [--stream]
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import lexite.kernels  # noqa: F401  (before torch, so that its threads leave the cores to the loops)

# isort: split
import numpy as np
import torch
from common import Peer, Timing, installed, interleave, parser, prepare, ratio, report
from trainers import peers

from lexite.backbone import Backbone, iterate_states, load_backbone
from lexite.corpus import builtin_documents
from lexite.kernels.hardware import fast_bf16
from lexite.sae import SAEConfig
from lexite.training.buffer import ShuffleBuffer
from lexite.training.config import TrainingConfig
from lexite.training.run import train_autoencoder
from lexite.training.sources import Chunk, text_chunks
from lexite.training.step import TrainingState

BATCH, K, BUFFER = 4096, 16, 131_072
STREAM_CHARACTERS = 400_000
STEPS = 3  # in a turn
PACKAGES = ("sae-lens", "eai-sparsify", "dictionary-learning")


def filled_buffer(backbone: Backbone) -> ShuffleBuffer:
    """A buffer full of real token states."""
    texts = (document.full_text for document in islice(builtin_documents(), 1500))
    parts = [chunk.states.bfloat16() for chunk in iterate_states(backbone, texts, "document")]
    states = torch.cat(parts)
    states = states.repeat(-(-BUFFER // len(states)), 1)[:BUFFER]
    buffer = ShuffleBuffer(BUFFER, backbone.d_model)
    buffer.restore({"rows": states, "pending": states[:0]})
    return buffer


def own_functions(buffer: ShuffleBuffer, n_latents: int, dtype: torch.dtype) -> dict[str, Callable[[], Any]]:
    """The product and our step."""
    full = {name: tensor.clone() for name, tensor in buffer.state().items()}
    d_model = full["rows"].shape[1]
    state = TrainingState(SAEConfig(d_model, n_latents, K), TrainingConfig(dead_after_tokens=10**12), dtype)
    state.look_at(full["rows"])
    generator = np.random.default_rng(0)
    weight = torch.randn(n_latents, d_model).to(dtype)
    inputs, out = full["rows"][:BATCH].to(dtype).clone(), torch.empty(BATCH, n_latents, dtype=dtype)

    def step() -> None:
        if buffer.size < BATCH:
            buffer.restore(full)
        state.step(buffer.draw(BATCH, generator), 1e-3)

    return {"product": lambda: torch.mm(inputs, weight.t(), out=out), "step": step}


def fastest(variants: dict[str, Peer]) -> tuple[str, Callable[[], Any] | None, list[list[str]]]:
    """Tries all variants; returns the name and function of the fastest, and a line about each."""
    best_name, best, least = "", None, float("inf")
    lines: list[list[str]] = []
    for name, peer in variants.items():
        if installed(peer.package) is None:
            return "", None, [[f"{peer.package}: not installed (pip install {peer.package})"]]
        made = prepare(f"{peer.package}, {name}", peer)
        if isinstance(made, str):
            lines.append([made])
            continue
        seconds = min(interleave(2, 0, tried=made)["tried"].seconds)
        lines.append([f"{peer.package}, {name}: {seconds * 1e3:,.0f} ms (better of two)"])
        if seconds < least:
            best_name, best, least = f"{peer.package} {installed(peer.package)}, {name}", made, seconds
    return best_name, best, lines


def in_turn(functions: dict[str, Callable[[], Any]], runs: int) -> dict[str, Timing]:
    """Times several steps of one function, then of the next; seconds are of one step."""

    def repeated(function: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(STEPS):
                function()

        return run

    timings = interleave(runs, 1, {name: repeated(function) for name, function in functions.items()})
    return {name: Timing([seconds / STEPS for seconds in timing.seconds]) for name, timing in timings.items()}


class Texts:
    """Some texts as a source of states; it counts the tokens it gives."""

    repeatable = False

    def __init__(self, backbone: Backbone, texts: list[str]) -> None:
        self.backbone, self.texts, self.tokens = backbone, texts, 0
        self.identity = ["texts of the benchmark"]

    def chunks(self, skip_texts: int = 0) -> Iterator[Chunk]:
        for group in text_chunks(iter(self.texts[skip_texts:])):
            states = self.backbone.encode(group, "document")
            self.tokens += states.n_tokens
            yield Chunk(states.states, states.offsets)


def stream(backbone: Backbone, n_latents: int, rounds: int) -> tuple[dict[str, Timing], int]:
    """Training from text, and the backbone alone on the same text: times, and the text's number of tokens."""
    texts, characters = [], 0
    for document in builtin_documents():
        texts.append(document.full_text)
        characters += len(texts[-1])
        if characters >= STREAM_CHARACTERS:
            break
    config = TrainingConfig(batch_tokens=BATCH, buffer_tokens=8 * BATCH, dead_after_tokens=10**12, init_tokens=BATCH)
    source = Texts(backbone, texts)

    def trained() -> None:
        sae = SAEConfig(backbone.d_model, n_latents, K)
        with tempfile.TemporaryDirectory() as folder:
            train_autoencoder(source, Path(folder), sae, config, show_progress=False)

    def encoded() -> None:
        source.tokens = 0
        for _ in source.chunks():
            pass

    return interleave(rounds, 1, backbone=encoded, streamed=trained), source.tokens // 2


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--latents", type=int, nargs="+", default=[8192, 16384], help="sizes of the dictionary")
    options.add_argument("--runs", type=int, default=6, help=f"counted turns of each, of {STEPS} steps")
    options.add_argument("--no-peers", action="store_true", help="only the product and the step")
    options.add_argument("--stream", action="store_true", help="also train from text, the backbone included")
    given = options.parse_args()
    warnings.simplefilter("ignore")  # of other packages, which would stand in the middle of the table
    logging.getLogger("torch").setLevel(logging.CRITICAL)
    dtype = torch.bfloat16 if fast_bf16() else torch.float32
    backbone = load_backbone()
    buffer = filled_buffer(backbone)
    states = buffer.rows.float().clone()
    rows: list[list[str]] = []
    notes: list[list[str]] = []
    ratios: dict[str, float] = {}
    figures: dict[str, float] = {}
    for n_latents in given.latents:
        functions = own_functions(buffer, n_latents, dtype)
        labels = {"product": f"product, {dtype}", "step": "lexite, a training step"}
        for library, variants in {} if given.no_peers else peers(states, BATCH, n_latents, K).items():
            name, function, lines = fastest(variants)
            notes += [[f"{n_latents:,} latents: {line[0]}"] for line in lines]
            if function is not None:
                functions[library], labels[library] = function, name
        timings = in_turn(functions, given.runs)
        ratios[f"train_vs_product_{n_latents}"] = ratio(timings["product"], timings["step"])
        for name, timing in timings.items():
            rate = BATCH / timing.median
            figures[f"{name}_tokens_per_second_{n_latents}"] = rate
            if name not in ("product", "step"):
                ratios[f"train_vs_{name}_{n_latents}"] = ratio(timing, timings["step"])
            times = ratio(timing, timings["step"])
            label = f"{n_latents:,} latents: {labels[name]}"
            rows.append([label, f"{timing.median * 1e3:,.1f}", timing.spread, f"{rate:,.0f}", f"{times:.2f}"])
        if given.stream:
            timings_stream, tokens = stream(backbone, n_latents, 3)
            alone, streamed = timings_stream["backbone"], timings_stream["streamed"]
            parts = alone.median + tokens / BATCH * timings["step"].median
            figures[f"stream_tokens_per_second_{n_latents}"] = tokens / streamed.median
            figures[f"stream_vs_parts_{n_latents}"] = parts / streamed.median
            for label, timing in (("the backbone alone", alone), ("training from text, backbone included", streamed)):
                cells = [f"{timing.median * 1e3:,.1f}", timing.spread, f"{tokens / timing.median:,.0f}"]
                rows.append([f"{n_latents:,} latents: {label}, {tokens:,} tokens", *cells, ""])
            cells = [f"{parts * 1e3:,.1f}", "", f"{tokens / parts:,.0f}", ""]
            rows.append([f"{n_latents:,} latents: backbone and steps added up", *cells])
    columns = ["", "ms (median)", "ms (min – max)", "tokens per second", "times the step's time"]
    report(f"Training, {BATCH:,} tokens a batch, k {K}", columns, rows + notes, ratios, figures, given.json, *PACKAGES)


if __name__ == "__main__":
    main()
