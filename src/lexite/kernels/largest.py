"""The largest pre-activations of a whole batch, and of each latent: selection by thresholds that follow the batches.

Nothing of size tokens × latents is kept. Entries above a level are collected, their exact values are computed, and the largest
are chosen. A level that turns out too high is lowered, and the batch is collected again, so the result never depends on levels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit

from lexite.kernels.accelerator import on_cpu
from lexite.kernels.collect import threshold_patterns
from lexite.kernels.numbers import Number
from lexite.kernels.product import EncoderProduct
from lexite.kernels.ranks import ALONE, Ranks
from lexite.kernels.slots import Slots
from lexite.kernels.threads import parallel_ranges

SLACK = 1 / 64  # a bf16 pre-activation may be that much smaller than the exact one
SPARE = 1.1  # a level with so many times the wanted entries above it is sure to have the largest among them
GENEROUS = 1.4  # a new level lets so many times the wanted entries through
DENSE_LATENTS = 512  # latents whose pre-activations are made for all tokens at once, where levels do not help
FLOOR = 1e-6  # the level of latents that want all their positive pre-activations
Values = Callable[[Slots], torch.Tensor]


class Entries(NamedTuple):
    """Some pre-activations of a batch.

    Attributes:
        tokens: (n,) int64.
        latents: (n,) int64.
        values: (n,) fp32.
    """

    tokens: torch.Tensor
    latents: torch.Tensor
    values: torch.Tensor


def largest_of_batch(
    product: EncoderProduct, states: torch.Tensor, values: Values, total: int, level: torch.Tensor, ranks: Ranks = ALONE
) -> tuple[Slots, torch.Tensor, Number]:
    """The ``total`` largest positive pre-activations over all tokens and latents of the batch, on all ranks together.

    Args:
        product: the wide product.
        states: (n, d_model), centred.
        values: gives exact pre-activations (slots,) of slots.
        total: how many entries to choose.
        level: () fp32, the level to begin with; 0 when none is known. Set for the next batch.
        ranks: the processes that have the batch; of equal entries those of the first ranks are chosen.

    Returns:
        The chosen slots of this rank's tokens; (slots,) their exact pre-activations; the smallest pre-activation that was
        chosen on any rank, 0 for none.
    """
    if not on_cpu(states):
        return _largest_on_accelerator(product, states, values, total, level, ranks)
    if float(level) == 0:
        level.fill_(_first_level(product, states, values, total, ranks))
    while True:
        patterns = threshold_patterns(level.expand(product.n_latents), product.matrix.dtype, SLACK)
        slots = product.collect(states, patterns.to(states.device))
        found = values(slots)
        positive = ranks.count(int((found > 0).sum()))
        if positive >= SPARE * total or float(level) <= 0:
            break
        level.mul_(0.8 if float(level) > 1e-6 else 0.0)
    every, own = ranks.joined(found)
    if positive > total:
        ranked = torch.topk(every, min(round(GENEROUS * total), positive)).values
        level.fill_(float(ranked[-1]))
        smallest = float(ranked[total - 1])
        chosen, ties = every > smallest, every == smallest
        chosen |= ties & (ties.cumsum(0) <= total - int(chosen.sum()))
    else:
        chosen = every > 0
        smallest = float(every[chosen].min()) if positive else 0.0
    chosen = chosen[own]
    return slots.kept(chosen), found[chosen], smallest


def _largest_on_accelerator(
    product: EncoderProduct, states: torch.Tensor, values: Values, total: int, level: torch.Tensor, ranks: Ranks
) -> tuple[Slots, torch.Tensor, Number]:
    """:func:`largest_of_batch` where reading a number makes the host wait: twice for each time that entries are collected.

    ``level`` may be on either side.
    """
    now = float(level)
    if now == 0:
        now = _first_level(product, states, values, total, ranks)
    while True:
        patterns = threshold_patterns(torch.full((product.n_latents,), now, device=states.device), product.matrix.dtype, SLACK)
        slots = product.collect(states, patterns)
        found = values(slots)
        positive = ranks.count(int((found > 0).sum()))
        if positive >= SPARE * total or now <= 0:
            break
        now = 0.8 * now if now > 1e-6 else 0.0
    every, own = ranks.joined(found)
    if positive > total:
        ranked = torch.topk(every, min(round(GENEROUS * total), positive)).values
        level.copy_(ranked[-1])
        smallest: Number = ranked[total - 1]
        above, ties = every > smallest, every == smallest
        chosen = above | (ties & (ties.cumsum(0) <= total - above.sum()))
    else:
        chosen = every > 0
        smallest = torch.where(chosen, every, torch.inf).amin().nan_to_num(posinf=0.0) if len(every) else every.new_zeros(())
        level.fill_(now)
    chosen = chosen[own]
    kept = positions_of(chosen, min(positive, total) if ranks.size == 1 else int(chosen.sum()))
    before = torch.zeros(len(chosen) + 1, dtype=torch.int64, device=chosen.device)
    torch.cumsum(chosen, 0, out=before[1:])
    return Slots(before[slots.starts], slots.indices[kept]), found[kept], smallest


def positions_of(mask: torch.Tensor, count: int) -> torch.Tensor:
    """(count,) int64 places that a mask marks, in order, where their number is known, so that the host need not wait for it."""
    places = torch.where(mask, mask.cumsum(0) - 1, count)
    out = torch.empty(count + 1, dtype=torch.int64, device=mask.device)
    return out.scatter_(0, places, torch.arange(len(mask), device=mask.device))[:count]


def _first_level(product: EncoderProduct, states: torch.Tensor, values: Values, total: int, ranks: Ranks) -> float:
    """A value below more than ``total`` entries of the batch, estimated from the largest entries of each token."""
    each = min(product.n_latents, 4 * -(-total // ranks.count(len(states))))
    found, _ = ranks.joined(values(Slots.of_rows(product.select(states, each))))
    if not len(found):
        return 0.0
    rank = min(round(GENEROUS * total), len(found))
    return max(float(torch.topk(found, rank).values[-1]), 0.0)


def largest_of_latents(
    product: EncoderProduct,
    states: torch.Tensor,
    values: Values,
    dense: Callable[[slice | torch.Tensor], torch.Tensor],
    budgets: torch.Tensor,
    levels: torch.Tensor,
    ranks: Ranks = ALONE,
) -> tuple[Slots, torch.Tensor]:
    """For each latent the tokens with its largest positive pre-activations, among those of all ranks.

    Args:
        product: the wide product.
        states: (n, d_model), centred.
        values: gives exact pre-activations (slots,) of slots.
        dense: gives exact pre-activations (tokens, latents) of some latents.
        budgets: (n_latents,) int64, most tokens per latent.
        levels: (n_latents,) fp32, the level of each latent to begin with; 0 when none is known. Set for the next batch.
        ranks: the processes that have the batch; of equal entries those of the first ranks are chosen.

    Returns:
        The chosen slots of this rank's tokens, sorted by token and latent; (slots,) their exact pre-activations.
    """
    known = levels > 0
    patterns = threshold_patterns(torch.where(known, levels, torch.inf), product.matrix.dtype, SLACK)
    slots = product.collect(states, patterns.to(states.device))
    found = values(slots)
    above = found > levels[slots.indices.long()]
    entries = Entries(slots.tokens[above], slots.indices[above].long(), found[above])
    (counts,) = ranks.sums(torch.bincount(entries.latents, minlength=len(budgets)))
    everything = known & (levels <= FLOOR)  # all positive entries were collected
    missing = ((counts < torch.clamp(budgets, max=ranks.count(len(states)))) & ~everything).nonzero().squeeze(1)
    again = torch.zeros(len(budgets), dtype=torch.bool, device=states.device)
    again[missing] = True
    levels[again & known] *= 0.8  # too high for this batch
    levels[(counts > 2 * _spare(budgets)) & known] *= 1.05
    keep = ~again[entries.latents]
    parts = [Entries(*(column[keep] for column in entries))]
    for some in torch.split(missing, DENSE_LATENTS):
        parts.append(_dense_entries(dense(some), some, budgets, levels, known, ranks))
    joined = Entries(*(torch.cat(columns) for columns in zip(*parts, strict=True)))
    latents, own = ranks.joined(joined.latents)
    chosen = _within_budgets(latents, ranks.joined(joined.values)[0], budgets)[own]
    return _as_slots(Entries(*(column[chosen] for column in joined)), len(states))


def _dense_entries(
    wide: torch.Tensor, latents: torch.Tensor, budgets: torch.Tensor, levels: torch.Tensor, known: torch.Tensor, ranks: Ranks
) -> Entries:
    """Entries of a few latents from all their pre-activations (tokens, latents); puts new levels where there were none.

    With several ranks a new level lets enough entries through if each rank has its share of them.
    """
    ranked = wide.sort(dim=0, descending=True)
    if len(wide):
        places = (-(-_spare(budgets[latents]) // ranks.size)).clamp(max=len(wide)) - 1
        fresh = ranked.values.gather(0, places[None]).squeeze(0).clamp(min=FLOOR)
    else:  # another rank has tokens
        fresh = torch.full_like(levels[latents], torch.inf)
    fresh = ranks.smallest(fresh)
    levels[latents] = torch.where(known[latents], torch.minimum(levels[latents], fresh), fresh)
    order = torch.arange(len(wide), device=wide.device)[:, None]
    rows, columns = ((order < budgets[latents]) & (ranked.values > 0)).nonzero(as_tuple=True)
    return Entries(ranked.indices[rows, columns], latents[columns], ranked.values[rows, columns])


def _spare(budgets: torch.Tensor) -> torch.Tensor:
    """Entries that a level should let through: three deviations more than the budget, so that a batch seldom has too few."""
    return (budgets + 3 * budgets.sqrt() + 4).long()


def _within_budgets(latents: torch.Tensor, values: torch.Tensor, budgets: torch.Tensor) -> torch.Tensor:
    """Mask of the entries that are among the ``budgets`` largest of their latent; of equal entries the first are taken."""
    if not on_cpu(latents):
        by_value = torch.argsort(values, descending=True, stable=True)
        order = by_value[torch.argsort(latents[by_value], stable=True)]
        ordered = latents[order]
        firsts = torch.searchsorted(ordered, torch.arange(len(budgets), device=latents.device))
        ranks = torch.arange(len(order), device=latents.device) - firsts[ordered]
        return torch.empty_like(ranks, dtype=torch.bool).scatter_(0, order, ranks < budgets[ordered])
    chosen = torch.zeros(len(latents), dtype=torch.bool)
    starts = torch.zeros(len(budgets) + 1, dtype=torch.int64)
    torch.cumsum(torch.bincount(latents, minlength=len(budgets)), 0, out=starts[1:])
    order = torch.empty(len(latents), dtype=torch.int64)
    _by_latent(latents.numpy(), starts[:-1].clone().numpy(), order.numpy())
    arrays = (starts.numpy(), order.numpy(), values.numpy(), budgets.numpy(), chosen.numpy())
    parallel_ranges(_choose, len(budgets), *arrays)
    return chosen


def _as_slots(entries: Entries, n: int) -> tuple[Slots, torch.Tensor]:
    """Slots from entries in any order: sorted by token and latent."""
    tokens, latents, values = entries
    keys = tokens * (int(latents.max()) + 1 if len(latents) else 1) + latents
    if not bool((keys.diff() > 0).all()):  # they are in order already unless a latent was looked up again
        order = torch.argsort(keys)
        tokens, latents, values = tokens[order], latents[order], values[order]
    starts = torch.zeros(n + 1, dtype=torch.int64, device=tokens.device)
    torch.cumsum(torch.bincount(tokens, minlength=n), 0, out=starts[1:])
    return Slots(starts, latents.to(torch.int32)), values


@njit(cache=True, nogil=True)
def _by_latent(latents: Any, places: Any, order: Any) -> None:  # pragma: no cover - compiled
    """Writes the numbers of the entries into ``order``, latent by latent; entries of one latent keep their order."""
    for entry in range(latents.shape[0]):
        order[places[latents[entry]]] = entry
        places[latents[entry]] += 1


@njit(cache=True, nogil=True)
def _choose(
    starts: Any, order: Any, values: Any, budgets: Any, chosen: Any, start: int, stop: int
) -> None:  # pragma: no cover - compiled
    for latent in range(start, stop):
        entries = order[starts[latent] : starts[latent + 1]]
        n, budget = entries.shape[0], budgets[latent]
        if n <= budget:
            for entry in entries:
                chosen[entry] = True
            continue
        if budget < 1:
            continue
        own = values[entries]
        smallest = np.partition(own, n - budget)[n - budget]
        ties = budget - np.sum(own > smallest)
        for place in range(n):
            if own[place] > smallest:
                chosen[entries[place]] = True
            elif own[place] == smallest and ties > 0:
                chosen[entries[place]] = True
                ties -= 1
