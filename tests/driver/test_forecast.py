"""The forecast of a study's remaining time, against times made by the documented formula."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tuner.config.searches import HyperbandConfig
from tuner.config.space import Space
from tuner.driver.forecast import Forecast
from tuner.oracles.journal import JournaledOracle
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


def learn(
    forecast: Forecast, values: Values, coefficients: Coefficients = COEFFICIENTS
) -> None:
    """Let a trial end that took as long as the formula says."""
    other = coefficients[0]
    taken = seconds(values, coefficients) - other
    forecast.learn(values, int(values["epochs"]), taken, other)


def run(forecast: Forecast, points: Sequence[Values]) -> None:
    """Let trials start and end, each as long as the formula says."""
    for values in points:
        forecast.start(values)
        learn(forecast, values)


@pytest.mark.parametrize(
    "coefficients",
    [COEFFICIENTS, (0.0, 0.5, 0.0, 0.0), (3.0, 0.01, 0.0, 0.0), (1.0, 0.0, 2e-5, 0.0)],
    ids=["all", "epochs only", "mostly constant", "size"],
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
    forecast = Forecast(SPACE, 24, None, False, False)
    for point in POINTS:
        learn(forecast, point, coefficients)
    assert forecast.trial_seconds(values, int(values["epochs"])) == pytest.approx(
        seconds(values, coefficients), 1e-6
    )


def test_one_trial_tells_what_an_epoch_takes() -> None:
    forecast = Forecast(SPACE, 24, None, False, False)
    forecast.learn(POINTS[0], 2, 6.0, 1.0)
    assert forecast.trial_seconds(POINTS[0], 2) == pytest.approx(7.0)
    assert forecast.trial_seconds(POINTS[0], 20) == pytest.approx(61.0)


def test_trial_that_trained_nothing_tells_what_all_else_takes() -> None:
    forecast = Forecast(SPACE, 24, None, False, True)
    forecast.learn(POINTS[0], 0, 0.0, 1.5)
    assert forecast.trial_seconds(POINTS[0], 0) == pytest.approx(1.5)


def test_trial_seconds_bears_trial_that_took_no_time() -> None:
    forecast = Forecast(SPACE, 24, None, False, False)
    forecast.learn(POINTS[0], 2, 0.0, 0.0)
    assert forecast.trial_seconds(POINTS[0], 2) == pytest.approx(0.0, abs=2e-3)


def test_trial_seconds_is_never_negative() -> None:
    forecast = Forecast(SPACE, 24, None, False, False)
    # Longer trials that took less time: plain least squares would go below zero.
    for epochs, taken in ((1, 10.0), (5, 5.0), (9, 0.5)):
        forecast.learn({"batch_size": 32}, epochs, taken, 0.1)
    predicted = forecast.trial_seconds({"batch_size": 32}, 20)
    assert predicted is not None
    assert predicted > 0


@pytest.mark.parametrize("is_exhaustive", [False, True])
def test_nothing_known_is_none(is_exhaustive: bool) -> None:
    forecast = Forecast(SPACE, 24, None, is_exhaustive, False)
    forecast.start(POINTS[0])
    assert forecast.trial_seconds(POINTS[0], 2) is None
    assert forecast.seconds_to_come() is None


def test_seconds_to_come_of_endless_search_is_none() -> None:
    forecast = Forecast(SPACE, None, None, False, False)
    run(forecast, POINTS)
    assert forecast.seconds_to_come() is None
    assert forecast.trial_seconds(POINTS[0], 2) is not None


@pytest.mark.parametrize("is_exhaustive", [False, True])
@pytest.mark.parametrize("num_trials", [23, 24])
def test_seconds_to_come_is_zero_when_all_are_started(
    num_trials: int, is_exhaustive: bool
) -> None:
    forecast = Forecast(SPACE, num_trials, None, is_exhaustive, False)
    run(forecast, POINTS)
    assert forecast.seconds_to_come() == 0.0


def test_seconds_to_come_leaves_out_trials_in_flight() -> None:
    """A trial that has started is shown by itself, so it is not counted."""
    space = parse(epochs=3)
    forecast = Forecast(space, 10, None, False, False)
    forecast.start({"epochs": 3, "batch_size": 32})
    forecast.learn({"epochs": 3, "batch_size": 32}, 3, 5.0, 1.0)
    assert forecast.seconds_to_come() == pytest.approx(54.0)
    forecast.start({"epochs": 3, "batch_size": 32})
    assert forecast.seconds_to_come() == pytest.approx(48.0)


def test_seconds_to_come_is_average_of_space_for_random_search() -> None:
    forecast = Forecast(SPACE, 24 + 100, None, False, False)
    run(forecast, POINTS)
    average = sum(seconds(values) for values in POINTS) / 24
    assert forecast.seconds_to_come() == pytest.approx(100 * average, 0.05)


def test_seconds_to_come_of_ranges() -> None:
    # From 1e-4 to 1e-2 nothing depends on the rate; 2 to 10 epochs are 6 on average.
    space = parse(epochs={"min": 2, "max": 10}, rate={"min": 1e-4, "max": 1e-2, "log": True})
    forecast = Forecast(space, 22, None, False, False)
    for epochs in (2, 10):
        forecast.start({"epochs": epochs, "batch_size": 32})
        forecast.learn({"epochs": epochs, "batch_size": 32}, epochs, 2.0 * epochs, 1.0)
    assert forecast.seconds_to_come() == pytest.approx(20 * (1 + 2 * 6), 0.05)


@pytest.mark.parametrize("num_started", [6, 12, 16, 20, 23])
def test_seconds_to_come_of_grid_in_lexicographic_order(num_started: int) -> None:
    """The short trials come first, so the remaining ones are longer than those before."""
    forecast = Forecast(SPACE, 24, None, True, False)
    # The formula is known here; the study follows the order of the grid oracle.
    for values in POINTS:
        learn(forecast, values)
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
    forecast = Forecast(space, 20, None, True, False)
    for values in points[:8]:
        forecast.start(values)
        learn(forecast, values, coefficients)
    expected = sum(seconds(values, coefficients) for values in points[8:])
    assert forecast.seconds_to_come() == pytest.approx(expected, 0.05)


def test_seconds_to_come_of_hyperband_has_its_rounds(tmp_path: Path) -> None:
    search = HyperbandConfig("hyperband", max_epochs=3, reduction_factor=3)
    space = parse(width=[1, 2, 3, 4, 5, 6]).without("epochs")
    oracle = JournaledOracle(
        search, space, Objective("val_loss", "min"), 0, tmp_path / "oracle.jsonl"
    )
    # 3 x 1 + 1 x (3 - 1) + 2 x 3 epochs in 5 trials.
    mean = (3 * 1 + 1 * 2 + 2 * 3) / 5
    forecast = Forecast(space, oracle.num_trials, oracle.rounds, False, False)
    values = {"epochs": 3, "batch_size": 32}
    assert forecast.start(values, 1) == 1
    forecast.learn(values, 1, 4.0, 1.0)
    # Resumed, it is no other trial, and trains what is new.
    assert forecast.start(values, is_resumed=True) == 2
    forecast.learn(values, 2, 8.0, 1.0)
    assert forecast.seconds_to_come() == pytest.approx(4 * (1 + 4 * mean), 1e-6)


@pytest.mark.parametrize("order", [(2, 4, 8), (8, 4, 2)], ids=["short first", "long first"])
def test_shared_epochs_come_once(order: tuple[int, ...]) -> None:
    """In whatever order: 8 epochs for each of four networks."""
    space = parse(epochs=[2, 4, 8], layers=1, units=list(WIDTHS))
    forecast = Forecast(space, 12, None, True, True)
    forecast.learn({"units_1": 32, "batch_size": 32}, 1, 3.0, 1.0)
    expected = 12 * 1.0 + 4 * 8 * 3.0
    assert forecast.seconds_to_come() == pytest.approx(expected)
    for num_started, epochs in enumerate(order, 1):
        new = [
            forecast.start({"epochs": epochs, "units_1": width, "batch_size": 32})
            for width in WIDTHS
        ]
        longest = max(order[: num_started - 1], default=0)
        assert new == [max(epochs - longest, 0)] * 4
        expected -= 4 * (1.0 + new[0] * 3.0)
        assert forecast.seconds_to_come() == pytest.approx(expected)


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
    forecast = Forecast(parsed, 2, None, False, False)
    values = parsed.complete({"layers": 1, "units_1": "few"})
    forecast.start(values)
    forecast.learn(values, 1, 2.0, 1.0)
    assert forecast.seconds_to_come() == pytest.approx(3.0)
