"""The tokens of a text with their places and latents: through the model, or through a static table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexite.errors import ArgumentError
from lexite.search.queries import ModelQueries, StaticQueries

if TYPE_CHECKING:
    from lexite.backbone.config import Kind
    from lexite.search import Searcher
    from lexite.terms import LatentTermEncoder
    from lexite.terms.static import StaticTable

LATENTS_OF_TOKEN = 8
LEVELS = (0.15, 0.4, 0.7)
"""Shares of the strongest mark of a text from which on a mark is faint, middling and strong."""
_WORD = re.compile(r"[^\W_]+")


class Token(NamedTuple):
    """A token of a text.

    Attributes:
        text: as it stands in the text; the tokenizer's piece where it stands for nothing there.
        start: where it begins in the text, in characters; None where it has no place.
        end: where it ends.
        latents: those that fire on it with their activations, the largest first.
    """

    text: str
    start: int | None
    end: int | None
    latents: tuple[tuple[int, float], ...]


class Mark(NamedTuple):
    """A part of a text that matched.

    Attributes:
        start: where it begins, in characters.
        end: where it ends.
        level: 1 faint, 2 middling, 3 strong.
    """

    start: int
    end: int
    level: int


def tokens_of(searcher: Searcher, text: str, kind: Kind) -> list[Token]:
    """The tokens of a text as a searcher encodes texts.

    Args:
        searcher: whose model, or static table, reads the text.
        text: the text.
        kind: whether it is read as a query or as a document; a static table reads both alike.

    Raises:
        ArgumentError: the searcher encodes queries in another way.
    """
    queries = searcher.queries
    if isinstance(queries, StaticQueries):
        return _by_table(queries.table, text)
    if isinstance(queries, ModelQueries):
        return _by_model(queries.encoder, text, kind)
    raise ArgumentError(f"Tokens are shown of queries by the model or the static table, not of {queries.kind} queries.")


def _by_table(table: StaticTable, text: str) -> list[Token]:
    pieces = table.pieces(text)
    bounds, latents, weights = table.rows.indptr, table.rows.indices, table.rows.data
    tokens = []
    for piece, start, end in zip(pieces.ids.tolist(), pieces.starts.tolist(), pieces.ends.tolist(), strict=True):
        own = slice(int(bounds[piece]), int(bounds[piece + 1]))
        tokens.append(Token(text[start:end], start, end, _largest(latents[own], weights[own])))
    return tokens


def _by_model(encoder: LatentTermEncoder, text: str, kind: Kind) -> list[Token]:
    states = encoder.backbone.encode([text], kind).check()
    if not states.n_tokens:
        return []
    codes = encoder.components.codes(states, encoder.components.k_for(kind))
    values, latents = codes.values.cpu().numpy(), codes.indices.cpu().numpy()
    places = _places(encoder, text, states.token_ids.tolist())
    tokens = []
    for (piece, start, end), of_token, amounts in zip(places, latents, values, strict=True):
        shown = piece if start is None or end is None else text[start:end]
        tokens.append(Token(shown, start, end, _largest(of_token, amounts)))
    return tokens


def _places(encoder: LatentTermEncoder, text: str, ids: Sequence[int]) -> list[tuple[str, int, int] | tuple[str, None, None]]:
    """Piece and place of each token id. Ids that the text alone does not have, such as special tokens, have no place."""
    tokenizer: Any = getattr(encoder.backbone, "fast_tokenizer", None)
    if tokenizer is None:
        return [("?", None, None)] * len(ids)
    encoded = tokenizer.encode(text.encode("utf-8", "replace").decode(), add_special_tokens=False)
    own: list[int] = encoded.ids
    found: list[tuple[str, int, int] | tuple[str, None, None]] = []
    following = 0
    for each in ids:
        try:
            place = own.index(each, following)
        except ValueError:
            found.append((tokenizer.id_to_token(each) or "?", None, None))
            continue
        found.append((encoded.tokens[place], *encoded.offsets[place]))
        following = place + 1
    return found


def _largest(latents: NDArray[Any], amounts: NDArray[Any]) -> tuple[tuple[int, float], ...]:
    order = np.argsort(-amounts, kind="stable")[:LATENTS_OF_TOKEN]
    return tuple((int(latents[place]), float(amounts[place])) for place in order if amounts[place] > 0)


def marks_of(
    text: str,
    latents: Mapping[int, float],
    words: Mapping[str, float],
    table: StaticTable | None,
    words_of: Any = None,
) -> list[Mark]:
    """The parts of a text that matched a query.

    A latent's part of the score is shared among the tokens of the text in proportion to the table's weight of the latent for
    each; a word's among its occurrences. Neighbouring pieces of one word are marked together.

    Args:
        text: that is shown.
        latents: parts of the score by latent.
        words: parts of the score by literal word.
        table: the static table of the index; None: only words are marked.
        words_of: gives the literal words of a text; None where words do not count.
    """
    parts = [*_parts_of_latents(text, latents, table), *_parts_of_words(text, words, words_of)]
    if not parts:
        return []
    strongest = max(amount for _, _, amount in parts)
    levels = np.zeros(len(text), dtype=np.int8)
    for start, end, amount in parts:
        level = sum(amount >= share * strongest for share in LEVELS)
        np.maximum(levels[start:end], level, out=levels[start:end])
    edges = np.flatnonzero(np.diff(levels, prepend=0, append=0))
    bounds = np.concatenate([edges, [len(text)]])
    return [
        Mark(int(start), int(end), int(levels[start]))
        for start, end in zip(bounds, bounds[1:], strict=False)
        if start < len(text) and levels[start]
    ]


def _parts_of_latents(text: str, latents: Mapping[int, float], table: StaticTable | None) -> Iterable[tuple[int, int, float]]:
    if table is None or not latents or not text:
        return []
    pieces = table.pieces(text)
    bounds = np.asarray(table.rows.indptr, dtype=np.int64)
    starts, lengths = bounds[pieces.ids], np.diff(bounds)[pieces.ids]
    entries = np.repeat(starts - np.cumsum(lengths) + lengths, lengths) + np.arange(int(lengths.sum()))
    owners = np.repeat(np.arange(len(pieces.ids)), lengths)
    matched = np.array(sorted(latents), dtype=np.int64)
    place = np.minimum(np.searchsorted(matched, table.rows.indices[entries]), len(matched) - 1)
    hit = matched[place] == table.rows.indices[entries]
    owners, place, weights = owners[hit], place[hit], table.rows.data[entries][hit].astype(np.float64)
    totals = np.bincount(place, weights=weights, minlength=len(matched))
    scores = np.array([latents[latent] for latent in matched.tolist()])
    amounts = np.bincount(owners, weights=weights * scores[place] / totals[place], minlength=len(pieces.ids))
    return _joined(text, pieces.starts.tolist(), pieces.ends.tolist(), amounts.tolist())


def _joined(text: str, starts: Sequence[int], ends: Sequence[int], amounts: Sequence[float]) -> list[tuple[int, int, float]]:
    """Pieces of one word as one part with the largest amount among them."""
    parts: list[tuple[int, int, float]] = []
    for start, end, amount in zip(starts, ends, amounts, strict=True):
        if end <= start:
            continue
        last = parts[-1] if parts else None
        if last is not None and last[1] == start and text[start].isalnum() and text[start - 1].isalnum():
            parts[-1] = (last[0], end, max(last[2], amount))
        else:
            parts.append((start, end, amount))
    return [part for part in parts if part[2] > 0]


def _parts_of_words(text: str, words: Mapping[str, float], words_of: Any) -> list[tuple[int, int, float]]:
    if not words or words_of is None:
        return []
    found: list[tuple[int, int, str]] = []
    for match in _WORD.finditer(text):
        own = words_of(match[0])
        folded = match[0].casefold()
        for word in own:
            if word in words:
                at = folded.find(word) if len(folded) == len(match[0]) else -1
                begin, length = (match.start() + at, len(word)) if at >= 0 else (match.start(), len(match[0]))
                found.append((begin, begin + length, word))
    counts: dict[str, int] = {}
    for _, _, word in found:
        counts[word] = counts.get(word, 0) + 1
    return [(start, end, words[word] / counts[word]) for start, end, word in found]
