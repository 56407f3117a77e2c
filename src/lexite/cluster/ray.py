"""Ray: rows of a dataset into rows of terms over a pool of actors, and shards of sources as tasks of a cluster."""

from __future__ import annotations

import importlib
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lexite.cluster.rows import RowEncoding, encode_table, settings_for
from lexite.cluster.shards import ShardReport, encode_shard
from lexite.cluster.table import PURPOSE
from lexite.corpus.sharding import Shard
from lexite.errors import ConfigError, LexiteError, MissingExtraError, StorageError
from lexite.index.fields import arrow

logger = logging.getLogger("lexite")
DOCUMENTS_AT_ONCE = 256
RETRIES = 3
STALLED = 1800.0


class RowEncoder:
    """What an actor runs: it loads the model once, and encodes batch after batch.

    Args:
        how: how rows are encoded.
    """

    def __init__(self, how: RowEncoding) -> None:
        self._how = how
        self._settings = settings_for(how, how.encoder())

    def __call__(self, table: Any) -> Any:
        """Encodes a batch of rows, a table of Arrow."""
        return encode_table(table, self._how, self._settings)


def encode(
    dataset: Any,
    vocabulary: str | Path,
    *,
    concurrency: int | tuple[int, int] = 1,
    num_cpus: float = 1.0,
    num_gpus: float = 0.0,
    documents_at_once: int = DOCUMENTS_AT_ONCE,
    **how: Any,
) -> Any:
    """Encodes the rows of a dataset of Ray.

    Each actor loads the vocabulary once. An actor whose node is lost is started again elsewhere, and its batch is encoded
    again. Actors keep their cores: leave some free for the tasks that read, or the job stalls.

    Args:
        dataset: with a column of ids and one of texts. Other columns become fields.
        vocabulary: a folder that all nodes see, or a name on the Hugging Face hub.
        concurrency: how many actors, or the least and the most.
        num_cpus: cores of an actor.
        num_gpus: GPUs of an actor; several may share one (0.5).
        documents_at_once: rows that go to an actor together. The model bounds the tokens of its own batches.
        **how: fields of :class:`lexite.cluster.rows.RowEncoding`, such as ``text_column="body"``.

    Returns:
        A dataset, lazy as all of Ray's are: a row for each passage, or one row with an ``error`` for a row that cannot be
        encoded.

    Raises:
        MissingExtraError: ray or pyarrow is not installed.
    """
    _ray()
    arrow(PURPOSE)
    chosen = RowEncoding(str(vocabulary), **how)
    least, most = (concurrency, concurrency) if isinstance(concurrency, int) else concurrency
    data = importlib.import_module("ray.data")
    return dataset.map_batches(
        RowEncoder,
        fn_constructor_args=(chosen,),
        batch_format="pyarrow",
        batch_size=documents_at_once,
        compute=data.ActorPoolStrategy(min_size=least, max_size=most),
        num_cpus=num_cpus,
        num_gpus=num_gpus,
    )


@dataclass(frozen=True)
class EncodedShards:
    """What became of the shards of a job.

    Attributes:
        done: reports of those that are there.
        failed: by number, why the others are not.
    """

    done: list[ShardReport] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)


def encode_shards(
    sources: Sequence[str | Path],
    out: str | Path,
    n_shards: int,
    vocabulary: str | Path,
    *,
    num_cpus: float = 1.0,
    num_gpus: float = 0.0,
    loading: Mapping[str, Any] | None = None,
    stalled_seconds: float = STALLED,
    **how: Any,
) -> Iterator[EncodedShards]:
    """Encodes all shards of sources as tasks of Ray, each by the function of ``lexite encode --shard``.

    Shards that are there already are left as they are, so that a job that was ended goes on where it stopped. A task whose
    node is lost runs again on another one, three times at most. A shard that fails is named, and the others go on.

    Args:
        sources: files, folders and patterns that all nodes see under the same names.
        out: a folder that all nodes see.
        n_shards: how many shards there are.
        vocabulary: a folder that all nodes see, or a name on the Hugging Face hub.
        num_cpus: cores of a task.
        num_gpus: GPUs of a task; several may share one (0.5).
        loading: how the vocabulary is loaded (:class:`lexite.cluster.rows.RowEncoding`).
        stalled_seconds: the job is given up where no shard was finished for so long.
        **how: arguments of :func:`lexite.cluster.encode_shard`.

    Yields:
        After each shard, what was done and what failed so far.

    Raises:
        MissingExtraError: ray is not installed.
        ConfigError: the number of shards is less than 1.
        StorageError: no shard was finished for ``stalled_seconds``; the message has the numbers of those that are missing.
    """
    if n_shards < 1:
        raise ConfigError(f"There are {n_shards} shards, but there must be at least 1.")
    ray = _ray()
    _connect(ray)
    task = ray.remote(num_cpus=num_cpus, num_gpus=num_gpus, max_retries=RETRIES)(_one_shard)
    encoding = RowEncoding(str(vocabulary), loading=dict(loading or {}))
    given = [str(source) for source in sources], str(out)
    waiting = {task.remote(*given, Shard(number, n_shards), encoding, how): number for number in range(n_shards)}
    found, last = EncodedShards(), time.monotonic()
    while waiting:
        ready, _ = ray.wait(list(waiting), num_returns=1, timeout=min(stalled_seconds, 60.0))
        if not ready and time.monotonic() - last > stalled_seconds:
            for reference in waiting:
                ray.cancel(reference, force=True)
            raise StorageError(_stalled(ray, sorted(waiting.values()), n_shards, stalled_seconds))
        for reference in ready:
            number, last = waiting.pop(reference), time.monotonic()
            try:
                result = ray.get(reference)
            except ray.exceptions.RayTaskError as problem:  # an error that is no LexiteError
                result = str(problem.cause)
            except ray.exceptions.RayError as problem:
                result = f"Its worker was lost {RETRIES + 1} times: {str(problem).splitlines()[0]}"
            if isinstance(result, ShardReport):
                found.done.append(result)
            else:
                found.failed[number] = result
            yield found


def _one_shard(sources: list[str], out: str, shard: Shard, encoding: RowEncoding, how: Mapping[str, Any]) -> ShardReport | str:
    """Encodes a shard on a worker; gives its report, or what was wrong."""
    try:
        return encode_shard(sources, out, shard, encoding.encoder(), **how)
    except LexiteError as problem:
        return str(problem)


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise MissingExtraError("ray", "ray", "Encoding with Ray") from None


def _connect(ray: Any) -> None:
    """Connects to the cluster of the environment (RAY_ADDRESS), or starts one on this machine alone.

    That Ray reports no usage to anybody, unless the environment asks for it.
    """
    if not ray.is_initialized():
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(log_to_driver=False, include_dashboard=False)


def _stalled(ray: Any, missing: list[int], count: int, seconds: float) -> str:
    free = {name: amount for name, amount in ray.available_resources().items() if name in ("CPU", "GPU")}
    named = ", ".join(map(str, missing))
    return (
        f"No shard was finished for {seconds:,.0f} s. Missing of {count}: {named}. Ray has free: {free}. "
        "Look whether tasks ask for more than a node has, and start the command again: what is there stays."
    )
