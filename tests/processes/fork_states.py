"""Run by test_fork.py in a process of its own: forks after each step of a parent's life, and compares child and parent."""

from __future__ import annotations

import sys

import numpy as np
import torch
from helpers_processes import in_child

from lexite.index import BM25Index
from lexite.terms import LatentTermEncoder

TEXTS = ["plants breathe through stomata " * n for n in range(1, 25)]


def rows(encoder: LatentTermEncoder) -> list[np.ndarray]:
    """Documents in many batches with torch's own number of threads; a query, which is one batch, with one thread."""
    documents, threads = encoder.encode_documents(TEXTS), torch.get_num_threads()
    torch.set_num_threads(1)
    query = encoder.encode_queries(["how do plants breathe"]).rows
    torch.set_num_threads(threads)
    found = [documents, query]
    return [array for matrix in found for array in (matrix.data, matrix.indices)]


def compare(state: str, encoder: LatentTermEncoder) -> None:
    child, parent = in_child(lambda: rows(encoder)), rows(encoder)
    assert all(np.array_equal(a, b) for a, b in zip(child, parent, strict=True)), state
    print(state, flush=True)


def main(precision: str) -> None:
    encoder = LatentTermEncoder.from_pretrained(precision=precision)
    in_child(lambda: rows(encoder))  # compiles what is not in the cache yet: compiled code rounds otherwise than cached code
    compare("loaded", encoder)
    compare("encoded", encoder)

    index = BM25Index.in_memory(encoder.encode_documents(TEXTS), [str(n) for n in range(len(TEXTS))])
    queries = encoder.encode_queries(TEXTS)
    hits = index.search(queries)
    assert in_child(lambda: index.search(queries)) == hits
    compare("searched", encoder)

    weight = torch.nn.Parameter(torch.randn(800, 384))
    (torch.randn(4000, 384) @ weight.t()).relu().square().sum().backward()
    compare("trained", encoder)

    threads = torch.get_num_threads()
    assert np.array_equal(in_child(lambda: in_child(lambda: rows(encoder)))[0], rows(encoder)[0]), "a child of a child"
    fresh = in_child(lambda: rows(LatentTermEncoder.from_pretrained(precision=precision)))
    assert np.array_equal(fresh[0], rows(encoder)[0]), "loaded anew by the child"
    assert (torch.get_num_threads(), in_child(torch.get_num_threads)) == (threads, 1)
    print("children", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
