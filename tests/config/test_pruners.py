"""What `search.pruner` may be, and that settings tell one pruner from another."""

import dataclasses
from typing import Any

import pytest

from support.configs import loaded
from tuner.config.checks import check_study
from tuner.config.compose import flatten, to_dict
from tuner.config.executors import ExecutorConfig
from tuner.config.pruners import MedianConfig, PercentileConfig, PrunerConfig, pruner_of
from tuner.config.schema import StudyConfig
from tuner.curves.identity import differing
from tuner.errors import ConfigError

EPOCHS = "space.epochs={min: 10, max: 30}"


def settings(config: StudyConfig) -> dict[str, Any]:
    return flatten(to_dict(config))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("null", None),
        ("median", MedianConfig()),
        ("percentile", PercentileConfig()),
        ("{name: median}", MedianConfig()),
        ("{name: median, warmup_epochs: 28}", MedianConfig(warmup_epochs=28)),
        (
            "{name: percentile, percentile: 12.5, num_startup_trials: 0, interval: 3, "
            "min_trials: 4}",
            PercentileConfig(0, 0, 3, 4, 12.5),
        ),
        ("{name: percentile, percentile: 99}", PercentileConfig(percentile=99)),
    ],
)
@pytest.mark.parametrize("oracle", ["random", "grid", "bayesian", "tpe", "cmaes", "qmc"])
def test_every_oracle_takes_a_pruner(
    oracle: str, given: str, expected: PrunerConfig | None
) -> None:
    config = loaded(f"search={oracle}", f"search.pruner={given}", EPOCHS)
    assert pruner_of(config.search.pruner) == expected


def test_studies_of_earlier_versions_had_no_pruner() -> None:
    config = loaded(EPOCHS)
    before = {k: v for k, v in settings(config).items() if k != "search.pruner"}
    assert differing(before, settings(config)) == ({}, {})


@pytest.mark.parametrize("now", ["median", "{name: percentile, percentile: 30}"])
def test_another_pruner_is_another_search(now: str) -> None:
    before, after = loaded(EPOCHS), loaded(EPOCHS, f"search.pruner={now}")
    refused, allowed = differing(settings(before), settings(after))
    assert refused == {"search.pruner": (None, after.search.pruner)}
    assert allowed == {}


class _Alone(ExecutorConfig):
    """An entry of a user's own, which says nothing of pruners."""


def test_pruner_needs_an_executor_that_answers() -> None:
    config = dataclasses.replace(loaded(EPOCHS), executor=_Alone("my_executor.Alone"))
    check_study(config)
    config.search.pruner = "median"
    with pytest.raises(ConfigError, match=r"`can_prune`.*executor=my_executor\.Alone"):
        check_study(config)
