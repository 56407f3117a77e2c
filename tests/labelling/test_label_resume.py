"""A labelling that is stopped anywhere goes on, and ends with the bytes of one that was not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

import lexite.labelling.examples
import lexite.labelling.firings
import lexite.labelling.naming
import lexite.labelling.run
import lexite.labelling.unfinished
from lexite.cli import main
from lexite.errors import LexiteError, StorageError
from lexite.labelling import LabelConfig, label_into, label_vocabulary
from lexite.labelling.unfinished import STATE_FILE, Blocks, Unfinished
from lexite.progress import ProgressBar
from lexite.terms import LatentTermEncoder
from lexite.terms.descriptions import Context

NOUNS = "cat dog bird fish horse tree river lake ship heart blood cell gene python module class".split()
CONFIG = LabelConfig(contexts=2, label_passages=2)


def texts_of(n: int, seed: int = 0) -> list[str]:
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(NOUNS, int(generator.integers(4, 40)))) + "." for _ in range(n)]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


class Maker:
    """Suggests a name that is made of what it is shown, and counts how often it is asked."""

    name = "maker of the tests"

    def __init__(self) -> None:
        self.asked = 0

    def suggest(self, examples: Sequence[Context], words: Sequence[str]) -> tuple[str, ...]:
        self.asked += 1
        return tuple(words[:1])


@pytest.fixture(scope="module")
def encoder(tiny_vocabulary: Path) -> LatentTermEncoder:
    return LatentTermEncoder.from_pretrained(tiny_vocabulary)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many parts of little work."""
    monkeypatch.setattr(lexite.labelling.firings, "PASSAGES_AT_ONCE", 16)
    for module in (lexite.labelling.examples, lexite.labelling.naming, lexite.labelling.run):
        monkeypatch.setattr(module, "LATENTS_AT_ONCE", 16)


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, type[BaseException]], None]]:
    """Lets a labelling end with an exception once it has kept so many parts."""
    real = Unfinished.write

    def stop(n: int, error: type[BaseException]) -> None:
        left = [n]

        def write(self: Unfinished, name: str, content: bytes) -> None:
            if not left[0]:
                raise error("stopped here")
            real(self, name, content)
            left[0] -= 1

        monkeypatch.setattr(Unfinished, "write", write)

    yield stop
    monkeypatch.setattr(Unfinished, "write", real)


def parts_of(folder: Path) -> list[str]:
    return list(json.loads((folder / STATE_FILE).read_text())["parts"])


@pytest.mark.slow
@pytest.mark.usefixtures("small_parts")
def test_stopped_again_and_again_it_ends_with_the_same_bytes(
    encoder: LatentTermEncoder, tmp_path: Path, stop_after: Callable[[int, type[BaseException]], None]
) -> None:
    """Every few parts, through all kinds of parts: passages, evidence, suggestions, names, examples."""
    texts, whole, stopped = texts_of(48), tmp_path / "whole" / "out", tmp_path / "stopped" / "out"
    maker, again = Maker(), Maker()
    label_into(encoder, texts, whole, CONFIG, maker=maker)
    place, seen, runs = stopped.with_name("out.unfinished"), set[str](), 0
    while not stopped.exists():
        stop_after(3 if runs % 2 else 1, KeyboardInterrupt if runs % 3 else LexiteError)
        runs += 1
        try:
            label_into(encoder, texts, stopped, CONFIG, maker=again)
        except (KeyboardInterrupt, LexiteError):
            assert not stopped.exists() and seen < set(parts_of(place)), "each run gets further"
            seen = set(parts_of(place))
    assert {name.split("-")[0] for name in seen} == {"passages", "evidence", "suggestions", "names", "examples"} and runs > 8
    assert files_of(stopped) == files_of(whole) and not place.exists()
    assert maker.asked <= again.asked <= maker.asked + lexite.labelling.run.ASKED_AT_ONCE * runs
    expected = label_vocabulary(encoder, texts, CONFIG, maker=Maker())
    saved = LatentTermEncoder.from_pretrained(stopped).vocabulary
    assert saved is not None and list(saved.labels) == list(expected.labels)


