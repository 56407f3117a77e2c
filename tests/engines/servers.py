"""Real search servers for tests, from the jars of Maven Central, on loopback ports that are free.

A server is a process with a pipe to its standard input. It ends when the pipe closes, so that it ends with the tests however
these end. Run as a program, this file starts one and shows its address::

    python tests/engines/servers.py opensearch3
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

NODES = Path(__file__).with_name("nodes")
BUILD = Path(__file__).resolve().parents[2] / "build" / "engines"
REQUIRED = "LEXITE_ENGINES_REQUIRED"
HEAP = "512m"
STARTED_WITHIN, BUILT_WITHIN = 180.0, 1200.0  # seconds
_JAVA: dict[str, tuple[int, int]] = {  # versions of Java: at least, and below
    "opensearch2": (17, 24),
    "opensearch3": (21, 99),
    "elasticsearch8": (17, 24),
    "solr9": (17, 24),
}
_FLAGS = {  # what replaces the security manager that these servers ask for
    "opensearch2": ["-Djava.security.manager=allow"],
    "elasticsearch8": ["-Djava.security.manager=allow"],
    "solr9": [
        "-Djetty.host=127.0.0.1",
        "-DzkRun",
        "-Dsolr.default.confdir={home}/configsets/_default/conf",
        "-Djetty.port={port}",
    ],
}


class ServerUnavailable(Exception):
    """A server cannot be started here; the message says why."""


@dataclass
class Server:
    """A running server.

    Attributes:
        kind: a folder of ``nodes``.
        url: its address.
        process: it.
        home: its folder.
        command: that started it.
    """

    kind: str
    url: str
    process: subprocess.Popen[bytes]
    home: Path
    command: list[str]

    def kill(self) -> None:
        """Ends it at once, as a power cut would."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Starts it again, with what it had stored."""
        self.process = _process(self.command, self.home)
        _wait(self)

    def stop(self) -> None:
        """Ends it and removes its folder."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
        shutil.rmtree(self.home, ignore_errors=True)


@dataclass
class Servers:
    """All servers of a run.

    Attributes:
        running: by kind.
    """

    running: dict[str, Server] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def url(self, kind: str) -> str:
        """The address of a server, which is started when it is first asked for."""
        if kind in self.failed:
            raise ServerUnavailable(self.failed[kind])
        if kind not in self.running or self.running[kind].process.poll() is not None:
            try:
                (self.running[kind],) = start(kind)
            except ServerUnavailable as error:
                self.failed[kind] = str(error)
                raise
        return self.running[kind].url

    def stop(self) -> None:
        """Ends all of them."""
        while self.running:
            self.running.popitem()[1].stop()


def required() -> bool:
    """Whether a server that cannot be started is a failure; else its tests are skipped."""
    return bool(os.environ.get(REQUIRED))


def java_home(kind: str) -> Path:
    """A Java that a kind of server runs on.

    Raises:
        ServerUnavailable: there is none.
    """
    least, below = _JAVA[kind]
    named = [os.environ[name] for name in ("LEXITE_JAVA_HOME", "JAVA_HOME") if os.environ.get(name)]
    on_path = shutil.which("java")
    places = [Path(each) for each in named] + ([Path(on_path).resolve().parents[1]] if on_path else [])
    for folder in (Path("/usr/lib/jvm"), Path("/Library/Java/JavaVirtualMachines"), Path("/opt")):
        places += sorted(folder.glob("*")) + sorted(folder.glob("*/Contents/Home"))
    for place in places:
        version = _java_version(place)
        if version is not None and least <= version < below and (place / "bin" / "javac").exists():
            return place
    raise ServerUnavailable(f"{kind} needs a JDK of version {least} or later, below {below}, and none was found")


def _java_version(home: Path) -> int | None:
    try:
        found = re.search(r'JAVA_VERSION="(\d+)', (home / "release").read_text(encoding="utf-8"))
    except OSError:
        return None
    return int(found.group(1)) if found else None


def built(kind: str) -> Path:
    """The folder with a launcher and the jars of a server; Maven makes it once, and again when its sources change.

    Raises:
        ServerUnavailable: there is no Maven, or it failed.
    """
    source, home = NODES / kind, java_home(kind)
    digest = hashlib.sha256()
    for path in sorted(each for each in source.rglob("*") if each.is_file()):
        digest.update(path.relative_to(source).as_posix().encode() + path.read_bytes())
    place = BUILD / f"{kind}-{digest.hexdigest()[:12]}"
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / f"{kind}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another worker may be at it
        if (place / "done").exists():
            return place
        if shutil.which("mvn") is None:
            raise ServerUnavailable(f"{kind} comes from Maven, and there is no mvn")
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(source, place)
        command = [
            "mvn",
            "-q",
            "-B",
            "-Dstyle.color=never",
            "compile",
            "dependency:copy-dependencies",
            "-DoutputDirectory=jars",
        ]
        try:
            ran = subprocess.run(
                command,
                cwd=place,
                env={**os.environ, "JAVA_HOME": str(home)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=BUILT_WITHIN,
            )
        except subprocess.TimeoutExpired:
            raise ServerUnavailable(f"Maven did not finish {kind} in {BUILT_WITHIN:.0f} s") from None
        if ran.returncode:
            said = (ran.stdout + ran.stderr).decode(errors="replace").strip()
            raise ServerUnavailable(f"Maven could not build {kind}: {said[-800:]}")
        (place / "done").touch()
    return place


def start(kind: str, n_nodes: int = 1) -> list[Server]:
    """Starts a server, or several nodes of one cluster, and waits until all answer.

    Raises:
        ServerUnavailable: they cannot be built or started.
    """
    place, java = built(kind), java_home(kind) / "bin" / "java"
    ports = free_ports(2 * n_nodes)
    names = [f"n{number}" for number in range(1, n_nodes + 1)]
    seeds = ",".join(f"127.0.0.1:{port}" for port in ports[n_nodes:])
    servers = []
    for name, http, transport in zip(names, ports[:n_nodes], ports[n_nodes:], strict=True):
        home = Path(tempfile.mkdtemp(prefix=f"lexite-{kind}-"))
        (home / "config").mkdir()
        if (place / "home").is_dir():
            shutil.copytree(place / "home", home, dirs_exist_ok=True)
        launcher = place
        if kind == "elasticsearch8" and not all(each.stat().st_mode & 0o001 for each in (place, *place.parents)):
            launcher = home / "launcher"  # where the user that it runs as may enter
            shutil.copytree(place, launcher)
        command = [str(java), "-Xms256m", f"-Xmx{HEAP}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        command += [flag.format(home=home, port=http) for flag in _FLAGS.get(kind, [])]
        command += [f"-Dsolr.log.dir={home}", "-cp", f"{launcher / 'target' / 'classes'}:{launcher / 'jars'}/*", "Launch"]
        command += [str(home), name, str(http), str(transport), seeds, ",".join(names)]
        run = _as_nobody(command, home) if kind == "elasticsearch8" else command
        process = _process(run, home)
        path = "/solr" if kind.startswith("solr") else ""
        servers.append(Server(kind, f"http://127.0.0.1:{http}{path}", process, home, run))
    try:
        for server in servers:
            _wait(server)
    except BaseException:
        for server in servers:
            server.stop()
        raise
    return servers


def _process(command: list[str], home: Path) -> subprocess.Popen[bytes]:
    with open(home / "server.log", "wb") as log:
        return subprocess.Popen(
            command,
            cwd=home,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for pytest, which then closes the pipe
        )


def _as_nobody(command: Sequence[str], home: Path) -> list[str]:
    """Elasticsearch refuses to run as root."""
    if os.geteuid():
        return list(command)
    if shutil.which("setpriv") is None:
        raise ServerUnavailable("elasticsearch8 refuses to run as root, and there is no setpriv to change the user")
    shutil.chown(home, "nobody")
    shutil.chown(home / "config", "nobody")
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *command]


def _wait(server: Server) -> None:
    log, began = server.home / "server.log", time.monotonic()
    while time.monotonic() - began < STARTED_WITHIN:
        if re.search(rb"^started$", log.read_bytes(), re.MULTILINE):
            return
        if server.process.poll() is not None:
            break
        time.sleep(0.2)
    said = log.read_text(encoding="utf-8", errors="replace").strip()
    raise ServerUnavailable(f"{server.kind} did not start: {said[-800:]}")


def free_ports(n: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


@contextlib.contextmanager
def cluster(kind: str, n_nodes: int) -> Iterator[list[Server]]:
    """Nodes of one cluster, which end with the block."""
    servers = start(kind, n_nodes)
    try:
        yield servers
    finally:
        for server in servers:
            server.stop()


if __name__ == "__main__":
    (running,) = start(sys.argv[1])
    print(f"{running.url} (process {running.process.pid}); Enter ends it", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        input()
    running.stop()
