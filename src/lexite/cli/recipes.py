"""Recipes for verbs: a YAML file with the same keys as the verb's options and arguments."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Union

from lexite.config import check_value, load_recipe, unknown_key
from lexite.errors import ConfigError

_NEVER = ("json_file", "as_json", "resume", "overwrite")  # about one run of the command, not about what it makes
_COMMA_SEPARATED = ("baselines",)  # options that hold several names


def recipe_keys(hints: Mapping[str, Any], own: Collection[str]) -> dict[str, Any]:
    """The parameters of a verb, apart from its configurations, that a recipe may hold, with their plain types.

    Args:
        hints: resolved annotations of the verb's parameters.
        own: names of the parameters that are not configurations.
    """
    return {name: _bare(hints[name]) for name in own if name not in _NEVER}


def read_recipe(
    path: Path | None, own: Mapping[str, Any], fields: Collection[str], aliases: Mapping[str, str]
) -> dict[str, Any]:
    """Reads a recipe and checks its keys, and the values of the verb's own parameters.

    Args:
        path: the file; None reads nothing.
        own: what :func:`recipe_keys` gave.
        fields: names of the fields of the verb's configurations; their values are checked by whoever builds those.
        aliases: further names of keys, those of options that are not called as their key.

    Raises:
        ConfigError: the file is missing or not a recipe, a key is unknown or there under two names, or a value is
            of the wrong type.
    """
    written = load_recipe(path, aliases) if path else {}
    for key, value in written.items():
        if key in own:
            written[key] = _checked(own[key], key, value, str(path))
        elif key not in fields:
            raise ConfigError(f"{path}: {unknown_key(key, [*own, *fields, *aliases])}")
    return written


def _checked(hint: Any, key: str, value: Any, where: str) -> Any:
    if typing.get_origin(hint) is list:
        return _texts(key, value, where)
    if key in _COMMA_SEPARATED and isinstance(value, list):
        return ",".join(_texts(key, value, where))
    field: dataclasses.Field[Any] = dataclasses.field()
    field.name = key
    if hint is Path:
        return Path(check_value(str, field, value, where))
    return check_value(hint, field, value, where)


def _texts(key: str, value: Any, where: str) -> list[str]:
    """A list of texts; one text is a list of one, and a key without a value an empty list."""
    items = value if isinstance(value, list) else [] if value is None else [value]
    for item in items:
        if not isinstance(item, str):
            raise ConfigError(f"{where}: {key} holds {item!r}, but must hold text. Put it in quotes if it is a name.")
    return items


def _bare(hint: Any) -> Any:
    """``X`` for ``Annotated[X | None, ...]``."""
    if typing.get_origin(hint) is typing.Annotated:
        return _bare(typing.get_args(hint)[0])
    if typing.get_origin(hint) in (Union, types.UnionType):
        return _bare(next(part for part in typing.get_args(hint) if part is not type(None)))
    return hint
