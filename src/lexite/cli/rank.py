"""``lexite rank``: the latents of a finished vocabulary in order of importance."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lexite.backbone.config import BackboneConfig
from lexite.cli.arguments import (
    RUNTIME,
    RUNTIME_HEADING,
    Overwrite,
    Sources,
    count_of,
    load_vocabulary,
    need_output,
    need_sources,
)
from lexite.cli.options import configured
from lexite.cli.output import WrongUsage, is_quiet, quoted, say, write_json
from lexite.config import Overrides
from lexite.corpus.options import TEXT_ONLY, ReadOptions
from lexite.errors import ConfigError
from lexite.files import check_output_folder
from lexite.progress import progress
from lexite.wording import counted

if TYPE_CHECKING:
    import torch

    from lexite.sae.progressive import LatentRanking
    from lexite.terms import LatentTermEncoder
    from lexite.training.sources import StateSource

RANKING_FILE = "importance.json"
RANKING_FORMAT = "lexite-ranking"
RANKING_VERSION = 1
_VALUE = {
    "importance": "rise of the fraction of variance unexplained without the latent",
    "density": "share of tokens that the latent is active on",
}


@configured(only={"model": RUNTIME, "read": TEXT_ONLY}, read="Reading", model=RUNTIME_HEADING)
def rank_verb(
    vocabulary: Annotated[
        str, typer.Argument(help="Vocabulary: a folder, a name on the Hugging Face hub, or default.", metavar="VOCABULARY")
    ],
    sources: Sources = None,
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the new vocabulary.", metavar="DIR")] = None,
    by: Annotated[
        Literal["importance", "density"],
        typer.Option("--by", help="What latents are ranked by: the error without them, or how often they fire."),
    ] = "importance",
    tokens: Annotated[str, typer.Option("--tokens", help="Tokens to measure on, the first ones.", metavar="COUNT")] = "1M",
    n_latents: Annotated[
        str | None, typer.Option("--n-latents", help="Keep only so many latents, the best (default: all).", metavar="COUNT")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw the power law, as FILE.png and FILE.svg.", metavar="FILE")
    ] = None,
    overwrite: Overwrite = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write a summary as JSON; - is stdout.", metavar="FILE")
    ] = None,
    read: ReadOptions,
    model: Overrides[BackboneConfig],
) -> None:
    """Put the latents of a vocabulary in order of importance, so that it can be cut to any size.

    What a latent is worth is measured on documents, or on a folder of token states. The new vocabulary gives the same rankings
    as the old one; with --prefix N, 'index', 'encode' and 'eval' use its first N latents only.

    Example: lexite rank my-vocabulary wiki.jsonl.xz -o ranked && lexite eval scifact --vocabulary ranked --prefix 4096
    """
    from lexite.sae.progressive import rank_latents
    from lexite.terms.manifest import MANIFEST
    from lexite.terms.saving import save_components

    names, folder = need_sources(sources, f"rank {quoted(vocabulary)}"), need_output(output)
    wanted, kept = count_of(tokens, "--tokens"), None if n_latents is None else count_of(n_latents, "--n-latents")
    check_output_folder(folder, MANIFEST, overwrite=overwrite)
    if plot is not None:
        _need_plots()
    encoder = load_vocabulary(vocabulary, model)
    kept = encoder.sae.config.n_latents if kept is None else kept
    encoder.prefix(kept)  # refuses a size that cannot be, before the work
    states = _first_tokens(_open(names, encoder, read), wanted)
    ranking = rank_latents(encoder.sae, states, by=by, k=encoder.k_for("document"))
    facts = _facts(ranking, encoder, names, kept)
    ranked = encoder.reordered(ranking.order).prefix(kept)
    ranked = ranked.replaced(details=dataclasses.replace(ranked.details, name=folder.absolute().name))
    dtype: Literal["fp32", "bf16"] = "fp32" if encoder.sae.weight_dtype.itemsize == 4 else "bf16"
    beside = {RANKING_FILE: _ranking_text(ranking, facts, kept)}
    save_components(ranked.components, folder, overwrite=overwrite, dtype=dtype, beside=beside)
    if plot is not None:
        _draw(ranking, plot, encoder.name)
    if json_file is not None:
        write_json({"output": str(folder), "fingerprint": ranked.fingerprint, **facts}, json_file)
    if str(json_file) != "-":
        _report(ranking, folder, kept)


def _open(names: list[str], encoder: LatentTermEncoder, read: ReadOptions) -> StateSource:
    """The stream of token states: of texts through the vocabulary's model, or of a folder that the same model made."""
    from lexite.backbone import StateStore
    from lexite.backbone.store import is_store
    from lexite.training.sources import StoreSource, TextSource

    stores = [name for name in names if is_store(name)]
    if not stores:
        return TextSource(names, encoder.backbone, read)
    if len(names) > 1:
        raise WrongUsage("A folder of token states is read alone. Name it as the only source.")
    store = StateStore.open(stores[0])
    if store.backbone and store.fingerprint != encoder.backbone.fingerprint:
        raise ConfigError(
            f"{stores[0]} holds states of {store.backbone_name} ({store.fingerprint[:12]}), but {encoder.name} reads those of "
            f"{encoder.backbone.name} ({encoder.backbone.fingerprint[:12]}). Name states of that model, or documents."
        )
    return StoreSource(store)


