"""The plots of a comparison of recipes."""

from __future__ import annotations

from pathlib import Path

from lexite.analysis.plots import Fit, Line, RankCurve, plot_lines, plot_rank_curves
from lexite.evaluation.comparison import Comparison, ComparisonRow
from lexite.evaluation.comparison.records import RunRecord
from lexite.evaluation.comparison.report import QUALITY
from lexite.evaluation.comparison.sweep import TRAINED


def plot_comparison(comparison: Comparison, folder: str | Path) -> list[Path]:
    """Draws a comparison: ``quality``, ``reconstruction`` and ``density``, each as PNG and SVG.

    - ``quality``: mean nDCG@10 against postings per document, a line per recipe over k, with the frontier.
    - ``reconstruction``: FVU against L0 at the end of the training, a point per run.
    - ``density``: the share of tokens that a latent fires on against its rank, with the fitted power law; of each recipe the
      first seed.

    A recipe has the same colour and marker in the first two, and the recipes come in the order of their best quality.

    Args:
        comparison: the results.
        folder: where to.

    Returns:
        The files written.

    Raises:
        MissingExtraError: matplotlib is not installed.
        StorageError: a file cannot be written.
    """
    rows, names = comparison.rows, _by_quality(comparison)
    written = _plot_quality(comparison, rows, names, Path(folder))
    runs = {name: [run for run in comparison.runs if run.recipe == name] for name in names}
    if all(key in run.training for run in comparison.runs for key in ("fvu", "l0")):
        written += plot_lines(
            [Line(name, [r.training["l0"] for r in runs[name]], [r.training["fvu"] for r in runs[name]]) for name in names],
            Path(folder) / "reconstruction",
            x_label="L0, active latents per token",
            y_label="FVU, fraction of variance unexplained",
            title="Reconstruction at the end of the training",
            joined=False,
        )
    curves = [_density_curve(runs[name][0]) for name in names]
    if any(len(curve.ranks) for curve in curves):
        written += plot_rank_curves(
            curves,
            Path(folder) / "density",
            x_label="rank of the latent",
            y_label="density, share of tokens",
            title="How often latents fire",
        )
    return written


def _by_quality(comparison: Comparison) -> list[str]:
    best = {name: max(row.mean[QUALITY] for row in comparison.rows if row.recipe == name) for name in comparison.recipes}
    return sorted(best, key=lambda name: -best[name])


def _plot_quality(comparison: Comparison, rows: list[ComparisonRow], names: list[str], folder: Path) -> list[Path]:
    several = len(comparison.collections) > 1
    lines = []
    for name in names:
        own = sorted((row for row in rows if row.recipe == name), key=lambda row: row.mean["postings_per_document"])
        notes = ["" if row.k == TRAINED else f"k {row.k}" for row in own]
        spread = [row.spread or 0.0 for row in own]
        lines.append(Line(name, [_cost(row) for row in own], [row.mean[QUALITY] for row in own], spread, notes))
    return plot_lines(
        lines,
        folder / "quality",
        x_label="postings per document",
        y_label=f"nDCG@10, mean of {len(comparison.collections)} collections" if several else "nDCG@10",
        title="Quality against the size of the index" + ("" if several else f": {comparison.collections[0]}"),
        frontier=[(_cost(row), row.mean[QUALITY]) for row in rows if row.frontier],
    )


def _cost(row: ComparisonRow) -> float:
    return row.mean["postings_per_document"]


def _density_curve(run: RunRecord) -> RankCurve:
    density = run.density
    fit = Fit(density["zipf_exponent"], density["zipf_scale"], density["zipf_r2"]) if len(density["ranks"]) > 1 else None
    return RankCurve(run.recipe, density["ranks"], density["values"], fit)
