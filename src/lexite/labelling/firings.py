"""Firings: which latent answers to which token of a sample of passages, held compactly in memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexite.backbone.base import states_and_vectors
from lexite.errors import BackboneError, CorpusError
from lexite.labelling.tokens import TokenVectors, centred, in_bytes, mean_state
from lexite.labelling.unfinished import Unfinished
from lexite.progress import progress
from lexite.terms.encoder import LatentTermEncoder

if TYPE_CHECKING:
    from lexite.backbone.states import TokenStates

logger = logging.getLogger("lexite")
PASSAGES_AT_ONCE = 1024
MOST_FIRINGS = 96_000_000  # 8 bytes each while they are sorted; only vocabularies without a bound on k come near it


@dataclass(frozen=True, eq=False)
class Firings:
    """The codes of the tokens of some passages, by latent.

    Attributes:
        passages: the texts.
        documents: ``(n_passages,)`` the number of the document that each passage is from, ascending.
        token_ids: ``(n_tokens,)`` int32.
        offsets: ``(n_passages + 1,)`` the tokens of each passage.
        starts: ``(n_latents + 1,)`` the firings of each latent.
        tokens: ``(n_firings,)`` int32, the tokens that a latent fires on, ascending within it.
        values: ``(n_firings,)`` float32, how strongly.
        vectors: ``(n_passages, d)`` float16 dense vectors of length 1; None where the model has none.
        states: the states of the tokens of some passages; None where none were kept.
    """

    passages: Sequence[str]
    documents: NDArray[np.int64]
    token_ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    starts: NDArray[np.int64]
    tokens: NDArray[np.int32]
    values: NDArray[np.float32]
    vectors: NDArray[np.float16] | None = None
    states: TokenVectors | None = None

    @property
    def n_latents(self) -> int:
        """Number of latents."""
        return len(self.starts) - 1

    @property
    def n_passages(self) -> int:
        """Number of passages."""
        return len(self.passages)

    @property
    def n_tokens(self) -> int:
        """Number of tokens."""
        return len(self.token_ids)

    def of(self, latent: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The tokens that a latent fires on, and how strongly."""
        part = slice(int(self.starts[latent]), int(self.starts[latent + 1]))
        return self.tokens[part], self.values[part]

    def passage_of(self) -> NDArray[np.int32]:
        """``(n_tokens,)`` the passage of each token."""
        return np.repeat(np.arange(self.n_passages, dtype=np.int32), np.diff(self.offsets))


def collect_firings(
    encoder: LatentTermEncoder,
    passages: Iterable[tuple[int, str]],
    *,
    n_tokens: int,
    keeps_states: Callable[[int], bool] = lambda document: False,
    kept: Unfinished | None = None,
    show_progress: bool = False,
) -> Firings:
    """Encodes passages until there are enough tokens.

    Args:
        encoder: the vocabulary.
        passages: the number of its document and the text of each passage; a stream, read once.
        n_tokens: tokens that are enough.
        keeps_states: whether the states of a document's tokens are kept, a byte a number.
        kept: what an earlier run has encoded, and where this one keeps it; None keeps nothing.
        show_progress: show progress on stderr.

    Raises:
        CorpusError: there is no text.
        BackboneError: the model fails, or gives NaN.
    """
    collected, going_on = _Collected(encoder, keeps_states), False
    with progress("Reading where latents fire", n_tokens, "tokens", show_progress) as bar:
        for number, chunk in enumerate(_chunks(passages)):
            name = f"passages-{number:05d}.safetensors"
            earlier = None if kept is None else kept.passages(name, chunk)
            if going_on and earlier is None:
                logger.info("Going on from %s tokens.", f"{collected.n_tokens:,}")
            going_on = earlier is not None
            arrays = collected.encoded(chunk) if earlier is None else earlier
            if kept is not None and earlier is None:
                kept.write_arrays(name, arrays)
            collected.take(chunk, arrays)
            if going_on:
                bar.go_on_from(collected.n_tokens)
            else:
                bar.advance(len(arrays["counts"]))
            if collected.n_tokens >= n_tokens or collected.n_firings >= MOST_FIRINGS:
                break
    if going_on:
        logger.info("Going on from %s tokens, which are all.", f"{collected.n_tokens:,}")
    if not collected.n_tokens:
        raise CorpusError("There is no text to label the vocabulary on.")
    return collected.sorted()


