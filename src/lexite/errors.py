"""Errors that are meant to be read by the person who caused them.

Every error raised on purpose is a :class:`LexiteError`. Its message is one or a few short sentences: what was wrong, where
(file, line, field), and what to do. The command line prints the message alone and exits with status 1 (2 for wrong usage).
Messages name options as Python has them, ``overwrite=True`` or ``vocabulary=...``; the command line prints ``--overwrite``.
"""

from __future__ import annotations


class LexiteError(Exception):
    """Base of all errors that lexite raises on purpose."""


class CorpusError(LexiteError):
    """A document, query or qrels source cannot be read, or a record in it is unusable."""


class ConfigError(LexiteError):
    """An option, a recipe key or a combination of them is not valid."""


class BackboneError(LexiteError):
    """The dense model cannot be found, loaded or used."""


class ModelError(LexiteError):
    """A saved vocabulary or sparse autoencoder is missing, damaged or does not fit."""


class TrainingError(LexiteError):
    """Training cannot start, go on or be resumed."""


class IndexFormatError(LexiteError):
    """An index folder is missing, damaged, of an unknown format, or made by another vocabulary."""


class FilterError(LexiteError):
    """A filter cannot be read, or names a field or a value that the documents of the index do not have."""


class QueryError(LexiteError):
    """A query asks for what the index cannot tell, or for nothing."""


class StorageError(LexiteError):
    """A file or folder cannot be written: full disk, missing permission, or something else is in its place."""


class EngineError(LexiteError):
    """A search engine cannot be reached, lacks the collection, or refuses what it is asked."""


class MissingExtraError(LexiteError):
    """An optional dependency is not installed.

    Args:
        package: the import that failed.
        extra: the extra of lexite that brings it.
        purpose: what needed it, as the beginning of a sentence ("Reading Parquet").
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        self._given = package, extra, purpose
        super().__init__(f"{purpose} needs the package '{package}', which is not installed. Run: pip install 'lexite[{extra}]'")

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str, str]]:
        return MissingExtraError, self._given  # so that a worker's error reaches whoever waits for it


class ArgumentError(LexiteError, TypeError):
    """An argument of a Python function is of the wrong kind, such as one text where a list of texts is wanted."""
