"""The application: its parts put together, and run."""

from __future__ import annotations

import contextlib
import gc
import logging
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import uvicorn
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from lexite.errors import StorageError
from lexite.search import Searcher
from lexite.server.analysing import Analyser
from lexite.server.asking import Asker
from lexite.server.config import ServerConfig
from lexite.server.errors import install_handlers
from lexite.server.guarding import Guard
from lexite.server.indexes import Indexes
from lexite.server.metrics import Metrics
from lexite.server.routes.analyses import analyses
from lexite.server.routes.context import Context
from lexite.server.routes.documents import documents
from lexite.server.routes.page import page
from lexite.server.routes.searching import searching
from lexite.server.routes.status import status
from lexite.server.working import Work
from lexite.version import __version__

logger = logging.getLogger("lexite")
API = "/api/v1"
GRACE = 10  # seconds in which requests may end when the server stops
BACKLOG = 256  # connections that wait to be taken


def create_app(
    searchers: Mapping[str, Searcher],
    config: ServerConfig | None = None,
    *,
    token: str | None = None,
    writable: bool = False,
    examples: Mapping[str, Sequence[str]] | None = None,
) -> FastAPI:
    """An application that answers from indexes.

    Args:
        searchers: opened indexes by name. They are not changed; newer commits are opened beside them.
        config: limits; None takes the defaults.
        token: that changes need, and reading too where the server is private or listens for other machines.
        writable: whether documents can be changed.
        examples: questions to begin with, by the name of the index; the page offers them.

    Raises:
        ConfigError: there is no token where one is needed.
    """
    config = config or ServerConfig()
    config.check(token, writable=writable)
    metrics = Metrics()
    indexes = Indexes(searchers, config.refresh, metrics.reloaded)
    metrics.watch(indexes)
    work = Work(config.threads, config.waiting, config.seconds)
    asker = Asker(config.max_text, config.max_top_k, config.max_queries, config.analysis_documents)
    analyser = Analyser(config.analysis_seconds)
    context = Context(
        indexes, asker, work, analyser, metrics, token, writable, config.guards_reading(token), dict(examples or {})
    )

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        indexes.start()
        yield
        indexes.stop()
        analyser.close()
        work.close()

    app = FastAPI(
        title="lexite",
        version=__version__,
        description="Search documents by latent terms, and see why each one was found.",
        openapi_url=f"{API}/openapi.json",
        docs_url=None,  # both pages load scripts from other addresses
        redoc_url=None,
        lifespan=lifespan,
    )
    install_handlers(app)
    for router in (searching(context), analyses(context), documents(context)):
        app.include_router(router, prefix=API)
    for router in (status(context), page(context)):
        app.include_router(router)
    if config.allow_origin:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(config.allow_origin),
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
        )
    app.add_middleware(Guard, config=config, metrics=metrics)
    return app


def listen(config: ServerConfig) -> socket.socket:
    """A socket at the address of a server. It takes connections; where several processes answer, it keeps the address for them.

    Raises:
        StorageError: the address is taken, or is not this machine's.
    """
    try:
        listening = answer_at(config.host, config.port)
        if config.workers == 1:
            return listening
        with listening:  # nobody else is there
            host, port = listening.getsockname()[:2]
        return _shared_socket(host, port)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise StorageError(
            f"The server cannot listen at {config.host} port {config.port}: {why}. Choose another --port."
        ) from error


def answer_at(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A socket that takes connections.

    Args:
        host: address.
        port: port; 0 takes a free one.
        shared: whether other processes listen there too.
    """
    if shared:
        listening = _shared_socket(host, port)
        listening.listen(BACKLOG)
    else:
        listening = socket.create_server((host, port), family=_family(host), backlog=BACKLOG)
    # Head and body of an answer are sent one after the other. Without this, the body waits until the head is confirmed.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _shared_socket(host: str, port: int) -> socket.socket:
    """A socket at an address that other processes of this user may have too."""
    made = socket.socket(_family(host), socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # as create_server does
        made.bind((host, port))
    except BaseException:
        made.close()
        raise
    return made


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def address_of(listening: socket.socket) -> str:
    """Where a browser finds the server."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def run(app: FastAPI, listening: socket.socket, ready: Callable[[], None] | None = None) -> None:
    """Answers requests until the process is told to stop.

    Args:
        app: what :func:`create_app` made.
        listening: what :func:`listen` gave.
        ready: called when the server answers.
    """
    settings = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE,
        h11_max_incomplete_event_size=64 << 10,
    )
    server = _Server(settings, ready)
    gc.collect()
    gc.freeze()  # what was loaded stays: to look through its million objects again and again would stop answers for 100 ms
    server.run(sockets=[listening])


class _Server(uvicorn.Server):
    """A server that says when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None] | None) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._ready is not None:
            self._ready()
