"""Command-line options out of configuration dataclasses.

A verb asks for whole configurations; :func:`configured` puts one option per field in its place (help text, limits, choices,
default) and hands the verb built and checked dataclasses. The same keys may come from a recipe file; an option that was
given wins over the recipe, which wins over the default.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal, Union

import typer
from typer.models import OptionInfo

from lexite.cli.output import WrongUsage, set_verbosity
from lexite.cli.recipes import read_recipe, recipe_keys
from lexite.config import Overrides, check_value, option_aliases
from lexite.errors import ConfigError

RECIPE_HELP = "YAML file with the same keys as the options below; options that are given win over it."
_METAVARS = {int: "INTEGER", float: "NUMBER", str: "TEXT"}


def configured(
    *,
    recipe: bool = False,
    only: Mapping[str, Collection[str]] | None = None,
    with_defaults: Collection[str] = (),
    needs: Mapping[str, Collection[str]] | None = None,
    **headings: str,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Turns parameters of a verb that are configurations into options.

    Args:
        recipe: whether ``--recipe FILE`` is offered.
        only: by parameter name, the fields that are offered; all of them for a parameter that is not named.
        with_defaults: names of parameters with ``Overrides`` whose ``--help`` shows the defaults of the dataclass all the same,
            since they are what it is laid over as a rule.
        needs: by name of a yes-or-no option, the options that have no effect without it, and are refused beside its --no.
        headings: by parameter name, the heading of its options in ``--help``. The parameter is annotated with a configuration
            dataclass, and gets one that is built and checked, or with ``Overrides[dataclass]``, and gets what was given.

    Returns:
        A decorator. What it returns has the signature that typer needs, with ``--verbose`` and ``--quiet``.
    """

    def decorate(verb: Callable[..., Any]) -> Callable[..., Any]:
        hints = typing.get_type_hints(verb, include_extras=True)
        own = [p for p in inspect.signature(verb).parameters.values() if p.name not in headings]
        groups = [
            _group(name, hints[name], heading, (only or {}).get(name), name in with_defaults)
            for name, heading in headings.items()
        ]
        _check_clashes(groups, [p.name for p in own])
        keys, fields = recipe_keys(hints, [p.name for p in own]), [field.name for group in groups for field in group.fields]
        aliases = _aliases({name: hints[name] for name in keys}, groups)

        @functools.wraps(verb)
        def run(context: typer.Context, **values: Any) -> Any:
            given = {name for name in values if _was_given(context, name)}
            verbose, quiet = values.pop("verbose"), values.pop("quiet")
            if verbose or quiet:
                set_verbosity(verbose, quiet)
            path = values.pop("recipe", None)
            written = read_recipe(path, keys, fields, aliases)
            _check_effect(needs or {}, given, {**written, **{name: values[name] for name in given if name in values}})
            values.update({key: value for key, value in written.items() if key in keys and key not in given})
            for group in groups:
                options = {field.name: values.pop(field.name) for field in group.fields}
                options = {key: value for key, value in options.items() if key in given}
                values[group.name] = _build(group, options, written, str(path))
            return verb(**values)

        parameters = [_context_parameter(), *_own_parameters(own, hints), *_recipe_parameter(recipe)]
        parameters += [parameter for group in groups for parameter in _parameters(group)]
        parameters += _log_parameters()
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        del run.__wrapped__  # typer would read the annotations of the verb itself
        return run

    return decorate


@dataclasses.dataclass(frozen=True)
class _Group:
    """The options of one configuration."""

    name: str
    cls: type
    heading: str
    overrides: bool
    shows_defaults: bool
    fields: list[dataclasses.Field[Any]]


def _group(name: str, hint: Any, heading: str, only: Collection[str] | None, with_defaults: bool) -> _Group:
    overrides = typing.get_origin(hint) is Overrides
    cls = typing.get_args(hint)[0] if overrides else hint
    return _Group(name, cls, heading, overrides, with_defaults or not overrides, options_of(cls, only))


def _check_clashes(groups: list[_Group], taken: list[str]) -> None:
    seen = set(taken)
    for group in groups:
        for field in group.fields:
            if field.name in seen:
                raise TypeError(f"{group.cls.__name__}: the option {flag(field.name)} exists already in this verb")
            seen.add(field.name)


def options_of(cls: type, only: Collection[str] | None = None) -> list[dataclasses.Field[Any]]:
    """The fields of a configuration that are offered on the command line, all or ``only`` some."""
    offered = [field for field in dataclasses.fields(cls) if "help" in field.metadata and not field.metadata["hidden"]]
    return [field for field in offered if only is None or field.name in only]


def flag(name: str) -> str:
    """The option of a field: ``long_texts`` is ``--long-texts``."""
    return "--" + name.replace("_", "-")


def flag_of(field: dataclasses.Field[Any]) -> str:
    """The option of a field, which may have a name of its own."""
    return str(field.metadata.get("flag") or flag(field.name))


def short_count(value: int) -> str:
    """Writes a count as it may be typed.

    >>> short_count(10_000_000), short_count(2500), short_count(4096), short_count(0)
    ('10M', '2500', '4096', '0')
    """
    for size, suffix in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value and value % size == 0:
            return f"{value // size}{suffix}"
    return str(value)


def shown_default(field: dataclasses.Field[Any]) -> str:
    """The default of a field as the documentation writes it; empty where there is none."""
    value: Any = field.default
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == ():
        return ""
    return short_count(value) if field.metadata["count"] else str(value)


