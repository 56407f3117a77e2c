from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from typer.testing import CliRunner

from lexite.cli.help import SectionedCommand
from lexite.cli.options import Overrides, configured, flag, options_of, short_count
from lexite.config import option
from lexite.errors import ConfigError


@dataclass(frozen=True)
class Colour:
    shade: Literal["light", "dark"] = option("light", "How much light.")
    strength: float = option(0.5, "How strong.", minimum=0.0, maximum=1.0)
    drops: int | None = option(None, "How many drops.", minimum=1)
    grains: int = option(2_000_000, "How many grains.", minimum=1, count=True)
    glossy: bool = option(False, "Whether it shines.")
    pot_name: str | None = option(None, "What is on the pot.")
    secret: int = option(7, "Set by the program.", hidden=True)


@dataclass(frozen=True)
class Brush:
    width: int = option(3, "Bristles.", minimum=1)


@dataclass(frozen=True)
class Pot:
    cover: str = option("none", "What closes it.", flag="--lid")
    handle: bool = option(True, "Whether it has one.")
    length: int = option(2, "Of the handle.", minimum=1)


def run_pot(*words: str) -> tuple[Any, list[Any]]:
    """Runs a verb with options that are not called as their parameters, and one that needs another."""
    calls: list[Any] = []

    @configured(recipe=True, needs={"handle": ("length",)}, pot="Pot")
    def cast(*, output: Annotated[Path | None, typer.Option("--to", "-o")] = None, pot: Pot) -> None:
        calls.append((output, pot))

    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    app.command(cls=SectionedCommand)(cast)
    return CliRunner().invoke(app, list(words)), calls


def make_app(calls: list[dict[str, Any]], **settings: Any) -> typer.Typer:
    @configured(**settings, colour="Paint", brush="Tool (default: the last one)")
    def paint(
        sources: Annotated[list[str] | None, typer.Argument(help="Walls.")] = None,
        *,
        output: Annotated[Path | None, typer.Option("--output", "-o")] = None,
        colour: Colour,
        brush: Overrides[Brush],
    ) -> None:
        """Paint walls."""
        calls.append({"sources": sources, "output": output, "colour": colour, "brush": brush})

    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    app.command(cls=SectionedCommand)(paint)
    return app


def run(*words: str, **settings: Any) -> tuple[Any, list[dict[str, Any]]]:
    calls: list[dict[str, Any]] = []
    return CliRunner().invoke(make_app(calls, **settings), list(words)), calls


def test_defaults_are_those_of_the_dataclass() -> None:
    result, calls = run("north")
    assert result.exit_code == 0, result.output
    assert calls == [{"sources": ["north"], "output": None, "colour": Colour(), "brush": Overrides({})}]


def test_given_options_are_checked_and_built() -> None:
    words = "--shade dark --strength 1 --drops 4 --grains 1.5k --glossy --pot-name sky --width 9 -o out".split()
    result, calls = run("north", "south", *words)
    assert result.exit_code == 0, result.output
    assert calls[0]["colour"] == Colour("dark", 1.0, 4, 1500, True, "sky")
    assert calls[0]["brush"].over(Brush(1)) == Brush(9)
    assert calls[0]["output"] == Path("out")


def test_overrides_leave_what_was_not_given() -> None:
    saved = Brush(5)
    assert Overrides[Brush]({}).over(saved) is saved


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shade", "purple"], "'purple' is not one of 'light', 'dark'"),
        (["--strength", "2"], "less than or equal to 1"),
        (["--strength", "much"], "--strength"),
        (["--drops", "0"], "greater than or equal to 1"),
        (["--colour", "red"], "No such option: --colour"),
        (["--secret", "1"], "No such option: --secret"),
    ],
)
def test_wrong_usage_ends_with_two(words: list[str], message: str) -> None:
    result, calls = run(*words)
    assert result.exit_code == 2 and not calls
    assert message in result.output


@pytest.mark.parametrize(
    ("value", "message"), [("many", "--grains: 'many' is not a count"), ("0", "--grains is 0, but must be")]
)
def test_counts_are_checked_with_the_name_of_the_option(value: str, message: str) -> None:
    result, calls = run("--grains", value)
    assert isinstance(result.exception, ConfigError) and not calls
    assert str(result.exception).startswith(message)


def test_help_has_a_section_per_configuration_with_limits_choices_and_defaults() -> None:
    text = run("--help")[0].output
    assert (
        text.index("Arguments:") < text.index("Options:") < text.index("Paint:") < text.index("Tool (default: the last one):")
    )
    for part in ("<light|dark>", "[default: 0.5; 0.0<=x<=1.0]", "--grains COUNT", "[default: 2M]", "--glossy / --no-glossy"):
        assert part in text
    assert "How many drops.  [x>=1]" in text
    assert "secret" not in text and "Bristles.  [x>=1]" in text, "an override shows no default of its own"


