"""Servers that are not what an address says, that refuse whoever asks, or whose certificates nobody knows."""

from __future__ import annotations

import base64
import contextlib
import datetime
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lexite.cli import main
from lexite.engines import connect
from lexite.engines.live import LiveEngine
from lexite.engines.retrying import Patience
from lexite.errors import EngineError, LexiteError

ADDRESSES = {
    "opensearch": "opensearch{way}://{who}{host}/x",
    "elasticsearch": "elasticsearch{way}://{who}{host}/x",
    "solr": "solr{way}://{who}{host}/solr/x",
    "qdrant": "qdrant{way}://{who}{host}/x",
    "vespa": "vespa{way}://{who}{host}/x",
}
MODULES = {
    "opensearch": "opensearchpy",
    "elasticsearch": "elasticsearch",
    "solr": "httpx",
    "qdrant": "qdrant_client",
    "vespa": "vespa",
}
GOOD: Mapping[str, tuple[int, Any]] = {  # what engines are asked first, where they have no collection
    "/": (200, {"version": {"number": "3.3.2", "distribution": "opensearch"}}),
    "/x/_mapping": (404, {"error": {"reason": "no such index [x]"}, "status": 404}),
    "/solr/admin/info/system": (200, {"lucene": {}, "mode": "solrcloud"}),
    "/solr/admin/collections": (200, {"collections": []}),
    "/document/v1/x/x/docid/%3Dlexite": (400, {"pathId": "/document/v1/", "message": "Document type 'x' does not exist"}),
    "/collections/x_terms/exists": (200, {"result": {"exists": False}, "status": "ok", "time": 0.0}),
}


@dataclass
class Stub:
    """A server of which each answer is known.

    Attributes:
        status, kind, body: of every answer; None: those of :data:`GOOD`.
        wants: header and value that a request must have.
        seen: how many requests came.
    """

    status: int = 200
    kind: str = "application/json"
    body: bytes | None = None
    wants: tuple[str, str] | None = None
    seen: int = 0
    host: str = ""
    product: Mapping[str, str] = field(default_factory=lambda: {"X-Elastic-Product": "Elasticsearch"})

    def answer(self, path: str, headers: Mapping[str, str]) -> tuple[int, str, bytes]:
        self.seen += 1
        if self.wants is not None and headers.get(self.wants[0]) != self.wants[1]:
            return 401, "application/json", b'{"error": {"reason": "who are you"}, "status": 401}'
        if self.body is not None:
            return self.status, self.kind, self.body
        status, value = GOOD.get(path.partition("?")[0], (404, {}))
        return status, "application/json", json.dumps(value).encode()


@contextlib.contextmanager
def serving(stub: Stub, tls: ssl.SSLContext | None = None) -> Iterator[Stub]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            status, kind, body = stub.answer(self.path, self.headers)  # type: ignore[arg-type]
            self.send_response(status)
            for name, value in {"content-type": kind, "content-length": str(len(body)), **stub.product}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_DELETE = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:  # handshakes that a client breaks off
            pass

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    stub.host = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()


def address(engine: str, stub: Stub, who: str = "", *, way: str = "", options: str = "") -> str:
    return ADDRESSES[engine].format(host=stub.host, who=who, way=way) + options


