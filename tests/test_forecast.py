"""How long the rest of a study takes, against times made up by the documented formula."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tuner.forecast import Forecast
from tuner.oracle import SearchOracle
from tuner.schema import HyperbandConfig
from tuner.space import Space
from tuner.trial import Objective, Values

Coefficients = tuple[float, float, float, float]

# Seconds for a trial, an epoch, an epoch and weight, an epoch at batch size 1.
COEFFICIENTS: Coefficients = (2.0, 0.5, 1e-5, 40.0)


def parse(**space: Any) -> Space:
    return Space.parse({"epochs": 1, "batch_size": 32, **space}, "my_package.my_function")


def seconds(values: Values, coefficients: Coefficients = COEFFICIENTS) -> float:
    """Time a trial by the formula: 64 inputs, two layers at most, 10 classes."""
    a, b, c, d = coefficients
    first, second = values.get("units_1"), values.get("units_2")
    if first is None:
        size = 64 * 10
    elif second is None:
        size = 64 * int(first) + int(first) * 10
    else:
        size = 64 * int(first) + int(first) * int(second) + int(second) * 10
    return a + int(values["epochs"]) * (b + c * size + d / int(values["batch_size"]))


def grid(*axes: tuple[str, Sequence[int]]) -> list[dict[str, int]]:
    """List every combination in lexicographic order, the last axis changing fastest."""
    names = [name for name, _ in axes]
    return [
        dict(zip(names, point, strict=True))
        for point in itertools.product(*(options for _, options in axes))
    ]


EPOCHS, WIDTHS, BATCHES = (2, 4, 8), (32, 64, 128, 512), (16, 64)
SPACE = parse(epochs=list(EPOCHS), layers=1, units=list(WIDTHS), batch_size=list(BATCHES))
POINTS = grid(("epochs", EPOCHS), ("units_1", WIDTHS), ("batch_size", BATCHES))


def run(forecast: Forecast, points: Sequence[Values]) -> None:
    """Let trials start and end, each taking what the formula says."""
    for values in points:
        forecast.start(values)
        forecast.learn(values, seconds(values))


@pytest.mark.parametrize(
    "coefficients",
    [COEFFICIENTS, (0.0, 0.5, 0.0, 0.0), (3.0, 0.0, 0.0, 0.0), (1.0, 0.0, 2e-5, 0.0)],
    ids=["all", "epochs only", "constant", "size"],
)
@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 6, "units_1": 256, "batch_size": 32},
        {"epochs": 20, "units_1": 16, "batch_size": 8},
        {"epochs": 3, "units_1": 128, "units_2": 64, "batch_size": 64},
        {"epochs": 5, "batch_size": 64},
    ],
    ids=["between", "beyond", "two layers", "no layer"],
)
def test_trial_seconds_finds_formula(values: Values, coefficients: Coefficients) -> None:
    forecast = Forecast(SPACE, 24, None, False)
    for point in POINTS:
        forecast.learn(point, seconds(point, coefficients))
    assert forecast.trial_seconds(values) == pytest.approx(seconds(values, coefficients), 1e-6)


def test_trial_seconds_of_one_trial_known() -> None:
    forecast = Forecast(SPACE, 24, None, False)
    forecast.learn(POINTS[0], 7.0)
    assert forecast.trial_seconds(POINTS[0]) == pytest.approx(7.0)


def test_trial_seconds_bears_trial_that_took_no_time() -> None:
    forecast = Forecast(SPACE, 24, None, False)
    forecast.learn(POINTS[0], 0.0)
    assert forecast.trial_seconds(POINTS[0]) == pytest.approx(0.0, abs=2e-3)


def test_trial_seconds_is_never_negative() -> None:
    forecast = Forecast(SPACE, 24, None, False)
    # Longer trials that took less: a plain least squares would go below zero.
    for epochs, taken in ((1, 10.0), (5, 5.0), (9, 0.5)):
        forecast.learn({"epochs": epochs, "batch_size": 32}, taken)
    predicted = forecast.trial_seconds({"epochs": 20, "batch_size": 32})
    assert predicted is not None
    assert predicted > 0


@pytest.mark.parametrize("is_exhaustive", [False, True])
def test_nothing_known_is_none(is_exhaustive: bool) -> None:
    forecast = Forecast(SPACE, 24, None, is_exhaustive)
    forecast.start(POINTS[0])
    assert forecast.trial_seconds(POINTS[0]) is None
    assert forecast.seconds_to_come() is None


def test_seconds_to_come_of_endless_search_is_none() -> None:
    forecast = Forecast(SPACE, None, None, False)
    run(forecast, POINTS)
    assert forecast.seconds_to_come() is None
    assert forecast.trial_seconds(POINTS[0]) is not None


@pytest.mark.parametrize("is_exhaustive", [False, True])
@pytest.mark.parametrize("num_trials", [23, 24])
def test_seconds_to_come_is_zero_when_all_are_started(
    num_trials: int, is_exhaustive: bool
) -> None:
    forecast = Forecast(SPACE, num_trials, None, is_exhaustive)
    run(forecast, POINTS)
    assert forecast.seconds_to_come() == 0.0


def test_seconds_to_come_leaves_out_trials_in_flight() -> None:
    """A trial that has started is shown by itself, so it is not to come."""
    space = parse(epochs=3)
    forecast = Forecast(space, 10, None, False)
    forecast.start({"epochs": 3, "batch_size": 32})
    forecast.learn({"epochs": 3, "batch_size": 32}, 6.0)
    assert forecast.seconds_to_come() == pytest.approx(54.0)
    forecast.start({"epochs": 3, "batch_size": 32})
    assert forecast.seconds_to_come() == pytest.approx(48.0)


def test_seconds_to_come_is_average_of_space_for_random_search() -> None:
    forecast = Forecast(SPACE, 24 + 100, None, False)
    run(forecast, POINTS)
    average = sum(seconds(values) for values in POINTS) / 24
    assert forecast.seconds_to_come() == pytest.approx(100 * average, 0.05)


def test_seconds_to_come_of_ranges() -> None:
    # From 1e-4 to 1e-2 nothing depends on the rate; 2 to 10 epochs are 6 on average.
    space = parse(epochs={"min": 2, "max": 10}, rate={"min": 1e-4, "max": 1e-2, "log": True})
    forecast = Forecast(space, 22, None, False)
    for epochs in (2, 10):
        forecast.start({"epochs": epochs, "batch_size": 32})
        forecast.learn({"epochs": epochs, "batch_size": 32}, 1.0 + 2.0 * epochs)
    assert forecast.seconds_to_come() == pytest.approx(20 * (1 + 2 * 6), 0.05)


@pytest.mark.parametrize("num_started", [6, 12, 16, 20, 23])
def test_seconds_to_come_of_grid_in_lexicographic_order(num_started: int) -> None:
    """The short trials come first, so what is to come is longer than what has been."""
    forecast = Forecast(SPACE, 24, None, True)
    # What the times depend on is known; the study goes through the grid as the oracle does.
    for values in POINTS:
        forecast.learn(values, seconds(values))
    for values in POINTS[:num_started]:
        forecast.start(values)
    expected = sum(seconds(values) for values in POINTS[num_started:])
    total = sum(seconds(values) for values in POINTS)
    assert forecast.seconds_to_come() == pytest.approx(expected, abs=0.03 * total)


def test_seconds_to_come_of_grid_with_layers() -> None:
    """A grid has more points of two layers (16) than of one (4)."""
    space = parse(epochs=2, layers=[1, 2], units=list(WIDTHS))
    points = [
        {"epochs": 2, "batch_size": 32, **widths}
        for widths in [
            *grid(("units_1", WIDTHS)),
            *grid(("units_1", WIDTHS), ("units_2", WIDTHS)),
        ]
    ]
    coefficients = (0.1, 0.0, 1e-4, 0.0)
    forecast = Forecast(space, 20, None, True)
    for values in points[:8]:
        forecast.start(values)
        forecast.learn(values, seconds(values, coefficients))
    expected = sum(seconds(values, coefficients) for values in points[8:])
    assert forecast.seconds_to_come() == pytest.approx(expected, 0.05)


def test_seconds_to_come_of_hyperband_has_its_mean_epochs(tmp_path: Path) -> None:
    search = HyperbandConfig("hyperband", max_epochs=3, factor=3)
    space = parse(width=[1, 2, 3, 4, 5, 6]).without("epochs")
    oracle = SearchOracle(
        search, space, Objective("val_loss", "min"), 0, tmp_path / "oracle.jsonl"
    )
    # 3 x 1 + 1 x 3 + 2 x 3 epochs in 6 trials.
    assert (oracle.num_trials(), oracle.mean_epochs()) == (6, 2.0)
    forecast = Forecast(space, oracle.num_trials(), oracle.mean_epochs(), False)
    for epochs in (1, 3):
        forecast.start({"epochs": epochs, "batch_size": 32})
        forecast.learn({"epochs": epochs, "batch_size": 32}, 1.0 + 4.0 * epochs)
    assert forecast.seconds_to_come() == pytest.approx(4 * (1 + 4 * 2), 1e-6)


@pytest.mark.parametrize(
    "space",
    [
        {"activation": ["relu", "elu"], "flip": [True, False]},
        {"layers": [1, 2], "units": ["few", "many"]},
    ],
    ids=["strings", "widths that are no numbers"],
)
def test_forecast_takes_any_space(space: Mapping[str, Any]) -> None:
    parsed = parse(**space)
    forecast = Forecast(parsed, 2, None, False)
    values = parsed.complete({"layers": 1, "units_1": "few"})
    forecast.start(values)
    forecast.learn(values, 3.0)
    assert forecast.seconds_to_come() == pytest.approx(3.0)
