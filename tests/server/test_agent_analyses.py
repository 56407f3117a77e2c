"""Analyses as tools for agents: what they find is what the functions find, within the limits of the server."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lexite import Searcher
from lexite.analysis import corpus_of, correlations, differences, property_from_examples
from lexite.server.config import ServerConfig
from lexite.server.indexes import ServedIndex

pytest.importorskip("mcp", reason="needs the extra 'mcp'")
pytest.importorskip("pyarrow", reason="needs the extra 'fields'")
import anyio
from mcp import Client

from lexite.server import agents

Call = Callable[..., Awaitable[Any]]


def talk(path: Path, ask: Callable[[Call], Awaitable[None]], **limits: Any) -> None:
    """Runs a conversation: ``ask`` gets a function that calls a tool, and gives what it answers, or the words of an error."""
    server = agents.agent_server(ServedIndex("notes", Searcher.open(path, static=True)), ServerConfig(**limits))

    async def run() -> None:
        async with Client(server) as client:

            async def call(tool: str, **arguments: Any) -> Any:
                found = await client.call_tool(tool, arguments)
                return str(found.content) if found.is_error else found.structured_content

            await ask(call)

    anyio.run(run)


@pytest.mark.slow
def test_results_are_those_of_the_functions(sixty: Path) -> None:
    searcher = Searcher.open(sixty, static=True)
    everything = corpus_of(searcher.index, searcher.label)
    animals, code = everything.part(range(1, 60, 2), "kind = 'b'"), everything.part(range(0, 60, 2), "kind = 'a'")
    apart, pairs = differences(code, animals, most=3), correlations(animals, most=5)
    known = property_from_examples(everything, range(1, 9, 2), range(0, 8, 2), most=4)

    async def ask(call: Call) -> None:
        found = await call("differences", where="kind = 'a'", most=3)
        assert (found["index"], found["analysis"], found["generation"]) == ("notes", "differences", searcher.index.generation)
        assert [each["latent"] for each in found["over"]] == [each.latent for each in apart.over] != []
        assert found["chance"] == list(apart.chance)
        together = await call("correlations", where="kind = 'b'", most=5)
        assert [pair["latents"] for pair in together["pairs"]] == [list(pair.latents) for pair in pairs.pairs]
        assert (await call("correlations", field="kind"))["values"] == {"a": 30, "b": 30}
        ids = [f"d{i}" for i in range(1, 9, 2)], [f"d{i}" for i in range(0, 8, 2)]
        like = await call("properties", positive=ids[0], negative=ids[1], most=4)
        assert [each["document"]["id"] for each in like["documents"]] == [each.document.id for each in known.documents]
        assert (like["auc"], like["p"]) == (known.auc, known.p)
        said = await call("properties", sentence="the dog drank milk", most=3)
        assert len(said["documents"]) == 3 and said["name"] == "the dog drank milk"

    talk(sixty, ask)


@pytest.mark.slow
def test_clusters_are_compared_with_a_field(sixty: Path) -> None:
    pytest.importorskip("sklearn", reason="needs the extra 'analysis'")

    async def ask(call: Call) -> None:
        found = await call("clusters", n_clusters=2, truth="kind")
        assert found["adjusted_rand"] == pytest.approx(1.0, abs=0.2) and "assigned" not in found

    talk(sixty, ask)


def test_what_is_wrong_is_said_before_anything_is_made(sixty: Path) -> None:
    async def ask(call: Call) -> None:
        for tool, arguments, words in (
            ("differences", {}, "where"),
            ("differences", {"where": None}, "Differences need where"),
            ("correlations", {"where": "nope = 1"}, "no field 'nope'"),
            ("correlations", {"most": 201}, "less than or equal to 200"),
            ("clusters", {"n_clusters": 1}, "greater than or equal to 2"),
            ("clusters", {"method": "guess"}, "hdbscan"),
            ("properties", {"where": "year < 2010"}, "Give one of them"),
            ("properties", {"where": "year < 2010", "sentence": "x" * 101}, "at most 100 are taken"),
            ("properties", {"sentence": "milk"}, "60 documents would be analysed, but at most 40 are taken"),
            ("differences", {"where": "kind = 'a'"}, "at most 40 are taken"),
            ("differences", {"where": "kind = 'a'", "agianst": "kind = 'b'"}, "no argument 'agianst'. Did you mean 'against'?"),
        ):
            answer = await call(tool, **arguments)
            assert isinstance(answer, str) and words in answer, answer

    talk(sixty, ask, analysis_documents=40, max_text=100)


@pytest.mark.slow
def test_one_runs_at_a_time_and_none_for_ever(sixty: Path) -> None:
    async def late(call: Call) -> None:
        assert "longer than 0.1 seconds" in await call("correlations")

    async def twice(call: Call) -> None:
        answers: list[Any] = []

        async def ask() -> None:
            answers.append(await call("differences", where="kind = 'a'"))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            group.start_soon(ask)
        refused, made = sorted(answers, key=lambda answer: isinstance(answer, dict))
        assert "Another analysis runs" in refused and made["n_over"]

    talk(sixty, late, analysis_seconds=0.1)
    talk(sixty, twice)


def test_an_analysis_ends_when_nobody_waits_for_it(sixty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    class Endless:
        def __init__(self, seconds: float) -> None:
            self.seconds = seconds

        def run(self, task: Any) -> dict[str, Any]:
            assert ended.wait(self.seconds)
            return {}

        def give_up(self) -> None:
            ended.set()

    monkeypatch.setattr(agents, "Analyser", Endless)

    async def ask(call: Call) -> None:
        with anyio.move_on_after(0.3):
            await call("correlations")
        with anyio.fail_after(20):
            assert await anyio.to_thread.run_sync(ended.wait, 20)

    talk(sixty, ask)


def test_every_tool_says_that_it_changes_nothing(sixty: Path) -> None:
    server = agents.agent_server(ServedIndex("notes", Searcher.open(sixty, static=True)))

    async def run() -> None:
        async with Client(server) as client:
            for tool in (await client.list_tools()).tools:
                assert tool.description and tool.annotations is not None and tool.annotations.read_only_hint, tool.name
                shapes = tool.input_schema["properties"]
                assert all("description" in shape for shape in shapes.values()), (tool.name, shapes)

    anyio.run(run)
