"""Options for second stages: ``--then hybrid,maxsim`` and, for each strategy of the table, ``--hybrid-weight`` and so on."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lexite.cli.options import flag, options_of, parameter_of, shown_default
from lexite.cli.output import WrongUsage
from lexite.config import check_value
from lexite.errors import ConfigError
from lexite.search.strategies import STRATEGIES
from lexite.search.strategy import Strategy

HEADING = "Second stages (each beside a --then that names its strategy)"
PARAMETER = "strategies"


def option_name(strategy: str, field_name: str) -> str:
    """The parameter of a field of a strategy: ``hybrid_weight``, whose option is ``--hybrid-weight``."""
    return f"{strategy.replace('-', '_')}_{field_name}"


@dataclass(frozen=True)
class StrategySettings:
    """What was given of the settings of strategies.

    Attributes:
        given: strategy → field → value.
    """

    given: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def chains(self, written: Sequence[str]) -> dict[str, list[Strategy]]:
        """The strategies of chains, each written as names with commas between them, by what was written.

        Raises:
            WrongUsage: an unknown strategy, a chain that is there twice, a setting of a strategy that no chain has, or a value
                that it cannot have.
        """
        named = {",".join(_names(text)): _names(text) for text in written}
        if len(named) < len(written):
            raise WrongUsage("Two --then are the same chain. Leave one of them out.")
        used = {name for names in named.values() for name in names}
        for strategy, values in self.given.items():
            if strategy not in used:
                option = flag(option_name(strategy, next(iter(values))))
                raise WrongUsage(f"{option} has no effect without '{strategy}' in --then. Add it there, or leave {option} out.")
        return {text: [self._built(name) for name in names] for text, names in named.items()}

    def _built(self, name: str) -> Strategy:
        cls, values = STRATEGIES[name], self.given.get(name, {})
        hints = typing.get_type_hints(cls)
        fields = {each.name: each for each in options_of(cls)}
        checked = {key: _checked(name, fields[key], hints[key], value) for key, value in values.items()}
        built: Strategy = cls(**checked)
        return built


def with_strategies(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a verb the options of all strategies; it gets what was given as its parameter ``strategies``.

    It stands below :func:`lexite.cli.options.configured`.
    """
    hints = typing.get_type_hints(verb, include_extras=True)
    own = [p.replace(annotation=hints[p.name]) for p in inspect.signature(verb).parameters.values() if p.name != PARAMETER]
    offered = {
        option_name(strategy, each.name): (strategy, each)
        for strategy in STRATEGIES
        for each in options_of(STRATEGIES[strategy])
    }

    @functools.wraps(verb)
    def run(*args: Any, **values: Any) -> Any:
        given: dict[str, dict[str, Any]] = {}
        for name, (strategy, each) in offered.items():
            value = values.pop(name, None)
            if value is not None and value != []:
                given.setdefault(strategy, {})[each.name] = value
        return verb(*args, **values, **{PARAMETER: StrategySettings(given)})

    parameters = [*own, *(_parameter(name, strategy, each) for name, (strategy, each) in offered.items())]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del run.__wrapped__  # its annotations are those of the verb itself
    return run


def _parameter(name: str, strategy: str, each: dataclasses.Field[Any]) -> inspect.Parameter:
    hint = typing.get_type_hints(STRATEGIES[strategy])[each.name]
    shown = shown_default(each)
    help = each.metadata["help"] + (f" Default: {shown}." if shown else "")
    told = dataclasses.field(metadata={**each.metadata, "help": help})
    told.name = each.name
    return parameter_of(told, hint, HEADING, shows_defaults=False, name=name)


def _names(text: str) -> list[str]:
    """The strategies of a chain."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise WrongUsage(f"--then names no strategy. Choose among {', '.join(STRATEGIES)}.")
    strange = next((name for name in names if name not in STRATEGIES), None)
    if strange is not None:
        near = difflib.get_close_matches(strange, list(STRATEGIES), n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Choose among {', '.join(STRATEGIES)}."
        raise WrongUsage(f"'{strange}' is not a strategy. {hint}")
    return names


def _checked(strategy: str, each: dataclasses.Field[Any], hint: Any, value: Any) -> Any:
    try:
        return check_value(hint, each, value, "option")
    except ConfigError as error:
        option = flag(option_name(strategy, each.name))
        raise WrongUsage(str(error).removeprefix("option: ").replace(each.name, option, 1)) from None
