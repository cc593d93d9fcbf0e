"""What a single value of the configuration may be: one check for each kind of bound."""

import re
from collections.abc import Sequence

from tuner.errors import ConfigError


def is_dotted_name(name: object) -> bool:
    """Say whether something is a name such as `my_package.my_function`."""
    return isinstance(name, str) and bool(re.fullmatch(r"\w+(\.\w+)+", name))


def check_above(key: str, value: float, bound: float) -> None:
    """Refuse a number that is not above a bound, and NaN.

    Raises:
        ConfigError: It names the key.
    """
    if not value > bound:
        raise ConfigError(f"`{key}` must be above {bound}, but got {value}.")


def check_at_least(key: str, value: float, least: float) -> None:
    """Refuse a number below the smallest allowed one, and NaN.

    Raises:
        ConfigError: It names the key.
    """
    if not value >= least:
        raise ConfigError(f"`{key}` must be at least {least}, but got {value}.")


def check_between(key: str, value: int, low: int, high: int) -> None:
    """Refuse a number outside `low` to `high`.

    Raises:
        ConfigError: It names the key.
    """
    if not low <= value <= high:
        raise ConfigError(f"`{key}` must lie between {low} and {high}, but got {value}.")


def check_one_of(key: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse a word that is not listed.

    Raises:
        ConfigError: It names the key and lists the words.
    """
    if value not in allowed:
        raise ConfigError(f"`{key}` must be one of {', '.join(allowed)}, but got {value!r}.")
