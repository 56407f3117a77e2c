"""Ultra-sparse codes of sentence embeddings: CSRv2's recipe beside plain CSR, at 2 and 4 latents a text.

    python benchmarks/ultra_sparse.py COLLECTION... --json results.json

A collection in BEIR form becomes a classification task: the class of a document is the query that it is judged relevant to;
documents that are relevant to several queries, or whose class has fewer than four, are left out. Half of each class is for
training, half for testing (by the seed). Quality is the share of test documents whose nearest training document, by the cosine
of the sparse codes, is of their class; the dense embeddings, and codes that nothing was trained for, stand beside it. A latent
is dead that no document of the whole collection has.

- ``reconstruction``: with k and with 4k latents, and AuxK, on all documents without labels.
- ``csr``: beside it each document's codes are to be unlike those of the others of the batch (CSR, arXiv 2503.01776).
- ``csr + labels``: the supervised contrastive term in place of that one, k as it is from the start.
- ``csrv2``: the same, with k lowered from 64 over the first 70% of the steps (CSRv2, arXiv 2602.05735).

The losses are those of lexite.integrations.sentence_transformers, in a plain loop over embeddings that are made once.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lexite.backbone import load_backbone
from lexite.corpus import open_collection
from lexite.errors import CorpusError, LexiteError
from lexite.files import write_json
from lexite.integrations.sentence_transformers import (
    KAnnealingCallback,
    SentenceAsToken,
    SparseAutoEncoderTokenEncoder,
    SparseTokenPooling,
    SupervisedContrastiveLoss,
    TokenReconstructionLoss,
)

SMALLEST_CLASS = 4
METHODS = ("reconstruction", "csr", "csr + labels", "csrv2")
ANNEAL_FROM, ANNEAL_SHARE = 64, 0.7
TEMPERATURE = 0.2  # of both contrastive terms


@dataclass(frozen=True)
class Task:
    """A classification task: embeddings of all documents, and the numbers and classes of those with one."""

    name: str
    embeddings: torch.Tensor
    train: np.ndarray
    test: np.ndarray
    classes: np.ndarray


@dataclass(frozen=True)
class Result:
    """What a method reached."""

    task: str
    method: str
    k: int
    seed: int
    accuracy: float
    dead_share: float


def read_task(folder: Path, seed: int) -> Task:
    """The task of a collection; its split is by the seed.

    Raises:
        CorpusError: the collection has fewer than two classes.
    """
    collection = open_collection(folder)
    documents = list(collection.documents())
    topics: dict[str, set[str]] = {}
    for query, grades in collection.qrels.items():
        for document, grade in grades.items():
            if grade > 0:
                topics.setdefault(document, set()).add(query)
    single = {document: next(iter(queries)) for document, queries in topics.items() if len(queries) == 1}
    sizes = Counter(single.values())
    names = sorted(name for name, size in sizes.items() if size >= SMALLEST_CLASS)
    if len(names) < 2:
        raise CorpusError(
            f"{folder}: {len(names)} of {len(collection.qrels)} queries have {SMALLEST_CLASS} documents or more that are "
            "relevant to them alone, but two such classes are needed. Take a collection with more judgements."
        )
    classes = np.array([names.index(topic) if (topic := single.get(d.id)) in names else -1 for d in documents])
    random = np.random.default_rng(seed)
    train, test = [], []
    for number in range(len(names)):
        members = random.permutation(np.flatnonzero(classes == number))
        train.extend(members[: len(members) // 2])
        test.extend(members[len(members) // 2 :])
    embeddings = torch.from_numpy(load_backbone().dense([d.full_text for d in documents], "document"))
    return Task(collection.name, embeddings, np.sort(train), np.sort(test), classes)


class CachedModel(nn.Module):
    """The modules behind a dense model, over embeddings that are there already."""

    def __init__(self, width: int, n_latents: int, k: int) -> None:
        super().__init__()
        self.states = SentenceAsToken(width)
        self.encoder = SparseAutoEncoderTokenEncoder(width, n_latents, k, dead_after_tokens=20_000)
        self.pooling = SparseTokenPooling(n_latents, transform="none")

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Codes of the embeddings of a batch."""
        return self.pooling(self.encoder(self.states(features)))

    @torch.no_grad()
    def codes(self, embeddings: torch.Tensor) -> torch.Tensor:
        """(n, n_latents) codes, without training."""
        self.eval()
        return self({"sentence_embedding": embeddings})["sentence_embedding"]


