"""Routes that tell how the server is."""

from __future__ import annotations

from fastapi import APIRouter, Response

from lexite.server.errors import problem, reply
from lexite.server.routes.context import Context, failures
from lexite.server.schemas import Json
from lexite.version import __version__


def status(context: Context) -> APIRouter:
    """``/health``, ``/ready`` and ``/metrics``."""
    router = APIRouter(tags=["status"])

    @router.get("/health", response_model=Json)
    async def health() -> Response:
        """Whether the process answers."""
        return reply({"status": "ok", "version": __version__})

    @router.get("/ready", response_model=Json, responses=failures())
    async def ready() -> Response:
        """Whether all indexes answer with their newest commit."""
        stale = [name for name, served in context.indexes.items() if served.trouble is not None]
        if stale:
            return problem(503, f"The newest commit cannot be opened; an older one answers: {', '.join(stale)}.")
        return reply({"status": "ready", "indexes": list(context.indexes)})

    @router.get(
        "/metrics",
        dependencies=context.reading,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **failures()},
        response_class=Response,
    )
    async def metrics() -> Response:
        """Numbers in the text format of Prometheus."""
        return Response(context.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router
