"""Which library should evaluate a filter: DuckDB, polars, or pyarrow with sqlglot as its parser.

Each library gets the same columns (a whole number, a text, a number, a date, a list of texts) in an Arrow file that is mapped
into memory, and gives a mask of the rows that pass. "Import" is the time until the library is there, in a new process that has
what searches import. "First" is the first mask in that process, with opening the file; "warm" is a mask of a later call. The
masks are compared. "Hostile" expressions name files, variables of the process, statements and subqueries: the column says how
many of them are refused by the library's own parser when it is asked for an expression alone.

    python benchmarks/filter_engines.py [--rows 57000 1000000] [--json FILE]
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import installed, parser, report

EXPRESSIONS = {
    "number": "year >= 2020",
    "text": "lang = 'en'",
    "list": "'law' in tags",
    "all": "year >= 2020 and lang = 'en' and 'law' in tags",
    "dates": "day between '2015-01-01' and '2016-12-31' or price < 1.5 or lang like 'd%'",
}
HOSTILE = (
    "year = (select 1)",
    "read_text('/etc/passwd') = 'x'",
    "getenv('HOME') = 'x'",
    "year = 1; drop table documents",
    "exists (select * from read_csv('/etc/passwd'))",
    "year in (select year from documents)",
)
PACKAGES = {"duckdb": ("duckdb",), "polars": ("polars", "polars-runtime-32"), "sqlglot + pyarrow": ("sqlglot", "pyarrow")}
TYPES: dict[str, Any] = {"year": "integer", "lang": "text", "price": "number", "day": "date", "tags": "list"}
TAGS = ("law", "art", "sea", "tax", "war", "sun", "oil", "ice")
STARTS, CALLS = 5, 9


def write_columns(path: Path, n_rows: int) -> None:
    import pyarrow as pa

    random = np.random.default_rng(0)
    bounds = np.concatenate([[0], np.cumsum(random.integers(0, 4, n_rows))]).astype(np.int32)
    days = np.datetime64("2000-01-01") + random.integers(0, 9000, n_rows)
    text = pa.large_string()
    table = pa.table(
        {
            "year": random.integers(1990, 2026, n_rows),
            "lang": pa.array(random.choice(["en", "de", "fr", "da"], n_rows), text),
            "price": random.exponential(20.0, n_rows),
            "day": pa.array(days),
            "tags": pa.ListArray.from_arrays(bounds, pa.array(random.choice(TAGS, bounds[-1]), text)),
        }
    )
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, 16384)


def duckdb_engine(path: str) -> Callable[[str], Any]:
    import duckdb
    import pyarrow as pa

    limits = {"enable_external_access": "false", "threads": "1", "memory_limit": "1GB"}
    connection = duckdb.connect(":memory:", config=limits)
    connection.register("documents", pa.ipc.open_file(pa.memory_map(path)).read_all())
    connection.execute("set lock_configuration = true")

    def mask(expression: str) -> Any:
        tree = json.loads(connection.execute("select json_serialize_sql(?)", [f"select {expression}"]).fetchone()[0])
        if tree["error"]:
            raise ValueError(tree["error_message"])
        return connection.execute(f"select coalesce({expression}, false) as passes from documents").fetchnumpy()["passes"]

    return mask


def polars_engine(path: str) -> Callable[[str], Any]:
    import polars

    frame = polars.scan_ipc(path).collect()

    def mask(expression: str) -> Any:
        expression = expression.replace("'law' in tags", "array_contains(tags, 'law')")  # polars parses lists only so
        expression = expression.replace("'2015-01-01'", "date '2015-01-01'").replace("'2016-12-31'", "date '2016-12-31'")
        return frame.select(polars.sql_expr(expression).fill_null(False).alias("passes"))["passes"].to_numpy()

    return mask


def arrow_engine(path: str) -> Callable[[str], Any]:
    """What lexite does: sqlglot parses, lexite checks, pyarrow evaluates."""
    from lexite.index.fields import StoredFields
    from lexite.index.filters import read_filter
    from lexite.index.ids import IdTable
    from lexite.index.masks import FieldedDocuments, documents_that_pass

    content, n_rows = np.memmap(path, dtype=np.uint8, mode="r"), int(Path(path).stem)
    segments = [FieldedDocuments(IdTable.build([]), StoredFields(Path(path), content, n_rows), n_rows)]

    def mask(expression: str) -> Any:
        return documents_that_pass(read_filter(expression, TYPES), segments, TYPES)[0]

    return mask


ENGINES = {"duckdb": duckdb_engine, "polars": polars_engine, "sqlglot + pyarrow": arrow_engine}
IMPORTS = {"duckdb": "duckdb, pyarrow", "polars": "polars", "sqlglot + pyarrow": "sqlglot, pyarrow.compute"}


def cold(engine: str, path: Path) -> tuple[float, float]:
    """Seconds of the import and of the first mask in a new process: the median of some."""
    code = (
        f"import sys, time; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import lexite.index.filters, lexite.index.masks, filter_engines as f\n"
        f"a = time.perf_counter(); import {IMPORTS[engine]}; b = time.perf_counter()\n"
        f"f.ENGINES[{engine!r}]({str(path)!r})(f.EXPRESSIONS['all']); print(b - a, time.perf_counter() - b)"
    )
    times = []
    for _ in range(STARTS):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        times.append([float(part) for part in done.stdout.split()])
    first, second = zip(*times, strict=True)
    return statistics.median(first), statistics.median(second)


def refused(engine: str) -> int:
    """How many hostile expressions the parser refuses by itself."""

    def parse(expression: str) -> None:
        if engine == "polars":
            import polars

            polars.sql_expr(expression)
        elif engine == "duckdb":
            import duckdb

            duckdb.SQLExpression(expression)
        else:
            from sqlglot import exp, parse_one

            parse_one(expression, into=exp.Condition)

    count = 0
    for expression in HOSTILE:
        try:
            parse(expression)
        except Exception:  # each library has errors of its own
            count += 1
    return count


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rows", type=int, nargs="+", default=[57_000, 1_000_000])
    given = options.parse_args()
    figures: dict[str, float] = {}
    table = []
    with tempfile.TemporaryDirectory() as folder:
        for n_rows in given.rows:
            path = Path(folder) / f"{n_rows}.arrow"
            write_columns(path, n_rows)
            masks: dict[str, dict[str, Any]] = {}
            for name, make in ENGINES.items():
                if any(installed(package) is None for package in PACKAGES[name]):
                    print(f"{name}: not installed (pip install {' '.join(PACKAGES[name])})")
                    continue
                import_s, first_s = cold(name, path)
                evaluate, warm = make(str(path)), {}
                masks[name] = {}
                for kind, expression in EXPRESSIONS.items():
                    times = []
                    for _ in range(CALLS):
                        start = time.perf_counter()
                        masks[name][kind] = np.asarray(evaluate(expression))
                        times.append(time.perf_counter() - start)
                    warm[kind] = statistics.median(times)
                    figures[f"{name}_{kind}_ms_{n_rows}"] = warm[kind] * 1e3
                figures[f"{name}_import_ms_{n_rows}"], figures[f"{name}_first_ms_{n_rows}"] = import_s * 1e3, first_s * 1e3
                numbers = [import_s, first_s, *warm.values()]
                cells = [f"{seconds * 1e3:,.1f}" for seconds in numbers]
                table.append([f"{n_rows:,}", name, *cells, f"{refused(name)} of {len(HOSTILE)}"])
            for kind in EXPRESSIONS:
                first, *others = (found[kind] for found in masks.values())
                assert all(np.array_equal(first, other) for other in others), kind
    columns = ["rows", "library", "import", "first", *(f"warm: {kind}" for kind in EXPRESSIONS), "hostile refused"]
    report("From an expression to a mask of rows, milliseconds", columns, table, {}, figures, given.json)


if __name__ == "__main__":
    main()
