"""One configuration per thing: frozen dataclasses that are options, recipe keys and saved JSON at the same time.

A field is declared with :func:`option`, which carries its help text and its limits. The command line generates its options
from the same fields, and a recipe file (YAML) holds the same keys.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, Union

from lexite.errors import ConfigError

T = TypeVar("T")
Config = TypeVar("Config")
MOST_ITEMS = 3
"""Items of a list that a message names."""
_SUFFIXES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}


def option(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    count: bool = False,
    hidden: bool = False,
    flag: str = "",
) -> Any:
    """Declares a field of a configuration dataclass.

    Args:
        default: the default value.
        help: one sentence for ``--help`` and the documentation.
        minimum: smallest value allowed.
        maximum: largest value allowed.
        count: an integer that may be written with a suffix: ``500k``, ``10M``.
        hidden: not offered on the command line (set by the program, not by a person).
        flag: name on the command line, where it differs from the field's.
    """
    metadata = {"help": help, "minimum": minimum, "maximum": maximum, "count": count, "hidden": hidden, "flag": flag}
    return dataclasses.field(default=default, metadata=metadata)


def parse_count(value: Any) -> int:
    """Reads an integer that may carry a suffix.

    >>> parse_count("10M"), parse_count("1.5k"), parse_count("1e6"), parse_count(7)
    (10000000, 1500, 1000000, 7)

    Raises:
        ConfigError: it is not a whole number.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = re.fullmatch(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?(?:[eE]\+?[0-9]+)?)\s*([kKmMgGbB]?)\s*", str(value))
    if match:
        number = float(match[1].replace("_", "")) * _SUFFIXES[match[2].lower()]
        if number == int(number):
            return int(number)
    raise ConfigError(f"{value!r} is not a count. Write a whole number, or one such as 500k or 10M.")


def to_dict(config: Any) -> dict[str, Any]:
    """All fields of a configuration, as JSON values."""
    return dataclasses.asdict(config)


def from_dict(cls: type[T], values: Mapping[str, Any], where: str = "configuration") -> T:
    """Builds a configuration from a mapping, with every key and type checked.

    Args:
        cls: a dataclass whose fields were declared with :func:`option`.
        values: keys and values; missing keys keep their default.
        where: what the values were read from, for error messages.

    Raises:
        ConfigError: an unknown key, a value of the wrong type, or one outside its limits.
    """
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = [key for key in values if key not in fields]
    if unknown:
        raise ConfigError(f"{where}: {unknown_key(unknown[0], fields)}")
    checked = {key: check_value(hints[key], fields[key], value, where) for key, value in values.items()}
    return cls(**checked)


def unknown_key(key: str, known: typing.Iterable[str]) -> str:
    """A sentence about an unknown key, with the nearest known one."""
    near = difflib.get_close_matches(str(key), list(known), n=1)
    return f"unknown key '{key}'." + (f" Did you mean '{near[0]}'?" if near else "")


def check_value(hint: Any, field: dataclasses.Field[Any], value: Any, where: str) -> Any:
    """Converts ``value`` to the type of ``field`` and checks its limits; raises :class:`ConfigError`."""
    name, metadata = field.name, field.metadata
    if metadata.get("count") and value is not None:
        try:
            value = parse_count(value)
        except ConfigError as error:
            raise ConfigError(f"{where}: {name}: {error}") from None
    value = _convert(hint, value, f"{where}: {name}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where}: {name} is {value}, but must be a finite number.")
    if value is not None and not isinstance(value, (str, bool, tuple)):
        low, high = metadata.get("minimum"), metadata.get("maximum")
        if low is not None and not value >= low:
            raise ConfigError(f"{where}: {name} is {value}, but must be at least {low}.")
        if high is not None and not value <= high:
            raise ConfigError(f"{where}: {name} is {value}, but must be at most {high}.")
    return value


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        options = typing.get_args(hint)
        if value is None and type(None) in options:
            return None
        return _convert(next(o for o in options if o is not type(None)), value, where)
    if origin is Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            raise ConfigError(f"{where} is {value!r}; choose one of {', '.join(map(str, choices))}.")
        return value
    if origin is tuple:  # of texts; one alone stands for a tuple of one
        items = (
            (value,) if isinstance(value, str) else tuple(value or ()) if isinstance(value, (list, tuple, type(None))) else None
        )
        if items is None or not all(isinstance(item, str) for item in items):
            raise ConfigError(f"{where} is {value!r}, but must be text, or a list of texts.")
        return items
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str):  # YAML reads 1e-3 as a string
        try:
            return float(value)
        except ValueError:
            pass
    if hint in (int, float, str, bool) and (not isinstance(value, hint) or (hint is int and isinstance(value, bool))):
        raise ConfigError(f"{where} is {value!r}, but must be {_NOUNS[hint]}.")
    return value


