"""Routes that ask an index."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from lexite.server.errors import reply
from lexite.server.routes.context import Context, IndexName, failures
from lexite.server.schemas import (
    ExplainRequest,
    RankingsRequest,
    Reply,
    SearchManyRequest,
    SearchRequest,
    TermsRequest,
)


def searching(context: Context) -> APIRouter:
    """The routes below ``/indexes``."""
    router = APIRouter(prefix="/indexes", tags=["search"], dependencies=context.reading)
    asker = context.asker

    @router.get("", response_model=list[Reply], responses=failures())
    async def indexes() -> Response:
        """All indexes: documents, concepts, fields with their types."""
        described = [asker.describe(served.snapshot) for served in context.indexes.values()]
        return reply([each | {"examples": list(context.examples.get(each["index"], ()))} for each in described])

    @router.post("/{index}/search", response_model=Reply, responses=failures(404, 501))
    async def search(index: IndexName, request: SearchRequest) -> Response:
        """The best documents for a question, with passages, and the parts of each score."""
        found = await context.searched(index, asker.search, [request.query], request, request.facets)
        return reply(found[0])

    @router.post("/{index}/search-many", response_model=list[Reply], responses=failures(404, 501))
    async def search_many(index: IndexName, request: SearchManyRequest) -> Response:
        """The same for several questions."""
        return reply(await context.searched(index, asker.search, request.queries, request))

    @router.post("/{index}/explain", response_model=Reply, responses=failures(404))
    async def explain(index: IndexName, request: ExplainRequest) -> Response:
        """Every number of the score of a document."""
        return reply(await context.asked(index, asker.explain, request.query, request.document, request))

    @router.post("/{index}/rankings", response_model=Reply, responses=failures(404, 501))
    async def rankings(index: IndexName, request: RankingsRequest) -> Response:
        """How BM25 on words and the dense model rank the same documents."""
        return reply(await context.asked(index, asker.rankings, request))

    @router.post("/{index}/terms", response_model=Reply, responses=failures(404))
    async def terms(index: IndexName, request: TermsRequest) -> Response:
        """The tokens of a text with their latents, and the terms of the whole text."""
        return reply(await context.asked(index, asker.terms, request))

    @router.get("/{index}/concepts", response_model=Reply, responses=failures(404))
    async def concepts(
        index: IndexName, name: Annotated[str, Query(min_length=1, max_length=200, description="Words of a label.")]
    ) -> Response:
        """The concepts whose labels have all words of a name, the most frequent first."""
        return reply(await context.asked(index, asker.concepts_named, name))

    @router.get("/{index}/concepts/{number}", response_model=Reply, responses=failures(404))
    async def concept(index: IndexName, number: int) -> Response:
        """A concept: label, frequency, words that it stands in for, examples with marks, related concepts."""
        return reply(await context.asked(index, asker.concept, number))

    return router
