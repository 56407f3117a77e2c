"""Presets that let the documents decide: texts with tables are treated in another way."""

from __future__ import annotations

from pathlib import Path

import pytest

from lexite import Searcher
from lexite.corpus import Document
from lexite.errors import ConfigError
from lexite.search.presets import PRESETS, Preset
from lexite.search.tabular import SAMPLED, preset_for_documents, preset_for_index

TABLE = "Milk of cows:\n\n| | 2019 | 2018 |\n|---|---|---|\n| Farm | 1,234 | (5) |\n| Dairy | 7 | 6 |"
PLAIN = "A cow gives milk, and the farm sells it."


@pytest.mark.parametrize(("n_with_tables", "expected"), [(0, "best"), (2, "best"), (3, "tables"), (4, "tables")])
def test_more_than_half_decide(n_with_tables: int, expected: str) -> None:
    documents = [Document(str(n), text=TABLE if n < n_with_tables else PLAIN) for n in range(4)]
    preset, handed_on = preset_for_documents("best", iter(documents))
    assert preset is PRESETS[expected]
    assert list(handed_on) == documents


def test_only_the_first_documents_are_looked_at() -> None:
    n_read = 0

    def documents():
        nonlocal n_read
        for n in range(10 * SAMPLED):
            n_read += 1
            yield Document(str(n), text=TABLE if n < SAMPLED else PLAIN)

    preset, handed_on = preset_for_documents("best", documents())
    assert (preset, n_read) == (PRESETS["tables"], SAMPLED)
    assert [document.id for document in handed_on] == [str(n) for n in range(10 * SAMPLED)]


def test_no_documents_and_other_presets_are_left_as_they_are() -> None:
    assert preset_for_documents("best", [])[0] is PRESETS["best"]
    assert preset_for_documents("default", [Document("a", text=TABLE)])[0] is PRESETS["default"]
    with pytest.raises(ConfigError, match="'bets' is not a preset"):
        preset_for_documents("bets", [])


def test_every_substitute_is_a_preset_with_words_of_its_own() -> None:
    for preset in PRESETS.values():
        if preset.with_tables is not None:
            substitute = PRESETS[preset.with_tables]
            assert substitute.words and substitute.words != preset.words and substitute.with_tables is None


def test_an_index_of_tables_is_built_and_searched_as_for_tables(
    tiny_vocabulary: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    texts = [TABLE, TABLE.replace("Milk", "Grass"), PLAIN]
    with caplog.at_level("INFO", "lexite"):
        best = Searcher.build(texts=texts, path=tmp_path / "b", vocabulary=tiny_vocabulary, preset="best")
    assert "2 of the first 3 documents have tables" in caplog.text
    tables = Searcher.build(texts=texts, path=tmp_path / "t", vocabulary=tiny_vocabulary, preset="tables")
    assert best.index.side_data == frozenset()
    assert (best.index.literal, best.index.passages_config) == (tables.index.literal, tables.index.passages_config)
    assert best.index.scoring == tables.index.scoring
    question = "milk of the farm 2019: 1234"
    assert best.search(question, preset="best") == tables.search(question, preset="tables") != []
    again = Searcher.open(tmp_path / "b")
    assert preset_for_index("best", again.index) is PRESETS["tables"]
    assert again.search(question, preset="best") == best.search(question, preset="best")


def test_an_index_of_plain_texts_keeps_its_preset(
    tiny_vocabulary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = (("outside", {"source": lambda text: {"2": 9.0}, "weight": 9.0}),)
    monkeypatch.setitem(PRESETS, "mine", Preset("Of a test.", steps, with_tables="tables"))
    built = Searcher.build(texts=[PLAIN, "Grass grows.", TABLE], vocabulary=tiny_vocabulary, preset="mine")
    assert built.index.literal is not None and not built.index.literal.literal_pairs
    assert preset_for_index("mine", built.index) is PRESETS["mine"]