def _first_tokens(source: StateSource, tokens: int) -> Iterator[torch.Tensor]:
    """Token states from the beginning, so many of them or as many as there are."""
    left = tokens
    with progress("Ranking", tokens, "tokens", not is_quiet()) as bar:
        for chunk in source.chunks():
            if left <= 0:
                return
            states = chunk.states[:left]
            yield states
            left -= len(states)
            bar.advance(len(states))


def _facts(ranking: LatentRanking, encoder: LatentTermEncoder, names: list[str], kept: int) -> dict[str, Any]:
    """What was ranked, on what, and what came out, without the value of each latent."""
    return {
        **ranking.summary(),
        "value": _VALUE[ranking.by],
        "sources": [str(name) for name in names],
        "k": encoder.k_for("document"),
        "vocabulary": encoder.name,
        "vocabulary_fingerprint": encoder.fingerprint,
        "n_latents": kept,
    }


def _ranking_text(ranking: LatentRanking, facts: dict[str, Any], kept: int) -> str:
    """The file beside the vocabulary: ``latents[i]`` is the old number of latent i, ``values[i]`` its value."""
    head = {"format": RANKING_FORMAT, "format_version": RANKING_VERSION, **facts}
    lists = {
        "latents": json.dumps(ranking.order[:kept].tolist()),
        "values": json.dumps([float(f"{value:.6g}") for value in ranking.sorted_values[:kept].tolist()]),
    }
    text = json.dumps(head, indent=1, ensure_ascii=False)[:-2]  # each list on one line
    return text + "".join(f',\n "{name}": {values}' for name, values in lists.items()) + "\n}\n"


def _need_plots() -> None:
    from lexite.analysis.figures import need_matplotlib

    need_matplotlib()


def _draw(ranking: LatentRanking, path: Path, name: str) -> None:
    import numpy as np

    from lexite.analysis.plots import Fit, plot_power_law

    values = ranking.sorted_values
    fit = Fit(ranking.fit.exponent, 10**ranking.fit.log10_scale, ranking.fit.r2)
    title = f"Latents by {ranking.by}"
    label = "rise of FVU without the latent" if ranking.by == "importance" else "share of tokens"
    ranks = np.arange(1, len(values) + 1)
    plot_power_law(ranks, values, path, fit=fit, name=name, x_label="rank of the latent", y_label=label, title=title)


def _report(ranking: LatentRanking, folder: Path, kept: int) -> None:
    fit = ranking.fit
    say(f"{counted(kept, 'latent')} by {ranking.by}, measured on {counted(ranking.n_tokens, 'token')}: {folder}")
    middle = f"its middle: exponent {fit.exponent_middle:.2f}, R² {fit.r2_middle:.3f}"
    say(f"Power law of {fit.n_used:,}: exponent {fit.exponent:.2f}, R² {fit.r2:.3f}; {middle}")
    prefix = f"--vocabulary {quoted(folder)} --prefix {max(kept // 4, 1)}"
    say(f"Use the first latents: lexite index DOCUMENTS -o my.lexite {prefix}")
