"""Concepts that a person names: by the number of a latent, by words of its label, or by a literal word."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Mapping

from lexite.errors import ArgumentError
from lexite.scoring.words import literal_words
from lexite.wording import one_line

Label = Callable[[int], str]
WORD = "word:"
SHOWN = 6  # latents or words that are suggested
LABELS_KEPT = 4


def latents_named(name: str, label: Label, n_latents: int) -> tuple[int, ...]:
    """The latents that a name means.

    ``812`` is a number. ``solar energy`` are words of a label: the one latent whose label has all of them, or the one latent
    whose label begins with them. ``solar energy*`` takes all latents whose labels have them.

    Args:
        name: what a person wrote.
        label: words for a latent.
        n_latents: number of latents.

    Raises:
        ArgumentError: no latent is called so, or several are; the message names some.

    >>> labels = ["solar, energy", "energy, power", "tide, moon"]
    >>> latents_named("solar", labels.__getitem__, 3), latents_named("energy*", labels.__getitem__, 3)
    ((0,), (0, 1))
    """
    given = name.strip()
    if given.isascii() and given.isdigit():
        if len(given) > 9 or int(given) >= n_latents:
            raise ArgumentError(f"There is no latent {given[:20]}; this index has the latents 0 to {n_latents - 1}.")
        return (int(given),)
    words = tuple(literal_words(given, "none"))
    if not words:
        raise ArgumentError(f"'{one_line(given)}' names no concept. Give the number of a latent, or words of its label.")
    homes = _homes(label, n_latents)
    found = sorted(set.intersection(*(set(homes.get(word, ())) for word in words)))
    if not found:
        near = [each for word in words if word not in homes for each in difflib.get_close_matches(word, homes, SHOWN)]
        advice = f" Did you mean {', '.join(f'“{each}”' for each in near)}?" if near else ""
        raise ArgumentError(f"No latent has a label with '{one_line(given)}'.{advice} Numbers of latents can be given too.")
    if given.endswith("*") or len(found) == 1:
        return tuple(found)
    first = [latent for latent in found if tuple(literal_words(label(latent), "none"))[: len(words)] == words]
    if len(first) == 1:
        return tuple(first)
    shown = "; ".join(f"{latent} ({one_line(label(latent))})" for latent in (first or found)[:SHOWN])
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    raise ArgumentError(
        f"'{one_line(given)}' is in the labels of {len(found)} latents: {shown}{more}. Name one by its number, or take them "
        f"all: '{one_line(given)}*'."
    )


@functools.lru_cache(maxsize=LABELS_KEPT)
def _homes(label: Label, n_latents: int) -> Mapping[str, tuple[int, ...]]:
    """The latents whose label has each word."""
    homes: dict[str, list[int]] = {}
    for latent in range(n_latents):
        text = label(latent)
        if text != f"latent {latent}":  # which is what a latent without a label is called
            for word in literal_words(text, "none"):
                homes.setdefault(word, []).append(latent)
    return {word: tuple(latents) for word, latents in homes.items()}
