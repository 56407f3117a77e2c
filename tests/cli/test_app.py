from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import lexite
from lexite.cli import app as cli_app
from lexite.cli.app import VERBS, build_app, main
from lexite.errors import CorpusError

ENVIRONMENT = {**os.environ, "COLUMNS": "120", "HF_HUB_OFFLINE": "1"}


def command(*words: str, **settings: object) -> subprocess.CompletedProcess[str]:
    options: dict[str, object] = {"capture_output": True, "text": True, "env": ENVIRONMENT, "timeout": 120, **settings}
    return subprocess.run([sys.executable, "-m", "lexite", *words], **options)  # type: ignore[call-overload, no-any-return]


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail() -> None:
        raise error

    app = typer.Typer(rich_markup_mode=None)
    app.callback()(lambda: None)
    app.command("info")(fail)
    monkeypatch.setattr(cli_app, "build_app", lambda verb: app)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"lexite {lexite.__version__}\n"


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {verb} " in text for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_json(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: lexite {verb}") and "--quiet" in text
    assert "--json" in text or verb == "mcp"  # whose standard output is a protocol, in JSON already


def test_all_verbs_can_be_loaded_at_once() -> None:
    assert {info.name for info in build_app().registered_commands} == set(VERBS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["index", "x", "--profile", "big"],
            "Error: Invalid value for '--profile': 'big' is not one of 'full', 'small'. See 'lexite index --help'.",
        ),
        *(
            (["index", "x", "--idf-power", value], "Error: Invalid value for '--idf-power': Input should be a finite number.")
            for value in ("nan", "inf", "-inf")
        ),
        (["serach"], "Error: No such command 'serach'. Did you mean 'search'? See 'lexite --help'."),
        (["search"], "Error: Missing argument 'INDEX'. See 'lexite search --help'."),
        (["search", "x", "--top-k", "0"], "Error: Invalid value for '--top-k'"),
        (["index", "--wrong"], "Error: No such option: --wrong"),
    ],
)
def test_wrong_usage_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and err.startswith(message)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (CorpusError("notes.txt is\nempty."), 1, "Error: notes.txt is empty.\n"),
        (KeyboardInterrupt(), 130, "Error: Interrupted. What was committed before is kept.\n"),
        (MemoryError(), 1, "Error: Not enough memory. Try smaller batches or fewer documents at once.\n"),
        (ValueError("odd"), 70, "Error: ValueError: odd. This is a fault in lexite; LEXITE_TRACEBACK=1 shows where.\n"),
        (AssertionError(), 70, "Error: AssertionError. This is a fault in lexite; LEXITE_TRACEBACK=1 shows where.\n"),
        (typer.Exit(3), 3, ""),
    ],
)
def test_errors_are_one_line_and_a_status(
    error: BaseException, status: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(monkeypatch, error)
    assert main(["info"]) == status
    assert capsys.readouterr().err.strip("\n") == message.strip("\n")


def test_a_traceback_on_request(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    raising(monkeypatch, CorpusError("bad"))
    monkeypatch.setenv("LEXITE_TRACEBACK", "1")
    assert main(["info"]) == 1
    text = capsys.readouterr().err
    assert "Traceback (most recent call last)" in text and text.endswith("Error: bad\n")


@pytest.mark.parametrize(
    ("words", "level"),
    [([], logging.INFO), (["-v"], logging.DEBUG), (["-q"], logging.WARNING)],
)
def test_verbosity_before_and_after_the_verb(words: list[str], level: int, tmp_path: Path) -> None:
    logger = logging.getLogger("lexite")
    missing = str(tmp_path / "none")
    assert main([*words, "info", missing]) == 1
    assert logger.level == level
    assert main(["info", missing, *words]) == 1
    assert logger.level == level


def test_log_goes_to_stderr_with_the_level_of_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    logging.getLogger("lexite").info("reading")
    logging.getLogger("lexite").warning("a record was skipped")
    assert capsys.readouterr().err == "reading\nWarning: a record was skipped\n"


def test_a_closed_pipe_is_quiet() -> None:
    script = f"{sys.executable} -m lexite index --help | head -n 1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=ENVIRONMENT, timeout=120)
    assert done.stderr == "" and done.stdout.startswith("Usage: lexite index")


def test_the_installed_command_and_the_module_agree() -> None:
    script = Path(sys.executable).with_name("lexite")
    assert script.exists()
    assert subprocess.run([script, "--version"], capture_output=True, text=True).stdout == command("--version").stdout


def test_the_package_is_cheap_to_import() -> None:
    code = "import sys, lexite; print([m for m in ('torch', 'numpy', 'scipy', 'typer', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_help_needs_no_torch() -> None:
    code = "import sys; from lexite.cli import main; main(['--help']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.stdout.endswith("False\n")


def test_exported_names_are_there_and_others_are_not() -> None:
    assert set(lexite.__all__) <= set(dir(lexite))
    assert lexite.BM25Config().k1 == 2.5
    with pytest.raises(AttributeError, match="module 'lexite' has no attribute 'nothing'"):
        _ = lexite.nothing  # type: ignore[attr-defined]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_behind_stdout_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = command("--help", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, "Error: Standard output cannot be written: no space left on device.\n")


def test_stdout_may_lack_characters_or_be_closed() -> None:
    code = "from lexite.cli import output as o; o.prepare_streams(); print('é'); o.print_json('é')"
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout == '?\n"\\u00e9"\n', done.stderr
    script = f"{sys.executable} -m lexite --version >&- <&-"
    assert subprocess.run(["bash", "-c", script], capture_output=True, env=ENVIRONMENT).returncode == 0


def test_without_a_verb_the_help_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    shown = "".join(capsys.readouterr())
    assert (
        "Error" not in shown
        and "Usage: lexite" in shown
        and any(line.strip().startswith("search ") for line in shown.splitlines())
    )