def test_a_recipe_is_overridden_by_options_and_overrides_defaults(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "sources: [east, west]\noutput: there\nshade: dark\ngrains: 3k\nstrength: 1e-1\nwidth: 4\npot-name: sea\n"
    )
    result, calls = run("--recipe", str(recipe), "--grains", "5", "--no-glossy", recipe=True)
    assert result.exit_code == 0, result.output
    assert calls[0]["colour"] == Colour("dark", 0.1, None, 5, False, "sea")
    assert calls[0]["sources"] == ["east", "west"] and calls[0]["output"] == Path("there")
    assert calls[0]["brush"] == Overrides({"width": 4})


def test_sources_of_the_command_line_win_over_the_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("sources:\n")
    assert run("--recipe", str(recipe), recipe=True)[1][0]["sources"] == []
    recipe.write_text("sources: east\n")
    assert run("--recipe", str(recipe), recipe=True)[1][0]["sources"] == ["east"]
    assert run("north", "--recipe", str(recipe), recipe=True)[1][0]["sources"] == ["north"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("strenght: 1", "unknown key 'strenght'. Did you mean 'strength'?"),
        ("strength: 3", "recipe.yaml: strength is 3.0, but must be at most 1.0."),
        ("shade: [a", "not valid YAML"),
        ("secret: 3", "unknown key 'secret'"),
        ("output: [a, b]", "recipe.yaml: output is ['a', 'b'], but must be text."),
        ("sources: [east, 3]", "recipe.yaml: sources holds 3, but must hold text."),
        ("sources: {a: b}", "recipe.yaml: sources holds {'a': 'b'}, but must hold text."),
        ("- a", "a recipe is a list of 'key: value' lines"),
    ],
)
def test_bad_recipes_are_named(tmp_path: Path, text: str, message: str) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(text)
    result, calls = run("--recipe", str(recipe), recipe=True)
    assert isinstance(result.exception, ConfigError) and not calls
    assert message in str(result.exception)


def test_a_recipe_may_call_a_key_as_its_option_is_called(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    for text in ("lid: round\nto: there\n", "cover: round\noutput: there\n"):
        recipe.write_text(text)
        result, calls = run_pot("--recipe", str(recipe))
        assert result.exit_code == 0, result.output
        assert calls == [(Path("there"), Pot(cover="round"))]
    assert run_pot("--recipe", str(recipe), "--lid", "flat")[1] == [(Path("there"), Pot(cover="flat"))]
    for text, names in (("lid: a\ncover: b\n", "'lid' and 'cover'"), ("to: a\noutput: b\n", "'to' and 'output'")):
        recipe.write_text(text)
        result, calls = run_pot("--recipe", str(recipe))
        assert not calls and str(result.exception) == f"{recipe}: {names} are the same key. Leave one of them out."


def test_what_has_no_effect_is_refused(tmp_path: Path) -> None:
    assert run_pot("--handle", "--length", "3")[1] == [(None, Pot(length=3))]
    recipe, message = tmp_path / "recipe.yaml", "--length has no effect beside --no-handle. Leave one of them out."
    recipe.write_text("handle: false\nlength: 4\n")
    for words in (["--no-handle"], ["--recipe", str(recipe)]):
        result, calls = run_pot(*words, "--length", "3")
        assert not calls and isinstance(result.exception, ConfigError) and str(result.exception) == message
    assert run_pot("--recipe", str(recipe))[1] == [(None, Pot(handle=False, length=4))]  # a recipe may hold every key
    assert run_pot("--recipe", str(recipe), "--handle", "--length", "3")[1] == [(None, Pot(length=3))]


def test_only_some_fields_can_be_offered() -> None:
    assert [field.name for field in options_of(Colour, ("drops", "shade"))] == ["shade", "drops"]
    result, _ = run("--strength", "1", only={"colour": ("shade",)})
    assert "No such option: --strength" in result.output


def test_two_options_of_one_name_are_a_mistake_of_the_programmer() -> None:
    with pytest.raises(TypeError, match="Brush: the option --width exists already"):

        @configured(first="A", second="B")
        def verb(*, first: Brush, second: Brush) -> None: ...


def test_names_and_counts() -> None:
    assert flag("max_length") == "--max-length"
    assert [short_count(n) for n in (0, 999, 1000, 524_288, 3 * 10**9)] == ["0", "999", "1k", "524288", "3G"]
