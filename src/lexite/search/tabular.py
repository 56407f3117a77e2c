"""Texts with tables: whether a corpus is mostly such, and what preset suits it then.

Questions about reports quote the words and numbers of rows. Pairs of words serve them, and dense scores cost them
(``docs/results/second-stages.md``), while both are the other way round for plain texts. So a preset may name another that takes
its place (:attr:`lexite.search.presets.Preset.with_tables`). The documents decide, and no judgement is needed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING

from lexite.corpus.passages import TABLE_WORDS
from lexite.corpus.table_rows import row_groups
from lexite.errors import ArgumentError
from lexite.search.presets import PRESETS, Preset, preset_of

if TYPE_CHECKING:
    from lexite.corpus import Document
    from lexite.search.strategy import Backend

logger = logging.getLogger("lexite")

SAMPLED = 200
"""Documents that are looked at, the first ones of a corpus."""


def preset_for_documents(name: str, documents: Iterable[Document]) -> tuple[Preset, Iterator[Document]]:
    r"""The preset that suits documents: the named one, or the one that takes its place where more than half have tables.

    Args:
        name: of a preset.
        documents: of a new index. The first 200 are read, and handed on with the others.

    Returns:
        The preset, and all documents from the first.

    Raises:
        ConfigError: there is no such preset.
        CorpusError: a document cannot be read.

    >>> from lexite.corpus import Document
    >>> rent = "| | 2019 | 2018 |\n|---|---|---|\n| Office | 5 | 4 |"
    >>> preset, documents = preset_for_documents("best", [Document("a", text=rent), Document("b", text="Cows eat.")])
    >>> preset is PRESETS["best"], [document.id for document in documents]
    (True, ['a', 'b'])
    >>> preset_for_documents("best", [Document("a", text=rent)])[0] is PRESETS["tables"]
    True
    """
    preset, rest = preset_of(name), iter(documents)
    if preset.with_tables is None:
        return preset, rest
    sample = list(islice(rest, SAMPLED))
    n_with_tables = sum(bool(row_groups(document.text, TABLE_WORDS)) for document in sample)
    if 2 * n_with_tables > len(sample):
        logger.info(
            "%d of the first %d documents have tables, so the index is built for the preset %s, which %s takes for such texts.",
            n_with_tables,
            len(sample),
            preset.with_tables,
            name,
        )
        preset = PRESETS[preset.with_tables]
    return preset, chain(sample, rest)


def preset_for_index(name: str, index: Backend) -> Preset:
    """The preset that suits an index: the named one, or the one that takes its place in an index that was built for it.

    Args:
        name: of a preset.
        index: an index, or an engine.

    Raises:
        ConfigError: there is no such preset.
        ArgumentError: all that the preset is lies in how an index is built, and this one was built otherwise.
    """
    preset = preset_of(name)
    if preset.words and not preset.steps and not _built_for(preset, index, some=True):
        raise ArgumentError(
            f"The preset '{name}' needs an index that was built for it, and this one was not. Build it again with "
            f"'lexite index --preset {name}', in Python Searcher.build(..., preset='{name}'). Or leave the preset out."
        )
    if preset.with_tables is not None and _built_for(PRESETS[preset.with_tables], index):
        return PRESETS[preset.with_tables]
    return preset


def _built_for(preset: Preset, index: Backend, *, some: bool = False) -> bool:
    """Whether an index takes words as one does that is built for a preset, in all ways or in some."""
    words = index.literal
    same = [words is not None and getattr(words, name) == value for name, value in preset.words.items()]
    return any(same) if some else all(same)
