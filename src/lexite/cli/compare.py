"""``lexite compare``: several recipes on the same token states, beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexite.cli.arguments import count_of, need_output
from lexite.cli.options import configured
from lexite.cli.output import WrongUsage, is_quiet, print_table, write_json


@configured()
def compare_verb(
    recipes: Annotated[
        list[str] | None,
        typer.Argument(help="Recipes: YAML files with the keys of lexite train.", metavar="RECIPE...", show_default=False),
    ] = None,
    *,
    collections: Annotated[
        list[str] | None,
        typer.Option("--collections", help="BEIR folders to measure on.", metavar="COLLECTION...", show_default=False),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the comparison.", metavar="DIR")] = None,
    states: Annotated[
        Path | None, typer.Option("--states", help="Train on this folder of token states, in place of text.", metavar="DIR")
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            help="Texts to train on (default: the sources in the recipes). Their token states are computed once.",
            metavar="SOURCES...",
            show_default=False,
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", help="Keep token states of the collections here (default: in the output).", metavar="DIR"),
    ] = None,
    k: Annotated[
        str,
        typer.Option(
            "--k", help="Comma-separated: latents kept per token when measuring (default: as each recipe says).", metavar="LIST"
        ),
    ] = "",
    seeds: Annotated[
        str,
        typer.Option("--seeds", help="Comma-separated: seeds of the trainings (default: as each recipe says).", metavar="LIST"),
    ] = "",
    split: Annotated[str, typer.Option("--split", help="Which qrels: the name of the file in qrels/.")] = "test",
    plots: Annotated[bool, typer.Option("--plots/--no-plots", help="Draw plots, as PNG and SVG.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Train a run again when its recipe has changed.")] = False,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the results here as JSON too; - is stdout, in place of the table.", metavar="FILE"),
    ] = None,
) -> None:
    """Train several recipes on the same token states and compare them on test collections.

    Each run is kept with its vocabulary and its numbers: the same command goes on where it was stopped, and one with more
    recipes, seeds, collections or k does only what is new.

    Example: lexite compare recipes/*.yaml --collections scifact npl -o comparison --states states/ --k 4,8,16
    """
    from lexite.analysis import need_matplotlib, plot_comparison
    from lexite.evaluation import compare_recipes

    if not collections:
        raise WrongUsage("No collections were named. Give BEIR folders: --collections COLLECTION...")
    folder = need_output(output)
    cuts, chosen_seeds = _numbers(k, "--k", 1), _numbers(seeds, "--seeds", 0)
    if not recipes:
        raise WrongUsage("No recipes were named. Give YAML files: lexite compare RECIPE... --collections COLLECTION...")
    if plots:
        need_matplotlib()
    comparison = compare_recipes(
        recipes,
        collections,
        folder,
        states=states,
        sources=text or [],
        cache=cache,
        k=cuts,
        seeds=chosen_seeds,
        split=split,
        overwrite=overwrite,
        show_progress=not is_quiet(),
    )
    drawn = plot_comparison(comparison, folder) if plots else []
    comparison.write(folder, [path for path in drawn if path.suffix == ".png"])
    if json_file is None or str(json_file) != "-":
        print_table(comparison.table())
    if json_file is not None:
        write_json(comparison.to_json(), json_file)


def _numbers(text: str, option: str, least: int) -> list[int]:
    """The numbers of a comma-separated list.

    >>> _numbers("4, 8", "--k", 1)
    [4, 8]
    """
    numbers = [count_of(part, option) for part in text.split(",") if part.strip()]
    low = next((number for number in numbers if number < least), None)
    if low is not None:
        raise WrongUsage(f"{option} holds {low}, but must hold numbers of at least {least}.")
    return numbers
