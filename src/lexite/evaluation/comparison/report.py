"""What a comparison found: a row per recipe and k, the frontier of quality against cost, JSON and Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from lexite.evaluation.comparison.records import RunRecord
from lexite.evaluation.comparison.sweep import TRAINED
from lexite.files import atomic_write, write_json
from lexite.version import __version__
from lexite.wording import counted, one_line

if TYPE_CHECKING:
    from rich.table import Table

COMPARISON_FILE = "comparison.json"
MARKDOWN_FILE = "comparison.md"
QUALITY = "nDCG@10"
_MEASURED = (QUALITY, "R@100", "MRR@10", "postings_per_document", "terms_per_query", "bytes_per_document")
_TRAINING = ("fvu", "l0", "dead_share", "tokens_per_second", "seconds")
_DEFINITIONS = (
    "nDCG@10 is the mean over the collections, each weighing the same, and over seeds; ± is its standard deviation over seeds. "
    "postings/doc and terms/query are means over the collections. FVU, L0 and the share of dead latents are those of the end "
    "of the training, from the last record of its log; tokens/s is the rate of the training on token states that were there "
    "already. ▲ marks the frontier: no other row is as good at no more postings per document."
)


@dataclass(frozen=True)
class ComparisonRow:
    """A recipe at one k, over its seeds.

    Attributes:
        recipe: name of the recipe.
        k: latents kept per token, as text; ``"trained"`` for what the vocabulary says.
        seeds: the seeds that were trained.
        mean: column -> mean over collections and seeds.
        spread: standard deviation over seeds of the mean nDCG@10; None for a single seed.
        collections: collection -> column -> mean over seeds.
        training: ``fvu``, ``l0``, ``dead_share``, ``tokens_per_second``, ``seconds``, means over seeds; None where not known.
        frontier: whether no other row has at least this quality at no more postings per document, and is better in one of them.
    """

    recipe: str
    k: str
    seeds: list[int]
    mean: dict[str, float]
    spread: float | None
    collections: dict[str, dict[str, float]]
    training: dict[str, float | None]
    frontier: bool = False


@dataclass(frozen=True)
class Comparison:
    """The results of a comparison.

    Attributes:
        runs: the record of each run, recipes and seeds in the order in which they were asked for.
        collections: names of the collections.
        cuts: the numbers of latents per token, as text.
    """

    runs: Sequence[RunRecord]
    collections: Sequence[str]
    cuts: Sequence[str]

    @property
    def recipes(self) -> list[str]:
        """Names of the recipes, in the order in which they were asked for."""
        return list(dict.fromkeys(run.recipe for run in self.runs))

    @property
    def rows(self) -> list[ComparisonRow]:
        """A row per recipe and k, with the frontier marked."""
        rows = [self._row(recipe, cut) for recipe in self.recipes for cut in self.cuts]
        best = frontier([(row.mean["postings_per_document"], row.mean[QUALITY]) for row in rows])
        return [ComparisonRow(**{**vars(row), "frontier": number in best}) for number, row in enumerate(rows)]

    @property
    def _repeated(self) -> bool:
        """Whether a recipe was trained with several seeds."""
        return len(self.runs) > len(self.recipes)

    def _row(self, recipe: str, cut: str) -> ComparisonRow:
        runs = [run for run in self.runs if run.recipe == recipe]
        measured = [{name: run.evaluation[name]["k"][cut] for name in self.collections} for run in runs]
        collections = {
            name: {column: fmean(values[name][column] for values in measured) for column in _MEASURED}
            for name in self.collections
        }
        mean = {column: fmean(row[column] for row in collections.values()) for column in _MEASURED}
        qualities = [fmean(row[QUALITY] for row in values.values()) for values in measured]
        training = {key: _mean([run.training.get(key) for run in runs]) for key in _TRAINING}
        spread = stdev(qualities) if len(qualities) > 1 else None
        return ComparisonRow(recipe, cut, [run.seed for run in runs], mean, spread, collections, training)

    def to_json(self) -> dict[str, Any]:
        """The comparison as JSON values: ``collections``, ``k``, ``rows``, ``runs`` and the version of lexite."""
        return {
            "format": "lexite-comparison",
            "format_version": 1,
            "collections": list(self.collections),
            "k": list(self.cuts),
            "rows": [asdict(row) for row in self.rows],
            "runs": [run.to_json() for run in self.runs],
            "lexite": __version__,
        }

    def markdown(self, plots: Sequence[str] = ()) -> str:
        """The comparison as a page: a table, what its columns mean, and plots.

        Args:
            plots: files of pictures, relative to the page.
        """
        rows = self.rows
        heads = _heads(self.collections, self._repeated)
        lines = [f"| {' | '.join(heads)} |", f"|{'---|' * 2}{'---:|' * (len(heads) - 2)}"]
        lines += [f"| {' | '.join(_cells(row, self.collections, self._repeated))} |" for row in rows]
        best = sorted((row for row in rows if row.frontier), key=lambda row: row.mean["postings_per_document"])
        listed = "\n".join(
            f"- {_label(row)}: {row.mean[QUALITY]:.4f} at {_cost(row.mean['postings_per_document'])} postings" for row in best
        )
        pictures = "".join(f"\n![{Path(plot).stem}]({plot})\n" for plot in plots)
        trained = f"{counted(len(self.runs), 'run')}, {counted(len(self.recipes), 'recipe')}"
        counts = f"{trained}, collections: {', '.join(self.collections)}."
        table = "\n".join(lines)
        return f"# Comparison\n\n{counts}\n\n{table}\n\n{_DEFINITIONS}\n\n## Frontier\n\n{listed}\n{pictures}"

    def table(self) -> Table:
        """The comparison as a rich table."""
        from rich.markup import escape
        from rich.table import Table

        table = Table(title="Comparison of recipes", title_justify="left", header_style="bold")
        for number, head in enumerate(_heads(self.collections, self._repeated)):
            words = head.rsplit(" ", 1) if len(head) > 9 else [head]
            table.add_column(
                "\n".join(escape(one_line(word)) for word in words), justify="right" if number > 1 else "left", no_wrap=True
            )
        before = ""
        for row in self.rows:
            if before and row.recipe != before and len(self.cuts) > 1:
                table.add_section()
            table.add_row(
                *(escape(one_line(cell)) for cell in _cells(row, self.collections, self._repeated)),
                style="bold" if row.frontier else None,
            )
            before = row.recipe
        return table

    def write(self, folder: str | Path, plots: Sequence[Path] = ()) -> None:
        """Writes ``comparison.json`` and ``comparison.md`` into a folder, each atomically.

        Args:
            folder: where to.
            plots: pictures in that folder to show on the page.

        Raises:
            StorageError: it cannot be written.
        """
        write_json(Path(folder) / COMPARISON_FILE, self.to_json())
        with atomic_write(Path(folder) / MARKDOWN_FILE, "w") as file:
            file.write(self.markdown([plot.name for plot in plots]))


def frontier(points: Sequence[tuple[float, float]]) -> set[int]:
    """Numbers of the points that none beats, in cost (less is better) and quality (more is better).

    A point is beaten by one that is at least as good in both and better in one.

    >>> sorted(frontier([(10, 0.5), (20, 0.6), (20, 0.55), (30, 0.6)]))
    [0, 1]
    """
    return {
        number
        for number, (cost, quality) in enumerate(points)
        if not any(c <= cost and q >= quality and (c, q) != (cost, quality) for c, q in points)
    }


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def _heads(collections: Sequence[str], repeated: bool) -> list[str]:
    several = list(collections) if len(collections) > 1 else []
    spread = ["±"] if repeated else []
    return ["recipe", "k", QUALITY, *spread, *several, "postings/doc", "terms/query", "FVU", "L0", "dead", "tokens/s", "▲"]


def _cells(row: ComparisonRow, collections: Sequence[str], repeated: bool) -> list[str]:
    spread = [_number(row.spread, ".4f")] if repeated else []
    several = [f"{row.collections[name][QUALITY]:.4f}" for name in collections] if len(collections) > 1 else []
    training = row.training
    return [
        row.recipe,
        "as trained" if row.k == TRAINED else row.k,
        f"{row.mean[QUALITY]:.4f}",
        *spread,
        *several,
        _cost(row.mean["postings_per_document"]),
        _cost(row.mean["terms_per_query"]),
        _number(training["fvu"], ".3f"),
        _number(training["l0"], ".1f"),
        _number(training["dead_share"], ".1%"),
        _number(training["tokens_per_second"], ",.0f"),
        "▲" if row.frontier else "",
    ]


def _label(row: ComparisonRow) -> str:
    return f"{row.recipe} as trained" if row.k == TRAINED else f"{row.recipe} at k {row.k}"


def _cost(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
