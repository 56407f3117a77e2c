"""Looking at vocabularies: plots of quality, cost, reconstruction and frequency. Needs the extra ``plots``."""

from lexite.analysis.comparison import plot_comparison
from lexite.analysis.figures import need_matplotlib
from lexite.analysis.plots import Fit, Line, RankCurve, plot_lines, plot_power_law, plot_rank_curves

__all__ = [
    "Fit",
    "Line",
    "RankCurve",
    "need_matplotlib",
    "plot_comparison",
    "plot_lines",
    "plot_power_law",
    "plot_rank_curves",
]
