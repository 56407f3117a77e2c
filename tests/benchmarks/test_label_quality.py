"""How the benchmark reads labels as people see them."""

from __future__ import annotations

import numpy as np
import pytest
from label_quality import examples_of, one_auc, without_signs


@pytest.mark.parametrize(
    ("label", "texts", "marked", "plain"),
    [
        (
            "e.g. “river [bank] in”, “of March[.] The”",
            ["river bank in", "of March. The"],
            ["bank", "."],
            "river bank in, of March. The",
        ),
        ("e.g. “year, [2015], and”", ["year, 2015, and"], ["2015"], "year, 2015, and"),
        ("e.g. “a []] b”", ["a ] b"], ["]"], "a ] b"),
        ("e.g. “without marks”, “more”", [], [], "without marks, more"),
        ("river, bank", [], [], "river, bank"),
    ],
)
def test_examples_are_read_with_their_marks(label: str, texts: list[str], marked: list[str], plain: str) -> None:
    found = examples_of(label)
    assert [example.text for example in found] == texts
    assert [example.text[slice(*example.marks[0])] for example in found] == marked
    assert without_signs(label) == plain


def test_pairs_in_order_are_counted() -> None:
    assert one_auc(np.array([2.0, 1.0]), np.array([1.0, 0.0])) == 0.875
