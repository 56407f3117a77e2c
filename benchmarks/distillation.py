"""Distillation of the dense model into latent terms, without labels: what it does to the ranking by BM25.

    python benchmarks/distillation.py TEXTS... --collections COLLECTION... --cache cache --json distillation.json

Each document of TEXTS gives a query, one of its sentences or a few words of one, and a passage of other sentences. The encoder
of the vocabulary is then trained with DenseDistillationLoss: over a batch's passages, its BM25 shall rank as the cosines of the
dense model do. A batch has each query's own passage and some of those that the dense model ranks high for it, so that there is
something to learn. Every collection is measured before and after, with the default terms and scoring of the vocabulary.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ablation import means, measure, rank
from frontier import TOP_K, encode, index_rows
from torch import nn

from lexite import LatentTermEncoder
from lexite.backbone import Backbone
from lexite.backbone.states import TokenStates
from lexite.corpus import ReadOptions, read_documents
from lexite.errors import CorpusError, LexiteError
from lexite.evaluation.cache import StateCache
from lexite.evaluation.judged import open_collections, read_collection
from lexite.files import write_json
from lexite.integrations.sentence_transformers import BM25Similarity, DenseDistillationLoss, to_sentence_transformers
from lexite.terms.encoding import stack_rows

SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
WORDS_OF_SENTENCE = (4, 40)
WORDS_OF_QUERY = (4, 10)
SENTENCES_OF_PASSAGE = (2, 8)
NEAREST = 60  # passages among which the others of a batch are drawn
PASSAGES_PER_QUERY = 5


@dataclass(frozen=True)
class Side:
    """Texts as the dense model reads them: states of their tokens, and their embeddings."""

    states: TokenStates
    dense: torch.Tensor

    def features(self, texts: np.ndarray) -> dict[str, Any]:
        """Some of the texts as a batch of the modules of sentence-transformers."""
        offsets = self.states.offsets
        parts = [self.states.states[offsets[text] : offsets[text + 1]] for text in texts]
        lengths = torch.tensor([0, *map(len, parts)])
        return {
            "token_embeddings": torch.cat(parts).float(),
            "cu_seq_lens_q": lengths.cumsum(0),
            "dense": self.dense[torch.from_numpy(texts)],
        }


class GivenEmbeddings(nn.Module):
    """A teacher whose embeddings are in the batch."""

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        return {"sentence_embedding": features["dense"]}


class CachedModel(nn.Module):
    """The modules behind a dense model, over token states that are there already."""

    def __init__(self, encoder: LatentTermEncoder) -> None:
        super().__init__()
        model = to_sentence_transformers(encoder)
        self.encoder, self.pooling, self.scoring = model.token_encoder, model.token_pooling, encoder.scoring

    def forward(self, features: dict[str, Any], task: str | None = None) -> dict[str, Any]:
        """Term weights of a batch."""
        return self.pooling(self.encoder(features, task=task), task=task)


def sentence_pairs(texts: Iterator[str], seed: int) -> Iterator[tuple[str, str]]:
    """A query and a passage of each text that has enough sentences; half of the queries are whole sentences."""
    random = np.random.default_rng(seed)
    for text in texts:
        found = [sentence.strip() for sentence in SENTENCE_END.split(text)]
        sentences = [s for s in found if WORDS_OF_SENTENCE[0] <= len(s.split()) <= WORDS_OF_SENTENCE[1]]
        if len(sentences) <= SENTENCES_OF_PASSAGE[1]:
            continue
        words = sentences.pop(int(random.integers(len(sentences)))).split()
        if random.random() < 0.5:
            first = int(random.integers(len(words)))
            words = words[first : first + int(random.integers(*WORDS_OF_QUERY))] or words
        start = int(random.integers(len(sentences) - SENTENCES_OF_PASSAGE[0]))
        passage = sentences[start : start + int(random.integers(*SENTENCES_OF_PASSAGE))]
        yield " ".join(words), " ".join(passage)


def read_side(backbone: Backbone, texts: Sequence[str], kind: Any) -> Side:
    """All texts of a kind, read by the dense model."""
    return Side(backbone.encode(texts, kind), torch.from_numpy(backbone.dense(texts, kind)))


def statistics_of(model: CachedModel, documents: Side) -> BM25Similarity:
    """BM25 over all passages."""
    model.eval()
    numbers = np.arange(len(documents.dense))
    with torch.no_grad():
        parts = [
            model.pooling.rows(model.encoder(documents.features(numbers[start : start + 64]), task="document"), raw=True)
            for start in range(0, len(numbers), 64)
        ]
    return BM25Similarity(model.scoring).fit(stack_rows(parts, model.encoder.hidden_dim))


def train(
    model: CachedModel, queries: Side, documents: Side, steps: int, batch: int, rate: float, temperature: float, seed: int
) -> list[float]:
    """Trains the encoder; returns the loss of each step."""
    loss = DenseDistillationLoss(
        model,
        statistics_of(model, documents),
        teacher=[GivenEmbeddings()],
        teacher_temperature=temperature,
        reconstruction_weight=0.0,
    )
    nearest = (queries.dense @ documents.dense.T).topk(min(NEAREST, len(documents.dense))).indices.numpy()
    random = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW([model.encoder.W_enc, model.encoder.b_enc], lr=rate, weight_decay=0.0)
    losses = []
    model.train()
    for step in range(steps):
        chosen = random.choice(len(queries.dense), min(batch, len(queries.dense)), replace=False)
        others = [random.choice(nearest[query], PASSAGES_PER_QUERY, replace=False) for query in chosen]
        passages = np.unique(np.concatenate([chosen, *others]))
        value = loss([queries.features(chosen), documents.features(passages)])["distillation"]
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, 10 * (step + 1) / steps) * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    model.eval()
    return losses


def evaluate(encoder: LatentTermEncoder, collections: Sequence[str], cache: str) -> dict[str, Any]:
    """nDCG@10 of latent terms on each collection, and the means."""
    states, by_name = StateCache(cache, encoder), {}
    terms = encoder.terms
    for opened in open_collections(list(collections), "test"):
        collection = read_collection(opened, ReadOptions())
        rows = {}
        for kind, floor in (("document", terms.floor_documents), ("query", terms.floor_queries)):
            k = encoder.k_for(kind)
            rows[kind] = encode(encoder, states, collection, kind, k).rows(k, floor, encoder.n_latents)
        with tempfile.TemporaryDirectory() as folder:
            index = index_rows(Path(folder) / "index", encoder, collection, rows["document"])
            rankings = rank(index, rows["document"], rows["query"], encoder.scoring, TOP_K + 1)
            del index  # its files are mapped
        by_name[collection.name] = measure(collection, rankings)
    return means(by_name)


def main() -> None:
    """Trains and measures, for each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="+", help="documents in any form that lexite reads")
    parser.add_argument("--collections", nargs="+", required=True)
    parser.add_argument("--cache", required=True, help="folder for token states, as of lexite eval --cache")
    parser.add_argument("--vocabulary", default="default")
    parser.add_argument("--documents", type=int, default=4000, help="documents of TEXTS to learn from")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=32, help="queries per step")
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--temperature", type=float, default=0.05, help="what cosines are divided by")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    encoder = LatentTermEncoder.from_pretrained(args.vocabulary)
    results: dict[str, Any] = {"settings": {k: str(v) for k, v in vars(args).items()}, "seeds": {}}
    results["before"] = evaluate(encoder, args.collections, args.cache)
    print("before", json.dumps(results["before"]), flush=True)
    for seed in args.seeds:
        texts = (document.full_text for document in read_documents(args.texts))
        pairs = list(itertools.islice(sentence_pairs(texts, seed), args.documents))
        if len(pairs) < PASSAGES_PER_QUERY:
            raise CorpusError(f"{len(pairs)} documents have sentences enough, but {PASSAGES_PER_QUERY} are needed. Give more.")
        queries = read_side(encoder.backbone, [query for query, _ in pairs], "query")
        documents = read_side(encoder.backbone, [passage for _, passage in pairs], "document")
        torch.manual_seed(seed)
        model = CachedModel(encoder)
        losses = train(model, queries, documents, args.steps, args.batch, args.learning_rate, args.temperature, seed)
        tuned = LatentTermEncoder(encoder.backbone, model.encoder.autoencoder(), encoder.terms, encoder.scoring)
        found = {"losses": losses, **evaluate(tuned, args.collections, args.cache)}
        results["seeds"][seed] = found
        last = max(1, args.steps // 10)
        print(f"seed {seed}: loss {np.mean(losses[:last]):.3f} to {np.mean(losses[-last:]):.3f}; after", end=" ")
        print(json.dumps({name: value for name, value in found.items() if name != "losses"}), flush=True)
    if args.json is not None:
        write_json(args.json, results)


if __name__ == "__main__":
    try:
        main()
    except LexiteError as error:
        raise SystemExit(f"error: {error}") from None
