"""What a terminal shows while a study runs."""

import dataclasses
import io
import logging
from typing import Any

import pytest
from rich.console import Console

from support.clocks import SetClock
from tuner.config.space import Space
from tuner.driver.forecast import Forecast
from tuner.driver.progress import STARTING, Progress, waiting_for
from tuner.outcomes import TrialResult
from tuner.runtime.screen import ConsoleScreen
from tuner.trial import Objective
from tuner.wording import plural

SPACE = Space.parse({"epochs": 3, "batch_size": 32, "width": [1, 2, 3, 4]}, "")
VALUES = {"epochs": 3, "batch_size": 32, "width": 1}


def shown(progress: Progress, console: Console) -> str:
    with console.capture() as capture:
        console.print(progress.render())
    return str(capture.get())


def test_live_view_counts_ended_trials_and_says_what_runs() -> None:
    console = Console(width=120, file=io.StringIO())
    forecast = Forecast(SPACE, 4, None, is_exhaustive=True, shares=True)
    objective = Objective("val_accuracy", "max")
    progress = Progress(
        ConsoleScreen(console), objective, SPACE.searched, 4, forecast, None, 2, SetClock()
    )
    progress.pass_over({"0000": {**VALUES, "width": 4}})
    progress.start_trial("0001", VALUES)
    text = shown(progress, console)
    assert "1 of 4 trials   1 running" in text
    assert "compiling" in text
    progress.end_epoch("0001", 1, {"val_accuracy": 0.5}, False)
    text = shown(progress, console)
    assert "epoch 1/3" in text
    assert "compiling" not in text
    progress.end_epoch("0001", 3, {"val_accuracy": 0.5}, False)
    assert "evaluating" in shown(progress, console)


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ({}, ""),
        (
            {"stopped": "early", "stopped_because": "no gain", "best_epoch": 1},
            "  stopped early after epoch 2 of 3: no gain",
        ),
        ({"stopped": "user"}, "  stopped by hand after epoch 2 of 3"),
        ({"best_epoch": 1}, "  best at epoch 1 of 3"),
    ],
)
def test_line_of_a_trial_says_how_it_ended(
    ending: dict[str, Any], said: str, trained: TrialResult, caplog: pytest.LogCaptureFixture
) -> None:
    progress = Progress(
        ConsoleScreen(Console(file=io.StringIO())),
        Objective("val_accuracy", "max"),
        SPACE.searched,
        4,
        Forecast(SPACE, 4, None, is_exhaustive=True, shares=True),
        None,
        2,
        SetClock(),
    )
    progress.start_trial(trained.trial_id, VALUES)
    outcome = dataclasses.replace(trained, **ending)
    caplog.set_level(logging.INFO)
    progress.end_trial(outcome)
    score = outcome.epochs[0 if "best_epoch" in ending else 1]["val_accuracy"]
    start = f"trial 0000 (1 of 4)  width=1 epochs=3  val_accuracy {score:.4f}{said}  "
    assert caplog.messages[0].startswith(start)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_start_is_shown_on_terminals_alone(is_terminal: bool) -> None:
    written = io.StringIO()
    screen = ConsoleScreen(Console(file=written, force_terminal=is_terminal, width=100))
    screen.show(waiting_for(STARTING))
    screen.say("a line")
    screen.show(None)
    assert ("importing TensorFlow" in written.getvalue()) == is_terminal
    assert "a line\n" in written.getvalue()


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 trials"), (1, "1 trial"), (2, "2 trials"), (1200, "1,200 trials")],
)
def test_plural_agrees_with_its_count(count: int, expected: str) -> None:
    assert plural(count, "trial") == expected