@pytest.mark.usefixtures("small_parts")
def test_what_was_answered_is_not_asked_again(
    encoder: LatentTermEncoder, tmp_path: Path, stop_after: Callable[[int, type[BaseException]], None]
) -> None:
    texts, first, second = texts_of(40), Maker(), Maker()
    label_into(encoder, texts, tmp_path / "whole" / "out", CONFIG, maker=first)
    stop_after(1000, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        label_into(encoder, texts, tmp_path / "out", CONFIG, maker=_Stopping(second, 20))
    assert second.asked == 20
    label_into(encoder, texts, tmp_path / "out", CONFIG, maker=second)
    saved = LatentTermEncoder.from_pretrained(tmp_path / "out").vocabulary
    assert saved is not None and saved.described is not None
    kept = sum(bool(saved.described.contexts[latent]) for latent in range(16))  # others have no examples to show
    assert 0 < kept <= 16 and second.asked == 20 + first.asked - kept
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole" / "out")


class _Stopping(Maker):
    """Another maker, which is interrupted behind so many answers."""

    def __init__(self, maker: Maker, n: int) -> None:
        self._maker, self._n = maker, n

    def suggest(self, examples: Sequence[Context], words: Sequence[str]) -> tuple[str, ...]:
        if self._maker.asked == self._n:
            raise KeyboardInterrupt
        return self._maker.suggest(examples, words)


def test_the_folder_that_one_is_in_may_be_the_output(
    encoder: LatentTermEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(KeyboardInterrupt):
        label_into(encoder, texts_of(20), ".", CONFIG, maker=_Stopping(Maker(), 17))
    assert [path.name for path in tmp_path.iterdir()] != ["here"] and (tmp_path / "here.unfinished" / STATE_FILE).is_file()


@pytest.mark.usefixtures("small_parts")
def test_other_settings_are_refused_and_named_or_begin_anew(
    encoder: LatentTermEncoder,
    tmp_path: Path,
    stop_after: Callable[[int, type[BaseException]], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    texts, out = texts_of(40), tmp_path / "out"
    place = tmp_path / "out.unfinished"
    stop_after(2, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        label_into(encoder, texts, out, CONFIG, reading={"sources": ["a (7 bytes)"]})
    assert f"What was done is kept in {place}. The same command goes on there." in caplog.text
    before = files_of(place)
    other = LabelConfig(contexts=2, label_passages=2, seed=4)
    with pytest.raises(StorageError) as caught:
        label_into(encoder, texts, out, other, reading={"sources": ["a (8 bytes)"]})
    assert str(caught.value) == (
        f"{place} holds an unfinished labelling with other settings (seed: 0 -> 4; "
        "sources: ['a (7 bytes)'] -> ['a (8 bytes)']). Go on with the same settings, or begin anew with overwrite=True."
    )
    assert files_of(place) == before and not out.exists()
    stop_after(1000, KeyboardInterrupt)
    label_into(encoder, texts, out, other, reading={"sources": ["a (8 bytes)"]}, overwrite=True)
    assert "(seed: 0 -> 4; sources" in caplog.text and "The labelling begins anew." in caplog.text
    label_into(encoder, texts, tmp_path / "whole" / "out", other)
    assert files_of(out) == files_of(tmp_path / "whole" / "out") and not place.exists()


@pytest.mark.usefixtures("small_parts")
def test_a_vocabulary_with_other_labels_is_another_setting(
    encoder: LatentTermEncoder, tmp_path: Path, stop_after: Callable[[int, type[BaseException]], None]
) -> None:
    """Its terms are the same, but names that it has are tried too."""
    texts = texts_of(40)
    labelled = encoder.replaced(vocabulary=label_vocabulary(encoder, texts_of(60, 1), CONFIG))
    assert labelled.fingerprint == encoder.fingerprint
    stop_after(1, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        label_into(encoder, texts, tmp_path / "out", CONFIG)
    with pytest.raises(StorageError, match=r"other settings \(labels: '\w{12}' -> '\w{12}'\)\. Go on"):
        label_into(labelled, texts, tmp_path / "out", CONFIG)


@pytest.mark.usefixtures("small_parts")
def test_texts_that_were_changed_meanwhile_are_read_anew(
    encoder: LatentTermEncoder,
    tmp_path: Path,
    stop_after: Callable[[int, type[BaseException]], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Also where nobody says what files they are from; what stands before the change is taken."""
    texts, place = texts_of(70), tmp_path / "out.unfinished"
    stop_after(8, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        label_into(encoder, texts, tmp_path / "out", CONFIG)
    kept = [name for name in parts_of(place) if name.startswith("passages")]
    times = {name: (place / name).stat().st_mtime_ns for name in kept}
    assert len(kept) > 3
    texts[25] += " A further word."
    stop_after(3, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        label_into(encoder, texts, tmp_path / "out", CONFIG)
    assert (place / kept[0]).stat().st_mtime_ns == times[kept[0]] and (place / kept[2]).stat().st_mtime_ns > times[kept[2]]
    assert caplog.text.count("The texts, or what was made of them, are not those of before. What followed is made anew.") == 1
    stop_after(1000, KeyboardInterrupt)
    label_into(encoder, texts, tmp_path / "out", CONFIG)
    label_into(encoder, texts, tmp_path / "whole" / "out", CONFIG)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole" / "out")


@pytest.mark.usefixtures("small_parts")
def test_damaged_parts_are_made_anew_and_a_damaged_record_is_refused(
    encoder: LatentTermEncoder,
    tmp_path: Path,
    stop_after: Callable[[int, type[BaseException]], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    texts, place = texts_of(40), tmp_path / "out.unfinished"
    stop_after(4, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        label_into(encoder, texts, tmp_path / "out", CONFIG)
    first, second, *_ = parts_of(place)
    (place / first).write_bytes((place / first).read_bytes()[:-1] + b"X")
    (place / second).unlink()
    (place / ".passages-00009.safetensors.1.tmp").write_bytes(b"half")
    record = (place / STATE_FILE).read_text()
    for spoilt, message in (
        (
            record.replace(first, second, 1),
            r"labelling\.json is damaged: its checksum is wrong\. Begin anew with overwrite=True\.",
        ),
        (record[:40], r"labelling\.json, line \d+: not valid JSON"),
        (record.replace('"format_version": 1', '"format_version": 2'), "is not of a labelling by this version of lexite"),
    ):
        (place / STATE_FILE).write_text(spoilt)
        with pytest.raises(StorageError, match=message):
            label_into(encoder, texts, tmp_path / "out", CONFIG)
    (place / STATE_FILE).write_text(record)
    stop_after(1000, KeyboardInterrupt)
    label_into(encoder, texts, tmp_path / "out", CONFIG)
    assert f"{place / first} is missing or damaged" in caplog.text and f"{place / second} is missing or damaged" in caplog.text
    label_into(encoder, texts, tmp_path / "whole" / "out", CONFIG)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole" / "out") and not place.exists()


def test_what_is_not_a_labelling_is_left_alone(encoder: LatentTermEncoder, tmp_path: Path) -> None:
    place = tmp_path / "out.unfinished"
    place.mkdir()
    (place / "letter.txt").write_text("Dear all")
    for overwrite in (False, True):
        with pytest.raises(StorageError, match=r"out\.unfinished holds something else.* Move it"):
            label_into(encoder, texts_of(9), tmp_path / "out", CONFIG, overwrite=overwrite)
    assert files_of(place) == {"letter.txt": b"Dear all"}
    (tmp_path / "file.unfinished").write_text("")
    with pytest.raises(StorageError, match="is a file"):
        label_into(encoder, texts_of(9), tmp_path / "file", CONFIG)
    with pytest.raises(LexiteError, match="no text"):
        label_into(encoder, [], tmp_path / "none", CONFIG)
    assert not list(tmp_path.glob("none*"))


@pytest.mark.parametrize(("before", "told"), [(1, "1 thread"), (3, "3 threads")])
def test_another_number_of_threads_is_told(
    before: int,
    told: str,
    encoder: LatentTermEncoder,
    tmp_path: Path,
    stop_after: Callable[[int, type[BaseException]], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for threads in (before, 77):
        monkeypatch.setattr(lexite.labelling.unfinished, "_machine", lambda threads=threads: {"threads": threads})
        stop_after(1, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            label_into(encoder, texts_of(20), tmp_path / "out", CONFIG)
    assert f"The labelling had {told} before: the last bits of its numbers may differ." in caplog.text


def test_blocks_are_counted_and_made_once(tmp_path: Path) -> None:
    made: list[tuple[int, int]] = []

    def make(start: int, stop: int) -> list[list[float | str]]:
        made.append((start, stop))
        return [[place / 3, f"\ud800{place}", float("-inf")] for place in range(start, stop)]

    kept = Unfinished.begin(tmp_path / "w", {"a": (1, 2)})
    expected = [[place / 3, f"\ud800{place}", float("-inf")] for place in range(10)]
    assert Blocks(kept, "some", 10, 4).values(make, ProgressBar("", 10, "")) == expected
    again, bar = Blocks(Unfinished.begin(tmp_path / "w", {"a": [1, 2]}), "some", 10, 4), ProgressBar("", 10, "")
    assert again.whole and again.n_kept == 10 and again.values(make, bar) == expected and bar.done == 10
    assert made == [(0, 4), (4, 8), (8, 10)]
    nothing = Blocks(None, "some", 0, 4)
    assert nothing.whole and nothing.values(make, bar) == []


class _Fickle(Maker):
    """Suggests something else each time."""

    def suggest(self, examples: Sequence[Context], words: Sequence[str]) -> tuple[str, ...]:
        self.asked += 1
        return (NOUNS[self.asked % len(NOUNS)],)


@pytest.mark.usefixtures("small_parts")
def test_names_are_tried_anew_where_answers_were_lost(
    encoder: LatentTermEncoder, tmp_path: Path, stop_after: Callable[[int, type[BaseException]], None]
) -> None:
    texts, place, maker = texts_of(40), tmp_path / "out.unfinished", _Fickle()
    while not any(place.glob("names-*")):
        stop_after(3, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            label_into(encoder, texts, tmp_path / "out", CONFIG, maker=maker)
    (place / "suggestions-0000016.json").unlink()
    tried = {path.name: path.stat().st_mtime_ns for path in place.glob("names-*")}
    stop_after(2, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        label_into(encoder, texts, tmp_path / "out", CONFIG, maker=maker)
    assert tried and (place / "names-0000000.json").stat().st_mtime_ns > tried["names-0000000.json"]


COMMAND = [sys.executable, "-m", "lexite", "label"]


class Run:
    """The command in a process of its own; it reads its texts from standard input."""

    def __init__(self, vocabulary: Path, out: Path) -> None:
        words = [*COMMAND, str(vocabulary), "-", "-o", str(out), "--contexts", "2", "--label-passages", "1"]
        self.out, self.unfinished = out, out.with_name(f"{out.name}.unfinished")
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # shells let jobs in the background ignore it
        )

    def give(self, texts: Sequence[str]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("".join(json.dumps({"text": text}) + "\n" for text in texts).encode())
        self.process.stdin.flush()

    def wait_for(self, n: int) -> None:
        """Until so many parts are kept."""
        while not (self.unfinished / STATE_FILE).exists() or len(parts_of(self.unfinished)) < n:
            assert self.process.poll() is None
            time.sleep(0.02)

    def end(self) -> tuple[int, str]:
        _, told = self.process.communicate()
        return self.process.returncode, told.decode()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_the_command_goes_on_after_signals(tiny_vocabulary: Path, tmp_path: Path) -> None:
    texts = texts_of(4000)
    whole = Run(tiny_vocabulary, tmp_path / "whole" / "out")
    whole.give(texts)
    assert whole.end()[0] == 0
    out = tmp_path / "stopped" / "out"
    for number, status in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        stopped = Run(tiny_vocabulary, out)
        n = 1 if number == signal.SIGINT else 3
        stopped.give(texts[: 1024 * (n + 1)])
        stopped.wait_for(n)  # and then it waits for more text
        stopped.process.send_signal(number)
        code, told = stopped.end()
        assert code == status and not out.exists()
        if number == signal.SIGINT:
            assert f"What was done is kept in {stopped.unfinished}. The same command goes on there." in told
            assert told.splitlines()[-1].startswith("Error: Interrupted.")
    last = Run(tiny_vocabulary, out)
    last.give(texts)
    code, told = last.end()
    assert code == 0 and "Going on from " in told
    assert files_of(out) == files_of(tmp_path / "whole" / "out") and not last.unfinished.exists()


def test_the_verb_says_what_differs_by_its_options(
    tiny_vocabulary: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    stop_after: Callable[[int, type[BaseException]], None],
) -> None:
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts_of(60)))
    words = ["label", str(tiny_vocabulary), str(tmp_path / "texts.jsonl"), "-o", str(tmp_path / "out"), "--contexts", "2"]
    stop_after(1, KeyboardInterrupt)
    assert main(words) == 130
    assert "out.unfinished. The same command goes on there." in capsys.readouterr().err
    assert main([*words, "--seed", "3"]) == 1
    assert "(seed: 0 -> 3). Go on with the same settings, or begin anew with --overwrite." in capsys.readouterr().err
    stop_after(1000, KeyboardInterrupt)
    assert main([*words, "--seed", "3", "--overwrite"]) == 0
    assert not (tmp_path / "out.unfinished").exists() and (tmp_path / "out").is_dir()


def test_files_may_be_named_from_another_folder(
    tiny_vocabulary: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    stop_after: Callable[[int, type[BaseException]], None],
) -> None:
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts_of(60)))
    words = ["--contexts", "2", "-o", str(tmp_path / "out")]
    stop_after(1, KeyboardInterrupt)
    assert main(["label", str(tiny_vocabulary), str(tmp_path / "texts.jsonl"), *words]) == 130
    monkeypatch.chdir(tmp_path)
    assert main(["label", str(tiny_vocabulary), "texts.jsonl", *words]) == 130
    assert "Going on from" in capsys.readouterr().err
    (tmp_path / "texts.jsonl").write_text(json.dumps({"text": "other"}) + "\n")
    assert main(["label", str(tiny_vocabulary), "texts.jsonl", *words]) == 1
    assert "(sources: ['texts.jsonl (" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_stop_between_the_first_part_and_the_record_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException] | BaseException
) -> None:
    """The folder says what it is, so the next run takes it, with these settings or others."""
    real = os.replace

    def replace(old: Path, new: Path) -> None:
        real(old, new)
        if Path(new).name == "some-1":
            raise error

    for settings in ({"a": 1}, {"a": 2}):
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", replace)
            with pytest.raises((KeyboardInterrupt, StorageError)):
                Unfinished.begin(tmp_path / "w", {"a": 1}).write("some-1", b"x")
        assert (tmp_path / "w" / "some-1").exists()
        kept = Unfinished.begin(tmp_path / "w", settings)
        assert not kept.holds_something and kept.read("some-1") is None
        kept.write("some-1", b"y")
        assert Unfinished.begin(tmp_path / "w", settings).read("some-1") == b"y"
        kept.remove()
        assert not (tmp_path / "w").exists()


def test_a_folder_on_another_disk_is_removed_with_its_link(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "w").symlink_to(tmp_path / "large")
    kept = Unfinished.begin(tmp_path / "w", {})
    kept.write("some-1", b"x")
    kept.remove()
    assert not list(tmp_path.iterdir()) and not caplog.text
    kept.remove()


def test_what_cannot_be_removed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    kept = Unfinished.begin(tmp_path / "w", {})
    kept.write("some-1", b"x")
    monkeypatch.setattr(lexite.labelling.unfinished.shutil, "rmtree", refuse)
    kept.remove()
    assert f"{tmp_path / 'w'} is of no more use, but cannot be removed: Permission denied." in caplog.text


def test_a_second_labelling_is_refused_while_the_first_runs(encoder: LatentTermEncoder, tmp_path: Path) -> None:
    """Neither its own settings nor ``overwrite`` let it in; what the first does stays whole."""
    refused: list[str] = []

    class Meanwhile(Maker):
        def suggest(self, examples: Sequence[Context], words: Sequence[str]) -> tuple[str, ...]:
            if not self.asked:
                for overwrite in (False, True):
                    with pytest.raises(StorageError) as caught:
                        label_into(encoder, texts_of(20), tmp_path / "out", CONFIG, overwrite=overwrite)
                    refused.append(str(caught.value))
            return super().suggest(examples, words)

    label_into(encoder, texts_of(20), tmp_path / "out", CONFIG, maker=Meanwhile())
    place = tmp_path / "out.unfinished"
    message = f"Another labelling keeps its work in {place}. Wait until it is done, or choose another output folder."
    assert refused == [message, message] and [path.name for path in tmp_path.iterdir()] == ["out"]
    label_into(encoder, texts_of(20), tmp_path / "out", CONFIG, maker=Maker(), overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
