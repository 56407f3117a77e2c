"""A vocabulary labelled into a folder: what is interrupted is kept beside it, and gone on with."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lexite.errors import StorageError
from lexite.files import check_output_folder, storage_errors
from lexite.labelling.config import LabelConfig
from lexite.labelling.maker import LabelMaker
from lexite.labelling.run import label_vocabulary
from lexite.labelling.unfinished import Unfinished, settings_of
from lexite.locking import Busy, WriterLock
from lexite.terms.encoder import LatentTermEncoder
from lexite.terms.manifest import MANIFEST
from lexite.terms.vocabulary import Vocabulary

logger = logging.getLogger("lexite")


def label_into(
    encoder: LatentTermEncoder,
    documents: Iterable[str],
    output: str | Path,
    config: LabelConfig | None = None,
    *,
    source: str = "",
    reading: Mapping[str, Any] | None = None,
    maker: LabelMaker | None = None,
    overwrite: bool = False,
    show_progress: bool = False,
) -> Vocabulary:
    """Labels a vocabulary, as :func:`label_vocabulary` does, and saves it.

    What is done is kept in ``OUTPUT.unfinished`` until the vocabulary is saved. A labelling that was stopped goes on there when
    it is called again in the same way, and saves what it would have saved.

    Args:
        encoder: the vocabulary.
        documents: texts; a stream, read once. To go on, they are given again from the beginning.
        output: folder of the new vocabulary.
        config: how much text, and what is kept of it.
        source: what the text is, for people.
        reading: what decides which texts are read, as JSON values; compared when a labelling goes on.
        maker: suggests further names.
        overwrite: replace a vocabulary that is there, and begin anew where a labelling with other settings was stopped.
        show_progress: show progress on stderr.

    Raises:
        CorpusError: there is no text.
        BackboneError: the model fails, or gives NaN.
        StorageError: the folder holds something else, a labelling with other settings was stopped, another process labels into
            it, or nothing can be written.
    """
    folder, config = Path(output), config or LabelConfig()
    check_output_folder(folder, MANIFEST, overwrite=overwrite)
    named = folder if folder.name not in ("", "..") else folder.resolve()
    place = named.with_name(f"{named.name}.unfinished")
    with _alone(place):
        kept = Unfinished.begin(place, {**settings_of(encoder, config, maker), **(reading or {})}, overwrite=overwrite)
        try:
            found = label_vocabulary(
                encoder, documents, config, source=source, maker=maker, kept=kept, show_progress=show_progress
            )
            encoder.replaced(vocabulary=found).save_pretrained(
                folder,
                overwrite=overwrite,
                dtype="fp32" if encoder.sae.weight_dtype.itemsize == 4 else "bf16",
                encoder_only=encoder.sae.stored_decoder is None,
            )
        except BaseException:
            if kept.holds_something:
                logger.warning("What was done is kept in %s. The same command goes on there.", place)
            raise
        kept.remove()
    return found


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Keeps others away from a folder of unfinished work, by a hidden file beside it.

    Raises:
        StorageError: another labelling goes on there, or nothing can be written beside it.
    """
    with storage_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
    name = f".{place.name}.lock"
    try:
        lock = WriterLock(place.parent, name=name)
    except Busy:
        raise StorageError(
            f"Another labelling keeps its work in {place}. Wait until it is done, or choose another output folder."
        ) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (place.parent / name).unlink()
        lock.release()
