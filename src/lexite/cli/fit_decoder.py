"""``lexite fit-decoder``: a small decoder for a vocabulary that was saved without its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lexite.backbone.config import BackboneConfig
from lexite.cli.arguments import RUNTIME, RUNTIME_HEADING, Overwrite, Sources, load_vocabulary, need_output, need_sources
from lexite.cli.options import configured
from lexite.cli.output import is_quiet, quoted, say, write_json
from lexite.config import Overrides
from lexite.corpus.options import TEXT_ONLY, ReadOptions
from lexite.files import check_output_folder
from lexite.terms.config import DecoderConfig
from lexite.wording import counted


@configured(only={"model": RUNTIME, "read": TEXT_ONLY}, fit="Fit", read="Reading", model=RUNTIME_HEADING)
def fit_decoder_verb(
    vocabulary: Annotated[
        str, typer.Argument(help="Vocabulary: a folder, a name on the Hugging Face hub, or default.", metavar="VOCABULARY")
    ],
    sources: Sources = None,
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the new vocabulary.", metavar="DIR")] = None,
    overwrite: Overwrite = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write a summary as JSON; - is stdout.", metavar="FILE")
    ] = None,
    fit: DecoderConfig,
    read: ReadOptions,
    model: Overrides[BackboneConfig],
) -> None:
    """Give a vocabulary a small decoder, with which MaxSim compares tokens.

    It is for vocabularies that were saved without their decoder. The new vocabulary gives the same terms, so indexes of the
    old one fit it.

    Example: lexite fit-decoder my-vocabulary wiki.jsonl.xz -o with-decoder
    """
    from lexite.recipes.token_decoder import fit_token_decoder
    from lexite.terms.manifest import MANIFEST
    from lexite.training.sources import TextSource

    names, folder = need_sources(sources, f"fit-decoder {quoted(vocabulary)}"), need_output(output)
    check_output_folder(folder, MANIFEST, overwrite=overwrite)
    encoder = load_vocabulary(vocabulary, model)
    texts = TextSource(names, encoder.backbone, read).texts()
    fitted = fit_token_decoder(encoder, texts, fit, show_progress=not is_quiet())
    dtype: Literal["fp32", "bf16"] = "fp32" if encoder.sae.weight_dtype.itemsize == 4 else "bf16"
    encoder.replaced(token_decoder=fitted.decoder).save_pretrained(folder, overwrite=overwrite, dtype=dtype)
    facts: dict[str, Any] = {
        "output": str(folder),
        "tokens": fitted.n_tokens,
        "fvu": fitted.fvu,
        "rank": fitted.decoder.rank,
        "kept": fitted.kept,
        "seed": fit.seed,
    }
    if json_file is not None:
        write_json(facts, json_file)
    if str(json_file) != "-":
        error = "" if fitted.fvu is None else f", fraction of variance unexplained {fitted.fvu:.3f}"
        say(f"A decoder of {fitted.decoder.rank} dimensions, fitted to {counted(fitted.n_tokens, 'token')}{error}: {folder}")
