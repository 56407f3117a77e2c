"""Routes that analyse the documents of an index."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

from lexite.server.analysing import Kind
from lexite.server.errors import reply
from lexite.server.routes.context import Context, IndexName, failures
from lexite.server.schemas import (
    AnalysisRequest,
    ClustersRequest,
    CorrelationsRequest,
    DifferencesRequest,
    PropertiesRequest,
    Reply,
)

LOOK = 0.5
"""Seconds between two looks whether somebody still waits for an analysis."""


def analyses(context: Context) -> APIRouter:
    """The routes below ``/indexes/{index}/analyses``."""
    router = APIRouter(prefix="/indexes/{index}/analyses", tags=["analyses"], dependencies=context.reading)

    async def analysed(index: str, kind: Kind, asked: AnalysisRequest, request: Request) -> Response:
        other = asked.other if isinstance(asked, DifferencesRequest) else None
        others = None if other is None else context.served(other).snapshot
        task = await context.asked(index, context.asker.task, kind, asked, others)
        found = asyncio.get_running_loop().run_in_executor(None, context.analyser.run, task)
        while not (await asyncio.wait({found}, timeout=LOOK))[0]:
            if await request.is_disconnected():
                context.analyser.give_up()
        return reply({"index": index, **found.result()})

    @router.post("/differences", response_model=Reply, responses=failures(404, 429))
    async def differences(index: IndexName, asked: DifferencesRequest, request: Request) -> Response:
        """Concepts that some documents have more or less often than others, beyond chance."""
        return await analysed(index, "differences", asked, request)

    @router.post("/correlations", response_model=Reply, responses=failures(404, 429))
    async def correlations(index: IndexName, asked: CorrelationsRequest, request: Request) -> Response:
        """Concepts that occur together, or with the values of a field, more than by chance."""
        return await analysed(index, "correlations", asked, request)

    @router.post("/clusters", response_model=Reply, responses=failures(404, 429, 501))
    async def clusters(index: IndexName, asked: ClustersRequest, request: Request) -> Response:
        """Documents that belong together, named by their concepts, beside those of shuffled ones."""
        return await analysed(index, "clusters", asked, request)

    @router.post("/properties", response_model=Reply, responses=failures(404, 429))
    async def properties(index: IndexName, asked: PropertiesRequest, request: Request) -> Response:
        """Documents that have what a sentence says, or are like examples."""
        return await analysed(index, "properties", asked, request)

    return router
