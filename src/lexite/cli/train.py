"""``lexite train``: a vocabulary out of text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexite.backbone.config import BackboneConfig
from lexite.cli.common import RUNTIME_HEADING, Overwrite, Sources, need_output, need_sources
from lexite.cli.options import configured
from lexite.cli.output import is_quiet, write_json
from lexite.corpus.options import ReadOptions
from lexite.sae.config import SAEConfig
from lexite.terms.config import SavingConfig, TermsConfig
from lexite.terms.scoring import BM25Config
from lexite.training.config import TrainingConfig


@configured(
    recipe=True,
    training="Training",
    sae="Dictionary",
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
    training: TrainingConfig,
    sae: SAEConfig,
    model: BackboneConfig,
    read: ReadOptions,
    terms: TermsConfig,
    scoring: BM25Config,
    saving: SavingConfig,
) -> None:
    """Train a vocabulary on texts.

    Text is streamed through the model into a shuffled buffer of bounded size; a folder of token states is read as it is. A run
    that was killed goes on with --resume and ends as if it had never stopped.

    Example: lexite train wiki.jsonl.xz -o my-vocabulary --n-latents 16384 --tokens 20M
    """
    from lexite.terms.build import train

    summary = train(
        need_sources(sources, "train"),
        need_output(output),
        backbone=model,
        sae=sae,
        training=training,
        terms=terms,
        scoring=scoring,
        saving=saving,
        read=read,
        resume=resume,
        overwrite=overwrite,
        show_progress=not is_quiet(),
    )
    if json_file is not None:
        write_json(summary, json_file)
    if str(json_file) != "-":
        print(f"Use it: lexite index DOCUMENTS -o my.lexite --vocabulary {output}")
