"""``lexite label``: names, kinds and examples for the latents of a vocabulary."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from lexite.backbone.config import BackboneConfig
from lexite.cli.arguments import RUNTIME, RUNTIME_HEADING, Overwrite, Sources, load_vocabulary, need_output, need_sources
from lexite.cli.options import configured
from lexite.cli.output import WrongUsage, is_quiet, quoted, say, write_json
from lexite.config import Overrides
from lexite.corpus.options import TEXT_ONLY, ReadOptions
from lexite.files import check_output_folder
from lexite.labelling.config import LabelConfig
from lexite.wording import counted


@configured(only={"model": RUNTIME, "read": TEXT_ONLY}, label="Labels", read="Reading", model=RUNTIME_HEADING)
def label_verb(
    vocabulary: Annotated[
        str, typer.Argument(help="Vocabulary: a folder, a name on the Hugging Face hub, or default.", metavar="VOCABULARY")
    ],
    sources: Sources = None,
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the new vocabulary.", metavar="DIR")] = None,
    labeler: Annotated[
        str | None,
        typer.Option(
            "--labeler",
            help="Ask a language model for names too, at an address that speaks OpenAI's protocol; texts are sent there.",
            metavar="ADDRESS",
        ),
    ] = None,
    labeler_model: Annotated[
        str | None, typer.Option("--labeler-model", help="Name of the model at that address.", metavar="NAME")
    ] = None,
    overwrite: Overwrite = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write a summary as JSON; - is stdout.", metavar="FILE")
    ] = None,
    label: LabelConfig,
    read: ReadOptions,
    model: Overrides[BackboneConfig],
) -> None:
    """Give the latents of a vocabulary names, each with a number for whether it can be trusted, kinds and examples.

    Names are made from one part of the text and tried on another. The new vocabulary gives the same terms as the old one, so
    indexes of either fit the other. A labelling that was stopped goes on where it was when it is called again in the same way.

    Example: lexite label my-vocabulary wiki.jsonl.xz -o labelled
    """
    from lexite.labelling.language_model import LanguageModelLabels
    from lexite.labelling.resuming import label_into
    from lexite.terms.manifest import MANIFEST
    from lexite.training.sources import TextSource

    names, folder = need_sources(sources, f"label {quoted(vocabulary)}"), need_output(output)
    if labeler_model is not None and labeler is None:
        raise WrongUsage("--labeler-model names a model at an address, so it needs --labeler.")
    maker = None if labeler is None else LanguageModelLabels(labeler, labeler_model or "default")
    check_output_folder(folder, MANIFEST, overwrite=overwrite)  # before a model is loaded
    encoder = load_vocabulary(vocabulary, model)
    found = label_into(
        encoder,
        TextSource(names, encoder.backbone, read).texts(),
        folder,
        label,
        source=", ".join(Path(name).name for name in names),
        reading={"sources": [_described(name) for name in names], **read.what_is_read()},
        maker=maker,
        overwrite=overwrite,
        show_progress=not is_quiet(),
    )
    facts = {"output": str(folder), **_facts(found)}
    if json_file is not None:
        write_json(facts, json_file)
    if str(json_file) != "-":
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in facts["kinds"].items() if count)
        say(
            f"{counted(facts['named'], 'latent')} of {facts['latents']:,} have a name that can be trusted, from "
            f"{counted(facts['tokens'], 'token')} ({kinds}): {folder}"
        )


def _described(source: str) -> str:
    """A source, to be compared with that of an earlier run, without the folder that it is in.

    A folder can be written in several ways. Texts are compared too.
    """
    from lexite.training.sources import describe_source

    described = describe_source(source)
    return Path(os.path.abspath(source)).name + described.removeprefix(source) if Path(source).exists() else described


def _facts(vocabulary: Any) -> dict[str, Any]:
    """What was found, as JSON values."""
    from lexite.terms.descriptions import KINDS

    described = vocabulary.described
    named = sum(described.trusted(term) for term in range(vocabulary.n_latents))
    kinds = {name: int((described.kinds == place).sum()) for place, name in enumerate(KINDS)}
    return {
        "latents": vocabulary.n_latents,
        "named": named,
        "kinds": kinds,
        "passages": described.made["n_passages"],
        "tokens": described.made["n_tokens"],
        "labeller": described.made["labeller"],
    }
