"""``lexite train``: a vocabulary out of text."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexite.backbone.config import BackboneConfig
from lexite.cli.arguments import RUNTIME, RUNTIME_HEADING, Overwrite, Sources, need_output, need_sources
from lexite.cli.options import configured
from lexite.cli.output import is_quiet, only_errors, quoted, say, write_json
from lexite.config import Overrides
from lexite.corpus.options import TEXT_ONLY, ReadOptions
from lexite.sae.config import SAEConfig
from lexite.sae.objective import ObjectiveConfig
from lexite.scoring.config import BM25Config
from lexite.terms.config import SavingConfig, TermsConfig
from lexite.training.config import TrainingConfig

if TYPE_CHECKING:
    from lexite.terms import LatentTermEncoder
    from lexite.training.run import Probe

logger = logging.getLogger("lexite")


@configured(
    recipe=True,
    with_defaults=("sae", "model", "terms", "scoring"),
    only={"read": TEXT_ONLY},
    training="Training",
    sae="Dictionary",
    objective="Objective",
    model=RUNTIME_HEADING,
    read="Reading",
    terms="Terms (saved with the vocabulary)",
    scoring="Scoring (saved with the vocabulary)",
    saving="Saving",
)
def train_verb(
    sources: Sources = None,
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the vocabulary.", metavar="DIR")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in the folder.")] = False,
    overwrite: Overwrite = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write a summary of the run as JSON; - is stdout.", metavar="FILE")
    ] = None,
    probe: Annotated[
        Path | None,
        typer.Option(
            "--probe", help="A small BEIR folder: retrieval on it is measured every --probe-tokens.", metavar="COLLECTION"
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Go on from this vocabulary, to fit it to the texts: a folder, a name on the hub, or default. "
            "Its model, dictionary, terms and scoring take the place of the defaults below.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    encoding_ranks: Annotated[
        int,
        typer.Option(
            "--encoding-ranks",
            help="Under torchrun: so many of the processes, the last ones, send texts through the model for the others, which "
            "train (default: each does both).",
            metavar="N",
            min=0,
            show_default=False,
        ),
    ] = 0,
    training: TrainingConfig,
    sae: Overrides[SAEConfig],
    objective: ObjectiveConfig,
    model: Overrides[BackboneConfig],
    read: ReadOptions,
    terms: Overrides[TermsConfig],
    scoring: Overrides[BM25Config],
    saving: SavingConfig,
) -> None:
    """Train a vocabulary on texts.

    Text is streamed through the model into a shuffled buffer of bounded size; a folder of token states is read as it is. A run
    that was killed goes on with --resume and ends as if it had never stopped. Several processes share the work:
    torchrun --nproc-per-node 2 -m lexite train ...

    Example: lexite train wiki.jsonl.xz -o my-vocabulary --n-latents 16384 --tokens 20M
    """
    from lexite.recipes.from_text import train
    from lexite.training.ranks import device_of, joined

    texts, output = need_sources(sources, "train"), need_output(output)
    with joined() as ranks:
        if not ranks.leads:
            only_errors()
        own = model if ranks.size == 1 else Overrides({**model.values, "device": device_of(ranks, model.values.get("device"))})
        begun = None if start is None else _loaded(start, own)
        backbone = own.over(BackboneConfig() if begun is None else begun.backbone.config)
        made = terms.over(TermsConfig() if begun is None else begun.terms)
        scored = scoring.over(BM25Config() if begun is None else begun.scoring)
        summary = train(
            texts,
            output,
            backbone=backbone,
            sae=sae.over(SAEConfig() if begun is None else begun.sae.config),
            objective=objective,
            training=training,
            terms=made,
            scoring=scored,
            start=begun,
            saving=saving,
            read=read,
            probe=None if probe is None else _make_probe(probe, texts, backbone, made, scored),
            resume=resume,
            overwrite=overwrite,
            show_progress=not is_quiet(),
            ranks=ranks,
            encoding_ranks=encoding_ranks,
        )
    if json_file is not None and ranks.leads:
        write_json(summary, json_file)
    if str(json_file) != "-" and ranks.leads:
        say(f"Use it: lexite index DOCUMENTS -o my.lexite --vocabulary {quoted(output)}")


def _loaded(start: str, model: Overrides[BackboneConfig]) -> LatentTermEncoder:
    from lexite.terms import LatentTermEncoder

    logger.info("Loading the vocabulary %s.", start)
    return LatentTermEncoder.from_pretrained(start, **{k: v for k, v in model.values.items() if k in RUNTIME})


def _make_probe(probe: Path, texts: list[str], model: BackboneConfig, terms: TermsConfig, scoring: BM25Config) -> Probe:
    from lexite.evaluation.probe import training_probe

    return training_probe(probe, texts, model, terms=terms, scoring=scoring)
