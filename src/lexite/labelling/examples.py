"""Examples that stand in place of a name: those by which passages that hold a latent are told best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lexite.backbone.base import Backbone
from lexite.labelling.contexts import short_phrase
from lexite.labelling.detection import Detector, auc
from lexite.labelling.meaning import marked_vectors
from lexite.labelling.naming import Trial
from lexite.labelling.tokens import TokenVectors
from lexite.labelling.unfinished import Blocks, Unfinished
from lexite.progress import progress
from lexite.terms.descriptions import EXAMPLES, Context

POOL = 4  # examples of each latent that are tried
LATENTS_AT_ONCE = 1024


def choose_examples(
    pools: Sequence[tuple[Context, ...]],
    trials: Sequence[Trial | None],
    others: Sequence[tuple[Context, ...]],
    detector: Detector,
    backbone: Backbone,
    tokens: TokenVectors | None,
    *,
    kept: Unfinished | None = None,
    show_progress: bool = False,
) -> list[tuple[str, ...]]:
    """The examples of each latent that are shown, with what fires in [brackets], the best first.

    Each is tried alone: a passage's score is that of its tokens with those that are marked in the example. Where there is no
    trial, or states were not kept, the first ones are taken.

    Args:
        pools: for each latent the examples to choose from, the strongest first.
        trials: for each latent passages that no example is from.
        others: further examples of each latent, which are taken where there are too few to choose from.
        detector: scores passages.
        backbone: the model that the sample was encoded by.
        tokens: of the sample.
        kept: what an earlier run has chosen, and where this one keeps it; None keeps nothing.
        show_progress: show progress on stderr.
    """
    blocks = Blocks(kept, "examples", len(pools), LATENTS_AT_ONCE)
    with progress("Trying examples", len(pools), "latents", show_progress) as bar:

        def choose(start: int, stop: int) -> list[list[str]]:
            part, own_trials = [_unlike(pool) for pool in pools[start:stop]], trials[start:stop]
            tried = [len(own) > EXAMPLES and trial is not None for own, trial in zip(part, own_trials, strict=True)]
            texts = [each for own, wanted in zip(part, tried, strict=True) if wanted for each in own]
            vectors = iter([] if tokens is None else marked_vectors(backbone, tokens, texts))
            found: list[list[str]] = []
            for own, trial, wanted, further in zip(part, own_trials, tried, others[start:stop], strict=True):
                if wanted and trial is not None and tokens is not None:
                    scores = detector.tokens_of([next(vectors) for _ in own], trial.passages)
                    values = auc(scores[: trial.n_positive], scores[trial.n_positive :])
                    own = [own[place] for place in np.argsort(-values, kind="stable").tolist()]
                own = own if len(own) >= EXAMPLES else _unlike((*further, *own))
                found.append([each.marked() for each in own[:EXAMPLES]])
            return found

        return [tuple(own) for own in blocks.values(choose, bar)]


def _unlike(pool: Sequence[Context]) -> list[Context]:
    """The short forms of examples, no two alike."""
    found: dict[str, Context] = {}
    for context in pool:
        phrase = short_phrase(context)
        if phrase is not None:
            found.setdefault(phrase.text.casefold(), phrase)
    return list(found.values())
