"""Steps of a build: the encoder, the folder, and the documents that go into the index."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexite.errors import ConfigError
from lexite.files import storage_errors
from lexite.index import BM25Index
from lexite.search.indexing import Indexer, index_documents
from lexite.search.queries import configured_encoder, load_encoder

if TYPE_CHECKING:
    from lexite.corpus import Document
    from lexite.search.sources import Sources
    from lexite.terms import LatentTermEncoder
    from lexite.terms.config import Profile


def encoder_to_build_with(
    vocabulary: str | Path | LatentTermEncoder,
    *,
    prefix: int | None,
    profile: Profile | None,
    terms: Mapping[str, Any] | None,
    **model: Any,
) -> LatentTermEncoder:
    """The encoder of an index that is built; arguments and errors as for ``Searcher.build``."""
    from lexite.terms import LatentTermEncoder

    if not isinstance(vocabulary, LatentTermEncoder):
        return load_encoder(vocabulary, prefix=prefix, profile=profile, terms=terms, **model)
    if model:
        raise ConfigError(f"The encoder is loaded already, so {', '.join(model)} can have no effect. Leave it out.")
    return configured_encoder(vocabulary, prefix=prefix, profile=profile, terms=terms)


def build(
    indexer: Indexer, documents: Iterable[Document], sources: Sources | None, began: int, *, show_progress: bool
) -> BM25Index:
    """Takes documents into an index with the table of their files, commits, and opens the index.

    Args:
        indexer: of the index, which is new.
        documents: read from the sources.
        sources: where they come from.
        began: when the build began, in nanoseconds.
        show_progress: whether progress is shown on stderr.
    """
    from lexite.search.sync_plan import files_of_build

    with indexer:
        index_documents(indexer, documents, show_progress=show_progress)
        indexer.writer.set_files(files_of_build(_names(sources), indexer.writer, began))
        indexer.commit()
    return BM25Index.open(indexer.writer.folder)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for an index that is given none. It stays when the block ends without an error; see :func:`remove_own`."""
    with storage_errors(tempfile.gettempdir()):
        folder = tempfile.mkdtemp(prefix="lexite-")
    try:
        yield Path(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def remove_own(folder: Path, process: int) -> None:
    """Removes a temporary folder, in the process that made it: a forked child leaves its parent's alone."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def _names(sources: Sources | None) -> list[str | Path]:
    """Sources that are files and folders; none where they are documents, or a stream that was read."""
    listed = [sources] if isinstance(sources, (str, Path)) else sources if isinstance(sources, (list, tuple)) else []
    return [each for each in listed if isinstance(each, (str, Path))]