def unlike_others(codes: torch.Tensor) -> torch.Tensor:
    """``-mean_i log(e^{c_ii / τ} / Σ_j e^{c_ij / τ})`` with c the cosine of codes: CSR's contrastive term, without labels."""
    rows = nn.functional.normalize(codes, dim=1)
    return nn.functional.cross_entropy(rows @ rows.t() / TEMPERATURE, torch.arange(len(rows)))


def train(model: CachedModel, task: Task, method: str, steps: int, batch: int, rate: float, seed: int) -> None:
    """Trains the codes of a task by a method."""
    model.encoder.b_pre.data.copy_(task.embeddings.mean(0))
    reconstruction = TokenReconstructionLoss(model, multi_topk_coefficient=1 / 8, shuffle_tokens=0)
    contrastive = SupervisedContrastiveLoss(model, temperature=TEMPERATURE, reconstruction_weight=0.0)
    with_labels, annealed = method in ("csr + labels", "csrv2"), method == "csrv2"
    random, final = np.random.default_rng(seed), model.encoder.k
    annealing = KAnnealingCallback(ANNEAL_FROM, ANNEAL_SHARE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / (0.05 * steps)) * 0.5 * (1 + math.cos(math.pi * step / steps))
        model.encoder.k = annealing.k_at(step, steps, final) if annealed else final
        some = torch.from_numpy(random.integers(len(task.embeddings), size=batch))
        loss = sum(reconstruction([{"sentence_embedding": task.embeddings[some]}]).values())
        if method == "csr":
            loss = loss + unlike_others(model({"sentence_embedding": task.embeddings[some]})["sentence_embedding"])
        if with_labels:
            chosen = random.choice(task.train, size=min(batch, len(task.train)), replace=False)
            features = {"sentence_embedding": task.embeddings[chosen]}
            loss = loss + sum(contrastive([features], torch.from_numpy(task.classes[chosen])).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.encoder.k = final


def nearest_accuracy(codes: torch.Tensor, task: Task) -> float:
    """Share of test documents whose nearest training document is of their class."""
    rows = nn.functional.normalize(codes.float(), dim=1)
    nearest = task.train[(rows[task.test] @ rows[task.train].t()).argmax(1).numpy()]
    return float((task.classes[nearest] == task.classes[task.test]).mean())


def main() -> None:
    """Measures all methods on all tasks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", type=Path, nargs="+")
    parser.add_argument("--latents", type=int, default=1536)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--k", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    results: list[Result] = []
    for folder in args.collections:
        for seed in args.seeds:
            task = read_task(folder, seed)
            n_classes = len(set(task.classes) - {-1})
            if seed == args.seeds[0]:
                print(f"{task.name}: {len(task.embeddings)} documents, {n_classes} classes, {len(task.test)} test documents")
            results.append(Result(task.name, "dense", 0, seed, nearest_accuracy(task.embeddings, task), 0.0))
            for k in args.k:
                for method in args.methods:
                    torch.manual_seed(seed)
                    model = CachedModel(task.embeddings.shape[1], args.latents, k)
                    train(model, task, method, args.steps, args.batch, args.learning_rate, seed)
                    codes = model.codes(task.embeddings)
                    dead = float((codes.sum(0) == 0).float().mean())
                    results.append(Result(task.name, method, k, seed, nearest_accuracy(codes, task), dead))
                    print(json.dumps(asdict(results[-1])), flush=True)
    print_means(results)
    if args.json is not None:
        settings = {name: str(value) for name, value in vars(args).items()}
        write_json(args.json, {"settings": settings, "results": [asdict(result) for result in results]})


def print_means(results: list[Result]) -> None:
    """A table of means over the seeds."""
    groups: dict[tuple[str, int, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.task, result.k, result.method), []).append(result)
    for (task, k, method), some in groups.items():
        accuracies, dead = [r.accuracy for r in some], np.mean([r.dead_share for r in some])
        spread = f"{np.mean(accuracies):.3f} ± {np.std(accuracies):.3f}"
        print(f"{task:12} k {k}  {method:30} accuracy {spread}  dead {dead:.3f}")


if __name__ == "__main__":
    try:
        main()
    except LexiteError as error:
        raise SystemExit(f"error: {error}") from None
