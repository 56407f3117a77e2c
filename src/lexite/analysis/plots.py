"""Plots out of plain arrays, written as PNG and SVG.

Colours are those of Okabe and Ito (2008), which people with any form of colour blindness can tell apart; lines that share a
colour differ in marker and dash, so that some forty of them stay distinct in print too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lexite.analysis.figures import DPI, plain_log_ticks, scale_x, scale_y, write_figure
from lexite.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#B8860B", "#000000", "#8C6BB1")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", ">")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.4)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)))
_NOTE: dict[str, Any] = {
    "fontsize": 8,
    "color": "#444444",
    "zorder": 5,
    "bbox": {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
}
_MOST_FITS = 6  # lines of fitted power laws that are drawn; of more curves, the legend gives the numbers
_MARKER_SIZES = {"s": 5.5, "D": 5.5, "P": 8.0, "X": 8.0}


class Fit(NamedTuple):
    """A power law ``value = scale * rank ** -exponent`` and how well it fits.

    Attributes:
        exponent: steepness of the line in a plot with two logarithmic axes.
        scale: the value at rank 1.
        r2: share of the variance of log(value) that it explains; None leaves it out of the legend.
    """

    exponent: float
    scale: float
    r2: float | None = None


@dataclass(frozen=True)
class Line:
    """Points that belong together, in the order in which they are joined.

    Attributes:
        name: for the legend.
        x: ``(n,)``.
        y: ``(n,)``.
        spread: ``(n,)``, half the length of a vertical bar at each point, such as the standard deviation over seeds; None
            draws none.
        notes: a short text per point, written beside those of them that lie on the frontier.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    spread: Sequence[float] | None = None
    notes: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True)
class RankCurve:
    """Values by rank, the largest first.

    Attributes:
        name: for the legend.
        ranks: ``(n,)``, from 1, rising.
        values: ``(n,)``; those of 0 or less cannot be drawn on a logarithmic axis and are left out.
        fit: a power law to draw over them.
    """

    name: str
    ranks: Sequence[float] | npt.NDArray[Any]
    values: Sequence[float] | npt.NDArray[Any]
    fit: Fit | None = None


def plot_lines(
    lines: Sequence[Line],
    path: str | Path,
    *,
    x_label: str,
    y_label: str,
    title: str = "",
    frontier: Sequence[tuple[float, float]] = (),
    log_x: bool | None = None,
    joined: bool = True,
) -> list[Path]:
    """Draws one line per entry, with markers, and a legend beside the axes in the order of the entries.

    Args:
        lines: what to draw; points that are not finite are left out.
        path: where to; its ending is replaced by ``.png`` and ``.svg``.
        x_label: name and unit of the horizontal axis.
        y_label: name and unit of the vertical axis.
        title: above the axes.
        frontier: points of lines that nothing beats; a grey band joins them, a guide for the eye, and they get a ring and their
            notes.
        log_x: whether the horizontal axis is logarithmic; None: where the largest is more than four times the smallest.
        joined: whether the points of an entry are joined by a line.

    Returns:
        The files written.

    Raises:
        ConfigError: there is nothing to draw.
        MissingExtraError: matplotlib is not installed.
        StorageError: a file cannot be written.
    """
    drawn = [(number, line, _finite(line.x, line.y)) for number, line in enumerate(lines)]
    if not any(kept.any() for _, _, kept in drawn):
        raise ConfigError(f"There is nothing to draw for {path}.")

    def draw(axes: Axes) -> None:
        _draw_frontier(axes, frontier)
        for number, line, kept in drawn:
            _draw_line(axes, line, kept, number, joined)
        x = np.concatenate([np.asarray(line.x, dtype=float)[kept] for _, line, kept in drawn])
        y = np.concatenate([_ends_of_bars(line)[:, kept].ravel() for _, line, kept in drawn])
        scale_x(axes, x, log_x)
        scale_y(axes, y)
        _write_notes(axes, lines, frontier)

    return write_figure(path, draw, x_label, y_label, title, len(lines) + bool(frontier))


