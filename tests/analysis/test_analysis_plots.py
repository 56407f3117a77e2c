"""Plots: what is in the files, and that nothing half drawn is left behind."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from lexite.analysis import Fit, Line, RankCurve, plot_lines, plot_power_law, plot_rank_curves
from lexite.analysis.figures import plain_number
from lexite.analysis.plots import COLOURS, MARKERS, _style
from lexite.errors import ConfigError, MissingExtraError, StorageError

LABELS = {"x_label": "postings per document", "y_label": "nDCG@10"}


def words(path: Path) -> str:
    """The text in an SVG file."""
    return " ".join(re.findall(r">([^<>\n]+)<", path.read_text(encoding="utf-8")))


def some_lines(count: int) -> list[Line]:
    return [
        Line(f"recipe {n}", [50 + n, 100, 400], [0.3, 0.4 + n / 1000, 0.5], [0.01, 0, 0.02], ["k 2", "k 4", "k 8"])
        for n in range(count)
    ]


def test_lines_become_a_png_and_an_svg(tmp_path: Path) -> None:
    written = plot_lines(
        some_lines(2), tmp_path / "plots" / "quality", title="Quality", frontier=[(50, 0.3), (400, 0.5)], **LABELS
    )
    assert [path.name for path in written] == ["quality.png", "quality.svg"]
    assert written[0].read_bytes().startswith(b"\x89PNG")
    text = words(written[1])
    for word in ("Quality", "postings per document", "nDCG@10", "recipe 0", "recipe 1", "frontier", "k 2", "k 8", "100", "200"):
        assert word in text, word
    assert "k 4" not in text  # not on the frontier
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == ["quality.png", "quality.svg"]


def test_an_ending_is_not_doubled(tmp_path: Path) -> None:
    names = [path.name for path in plot_lines(some_lines(1), tmp_path / "a.png", **LABELS)]
    assert names == ["a.png", "a.svg"]
    names = [path.name for path in plot_lines(some_lines(1), tmp_path / "k1.5", **LABELS)]
    assert names == ["k1.5.png", "k1.5.svg"]


def test_the_same_plot_is_the_same_file(tmp_path: Path) -> None:
    one, other = (plot_lines(some_lines(3), tmp_path / name, **LABELS) for name in "ab")
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def test_forty_lines_look_different_and_all_are_named(tmp_path: Path) -> None:
    styles = [tuple(map(str, _style(number).values())) for number in range(40)]
    assert len(set(styles)) == 40
    assert len({style[:2] for style in styles}) == 40  # colour and marker alone, for plots without lines
    assert len(set(COLOURS)) == len(COLOURS) and len(set(MARKERS)) == len(MARKERS)
    text = words(plot_lines(some_lines(40), tmp_path / "many", joined=False, **LABELS)[1])
    assert all(f"recipe {n}" in text for n in range(40))


def test_points_that_are_not_numbers_are_left_out(tmp_path: Path) -> None:
    assert plot_lines([Line("a", [1, float("nan"), 3], [0.1, 0.2, float("inf")])], tmp_path / "a", **LABELS)
    with pytest.raises(ConfigError, match="nothing to draw"):
        plot_lines([Line("a", [float("nan")], [1.0])], tmp_path / "b", **LABELS)
    with pytest.raises(ConfigError, match="nothing to draw"):
        plot_lines([], tmp_path / "b", **LABELS)
    assert not list(tmp_path.glob("b*"))


def test_a_single_point_and_equal_values_have_an_axis(tmp_path: Path) -> None:
    assert plot_lines([Line("a", [16.0], [0.2])], tmp_path / "one", **LABELS)
    assert plot_lines([Line("a", [0.0, 0.0], [0.0, 0.0])], tmp_path / "zero", log_x=True, **LABELS)
    assert plot_power_law([1], [0.5], tmp_path / "rank", fit=Fit(0.0, 0.5))


def test_a_power_law_is_drawn_with_its_numbers(tmp_path: Path) -> None:
    ranks = np.arange(1, 1001)
    written = plot_power_law(
        ranks, 0.3 / ranks, tmp_path / "law", fit=Fit(1.0, 0.3, 0.987), y_label="importance", name="latents"
    )
    text = words(written[1])
    for word in ("latents", "power law, α 1.00, R² 0.99", "importance", "1,000", "0.001"):
        assert word in text, word


def test_many_curves_keep_the_numbers_of_their_fits_only(tmp_path: Path) -> None:
    def curves(count: int) -> list[RankCurve]:
        return [RankCurve(f"c{n}", [1, 2, 3, 4], [0.4, 0.2, 0.1, 0.0], Fit(0.5 + n / 10, 0.4)) for n in range(count)]

    few, many = (plot_rank_curves(curves(n), tmp_path / str(n), x_label="rank", y_label="density") for n in (2, 9))
    assert "dashed: power law" in words(few[1]) and "c1  (α 0.60)" in words(few[1])
    assert "dashed" not in words(many[1]) and "c8  (α 1.30)" in words(many[1])
    with pytest.raises(ConfigError, match="nothing to draw"):
        plot_rank_curves([RankCurve("dead", [1, 2], [0.0, 0.0])], tmp_path / "dead", x_label="rank", y_label="density")


@pytest.mark.parametrize("value, text", [(1e6, "1,000,000"), (1.5, "1.5"), (0.7, "0.7"), (1e-6, "0.000001"), (1e-12, "1e-12")])
def test_numbers_on_logarithmic_axes_are_plain(value: float, text: str) -> None:
    assert plain_number(value) == text


def test_without_matplotlib_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lexite\[plots\]'"):
        plot_lines(some_lines(1), tmp_path / "a", **LABELS)
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        plot_lines(some_lines(1), tmp_path / "file" / "a", **LABELS)
