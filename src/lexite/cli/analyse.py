"""``lexite analyse``: differences, correlations, clusters and properties of the documents of indexes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lexite.cli.arguments import JsonFlag
from lexite.cli.options import configured
from lexite.cli.output import WrongUsage, console, print_json, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lexite.analysis.corpora import Corpus
    from lexite.index import BM25Index

Analysis = Literal["differences", "correlations", "clusters", "properties"]
SHOWN = 15
_OWN: dict[str, tuple[str, ...]] = {
    "differences": ("against", "rate", "named"),
    "correlations": ("field", "named"),
    "clusters": ("n_clusters", "method", "truth", "map_points"),
    "properties": ("sentence", "positive", "negative"),
}


@configured()
def analyse_verb(
    analysis: Annotated[Analysis, typer.Argument(help="What to look for.", metavar="ANALYSIS")],
    indexes: Annotated[list[Path], typer.Argument(help="Folder of an index; two for differences.", metavar="INDEX...")],
    *,
    where: Annotated[
        str | None, typer.Option("--where", help="Only documents that pass a filter, as in SQL's WHERE.", metavar="FILTER")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", help="Differences: the filter of the other documents; default all others.", metavar="FILTER"),
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", help="Differences: false discovery rate (default: 0.05).", min=0.0, max=1.0)
    ] = None,
    field: Annotated[
        str | None,
        typer.Option("--field", help="Correlations: with the values of a field, not of concepts.", metavar="FIELD"),
    ] = None,
    n_clusters: Annotated[int | None, typer.Option("--clusters", help="Clusters: how many (default: 8).", min=2)] = None,
    method: Annotated[
        Literal["kmeans", "hdbscan"] | None, typer.Option("--method", help="Clusters: how documents are divided.")
    ] = None,
    truth: Annotated[
        str | None, typer.Option("--truth", help="Clusters: a field to compare them with.", metavar="FIELD")
    ] = None,
    map_points: Annotated[bool, typer.Option("--map", help="Clusters: draw documents on a map; needs --plot.")] = False,
    sentence: Annotated[
        str | None, typer.Option("--sentence", help="Properties: what documents should have.", metavar="TEXT")
    ] = None,
    positive: Annotated[
        str | None, typer.Option("--positive", help="Properties: ids of examples, with commas between them.", metavar="IDS")
    ] = None,
    negative: Annotated[
        str | None, typer.Option("--negative", help="Properties: ids of documents that are none.", metavar="IDS")
    ] = None,
    named: Annotated[
        bool, typer.Option("--named", help="Differences, correlations: show only concepts that have a name.")
    ] = False,
    most: Annotated[int, typer.Option("--most", help="Show so many results of a kind.", min=1)] = SHOWN,
    seed: Annotated[int, typer.Option("--seed", help="Of everything random.")] = 0,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw it, as FILE.png and FILE.svg.", metavar="FILE")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Look into the documents of an index by their concepts, each time with a test for chance.

    differences: concepts that one index, or the documents of one filter, have more often than others. correlations: concepts
    that occur together, or with the values of a field. clusters: documents that belong together. properties: documents with
    what a sentence says, or like examples.

    Example: lexite analyse differences news.lexite --where "year >= 2020" --against "year < 2010"
    """
    from lexite.index import BM25Index

    given = {
        "against": against, "rate": rate, "field": field, "n_clusters": n_clusters, "method": method, "truth": truth,
        "map_points": map_points or None, "named": named or None, "sentence": sentence, "positive": positive,
        "negative": negative,
    }  # fmt: skip
    flags = {"n_clusters": "clusters", "map_points": "map"}
    for name, value in given.items():
        if value is not None and name not in _OWN[analysis]:
            raise WrongUsage(f"--{flags.get(name, name)} has no effect on {analysis}. Leave it out.")
    if len(indexes) > (2 if analysis == "differences" else 1):
        raise WrongUsage("Only differences take two indexes, and no more than two.")
    if plot is not None:
        from lexite.analysis.figures import need_matplotlib

        need_matplotlib()
    opened = [BM25Index.open(path) for path in indexes]
    if analysis == "differences":
        found: Any = _differences(opened, where, against, 0.05 if rate is None else rate, named, most, seed)
    elif analysis == "correlations":
        found = _correlations(opened[0], where, field, named, most, seed)
    elif analysis == "clusters":
        if plot is not None and not map_points:
            raise WrongUsage("What is drawn of clusters is their map: give --map beside --plot.")
        found = _clusters(opened[0], where, n_clusters or 8, method or "kmeans", truth, map_points, seed)
    else:
        found = _properties(opened[0], where, sentence, positive, negative, most, seed)
    written = [] if plot is None else found.plot(plot)
    if as_json:
        print_json({"analysis": analysis, **found.to_json()})
    else:
        for line in found.lines():
            console().print(line, markup=False, highlight=False)
        if written:
            say(f"Drawn: {', '.join(str(path) for path in written)}")


