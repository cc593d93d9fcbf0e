"""Names in the registry: what MLflow allows, and which aliases go with an alias.

MLflow checks them only when they are used, after the search; here they are checked before it.
"""

import posixpath
import re

from tuner.errors import ConfigError

DEFAULT = "champion"
"""Alias of the version in service, unless another one is configured."""

CHALLENGER = "challenger"
"""Alias of the version that was judged last for an alias, unless it became its holder."""

PREVIOUS = "previous"
"""Alias of the version that held an alias before."""

# MLflow's own rules (`_validate_model_alias_name` and `_validate_model_name` in its
# utils.validation), copied because that module takes a second to import.
_ALIAS = re.compile(r"[\w-]+")
_VERSION = re.compile(r"[vV]\d+")
MAX_ALIAS = 255
MAX_NAME = 256


def previous_of(alias: str) -> str:
    """Return the alias of the version that held an alias before: `previous` of the champion."""
    return _beside(alias, PREVIOUS)


def challenger_of(alias: str) -> str:
    """Return the alias of the version that was judged last for an alias."""
    return _beside(alias, CHALLENGER)


def history_tag(alias: str) -> str:
    """Return the registered model's tag with the versions that have held an alias, in order."""
    return f"tuner.history.{alias}"


def check_alias(alias: str) -> None:
    """Refuse an alias that MLflow would refuse, or that Glassy sets itself.

    Raises:
        ConfigError: It names the key, the value and what is allowed.
    """
    most = MAX_ALIAS - len(f"-{CHALLENGER}")
    if not _ALIAS.fullmatch(alias) or len(alias) > most:
        raise ConfigError(
            f"`registry.alias` must be letters, digits, _ and - ({most} at most), without a "
            f"space or any of / : @, but got {alias!r}."
        )
    if alias.lower() == "latest" or _VERSION.fullmatch(alias):
        raise ConfigError(
            f"`registry.alias` must not be latest or v<number>, which MLflow reserves, but got "
            f"{alias!r}: give one such as champion or production."
        )
    # To some databases, two names that differ only in case are the same.
    if re.fullmatch(rf"(.*-)?({PREVIOUS}|{CHALLENGER})", alias.lower()):
        raise ConfigError(
            f"`registry.alias` must not be {CHALLENGER} or {PREVIOUS}, or end with "
            f"-{CHALLENGER} or -{PREVIOUS}, which the registry uses itself, but got {alias!r}."
        )
    if alias.lower() == DEFAULT and alias != DEFAULT:
        raise ConfigError(
            f"`registry.alias` must be {DEFAULT}, or differ from it in more than its case, but "
            f"got {alias!r}."
        )


def check_model_name(name: str) -> None:
    """Refuse a name for a registered model that MLflow would refuse or no command could use.

    Raises:
        ConfigError: It names the key, the value and what is allowed.
    """
    is_bad = not name.strip() or set("/:@") & set(name) or posixpath.normpath(name) != name
    if is_bad or name.startswith("..") or name == "." or len(name) > MAX_NAME:
        raise ConfigError(
            f"`registry.name` must be a name of at most {MAX_NAME} characters without any of "
            f"/ : @, and not . or .., but got {name!r}."
        )


def _beside(alias: str, name: str) -> str:
    return name if alias == DEFAULT else f"{alias}-{name}"
