"""The classes of Lucene in a JVM beside Python."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lexite.errors import EngineError, MissingExtraError

JARS_VARIABLE = "LEXITE_LUCENE_JARS"
_PACKAGES = {
    "CustomAnalyzer": "analysis.custom",
    "FSDirectory": "store",
    "Document": "document",
    "DoubleDocValuesField": "document",
    "DoublePoint": "document",
    "FeatureField": "document",
    "Field": "document",
    "FieldType": "document",
    "LongPoint": "document",
    "NumericDocValuesField": "document",
    "SortedDocValuesField": "document",
    "StoredField": "document",
    "StringField": "document",
    "DirectoryReader": "index",
    "IndexOptions": "index",
    "IndexWriter": "index",
    "IndexWriterConfig": "index",
    "LogDocMergePolicy": "index",
    "SegmentInfos": "index",
    "Term": "index",
    "BooleanQuery": "search",
    "BoostQuery": "search",
    "IndexSearcher": "search",
    "MatchAllDocsQuery": "search",
    "MatchNoDocsQuery": "search",
    "RegexpQuery": "search",
    "Sort": "search",
    "SortField": "search",
    "TermInSetQuery": "search",
    "TermQuery": "search",
    "TermRangeQuery": "search",
    "BM25Similarity": "search.similarities",
    "BytesRef": "util",
    "Version": "util",
}


class Java:
    """The classes of Lucene, by their names."""

    def __init__(self, jpype: Any) -> None:
        self._jpype = jpype
        for name, package in _PACKAGES.items():
            setattr(self, name, jpype.JClass(f"org.apache.lucene.{package}.{name}"))
        self.Builder = jpype.JClass("org.apache.lucene.search.BooleanQuery$Builder")
        self.Occur = jpype.JClass("org.apache.lucene.search.BooleanClause$Occur")
        self.Store = jpype.JClass("org.apache.lucene.document.Field$Store")
        self.OpenMode = jpype.JClass("org.apache.lucene.index.IndexWriterConfig$OpenMode")
        self.SortType = jpype.JClass("org.apache.lucene.search.SortField$Type")
        self.Path = jpype.JClass("java.nio.file.Path")
        self.HashMap, self.ArrayList = jpype.JClass("java.util.HashMap"), jpype.JClass("java.util.ArrayList")
        self.Long, self.Double = jpype.JClass("java.lang.Long"), jpype.JClass("java.lang.Double")
        self.Exception = jpype.JException

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def longs(self, values: Sequence[int]) -> Any:
        """An array of long."""
        return self._jpype.JArray(self._jpype.JLong)(list(values))

    def doubles(self, values: Sequence[float]) -> Any:
        """An array of double."""
        return self._jpype.JArray(self._jpype.JDouble)(list(values))


def java(jars: str | Path | None = None, jvm: str | Path | None = None) -> Java:
    """The classes of Lucene in the JVM of this process. It is started where there is none; a process has one for its life.

    Args:
        jars: folder with lucene-core and lucene-analysis-common; None: the folder that LEXITE_LUCENE_JARS names.
        jvm: libjvm.so of Java 17 or later for Lucene 9, of Java 21 or later for Lucene 10; None: the one of JAVA_HOME, or of
            the system.

    Raises:
        EngineError: there are no jars, or no JVM that can run them.
        MissingExtraError: jpype1 is not installed.
    """
    try:
        jpype: Any = importlib.import_module("jpype")
    except ImportError:
        raise MissingExtraError("jpype1", "lucene", "Lucene") from None
    if not jpype.isJVMStarted():
        folder = jars or os.environ.get(JARS_VARIABLE)
        found = sorted(map(str, Path(folder).glob("lucene-*.jar"))) if folder else []
        if not found:
            where = f"{folder} has none" if folder else f"name their folder with jars=... or {JARS_VARIABLE}"
            raise EngineError(f"The jars of Lucene are needed, lucene-core and lucene-analysis-common: {where}.")
        try:
            jpype.startJVM(str(jvm or jpype.getDefaultJVMPath()), classpath=found, convertStrings=False)
        except (OSError, jpype.JVMNotFoundException) as error:
            raise EngineError(f"No Java can be started: {error}. Name a libjvm.so with jvm=...") from None
    try:
        return Java(jpype)
    except (TypeError, jpype.JException) as error:
        raise EngineError(
            f"The JVM of this process cannot load Lucene: {error}. Lucene 9 needs Java 11 or later, Lucene 10 Java 21; "
            "and a JVM that was started without the jars stays without them."
        ) from None
