"""The pages about the command line name what the command line has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from lexite.backbone.config import BackboneConfig
from lexite.cli.app import VERBS, build_app
from lexite.cli.options import flag, flag_of, options_of, shown_default
from lexite.cli.strategy_options import option_name
from lexite.corpus.options import ReadOptions
from lexite.index.side_config import SideDataConfig
from lexite.sae.config import SAEConfig
from lexite.sae.objective import ObjectiveConfig
from lexite.scoring.config import BM25Config
from lexite.scoring.words import LiteralConfig
from lexite.search.limits import HitLimits
from lexite.search.strategies import STRATEGIES
from lexite.server.config import ServerConfig
from lexite.terms.config import SavingConfig, TermsConfig
from lexite.training.config import TrainingConfig

ROOT = Path(__file__).parents[2]
PAGES = {verb: f"{verb}.md" for verb in VERBS} | {"delete": "add.md", "merge": "add.md", "list": "get.md"}
CONFIGURATIONS = (
    HitLimits,
    ReadOptions,
    TermsConfig,
    BM25Config,
    LiteralConfig,
    SideDataConfig,
    BackboneConfig,
    SAEConfig,
    TrainingConfig,
    ObjectiveConfig,
    SavingConfig,
    ServerConfig,
)


def page(name: str) -> str:
    return (ROOT / "docs" / "cli" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("cls", CONFIGURATIONS, ids=lambda cls: cls.__name__)
def test_shared_options_are_all_described(cls: type) -> None:
    described = re.findall(r"^\| `(--[a-z0-9-]+)`", page("options.md"), re.MULTILINE)
    assert {flag_of(field) for field in options_of(cls)} <= set(described)


def test_no_option_is_described_that_is_gone() -> None:
    known = {flag_of(field) for cls in CONFIGURATIONS for field in options_of(cls)} | set(strategy_options())
    assert set(re.findall(r"^\| `(--[a-z0-9-]+)`", page("options.md"), re.MULTILINE)) == known


@pytest.mark.parametrize("cls", CONFIGURATIONS, ids=lambda cls: cls.__name__)
def test_defaults_and_meanings_are_those_of_the_program(cls: type) -> None:
    rows = dict(re.findall(r"^\| `(--[a-z0-9-]+)` \| (.*) \|$", page("options.md"), re.MULTILINE))
    for field in options_of(cls):
        default, meaning = rows[flag_of(field)].split("|", 1)
        assert default.strip() == shown_default(field), field.name
        assert meaning.strip().startswith(field.metadata["help"].rstrip(".")), field.name


def strategy_options() -> dict[str, Any]:
    """The options of all strategies, with their fields."""
    return {flag(option_name(name, field.name)): field for name in STRATEGIES for field in options_of(STRATEGIES[name])}


def test_options_of_strategies_are_described_as_the_program_has_them() -> None:
    rows = dict(re.findall(r"^\| `(--[a-z0-9-]+)` \| (.*) \|$", page("options.md"), re.MULTILINE))
    for option, field in strategy_options().items():
        default, meaning = rows[option].split("|", 1)
        assert default.strip() == shown_default(field), option
        assert meaning.strip().startswith(field.metadata["help"].rstrip(".")), option


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_a_page_with_its_own_options(verb: str) -> None:
    shared = {field.name for cls in CONFIGURATIONS for field in options_of(cls)} | {"verbose", "quiet", "help"}
    shared |= {option_name(name, field.name) for name in STRATEGIES for field in options_of(STRATEGIES[name])}
    (command,) = [c for name, c in get_command(build_app(verb)).commands.items() if name == verb]  # type: ignore[attr-defined]
    own = [p for p in command.params if p.param_type_name == "option" and p.name not in shared]
    text = page(PAGES[verb])
    missing = [option.opts[-1] for option in own if not any(f"`{name}" in text for name in option.opts)]
    assert text.startswith("# lexite ") and not missing


MARKDOWN = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks" / "README.md"]


def anchors(file: Path) -> set[str]:
    """What the headings of a page are called in links, by GitHub's rule."""
    text = re.sub(r"```.*?```", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = (re.sub(r"\[(.*?)\]\(.*?\)", r"\1", title) for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("file", MARKDOWN, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", text):
        page = file.parent / target if target else file
        assert page.exists(), target
        assert not anchor or anchor in anchors(page), f"{target}#{anchor}"
    for picture in re.findall(r"""(?:src|srcset)="([^":]+)\"""", text):
        assert (file.parent / picture).is_file(), picture


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    linked = {(ROOT / "docs" / target).resolve() for target in re.findall(r"\]\(([^)#:]+)", index)}
    assert {page for page in (ROOT / "docs").rglob("*.md") if page.name != "README.md"} <= linked
