"""The application of a Vespa: a schema for each collection, deployed through its config server.

An application that lexite made gets further schemas. One of somebody else stays as it is: they put the schema in.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

from lexite.engines.forms.base import Collection
from lexite.engines.forms.vespa import MADE_BY, schema, services
from lexite.engines.retrying import Line, RequestFailed
from lexite.engines.vespa_client import VespaClient, content_url
from lexite.errors import EngineError

_TENANT = "/application/v2/tenant/default"
_TYPE = re.compile(r'<document type="(\w+)" mode="index"/>')


class Application:
    """The application behind a config server.

    Args:
        client: sends requests.
        line: on which they are sent again.
        config: address of the config server, ``http://127.0.0.1:19071``.
    """

    def __init__(self, client: VespaClient, line: Line, config: str) -> None:
        self._client, self._line, self.address = client, line, config.rstrip("/")

    def deploy(self, collection: Collection) -> None:
        """Puts the schema of a collection in place, in an application of lexite's.

        Raises:
            EngineError: somebody else's application is there, or Vespa refuses the schema.
        """
        own = f"schemas/{collection.name}.sd"
        active = self._ask("GET", f"{_TENANT}/application/")
        if not (isinstance(active, Sequence) and active and not isinstance(active, str)):
            files = {"services.xml": services([collection.name]), own: schema(collection)}
            self._ask("POST", f"{_TENANT}/prepareandactivate", _zipped(files))
            return
        session = self._session(str(active[0]))
        known = str(self._ask_url("GET", content_url(self.address, session, "services.xml")))
        if MADE_BY not in known:
            raise EngineError(
                f"The application of Vespa at {self.address} was not made by lexite, so it is not changed. Write the schema "
                f"by 'lexite export INDEX --to vespa --name {collection.name} -o FOLDER', put {collection.name}.sd into its "
                "folder schemas and the document into its services.xml, and deploy it. Then leave deploy out of the address."
            )
        names = list(dict.fromkeys([*_TYPE.findall(known), collection.name]))
        for path, text in ((own, schema(collection)), ("services.xml", services(names))):
            self._ask_url("PUT", content_url(self.address, session, path), text.encode(), "text/plain")
        for step in ("prepared", "active"):
            self._ask("PUT", f"{_TENANT}/session/{session}/{step}", b"")

    def _session(self, active: str) -> Any:
        """A new session that begins with what is active."""
        made = self._ask("POST", f"{_TENANT}/session?from={active}", b"", "application/json")
        if not isinstance(made, dict) or "session-id" not in made:
            raise EngineError(
                f"{self.address} does not answer as a config server of Vespa does. Look at 'deploy' in the address."
            )
        return made["session-id"]

    def _ask(self, method: str, path: str, content: bytes | None = None, kind: str = "application/zip") -> Any:
        return self._ask_url(method, f"{self.address}{path}", content, kind)

    def _ask_url(self, method: str, url: str, content: bytes | None = None, kind: str = "application/zip") -> Any:
        return self._line.ask(lambda: self._client.configure(method, url, content, kind))

    def wait(self, there: Callable[[], bool]) -> None:
        """Waits until Vespa serves what was deployed.

        Args:
            there: says whether it does.
        """

        def look() -> None:
            if not there():
                raise RequestFailed(503, "it does not serve the new schema yet")

        self._line.ask(look)


def _zipped(files: dict[str, str]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as package:
        for path, text in files.items():
            package.writestr(path, text)
    return made.getvalue()
