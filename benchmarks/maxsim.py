"""MaxSim of one query with the passages of its candidates, on one core: from codes, and from token states.

    python benchmarks/maxsim.py [--candidates 100] [--tokens 260] [--query-tokens 12] [--k 6] [--width 128] [--runs 15]
                                [--json FILE]

A passage of 260 tokens has some 200 words. Codes, states and atoms are random. Latents are as unequally frequent as words are
(Zipf), so that candidates share many. A token decoder has atoms of 128 numbers, an autoencoder's decoder those of a state
(``--width 384``). Norms of tokens are in the index for the second; for the first they are computed, from atoms in 4 bits as a
token decoder has them. Encoding the query is not counted. "numpy" and "torch" do the same from the same codes and states: they
decode all tokens (a sparse product, an embedding bag), multiply, and take the largest products by passage.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from common import interleave, parser, ratio, report
from numpy.typing import NDArray
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from lexite.kernels.atom_products import Levels
from lexite.kernels.hardware import fast_bf16, fast_int8
from lexite.kernels.maxsim import LengthsBy, code_norms, maxsim_codes, maxsim_vectors

N_LATENTS = 16_384
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Workload:
    """A query, and passages with the codes and the states of their tokens."""

    queries: Floats
    atoms: Floats
    levels: NDArray[np.int8]
    steps: Floats
    bias: Floats
    tokens: NDArray[np.int64]
    entries: NDArray[np.int64]
    latents: NDArray[np.int32]
    values: Floats
    norms: Floats
    states: Floats

    @property
    def weights(self) -> Floats:
        return np.ones(len(self.queries), dtype=np.float32)


def workload(candidates: int, tokens: int, query_tokens: int, k: int, width: int, seed: int = 0) -> Workload:
    """Random codes and states; a token has k latents at most, since one may be drawn twice."""
    generator = np.random.default_rng(seed)
    n_tokens = candidates * tokens

    def unit(rows: int) -> Floats:
        vectors = generator.standard_normal((rows, width), dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    frequencies = 1.0 / np.arange(1, N_LATENTS + 1)
    latents = generator.choice(N_LATENTS, n_tokens * k, p=frequencies / frequencies.sum()).astype(np.int32)
    values, atoms = generator.random(n_tokens * k, dtype=np.float32), unit(N_LATENTS)
    steps = np.abs(atoms).max(axis=1) / 7
    levels = np.rint(atoms / steps[:, None]).astype(np.int8)
    atoms = levels * steps[:, None]
    entries, bias = np.arange(n_tokens + 1, dtype=np.int64) * k, unit(1)[0]
    norms = code_norms(atoms, bias, entries, latents, values)
    starts = np.arange(candidates + 1, dtype=np.int64) * tokens
    states = unit(n_tokens)
    return Workload(unit(query_tokens), atoms, levels, steps, bias, starts, entries, latents, values, norms, states)


def from_codes(work: Workload, atoms: Any) -> Callable[[], Floats]:
    """lexite's kernel over codes, with atoms in fp32, bf16 or int8."""
    rest = work.bias, work.tokens, work.entries, work.latents, work.values, work.norms
    return lambda: maxsim_codes(work.queries, work.weights, atoms, *rest)


def norms_and_codes(work: Workload, atoms: Any) -> Callable[[], Floats]:
    """The same with norms that no index keeps, as for a token decoder."""
    rest = work.bias, work.tokens, work.entries, work.latents, work.values, LengthsBy(work.levels, work.steps)
    return lambda: maxsim_codes(work.queries, work.weights, atoms, *rest)


def numpy_codes(work: Workload) -> Floats:
    """Decodes by a sparse product, then as :func:`numpy_states`."""
    codes = csr_array((work.values, work.latents, work.entries), shape=(len(work.norms), len(work.atoms)))
    return numpy_states(work, (codes @ work.atoms + work.bias) / work.norms[:, None])


def numpy_states(work: Workload, states: Floats) -> Floats:
    """A product, and the largest by passage; no passage is empty."""
    best = np.maximum.reduceat(states @ work.queries.T, work.tokens[:-1], axis=0)
    return np.asarray(best.sum(axis=1), dtype=np.float32)


def torch_codes(work: Workload) -> Floats:
    """Decodes by an embedding bag, then as :func:`torch_states`."""
    arguments = torch.from_numpy(work.latents).long(), torch.from_numpy(work.atoms), torch.from_numpy(work.entries[:-1])
    values = torch.from_numpy(work.values)
    decoded = torch.nn.functional.embedding_bag(*arguments, mode="sum", per_sample_weights=values)
    return torch_states(work, ((decoded + torch.from_numpy(work.bias)) / torch.from_numpy(work.norms)[:, None]))


def torch_states(work: Workload, states: torch.Tensor) -> Floats:
    """A product, and the largest by passage."""
    products = states @ torch.from_numpy(work.queries).T
    lengths = torch.from_numpy(np.diff(work.tokens))
    scores: Floats = torch.segment_reduce(products, "max", lengths=lengths).sum(dim=1).numpy()
    return scores


def ways(work: Workload) -> dict[str, Callable[[], Floats]]:
    """Everything that is timed; all give the scores of the passages."""
    found = {"codes": from_codes(work, work.atoms), "codes and norms": norms_and_codes(work, work.atoms)}
    if fast_bf16():
        narrow = torch.from_numpy(work.atoms).to(torch.bfloat16)
        found["codes, atoms in bf16"] = from_codes(work, narrow)
        found["codes and norms, atoms in bf16"] = norms_and_codes(work, narrow)
    if fast_int8():
        whole = Levels.of(work.levels, work.steps)
        found["codes, atoms in int8"] = from_codes(work, whole)
        found["codes and norms, atoms in int8"] = norms_and_codes(work, whole)
    found["codes by numpy"] = lambda: numpy_codes(work)
    found["codes by torch"] = lambda: torch_codes(work)
    found["states"] = lambda: maxsim_vectors(work.queries, work.weights, work.states, work.tokens)
    found["states by numpy"] = lambda: numpy_states(work, work.states)
    found["states by torch"] = lambda: torch_states(work, torch.from_numpy(work.states))
    return found


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--candidates", type=int, default=100)
    options.add_argument("--tokens", type=int, default=260, help="tokens of each candidate")
    options.add_argument("--query-tokens", type=int, default=12)
    options.add_argument("--k", type=int, default=6, help="latents of a token")
    options.add_argument("--width", type=int, default=128, help="numbers of an atom")
    options.add_argument("--runs", type=int, default=15, help="counted runs of each")
    given = options.parse_args()
    os.environ["LEXITE_THREADS"] = "1"
    torch.set_num_threads(1)
    work = workload(given.candidates, given.tokens, given.query_tokens, given.k, given.width)
    with threadpool_limits(1), torch.inference_mode():
        timings = interleave(given.runs, 2, ways(work))
    rows = [[name, f"{1e3 * timing.median:.2f}", timing.spread] for name, timing in timings.items()]
    figures = {f"{name.replace(', ', '_').replace(' ', '_')}_ms": 1e3 * timing.median for name, timing in timings.items()}
    ratios = {
        "codes_vs_numpy": ratio(timings["codes by numpy"], timings["codes"]),
        "codes_vs_torch": ratio(timings["codes by torch"], timings["codes"]),
        "states_vs_torch": ratio(timings["states by torch"], timings["states"]),
    }
    title = f"{given.candidates} candidates of {given.tokens} tokens, a query of {given.query_tokens}, atoms of {given.width}"
    report(title, ["", "ms (median)", "ms (min – max)"], rows, ratios, figures, given.json)


if __name__ == "__main__":
    main()
