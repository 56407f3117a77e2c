"""``lexite load``: an index into a search engine that runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lexite.cli.arguments import JsonFlag, Overwrite, count_of
from lexite.cli.export import RouteOption, ScaleOption
from lexite.cli.options import configured
from lexite.cli.output import WrongUsage, is_quiet, print_json, say
from lexite.config import Overrides
from lexite.engines.loading import BATCH_BYTES, LoadSettings
from lexite.errors import ConfigError
from lexite.scoring.config import BM25Config
from lexite.wording import counted, size

if TYPE_CHECKING:
    from lexite.engines.live import LiveEngine
    from lexite.engines.loading import Loaded

REFUSED_SHOWN = 20


@configured(scoring="Scoring (default: what the index says)", with_defaults=())
def load_verb(
    index: Annotated[Path, typer.Argument(help="Folder of the index.", metavar="INDEX")],
    *,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="Address of the collection: opensearch://HOST:9200/NAME, elasticsearch://HOST:9200/NAME, "
            "solr://HOST:8983/solr/NAME, postgresql://HOST/DATABASE/TABLE, qdrant://HOST:6333/NAME, milvus://HOST:19530/NAME, "
            "vespa://HOST:8080/NAME; "
            "lucene:PATH, xapian:PATH, qdrant-edge:PATH or milvus-lite:FILE.db/NAME of an engine in this process.",
            metavar="URL",
            show_default=False,
        ),
    ] = None,
    route: RouteOption = None,
    scale: ScaleOption = None,
    text: Annotated[bool, typer.Option("--text/--no-text", help="Whether titles and texts go along.")] = True,
    fields: Annotated[bool, typer.Option("--fields/--no-fields", help="Whether fields go along.")] = True,
    keep_terms: Annotated[
        bool, typer.Option("--keep-terms", help="Let the engine give the terms back with a document, at three times the size.")
    ] = False,
    batch: Annotated[
        str, typer.Option("--batch", help="Bytes of a request, about.", metavar="COUNT")
    ] = f"{BATCH_BYTES // 10**6}M",
    rate: Annotated[
        str | None,
        typer.Option(
            "--rate",
            help="Bytes that are sent in a second at most. Default: as many as the engine takes.",
            metavar="COUNT",
            show_default=False,
        ),
    ] = None,
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="Leave out documents that the engine cannot hold, and name them, instead of stopping."),
    ] = False,
    overwrite: Overwrite = False,
    as_json: JsonFlag = False,
    scoring: Overrides[BM25Config],
) -> None:
    """Load an index into a search engine: OpenSearch, Elasticsearch, Solr, Qdrant, PostgreSQL, Milvus, Vespa, Lucene or Xapian.

    A load that was stopped goes on where it was when it is called again in the same way.

    Example: lexite load notes.lexite --to opensearch://localhost:9200/notes
    """
    from lexite.engines.addresses import connect
    from lexite.index import BM25Index

    if to is None:
        raise WrongUsage("No engine was named. Give its address with --to.")
    settings = _settings(batch, rate, skip_bad)
    opened = BM25Index.open(index)
    engine = connect(to, route_name=route, scale=scale, text=text, fields=fields, keep_terms=keep_terms)
    try:
        done = engine.load(
            opened,
            scoring=scoring.over(opened.scoring),
            overwrite=overwrite,
            settings=settings,
            show_progress=not is_quiet(),
        )
        _report(done, engine, as_json)
    finally:
        engine.close()


def _settings(batch: str, rate: str | None, skip_bad: bool) -> LoadSettings:
    """How documents are sent; raises WrongUsage where that cannot be."""
    limit = None if rate is None else float(count_of(rate, "--rate"))
    settings = LoadSettings(count_of(batch, "--batch"), limit, skip_bad)
    try:
        settings.check()
    except ConfigError as error:
        raise WrongUsage(str(error).replace("batch_bytes", "--batch").replace("bytes_per_second", "--rate")) from None
    return settings


def _report(done: Loaded, engine: LiveEngine, as_json: bool) -> None:
    if as_json:
        facts: dict[str, Any] = {"address": engine.driver.address, "route": engine.record.route.name}
        facts |= {"documents": done.n_documents, "passages": done.n_passages, "bytes": done.n_bytes, "resumed": done.resumed}
        print_json({**facts, "refused": [{"id": each.id, "reason": each.reason} for each in done.refused]})
        return
    before = f", after {done.resumed:,} that were there before" if done.resumed else ""
    say(
        f"{counted(done.n_documents)}, {counted(done.n_passages, 'passage')}, {size(done.n_bytes)}{before}, by the route "
        f"{engine.record.route.name}: {engine.driver.address}"
    )
    for each in done.refused[:REFUSED_SHOWN]:
        say(f"Not taken: {each.id}: {each.reason}")
    if len(done.refused) > REFUSED_SHOWN:
        say(f"Not taken: {len(done.refused) - REFUSED_SHOWN:,} more; --json names all of them.")
