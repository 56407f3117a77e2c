"""Folders of engines that run in this process."""

from __future__ import annotations

from pathlib import Path

from lexite.errors import StorageError


def new_folder(folder: Path, what: str) -> None:
    """Makes a folder for an engine's files.

    Args:
        folder: where; it may be there, and empty.
        what: is to be in it, for messages: ``index of Lucene``.

    Raises:
        StorageError: something else is there, or it cannot be made.
    """
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise StorageError(f"{folder} is not empty. Choose another folder for the {what}.")
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise StorageError(f"{folder} is a file, or lies in one. Choose another folder for the {what}.") from None
    except OSError as error:
        raise StorageError(f"The folder {folder} for the {what} cannot be made: {error.strerror or error}.") from None
