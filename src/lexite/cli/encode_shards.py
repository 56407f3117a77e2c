"""``lexite encode --shard``: one share of documents into a file of terms, from which an index is built without the model."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lexite.cli.arguments import report_skipped, skipped_to_json
from lexite.cli.output import WrongUsage, is_quiet, print_json, say
from lexite.corpus.options import ReadOptions
from lexite.corpus.passages import passages_of
from lexite.corpus.text_fields import field_weights_of
from lexite.errors import CorpusError
from lexite.progress import progress
from lexite.scoring.words import LiteralConfig
from lexite.wording import counted

if TYPE_CHECKING:
    from lexite.terms import LatentTermEncoder

logger = logging.getLogger("lexite")


@dataclass(frozen=True)
class ShardOptions:
    """Options that only shards have a use for.

    Attributes:
        text: whether titles and texts are kept.
        static: whether codes are counted for a static table.
        passages: how texts are cut, as a person writes it.
        field_weight: how much fields of a text count, as a person writes it.
        words: how words are counted.
        read: how sources are read.
    """

    text: bool
    static: bool
    passages: str
    field_weight: Sequence[str] | None
    words: LiteralConfig
    read: ReadOptions

    def settings(self) -> dict[str, Any]:
        """Arguments of :func:`lexite.cluster.encode_shard`.

        Raises:
            ConfigError: passages or weights of fields cannot be as a person wrote them.
        """
        return {
            "literal": self.words,
            "passages": passages_of(self.passages),
            "field_weights": field_weights_of(self.field_weight),
            "store_text": self.text,
            "static": self.static,
            "read": self.read,
        }

    def check_idle(self) -> None:
        """Raises WrongUsage where one is given that has no effect without --shard."""
        given = {
            "--no-text": not self.text,
            "--no-static": not self.static,
            "--passages": self.passages != "auto",
            "--field-weight": bool(self.field_weight),
            "An option of literal words": self.words != LiteralConfig(),
            "--fields": self.read.fields != "all",
            "--field-type": bool(self.read.field_type),
        }
        idle = next((name for name, is_given in given.items() if is_given), None)
        if idle is not None:
            raise WrongUsage(f"{idle} has no effect without --shard. Leave it out.")


def encode_on_ray(
    sources: Sequence[str],
    output: str,
    shards: int,
    options: ShardOptions,
    vocabulary: str,
    loading: Mapping[str, Any],
    *,
    cpus: float,
    gpus: float,
    as_json: bool,
) -> None:
    """Encodes all shards on a cluster of Ray and tells what came of them.

    Args:
        sources: files, folders and patterns that all nodes see.
        output: folder of all shards.
        shards: how many there are.
        options: how they are made.
        vocabulary: its name.
        loading: how it is loaded.
        cpus: cores that a shard takes.
        gpus: GPUs that it takes.
        as_json: whether JSON is printed.

    Raises:
        CorpusError: shards failed; the message names them.
    """
    from lexite.cluster.ray import EncodedShards, encode_shards

    how = options.settings()
    found = EncodedShards()
    with redirect_stdout(sys.stderr), progress("Encoding", shards, "shards", not is_quiet()) as bar:  # Ray prints its own news
        job = encode_shards(sources, output, shards, vocabulary, num_cpus=cpus, num_gpus=gpus, loading=loading, **how)
        for found in job:  # noqa: B007 - the last one counts
            bar.advance(1)
    documents, there = sum(report.documents for report in found.done), sum(report.skipped for report in found.done)
    failed = dict(sorted(found.failed.items()))
    if as_json:
        reasons = {str(number): reason for number, reason in failed.items()}
        counts = {"shards": shards, "was_there": there, "documents": documents}
        print_json({"output": output, **counts, "failed": reasons})
    for number, reason in failed.items():
        logger.warning("Shard %d/%d: %s", number, shards, reason)
    if failed:
        named = ", ".join(map(str, failed))
        raise CorpusError(f"{len(failed)} of {counted(shards, 'shard')} failed: {named}. The others are in {output}.")
    if not as_json:
        say(f"{counted(documents)} in {counted(shards, 'shard')}, {there:,} of which were there: {output}")


def encode_one_shard(
    sources: Sequence[str],
    output: str,
    shard: str,
    options: ShardOptions,
    load: Callable[[], LatentTermEncoder],
    *,
    as_json: bool,
) -> None:
    """Encodes a shard and tells what came of it.

    Args:
        sources: files, folders and patterns.
        output: folder of all shards.
        shard: which one, as a person writes it.
        options: how it is made.
        load: loads the vocabulary.
        as_json: whether JSON is printed.
    """
    from lexite.cluster import Shard, encode_shard

    wanted = Shard.parse(shard)
    how = options.settings()
    report = encode_shard(sources, output, wanted, load(), show_progress=not is_quiet(), **how)
    report_skipped(report.read)
    if as_json:
        counts = {name: getattr(report, name) for name in ("documents", "passages", "postings", "bytes")}
        print_json(
            {
                "output": output,
                "shard": shard,
                "was_there": report.skipped,
                **counts,
                **report.unread,
                **skipped_to_json(report.read),
            }
        )
    elif report.skipped:
        say(f"Shard {wanted} of {output} is there already: {counted(report.documents)}.")
    else:
        terms_each = counted(round(report.postings / max(report.passages, 1)), "term")
        say(f"Shard {wanted}: {counted(report.documents)}, {terms_each} each: {output}")
