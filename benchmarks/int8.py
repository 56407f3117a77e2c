"""The model alone in each number format: token states of real texts in fp32, bf16 and int8 (OpenVINO, the extra ``int8``).

Beside them, sentence-transformers' own ``encode`` in fp32 and bf16 in batches of 32. Texts are cut at the model's window. The
cosine is the mean over tokens between a state and that in fp32. What int8 costs in nDCG is measured by ``lexite eval`` with
``--precision int8``.

    python benchmarks/int8.py [--texts 64] [--runs 5] [--json FILE]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lexite.kernels  # noqa: F401  (before torch, so that its threads leave the cores to the loops)

# isort: split
import torch
from common import interleave, parser, ratio, report
from encode import read_texts
from transformers.utils import logging

from lexite.backbone import BackboneConfig, default_model_folder, load_backbone


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--texts", type=int, default=64, help="documents to encode")
    options.add_argument("--runs", type=int, default=5, help="counted runs of each")
    given = options.parse_args()
    logging.disable_progress_bar()
    from sentence_transformers import SentenceTransformer

    texts, source = read_texts(given.texts)
    ways: dict[str, Callable[[], Any]] = {}
    cosines = {}
    exact = load_backbone(BackboneConfig(precision="fp32", long="truncate")).encode(texts, "document").states
    for precision in ("fp32", "bf16", "int8"):
        backbone = load_backbone(BackboneConfig(precision=precision, long="truncate"))
        states = backbone.encode(texts, "document").states.float()
        cosines[precision] = float(torch.nn.functional.cosine_similarity(states, exact, dim=1).mean())
        ways[precision] = lambda backbone=backbone: backbone.encode(texts, "document")  # type: ignore[misc]
    for name, dtype in (("library_fp32", torch.float32), ("library_bf16", torch.bfloat16)):
        model = SentenceTransformer(str(default_model_folder()), device="cpu", model_kwargs={"dtype": dtype})
        ways[name] = lambda model=model: model.encode(texts, show_progress_bar=False)  # type: ignore[misc]
    timings = interleave(given.runs, 1, **ways)
    rows, figures = [], {}
    for name, timing in timings.items():
        rate = len(exact) / timing.median
        figures[f"{name}_tokens_per_second"] = rate
        label = name.replace("library_", "sentence-transformers, ") if name.startswith("library") else f"lexite, {name}"
        cosine = f"{cosines[name]:.5f}" if name in cosines else ""
        rows.append([label, f"{timing.median * 1e3:,.0f}", timing.spread, f"{rate:,.0f}", cosine])
    figures |= {f"cosine_{name}": value for name, value in cosines.items()}
    ratios = {f"int8_speed_vs_{name}": ratio(timings[name], timings["int8"]) for name in ways if name != "int8"}
    title = f"Token states of {len(texts)} documents of {source}, {len(exact):,} tokens"
    columns = ["", "ms (median)", "ms (min – max)", "tokens per second", "cosine to fp32"]
    report(title, columns, rows, ratios, figures, given.json, "openvino", "sentence-transformers")


if __name__ == "__main__":
    main()
