"""Tools for agents refuse what they do not know, and contradictions, in words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

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


def test_values_of_a_wrong_type_or_beyond_a_limit_are_named(searcher: Searcher) -> None:
    async def ask(client: Client) -> None:
        milk = {"query": "milk"}
        cases: tuple[tuple[str, dict[str, Any], str], ...] = (
            ("search", {}, "'query' is missing."),
            ("search", {"query": None}, "'query' must be a valid string."),
            ("search", {**milk, "top_k": None}, "'top_k' must be a valid integer."),
            ("search", {**milk, "top_k": 51}, "'top_k' must be less than or equal to 50."),
            ("search", {**milk, "where": "a" * 5000}, "'where' must have at most 4000 characters."),
            ("search", {**milk, "factors": [5]}, "'factors' must be a JSON object."),
            ("search", {**milk, "factors": {"5": None}}, "'factors.5' must be a valid number."),
            ("search", {**milk, "factors": {"5": 1e308}}, "'factors.5' must be less than or equal to 100."),
            ("search", {**milk, "factors": {"5": -1}}, "'factors.5' must be greater than or equal to 0."),
            ("search", {**milk, "factors": {"": 2}}, "'factors' must have at least 1 character."),
            ("search", {**milk, "factors": {str(n): 2 for n in range(65)}}, "'factors' must have at most 64 items"),
            ("explain", {**milk, "id": ""}, "'id' must have at least 1 character."),
            ("describe_concept", {"number": 1.5}, "'number' must be a valid integer"),
            ("clusters", {"n_clusters": 0}, "'n_clusters' must be greater than or equal to 2."),
        )
        for tool, arguments, words in cases:
            answer = await client.call_tool(tool, arguments)
            (content,) = answer.content
            assert answer.is_error, arguments
            assert content.text.startswith(f"{tool} cannot take these arguments. {words}"), content  # type: ignore[union-attr]
            assert "pydantic" not in content.text  # type: ignore[union-attr]

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
