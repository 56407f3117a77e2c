"""The application: which verbs there are, and how errors end."""

from __future__ import annotations

import errno
import importlib
import keyword
import logging
import os
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn, TextIO

import typer
from typer.main import get_command

from lexite.cli.help import SectionedCommand
from lexite.cli.output import WrongUsage, prepare_streams, set_verbosity
from lexite.errors import LexiteError
from lexite.kernels.hardware import shorten_spinning
from lexite.version import __version__
from lexite.wording import escaped, one_line

logger = logging.getLogger("lexite")

VERBS = {
    "demo": "Index the documentation of Python and answer questions about it.",
    "index": "Build an index from documents.",
    "search": "Search an index.",
    "add": "Add documents to an index, or replace them.",
    "sync": "Bring an index in step with files and folders.",
    "delete": "Delete documents from an index.",
    "get": "Show documents of an index.",
    "list": "List the documents of an index.",
    "merge": "Bring an index into one segment.",
    "info": "Describe an index, a vocabulary, a checkpoint or a folder of token states.",
    "serve": "Serve indexes over HTTP, with a page to search, read and steer.",
    "mcp": "Serve an index to agents, over the Model Context Protocol.",
    "export": "Write an index as files that another search engine loads.",
    "export-query": "Write a query as the request that another search engine takes.",
    "load": "Load an index into a search engine that runs.",
    "encode": "Turn texts into weights of latent terms.",
    "eval": "Measure a vocabulary on test collections, beside its baselines.",
    "tune": "Choose the weight of dense scores for an index.",
    "steer": "Learn a steering vector from documents that are preferred to others.",
    "train": "Train a vocabulary on texts.",
    "rank": "Put the latents of a vocabulary in order of importance.",
    "label": "Give the latents of a vocabulary names, kinds and examples.",
    "analyse": "Look into the documents of indexes: differences, correlations, clusters, properties.",
    "fit-decoder": "Give a vocabulary a small decoder, with which MaxSim compares tokens.",
    "import": "Make a vocabulary of a sparse autoencoder that was trained elsewhere.",
    "compare": "Train several recipes on the same token states and compare them on test collections.",
}
_HELP = "Takes a dense text retriever apart into latent terms that BM25 can index. Start with 'lexite demo'."
_OUT_OF_LIMITS = ("greater_than_equal", "less_than_equal")
_ASK_ENGINES = ("load", "search")
_INTERRUPTED = 130
_INTERNAL = 70
_WRITING_FAILED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def build_app(verb: str | None = None) -> typer.Typer:
    """The typer application.

    Args:
        verb: the verb that is about to run; only its file is imported, so that ``lexite --help`` is quick and ``lexite
            search`` does not import what training needs. None imports all.
    """
    app = typer.Typer(
        name="lexite",
        help=_HELP,
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    )
    app.callback()(_start)
    for name, summary in VERBS.items():
        if verb is None or name == verb:
            own = name.replace("-", "_")
            module = f"{own}_" if keyword.iskeyword(own) else own
            function = getattr(importlib.import_module(f"lexite.cli.{module}"), f"{own}_verb")
            app.command(name, short_help=summary, cls=SectionedCommand)(function)
        else:
            app.command(name, short_help=summary)(_elsewhere)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status.

    0 done, also where the reader of a pipe went away; 1 an error that the message explains; 2 wrong usage; 70 an error of
    lexite itself; 130 interrupted.

    Args:
        arguments: words after ``lexite``; those of this process by default.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    shorten_spinning()  # before a verb imports torch
    prepare_streams()
    set_verbosity()
    named = next((word for word in words if not word.startswith("-")), "")
    completing = "_LEXITE_COMPLETE" in os.environ
    streams = sys.stdout, sys.stderr
    try:
        command = get_command(build_app(None if completing else named))
        status = command.main(args=words, prog_name="lexite", standalone_mode=False)
        sys.stdout.flush()
        if status == _INTERRUPTED:  # typer makes this status out of Ctrl-C
            raise KeyboardInterrupt
        return status if isinstance(status, int) else 0
    except BrokenPipeError:
        return _reader_gone()
    except SystemExit as stopped:  # typer ends so when a pipe is closed, behind streams that it wraps
        if sys.stdout is streams[0]:
            raise
        sys.stdout, sys.stderr = streams
        logger.debug("The reader of standard output went away (%s).", stopped)
        return _reader_gone()
    except (KeyboardInterrupt, typer.Abort):
        return _fail("Interrupted. What was committed before is kept.", _INTERRUPTED)
    except typer.TyperException as wrong:
        return _usage_error(wrong, named)
    except WrongUsage as error:
        return _fail(f"{error} {_hint(named)}", 2)
    except LexiteError as error:
        return _fail(_with_flags(str(error), named) + _about_addresses(words, named), 1)
    except MemoryError:
        return _fail("Not enough memory. Try smaller batches or fewer documents at once.", 1)
    except OSError as error:
        if error.filename is None and error.errno in _WRITING_FAILED:
            _close(sys.stdout)
            return _fail(f"Standard output cannot be written: {(error.strerror or str(error)).lower()}.", 1)
        if error.errno == errno.ENAMETOOLONG:
            return _fail(f"'{str(error.filename)[:60]}…' is too long for the name of a file.", 1)
        return _internal_error(error)
    except Exception as error:  # the last resort: people get one line, and the traceback on request
        return _internal_error(error)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"lexite {__version__}")
        raise typer.Exit


