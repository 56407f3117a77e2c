"""What an evaluation found: a table for people, JSON for machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from lexite.evaluation.measures import MEASURES
from lexite.evaluation.significance import PairedTest
from lexite.version import __version__
from lexite.wording import one_line

if TYPE_CHECKING:
    from rich.table import Table

COSTS = ("postings_per_document", "terms_per_query", "bytes_per_document")
COLUMNS = (*MEASURES, *COSTS)
TESTED = "nDCG@10"
THEN = " > "
"""Between a first stage and a chain, in the name of a system."""
_HEADINGS = {"postings_per_document": "postings\n/doc", "terms_per_query": "terms\n/query", "bytes_per_document": "bytes\n/doc"}

Row = dict[str, "float | None"]


@dataclass(frozen=True)
class EvaluationReport:
    """Results of an evaluation.

    Attributes:
        vocabulary: name of the vocabulary.
        collections: collection -> system -> column -> number. Systems are ``latent`` (``latent+words`` when literal words were
            indexed too), baselines by name, and where asked for ``latent > NAME`` of each chain and ``static``
            (``static+words``). Columns:
            ``nDCG@10``, ``R@100``, ``MRR@10``, defined by :func:`lexite.evaluation.evaluate_run`, and
            ``postings_per_document``, ``terms_per_query``, ``bytes_per_document``, defined by
            :class:`lexite.evaluation.Costs`, which are None where they are not known.
        significance: collection -> baseline -> paired test of nDCG@10, latent minus baseline; ``static`` is a baseline here.
        mean_significance: baseline -> the same test for the mean over collections.
        per_query: collection -> system -> measure -> query id -> value.
        settings: what the numbers were made with.
        seconds: collection -> system -> seconds for encoding, indexing and searching together; ``static`` shares the run of
            ``latent``, and so its seconds. So do chains.
        milliseconds: collection -> system -> time of a query in the mean, without encoding it: of the first stage, and of all
            stages of a chain. Others are not timed.
    """

    vocabulary: str
    collections: dict[str, dict[str, Row]]
    significance: dict[str, dict[str, PairedTest]]
    mean_significance: dict[str, PairedTest]
    per_query: dict[str, dict[str, dict[str, dict[str, float]]]]
    settings: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, dict[str, float]] = field(default_factory=dict)
    milliseconds: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def mean(self) -> dict[str, Row]:
        """System -> column -> mean over the collections, each weighing the same; None where a collection has None."""
        rows = list(self.collections.values())
        return {system: {column: _mean([row[system][column] for row in rows]) for column in COLUMNS} for system in rows[0]}

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values.

        ``vocabulary``, ``collections`` and ``mean`` are a contract with other tools. ``significance`` (``collections`` and
        ``mean``, each with one object per baseline), ``settings``, ``seconds``, ``milliseconds`` and ``lexite`` (the version)
        come on top. Values per query are not in it: write runs, and score them.
        """
        tests = {name: {baseline: asdict(test) for baseline, test in row.items()} for name, row in self.significance.items()}
        mean_tests = {baseline: asdict(test) for baseline, test in self.mean_significance.items()}
        return {
            "vocabulary": self.vocabulary,
            "collections": self.collections,
            "mean": self.mean,
            "significance": {"measure": TESTED, "collections": tests, "mean": mean_tests},
            "settings": self.settings,
            "seconds": self.seconds,
            "milliseconds": self.milliseconds,
            "lexite": __version__,
        }

    def table(self) -> Table:
        """The report as a rich table: one row per collection and system, the best value of each measure in bold.

        The rows of baselines end with the difference ``latent - baseline`` in nDCG@10 and the p-values of the paired t-test
        and the paired randomisation test. With several collections, the mean comes last. Where chains were measured, a column
        has the milliseconds of a query.
        """
        from rich.markup import escape
        from rich.table import Table

        table = Table(title=f"Vocabulary {escape(one_line(self.vocabulary))}", title_justify="left", header_style="bold")
        table.add_column("collection", overflow="fold")  # where room is short, names are folded, and numbers stay whole
        table.add_column("system", overflow="fold")
        tests = ("latent -\nbaseline", "p\nt-test", "p\nrandom.") if any(self.significance.values()) else ()
        timed = any(THEN in system for row in self.collections.values() for system in row)
        times = ("ms\n/query",) if timed else ()
        for heading in (*(_HEADINGS.get(column, column) for column in COLUMNS), *times, *tests):
            table.add_column(heading, justify="right", no_wrap=True)
        groups: list[tuple[str, Mapping[str, Row], Mapping[str, PairedTest]]] = [
            (name, rows, self.significance[name]) for name, rows in self.collections.items()
        ]
        if len(groups) > 1:
            groups.append(("mean", self.mean, self.mean_significance))
        for name, rows, compared in groups:
            for number, (system, row) in enumerate(rows.items()):
                cells = [_cell(column, row, rows, system) for column in COLUMNS]
                table.add_row(
                    "" if number else escape(one_line(name)),
                    system,
                    *cells,
                    *([self._time(name, system)] if timed else []),
                    *(_test_cells(compared.get(system)) if tests else ()),
                )
            table.add_section()
        return table

    def _time(self, name: str, system: str) -> str:
        """The milliseconds of a query, on one collection or in the mean."""
        rows = [self.milliseconds.get(name, {})] if name in self.collections else list(self.milliseconds.values())
        value = _mean([row.get(system) for row in rows])
        return "-" if value is None else f"{value:.2f}"


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def _cell(column: str, row: Row, rows: Mapping[str, Row], system: str) -> str:
    value = row[column]
    if value is None or (column in COSTS and value == 0 and system == "dense"):
        return "-"
    if column in COSTS:
        return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"
    best = max(other[column] or 0.0 for other in rows.values())
    text = f"{value:.4f}"
    return f"[bold]{text}[/bold]" if value == best and len(rows) > 1 else text


def _test_cells(test: PairedTest | None) -> tuple[str, str, str]:
    if test is None:
        return "", "", ""
    return f"{test.mean_difference:+.4f}", _p(test.p_t_test), _p(test.p_randomisation)


def _p(value: float | None) -> str:
    """A p-value in three decimals, or ``<.001``."""
    return "-" if value is None else "<.001" if value < 0.001 else f"{value:.3f}"