@pytest.fixture(params=list(ADDRESSES))
def engine(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(MODULES[request.param])
    return str(request.param)


WRONG = {
    "a page for people": (200, "text/html", b"<html><body>Welcome</body></html>", "does not answer as such an engine does"),
    "nothing": (200, "application/json", b"", ""),
    "an empty object": (200, "application/json", b"{}", ""),
    "a list": (200, "application/json", b"[]", "does not answer as such an engine does"),
    "half a JSON": (200, "application/json", b'{"version":', "does not answer as such an engine does"),
    "its own fault": (500, "application/json", b'{"error": {"reason": "boom"}}', "refused a request (500): "),
    "a fault for people": (500, "text/html", b"<html>oh no</html>", "refused a request (500): "),
    "an odd error": (400, "application/json", b'{"error": ["a", 1]}', "refused a request (400): "),
    "not found": (404, "text/html", b"<html>not here</html>", ""),
    "busy": (429, "application/json", b'{"error": "slow down"}', "did not answer in 1 attempts: "),
    "starting": (503, "text/plain", b"starting", "did not answer in 1 attempts: "),
    "moved": (301, "text/html", b"<html>elsewhere</html>", ""),
    "nobody": (401, "text/plain", b"", "It wants to know who asks"),
    "not for you": (403, "text/plain", b"Forbidden", "may not do that"),
}


@pytest.mark.parametrize("wrong", list(WRONG))
def test_what_a_server_says_wrongly_is_an_error_for_people(engine: str, wrong: str) -> None:
    status, kind, body, message = WRONG[wrong]
    with serving(Stub(status, kind, body)) as stub, pytest.raises(EngineError) as refused:
        there = _patient(engine, stub, Patience(1))
        assert not there.exists()  # as a status of 404 says
        _ = there.record
    said = str(refused.value)
    assert message in said and stub.host in said and "secret" not in said
    assert "\n" not in said and len(said) < 800


@pytest.mark.parametrize("engine", ["opensearch", "qdrant"])
def test_the_command_line_ends_without_a_traceback(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip(MODULES[engine])
    with serving(Stub(200, "text/html", b"<html>Welcome</html>")) as stub:
        assert main(["search", address(engine, stub), "a", "question", "--static"]) == 1
    captured = capsys.readouterr()
    assert (
        captured.out == "" and captured.err.startswith(f"Error: {engine}://127.0.0.1") and "fault in lexite" not in captured.err
    )


def test_another_engine_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("opensearchpy")
    pytest.importorskip("elasticsearch")
    elastic = {"version": {"number": "8.19.0"}, "tagline": "You Know, for Search"}
    with serving(Stub(body=json.dumps(elastic).encode())) as stub:
        with pytest.raises(EngineError, match="it is Elasticsearch, whose addresses begin with elasticsearch://"):
            connect(address("opensearch", stub))
        stub.product = {}
        with pytest.raises(EngineError, match="it does not call itself Elasticsearch"):
            connect(address("elasticsearch", stub)).exists()


def test_a_user_and_a_password_are_sent(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if engine == "qdrant":
        pytest.skip("Qdrant has keys alone")
    user, password = "me", "p@ß: w/"
    told = base64.b64encode(f"{user}:{password}".encode()).decode()
    with serving(Stub(wants=("Authorization", f"Basic {told}"))) as stub:
        assert not connect(address(engine, stub, "me:p%40%C3%9F%3A%20w%2F@")).exists()
        with pytest.raises(EngineError, match=r"\(401\): .*who are you.* It wants to know who asks"):
            connect(address(engine, stub, "me:wrong@")).exists()
        monkeypatch.setenv("LEXITE_ENGINE_PASSWORD", password)
        assert not connect(address(engine, stub, "me@")).exists()
        with pytest.raises(EngineError, match="401"):
            connect(address(engine, stub)).exists()  # who is not named is not given the password


@pytest.mark.parametrize(
    ("engine", "header", "who"),
    [
        ("elasticsearch", ("Authorization", "ApiKey k3y=="), ""),
        ("qdrant", ("api-key", "k3y=="), "k3y%3D%3D@"),
        ("vespa", ("Authorization", "Bearer k3y=="), ""),
    ],
)
def test_a_key_is_sent(engine: str, header: tuple[str, str], who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(MODULES[engine])
    with serving(Stub(wants=header)) as stub:
        if who:
            assert not connect(address(engine, stub, who)).exists()
        assert not connect(address(engine, stub, options="?api_key=k3y%3D%3D")).exists()
        with pytest.raises(EngineError, match="401"):
            connect(address(engine, stub, options="?api_key=other")).exists()
        monkeypatch.setenv("LEXITE_ENGINE_API_KEY", "k3y==")
        assert not connect(address(engine, stub, options="?api_key")).exists()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate of 127.0.0.1 that nobody knows, and a server's context with it."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).add_extension(names, False)
    made = made.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
    folder = tmp_path_factory.mktemp("certificate")
    (folder / "cert.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return folder / "cert.pem", context


def test_certificates(engine: str, certificate: tuple[Path, ssl.SSLContext], caplog: pytest.LogCaptureFixture) -> None:
    path, context = certificate
    with serving(Stub(), context) as stub:
        with pytest.raises(EngineError, match=f"{engine}.*cannot be reached: .*(?i:certificate)"):
            connect(address(engine, stub, way="+https")).exists()
        assert not connect(address(engine, stub, way="+https", options=f"?ca={path}")).exists()
        assert not connect(address(engine, stub, way="+https", options="?verify=0")).exists()
        assert "certificate of the server is not looked at" in caplog.text
        with pytest.raises(LexiteError, match="no certificates in PEM"):
            connect(address(engine, stub, way="+https", options=f"?ca={path.with_name('key.pem')}"))
    with serving(Stub()) as stub, pytest.raises(EngineError, match="cannot be reached"):
        connect(address(engine, stub, way="+https")).exists()


def test_a_slow_server_is_asked_again(engine: str) -> None:
    waits: list[float] = []
    busy = Stub(503, "text/plain", b"starting")
    with serving(busy) as stub:

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            stub.body = None if len(waits) == 2 else stub.body

        assert not _patient(engine, stub, Patience(sleep=sleep)).exists()
    assert waits == [0.5, 1.0]


def _patient(engine: str, stub: Stub, patience: Patience) -> LiveEngine:
    url = f"http://me:secret@{stub.host}" if engine != "qdrant" else f"http://{stub.host}"
    if engine == "opensearch":
        from lexite.engines.opensearch import OpenSearchEngine

        return OpenSearchEngine(url, "x", patience=patience)
    if engine == "elasticsearch":
        from lexite.engines.elasticsearch import ElasticsearchEngine

        return ElasticsearchEngine(url, "x", patience=patience)
    if engine == "solr":
        from lexite.engines.solr import SolrEngine

        return SolrEngine(f"{url}/solr", "x", patience=patience)
    if engine == "vespa":
        from lexite.engines.vespa import VespaEngine

        return VespaEngine(url, "x", patience=patience)
    from lexite.engines.qdrant import QdrantEngine
    from lexite.engines.qdrant_points import ClientPoints

    return QdrantEngine(ClientPoints(url, patience=patience, check_compatibility=False), "x")
