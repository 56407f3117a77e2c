"""Second stages: what each step of a preset's chain brings, on test collections.

    python benchmarks/second_stages.py COLLECTION... --cache cache --json second_stages.json

Every collection is indexed as ``lexite eval`` does it. It is measured with the first stage, with the chain after each of its
steps, without each of its steps, with MaxSim alone, and with MaxSim from token states in place of codes. Token states and
vectors come from the cache, which is filled where it lacks something. ``second_stages_time.py`` measures the times.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ablation import means
from numpy.typing import NDArray

from lexite import LatentTermEncoder
from lexite.corpus import ReadOptions
from lexite.corpus.passages import PassageConfig, passages_of
from lexite.evaluation.cache import StateCache
from lexite.evaluation.evaluate import evaluate_collections
from lexite.evaluation.judged import JudgedCollection, open_collections, read_collection
from lexite.files import write_json
from lexite.index.side_config import SideDataConfig
from lexite.scoring.words import LiteralConfig
from lexite.search.presets import PRESETS
from lexite.search.strategies import STRATEGIES
from lexite.search.strategies.maxsim import MaxSim
from lexite.search.strategy import Strategy

FIRST = "first stage"
READ = ReadOptions(skip_bad=True)


def chains_of(steps: Sequence[tuple[str, Strategy]]) -> dict[str, list[Strategy]]:
    """The chain after each of its steps, and without each of them."""
    names = [name for name, _ in steps]
    found = {"+".join(names[: n + 1]): [step for _, step in steps[: n + 1]] for n in range(len(steps))}
    for left_out in names[:-1]:
        found[f"without-{left_out}"] = [step for name, step in steps if name != left_out]
    return found


class CachedStates(Mapping[str, Sequence[NDArray[Any]]]):
    """Token states of a collection's passages by the id of the document, from a cache."""

    def __init__(self, cache: StateCache, collection: JudgedCollection, passages: PassageConfig | None) -> None:
        self.states: dict[str, list[NDArray[Any]]] = {}
        for documents, cut, states in cache.documents(collection, passages):
            rows = states.states.to("cpu").half().numpy()
            for document, begin, end in zip(documents, cut.bounds[:-1], cut.bounds[1:], strict=True):
                bounds = states.offsets[begin : end + 1]
                self.states[document.id] = [rows[low:high] for low, high in zip(bounds[:-1], bounds[1:], strict=True)]

    def __getitem__(self, identifier: str) -> Sequence[NDArray[Any]]:
        return self.states[identifier]

    def __iter__(self) -> Any:
        return iter(self.states)

    def __len__(self) -> int:
        return len(self.states)


def with_states(steps: Sequence[tuple[str, Strategy]], states: CachedStates) -> list[Strategy]:
    """The chain with MaxSim from token states."""
    return [
        dataclasses.replace(step, source="states", states=states) if isinstance(step, MaxSim) else step for _, step in steps
    ]


def measure(given: argparse.Namespace, steps: Sequence[tuple[str, Strategy]]) -> dict[str, Any]:
    """Quality, bytes and postings of each chain on each collection, one collection after the other."""
    encoder = LatentTermEncoder.from_pretrained(given.vocabulary)
    cache, preset = StateCache(given.cache, encoder), PRESETS[given.preset]
    passages = passages_of(preset.passages_over("auto"))
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for path in given.collections:
        (collection,) = [read_collection(opened, READ) for opened in open_collections([path], "test")]
        chains: dict[str, Sequence[Strategy]] = dict(chains_of(steps))
        maxsim = next((step for _, step in steps if isinstance(step, MaxSim)), None)
        if maxsim is not None:
            states = CachedStates(cache, collection, passages)
            alone = dataclasses.replace(maxsim, alone=True)
            chains["maxsim-alone"] = [alone]
            chains["maxsim-alone,states"] = [dataclasses.replace(alone, source="states", states=states)]
            chains["whole,states"] = with_states(steps, states)
        report = evaluate_collections(
            encoder,
            [path],
            baselines=("dense", "bm25"),
            cache=given.cache,
            options=READ,
            scoring=preset.recorded_over(None),
            literal=preset.words_over(LiteralConfig()),
            passages=passages,
            chains=chains,
            side_data=SideDataConfig(vectors=given.vectors),
        )
        ((name, row),) = report.collections.items()
        for system, values in row.items():
            called = FIRST if system == "latent+words" else system.removeprefix("latent+words > ")
            found.setdefault(called, {})[name] = values
        print(name, {system: round(values[name]["nDCG@10"], 4) for system, values in found.items()}, flush=True)
    return {
        system: {
            **means({name: values["nDCG@10"] for name, values in rows.items()}),
            "R@100": statistics.fmean(values["R@100"] for values in rows.values()),
            "bytes_per_document": {name: values["bytes_per_document"] for name, values in rows.items()},
        }
        for system, rows in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", nargs="+", help="BEIR folders")
    parser.add_argument("--vocabulary", default="default")
    parser.add_argument("--preset", default="best", help="whose chain is measured")
    parser.add_argument("--vectors", default="int8", help="how the index keeps dense vectors")
    parser.add_argument("--cache", required=True, help="folder for token states, as of lexite eval --cache")
    parser.add_argument("--json", type=Path, help="file for the results")
    given = parser.parse_args()
    steps = [(name, STRATEGIES[name](**settings)) for name, settings in PRESETS[given.preset].steps]
    results = measure(given, steps)
    for name, values in results.items():
        half = " / ".join("-" if values[key] is None else f"{values[key]:.4f}" for key in ("ndcg_chosen_on", "ndcg_rest"))
        print(f"{name:50s} {values['ndcg']:.4f} ({half})")
    if given.json is not None:
        write_json(given.json, results)


if __name__ == "__main__":
    main()
