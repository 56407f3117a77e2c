from __future__ import annotations

import csv
import io
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexite.corpus.passages import PassageConfig, cut_documents, passages_of
from lexite.corpus.table_rows import heads_of_columns, is_group, row_groups, row_text
from lexite.corpus.table_text import Row, tables_in
from lexite.corpus.text_fields import FieldWeights
from lexite.errors import ConfigError

ROWS = [("", "2019", "2018"), ("Rent", "1,234", "(5)"), ("Heat", "4.0%", "—")]


def _markdown(rows: list[tuple[str, ...]], divider: bool = True) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], *(["|---|--:|:-:|"] if divider else []), *lines[1:]])


def _html(rows: list[tuple[str, ...]]) -> str:
    cells = [
        [f"<{'th' if not n else 'td'} class=x>{cell}</{'th' if not n else 'td'}>" for cell in row] for n, row in enumerate(rows)
    ]
    return "<table>" + "".join(f"<tr>{''.join(row)}</tr>" for row in cells) + "</table>"


def _csv(rows: list[tuple[str, ...]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue().rstrip("\n")


@pytest.mark.parametrize(
    "written",
    [
        _markdown(ROWS),
        _markdown(ROWS, divider=False),
        _html(ROWS),
        _csv(ROWS),
        "\n".join("\t".join(row) for row in ROWS),
        "\n".join(" | ".join(row) for row in ROWS),
    ],
)
def test_one_table_in_all_forms(written: str) -> None:
    text = f"Costs are below.\n\n{written}\n\nAll else, as they say, is text."
    (table,) = tables_in(text)
    assert [row.cells for row in table.rows] == ROWS
    assert table.n_heads == 1 and heads_of_columns(table) == ["", "2019", "2018"]
    assert text[table.start : table.end].strip() in written
    assert [group.text for group in row_groups(text, 5)] == [
        "Costs are below.\nRent, 2019 1,234, 2018 (5)",
        "Costs are below.\nHeat, 2019 4.0%, 2018 —",
    ]


def test_a_flattened_table_is_found_behind_prose() -> None:
    text = "It grew. In millions: Years ended May 31, . 2019 | 2018 . Fixed: . Rent | $ 5 | $ 4 . Total | 5 | 4"
    (table,) = tables_in(text)
    assert [row.cells for row in table.rows] == [("2019", "2018"), ("Fixed:",), ("Rent", "$ 5", "$ 4"), ("Total", "5", "4")]
    assert table.n_heads == 1 and is_group(table.rows[1])
    assert row_groups(text, 100)[0].text.splitlines()[1:] == ["Fixed: Rent, 2019 $ 5, 2018 $ 4", "Fixed: Total, 2019 5, 2018 4"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No table, just commas.\nTwo lines, of prose.\nThree lines, of it.",
        "a | b",
        "if (a || b) return;",
        "<table></table>",
        "<table><tr><td>alone</td></tr></table>",
        "1,2\n3,4",
        "\tindented\n\tcode",
        "|---|---|",
    ],
)
def test_what_is_no_table(text: str) -> None:
    assert tables_in(text) == []


def test_bars_that_are_escaped_are_text() -> None:
    (table,) = tables_in("| a | b |\n|---|---|\n| x \\| y | 2 |")
    assert table.rows[1].cells == ("x | y", "2")


def test_heads_are_repeated_and_spread() -> None:
    (table,) = tables_in(" | Plans | Other\n2019 | 2018 | 2019 | 2018\nRate | 1% | 2% | 3% | 4%")
    assert table.n_heads == 2
    assert row_text(table.body[0], ["", "A", "B", "C", "D"]) == "Rate, A 1%, B 2%, C 3%, D 4%"
    assert row_text(Row(0, 1, ("Rate",)), ["", "A"]) == "Rate"


CELL = st.text(st.characters(categories=["L", "Nd"]), min_size=1, max_size=8)


@given(
    st.lists(st.tuples(CELL, st.integers(0, 10**6).map(str), st.integers(0, 10**6).map("{:,}".format)), min_size=1, max_size=8)
)
def test_every_value_stands_in_one_group(rows: list[tuple[str, str, str]]) -> None:
    text = "Caption.\n\n" + _markdown([("what", "first", "second"), *rows])
    groups = row_groups(text, 12)
    lines = [line for group in groups for line in group.text.splitlines()[1:]]
    assert lines == [f"what {label}, first {one}, second {two}" for label, one, two in rows]
    assert all(text[group.start : group.end].count("\n") == len(group.text.splitlines()) - 2 for group in groups)


@given(st.text(st.sampled_from("ab1,.|\t\n <>tdrale/h-#")))
def test_any_text_is_read_without_error(text: str) -> None:
    places = [0]
    for table in tables_in(text):
        assert 0 <= table.n_heads <= len(table.rows)
        for row in table.rows:
            assert places[-1] <= row.start <= row.end <= len(text)
            places.append(row.end)
    row_groups(text, 5)


def test_rows_become_passages_beside_those_of_the_text() -> None:
    text = f"# Costs\n\nThey are:\n\n{_markdown(ROWS)}"
    document = SimpleNamespace(title="Report", text=text)
    cut = cut_documents([document], PassageConfig(table_words=100))
    assert cut.texts == [f"Report {text}", "Report Costs They are:\nRent, 2019 1,234, 2018 (5)\nHeat, 2019 4.0%, 2018 —"]
    assert text[slice(*cut.spans[1])].startswith("| Rent") and cut.bounds.tolist() == [0, 2]
    assert cut_documents([document], PassageConfig()).texts == cut.texts[:1]
    fields = cut_documents([document], PassageConfig(table_words=100), FieldWeights()).fields
    assert fields is not None and "They are:\nRent, 2019 1,234, 2018 (5)\nHeat, 2019 4.0%, 2018 —" in fields.texts


def test_settings() -> None:
    assert passages_of("tables") == PassageConfig(table_words=30)
    with pytest.raises(ConfigError, match="words of tables"):
        PassageConfig(table_words=-1)
