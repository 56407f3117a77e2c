"""Parts of German compounds: ``Heizungsventil`` has ``heizung`` and ``ventil``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from lexite.errors import MissingExtraError

SHORTEST_COMPOUND = 7  # letters
_SHORTEST_PART = 3
_CONTENT = frozenset(["NN", "NE", "VV", "ADJ"])  # nouns, names, verbs, adjectives; not what joins them


@functools.lru_cache(maxsize=1)
def german_analyser() -> Callable[[str], list[tuple[str, str]]]:
    """What cuts a German word into morphemes, each with its kind.

    Raises:
        MissingExtraError: the package HanTa is not installed.
    """
    try:
        from HanTa.HanoverTagger import HanoverTagger
    except ImportError:
        raise MissingExtraError("HanTa", "german", "Splitting German compounds") from None
    tagger: Any = HanoverTagger("morphmodel_ger.pgz")

    def analyse(word: str) -> list[tuple[str, str]]:
        morphemes: list[tuple[str, str]] = tagger.analyze(word.capitalize(), taglevel=3)[1]
        return morphemes

    return analyse


@functools.lru_cache(maxsize=1 << 17)
def german_parts(word: str) -> tuple[str, ...]:
    """The parts of a compound, without the letters that join them; none for a word that is no compound.

    Args:
        word: a word after case folding.

    Raises:
        MissingExtraError: the package HanTa is not installed.
    """
    if len(word) < SHORTEST_COMPOUND or not word.isalpha():
        return ()
    parts = [morpheme for morpheme, kind in german_analyser()(word) if kind in _CONTENT and len(morpheme) >= _SHORTEST_PART]
    return tuple(dict.fromkeys(parts)) if len(parts) > 1 else ()