def plot_power_law(
    ranks: Sequence[float] | npt.NDArray[Any],
    values: Sequence[float] | npt.NDArray[Any],
    path: str | Path,
    *,
    fit: Fit | None = None,
    name: str = "measured",
    x_label: str = "rank",
    y_label: str = "value",
    title: str = "",
) -> list[Path]:
    """Draws values by rank on two logarithmic axes with the power law that was fitted; see :func:`plot_rank_curves`."""
    return plot_rank_curves([RankCurve(name, ranks, values, fit)], path, x_label=x_label, y_label=y_label, title=title)


def plot_rank_curves(
    curves: Sequence[RankCurve], path: str | Path, *, x_label: str, y_label: str, title: str = ""
) -> list[Path]:
    """Draws values by rank on two logarithmic axes, each with its fitted power law as a thin dashed line.

    Of more than six curves the legend gives the numbers of the fits, and their lines are left out.

    Args:
        curves: what to draw; ranks and values of 0 or less, or not finite, are left out.
        path: where to; its ending is replaced by ``.png`` and ``.svg``.
        x_label: name of the horizontal axis.
        y_label: name and unit of the vertical axis.
        title: above the axes.

    Returns:
        The files written.

    Raises:
        ConfigError: there is nothing to draw.
        MissingExtraError: matplotlib is not installed.
        StorageError: a file cannot be written.
    """
    drawn = [(number, curve, _positive(curve.ranks, curve.values)) for number, curve in enumerate(curves)]
    if not any(len(ranks) for _, _, (ranks, _) in drawn):
        raise ConfigError(f"There is nothing to draw for {path}.")
    floor = min(float(values.min()) for _, _, (_, values) in drawn if len(values))
    ceiling = max(float(values.max()) for _, _, (_, values) in drawn if len(values))
    starts = [float(_value(curve.fit, ranks.min())) for _, curve, (ranks, _) in drawn if curve.fit and len(ranks)]
    alone, fitted = len(curves) == 1, any(curve.fit is not None for curve in curves)
    if len(curves) <= _MOST_FITS:  # room for the lines of the fits too, but not for wild ones
        ceiling = max(ceiling, min(max(starts, default=0.0), 5 * ceiling))

    def draw(axes: Axes) -> None:
        axes.set_xscale("log")
        axes.set_yscale("log")
        for number, curve, (ranks, values) in drawn:
            style = _style(number)
            axes.plot(
                ranks,
                values,
                color=style["color"],
                linestyle=style["linestyle"],
                linewidth=1.8,
                label=curve.name if alone else _named(curve),
                zorder=3,
            )
            if curve.fit is not None and len(ranks) and len(curves) <= _MOST_FITS:
                label = f"power law, {_describe(curve.fit)}" if alone else None
                _draw_fit(axes, curve.fit, ranks, COLOURS[1] if alone else style["color"], label)
        axes.set_ylim(floor / 1.6, ceiling * 1.8)
        for axis in (axes.xaxis, axes.yaxis):
            plain_log_ticks(axis)

    dashed = "dashed: " if len(curves) <= _MOST_FITS else ""
    legend = "" if alone or not fitted else f"{dashed}power law, rank to the −α"
    return write_figure(path, draw, x_label, y_label, title, len(curves) + fitted, legend)


def _draw_line(axes: Axes, line: Line, kept: npt.NDArray[np.bool_], number: int, joined: bool) -> None:
    style = _style(number) if joined else {**_style(number), "linestyle": "none"}
    size = _MARKER_SIZES.get(style["marker"], 6.5)
    x, y = np.asarray(line.x, dtype=float)[kept], np.asarray(line.y, dtype=float)[kept]
    axes.plot(
        x, y, label=line.name, linewidth=1.6, markersize=size, markeredgecolor="white", markeredgewidth=0.6, zorder=3, **style
    )
    if line.spread is not None:
        spread = np.nan_to_num(np.asarray(line.spread, dtype=float)[kept])
        if spread.any():
            axes.errorbar(x, y, yerr=spread, fmt="none", ecolor=style["color"], elinewidth=1, capsize=2.5, alpha=0.7, zorder=2)


