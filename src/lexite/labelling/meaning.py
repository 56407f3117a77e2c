"""What the dense model makes of names, and of the marked words of examples: vectors to compare the tokens of passages with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from lexite.backbone.base import Backbone
from lexite.errors import BackboneError
from lexite.labelling.contexts import aligned
from lexite.labelling.tokens import TokenVectors, centred
from lexite.terms.descriptions import Context
from lexite.terms.word_pieces import WordPieces

TEXTS_AT_ONCE = 1024

Embed = Callable[[Sequence[str]], list[NDArray[np.float32]]]
"""Gives each of some names the vectors of its tokens."""


def embedder(backbone: Backbone, tokens: TokenVectors | None) -> Embed | None:
    """What gives names vectors to compare with the tokens of a sample; None where that cannot be.

    Signs are left out, except in names that are nothing else.

    Args:
        backbone: the model that the sample was encoded by.
        tokens: of the sample; None where its states were not kept.
    """
    if tokens is None:
        return None
    mean = tokens.mean
    try:
        backbone.encode(["name"], "document")
    except BackboneError:  # its states were computed beforehand
        return None

    def embed(names: Sequence[str]) -> list[NDArray[np.float32]]:
        found: list[NDArray[np.float32]] = []
        for pieces, vectors in _token_vectors(backbone, names, mean):
            spoken = [place for place, piece in enumerate(pieces) if any(letter.isalnum() for letter in piece)]
            found.append(vectors[spoken] if spoken else vectors)
        return found

    return embed


def marked_vectors(backbone: Backbone, tokens: TokenVectors, examples: Sequence[Context]) -> list[NDArray[np.float32]]:
    """For each example the vectors of its tokens that are marked; all of its tokens where none is.

    Args:
        backbone: the model that the sample was encoded by.
        tokens: of the sample.
        examples: as they are shown. The model reads them without their marks.
    """
    found: list[NDArray[np.float32]] = []
    texts = [example.text for example in examples]
    for example, (pieces, vectors) in zip(examples, _token_vectors(backbone, texts, tokens.mean), strict=True):
        spans = aligned(example.text, pieces)
        marked = [
            place
            for place, (start, end) in enumerate(spans)
            if start >= 0 and any(start >= low and end <= high for low, high in example.marks)
        ]
        found.append(vectors[marked] if marked else vectors)
    return found


def _token_vectors(
    backbone: Backbone, texts: Sequence[str], mean: NDArray[np.float32]
) -> list[tuple[list[str], NDArray[np.float32]]]:
    """The pieces of each text, and their vectors."""
    pieces, found = WordPieces(backbone.describe_token), []
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        states = backbone.encode(list(texts[start : start + TEXTS_AT_ONCE]), "document")
        pieces.split(states.token_ids, states.offsets)  # so that it knows how this tokenizer writes pieces
        vectors = centred(states.states.detach().float().cpu().numpy(), mean)
        ids = states.token_ids.tolist()
        for low, high in zip(states.offsets[:-1].tolist(), states.offsets[1:].tolist(), strict=True):
            found.append(([pieces.text((token,)).strip() for token in ids[low:high]], vectors[low:high]))
    return found