def _start(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_print_version)
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log details on stderr.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log warnings and errors only, and show no progress.")] = False,
) -> None:
    if verbose or quiet:
        set_verbosity(verbose, quiet)


def _elsewhere() -> NoReturn:
    raise AssertionError("a verb that was not imported cannot run")


def _fail(message: str, status: int) -> int:
    try:
        if os.environ.get("LEXITE_TRACEBACK"):
            print(escaped(traceback.format_exc(), lines=True), file=sys.stderr)
        print(f"Error: {one_line(message)}", file=sys.stderr, flush=True)
    except BrokenPipeError:
        _close(sys.stderr)
    return status


def _internal_error(error: Exception) -> int:
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return _fail(f"{text}. This is a fault in lexite; LEXITE_TRACEBACK=1 shows where.", _INTERNAL)


def _usage_error(wrong: typer.TyperException, verb: str) -> int:
    text = _in_plain_words(wrong).rstrip()
    if not text or text.lstrip().startswith("Usage:"):  # no verb was given: the help is the message, or was shown already
        print(escaped(wrong.format_message().rstrip(), lines=True), file=sys.stderr, end="\n" if text else "")
        return wrong.exit_code
    text += "" if text.endswith((".", "?", ")")) else "."
    if verb == "search" and re.match("No such option: -[^-]", text):
        text += ' A query that excludes a word is one argument: "jaguar -car".'
    return _fail(f"{text} {_hint(verb)}", wrong.exit_code)


def _hint(verb: str) -> str:
    return f"See 'lexite {verb} --help'." if verb in VERBS else "See 'lexite --help'."


def _in_plain_words(wrong: typer.TyperException) -> str:
    """The message of a usage error, without the words that the checks of typer put before their own, and true of NaN."""
    text = str(wrong.format_message()).replace(": Value error, ", ": ", 1)
    for problem in getattr(wrong.__cause__, "errors", list)():
        value = str(problem.get("input")).strip().lower().lstrip("+-")
        if problem.get("type") in _OUT_OF_LIMITS and value in ("nan", "inf", "infinity"):
            text = text.replace(str(problem["msg"]), "Input should be a finite number")
    return text


def _with_flags(message: str, verb: str) -> str:
    """A message with the options of a verb as the command line has them: ``--overwrite`` for ``overwrite=True``.

    >>> _with_flags("It is there. Say overwrite=True, in Python Searcher.build(..., overwrite=True).", "index")
    'It is there. Say --overwrite.'
    >>> _with_flags("part_size is 0, but must be at least 1.", "export")
    '--part-size is 0, but must be at least 1.'
    >>> _with_flags("Rename it, or leave fields out: fields=False.", "load")
    'Rename it, or leave fields out: --no-fields.'
    """
    if verb not in VERBS:
        return message
    command: Any = get_command(build_app(verb))
    flags = {p.name: p.opts[0] for p in command.commands[verb].params if p.opts[0].startswith("--")}
    if "sources" not in {p.name for p in command.commands[verb].params} and "text" in flags:
        flags["sources"] = flags["text"]  # texts beside something else that is read

    off = {p.name: p.secondary_opts[0] for p in command.commands[verb].params if p.secondary_opts}

    def flag(match: re.Match[str]) -> str:
        if match[0].endswith("=False"):
            return str(off.get(match["name"], match[0]))
        if match["name"] not in flags:
            return match[0]
        return f"{flags[match['name']]} {match['value']}" if match["value"] else flags[match["name"]]

    named = re.match(r"([a-z]\w*)(?= is -?(?:[\d.]|nan|inf))", message)
    if named is not None and named[1] in flags:
        message = flags[named[1]] + message[named.end() :]
    message = re.sub(r", in Python .*?(?=\.(?:\s|$))", "", message)  # what is said there of options, for those who write it
    return re.sub(r"\b(?P<name>[a-z]\w*)=(?:True|False|\.\.\.|'(?P<value>[^']*)')", flag, message)


def _about_addresses(words: Sequence[str], verb: str) -> str:
    """What is said besides where a verb for indexes was given the address of an engine."""
    from lexite.engines.addresses import is_address

    if verb in _ASK_ENGINES or not any(is_address(word) for word in words):
        return ""
    named = " and ".join(f"'lexite {each}'" for each in _ASK_ENGINES)
    return f" Only {named} take the address of an engine."


def _reader_gone() -> int:
    """A reader that has seen enough is no error: nothing is said, and the status is that of success."""
    _close(sys.stdout)
    try:
        sys.stderr.flush()
    except BrokenPipeError:  # both went into the same pipe
        _close(sys.stderr)
    return 0


def _close(stream: TextIO) -> None:
    """The reader went away, or the disk is full: nothing more is written, not even at exit."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, stream.fileno())
    os.close(devnull)
