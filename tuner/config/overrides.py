"""Overrides, prepared before Hydra reads them so that free text is taken as typed.

Hydra has a grammar for values, which numbers, lists and mappings need. A path, a name or an
address does not follow it: `images=scan (1).png` means that file, and `study=1.10` is not a
number. So the values of keys that are text by the schema are put into Hydra's quotes. Even
there, `null`, `${…}`, quotes around the whole value and, in a sweep, commas keep Hydra's
meaning.
"""

import re
import types
import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf.errors import GrammarParseError

from tuner.config.schema import StudyConfig

_OVERRIDE = re.compile(r"(\+{0,2})([^=~+][^=]*)=(.*)", re.DOTALL)
_QUOTED = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""", re.DOTALL)
_PLAIN = re.compile(r"(?!(?i:true|false|inf|nan)$)[A-Za-z_][A-Za-z0-9_/.+:@-]*")
_SWEEP = re.compile(r"(choice|range|interval|glob|sort|shuffle|tag)\s*\(.*\)", re.DOTALL)
_SQLITE = "sqlite:///"


def text_keys(schema: type) -> frozenset[str]:
    """Return the keys of a command's configuration whose values are text, such as `data.path`.

    Args:
        schema: One of `tuner.config.schema`'s dataclasses.
    """
    return frozenset(_text_keys(schema))


def quoted(override: str, keys: frozenset[str], is_sweep: bool = False) -> str:
    """Return an override quoted so that Hydra takes its value as typed, if its key is text.

    Args:
        override: The override as typed, such as `images=scan (1).png`.
        keys: The keys whose values are text.
        is_sweep: Whether several values may be given (`-m`), separated by commas.
    """
    found = _OVERRIDE.fullmatch(override)
    if found is None or not (found[2] in keys or found[2].endswith("._target_")):
        return override
    sign, key, value = found.groups()
    if is_sweep and _SWEEP.fullmatch(value):
        return override
    parts = _split(value) if is_sweep else [value]
    return f"{sign}{key}={','.join(map(_as_text, parts))}"


def quote(text: str) -> str:
    """Return text in quotes of Hydra's grammar."""
    # Backslashes count only before a quote.
    inner = re.sub(r'(\\*)("|\Z)', lambda m: m[1] * 2 + (m[2] and '\\"'), text)
    return f'"{inner}"'


def with_open_keys(override: str) -> str:
    """Let Hydra accept keys that the configuration need not have yet.

    A hyperparameter may be given by its name in printed lines and records:
    `space.units_1=320` is the width of one layer, and `space.augment_shift=0.1` is
    `augment: {shift: 0.1}`. A constraint names a metric: `search.constraints.val_loss.max=0.2`.

    Args:
        override: The override as typed.
    """
    if re.match(r"space\.[A-Za-z]+_\d+=|search\.constraints\.", override):
        return f"++{override}"
    return re.sub(r"^space\.augment_(?=[a-z]+=)", "space.augment.", override)


def expanded(config: Any) -> Any:
    """Expand a `~` or `~user` at the beginning of each path in a configuration, in place.

    Args:
        config: One of the schema's dataclasses; its paths are the fields marked as such.
    """
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            expanded(value)
        elif field.metadata.get("is_path") and isinstance(value, str):
            prefix = _SQLITE if value.startswith(f"{_SQLITE}~") else ""
            path = value.removeprefix(prefix)
            if path.startswith("~"):
                setattr(config, field.name, prefix + _home(path))
    return config


def key_of(override: str) -> str:
    """Return an override's key without its signs: `study` of `+study=first`."""
    return override.partition("=")[0].lstrip("+~")


def _home(path: str) -> str:
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        # No such user exists: the file's name begins with ~.
        return path


def _text_keys(schema: type, prefix: str = "") -> Iterator[str]:
    # A key that only one alternative has, such as `executor.address`, is a key too.
    for kind in _alternatives(schema):
        for name, hint in typing.get_type_hints(kind).items():
            is_union = isinstance(hint, types.UnionType)
            group = hint if is_dataclass(hint) else _GROUPS.get(name)
            if hint is str or (is_union and str in typing.get_args(hint)):
                yield f"{prefix}{name}"
            elif isinstance(group, type):
                yield from _text_keys(group, f"{prefix}{name}.")


def _alternatives(schema: type[Any]) -> Iterator[type[Any]]:
    yield schema
    derived: type[Any]
    for derived in schema.__subclasses__():
        yield from _alternatives(derived)


_GROUPS: dict[str, Any] = {
    name: hint
    for name, hint in typing.get_type_hints(StudyConfig).items()
    if is_dataclass(hint)
}
"""A study's groups; a command that takes only part of one holds it as a plain mapping."""


def _as_text(value: str) -> str:
    is_hydras = not value or value.lower() == "null" or _QUOTED.fullmatch(value)
    if is_hydras or _PLAIN.fullmatch(value):
        return value
    return quote(value if _is_interpolation(value) else re.sub(r"(?<!\\)\$\{", r"\\${", value))


def _is_interpolation(value: str) -> bool:
    """Whether OmegaConf can read every `${…}` in a value; true if there is none."""
    if "${" not in value:
        return True
    from omegaconf.grammar_parser import parse

    try:
        parse(value)
    except GrammarParseError:
        return False
    return True


def _split(value: str) -> list[str]:
    r"""Split a sweep's values at its commas: not at `\,`, in quotes, brackets or `${…}`."""
    parts, start, depth, position = [], 0, 0, 0
    is_balanced = _is_balanced(value)
    while position < len(value):
        sign = value[position]
        if not value[start:position].strip() and (text := _QUOTED.match(value, position)):
            position = text.end()
            continue
        if sign == "\\":
            position += 2
            continue
        if is_balanced:
            depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0:
            parts.append(value[start:position])
            start = position + 1
        position += 1
    parts.append(value[start:])
    if len(parts) == 1 or not all(part.strip() for part in parts):
        return [value]
    return [part.strip().replace("\\,", ",") for part in parts]


def _is_balanced(value: str) -> bool:
    depth = 0
    for sign in value:
        depth += (sign in "([{") - (sign in ")]}")
        if depth < 0:
            return False
    return depth == 0
