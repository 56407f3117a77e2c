"""Training on one core with one process, and on two with two: tokens a second, by the clock and by the time of the cores.

Two processes share the work in two ways: each encodes and trains, or, with text, one encodes and the other trains.

A process trains an autoencoder as ``lexite train`` does, up to the last step: from text through the default model, or from
token states that were computed before, which leaves the steps alone. Loading the model and compiling are not counted; all
processes begin at the same moment, each with one thread and its own core. Runs alternate: one, two, one, two …; medians count.
Where other work runs on the machine, its share of the cores goes into the seconds, so the cores that the processes got (their
CPU seconds by seconds) are given beside them.

    python benchmarks/ranks.py CORPUS [--tokens 100k] [--latents 16384] [--batch 4096] [--runs 3] [--json FILE]
    python benchmarks/ranks.py STATES …
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "LEXITE_THREADS"), "1")


def train(source: str, folder: str, tokens: int, latents: int, batch: int, encoding: int) -> None:
    """One process: says when it is ready, waits for a line, trains, and prints what that took."""
    os.sched_setaffinity(0, {int(os.environ.get("RANK", "0"))})
    from lexite.backbone import BackboneConfig, StateStore, load_backbone
    from lexite.backbone.store import is_store
    from lexite.kernels.ranks import Ranks
    from lexite.sae import SAEConfig
    from lexite.training import TrainingConfig
    from lexite.training.apart import train_apart
    from lexite.training.ranks import joined
    from lexite.training.run import TrainingResult, train_autoencoder
    from lexite.training.sources import StateSource, StoreSource, TextSource

    stream: StoreSource | TextSource
    if is_store(source):
        store = StateStore.open(source)
        stream, width = StoreSource(store), store.d_model
    else:
        model = load_backbone(BackboneConfig(device="cpu"))
        stream, width = TextSource([source], model), model.d_model
    sae = SAEConfig(width, latents, 8)
    small = TrainingConfig(tokens=2 * batch, batch_tokens=batch, buffer_tokens=2 * batch)
    whole = TrainingConfig(
        tokens=tokens, batch_tokens=batch, buffer_tokens=max(tokens // 2, 2 * batch), checkpoint_tokens=10**12
    )

    def run(name: str, config: TrainingConfig, ranks: Ranks) -> TrainingResult | None:
        def fit(states: StateSource, training: Ranks) -> TrainingResult:
            return train_autoencoder(states, Path(folder) / name, sae, config, show_progress=False, ranks=training)

        if encoding and isinstance(stream, TextSource):
            return train_apart(stream, fit, ranks, encoding, "cpu")
        return fit(stream, ranks)

    with joined() as ranks:
        run("warm", small, ranks)
        print("ready", flush=True)
        sys.stdin.readline()
        ranks.any(False)  # all are here
        wall, cpu = time.monotonic(), time.process_time()
        result = run("run", whole, ranks)
        taken = {"seconds": time.monotonic() - wall, "cpu_seconds": time.process_time() - cpu}
        found = {} if result is None else {name: result.summary[name] for name in ("tokens", "fvu")}
        print(json.dumps({**taken, **found}), flush=True)


def together(size: int, *arguments: str) -> dict[str, Any]:
    """Runs so many processes at once; gives tokens, seconds of the slowest, CPU seconds of each, and FVU."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
        found.close()
        shared = {**os.environ, **ONE_THREAD, "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        command = [sys.executable, __file__, "one-rank", arguments[0], folder, *arguments[1:]]
        processes = [
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**shared, "RANK": str(rank)}
            )
            for rank in range(size)
        ]
        for process in processes:
            assert process.stdout is not None and process.stdout.readline() == "ready\n", "a process ended before it was ready"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [json.loads(process.communicate()[0]) for process in processes]
    seconds = max(one["seconds"] for one in said)
    cpu = [one["cpu_seconds"] for one in said]
    tokens = said[0]["tokens"]
    return {
        "tokens": tokens,
        "fvu": said[0]["fvu"],
        "seconds": seconds,
        "cpu_seconds": cpu,
        "cores": sum(cpu) / seconds,
        "tokens_per_second": tokens / seconds,
        "tokens_per_second_of_slowest_core": tokens / max(cpu),
    }


def main() -> None:
    """Measures and prints."""
    from lexite.backbone.store import is_store
    from lexite.config import parse_count

    parser = ArgumentParser(description=__doc__)
    parser.add_argument("source")
    for name, default in (("tokens", "100k"), ("latents", "16384"), ("batch", "4096"), ("runs", "3")):
        parser.add_argument(f"--{name}", type=parse_count, default=parse_count(default))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    wanted = {"one": (1, 0), "two, each encodes and trains": (2, 0), "two, one encodes and one trains": (2, 1)}
    if is_store(given.source):
        wanted.popitem()
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in wanted}
    for _ in range(given.runs):
        for name, (size, encoding) in wanted.items():
            sizes = map(str, (given.tokens, given.latents, given.batch, encoding))
            runs[name].append(together(size, given.source, *sizes))
            shown = {key: value for key, value in runs[name][-1].items() if key != "tokens"}
            print(name, shown, file=sys.stderr, flush=True)
    keys = ("tokens_per_second", "tokens_per_second_of_slowest_core", "cores")
    medians = {name: {key: statistics.median(one[key] for one in done) for key in keys} for name, done in runs.items()}
    ratios = {name: {key: median[key] / medians["one"][key] for key in keys[:2]} for name, median in medians.items()}
    for name, median in medians.items():
        print(f"{name}: " + ", ".join(f"{key} {value:,.2f}" for key, value in median.items()))
        clock, core = ratios[name].values()
        print(f"    over one: {clock:.2f} by the clock, {core:.2f} by the time of the slowest core")
    if given.json is not None:
        given.json.write_text(json.dumps({"runs": runs, "medians": medians, "ratios": ratios}, indent=2))


if __name__ == "__main__":
    if sys.argv[1:2] == ["one-rank"]:
        train(sys.argv[2], sys.argv[3], *map(int, sys.argv[4:]))
    else:
        main()
