"""The jars of Lucene for tests: from Maven, once, into a folder of the user's cache."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
from pathlib import Path

from engines_wanted import absent

LUCENE_9, LUCENE_10 = "9.12.3", "10.3.2"
_POM = Path(__file__).parent / "lucene" / "pom.xml"


def jars(version: str) -> Path:
    """A folder with the jars of a version."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lexite-tests" / f"lucene-{version}"
    if not list(cache.glob("lucene-core-*.jar")):
        if shutil.which("mvn") is None:
            absent("Maven is not installed, which fetches the jars of Lucene")
        fresh = cache.with_name(f"{cache.name}.{os.getpid()}")
        command = ["mvn", "-q", "-B", "-f", str(_POM), "dependency:copy-dependencies", f"-Dlucene={version}"]
        done = subprocess.run([*command, f"-DoutputDirectory={fresh}"], capture_output=True, text=True, check=False)
        if done.returncode:
            absent(f"Maven could not fetch the jars of Lucene {version}: {done.stdout[-300:]}")
        if not cache.exists():
            fresh.rename(cache)
        else:
            shutil.rmtree(fresh)
    return cache


def libjvm(at_least: int) -> Path:
    """The libjvm.so of a Java of at least some version: of LEXITE_JAVA_HOME, JAVA_HOME, or one that the system has."""
    homes = [os.environ.get(name, "") for name in ("LEXITE_JAVA_HOME", "JAVA_HOME")]
    for home in [*homes, *sorted(glob.glob("/usr/lib/jvm/*"))]:
        library = Path(home) / "lib" / "server" / "libjvm.so"
        if home and library.exists() and _version(Path(home)) >= at_least:
            return library
    absent(f"Java {at_least} or later is not installed")


def _version(home: Path) -> int:
    """Of Java, as the file ``release`` of its folder says it."""
    release = home / "release"
    for line in release.read_text().splitlines() if release.exists() else ():
        if line.startswith("JAVA_VERSION="):
            return int(line.split('"')[1].split(".")[0])
    return 0
