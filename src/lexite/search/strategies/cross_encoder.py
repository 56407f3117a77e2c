"""Reranking by a cross-encoder: a model that reads query and passage together and gives the pair a score.

Nogueira and Cho 2019, arXiv 1901.04085. It is the slowest and mostly the best of the second stages.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lexite.config import option
from lexite.corpus.passages import cut_documents
from lexite.errors import ArgumentError, ModelError
from lexite.index.config import StoredDocument
from lexite.ranking.hits import Hit
from lexite.search.strategies.candidates import check_settings, document_of, rescored, texts_of_queries
from lexite.search.strategy import Answer, Backend

Activation: TypeAlias = Literal["auto", "none", "sigmoid"]
NAME = "rerank"


@dataclass(frozen=True)
class Rerank:
    """Ranks candidates again by what a cross-encoder of sentence-transformers says of query and passage.

    A document that was cut into passages is judged by its best ones and gets the score of the best; a whole long text is never
    read. Title and passage are given together.
    """

    model: str = option("cross-encoder/ms-marco-MiniLM-L6-v2", "Cross-encoder: a folder, or a name on the Hugging Face hub.")
    candidates: int = option(50, "Hits of the ranking before that are scored again.", minimum=1)
    weight: float | None = option(
        None,
        "Weight beside the current scores, both brought to 0 … 1 (default: the cross-encoder alone).",
        minimum=0.0,
        maximum=1e6,
    )
    passages: int = option(1, "Passages of each document that are read: the best ones of the first stage.", minimum=1)
    max_length: int | None = option(None, "Tokens of a pair that are read (default: what the model says).", minimum=8)
    tokens_per_batch: int = option(4096, "Tokens, padding included, that go through the model at once.", minimum=1, count=True)
    device: str = option("auto", "Where the model runs: cpu, cuda, cuda:1, mps; auto takes the best there is.")
    activation: Activation = option(
        "auto", "What is done with the model's output: what the model says (auto), nothing, or a sigmoid."
    )
    encoder: Any = option(None, "A CrossEncoder that is loaded already, in place of model, max_length and device.", hidden=True)

    def __post_init__(self) -> None:
        check_settings(self, NAME)

    @property
    def needs(self) -> frozenset[str]:
        """Nothing but texts."""
        return frozenset()

    def __call__(self, answer: Answer) -> Answer:
        """The same hits, the candidates of each query by their new scores.

        Raises:
            ArgumentError: queries or candidates without texts.
            ModelError: the model cannot be loaded, or gives more than one number for a pair.
        """
        texts = texts_of_queries(answer, NAME)
        pairs: list[tuple[str, str]] = []
        bounds = [0]  # of the pairs of each candidate
        for number, (text, hits) in enumerate(zip(texts, answer.rankings, strict=True)):
            for hit in hits[: self.candidates]:
                pairs.extend((text, passage) for passage in self._passages(answer, number, hit))
                bounds.append(len(pairs))
        scores = self._scores(pairs)
        best = np.maximum.reduceat(scores, bounds[:-1]) if pairs else scores  # every candidate has a passage
        rankings, start = [], 0
        for hits in answer.rankings:
            stop = start + len(hits[: self.candidates])
            rankings.append(rescored(hits, best[start:stop], self.weight))
            start = stop
        return answer.with_rankings(rankings)

    def _passages(self, answer: Answer, number: int, hit: Hit) -> Iterator[str]:
        """What is read of a candidate: its title with its best passages."""
        stored = document_of(answer.backend, hit, NAME)
        cut = _spans_of(answer.backend, stored) if hit.span is None else [hit.span]
        spans: Sequence[tuple[int, int] | None] = cut[:1]
        if len(cut) > 1 or (self.passages > 1 and hit.span is not None):
            found = answer.backend.passages(answer.queries[number], hit.id, **_scoring(answer))
            spans = [passage.span for passage in found[: self.passages]] or spans
        for span in spans:
            body = stored.text if span is None else stored.text[slice(*span)]
            yield " ".join(part for part in (stored.title, body) if part)

    def _scores(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """The score of each pair: those of like length go through the model together."""
        from lexite.backbone.batches import plan_batches

        scores = np.empty(len(pairs), dtype=np.float32)
        if not pairs:
            return scores
        model = self.encoder if self.encoder is not None else _load(self.model, self.device, self.max_length)
        name = self.model if self.encoder is None else "given"
        if model.num_labels != 1:
            raise ModelError(
                f"The cross-encoder '{name}' gives {model.num_labels} numbers for a pair. A reranker gives one: take a "
                "model that was trained to rank."
            )
        options: dict[str, Any] = {"show_progress_bar": False, "convert_to_numpy": True}
        if self.activation != "auto":
            options["activation_fn"] = _activation(self.activation)
        for batch in plan_batches(_lengths(model, pairs), self.tokens_per_batch):
            try:
                scores[batch] = model.predict([pairs[i] for i in batch], batch_size=len(batch), **options)
            except (RuntimeError, IndexError) as error:  # as where a pair is longer than the model's table of positions
                raise ModelError(
                    f"The cross-encoder '{name}' cannot read a pair: {error}. Where it reads fewer tokens, say how many: "
                    "max_length= (--rerank-max-length). Where memory is short, take a smaller tokens_per_batch."
                ) from error
        if not np.isfinite(scores).all():
            raise ModelError(f"The cross-encoder '{name}' gives NaN or infinity. Check its weights.")
        return scores


def _spans_of(backend: Backend, stored: StoredDocument) -> list[tuple[int, int] | None]:
    """Where the passages lie of a hit that names none: a document that is whole, or one that another ranking let in."""
    config = getattr(backend, "passages_config", None)
    spans = [] if config is None else cut_documents([stored], config).spans.tolist()
    return [(start, stop) for start, stop in spans] if len(spans) > 1 else [None]


def _scoring(answer: Answer) -> dict[str, Any]:
    """How the passages of a hit are scored: as the search was."""
    scoring = answer.options.get("scoring")
    return {} if scoring is None else {"scoring": scoring}


def _lengths(model: Any, pairs: Sequence[tuple[str, str]]) -> list[int]:
    """Tokens of each pair, as far as the model reads them."""
    firsts, seconds = zip(*pairs, strict=True)
    limit = model.max_seq_length
    encoded = model.tokenizer(list(firsts), list(seconds), truncation=limit is not None, max_length=limit)
    return [max(len(ids), 1) for ids in encoded["input_ids"]]


def _activation(name: Activation) -> Callable[..., Any]:
    import torch

    return torch.nn.Sigmoid() if name == "sigmoid" else torch.nn.Identity()


@functools.lru_cache(maxsize=1)
def _load(name: str, device: str, max_length: int | None) -> Any:
    """The model; the one that was used last is kept."""
    from lexite.kernels.threads import use_torch

    try:
        from sentence_transformers import CrossEncoder
    except ImportError as error:
        raise ArgumentError(
            "Reranking by a cross-encoder needs sentence-transformers. Run: pip install 'sentence-transformers>=6,<7'"
        ) from error
    use_torch()
    if name.startswith(("/", ".", "~")) and not Path(name).is_dir():  # the hub would complain of the letters of such a name
        raise ModelError(f"The cross-encoder '{name}' cannot be loaded: there is no such folder.")
    try:
        return CrossEncoder(name, device=None if device == "auto" else device, max_length=max_length)
    except Exception as error:  # whatever the model's files, the hub or the device make it raise
        raise ModelError(f"The cross-encoder '{name}' cannot be loaded: {error}") from error
