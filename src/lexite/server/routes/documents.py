"""Routes for documents: reading them, and changing them where the server allows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Response

from lexite.corpus.records import Document
from lexite.search import Searcher
from lexite.server.asking import unknown_document
from lexite.server.errors import reply
from lexite.server.refusals import Conflict
from lexite.server.routes.context import Context, IndexName, failures
from lexite.server.schemas import Counted, DeleteRequest, DocumentBody, DocumentsRequest, Id, Reply

WAIT = 5.0
"""Seconds that a change waits for another writer."""


def documents(context: Context) -> APIRouter:
    """The route that reads a document, and those that change documents, which are there on a writable server only."""
    router = APIRouter(prefix="/indexes", tags=["documents"])

    @router.get("/{index}/documents", response_model=Reply, responses=failures(404), dependencies=context.reading)
    async def document(index: IndexName, id: Annotated[Id, Query()]) -> Response:
        """A document with its text and fields."""
        return reply(await context.asked(index, context.asker.document, id))

    if not context.writable:
        return router
    may_change = context.changing

    async def changed(index: str, apply: Callable[[Searcher], int]) -> Response:
        served = context.served(index)
        return reply({"documents": await context.work.change(served.change, apply)})

    @router.post(
        "/{index}/documents", response_model=Counted, status_code=200, responses=failures(404, 409), dependencies=may_change
    )
    async def add(index: IndexName, request: DocumentsRequest) -> Response:
        """Adds documents whose ids are new: all of them, or none."""
        made = made_documents(request.documents)
        return await changed(index, lambda searcher: added(searcher, made))

    @router.put("/{index}/documents", response_model=Counted, responses=failures(404, 409), dependencies=may_change)
    async def replace(index: IndexName, request: DocumentsRequest) -> Response:
        """Adds documents; those with the same ids are replaced."""
        made = made_documents(request.documents)
        return await changed(index, lambda searcher: searcher.replace(made, show_progress=False, wait=WAIT))

    @router.delete("/{index}/documents", response_model=Counted, responses=failures(404), dependencies=may_change)
    async def delete(index: IndexName, request: DeleteRequest) -> Response:
        """Deletes documents: all of them, or none."""
        return await changed(index, lambda searcher: deleted(searcher, request.ids))

    return router


def made_documents(bodies: Sequence[DocumentBody]) -> list[Document]:
    """The documents of a request.

    Raises:
        Conflict: an id is there twice.
    """
    made = [Document(each.id, each.text, each.title, fields=dict(each.fields)) for each in bodies]
    twice = next((each.id for place, each in enumerate(made) if each.id in {other.id for other in made[:place]}), None)
    if twice is not None:
        raise Conflict(f"The document '{twice[:100]}' is there twice in this request.")
    return made


def added(searcher: Searcher, made: Sequence[Document]) -> int:
    """Adds documents with new ids.

    Raises:
        Conflict: the index has one of an id.
    """
    known = next((each.id for each in made if each.id in searcher), None)
    if known is not None:
        raise Conflict(f"The index has a document '{known[:100]}' already. PUT replaces it.")
    return searcher.add(list(made), show_progress=False, wait=WAIT)


def deleted(searcher: Searcher, ids: Sequence[str]) -> int:
    """Deletes documents.

    Raises:
        NotFound: the index has none of an id.
    """
    unknown = next((each for each in ids if each not in searcher), None)
    if unknown is not None:
        raise unknown_document(unknown)
    return searcher.delete(list(dict.fromkeys(ids)), wait=WAIT)
