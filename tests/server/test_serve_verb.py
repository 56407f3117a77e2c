"""``lexite serve`` and ``lexite mcp`` as processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from helpers_server import TOKEN, serving

from lexite.cli import main

pytest.importorskip("fastapi", reason="needs the extra 'server'")


@pytest.mark.slow
def test_a_static_server_answers_without_torch_and_ends_when_told(served_index: Path) -> None:
    with serving(str(served_index), "--static") as (address, process):
        request = urllib.request.Request(
            f"{address}api/v1/indexes/notes/search",
            json.dumps({"query": "milk"}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            assert json.load(answer)["encoded_by"] == "static"
        loaded = Path(f"/proc/{process.pid}/maps")
        assert not loaded.exists() or "libtorch" not in loaded.read_text(encoding="utf-8")
    assert process.returncode in (0, -15)


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        ([], 2, "No index was named"),
        (["INDEX", "--host", "0.0.0.0"], 1, "other machines"),
        (["INDEX", "--writable"], 1, "beside --writable"),
        (["INDEX", "--writable", "--static", "--token", TOKEN], 2, "--static leaves out"),
        (["INDEX", "--writable", "--token", TOKEN, "--workers", "2"], 1, "Leave --workers or --writable out"),
        (["INDEX", "--static", "--precision", "fp32"], 2, "--static needs no model"),
        (["INDEX", "INDEX", "--static"], 1, "would be called 'notes'"),
        (["nowhere"], 1, "nowhere"),
    ],
)
def test_what_cannot_be_served_is_said(
    served_index: Path, capsys: pytest.CaptureFixture[str], words: list[str], status: int, told: str
) -> None:
    given = [str(served_index) if word == "INDEX" else word for word in words]
    assert main(["-q", "serve", *given, "--port", "0"]) == status
    shown = capsys.readouterr()
    assert told in shown.err and not shown.out and shown.err.count("\n") == 1


def test_an_address_that_is_taken_is_said(served_index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["-q", "serve", str(served_index), "--static", "--port", str(port)]) == 1
    assert "Choose another --port" in capsys.readouterr().err


@pytest.mark.slow
def test_agents_ask_through_mcp_without_a_web_framework(served_index: Path, tmp_path: Path) -> None:
    pytest.importorskip("mcp", reason="needs the extra 'mcp'")
    import anyio
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['fastapi'] = None\n", encoding="utf-8")
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2] / "src")])
    environment = {**os.environ, "PYTHONPATH": paths}
    parameters = StdioServerParameters(
        command=sys.executable, args=["-m", "lexite", "mcp", str(served_index), "--static"], env=environment
    )

    async def talk() -> None:
        async with stdio_client(parameters) as streams, ClientSession(*streams) as session:
            await session.initialize()
            tools = {tool.name for tool in (await session.list_tools()).tools}
            assert tools == {
                *("describe_index", "search", "read_document", "explain", "find_concepts", "describe_concept", "read_concepts"),
                *("differences", "correlations", "clusters", "properties"),
            }
            found = await session.call_tool("search", {"query": "milk moon", "top_k": 3, "factors": {"word:moon": 0}})
            assert not found.is_error and json.loads(found.content[0].text)["hits"][0]["id"] != "d6"  # type: ignore[union-attr]
            read = await session.call_tool("read_document", {"id": "d6"})
            assert "moon" in json.loads(read.content[0].text)["text"]  # type: ignore[union-attr]
            unknown = await session.call_tool("read_document", {"id": "nope"})
            assert unknown.is_error and "no document 'nope'" in str(unknown.content)
            for name, arguments in (
                ("describe_index", {}),
                ("explain", {"query": "milk", "id": "d1"}),
                ("describe_concept", {"number": 3}),
                ("read_concepts", {"text": "the cow"}),
                ("properties", {"sentence": "milk of the cow"}),  # in a process of its own, beside the stream of answers
            ):
                assert not (await session.call_tool(name, arguments)).is_error, name

    anyio.run(talk)


def test_a_missing_package_is_named(served_index: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name in ('fastapi', 'mcp') else find(name, *a)\n",
        encoding="utf-8",
    )
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2] / "src")])
    for verb, extra in (("serve", "server"), ("mcp", "mcp")):
        done = subprocess.run(
            [sys.executable, "-m", "lexite", verb, str(served_index)],
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 1 and f"pip install 'lexite[{extra}]'" in done.stderr
