"""The model card of a vocabulary: README.md with the header that the Hugging Face hub reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lexite.wording import counted

TAGS = ["lexite", "latent-terms", "sparse-autoencoder", "sparse-retrieval", "bm25"]
SYSTEMS = {
    "latent": "latent terms",
    "latent+words": "latent terms and words",
    "static": "static queries",
    "static+words": "static queries and words",
    "dense": "dense cosine",
    "bm25": "lexical BM25",
}
SIZED = ("latent", "latent+words")  # systems whose indexes are measured
QUALITY = ("nDCG@10", "R@100", "MRR@10")
SIZE = {
    "postings_per_document": "postings per document",
    "terms_per_query": "terms per query",
    "bytes_per_document": "bytes per document",
}

_USAGE = """\
import lexite

texts = ["The bank raised its interest rates again.", "Otters live along the river bank."]
searcher = lexite.Searcher.build(texts=texts, vocabulary={name})
for hit in searcher.search("animals near water", top_k=2):
    print(hit.rank, round(hit.score, 2), hit.passage.text)
    for term in hit.terms:
        print("   ", term.label, round(term.contribution, 2))
"""


def usage(name: str) -> str:
    """The example of the card, as Python code that runs when a vocabulary can be loaded by ``name``."""
    return _USAGE.format(name=json.dumps(name))


def model_card(manifest: Mapping[str, Any], load_name: str) -> str:
    """Writes the card from a manifest's values.

    Args:
        manifest: the values of ``lexite.json``.
        load_name: what the example loads: a folder, or ``owner/name`` on the hub.

    Returns:
        Markdown with a YAML header.
    """
    details, backbone, measured = manifest["details"], manifest["backbone"], manifest.get("measured_on")
    sae, model = manifest["sae"], manifest["backbone"]["config"]["model"]
    facts = {
        "dense model": model,
        "latents": f"{sae['n_latents']:,}",
        "latents per token (k)": sae["k"],
        "k for documents, for queries": f"{_or(manifest['terms']['k_documents'], sae['k'])}, "
        f"{_or(manifest['terms']['k_queries'], sae['k'])}",
        "terms dropped below, of documents, of queries": " and ".join(
            f"{100 * manifest['terms'].get(f'floor_{kind}', 0.0):g}%" for kind in ("documents", "queries")
        )
        + " of the heaviest",
        "pooling over tokens": manifest["terms"]["pooling"],
        "scoring": ", ".join(f"{key} {value}" for key, value in manifest["scoring"].items()),
        "fingerprint": f"`{manifest['fingerprint'][:16]}`",
    }
    if measured and measured["n_documents"]:
        facts["latents that fired"] = f"{measured['latents_used']:,} on {counted(measured['n_documents'])}"
    if measured:
        labelled = measured.get("labelled_on")
        what = "labels and frequencies from" if labelled is None else "frequencies from"
        facts[what] = measured["source"] or "a sample of text"
        if labelled is not None:
            before = f", after {labelled['earlier_tokens']:,} earlier ones" if "earlier_tokens" in labelled else ""
            text = labelled["source"] or "a sample of text"
            facts["labels from"] = f"{counted(labelled['n_tokens'], 'token')} of {text}{before}"
    parts = [
        _header(details["licence"], model),
        f"# {manifest['name']}",
        f"A sparse vocabulary of {sae['n_latents']:,} *latent terms* for {backbone['name']}, made by "
        f"lexite {manifest['lexite_version']}. A sparse autoencoder finds a few latents "
        "for each token of a text; their sums over the tokens are weights that BM25 indexes and scores.",
        "## Use",
        f"    pip install lexite\n\n```python\n{usage(load_name)}```",
        "## What it is",
        _table(["", ""], [[key, value] for key, value in facts.items()]),
        "## Training",
        details["training_data"] or "What it was trained on was not recorded.",
        _table(["recipe", ""], [[f"`{key}`", value] for key, value in details["recipe"].items()]) if details["recipe"] else "",
        "## Measured",
        results_section(details["results"]) if details["results"] else "Not measured yet; `lexite eval` does it.",
        "## Licence",
        f"{details['licence']}. The dense model and the training text keep their own licences.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def results_section(results: Mapping[str, Any]) -> str:
    """Tables of measured results: quality of each system on each collection and in the mean, and the size of the index."""
    collections: dict[str, Mapping[str, Any]] = dict(results["collections"])
    if len(collections) > 1 and results.get("mean"):
        collections["**mean**"] = results["mean"]
    systems = [system for system in SYSTEMS if any(system in rows for rows in collections.values())]
    tables = []
    for measure in QUALITY:
        rows = [[name, *(_number(table, system, measure, 4) for system in systems)] for name, table in collections.items()]
        tables.append(_table([measure, *(SYSTEMS[system] for system in systems)], rows))
    for system in (system for system in SIZED if system in systems):
        rows = [[name, *(_number(table, system, key, 1) for key in SIZE)] for name, table in collections.items()]
        tables.append(_table([SYSTEMS[system], *SIZE.values()], rows))
    said = (
        "Measured by `lexite eval` with the settings above; measures by ir-measures. nDCG@10: ranking quality of the first "
        "ten; R@100: share of the relevant documents among the first hundred; MRR@10: mean of one over the rank of the first "
        "relevant document, 0 after the tenth."
    )
    return "\n\n".join([said, *tables])


def hub_name(model: str) -> str | None:
    """The name of a dense model on the hub, or None for a folder of this machine.

    >>> hub_name("all-MiniLM-L6-v2"), hub_name("/data/model")
    ('sentence-transformers/all-MiniLM-L6-v2', None)
    """
    if Path(model).is_absolute() or model.startswith(".") or model.count("/") > 1 or "\\" in model:
        return None
    return model if "/" in model else f"sentence-transformers/{model}"


def _header(licence: str, model: str) -> str:
    values: dict[str, Any] = {"license": licence, "library_name": "lexite", "pipeline_tag": "feature-extraction", "tags": TAGS}
    if base := hub_name(model):
        values["base_model"] = base
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )


def _number(table: Mapping[str, Any], system: str, measure: str, decimals: int) -> str:
    value = table.get(system, {}).get(measure)
    return "–" if value is None else f"{value:,.{decimals}f}"


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value