def _chunks(passages: Iterable[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    chunk: list[tuple[int, str]] = []
    for passage in passages:
        chunk.append(passage)
        if len(chunk) == PASSAGES_AT_ONCE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


class _Collected:
    """What was read so far."""

    def __init__(self, encoder: LatentTermEncoder, keeps_states: Callable[[int], bool]) -> None:
        self.encoder = encoder
        self._states_of = _CollectedStates(keeps_states)
        self.n_tokens = self.n_firings = 0
        self._passages: list[str] = []
        self._documents: list[int] = []
        self._parts: dict[str, list[NDArray[Any]]] = {name: [] for name in ("ids", "lengths", "latents", "tokens", "values")}
        self._vectors: list[NDArray[np.float16]] | None = []
        self._latent_type: type[np.uint16] | type[np.int32] = np.uint16 if encoder.n_latents <= 1 << 16 else np.int32

    def encoded(self, chunk: Sequence[tuple[int, str]]) -> dict[str, NDArray[Any]]:
        """What :meth:`take` is to be given of some passages.

        Returns:
            ``ids`` of tokens, ``lengths`` of passages, ``counts`` of the firings of each token, of these ``latents`` and
            ``values``; ``vectors`` of passages, where the model has them; and what is kept of the states of tokens.
        """
        states, vectors = self._states([text for _, text in chunk])
        k = self.encoder.k_for("document")
        firing: dict[str, list[NDArray[Any]]] = {name: [] for name in ("counts", "latents", "values")}
        for part in self.encoder.portions(states):
            codes = self.encoder.codes(part, k)
            values, latents = codes.values.detach().float().cpu().numpy(), codes.indices.detach().cpu().numpy()
            rows, slots = np.nonzero(values > 0)
            firing["counts"].append(np.bincount(rows, minlength=len(values)).astype(np.int32))
            firing["latents"].append(latents[rows, slots].astype(self._latent_type))
            firing["values"].append(values[rows, slots].astype(np.float32))
        types = {"counts": np.int32, "latents": self._latent_type, "values": np.float32}
        return {
            "ids": np.asarray(states.token_ids, dtype=np.int32),
            "lengths": np.diff(states.offsets),
            **{name: np.concatenate([np.empty(0, types[name]), *found]) for name, found in firing.items()},
            **({} if vectors is None else {"vectors": vectors}),
            **self._states_of.kept(states, [document for document, _ in chunk]),
        }

    def take(self, chunk: Sequence[tuple[int, str]], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Takes passages and what :meth:`encoded` made of them."""
        counts = arrays["counts"]
        self._passages += [text for _, text in chunk]
        self._documents += [number for number, _ in chunk]
        for name in ("ids", "lengths", "latents", "values"):
            self._parts[name].append(arrays[name])
        self._parts["tokens"].append(np.repeat(np.arange(self.n_tokens, self.n_tokens + len(counts), dtype=np.int32), counts))
        if "vectors" in arrays and self._vectors is not None:
            self._vectors.append(arrays["vectors"])
        else:
            self._vectors = None  # late interaction, or states alone: words have to do
        self._states_of.take(arrays)
        self.n_tokens += len(counts)
        self.n_firings += len(arrays["latents"])

    def _states(self, texts: list[str]) -> tuple[TokenStates, NDArray[np.float16] | None]:
        if self._vectors is not None:
            try:
                states, vectors = states_and_vectors(self.encoder.backbone, texts, "document")
                return states.check(first_text=len(self._passages)), vectors.astype(np.float16)
            except BackboneError:
                if self._vectors:
                    raise
        return self.encoder.backbone.encode(texts, "document").check(first_text=len(self._passages)), None

    def sorted(self) -> Firings:
        """All of it, by latent; what was collected is given up."""
        latents = np.concatenate(self._parts.pop("latents"))
        order = np.argsort(latents, kind="stable")
        counts = np.bincount(latents, minlength=self.encoder.n_latents)
        del latents
        return Firings(
            self._passages,
            np.array(self._documents, dtype=np.int64),
            np.concatenate(self._parts["ids"]).astype(np.int32),
            np.concatenate([[0], np.cumsum(np.concatenate(self._parts["lengths"]))]).astype(np.int64),
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            np.concatenate(self._parts.pop("tokens"))[order],
            np.concatenate(self._parts.pop("values"))[order],
            np.concatenate(self._vectors) if self._vectors else None,
            self._states_of.all(),
        )


class _CollectedStates:
    """States of tokens that were kept so far. The mean that they are without is that of the first passages."""

    def __init__(self, keeps: Callable[[int], bool]) -> None:
        self._keeps = keeps
        self._mean: NDArray[np.float32] | None = None
        self._rows: list[NDArray[np.int8]] = []
        self._scales: list[NDArray[np.float32]] = []
        self._lengths: list[NDArray[np.int64]] = []

    def kept(self, states: TokenStates, documents: Sequence[int]) -> dict[str, NDArray[Any]]:
        """What :meth:`take` is to be given: how many tokens each passage keeps, and with some the ``rows`` and the mean."""
        lengths = np.diff(states.offsets)
        kept = np.array([self._keeps(document) for document in documents], dtype=np.bool_)
        if not kept.any() or not states.n_tokens:
            return {"state_lengths": lengths * kept}
        mean = mean_state(states.states.detach().float().cpu().numpy()) if self._mean is None else self._mean
        chosen = np.flatnonzero(np.repeat(kept, lengths))
        own = states.states.detach()[chosen].float().cpu().numpy()
        rows, scales = in_bytes(centred(own, mean))
        return {"state_lengths": lengths * kept, "state_rows": rows, "state_scales": scales, "state_mean": mean}

    def take(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._lengths.append(arrays["state_lengths"])
        if "state_rows" in arrays:
            self._mean = arrays["state_mean"]
            self._rows.append(arrays["state_rows"])
            self._scales.append(arrays["state_scales"])

    def all(self) -> TokenVectors | None:
        if self._mean is None:
            return None
        starts = np.concatenate([[0], np.cumsum(np.concatenate(self._lengths))]).astype(np.int64)
        return TokenVectors(np.concatenate(self._rows), np.concatenate(self._scales), starts, self._mean)
