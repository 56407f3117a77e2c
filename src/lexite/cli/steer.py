"""``lexite steer``: a steering vector, learned from preferences."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lexite.backbone.config import BackboneConfig
from lexite.cli.arguments import RUNTIME, RUNTIME_HEADING, JsonFlag, Overwrite, need_output, report_skipped, skipped_to_json
from lexite.cli.options import configured, flag
from lexite.cli.output import WrongUsage, print_json, print_table, quoted, say
from lexite.config import Overrides
from lexite.corpus.options import ReadOptions, ReadReport
from lexite.files import check_output_file
from lexite.search.searcher import Searcher
from lexite.search.steering_vector import SPARSITY, holds_vector
from lexite.wording import counted, one_line

if TYPE_CHECKING:
    from lexite.search.preferences import LearnedVector

SHOWN = 15


@configured(only={"read": ("skip_bad",), "model": RUNTIME}, read="Reading", model=RUNTIME_HEADING)
def steer_verb(
    index: Annotated[Path, typer.Argument(help="Folder of the index.", metavar="INDEX")],
    pairs: Annotated[
        str,
        typer.Argument(
            help="File of JSON objects, one a line: a query, and the ids of documents that are preferred and rejected for it, "
            "one each or lists. - is standard input.",
            metavar="PAIRS",
        ),
    ],
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File of the new vector.", metavar="FILE")] = None,
    sparsity: Annotated[
        float, typer.Option("--sparsity", help="How few latents the vector has: above 0, and at most 1.", min=0.0, max=1.0)
    ] = SPARSITY,
    static: Annotated[
        bool, typer.Option("--static", help="Encode queries with the index's static table. No model is loaded.")
    ] = False,
    vocabulary: Annotated[
        str | None, typer.Option("--vocabulary", help="Where the index's vocabulary is, if it was moved.", metavar="NAME")
    ] = None,
    overwrite: Overwrite = False,
    as_json: JsonFlag = False,
    read: ReadOptions,
    model: Overrides[BackboneConfig],
) -> None:
    """Learn a steering vector: which concepts to boost and which to mute, so that preferred documents rank higher.

    Each preferred document makes a pair with each rejected one of its query. A vector changes every query that it is used for,
    so learn one for a subject, and use it there.

    Example: lexite steer notes.lexite pairs.jsonl -o bread.json
    """
    from lexite.corpus.preferences import read_preferences
    from lexite.index import BM25Index
    from lexite.search.preferences import learn_from_preferences

    if not sparsity > 0:
        raise WrongUsage(f"--sparsity is {sparsity:g}, but must be above 0 and at most 1.")
    if static and model.values:
        raise WrongUsage(f"--static needs no model, so {flag(next(iter(model.values)))} has no effect. Leave it out.")
    path, report = need_output(output), ReadReport()
    if str(path) == "-":
        raise WrongUsage(
            "A steering vector is a file, so it cannot go to standard output. Name a file with -o; --json prints it."
        )
    check_output_file(path, holds_vector, "steering vector", overwrite=overwrite)
    opened = BM25Index.open(index)
    preferences = list(read_preferences(pairs, read, report, known=opened.ids))  # before a model is loaded
    report_skipped(report)
    with Searcher.open(opened, static=static, vocabulary=vocabulary, **model.values) as searcher:
        learned = learn_from_preferences(searcher, preferences, sparsity)
        label = searcher.label
        learned.vector.save(path, label)
        facts = {"output": str(path), "sparsity": sparsity, **learned.to_json(label)}
    if as_json:
        print_json({**facts, **skipped_to_json(report)} if report.skipped else facts)
        return
    _show(learned, facts["terms"])
    with_static = " --static" if static else ""
    say(f"Use it: lexite search {quoted(index)}{with_static} --then steer --steer-vector {quoted(path)}")


def _show(learned: LearnedVector, terms: list[dict[str, Any]]) -> None:
    """Prints how many latents are changed, the strongest, and how many pairs are in order."""
    from rich.table import Table
    from rich.text import Text

    vector = learned.vector
    title = f"{counted(len(vector.changes), 'latent')}: {vector.n_boosted:,} boosted, {vector.n_muted:,} muted"
    table = Table(title=title, title_justify="left")
    for heading in ("latent", "boost", "mute"):
        table.add_column(heading, justify="right")
    table.add_column("label")
    for term in terms[:SHOWN]:
        changes = (f"{term[name]:.3f}" if term[name] else "" for name in ("boost", "mute"))
        table.add_row(str(term["term"]), *changes, Text(one_line(term["label"])))
    print_table(table)
    if len(terms) > SHOWN:
        say(f"and {len(terms) - SHOWN:,} more, in the file")
    say(
        f"Of {counted(learned.n_pairs, 'pair')} of {counted(learned.n_queries, 'query', 'queries')}, the preferred document "
        f"scores higher in {learned.before:,} before, and in {learned.after:,} with the vector."
    )
