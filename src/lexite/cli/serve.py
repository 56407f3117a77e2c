"""``lexite serve``: indexes over HTTP, with a page to search, read and steer."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexite.backbone.config import BackboneConfig
from lexite.cli.arguments import RUNTIME, RUNTIME_HEADING, JsonFlag, load_vocabulary
from lexite.cli.options import configured
from lexite.cli.output import WrongUsage, prepare_streams, print_json, say, set_verbosity
from lexite.config import Overrides
from lexite.errors import MissingExtraError
from lexite.kernels.hardware import shorten_spinning
from lexite.server.config import ServerConfig

if TYPE_CHECKING:
    from fastapi import FastAPI

    from lexite.search import Searcher

logger = logging.getLogger("lexite")
DEMO = "python"


@configured(only={"model": RUNTIME}, server="Server", model=RUNTIME_HEADING)
def serve_verb(
    indexes: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders of indexes. Each is called by the name of its folder.", metavar="INDEX..."),
    ] = None,
    *,
    static: Annotated[
        bool, typer.Option("--static", help="Encode queries with the static tables of the indexes. No model is loaded.")
    ] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="Serve the index of 'lexite demo', which is built when it is not there.")
    ] = False,
    writable: Annotated[
        bool, typer.Option("--writable", help="Let requests that bring the token add, replace and delete documents.")
    ] = False,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            help="Token that requests bring to change documents, and to read where other machines reach the server. "
            "LEXITE_TOKEN in the environment keeps it off the list of processes.",
            envvar="LEXITE_TOKEN",
            show_envvar=False,
            show_default=False,
        ),
    ] = None,
    vocabulary: Annotated[
        str | None,
        typer.Option("--vocabulary", help="Where the vocabulary of the indexes is, if it was moved.", metavar="NAME"),
    ] = None,
    as_json: JsonFlag = False,
    server: ServerConfig,
    model: Overrides[BackboneConfig],
) -> None:
    """Serve indexes over HTTP, with a page to search, read and steer.

    Example: lexite serve notes.lexite
    """
    paths = list(indexes or ())
    if not paths and not demo:
        raise WrongUsage("No index was named. Give its folder, or --demo.")
    if static and model.values:
        raise WrongUsage("--static needs no model, so options of the model have no place beside it. Leave them out.")
    if static and writable:
        raise WrongUsage("Documents are encoded by the model, which --static leaves out. Leave one of them out.")
    server.check(token, writable=writable)
    need_server()
    _share_cores(server.workers, static)
    from lexite.server.app import address_of, listen, run

    opening = functools.partial(_application, paths, static, demo, vocabulary, model, server, token, writable)
    with listen(server) as listening:  # an address that is taken is said before a model is loaded

        def announce() -> None:
            _announce(address_of(listening), [*_names(paths), *([DEMO] if demo else [])], as_json)

        if server.workers == 1:
            run(opening(), listening, announce)
        else:
            from lexite.server.workers import run_workers

            run_workers(functools.partial(_in_worker, opening, logger.level), server, listening, announce)


def _share_cores(workers: int, static: bool) -> None:
    """Divides the cores among processes. A static query is not shared among threads: it is too small to be worth it."""
    if static:
        os.environ.setdefault("LEXITE_THREADS", "1")
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
    elif workers > 1:
        from lexite.kernels.hardware import n_threads

        os.environ.setdefault("OMP_NUM_THREADS", str(max(n_threads() // workers, 1)))


def _names(paths: Sequence[Path]) -> list[str]:
    from lexite.server.indexes import named_indexes

    return list(named_indexes(paths))


def _application(
    paths: Sequence[Path],
    static: bool,
    demo: bool,
    vocabulary: str | None,
    model: Overrides[BackboneConfig],
    server: ServerConfig,
    token: str | None,
    writable: bool,
) -> FastAPI:
    """Opens the indexes and makes the application."""
    from lexite.cli.demo import QUESTIONS
    from lexite.server.app import create_app

    searchers = opened(paths, static, vocabulary, model)
    if demo:
        searchers[DEMO] = demo_index(static, vocabulary, model)
    app = create_app(searchers, server, token=token, writable=writable, examples={DEMO: QUESTIONS[:6]} if demo else {})
    for name, searcher in searchers.items():
        logger.info("%s: %r", name, searcher)
    return app


def _in_worker(opening: Callable[[], FastAPI], level: int) -> FastAPI:
    """The application in a process of its own, which logs as the first one does."""
    shorten_spinning()
    prepare_streams()
    set_verbosity(level <= logging.DEBUG, level >= logging.WARNING)
    return opening()


def _announce(address: str, names: list[str], as_json: bool) -> None:
    """Tells where the server answers, at once, also to whoever reads it from a pipe."""
    if as_json:
        print_json({"address": address, "indexes": names})
    else:
        say(f"Open {address} in a browser. Ctrl-C ends.")
    sys.stdout.flush()


def opened(
    paths: Sequence[Path], static: bool, vocabulary: str | None, model: Overrides[BackboneConfig]
) -> dict[str, Searcher]:
    """Opens indexes by name; those of one vocabulary share its model."""
    from lexite.index import BM25Index
    from lexite.search import Searcher
    from lexite.search.queries import ModelQueries
    from lexite.server.indexes import named_indexes

    found: dict[str, Searcher] = {}
    for name, path in named_indexes(paths).items():
        index = BM25Index.open(path)
        loaded = [
            each.queries.encoder
            for each in found.values()
            if isinstance(each.queries, ModelQueries) and each.queries.fingerprint == index.vocabulary.fingerprint
        ]
        options = {} if loaded or static else model.values
        found[name] = Searcher.open(index, static=static, vocabulary=loaded[0] if loaded else vocabulary, **options)
    return found


def demo_index(static: bool, vocabulary: str | None, model: Overrides[BackboneConfig]) -> Searcher:
    """The index of ``lexite demo``."""
    from lexite.cli.demo import demo_searcher
    from lexite.search import Searcher

    built = demo_searcher(load_vocabulary(vocabulary or "default", model))
    return Searcher.open(built.index, static=True) if static else built


def need_server() -> None:
    """Refuses to go on without the packages of the extra ``server``; raises :class:`MissingExtraError`."""
    from importlib.util import find_spec

    missing = next((name for name in ("fastapi", "orjson", "uvicorn", "prometheus_client") if find_spec(name) is None), None)
    if missing is not None:
        raise MissingExtraError(missing, "server", "A server")
