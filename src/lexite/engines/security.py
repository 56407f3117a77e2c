"""What an address says of security: who asks, and which certificates of a server are believed.

User and password stand before the host. What should not stand in a command line comes from the environment: the password of a
user that is named alone, and the key of an ``api_key`` that is named without a value.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lexite.engines.addresses import Address
from lexite.errors import ConfigError

logger = logging.getLogger(__name__)
PASSWORD, API_KEY = "LEXITE_ENGINE_PASSWORD", "LEXITE_ENGINE_API_KEY"
"""Variables of the environment."""
TLS = ("ca", "verify")
"""Options of an address about certificates."""


@dataclass(frozen=True)
class Security:
    """How a server is asked, beside the user and the password in its address.

    Attributes:
        ca: file with the certificates that are believed, in PEM; None: those of the system.
        verify: whether the server has to show such a certificate.
        api_key: a key that is sent with each request; None: none.
    """

    ca: str | None = None
    verify: bool = True
    api_key: str | None = None

    def tls(self, ca: str, verify: str) -> dict[str, Any]:
        """What is other than usual, by the names that a client has for it.

        >>> Security(verify=False).tls("ca_certs", "verify_certs")
        {'verify_certs': False}
        """
        known = {} if self.ca is None else {ca: self.ca}
        return known if self.verify else {**known, verify: False}

    def httpx_verify(self) -> dict[str, Any]:
        """What is other than usual, as ``httpx`` takes it."""
        if not self.verify:
            return {"verify": False}
        return {} if self.ca is None else {"verify": ssl.create_default_context(cafile=self.ca)}


def with_password(address: Address, environment: Mapping[str, str] = os.environ) -> Address:
    """The address with the password of the environment, where it names a user alone.

    >>> from lexite.engines.addresses import read_address
    >>> with_password(read_address("solr://me@localhost/notes"), {"LEXITE_ENGINE_PASSWORD": "a b"}).host
    'me:a%20b@localhost'
    """
    user, at, host = address.host.rpartition("@")
    password = environment.get(PASSWORD)
    if not at or ":" in user or password is None:
        return address
    return replace(address, host=f"{user}:{quote(password, safe='')}@{host}")


def security_of(address: Address, *, key: bool = False, environment: Mapping[str, str] = os.environ) -> Security:
    """What the options of an address say.

    Args:
        address: with ``ca``, ``verify`` and ``api_key`` among its options; others are not looked at.
        key: whether the engine takes keys.
        environment: has the key of an ``api_key`` without a value.

    Raises:
        ConfigError: they contradict each other, have no effect, or name no file.
    """
    given = address.options
    idle = next((name for name in TLS if name in given), None)
    if idle is not None and not address.secure:
        raise ConfigError(f"'{idle}' in the address is about HTTPS, and this address has none: {address.scheme}+https://")
    if given.get("verify", "1") not in ("0", "1"):
        raise ConfigError(f"'verify' in the address is '{given['verify']}', but must be 0 or 1.")
    verify, ca = given.get("verify", "1") == "1", given.get("ca")
    if ca is not None:
        if not verify:
            raise ConfigError("The address says verify=0, so ca has no effect. Leave one of them out.")
        _check_certificates(ca)
    if not verify:
        logger.warning("The certificate of the server is not looked at, so it may be another one than you mean.")
    return Security(ca, verify, _api_key(address, environment) if key else None)


def _api_key(address: Address, environment: Mapping[str, str]) -> str | None:
    if "api_key" not in address.options:
        return None
    if "@" in address.host:
        raise ConfigError("The address has a user and an api_key. Leave one of them out.")
    found = address.options["api_key"] or environment.get(API_KEY)
    if not found:
        raise ConfigError(f"'api_key' in the address is empty, and so is the variable {API_KEY}, which may have it.")
    return found


def _check_certificates(path: str) -> None:
    """Refuses a file without certificates."""
    if not Path(path).is_file():
        raise ConfigError(f"There is no file '{path}', which the address names with ca.")
    try:
        ssl.create_default_context(cafile=path)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"'{path}', which the address names with ca, has no certificates in PEM ({error}).") from None
