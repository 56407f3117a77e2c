"""Names for latents by a language model, at any address that speaks the protocol of OpenAI's chat completions."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Any

from lexite.errors import ConfigError, LexiteError
from lexite.terms.descriptions import Context

KEY_VARIABLE = "LEXITE_LABELER_KEY"
SECONDS = 60.0
ATTEMPTS = 3
MOST_NAMES, MOST_WORDS, MOST_LETTERS = 3, 4, 60
MOST_BYTES = 1 << 20  # of an answer
WORDS_SHOWN = 8
_PASSING = (429, 500, 502, 503, 504)  # answers after which it is asked again
SYSTEM = (
    "You name features of a text encoder. You see pieces of text in which one feature fires; what fires stands in [brackets]. "
    "The first examples are the strongest. Say what the marked words have in common: a word, a concept, a topic, a part of "
    "words. "
    "Answer with one to three names, the best first, each on a line of its own, each of one to four words in lower case unless "
    "they are proper names. No explanation, no numbering, no quotation marks. If there is nothing in common, answer with -"
)


class LanguageModelLabels:
    """Asks a language model for names. They are tried on held-out text beside all others, so a bad one does no harm.

    Texts of the sample are sent to the address. An API key is taken from the environment (``LEXITE_LABELER_KEY``).

    Args:
        address: the base address, such as ``http://localhost:8000/v1``; ``/chat/completions`` is added.
        model: the model's name there.
        seconds: to wait for an answer.
        pause: seconds to wait before it is asked again, the first time; twice as many each further time.

    Raises:
        ConfigError: the address is not one of http or https.
    """

    def __init__(self, address: str, model: str = "default", *, seconds: float = SECONDS, pause: float = 1.0) -> None:
        parts = urllib.parse.urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ConfigError(f"'{address}' is no address of a language model. Write one such as http://localhost:8000/v1.")
        self.address, self.model = address.rstrip("/"), model
        self._seconds, self._pause = seconds, pause

    @property
    def name(self) -> str:
        """The model's name, for the record."""
        return f"language model {self.model}"

    def suggest(self, examples: Sequence[Context], words: Sequence[str]) -> tuple[str, ...]:
        """Asks for names of a latent.

        Args:
            examples: its use, the strongest first.
            words: words that it fires on.

        Raises:
            LexiteError: there is no answer, or one in another form.
        """
        body = {
            "model": self.model,
            "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question(examples, words)}],
            "temperature": 0,
            "max_tokens": 60,
        }
        return read_names(self._answer(body))

    def _answer(self, body: dict[str, Any]) -> str:
        request = urllib.request.Request(
            f"{self.address}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        if key := os.environ.get(KEY_VARIABLE):
            request.add_header("Authorization", f"Bearer {key}")
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with urllib.request.urlopen(request, timeout=self._seconds) as response:
                    return self._content(response.read(MOST_BYTES))
            except urllib.error.HTTPError as error:
                reason = f"it answered with the status {error.code}"
                if error.code not in _PASSING:
                    break
            except (urllib.error.URLError, OSError) as error:
                reason = str(getattr(error, "reason", error))
            if attempt < ATTEMPTS:
                time.sleep(self._pause * 2 ** (attempt - 1))
        raise LexiteError(f"The language model at {self.address} cannot be asked: {reason}. Is the address right?")

    def _content(self, written: bytes) -> str:
        try:
            content = json.loads(written)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError):
            content = None
        if not isinstance(content, str):
            raise LexiteError(f"What {self.address} answered is no chat completion: choices[0].message.content is missing.")
        return content


def question(examples: Sequence[Context], words: Sequence[str]) -> str:
    """What a language model is asked about a latent: examples with what fires in brackets, and words.

    >>> print(question([Context("on the river bank", ((13, 17),), 1.0)], ["bank"]))
    Pieces of text:
    - on the river [bank]
    Words that it fires on most surely: bank
    """
    lines = ["Pieces of text:", *(f"- {example.marked()}" for example in examples)]
    if words:
        lines.append(f"Words that it fires on most surely: {', '.join(words[:WORDS_SHOWN])}")
    return "\n".join(lines)


def read_names(answer: str) -> tuple[str, ...]:
    r"""The names of an answer: its first lines, without bullets, numbers and quotation marks; longer ones are left out.

    >>> read_names('1. "river banks"\n- money\nThis feature fires on many different things.\n')
    ('river banks', 'money')
    >>> read_names("-")
    ()
    """
    names: dict[str, str] = {}
    for line in answer.splitlines():
        name = line.strip().lstrip("-*•0123456789.) ").strip(" \"'`“”.*")
        if 0 < len(name.split()) <= MOST_WORDS and len(name) <= MOST_LETTERS and name.isprintable():
            names.setdefault(name.casefold(), name)
    return tuple(names.values())[:MOST_NAMES]
