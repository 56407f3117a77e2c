"""Horizontal bars with intervals and names, and points of a map, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexite.analysis.figures import write_figure
from lexite.analysis.plots import COLOURS
from lexite.errors import ConfigError
from lexite.wording import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME_LENGTH = 44
_ROW = 0.27  # inches


@dataclass(frozen=True)
class Bar:
    """A bar.

    Attributes:
        name: what it stands for.
        value: its length.
        interval: lower and upper limit; None draws none.
    """

    name: str
    value: float
    interval: tuple[float, float] | None = None


def plot_bars(bars: Sequence[Bar], path: str | Path, *, x_label: str, title: str = "") -> list[Path]:
    """Draws one bar per row, the first at the top; bars above and below 0 have different colours.

    Args:
        bars: what to draw.
        path: where to; its ending is replaced by ``.png`` and ``.svg``.
        x_label: name and unit of the values.
        title: above the axes.

    Returns:
        The files written.

    Raises:
        ConfigError: there is nothing to draw.
        MissingExtraError: matplotlib is not installed.
    """
    if not bars:
        raise ConfigError(f"There is nothing to draw for {path}.")
    values = np.array([bar.value for bar in bars])
    places = np.arange(len(bars))[::-1]

    def draw(axes: Axes) -> None:
        axes.barh(places, values, color=[COLOURS[0] if value >= 0 else COLOURS[1] for value in values], height=0.72)
        for place, bar in zip(places, bars, strict=True):
            if bar.interval is not None:
                axes.plot(bar.interval, (place, place), color="#333333", linewidth=1.1)
        axes.axvline(0, color="#444444", linewidth=0.8)
        axes.set_yticks(places, [_short(bar.name) for bar in bars], fontsize=8.5)
        axes.set_ylim(-0.8, len(bars) - 0.2)
        axes.grid(visible=False, axis="y")

    return write_figure(path, draw, x_label, "", title, 0, size=(7.4, max(1.6, _ROW * len(bars) + 0.9)))


def plot_points(
    points: NDArray[np.floating], groups: NDArray[np.int64], names: Sequence[str], path: str | Path, *, title: str = ""
) -> list[Path]:
    """Draws points of a map, each group in a colour of its own; the largest groups are named in the legend.

    Args:
        points: ``(n, 2)``.
        groups: ``(n,)`` the group of each; -1 is none and drawn in grey.
        names: of the groups.
        path: where to.
        title: above the axes.

    Returns:
        The files written.
    """
    if not len(points):
        raise ConfigError(f"There is nothing to draw for {path}.")
    size = float(np.clip(9000 / len(points), 1.5, 22))

    def draw(axes: Axes) -> None:
        for group in [-1, *range(len(names))]:
            own = points[groups == group]
            if len(own):
                colour = "#c8c8c8" if group < 0 else COLOURS[group % len(COLOURS)]
                marker = "o^sDvPX"[(max(group, 0) // len(COLOURS)) % 7]
                label = "no cluster" if group < 0 else f"{group + 1}  {_short(names[group])}"
                axes.scatter(own[:, 0], own[:, 1], s=size, color=colour, marker=marker, label=label, linewidths=0, alpha=0.75)
                if group >= 0:
                    x, y = np.median(own, axis=0)
                    axes.annotate(
                        str(group + 1),
                        (x, y),
                        ha="center",
                        va="center",
                        fontsize=9,
                        fontweight="bold",
                        color="#111111",
                        bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
                    )
        axes.set_xticks([])
        axes.set_yticks([])

    return write_figure(path, draw, "", "", title, len(names) + 1)


def _short(name: str) -> str:
    """A name for a plot: one line, not too long, with no sign that matplotlib reads as mathematics."""
    text = one_line(name).replace("$", r"\$")
    return text if len(text) <= NAME_LENGTH else f"{text[: NAME_LENGTH - 1]}…"
