"""Checks of what a search improves, and of the limits that it must keep within."""

import math
from collections.abc import Mapping
from typing import Any

from tuner import names
from tuner.config.schema import StudyConfig
from tuner.config.searches import SEARCHES
from tuner.constraints import BEFORE_TRAINING, GATE, KINDS
from tuner.errors import ConfigError
from tuner.models import DIRECTIONS
from tuner.models.objectives import KNOWN, OF_MODEL, listed
from tuner.trial import is_number
from tuner.wording import did_you_mean

_KEY = "search.constraints"


def resolve_gate(config: StudyConfig) -> None:
    """Put the gate's own limits in place of `search.constraints=gate`.

    So a study's record says what its search was limited by, whatever the gate is told later.

    Raises:
        ConfigError: If the gate has no such limits.
    """
    if config.search.constraints != GATE:
        return
    gate = config.registry.gate
    limits = {
        names.NUM_PARAMETERS: gate.max_parameters,
        names.LATENCY_MS: gate.max_latency_ms,
    }
    found = {metric: {"max": most} for metric, most in limits.items() if most is not None}
    if not found:
        raise ConfigError(
            f"`{_KEY}={GATE}` takes over the limits of the gate, but it has none: give "
            f"registry.gate.max_parameters or registry.gate.max_latency_ms, too."
        )
    config.search.constraints = found


def check(config: StudyConfig) -> None:
    """Check a study's objective and constraints.

    Raises:
        ConfigError: At the first thing wrong.
    """
    _check_objective(config)
    _check_constraints(config)


def _check_objective(config: StudyConfig) -> None:
    search = config.search
    wanted = listed(search.objective)
    if not wanted or not all(isinstance(name, str) for name in wanted):
        raise ConfigError(
            f"`search.objective` must be the name of a metric, or a list of them such as "
            f"[val_accuracy,num_parameters], but got {search.objective!r}."
        )
    names = [str(name) for name in wanted]
    if len(names) > 1:
        _check_several(config, names)
    directions = search.direction if isinstance(search.direction, list) else [search.direction]
    if len(names) > 1 and search.direction is None:
        directions = [None] * len(names)
    for direction in directions:
        if direction not in (None, "min", "max"):
            raise ConfigError(
                f"`search.direction` must be min, max or null, but got {direction!r}."
            )
    if len(directions) != len(names):
        raise ConfigError(
            f"`search.direction` must say min, max or null for each of "
            f"search.objective={search.objective} ({len(names)}), as in [max,min], but got "
            f"{search.direction!r}."
        )
    for i, (name, direction) in enumerate(zip(names, directions, strict=True)):
        _check_one(config, name, direction, is_first=i == 0)


def _check_several(config: StudyConfig, names: list[str]) -> None:
    search = config.search
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(
            f"`search.objective` must name each metric once, but got {twice} twice."
        )
    if not search.knows_several:
        able = ", ".join(name for name, entry in SEARCHES.items() if entry.knows_several)
        raise ConfigError(
            f"`search={search.oracle}` knows one objective, but search.objective names "
            f"{len(names)} ({', '.join(names)}): give one, or a search that knows several: "
            f"{able}."
        )
    if search.target is not None:
        raise ConfigError(
            f"`search.target={search.target:g}` is a score of one objective, but "
            f"search.objective names {len(names)}: leave it out, or give one objective and "
            f"limit the others by search.constraints."
        )
    if search.pruner is not None:
        raise ConfigError(
            f"`search.pruner` compares trials by one objective, but search.objective names "
            f"{len(names)} ({', '.join(names)}): leave the pruner out, or give one objective."
        )


def _check_one(config: StudyConfig, name: str, direction: str | None, is_first: bool) -> None:
    """Check one objective, and its direction."""
    if is_first and name in OF_MODEL:
        raise ConfigError(
            f"`search.objective` must begin with a validation metric, which ranks the trials, "
            f"but got {name}: name it after one, or limit it, as in {_KEY}.{name}.max=1000."
        )
    known = DIRECTIONS if is_first else KNOWN
    has_own = not config.is_built_in and name.startswith("val_")
    if name not in known and not has_own:
        raise ConfigError(
            f"`search.objective` must be one of {', '.join(known)}, or another validation "
            f"metric `val_…` that your own model compiles, but got {name!r}."
        )
    if name in known and direction not in (None, known[name]):
        raise ConfigError(
            f"`search.direction` must be {known[name]} or null for the objective {name}, but "
            f"got {direction!r}."
        )
    if name not in known and direction is None:
        raise ConfigError(f"`search.direction` must say min or max for the objective {name}.")


def _check_constraints(config: StudyConfig) -> None:
    given = config.search.constraints
    if given is None:
        return
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"`{_KEY}` must be a mapping such as {{num_parameters: {{max: 100000}}}}, {GATE} "
            f"or null, but got {given!r}."
        )
    for metric, kinds in given.items():
        _check_metric(config, str(metric))
        _check_bounds(f"{_KEY}.{metric}", str(metric), kinds)


def _check_metric(config: StudyConfig, metric: str) -> None:
    """Refuse a constraint on a metric that no trial has when the search could use it."""
    if metric.startswith("test_"):
        raise ConfigError(
            f"`{_KEY}.{metric}` would let the test images guide the search, whose results they "
            f"judge: limit a validation metric such as val_accuracy, or let the gate ask for "
            f"registry.gate.min_accuracy."
        )
    known = (*BEFORE_TRAINING, *DIRECTIONS)
    has_own = not config.is_built_in or bool(config.training.callbacks)
    if metric in known or (has_own and metric.startswith("val_")):
        return
    raise ConfigError(
        f"`{_KEY}.{metric}` must limit one of {', '.join(known)}, or another validation metric "
        f"`val_…` that your own model compiles.{did_you_mean(metric, known, f'{_KEY}.{{}}')}"
    )


def _check_bounds(key: str, metric: str, kinds: Any) -> None:
    if not isinstance(kinds, Mapping) or not kinds or not kinds.keys() <= set(KINDS):
        raise ConfigError(
            f"`{key}` must be a mapping with max, min or both, such as {key}.max=1, but got "
            f"{kinds!r}."
        )
    is_share = DIRECTIONS.get(metric) == "max"
    for kind, bound in kinds.items():
        if bound is None:
            continue
        if not is_number(bound) or not math.isfinite(bound):
            raise ConfigError(f"`{key}.{kind}` must be a number or null, but got {bound!r}.")
        if is_share and not 0 <= bound <= 1:
            raise ConfigError(
                f"`{key}.{kind}` must lie between 0 and 1, as {metric} does, but got {bound}."
            )
        if metric in BEFORE_TRAINING and not bound > 0:
            raise ConfigError(f"`{key}.{kind}` must be above 0, but got {bound}.")
    least, most = kinds.get("min"), kinds.get("max")
    if least is not None and most is not None and least > most:
        raise ConfigError(
            f"`{key}.min` must be at most `{key}.max`, but got min={least} and max={most}."
        )
