"""``lexite index --from-terms``: an index from encoded shards, without the model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lexite.backbone.config import BackboneConfig
from lexite.cli.output import WrongUsage, is_quiet, print_json, quoted, say
from lexite.config import Overrides
from lexite.corpus.options import ReadOptions
from lexite.index.side_config import SideDataConfig
from lexite.scoring.config import BM25Config
from lexite.scoring.words import LiteralConfig
from lexite.terms.config import TermsConfig
from lexite.wording import counted


@dataclass(frozen=True)
class Given:
    """Options of a build from documents, which the shards have settled already."""

    sources: Sequence[str] | None
    vocabulary: str
    prefix: int | None
    profile: str | None
    passages: str
    field_weight: Sequence[str] | None
    preset: str | None
    read: ReadOptions
    terms: Overrides[TermsConfig]
    words: LiteralConfig
    side: SideDataConfig
    model: Overrides[BackboneConfig]

    def check_idle(self) -> None:
        """Raises WrongUsage where one is given."""
        if self.side.kinds or self.side.token_k is not None:
            raise WrongUsage("Shards have no side files: --vectors and --token-codes need the model. Build from the documents.")
        given = {
            "SOURCES": bool(self.sources),
            "--vocabulary": self.vocabulary != "default",
            "--prefix": self.prefix is not None,
            "--profile": self.profile is not None,
            "--passages": self.passages != "auto",
            "--field-weight": bool(self.field_weight),
            "--preset": self.preset is not None,
            "An option of reading": self.read != ReadOptions(),
            "An option of terms": bool(self.terms.values),
            "An option of literal words": self.words != LiteralConfig(),
            "An option of the model": bool(self.model.values),
        }
        idle = next((name for name, is_given in given.items() if is_given), None)
        if idle is not None:
            raise WrongUsage(f"{idle} has no effect beside --from-terms: the shards were made already. Leave it out.")


def index_shards(
    terms: str,
    output: Path,
    given: Given,
    scoring: Overrides[BM25Config],
    *,
    text: bool,
    static: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Builds an index from shards and tells what came of it.

    Args:
        terms: folder of the shards.
        output: folder of the index.
        given: options that must not be given.
        scoring: numbers of BM25 that are recorded in place of the vocabulary's.
        text: whether titles and texts are kept.
        static: whether the index gets a static table.
        overwrite: whether an index that is there may be replaced.
        as_json: whether JSON is printed.
    """
    from lexite.cluster.building import index_from_terms
    from lexite.cluster.place import place_of
    from lexite.cluster.settings import read_settings
    from lexite.index import BM25Index

    given.check_idle()
    started = time.monotonic()
    numbers = scoring.over(read_settings(place_of(terms)).scoring)
    built = index_from_terms(
        terms,
        output,
        scoring=numbers,
        store_text=text,
        static=static,
        overwrite=overwrite,
        show_progress=not is_quiet(),
    )
    index = BM25Index.open(output)
    seconds = time.monotonic() - started
    summary: dict[str, Any] = {
        "index": str(output),
        "from_terms": terms,
        "shards": built.shards,
        "documents": built.documents,
        "passages": index.n_passages,
        "without_terms": built.without_terms,
        "mostly_unknown": built.mostly_unknown,
        "postings": index.n_postings,
        "bytes": index.bytes,
        "seconds": round(seconds, 2),
        "precision": built.precision,
    }
    if as_json:
        print_json(summary)
        return
    say(f"{counted(built.documents)} of {counted(built.shards, 'shard')}, in {seconds:,.1f} s: {output}")
    say(f"Search it: lexite search {quoted(output)}")
