"""E-mail: subject, sender, receivers, date and body of a message, read by Python's own library."""

from __future__ import annotations

import datetime
import email
import email.policy
import re
from collections.abc import Iterator
from email.message import EmailMessage, Message
from email.utils import getaddresses, parsedate_to_datetime
from typing import IO

from lexite.corpus.kinds import Extracted
from lexite.corpus.kinds.decoding import one_line, replaced
from lexite.corpus.options import BadFile

_HEADER = re.compile(rb"(?:From |[!-9;-~]+[ \t]*:)")


def extract(file: IO[bytes], name: str) -> Iterator[Extracted]:
    """One document: the subject is its title."""
    data = file.read()
    if not _HEADER.match(data.lstrip()):
        raise BadFile("this is no e-mail: it begins with no header.", "malformed")
    yield message_of(data)


def message_of(data: bytes, part: str = "") -> Extracted:
    """A message as a document."""
    message = email.message_from_bytes(data, policy=email.policy.default)
    fields: dict[str, object] = {}
    if sender := _addresses(message, "from"):
        fields["from"] = sender[0]
    for name in ("to", "cc"):
        if listed := _addresses(message, name):
            fields[name] = listed
    if moment := _date(_header(message, "date")):
        fields["date"] = moment
    text, notes, attached = _body(message)
    if attached:
        fields["attachments"] = attached
    return Extracted(text, one_line(_header(message, "subject")), fields, part, notes)


def _header(message: Message, name: str) -> str:
    """The text of a header; a malformed one as far as it goes."""
    try:
        return str(message.get(name, ""))
    except Exception:  # the parser of the standard library fails on some malformed headers in many ways
        raw = next((value for key, value in message.raw_items() if key.lower() == name), "")
        return str(raw).encode("utf-8", "replace").decode()


def _addresses(message: Message, name: str) -> list[str]:
    """Who is named in a header, each by name and address as they are written."""
    found = getaddresses([_header(message, name)])
    return [f"{person} <{address}>" if person else address for person, address in found if address or person]


def _date(written: str) -> datetime.datetime | None:
    try:
        return parsedate_to_datetime(written)
    except (TypeError, ValueError, IndexError):
        return None


def _body(message: Message) -> tuple[str, tuple[str, ...], list[str]]:
    """The text of a message, notes about it, and the names of what is attached."""
    texts: list[str] = []
    notes: list[str] = []
    attached: list[str] = []
    chosen = _chosen(message)
    for part in message.walk():
        name = part.get_filename()
        if name:
            attached.append(one_line(str(name)))
        elif any(part is one for one in chosen):
            text, note = _text(part)
            texts.append(text)
            notes.extend(note)
    whole = message.get_payload()
    if not chosen and isinstance(whole, str):  # a multipart message without parts
        texts.append(whole.strip())
    return "\n\n".join(filter(None, texts)), tuple(notes), attached


def _chosen(message: Message) -> list[Message]:
    """The parts that are its body: of those that say the same in several ways, the plain one."""
    if isinstance(message, EmailMessage):
        try:
            body = message.get_body(("plain", "html"))
        except (KeyError, AttributeError, TypeError):  # of multiparts that are none
            body = None
        if body is not None:
            return [body]
    parts = [part for part in message.walk() if part.get_content_type() in ("text/plain", "text/html")]
    plain = [part for part in parts if part.get_content_type() == "text/plain"]
    return plain or parts


def _text(part: Message) -> tuple[str, tuple[str, ...]]:
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes):
        return "", ()
    charset = part.get_content_charset("utf-8")
    notes: tuple[str, ...] = ()
    try:
        text = data.decode(charset)
    except (LookupError, ValueError):
        text, notes = replaced(data, charset)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if part.get_content_type() == "text/html":
        text = _of_html(text)
    return text.strip(), notes


def _of_html(page: str) -> str:
    from lexite.corpus.kinds import BY_SUFFIX

    if not BY_SUFFIX[".html"].is_available():
        raise BadFile("its text is HTML, for which selectolax is missing: pip install 'lexite[documents]'.", "not installed")
    from lexite.corpus.kinds.html import main_text

    return main_text(page)[0]