_NOUNS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The keys whose values differ, each as ``key: old -> new``.

    Of two lists only items are named that the other does not have, the first few of them.

    >>> differences({"seed": 0, "files": ["a", "b", "c"]}, {"seed": 0, "files": ["a", "B", "c"]})
    ["files: ['b'] -> ['B']"]
    """
    keys = [*old, *(key for key in new if key not in old)]
    pairs = [(key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)]
    return [f"{key}: {_own_items(one, other)} -> {_own_items(other, one)}" for key, one, other in pairs]


def _own_items(value: Any, other: Any) -> str:
    """A value for a message; of a list, what another list lacks, or all of it where both have the same items."""
    if not isinstance(value, list) or not isinstance(other, list):
        return repr(value)
    own, others = {repr(item) for item in value}, {repr(item) for item in other}
    items = value if own == others else [item for item in value if repr(item) not in others]
    further = len(items) - MOST_ITEMS
    return repr(items) if further <= 0 else f"{items[:MOST_ITEMS]!r} and {further:,} more"


def differing(one: Mapping[str, Any], other: Mapping[str, Any], between: str = " and ") -> str:
    """What differs between two groups of settings, in words: those fields alone, each with both values; empty where none does.

    A configuration that only one side has is "some" there and "none" on the other side.

    Args:
        one: settings by name, which may be configurations.
        other: of the same kind.
        between: what stands between the two values.

    >>> one = {"scoring": {"k1": 0.9, "b": 0.4}, "passages": None, "text": True}
    >>> differing(one, {"scoring": {"k1": 1.2, "b": 0.4}, "passages": {"words": 200}, "text": True})
    'k1 of scoring (0.9 and 1.2), passages (none and some)'
    """
    return ", ".join(f"{name} ({_in_words(a)}{between}{_in_words(b)})" for name, a, b in _differing(one, other))


def _differing(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        one, other = ours.get(name), theirs.get(name)
        inside, outside = _by_name(one), _by_name(other)
        if inside is not None and outside is not None:
            yield from ((f"{field} of {name}", a, b) for field, a, b in _differing(inside, outside))
        elif one != other:
            yield name, one, other


def _by_name(value: Any) -> Mapping[str, Any] | None:
    """The fields of a configuration, or settings by name; None where it is neither."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return value if isinstance(value, Mapping) else None


def _in_words(value: Any) -> str:
    if value is None:
        return "none"
    return repr(value) if _by_name(value) is None else "some"


def option_aliases(fields: Iterable[dataclasses.Field[Any]]) -> dict[str, str]:
    """The names of options that are not called as their field, as keys of a recipe: ``{"sae": "rule"}``."""
    flags = {field.name: str(field.metadata.get("flag") or "") for field in fields}
    return {flag.removeprefix("--").replace("-", "_"): name for name, flag in flags.items() if flag}


def load_recipe(path: str | Path, aliases: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Reads a recipe: a YAML mapping with the same keys as the command's options (``-`` or ``_`` between words).

    Args:
        path: the file.
        aliases: further names of keys; what stands under one is returned under its key.

    Raises:
        ConfigError: the file is missing, is not YAML, is not a mapping (with the line), or names a key twice.
    """
    import yaml

    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"The recipe {path} does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The recipe {path} cannot be read: {error}.") from error
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: not valid YAML ({getattr(error, 'problem', error)}).") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a recipe is a list of 'key: value' lines, but this file holds a {type(values).__name__}.")
    written = {str(key).replace("-", "_"): value for key, value in values.items()}
    for alias, key in (aliases or {}).items():
        if alias in written:
            if key in written:
                raise ConfigError(f"{path}: '{alias}' and '{key}' are the same key. Leave one of them out.")
            written[key] = written.pop(alias)
    return written


@dataclasses.dataclass(frozen=True)
class Overrides(Generic[Config]):
    """The fields of a configuration that were given, to be laid over one that was saved with a vocabulary or an index.

    Attributes:
        values: the given fields, checked.
    """

    values: dict[str, Any]

    def over(self, saved: Config) -> Config:
        """``saved`` with the given fields in place of its own."""
        return dataclasses.replace(saved, **self.values) if self.values else saved  # type: ignore[type-var]
