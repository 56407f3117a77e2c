"""``lexite encode --shard``: one share of documents into a file of terms, from which an index is built without the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lexite.cli.arguments import report_skipped, skipped_to_json
from lexite.cli.output import WrongUsage, is_quiet, print_json, say
from lexite.corpus.options import ReadOptions
from lexite.corpus.passages import passages_of
from lexite.corpus.text_fields import field_weights_of
from lexite.scoring.words import LiteralConfig
from lexite.wording import counted

if TYPE_CHECKING:
    from lexite.terms import LatentTermEncoder


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
    cutting, weights = passages_of(options.passages), field_weights_of(options.field_weight)
    report = encode_shard(
        sources,
        output,
        wanted,
        load(),
        literal=options.words,
        passages=cutting,
        field_weights=weights,
        store_text=options.text,
        static=options.static,
        read=options.read,
        show_progress=not is_quiet(),
    )
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
