"""``lexite mcp``: an index as tools for agents."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from lexite.backbone.config import BackboneConfig
from lexite.cli.arguments import RUNTIME, RUNTIME_HEADING
from lexite.cli.options import configured
from lexite.cli.output import WrongUsage
from lexite.config import Overrides
from lexite.errors import MissingExtraError
from lexite.server.config import ServerConfig

LIMITS = ("max_text", "analysis_seconds", "analysis_documents")


@configured(only={"server": LIMITS, "model": RUNTIME}, server="Limits", model=RUNTIME_HEADING)
def mcp_verb(
    index: Annotated[Path, typer.Argument(help="Folder of the index.", metavar="INDEX", show_default=False)],
    *,
    static: Annotated[
        bool, typer.Option("--static", help="Encode queries with the static table of the index. No model is loaded.")
    ] = False,
    vocabulary: Annotated[
        str | None, typer.Option("--vocabulary", help="Where the vocabulary of the index is, if it was moved.", metavar="NAME")
    ] = None,
    server: ServerConfig,
    model: Overrides[BackboneConfig],
) -> None:
    """Serve an index to agents, over the Model Context Protocol on standard input and output.

    Example: lexite mcp notes.lexite
    """
    if static and model.values:
        raise WrongUsage("--static needs no model, so options of the model have no place beside it. Leave them out.")
    if find_spec("mcp") is None:
        raise MissingExtraError("mcp", "mcp", "A server for agents")
    from lexite.search import Searcher
    from lexite.server.agents import agent_server
    from lexite.server.indexes import ServedIndex, named_indexes

    searcher = Searcher.open(index, static=static, vocabulary=vocabulary, **model.values)
    (name,) = named_indexes([index])
    agent_server(ServedIndex(name, searcher), server).run("stdio")
