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
        vectors: (n_passages, d) float32, of length 1 up to the rounding of how they are kept; zeros for a
            passage without a token.
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
        latents: (n_entries,) int32, numbers of latents.
        values: (n_entries,) float32, activations, up to the rounding of how they are kept.
    """

    bounds: NDArray[np.int64]
    tokens: NDArray[np.int64]
    entries: NDArray[np.int64]
    latents: NDArray[np.int32]
    values: NDArray[np.float32]
