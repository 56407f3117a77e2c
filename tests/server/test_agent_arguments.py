"""Tools for agents refuse what they do not know, and contradictions, in words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from lexite import Searcher
from lexite.server.indexes import ServedIndex

pytest.importorskip("mcp", reason="needs the extra 'mcp'")
import anyio
from mcp import Client

from lexite.server.agents import agent_server

Call = Callable[..., Awaitable[str]]


@pytest.fixture
def searcher(served_index: Path) -> Searcher:
    return Searcher.open(served_index, static=True)


def talk(searcher: Searcher, ask: Callable[[Client], Awaitable[None]]) -> None:
    """Runs a conversation of a client of the protocol with a server in this process."""
    server = agent_server(ServedIndex("notes", searcher))

    async def run() -> None:
        async with Client(server) as client:
            await ask(client)

    anyio.run(run)


def test_an_argument_that_a_tool_does_not_have_is_named(searcher: Searcher) -> None:
    async def ask(client: Client) -> None:
        for tool, arguments, words in (
            ("search", {"query": "milk", "topk": 3}, "search has no argument 'topk'. Did you mean 'top_k'?"),
            ("search", {"query": "milk", "topk": 3}, "It takes query, top_k, where, factors."),
            ("search", {"query": "milk", "colour": 1, "filter": 2}, "no argument 'colour' and no argument 'filter'. It takes"),
            ("describe_index", {"name": "notes"}, "describe_index has no argument 'name'. It takes none."),
            ("explain", {"query": "milk", "id": "d1", "ids": ["d2"]}, "explain has no argument 'ids'. It takes query, id."),
            ("read_document", {"Id": "d1"}, "no argument 'Id'. It takes id."),
            ("clusters", {"seed": 1}, "It takes where, n_clusters, method, truth."),
        ):
            answer = await client.call_tool(tool, arguments)
            (content,) = answer.content
            assert answer.is_error and words in content.text, content  # type: ignore[union-attr]
        assert not (await client.call_tool("search", {"query": "milk", "top_k": 3})).is_error
        assert "Unknown tool" in str((await client.call_tool("serach", {"query": "milk"})).content)

    talk(searcher, ask)


def test_the_schemas_say_that_there_are_no_others(searcher: Searcher) -> None:
    async def ask(client: Client) -> None:
        for tool in (await client.list_tools()).tools:
            assert tool.input_schema["additionalProperties"] is False, tool.name

    talk(searcher, ask)


def test_a_concept_with_two_factors_is_named(searcher: Searcher) -> None:
    words = searcher.label(5)

    async def ask(client: Client) -> None:
        answer = await client.call_tool("search", {"query": "milk", "factors": {"5": 3, f"{words}": 0}})
        (content,) = answer.content
        assert answer.is_error and f"latent 5 ({words})" in content.text  # type: ignore[union-attr]
        assert f"'5' gives it the factor 3, '{words}' mutes it" in content.text  # type: ignore[union-attr]

    talk(searcher, ask)
