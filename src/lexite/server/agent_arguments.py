"""An MCP server whose tools refuse arguments that they do not have, which the protocol's own server drops without a word.

What is wrong with the values of arguments is said in lexite's words.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import ValidationError

from lexite.server.refusals import invalid_in_words
from lexite.wording import one_line

if TYPE_CHECKING:
    from mcp.server.mcpserver import Context
    from mcp.types import Tool

SHOWN = 3


class StrictServer(MCPServer[Any]):
    """A server of tools, each with the arguments of its schema and no others."""

    async def list_tools(self) -> list[Tool]:
        """The tools, whose schemas say that there are no further arguments."""
        closed = {"additionalProperties": False}
        return [
            tool.model_copy(update={"input_schema": {**tool.input_schema, **closed}}) for tool in await super().list_tools()
        ]

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None) -> Any:
        """Calls a tool.

        Raises:
            ToolError: it has no argument of a name; a value of another type or beyond a limit; or as the protocol's own server
                says.
        """
        schema = next((tool.input_schema for tool in await self.list_tools() if tool.name == name), None)
        if schema is not None:
            check_arguments(name, arguments, schema.get("properties", {}))
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                raise ToolError(what_is_wrong(name, error.__cause__)) from error
            raise


def what_is_wrong(tool: str, error: ValidationError) -> str:
    """The first thing that is wrong with values of arguments, or with the request that a tool makes of them, in a sentence."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"] if part not in ("", "[key]")) or "body"
    return f"{tool} cannot take these arguments. {invalid_in_words(first, place)}"


def check_arguments(tool: str, given: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuses arguments that a tool does not have; raises ``ToolError``.

    >>> check_arguments("search", {"query": "milk", "topk": 3}, ["query", "top_k"])
    Traceback (most recent call last):
    mcp.server.mcpserver.exceptions.ToolError: search has no argument 'topk'. Did you mean 'top_k'? It takes query, top_k.
    """
    unknown = [name for name in given if name not in known]
    if not unknown:
        return
    unknown = unknown[:SHOWN]
    near = [found[0] for name in unknown if (found := difflib.get_close_matches(name, known, n=1)) and found[0] not in given]
    hint = f" Did you mean {_quoted(near, ' and ')}?" if near else ""
    named = _quoted([one_line(name)[:60] for name in unknown], " and no argument ")
    raise ToolError(f"{tool} has no argument {named}.{hint} It takes {', '.join(known) or 'none'}.")


def _quoted(names: Iterable[str], between: str) -> str:
    return between.join(f"'{name}'" for name in dict.fromkeys(names))