def _own_parameters(parameters: list[inspect.Parameter], hints: Mapping[str, Any]) -> list[inspect.Parameter]:
    """The verb's own parameters with their annotations resolved, all to be passed by name."""
    return [p.replace(annotation=hints[p.name], kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name not in ("DEFAULT", "DEFAULT_MAP")


def _aliases(own: Mapping[str, Any], groups: list[_Group]) -> dict[str, str]:
    """The keys of a recipe whose options have other names, by those names: ``start`` by ``from``, as in ``--from``."""
    fields = [field for group in groups for field in group.fields]
    found, keys = option_aliases(fields), {*own, *(field.name for field in fields)}
    for name, hint in own.items():
        declared = [part for part in typing.get_args(hint)[1:] if isinstance(part, OptionInfo)]
        words = [word for part in declared for word in (part.default, *(part.param_decls or ())) if str(word).startswith("--")]
        alias = str(words[0]).partition("/")[0][2:].replace("-", "_") if words else name
        if alias != name:
            found[alias] = name
    return {alias: name for alias, name in found.items() if alias not in keys}


def _check_effect(needs: Mapping[str, Collection[str]], given: Collection[str], values: Mapping[str, Any]) -> None:
    """Refuses options of the command line that something which is switched off leaves without effect."""
    for switch, needy in needs.items():
        idle = next((name for name in needy if name in given), None)
        if idle is not None and values.get(switch) is False:
            raise WrongUsage(f"{flag(idle)} has no effect beside --no-{flag(switch)[2:]}. Leave one of them out.")


def _build(group: _Group, options: Mapping[str, Any], written: Mapping[str, Any], path: str) -> Any:
    hints = typing.get_type_hints(group.cls)
    checked = {}
    for field in group.fields:
        if field.name in options:
            checked[field.name] = _check_option(hints[field.name], field, options[field.name])
        elif field.name in written:
            checked[field.name] = check_value(hints[field.name], field, written[field.name], path)
    return Overrides(checked) if group.overrides else group.cls(**checked)


def _check_option(hint: Any, field: dataclasses.Field[Any], value: Any) -> Any:
    try:
        return check_value(hint, field, value, "option")
    except ConfigError as error:
        raise WrongUsage(str(error).removeprefix("option: ").replace(field.name, flag_of(field), 1)) from None


def _context_parameter() -> inspect.Parameter:
    return inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)


def _recipe_parameter(recipe: bool) -> list[inspect.Parameter]:
    if not recipe:
        return []
    choice = typer.Option("--recipe", help=RECIPE_HELP, metavar="FILE", show_default=False)
    annotation = typing.Annotated[Union[Path, None], choice]  # noqa: UP007
    return [inspect.Parameter("recipe", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)]


def _log_parameters() -> list[inspect.Parameter]:
    verbose = typing.Annotated[bool, typer.Option("--verbose", "-v", help="Log details on stderr.")]
    quiet = typing.Annotated[bool, typer.Option("--quiet", "-q", help="Log warnings only, and show no progress.")]
    named = {"verbose": verbose, "quiet": quiet}
    return [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=a) for n, a in named.items()]


def _parameters(group: _Group) -> list[inspect.Parameter]:
    hints = typing.get_type_hints(group.cls)
    return [parameter_of(field, hints[field.name], group.heading, group.shows_defaults) for field in group.fields]


def parameter_of(
    field: dataclasses.Field[Any], hint: Any, heading: str, shows_defaults: bool, name: str = ""
) -> inspect.Parameter:
    """The option of a field, as the parameter of a verb that typer reads.

    Args:
        field: of a configuration.
        hint: its type.
        heading: in ``--help``.
        shows_defaults: whether the default of the field is the default of the option; else that is None.
        name: of the parameter, where it is other than the field's.
    """
    kind = _plain_type(hint)
    metadata = field.metadata
    default: Any = field.default if shows_defaults else None
    settings: dict[str, Any] = {"help": metadata["help"], "rich_help_panel": heading}
    settings["show_default"] = default not in (None, "")
    names = [flag(name) if name else flag_of(field)]
    if kind is bool:
        yes = flag(name or field.name)
        names = [f"{yes}/--no-{yes[2:]}"]
    elif metadata.get("count"):
        kind, settings["metavar"] = str, "COUNT"
        default = None if default is None else short_count(default)
    elif kind in (int, float):
        settings |= {"min": metadata.get("minimum"), "max": metadata.get("maximum"), "metavar": _METAVARS[kind]}
    elif kind is str:
        settings["metavar"] = _METAVARS[kind]
    elif kind == list[str]:
        settings |= {"metavar": "TEXT", "show_default": False}
        default = None
    annotation = typing.Annotated[Union[kind, None], typer.Option(*names, **settings)]  # type: ignore[valid-type]  # noqa: UP007
    return inspect.Parameter(name or field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _plain_type(hint: Any) -> Any:
    """The type of an option: ``X`` for ``X | None``, a choice for a Literal of words, and text for anything else."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        rest = [part for part in typing.get_args(hint) if part is not type(None)]
        return _plain_type(rest[0]) if len(rest) == 1 else str
    if typing.get_origin(hint) is Literal:
        return hint
    if typing.get_origin(hint) is tuple:  # given several times
        return list[str]
    return hint if hint in (bool, int, float, str) else str
