"""What a person sees while a study runs: a live view on a terminal, plain lines elsewhere.

Every line goes through `logging`; see `tuner.runtime.logs`. The live view below the lines is
drawn on terminals only.
"""

import datetime
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from tuner import names
from tuner.constraints import NO_CONSTRAINTS, Constraints, shown
from tuner.driver.clock import Clock
from tuner.driver.forecast import Forecast
from tuner.escapes import visible
from tuner.outcomes import Outcome, TrialFailure, TrialPause, TrialResult
from tuner.runtime.screen import Screen, View
from tuner.trial import Metrics, Objective, Values, whole
from tuner.wording import describe, duration, searched_first, why_fewer

logger = logging.getLogger(__name__)


STARTING = "Loading the data, importing TensorFlow, starting the workers"
JUDGING = "Judging the best model, and writing the report"


def waiting_for(what: str) -> View:
    """Return a view that says what takes silent seconds.

    Args:
        what: In words, such as `STARTING`.
    """
    spinner = Spinner("dots", what)
    return lambda: spinner


@dataclass
class _Running:
    values: Values
    epochs: int
    new_epochs: int
    started: float
    epoch: int = 0
    score: float | None = None
    repeat: int = 1
    is_evaluated: bool = False


class Progress:
    """Shows trial k of n, the running trials, the best so far, and when the study will end.

    Args:
        screen: Where to show it.
        objective: The metric that the search improves.
        searched: Names of the hyperparameters that differ between trials; only these are shown.
        num_trials: Trials of the whole search, or None if that is unknown.
        forecast: Predicts the time left.
        deadline: Time (seconds since 1970) at which the study stops, or None.
        capacity: Number of trials that run at a time; an attribute, since it may change.
        clock: Tells the time.
        noun: What a training is called: `trial` or `finalist`.
        constraints: Limits that trials should keep within.
        num_repeats: Trainings of each trial.
    """

    def __init__(
        self,
        screen: Screen,
        objective: Objective,
        searched: frozenset[str],
        num_trials: int | None,
        forecast: Forecast,
        deadline: float | None,
        capacity: int,
        clock: Clock,
        noun: str = "trial",
        constraints: Constraints = NO_CONSTRAINTS,
        num_repeats: int = 1,
    ) -> None:
        self._num_repeats = num_repeats
        self.capacity = capacity
        self._noun = noun
        self._clock = clock
        self._constraints = constraints
        self._objective = objective
        self._searched = searched
        self._num_trials = num_trials
        self._forecast = forecast
        self._deadline = deadline
        self._started = clock.now()
        self._num_ended = 0
        self._paused: set[str] = set()
        self._running: dict[str, _Running] = {}
        self._best: tuple[str, float] | None = None
        self._screen = screen

    def __enter__(self) -> "Progress":
        """Start the display."""
        self._screen.show(self.render)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the display."""
        self._screen.show(None)

    def pass_over(
        self,
        completed: Mapping[str, Values],
        num_failed: int = 0,
        paused: Mapping[str, int] | None = None,
    ) -> None:
        """Count trials that earlier runs of the study have ended.

        Args:
            completed: The values of the successful ones.
            num_failed: Number of failed ones.
            paused: The epochs of those of them that are paused at a rung.
        """
        rungs = paused or {}
        for trial_id, values in completed.items():
            self._forecast.start(values, rungs.get(trial_id))
        self._paused |= rungs.keys() & completed.keys()
        self._num_ended += len(completed) + num_failed

    def show_best(self, trial_id: str, score: float) -> None:
        """Show this trial as the best so far from now on."""
        self._best = (trial_id, score)

    def start_trial(self, trial_id: str, values: Values, rung: int | None = None) -> None:
        """Show a trial as running, up to a rung or to its last epoch."""
        is_resumed = trial_id in self._paused
        new = self._forecast.start(values, rung, is_resumed)
        epochs = rung or whole(values["epochs"])
        self._running[trial_id] = _Running(values, epochs, new, self._clock.now())
        said = describe(searched_first(values, self._searched))
        verb = "is resumed" if is_resumed else "starts"
        logger.debug("%s %s %s: %s", self._noun, trial_id, verb, said)

    def start_repeat(self, trial_id: str, repeat: int | None) -> None:
        """Show one of a running trial's trainings as begun.

        Args:
            trial_id: A running trial.
            repeat: Number of the training, from 1; None while the trial is evaluated.
        """
        running = self._running[trial_id]
        if repeat is None:
            running.is_evaluated = True
        else:
            running.repeat, running.epoch, running.score = repeat, 0, None

    def end_epoch(self, trial_id: str, epoch: int, metrics: Metrics, is_reused: bool) -> None:
        """Show an epoch as done.

        Args:
            trial_id: A running trial.
            epoch: Number of the epoch, from 1.
            metrics: The epoch's metrics, as Keras names them.
            is_reused: Whether another trial had trained the epoch before.
        """
        running = self._running[trial_id]
        running.epoch, running.score = epoch, metrics.get(self._objective.name)
        said = " ".join(f"{name}={value:.4f}" for name, value in metrics.items())
        logger.debug(
            "%s %s %sepoch %d/%s %s%s",
            self._noun,
            trial_id,
            self._said_repeat(running),
            epoch,
            running.epochs,
            said,
            " (trained before)" if is_reused else "",
        )

    def end_trial(self, outcome: Outcome) -> None:
        """Say how a trial ended, in one line."""
        running = self._running.pop(outcome.trial_id)
        # Each trial counts once, however often it is paused.
        self._num_ended += outcome.trial_id not in self._paused
        if isinstance(outcome, TrialPause):
            self._paused.add(outcome.trial_id)
        count = f"{self._num_ended} of {self._num_trials or '?'}"
        head = f"{self._noun} {outcome.trial_id} ({count})"
        if isinstance(outcome, TrialFailure):
            verb = {"stopped": "was stopped", "constraint": "not trained"}.get(
                outcome.kind, "failed"
            )
            logger.log(
                logging.INFO if outcome.kind == "constraint" else logging.WARNING,
                "%s  %s  %s: %s",
                head,
                self._describe(running.values),
                verb,
                visible(outcome.error),
            )
            return
        # The worker's own time, not that since submission: a worker may first have to start.
        own = outcome.num_epochs - outcome.epochs_reused
        # A trial that was resumed has trained the others before.
        new = min(own, running.new_epochs)
        seconds = outcome.train_seconds * new / own if own else 0.0
        self._forecast.learn(running.values, new, seconds, outcome.seconds - seconds)
        broken = self._constraints.broken(outcome.of_model)
        is_best = self._best is not None and self._best[0] == outcome.trial_id
        logger.info(
            "%s  %s  %s %.4f%s%s%s%s  %.1f s%s",
            head,
            self._describe(running.values),
            self._objective.name,
            outcome.score(self._objective),
            "".join(
                f"  {one.name} {shown(one.name, outcome.of_model[one.name])}"
                for one in self._objective.others
            ),
            "  best so far" if is_best else "",
            f"  breaks a constraint: {broken}" if broken else "",
            _ending(outcome, whole(running.values["epochs"])),
            outcome.seconds,
            self._time_left(", about {} left"),
        )

    def _said_repeat(self, running: _Running) -> str:
        """Say which training of a trial is under way, where it has several."""
        return f"repeat {running.repeat}/{self._num_repeats} " if self._num_repeats > 1 else ""

    def _phase(self, running: _Running) -> str:
        """Name a phase: a trial compiles before its first epoch, evaluates after its last."""
        is_trained = running.epoch == running.epochs and running.repeat == self._num_repeats
        if running.is_evaluated or is_trained:
            return "evaluating"
        if running.epoch == 0 and running.repeat == 1:
            return "compiling"
        return f"{self._said_repeat(running)}epoch {running.epoch}/{running.epochs}"

    def _describe(self, values: Values) -> str:
        # `epochs` is shown even if the oracle sets it, or nobody searches it.
        kept = {n: value for n, value in values.items() if n in self._searched | {"epochs"}}
        return visible(describe(searched_first(kept, self._searched)))

    def seconds_left(self) -> float | None:
        """Predict the seconds until the study ends, from the trials running and to come."""
        to_come = self._forecast.seconds_to_come()
        if to_come is None:
            return None
        now = self._clock.now()
        in_flight = 0.0
        for running in self._running.values():
            predicted = self._forecast.trial_seconds(running.values, running.new_epochs) or 0.0
            in_flight += max(predicted - (now - running.started), 0.0)
        left = (to_come + in_flight) / self.capacity
        return left if self._deadline is None else min(left, max(self._deadline - now, 0.0))

    def _time_left(self, form: str) -> str:
        left = self.seconds_left()
        return form.format(duration(left)) if left else ""

    def as_tags(self) -> dict[str, str]:
        """Say in tags of the study's run how far it is; see `tuner.names`."""
        phases = [
            f"{trial_id} {self._phase(running)}" for trial_id, running in self._running.items()
        ]
        ended = f"{self._num_ended} of {self._num_trials or '?'} {self._noun}s"
        tags = {names.PROGRESS: "; ".join([ended, *([", ".join(phases)] if phases else [])])}
        if self._best is not None:
            trial_id, score = self._best
            tags[names.BEST_SO_FAR] = f"{self._objective.name} {score:.4f} (trial {trial_id})"
        left = self.seconds_left()
        tags[names.TIME_LEFT] = "unknown" if left is None else f"about {duration(left)}"
        return tags

    def render(self) -> RenderableType:
        """Return what is drawn on a terminal at this moment."""
        count = f"{self._num_ended} of {self._num_trials or '?'} {self._noun}s"
        head = Text(count, style="bold")
        head.append(f"   {len(self._running)} running", style="dim")
        if self._best is not None:
            head.append(f"   best {self._objective.name} {self._best[1]:.4f}", style="green")
            head.append(f" (trial {self._best[0]})", style="dim")
        head.append(f"   {duration(self._clock.now() - self._started)} so far", style="dim")
        left = self.seconds_left()
        if left is not None:
            end = datetime.datetime.now() + datetime.timedelta(seconds=left)
            head.append(f", about {duration(left)} left, until {end:%H:%M}", style="dim")
        table = Table.grid(padding=(0, 2))
        for trial_id, running in self._running.items():
            epochs = running.epochs
            score = (
                "" if running.score is None else f"{self._objective.name} {running.score:.4f}"
            )
            table.add_row(
                Text(trial_id, style="cyan"),
                ProgressBar(total=epochs, completed=running.epoch, width=20),
                self._phase(running),
                Text(score),
                Text(self._describe(running.values), style="dim", overflow="ellipsis"),
            )
        return Group(Text(), head, table)


def _ending(result: TrialResult | TrialPause, epochs: int) -> str:
    """Say what is special about the end of a trial, if it is not that of its last epoch."""
    if isinstance(result, TrialPause):
        return f"  after epoch {len(result.epochs)} of {epochs}"
    if result.stopped is not None:
        why = result.stopped_because
        return f"  {why_fewer(result.stopped, len(result.epochs), epochs, why)}"
    if result.best_epoch is not None:
        return f"  best at epoch {result.best_epoch} of {epochs}"
    return ""