def _draw_frontier(axes: Axes, frontier: Sequence[tuple[float, float]]) -> None:
    if not frontier:
        return
    x, y = np.array(sorted(frontier), dtype=float).T
    band: dict[str, Any] = {"color": "#d9d9d9", "linewidth": 9, "solid_capstyle": "round", "solid_joinstyle": "round"}
    axes.plot(x, y, zorder=1, label="frontier", **band)
    axes.plot(x, y, "o", markersize=11, markerfacecolor="none", markeredgecolor="#666666", markeredgewidth=1, zorder=4)


def _write_notes(axes: Axes, lines: Sequence[Line], frontier: Sequence[tuple[float, float]]) -> None:
    """The notes of points on the frontier, above and to the left, where no better point can be; none over another."""
    wanted = {(float(x), float(y)) for x, y in frontier}
    noted = [
        (float(x), float(y), note)
        for line in lines
        for x, y, note in zip(line.x, line.y, line.notes, strict=False)
        if (float(x), float(y)) in wanted
    ]
    taken: list[npt.NDArray[np.float64]] = []
    for x, y, note in sorted(noted):
        place = np.asarray(axes.transData.transform((x, y))) / DPI * 72  # points
        room = (6.0 * len(note), 12.0)
        if all((abs(place - other) >= room).any() for other in taken):
            axes.annotate(note, (x, y), (-7, 7), textcoords="offset points", ha="right", va="bottom", **_NOTE)
            taken.append(place)


def _draw_fit(axes: Axes, fit: Fit, ranks: npt.NDArray[np.float64], colour: str, label: str | None) -> None:
    ends = np.geomspace(ranks.min(), ranks.max(), 50)
    axes.plot(ends, _value(fit, ends), color=colour, linewidth=1.2, linestyle=(0, (4, 3)), zorder=4, label=label)


def _value(fit: Fit, ranks: Any) -> Any:
    """What a fit says of some ranks."""
    return fit.scale * ranks**-fit.exponent


def _named(curve: RankCurve) -> str:
    return curve.name if curve.fit is None else f"{curve.name}  ({_describe(curve.fit)})"


def _describe(fit: Fit) -> str:
    quality = "" if fit.r2 is None else f", R² {fit.r2:.2f}"
    return f"α {fit.exponent:.2f}{quality}"


def _style(number: int) -> dict[str, Any]:
    """Colour, marker and dash of the line with this number; after each round of colours the other two change."""
    turn = number // len(COLOURS)
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[(number + turn * 3) % len(MARKERS)],
        "linestyle": DASHES[turn % len(DASHES)],
    }


def _finite(x: Sequence[float], y: Sequence[float]) -> npt.NDArray[np.bool_]:
    kept: npt.NDArray[np.bool_] = np.isfinite(np.asarray(x, dtype=float)) & np.isfinite(np.asarray(y, dtype=float))
    return kept


def _ends_of_bars(line: Line) -> npt.NDArray[np.float64]:
    """Lower and upper end of the bar at each point, ``(2, n)``."""
    spread = np.zeros(len(line.y)) if line.spread is None else np.nan_to_num(np.asarray(line.spread, dtype=float))
    y = np.asarray(line.y, dtype=float)
    return np.stack([y - spread, y + spread])


def _positive(ranks: Any, values: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    ranks, values = np.asarray(ranks, dtype=np.float64), np.asarray(values, dtype=np.float64)
    kept = np.isfinite(ranks) & np.isfinite(values) & (ranks > 0) & (values > 0)
    return ranks[kept], values[kept]
