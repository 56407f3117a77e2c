"""The kind of a latent, by a rule."""

from __future__ import annotations

from lexite.terms.descriptions import KINDS, TRUSTED

ONE_WORD = 0.5
FUNCTION = 0.5
SEEN = 20
"""Firings from which on the share of function words is believed. Nearly half of all tokens are such words and punctuation, so a
latent that was seen five times has half of its firings on them every other time, whatever it answers to."""
BROAD = 0.01

RULE = """dead: it fired nowhere in the sample
function: in 20 firings or more, at least half of its activation is on function words and punctuation; its name is not trusted
unclear: its name is not trusted
lexical: at least half of its activation is on the forms of one word, or its name is a part of words
broad: at least 1% of the passages hold it
narrow: all others"""


def kind_of(n_firings: int, seen: int, trust: float, lexical: float, function: float, share: float, name: str) -> int:
    """The kind of a latent, as a place in ``KINDS``; the first rule that fits counts.

    Args:
        n_firings: how often it fired.
        seen: how many firings ``lexical`` and ``function`` are shares of.
        trust: AUC of its name; NaN where it was not measured.
        lexical: share of its activation on the forms of one word.
        function: share of its activation on function words and punctuation.
        share: share of the passages that hold it.
        name: its name.

    >>> KINDS[kind_of(400, 300, 0.95, 0.9, 0.0, 0.002, "bank")], KINDS[kind_of(9000, 6000, 0.6, 0.1, 0.8, 0.3, "the")]
    ('lexical', 'function')
    """
    if not n_firings:
        return KINDS.index("dead")
    if not trust >= TRUSTED:  # NaN is not
        return KINDS.index("function" if function >= FUNCTION and seen >= SEEN else "unclear")
    if lexical >= ONE_WORD or (" " not in name and (name.startswith("-") or name.endswith("-"))):
        return KINDS.index("lexical")
    return KINDS.index("broad" if share >= BROAD else "narrow")
