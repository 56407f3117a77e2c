"""A vocabulary whose latents are known is labelled: names say what fires, and what fires at random has none."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from lexite.backbone.states import TokenStates
from lexite.cli import main
from lexite.errors import ConfigError, LexiteError
from lexite.labelling import LabelConfig, label_firings, label_vocabulary
from lexite.labelling.firings import Firings
from lexite.labelling.language_model import LanguageModelLabels, read_names
from lexite.labelling.tokens import TokenVectors, in_bytes
from lexite.terms import LatentTermEncoder, Vocabulary
from lexite.terms.descriptions import TRUSTED, Context

WORDS = (
    "bank river money tree cloud stone glass paper light sound horse train bread water field house clock chair table window "
    "street garden mirror candle bottle pencil button ribbon basket ladder hammer saddle kettle pillow carpet lantern needle "
    "anchor bridge castle forest island meadow valley desert harbour market temple tunnel village"
).split()
FILLER = "the of and in to a is on for with".split()
N_LATENTS = 8


class KnownModel:
    """The tokenizer of the sample below; it has no dense vectors."""

    def __init__(self) -> None:
        self.pieces = [*WORDS, *FILLER, "##s", "."]

    def describe_token(self, token: int) -> str:
        return self.pieces[token]


def sample(seed: int = 0, n: int = 1500) -> Firings:
    """Latent 0 fires on bank and banks, 1 on money and bread in one, 2 on "the", 3 at random, 4 never, 5 where a train is
    named in a passage with a horse."""
    model, generator = KnownModel(), np.random.default_rng(seed)
    number = {piece: place for place, piece in enumerate(model.pieces)}
    texts, ids, offsets, fired = [], [], [0], []
    for _ in range(n):
        words = generator.choice(WORDS, 5).tolist()
        row: list[str] = []
        for word in words:
            row += [str(generator.choice(FILLER)), word, *(["##s"] if generator.random() < 0.3 else [])]
        row.append(".")
        start = len(ids)
        for place, piece in enumerate(row):
            token = start + place
            if piece == "bank":
                fired.append((0, token, 2.0))
            if piece in ("money", "bread"):
                fired.append((1, token, 1.0))
            if piece == "the":
                fired.append((2, token, 1.0))
            if generator.random() < 0.03:
                fired.append((3, token, 0.5))
            if piece == "train" and "horse" in row:
                fired.append((5, token, 1.5))
        ids += [number[piece] for piece in row]
        offsets.append(len(ids))
        texts.append(" ".join(row).replace(" ##", "").replace(" .", ".").capitalize())
    fired.sort()
    starts = np.searchsorted([latent for latent, _, _ in fired], np.arange(N_LATENTS + 1))
    return Firings(
        texts,
        np.arange(n),
        np.array(ids, dtype=np.int32),
        np.array(offsets, dtype=np.int64),
        starts.astype(np.int64),
        np.array([token for _, token, _ in fired], dtype=np.int32),
        np.array([value for _, _, value in fired], dtype=np.float32),
    )


class KnownEncoder:
    """What labelling asks of an encoder."""

    backbone = KnownModel()
    vocabulary = None

    class terms:
        floor_documents = 0.0

    @staticmethod
    def k_for(kind: str) -> int:
        return 4


@pytest.fixture(scope="module")
def labelled() -> Vocabulary:
    return label_firings(KnownEncoder(), sample(), LabelConfig(contexts=3, context_words=6))  # type: ignore[arg-type]


def test_names_say_what_fires(labelled: Vocabulary) -> None:
    assert labelled.label(0) == "bank" and labelled.kind(0) == "lexical"
    assert set(labelled.label(1).split(", ")) == {"money", "bread"} and labelled.about(1).trust == pytest.approx(0.98, abs=0.03)
    assert "train" in labelled.label(5).lower()


def test_what_has_no_name_is_shown_by_examples(labelled: Vocabulary) -> None:
    about = labelled.about(3)
    assert about.kind == "unclear" and not about.trusted and about.label.startswith("e.g. “") and (about.trust or 0) < TRUSTED
    assert labelled.kind(2) == "function"
    assert labelled.label(4) == "latent 4" and labelled.kind(4) == "dead" and labelled.about(4).contexts == ()


def test_what_was_hardly_seen_is_unclear_and_never_function() -> None:
    few = label_firings(KnownEncoder(), sample(n=20), LabelConfig(contexts=3, context_words=6))  # type: ignore[arg-type]
    assert [few.kind(latent) for latent in range(5)] == ["unclear", "unclear", "unclear", "unclear", "dead"]
    assert all(few.label(latent).startswith("e.g. “") for latent in range(4)), "also those that fire on “the” alone"


def test_examples_mark_what_fires_in_the_text_as_it_was_written(labelled: Vocabulary) -> None:
    texts = sample().passages
    for context in labelled.about(0).contexts:
        assert any(context.text in text for text in texts)
        assert [context.text[start:end].lower().rstrip("s") for start, end in context.marks] == ["bank"] * len(context.marks)
        assert context.marks and 4 <= len(context.text.split()) <= 7
    assert [c.strength for c in labelled.about(0).contexts] == sorted(c.strength for c in labelled.about(0).contexts)[::-1]


class ModelOfPieces(KnownModel):
    """Its states are one-hot, so that a token is near those of its own piece alone."""

    def encode(self, texts: list[str], kind: str) -> TokenStates:
        known = {piece: place for place, piece in enumerate(self.pieces)}
        rows = [[known[word] for word in re.findall(r"\w+|\.", text.lower()) if word in known] for text in texts]
        ids = np.array([token for row in rows for token in row], dtype=np.int32)
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        return TokenStates(torch.eye(len(self.pieces))[torch.from_numpy(ids).long()], offsets, ids)


class EncoderOfPieces(KnownEncoder):
    backbone = ModelOfPieces()


def test_by_the_states_of_tokens_names_and_examples_are_found() -> None:
    plain = sample()
    mean = np.zeros(len(ModelOfPieces().pieces), dtype=np.float32)
    rows, scales = in_bytes(np.eye(len(mean), dtype=np.float32)[plain.token_ids])
    firings = replace(plain, states=TokenVectors(rows, scales, plain.offsets, mean))
    found = label_firings(EncoderOfPieces(), firings, LabelConfig(contexts=2))  # type: ignore[arg-type]
    assert found.label(0) == "bank" and set(found.label(1).split(", ")) == {"money", "bread"}
    assert found.described is not None and found.described.bar == TRUSTED
    phrases = found.labels[2]
    assert found.kind(2) == "function" and len(phrases) == 2 and all("[the]" in phrase.lower() for phrase in phrases)


def test_relatives_share_passages(labelled: Vocabulary) -> None:
    assert 5 not in labelled.about(4).related
    held = labelled.document_counts
    assert held[0] > 0 and held[4] == 0 and set(labelled.about(0).related) <= {1, 3, 5}


def test_the_same_sample_gives_the_same_labels(labelled: Vocabulary) -> None:
    again = label_firings(KnownEncoder(), sample(), LabelConfig(contexts=3, context_words=6))  # type: ignore[arg-type]
    assert again.labels == labelled.labels and again.described is not None and labelled.described is not None
    np.testing.assert_array_equal(again.described.trust, labelled.described.trust)


class Answers(BaseHTTPRequestHandler):
    """A language model that calls everything "finance", or fails as it is told."""

    asked: list[dict[str, object]] = []
    keys: list[str | None] = []
    failures: list[int] = []
    content: object = "Finance\nmoney"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Answers.asked.append({"path": self.path, **body})
        Answers.keys.append(self.headers.get("Authorization"))
        if Answers.failures:
            self.send_error(Answers.failures.pop())
            return
        reply = json.dumps({"choices": [{"message": {"role": "assistant", "content": Answers.content}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    Answers.asked, Answers.keys, Answers.failures, Answers.content = [], [], [], "Finance\nmoney"
    server = HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


EXAMPLES = (Context("to the bank of money", ((7, 11),), 1.0),)


def test_a_language_model_is_asked_in_the_protocol(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEXITE_LABELER_KEY", "secret")
    assert LanguageModelLabels(address, "some-model").suggest(EXAMPLES, ["bank"]) == ("Finance", "money")
    (asked,) = Answers.asked
    assert asked["path"] == "/v1/chat/completions" and asked["model"] == "some-model" and Answers.keys == ["Bearer secret"]
    messages = asked["messages"]
    assert isinstance(messages, list) and [message["role"] for message in messages] == ["system", "user"]
    assert "to the [bank] of money" in messages[1]["content"]


def test_a_busy_language_model_is_asked_again(address: str) -> None:
    Answers.failures = [503, 429]
    assert LanguageModelLabels(address, pause=0.01).suggest(EXAMPLES, []) == ("Finance", "money")
    assert len(Answers.asked) == 3
    Answers.failures = [401]
    with pytest.raises(LexiteError, match="cannot be asked: it answered with the status 401"):
        LanguageModelLabels(address, pause=0.01).suggest(EXAMPLES, [])


def test_answers_of_another_form_are_refused(address: str) -> None:
    Answers.content = None
    with pytest.raises(LexiteError, match="is no chat completion"):
        LanguageModelLabels(address).suggest(EXAMPLES, [])
    with pytest.raises(ConfigError, match="is no address"):
        LanguageModelLabels("file:///etc/passwd")
    with pytest.raises(LexiteError, match="cannot be asked"):
        LanguageModelLabels("http://127.0.0.1:9", pause=0.01).suggest(EXAMPLES, [])
    assert read_names("a name of far too many words\n* banks *\n\n") == ("banks",)


def test_a_suggested_name_that_predicts_badly_is_not_taken(address: str) -> None:
    found = label_firings(
        KnownEncoder(),
        sample(),
        LabelConfig(contexts=2),
        maker=LanguageModelLabels(address, "m"),  # type: ignore[arg-type]
    )
    assert found.label(0) == "bank" and "Finance" not in {found.label(term) for term in range(N_LATENTS)}
    assert found.described is not None and found.described.made["labeller"] == "language model m"


def test_the_verb_labels_a_vocabulary_and_keeps_its_terms(
    tiny_vocabulary: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(0)
    nouns = "cat dog bird fish horse tree river lake ship heart blood cell gene python module class".split()
    lines = [json.dumps({"text": " ".join(generator.choice(nouns, 12)) + "."}) for _ in range(120)]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    words = ["label", str(tiny_vocabulary), str(tmp_path / "texts.jsonl"), "-o", str(tmp_path / "new"), "--json", "-"]
    assert main([*words, "--contexts", "2"]) == 0
    facts = json.loads(capsys.readouterr().out)
    before, after = (LatentTermEncoder.from_pretrained(path) for path in (tiny_vocabulary, tmp_path / "new"))
    assert after.fingerprint == before.fingerprint and facts["passages"] == 120 and sum(facts["kinds"].values()) == 64
    assert after.vocabulary is not None and before.vocabulary is not None and after.vocabulary.described is not None
    assert (after.encode_documents(["the cat"]) != before.encode_documents(["the cat"])).nnz == 0
    np.testing.assert_array_equal(after.vocabulary.document_counts, before.vocabulary.document_counts)
    assert main(["label", str(tiny_vocabulary), "x", "-o", str(tmp_path / "y"), "--labeler-model", "m"]) == 2
    assert "needs --labeler" in capsys.readouterr().err


def test_no_text_is_refused(tiny_vocabulary: Path) -> None:
    with pytest.raises(LexiteError, match="no text"):
        label_vocabulary(LatentTermEncoder.from_pretrained(tiny_vocabulary), [])
