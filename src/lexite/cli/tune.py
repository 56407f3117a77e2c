"""``lexite tune``: the weight of a hybrid ranking, chosen for an index."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lexite.backbone.config import BackboneConfig
from lexite.cli.arguments import RUNTIME, RUNTIME_HEADING, JsonFlag, open_queries
from lexite.cli.options import configured
from lexite.cli.output import WrongUsage, print_json, print_table, quoted, say
from lexite.config import Overrides
from lexite.corpus.options import ReadOptions
from lexite.ranking.fusion import Fusion
from lexite.search.searcher import Searcher
from lexite.search.strategies.hybrid import Hybrid
from lexite.wording import counted

if TYPE_CHECKING:
    from lexite.search.learned_weight import LearnedWeight


@configured(only={"model": RUNTIME}, model=RUNTIME_HEADING)
def tune_verb(
    index: Annotated[Path, typer.Argument(help="Folder of the index.", metavar="INDEX")],
    *,
    queries: Annotated[
        Path | None,
        typer.Option("--queries", help="File of judged queries; without it, documents are asked.", metavar="FILE"),
    ] = None,
    qrels: Annotated[
        Path | None, typer.Option("--qrels", help="Their judgements: TREC qrels, or a BEIR TSV file.", metavar="FILE")
    ] = None,
    origin: Annotated[
        Literal["titles", "sentences"] | None,
        typer.Option("--ask", help="What of a document is asked, without judgements. Default: titles, if most have one."),
    ] = None,
    n_queries: Annotated[int, typer.Option("--n-queries", help="Documents that are asked, without judgements.", min=1)] = 200,
    measure: Annotated[
        Literal["MRR", "nDCG@10"] | None,
        typer.Option("--measure", help="What is made largest. Default: nDCG@10 with judgements, MRR without."),
    ] = None,
    fusion: Annotated[Fusion, typer.Option("--fusion", help="As --hybrid-fusion of search.")] = "minmax",
    candidates: Annotated[int, typer.Option("--candidates", help="As --hybrid-candidates of search.", min=1)] = 100,
    from_text: Annotated[
        bool, typer.Option("--from-text", help="Let the model encode texts, where the index keeps no vectors.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the sample, and of the cross-validation.")] = 0,
    as_json: JsonFlag = False,
    model: Overrides[BackboneConfig],
) -> None:
    """Choose the weight of dense scores for an index.

    Without judgements, titles or sentences of documents are asked, and their documents should rank high.

    Example: lexite tune notes.lexite --queries queries.jsonl --qrels qrels.tsv
    """
    from lexite.corpus import read_qrels
    from lexite.search.learned_weight import learn_weight, learn_weight_from_judgements

    if (queries is None) != (qrels is None):
        raise WrongUsage("--queries and --qrels belong together. Give both, or neither.")
    if queries is not None and origin is not None:
        raise WrongUsage("--ask has no effect beside --queries. Leave it out.")
    judgements = None if qrels is None else read_qrels(qrels)
    texts = {} if queries is None else {query.id: query.text for query in open_queries([str(queries)], ReadOptions())[0]}
    strategy = Hybrid(fusion=fusion, candidates=candidates, from_text=from_text)
    with Searcher.open(index, **model.values) as searcher:
        if judgements is None:
            chosen = learn_weight(
                searcher, seed=seed, n_queries=n_queries, origin=origin, measure=measure or "MRR", strategy=strategy
            )
        else:
            chosen = learn_weight_from_judgements(
                searcher, texts, judgements, seed=seed, measure=measure or "nDCG@10", strategy=strategy
            )
    if as_json:
        print_json(chosen.to_json())
        return
    _show(chosen, index)


def _show(chosen: LearnedWeight, index: Path) -> None:
    from rich.table import Table

    table = Table(title=f"{counted(chosen.n_queries, 'query', 'queries')}: {chosen.origin}", title_justify="left")
    for heading in ("weight", chosen.measure):
        table.add_column(heading, justify="right")
    for weight, value in chosen.values.items():
        style = "bold" if weight == chosen.weight else ""
        table.add_row(f"{weight:.3g}", f"{value:.4f}", style=style)
    print_table(table)
    if chosen.cross_validated is not None:
        first = chosen.values[0.0]
        say(f"Cross-validated: {chosen.measure} {chosen.cross_validated:.4f}, and {first:.4f} without dense scores.")
    if len(set(chosen.values.values())) == 1:
        say("All weights answer these queries alike, so they say nothing about the weight.")
        return
    options = f"--hybrid-weight {chosen.weight:.3g} --hybrid-fusion {chosen.strategy.fusion}"
    from_text = " --hybrid-from-text" if chosen.strategy.from_text else ""
    say(f"Use it: lexite search {quoted(index)} --then hybrid {options}{from_text}")
