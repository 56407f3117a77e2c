"""``lexite demo``: real text, real questions, in less than a minute and without a network."""

from __future__ import annotations

import logging
import os
import platform
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from lexite.backbone.config import BackboneConfig
from lexite.cli.arguments import (
    RUNTIME,
    RUNTIME_HEADING,
    JsonFlag,
    VocabularyOption,
    load_vocabulary,
)
from lexite.cli.options import configured
from lexite.cli.output import console, is_quiet
from lexite.cli.session import Session
from lexite.config import Overrides
from lexite.corpus.records import Document, Query
from lexite.errors import LexiteError, StorageError
from lexite.index.fields import has_arrow
from lexite.search import Searcher
from lexite.version import __version__

if TYPE_CHECKING:
    from lexite.terms import LatentTermEncoder

logger = logging.getLogger("lexite")
FIELD = "module"

# Of thirty questions that were written down before they were asked, ten whose answer comes among the first three. The tests
# hold all thirty, with their answers.
QUESTIONS = (
    "suggest a word that is spelled almost like this one",
    "replace dangerous characters before text goes into a web page",
    "make a password hash that is slow to crack",
    "greatest number that divides both",
    "find the middle value of some numbers",
    "break a long paragraph into lines of equal width",
    "which day of the week is a date",
    "what changed between two versions of a text",
    "send an e-mail",
    "pick an element at random",
)


@configured(only={"model": RUNTIME}, model=RUNTIME_HEADING)
def demo_verb(
    *,
    questions: Annotated[
        int, typer.Option("--questions", help="How many of the built-in questions to answer.", min=0, max=len(QUESTIONS))
    ] = 3,
    top_k: Annotated[int, typer.Option("--top-k", help="Documents per question.", min=1)] = 3,
    interactive: Annotated[
        bool | None,
        typer.Option(
            "--interactive/--no-interactive",
            help="Ask for your questions afterwards (default: on a terminal).",
            show_default=False,
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Build the index again, even when the last one is still there.")
    ] = False,
    vocabulary: VocabularyOption = "default",
    as_json: JsonFlag = False,
    model: Overrides[BackboneConfig],
) -> None:
    """Index the documentation of Python and answer questions about it.

    The documents are the docstrings of the standard library of the Python that runs: modules, classes, functions and methods,
    some 4,700 documents. The index is kept in the user's cache folder, so that the next demo starts at once.
    """
    session = Session(demo_searcher(load_vocabulary(vocabulary, model), fresh), {"top_k": top_k, "operators": True})
    asked = [Query(str(number), text) for number, text in enumerate(QUESTIONS[:questions], start=1)]
    session.answer(asked, as_json, headings=True)
    if as_json:
        return
    if interactive if interactive is not None else sys.stdin.isatty() and sys.stdout.isatty():
        console().print(Text("\nNow your own: how would you ask for a function of Python's library?", "dim"))
        session.converse()
    else:
        print("\nYour own documents: lexite index FOLDER -o my.lexite && lexite search my.lexite")


def cache_folder() -> Path:
    """Where lexite keeps what it can make again: ``$XDG_CACHE_HOME/lexite``, or ``~/.cache/lexite``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base) / "lexite" if base else Path.home() / ".cache" / "lexite"


def demo_searcher(encoder: LatentTermEncoder, fresh: bool = False) -> Searcher:
    """The demo's index: the one in the cache when it fits, else a new one there, else one in a temporary folder."""
    # the version of lexite decides which documents there are, and pyarrow whether they have a field
    form = "-fields" if has_arrow() else ""
    place = cache_folder() / f"demo-python{platform.python_version()}-lexite{__version__}-{encoder.fingerprint[:12]}{form}"
    if place.is_dir() and not fresh:
        try:
            return Searcher.open(place, vocabulary=encoder)
        except LexiteError as error:
            logger.warning("The index of the last demo cannot be used and is built again. %s", error)
    try:
        return _built(place, encoder)
    except StorageError as error:
        logger.warning("%s The index goes into a temporary folder.", error)
    return _built(Path(tempfile.mkdtemp(prefix="lexite-demo-")) / "index", encoder)


def with_module(document: Document) -> Document:
    """A document with the module that it is of, so that there is something to filter by and to compare.

    >>> [with_module(Document(name, "")).fields["module"] for name in ("os.path.join", "str.split", "json")]
    ['os', 'builtins', 'json']
    """
    first = document.id.partition(".")[0]
    return replace(document, fields={FIELD: first if first in sys.stdlib_module_names else "builtins"})


def _built(place: Path, encoder: LatentTermEncoder) -> Searcher:
    from lexite.corpus import builtin_documents

    documents = [with_module(document) if has_arrow() else document for document in builtin_documents()]
    logger.info("Indexing %s docstrings of Python's library.", f"{len(documents):,}")
    started = time.monotonic()
    searcher = Searcher.build(documents, place, vocabulary=encoder, overwrite=True, show_progress=not is_quiet())
    logger.info("Indexed in %.0f s: %s", time.monotonic() - started, place)
    return searcher
