"""Mutual Choice: a budget of k · n entries of the affinity matrix, spent freely (Ayonrinde 2024, arXiv 2411.02124, section 3).

The affinities are the pre-activations; the largest are chosen before the ReLU. As long as k · n of them are positive this is
BatchTopK, and so is the threshold at use. What differs is the cure for under-used latents that the source pairs it with:
``auxiliary: auto`` means aux_zipf here.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from lexite.sae.rules.batch_topk import BatchTopK


class MutualChoice(BatchTopK):
    """The k · n largest affinities of a batch of n tokens, then ReLU."""

    # A chosen affinity below zero is zero after the ReLU, so that choosing among the positive ones gives the same codes.
    auxiliary: ClassVar[Literal["dead", "zipf"]] = "zipf"
