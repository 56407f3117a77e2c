"""What an index keeps beside its postings for second stages: a dense vector of each passage, and the codes of its tokens.

Both are read for the passages of a few hundred candidates only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VECTORS, TOKEN_CODES = "vectors", "token_codes"


@dataclass(frozen=True)
class PassageVectors:
    """Dense vectors of the passages of some documents.

    Attributes:
        bounds: (n_documents + 1,) int64; document ``i`` has the rows ``bounds[i]:bounds[i + 1]``.
        vectors: (n_passages, d) float32, what the dense model gives for the passage's text, of length 1 up to the rounding of
            how they are kept; zeros where the model gives none.
    """

    bounds: NDArray[np.int64]
    vectors: NDArray[np.float32]


@dataclass(frozen=True)
class PassageCodes:
    """Codes of the tokens of the passages of some documents: which latents each token has, and how strongly.

    Attributes:
        bounds: (n_documents + 1,) int64; document ``i`` has the passages ``bounds[i]:bounds[i + 1]``.
        tokens: (n_passages + 1,) int64; passage ``p`` has the tokens ``tokens[p]:tokens[p + 1]``.
        entries: (n_tokens + 1,) int64; token ``t`` has the entries ``entries[t]:entries[t + 1]``.
        latents: (n_entries,) int32, numbers of latent terms, by falling value within a token. Where each sign of an
            activation is a term of its own, they are numbers of terms.
        values: (n_entries,) float32, activations, up to the rounding of how they are kept.
        norms: (n_tokens,) float32, the length of the state that a token's entries stand for: the decoder's bias and the sum of
            value · atom; up to the rounding of fp16. NaN where the vocabulary had no decoder when the index was built.
    """

    bounds: NDArray[np.int64]
    tokens: NDArray[np.int64]
    entries: NDArray[np.int64]
    latents: NDArray[np.int32]
    values: NDArray[np.float32]
    norms: NDArray[np.float32]


def how_to_keep(*kinds: str) -> str:
    """What to do for an index to keep side data of some kinds.

    >>> how_to_keep("vectors")
    "Build it again with 'lexite index --vectors int8', in Python Searcher.build(..., vectors='int8')."
    """
    named = {VECTORS: ("--vectors int8", "vectors='int8'"), TOKEN_CODES: ("--token-codes", "token_codes=True")}
    options, arguments = zip(*(named[kind] for kind in kinds), strict=True)
    return f"Build it again with 'lexite index {' '.join(options)}', in Python Searcher.build(..., {', '.join(arguments)})."
