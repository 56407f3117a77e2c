"""Plots out of plain arrays, written as PNG and SVG.

Colours are those of Okabe and Ito (2008), which people with any form of colour blindness can tell apart; lines that share a
colour differ in marker and dash, so that some forty of them stay distinct in print too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lexite.errors import ConfigError, MissingExtraError
from lexite.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#B8860B", "#000000", "#8C6BB1")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", ">")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.4)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)))
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.labelcolor": "#222222",
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "svg.fonttype": "none",
    "svg.hashsalt": "lexite",
    "figure.facecolor": "white",
}
_WIDTH, _HEIGHT = 6.6, 4.8  # inches of the axes, without the legend beside them
_LEGEND_ROW = 0.235  # inches
_DPI = 160
_NOTE: dict[str, Any] = {
    "fontsize": 8,
    "color": "#444444",
    "zorder": 5,
    "bbox": {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
}
_WIDE = 4.0  # a range of more than this ratio is drawn on a logarithmic axis
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


def need_matplotlib() -> None:
    """Makes sure, before long work, that plots can be drawn.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plots", "Drawing a plot") from error


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
        _scale_x(axes, x, log_x)
        _scale_y(axes, y)
        _write_notes(axes, lines, frontier)

    return _write(path, draw, x_label, y_label, title, len(lines) + bool(frontier))


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
            _plain_log_ticks(axis)

    dashed = "dashed: " if len(curves) <= _MOST_FITS else ""
    legend = "" if alone or not fitted else f"{dashed}power law, rank to the −α"
    return _write(path, draw, x_label, y_label, title, len(curves) + fitted, legend)


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
        place = np.asarray(axes.transData.transform((x, y))) / _DPI * 72  # points
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


def _scale_x(axes: Axes, x: npt.NDArray[np.float64], log_x: bool | None) -> None:
    low, high = float(x.min()), float(x.max())
    if log_x is None:
        log_x = low > 0 and high / low > _WIDE
    if not log_x or low <= 0:
        room = (high - low) * 0.05 or max(abs(high), 1.0) * 0.1
        axes.set_xlim(low - 1.8 * room, high + room)
        return
    axes.set_xscale("log")
    room = (high / low) ** 0.05 if high > low else 1.3
    axes.set_xlim(low / room**1.8, high * room)  # notes are to the left of their points
    _plain_log_ticks(axes.xaxis)


def _scale_y(axes: Axes, y: npt.NDArray[np.float64]) -> None:
    low, high = float(y.min()), float(y.max())
    room = (high - low) or max(abs(high), 1.0) * 0.1
    axes.set_ylim(low - 0.07 * room, high + 0.12 * room)


def _plain_log_ticks(axis: Any) -> None:
    """Ticks of a logarithmic axis as plain numbers: 1, 2, 5 over few decades, powers of ten over many."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    steps = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if decades < 1 else (1.0, 2.0, 5.0) if decades < 3 else (1.0,)
    axis.set_major_locator(LogLocator(base=10, subs=steps, numticks=50))
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(value)))
    axis.set_minor_formatter(NullFormatter())


def plain_number(value: float) -> str:
    """A number of a logarithmic axis as people write it.

    >>> [plain_number(value) for value in (20000, 1500, 2, 0.05, 0.00001, 1e-7)]
    ['20,000', '1,500', '2', '0.05', '0.00001', '1e-7']
    """
    if value >= 1:
        return f"{value:,.0f}" if value >= 10 else f"{value:g}"
    return f"{value:.10f}".rstrip("0") if value >= 0.99e-6 else f"{value:.0e}".replace("e-0", "e-")


@contextlib.contextmanager
def _figure(rows: int) -> Iterator[tuple[Figure, Axes]]:
    """A figure with room for so many rows of a legend, without a display and without touching pyplot's state."""
    need_matplotlib()
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        height = max(_HEIGHT, rows * _LEGEND_ROW + 0.5)
        figure = Figure(figsize=(_WIDTH, height), dpi=_DPI)
        yield figure, figure.add_subplot()


def _write(
    path: str | Path,
    draw: Callable[[Axes], None],
    x_label: str,
    y_label: str,
    title: str,
    rows: int,
    legend: str = "",
) -> list[Path]:
    """Draws a figure and writes it in every format, each file whole or not at all."""
    target, written = Path(path), []
    with _figure(rows) as (figure, axes):
        draw(axes)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.set_title(title)
        place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0), "borderaxespad": 0, "frameon": False}
        axes.legend(fontsize=9, handlelength=2.6, title=legend or None, title_fontsize=9, alignment="left", **place)
        for ending in FORMATS:
            file_path = target.with_suffix(f".{ending}") if target.suffix[1:] in FORMATS else Path(f"{target}.{ending}")
            metadata = {"Date": None} if ending == "svg" else {"Software": None}
            with atomic_write(file_path) as file:
                figure.savefig(file, format=ending, bbox_inches="tight", pad_inches=0.15, metadata=metadata)
            written.append(file_path)
    return written
