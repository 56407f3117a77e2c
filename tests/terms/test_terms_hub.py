"""Vocabularies by name: those that come with lexite, and the Hugging Face hub (replaced by a stand-in)."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

from lexite.errors import ModelError
from lexite.terms import LatentTermEncoder, find_folder, hub, read_manifest


class FakeApi:
    """What ``push_to_hub`` needs of ``HfApi``; keeps what was uploaded."""

    error: Exception | None = None
    calls: list[tuple]

    def __init__(self, token=None):
        self.token = token

    def create_repo(self, repo_id, *, private, exist_ok, repo_type):
        if type(self).error:
            raise type(self).error
        type(self).calls.append(("create", repo_id, private, exist_ok, repo_type, self.token))
        return f"https://huggingface.co/{repo_id}"

    def upload_folder(self, *, repo_id, folder_path, repo_type, commit_message):
        shutil.copytree(folder_path, type(self).target)
        type(self).calls.append(("upload", repo_id, repo_type, commit_message))


@pytest.fixture
def api(monkeypatch, tmp_path):
    fake = type("Api", (FakeApi,), {"calls": [], "target": tmp_path / "uploaded"})
    monkeypatch.setattr(huggingface_hub, "HfApi", fake)
    return fake


def test_push_uploads_a_whole_vocabulary(encoder, api, make_backbone):
    address = encoder.push_to_hub("someone/tiny", private=True, token="secret", encoder_only=True, dtype="bf16")
    assert address == "https://huggingface.co/someone/tiny"
    assert api.calls == [
        ("create", "someone/tiny", True, True, "model", "secret"),
        ("upload", "someone/tiny", "model", "Add a lexite vocabulary"),
    ]
    assert LatentTermEncoder.from_pretrained(api.target, backbone=make_backbone()).sae.decoder_weight is None
    assert 'vocabulary="someone/tiny"' in (api.target / "README.md").read_text(encoding="utf-8")


def response(status):
    return SimpleNamespace(status_code=status, headers={}, request=None)


def test_a_refused_push_is_one_line(encoder, api):
    api.error = HfHubHTTPError("403 Forbidden\nlong text", response=response(403))
    with pytest.raises(ModelError, match=r"could not be uploaded .*: 403 Forbidden$"):
        encoder.push_to_hub("someone/tiny")


def test_a_vocabulary_is_fetched_after_its_manifest(encoder, monkeypatch, tmp_path, make_backbone):
    remote, cache, asked = encoder.save_pretrained(tmp_path / "remote"), tmp_path / "cache", []

    def snapshot(name, *, revision, allow_patterns):
        asked.append((name, revision, allow_patterns))
        cache.mkdir(exist_ok=True)
        for pattern in allow_patterns:
            for path in remote.glob(pattern):
                shutil.copy(path, cache)
        return str(cache)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    loaded = LatentTermEncoder.from_pretrained("someone/tiny", revision="v1", backbone=make_backbone())
    assert loaded.fingerprint == encoder.fingerprint and loaded.source == "someone/tiny"
    assert [(name, revision) for name, revision, _ in asked] == [("someone/tiny", "v1")] * 2
    assert asked[0][2] == ["lexite.json"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (LocalEntryNotFoundError("offline"), "cannot be reached"),
        (RepositoryNotFoundError("404", response=response(404)), "is not on the Hugging Face hub, or is private"),
        (OSError(28, "No space left"), "could not be fetched"),
        (RuntimeError("\n odd\nlines"), "could not be fetched from the Hugging Face hub: odd$"),
    ],
)
def test_what_cannot_be_fetched_is_one_line(monkeypatch, error, message):
    def snapshot(*_, **__):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    with pytest.raises(ModelError, match=message) as caught:
        find_folder("someone/tiny")
    assert "someone/tiny" in str(caught.value) and "\n" not in str(caught.value)


def test_a_repository_of_something_else_is_refused_before_its_weights_come(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda *_, allow_patterns, **__: asked.append(allow_patterns) or str(tmp_path)
    )
    with pytest.raises(ModelError, match="is not a lexite vocabulary"):
        find_folder("someone/bert")
    assert asked == [["lexite.json"]]


def test_an_unknown_name_offline_is_answered_fast(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    started = time.monotonic()
    with pytest.raises(ModelError, match="cannot be reached") as caught:
        LatentTermEncoder.from_pretrained("nobody/such-a-vocabulary-does-not-exist")
    assert "\n" not in str(caught.value) and time.monotonic() - started < 5


def test_vocabularies_that_come_with_lexite_are_found_by_name(encoder, monkeypatch, tmp_path, make_backbone):
    monkeypatch.setattr(hub.resources, "files", lambda _: tmp_path)
    with pytest.raises(ModelError, match="lacks its default vocabulary"):
        find_folder("default")
    own = encoder.save_pretrained(tmp_path / "vocabularies" / hub.DEFAULT_NAME)
    assert find_folder("default") == find_folder(hub.DEFAULT_NAME) == own
    assert hub.builtin_folder("another") is None and hub.builtin_folder("../" + hub.DEFAULT_NAME) is None
    loaded = LatentTermEncoder.from_pretrained(backbone=make_backbone())
    assert loaded.source == hub.DEFAULT_NAME, "an index remembers the name, not where lexite is installed or what is default"
    assert read_manifest(Path(own))["name"] == "tiny"
