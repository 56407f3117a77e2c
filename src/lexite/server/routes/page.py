"""The page. Its files are read from the package when the server starts; a request never opens a file."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files

from fastapi import APIRouter, Request, Response

from lexite.server.routes.context import Context
from lexite.version import __version__

MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def page(context: Context) -> APIRouter:
    """``/`` and the files that the page loads."""
    router = APIRouter(include_in_schema=False)
    facts = {"version": __version__, "token": context.guards_reading}
    for name, content in page_files().items():
        if name == "index.html":
            content = content.replace(b"{{settings}}", json.dumps(facts).replace("<", "\\u003c").encode())
        address = "/" if name == "index.html" else f"/page/{name}"
        router.add_api_route(address, _sender(name, content), methods=["GET"])
    return router


def page_files() -> dict[str, bytes]:
    """The files of the page, by name."""
    folder = files("lexite.server") / "page"
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.name.endswith(tuple(MEDIA_TYPES))}


def _sender(name: str, content: bytes):  # type: ignore[no-untyped-def]  # noqa: ANN202  a route; its type is FastAPI's
    media = MEDIA_TYPES[name[name.rindex(".") :]]
    tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}

    async def send(request: Request) -> Response:
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media, headers=headers)

    return send