def _corpus(index: BM25Index, where: str | None, name: str = "") -> Corpus:
    from lexite.analysis.corpora import corpus_of
    from lexite.search.labels import labels_of

    return corpus_of(index, labels_of(index), where=where, name=name)


def _differences(
    opened: Sequence[BM25Index], where: str | None, against: str | None, rate: float, named: bool, most: int, seed: int
) -> Any:
    from lexite.analysis.differences import differences
    from lexite.analysis.of_index import differences_within
    from lexite.search.labels import labels_of

    options: dict[str, Any] = {"rate": rate, "named": named, "most": most, "seed": seed}
    if len(opened) == 2:
        return differences(_corpus(opened[0], where), _corpus(opened[1], against), **options)
    if where is None:
        raise WrongUsage("Differences need two indexes, or --where, whose documents are compared with the others.")
    return differences_within(opened[0], labels_of(opened[0]), where, against, **options)


def _correlations(index: BM25Index, where: str | None, field: str | None, named: bool, most: int, seed: int) -> Any:
    from lexite.analysis.of_index import correlations_within
    from lexite.search.labels import labels_of

    if field is not None and named:
        raise WrongUsage("--named has no effect on correlations with a field. Leave it out.")
    return correlations_within(index, labels_of(index), where, field, named=named, most=most, seed=seed)


def _clusters(
    index: BM25Index, where: str | None, n: int, method: Literal["kmeans", "hdbscan"], truth: str | None, drawn: bool, seed: int
) -> Any:
    from lexite.analysis.clusters import agreement, clusters
    from lexite.analysis.of_index import values_of

    known = None if truth is None else values_of(index, truth, where)
    found = clusters(_corpus(index, where), n_clusters=n, method=method, map_points=drawn, seed=seed)
    return found if known is None else agreement(found, truth or "", known)


def _properties(
    index: BM25Index,
    where: str | None,
    sentence: str | None,
    positive: str | None,
    negative: str | None,
    most: int,
    seed: int,
) -> Any:
    from lexite.analysis.of_index import property_of_examples, property_of_sentence
    from lexite.search import Searcher
    from lexite.search.labels import labels_of

    if (sentence is None) == (positive is None):
        raise WrongUsage("A property is described with --sentence, or by examples with --positive; give one of them.")
    if sentence is not None and negative is not None:
        raise WrongUsage("--negative goes with --positive; a sentence has no examples.")
    label = labels_of(index)
    if sentence is not None:
        query = Searcher.open(str(index.path)).encode(sentence)
        return property_of_sentence(index, label, sentence, query, where, most=most)
    yes, no = (_listed(ids) for ids in (positive or "", negative or ""))
    return property_of_examples(index, label, yes, no, where, most=most, seed=seed)


def _listed(ids: str) -> list[str]:
    return [each.strip() for each in ids.split(",") if each.strip()]
