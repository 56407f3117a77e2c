"""Figures without a display: their style, their axes, and how they are written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lexite.errors import MissingExtraError
from lexite.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")
DPI = 160
_WIDE = 4.0  # a range of more than this ratio is drawn on a logarithmic axis
_WIDTH, _HEIGHT = 6.6, 4.8  # inches of the axes, without the legend beside them
_LEGEND_ROW = 0.235  # inches
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


def need_matplotlib() -> None:
    """Makes sure, before long work, that plots can be drawn.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plots", "Drawing a plot") from error


def scale_x(axes: Axes, x: npt.NDArray[np.float64], log_x: bool | None) -> None:
    """Limits of a horizontal axis that shows all values; see :func:`lexite.analysis.plots.plot_lines` for ``log_x``."""
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
    plain_log_ticks(axes.xaxis)


def scale_y(axes: Axes, y: npt.NDArray[np.float64]) -> None:
    """Limits of a vertical axis that shows all values."""
    low, high = float(y.min()), float(y.max())
    room = (high - low) or max(abs(high), 1.0) * 0.1
    axes.set_ylim(low - 0.07 * room, high + 0.12 * room)


def plain_log_ticks(axis: Any) -> None:
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
def _figure(rows: int, size: tuple[float, float] | None) -> Iterator[tuple[Figure, Axes]]:
    """A figure with room for so many rows of a legend, without a display and without touching pyplot's state."""
    need_matplotlib()
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        height = max(_HEIGHT, rows * _LEGEND_ROW + 0.5)
        figure = Figure(figsize=size or (_WIDTH, height), dpi=DPI)
        yield figure, figure.add_subplot()


def write_figure(
    path: str | Path,
    draw: Callable[[Axes], None],
    x_label: str,
    y_label: str,
    title: str,
    rows: int,
    legend: str = "",
    size: tuple[float, float] | None = None,
) -> list[Path]:
    """Draws a figure and writes it in every format, each file whole or not at all; without a legend where it has 0 rows.

    Args:
        path: where to.
        draw: draws into the axes.
        x_label: name of the horizontal axis.
        y_label: name of the vertical axis.
        title: above the axes.
        rows: of the legend.
        legend: title of the legend.
        size: width and height in inches, in place of the usual one.
    """
    target, written = Path(path), []
    with _figure(rows, size) as (figure, axes):
        draw(axes)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.set_title(title)
        place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0), "borderaxespad": 0, "frameon": False}
        if rows:
            axes.legend(fontsize=9, handlelength=2.6, title=legend or None, title_fontsize=9, alignment="left", **place)
        for ending in FORMATS:
            file_path = target.with_suffix(f".{ending}") if target.suffix[1:] in FORMATS else Path(f"{target}.{ending}")
            metadata = {"Date": None} if ending == "svg" else {"Software": None}
            with atomic_write(file_path) as file:
                figure.savefig(file, format=ending, bbox_inches="tight", pad_inches=0.15, metadata=metadata)
            written.append(file_path)
    return written
