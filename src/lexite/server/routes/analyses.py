"""Routes that analyse the documents of an index."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response

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


def analyses(context: Context) -> APIRouter:
    """The routes below ``/indexes/{index}/analyses``."""
    router = APIRouter(prefix="/indexes/{index}/analyses", tags=["analyses"], dependencies=context.reading)

    async def analysed(index: str, kind: Kind, request: AnalysisRequest) -> Response:
        other = None if not isinstance(request, DifferencesRequest) or request.other is None else context.served(request.other)
        task = await context.asked(index, context.asker.task, kind, request, other and other.snapshot)
        found = await asyncio.get_running_loop().run_in_executor(None, context.analyser.run, task)
        return reply({"index": index, **found})

    @router.post("/differences", response_model=Reply, responses=failures(404))
    async def differences(index: IndexName, request: DifferencesRequest) -> Response:
        """Concepts that some documents have more or less often than others, beyond chance."""
        return await analysed(index, "differences", request)

    @router.post("/correlations", response_model=Reply, responses=failures(404))
    async def correlations(index: IndexName, request: CorrelationsRequest) -> Response:
        """Concepts that occur together, or with the values of a field, more than by chance."""
        return await analysed(index, "correlations", request)

    @router.post("/clusters", response_model=Reply, responses=failures(404, 501))
    async def clusters(index: IndexName, request: ClustersRequest) -> Response:
        """Documents that belong together, named by their concepts, beside those of shuffled ones."""
        return await analysed(index, "clusters", request)

    @router.post("/properties", response_model=Reply, responses=failures(404))
    async def properties(index: IndexName, request: PropertiesRequest) -> Response:
        """Documents that have what a sentence says, or are like examples."""
        return await analysed(index, "properties", request)

    return router
