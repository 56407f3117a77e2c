"""What processes that share a batch tell each other in a step: gradients of the latents that fired, and sums of all else."""

from __future__ import annotations

from dataclasses import replace

from lexite.kernels.gradients import LatentGradients
from lexite.kernels.ranks import Ranks
from lexite.training.results import Gradients


def exchanged(gradients: Gradients, ranks: Ranks) -> Gradients:
    """Gradients, losses and measures of the whole batch, from the parts of it that ranks have; the same on all of them.

    Everything is a sum over tokens, with factors that are those of the whole batch already.
    """
    if ranks.size == 1:
        return gradients
    latents = gradients.latents
    sum_latents(latents, ranks)
    offset, *own = ranks.sums(gradients.offset, *gradients.rule.values())
    error, *losses = ranks.totals([gradients.squared_error, *gradients.losses.values()])
    return replace(
        gradients,
        offset=offset,
        rule=dict(zip(gradients.rule, own, strict=True)),
        losses=dict(zip(gradients.losses, losses, strict=True)),
        squared_error=error,
    )


def sum_latents(latents: LatentGradients, ranks: Ranks) -> None:
    """Adds up the gradients of all ranks, in place. Only rows of latents with an entry on some rank are sent.

    First the counts are added up, by which every rank knows these rows. An accelerator's host waits for their number.
    """
    idle = latents.counts == 0
    counts, active = ranks.sums(latents.counts, latents.active)
    latents.counts.copy_(counts)
    latents.active.copy_(active)
    rows = latents.counts.nonzero().squeeze(1)
    silent = idle[rows].nonzero().squeeze(1)  # here they hold what an earlier step left
    parts = [latents.encoder.index_select(0, rows), latents.decoder.index_select(0, rows), latents.bias.index_select(0, rows)]
    for part in parts:
        part.index_fill_(0, silent, 0.0)
    for matrix, part in zip((latents.encoder, latents.decoder, latents.bias), ranks.sums(*parts), strict=True):
        matrix.index_copy_(0, rows, part)
