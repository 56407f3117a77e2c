"""``lexite import``: a vocabulary out of a sparse autoencoder that was trained elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexite.backbone.config import BackboneConfig
from lexite.cli.arguments import RUNTIME_HEADING, Overwrite, need_output
from lexite.cli.options import configured
from lexite.cli.output import is_quiet, quoted, say, write_json
from lexite.config import Overrides
from lexite.corpus.options import TEXT_ONLY, ReadOptions
from lexite.scoring.config import BM25Config
from lexite.terms.config import SavingConfig, TermsConfig


@configured(
    only={"read": TEXT_ONLY},
    model=RUNTIME_HEADING,
    read="Reading",
    terms="Terms (saved with the vocabulary)",
    scoring="Scoring (saved with the vocabulary)",
    saving="Saving",
)
def import_verb(
    path: Annotated[
        Path,
        typer.Argument(help="Folder of the autoencoder: SAELens, sparsify, dictionary_learning or lexite.", metavar="PATH"),
    ],
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the vocabulary.", metavar="DIR")] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            help="Text on which terms are measured and named, read like the SOURCES of 'lexite index'; may be repeated.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    input_scale: Annotated[
        float | None,
        typer.Option(
            "--input-scale",
            help="Factor that states were multiplied by in training, where it is not in the weights.",
            metavar="NUMBER",
            show_default=False,
        ),
    ] = None,
    overwrite: Overwrite = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write a summary as JSON; - is stdout.", metavar="FILE")
    ] = None,
    model: BackboneConfig,
    read: ReadOptions,
    terms: TermsConfig,
    scoring: BM25Config,
    saving: Overrides[SavingConfig],
) -> None:
    """Make a vocabulary of a sparse autoencoder that was trained elsewhere.

    It must have been trained on the last hidden states of the model that is named with --model. With --text, terms get names
    and frequencies, and the summary says how well the autoencoder fits the model's states.

    Example: lexite import sae-folder --model all-MiniLM-L6-v2 --text corpus.jsonl -o my-vocabulary
    """
    from lexite.integrations import import_vocabulary

    output = need_output(output)
    summary = import_vocabulary(
        path,
        output,
        backbone=model,
        sources=text or (),
        input_scale=input_scale,
        terms=terms,
        scoring=scoring,
        read=read,
        saving=saving.over(SavingConfig(licence="unknown")),  # it is somebody else's work
        overwrite=overwrite,
        show_progress=not is_quiet(),
    )
    if json_file is not None:
        write_json(summary, json_file)
    if str(json_file) != "-":
        say(f"Use it: lexite index DOCUMENTS -o my.lexite --vocabulary {quoted(output)}")
