"""The key `search.finalists`: which trials are trained again with new seeds after a search."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from tuner.config.bounds import check_at_least
from tuner.errors import ConfigError
from tuner.wording import did_you_mean

KEY = "search.finalists"

AUTO = "auto"
"""The usual numbers, and only where one training cannot tell the best trials apart."""


@dataclass(frozen=True)
class Finalists:
    """How many trials are trained again, and with how many seeds.

    Attributes:
        trials: Number of trials, the best ones, at least 2.
        seeds: Number of new seeds for each of them at most, at least 1.
        is_asked: Whether a person has asked for them: then they are also trained for an
            objective of which no interval is known.
    """

    trials: int = 3
    seeds: int = 3
    is_asked: bool = False


def parse(given: object) -> Finalists | None:
    """Read the key.

    Args:
        given: `auto`, None, or a mapping with `trials`, `seeds` or both.

    Returns:
        None if no trial is trained again.

    Raises:
        ConfigError: If it is anything else.
    """
    if given is None:
        return None
    if given == AUTO:
        return Finalists()
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"`{KEY}` must be {AUTO}, null, or a mapping such as {{trials: 3, seeds: 3}}, but "
            f"got {given!r}."
        )
    known = [field.name for field in fields(Finalists) if field.name != "is_asked"]
    for key, value in given.items():
        if key not in known:
            hint = did_you_mean(str(key), known, f"`{KEY}.{{}}`")
            raise ConfigError(
                f"`{KEY}.{key}` is not a key of the configuration. Known here: "
                f"{', '.join(known)}.{hint}"
            )
        if not isinstance(value, int) or isinstance(value, bool):
            raise ConfigError(f"`{KEY}.{key}` must be a whole number, but got {value!r}.")
    asked = Finalists(**given, is_asked=True)
    check_at_least(f"{KEY}.trials", asked.trials, 2)
    check_at_least(f"{KEY}.seeds", asked.seeds, 1)
    return asked
