"""Whole processes from start to end: a search with and without the model, and what it cannot do without.

    python benchmarks/cold_start.py [--documents 400] [--runs 7] [--index FOLDER] [--json FILE]

The bare script imports torch and transformers, loads all-MiniLM-L6-v2 in the same precision and encodes the query: what a
search through the model needs at least. Each process runs in turn, A B C A B C ...; processor seconds (user and system) are
of the process and its threads, and depend less than the clock on what else the machine does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from common import Timing, parser, ratio, report
from encode import read_texts

from lexite import Searcher
from lexite.backbone import default_model_folder, fast_bf16

QUERY = "how do plants make sugar from light"
BARE = """
import sys
import torch
from transformers import AutoModel, AutoTokenizer
folder, precision, query = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModel.from_pretrained(folder, dtype=getattr(torch, precision)).eval()
with torch.inference_mode():
    states = model(**tokenizer([query], return_tensors="pt")).last_hidden_state
assert states.shape[-1] == model.config.hidden_size
"""


def commands(index: Path) -> dict[str, list[str]]:
    """What is run, by name."""
    folder = default_model_folder()
    if folder is None:
        sys.exit("The model package of all-MiniLM-L6-v2 is not installed.")
    python, precision = sys.executable, "bfloat16" if fast_bf16() else "float32"
    script = Path(python).with_name("lexite")
    found = {
        "bare script: torch, transformers, model, query": [python, "-c", BARE, str(folder), precision, QUERY],
        "python -m lexite search": [python, "-m", "lexite", "search", str(index), QUERY],
        "lexite search": [str(script), "search", str(index), QUERY],
        "lexite search --static": [str(script), "search", "--static", str(index), QUERY],
        "import numpy, scipy.sparse": [python, "-c", "import numpy, scipy.sparse"],
        "import numpy": [python, "-c", "import numpy"],
        "python -c pass": [python, "-c", "pass"],
    }
    return {name: words for name, words in found.items() if Path(words[0]).exists()}


def run(words: Sequence[str]) -> tuple[float, float]:
    """Seconds by the clock and of the processor that one process takes; its output is thrown away."""
    start = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(words[:4])} ... failed: {errors.decode(errors='replace')}")
    return seconds, usage.ru_utime + usage.ru_stime


def measure(named: Mapping[str, Sequence[str]], runs: int) -> tuple[dict[str, Timing], dict[str, Timing]]:
    """Times by the clock and of the processor, of runs made in turn; the first of each is not counted."""
    clock: dict[str, list[float]] = {name: [] for name in named}
    processor: dict[str, list[float]] = {name: [] for name in named}
    for number in range(runs + 1):
        for name, words in named.items():
            seconds, busy = run(words)
            if number:
                clock[name].append(seconds)
                processor[name].append(busy)
    return _timings(clock), _timings(processor)


def _timings(seconds: Mapping[str, list[float]]) -> dict[str, Timing]:
    return {name: Timing(values) for name, values in seconds.items()}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--documents", type=int, default=400)
    options.add_argument("--runs", type=int, default=7, help="counted runs of each")
    options.add_argument("--index", type=Path, help="an index that is there already, of the default vocabulary")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        index = given.index or Path(folder) / "documents.lexite"
        if given.index is None:
            texts, _ = read_texts(given.documents)
            Searcher.build(texts=texts, path=index, show_progress=False).close()
        named = commands(index)
        clock, processor = measure(named, given.runs)
    bare = next(iter(named))
    rows = [
        [name, f"{clock[name].median:.2f}", f"{processor[name].median:.2f}", f"{ratio(clock[name], clock[bare]):.2f}"]
        + [f"{ratio(processor[name], processor[bare]):.2f}"]
        for name in named
    ]
    others = [name for name in named if name != bare]
    ratios = {f"{name}: clock, of the bare script's": ratio(clock[name], clock[bare]) for name in others}
    ratios |= {f"{name}: processor, of the bare script's": ratio(processor[name], processor[bare]) for name in others}
    figures = {f"{name}: seconds": timing.median for name, timing in clock.items()}
    figures |= {f"{name}: processor seconds": timing.median for name, timing in processor.items()}
    figures["load of the machine (1 minute)"] = os.getloadavg()[0]
    columns = ["", "s by the clock", "s of processor", "clock, times the bare script's", "processor, times the bare script's"]
    report("A cold start, medians of whole processes", columns, rows, ratios, figures, given.json, "transformers")


if __name__ == "__main__":
    main()
