"""What the driver attends to while trials run: requests to stop, and telling how far it is.

Requests are tags in MLflow (`tuner.stop`), set by `tuner.stop`, by the page of `tuner.watch`
or by hand in MLflow's own pages, on this machine or another one. How far the study is stands in
tags of its run, so that the table of `mlflow ui` shows it.
"""

import logging
from collections.abc import Collection, Sequence, Set
from multiprocessing.connection import Connection

from mlflow.exceptions import MlflowException

from tuner import names
from tuner.driver.clock import Clock
from tuner.driver.parts import Display, Recorder
from tuner.driver.rehearsal import Rehearsal
from tuner.executors import Executor
from tuner.tracking.facts import StopRequests

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""How often the driver looks for requests."""

TELL_SECONDS = 5.0
"""How often it records how far the study is."""


class Steering:
    """Attended to by the executor while trials run; see `tuner.executors.Beside`.

    Args:
        tracker: The study's tracker.
        executor: Runs the trials.
        progress: Knows how far the study is.
        clock: Tells the time.
        in_flight: The trials that have been submitted and have not ended; a live view.
        running: Those of them that workers have; a live view.
        rehearsal: Checks during the first trial that the study can end well.

    Attributes:
        is_ending: Whether somebody asked the study to end: no more trials start.
        is_cutting: Whether trials that run were asked to end with it, before their last epoch.
        stopped: The trials that somebody stopped, one by one.
    """

    def __init__(
        self,
        tracker: Recorder,
        executor: Executor,
        progress: Display,
        clock: Clock,
        in_flight: Collection[str],
        running: Set[str],
        rehearsal: Rehearsal | None = None,
    ) -> None:
        self.is_ending = False
        self.is_cutting = False
        self.stopped: set[str] = set()
        self._tracker = tracker
        self._executor = executor
        self._progress = progress
        self._clock = clock
        self._in_flight = in_flight
        self._running = running
        self._rehearsal = rehearsal
        self._next_look = self._next_word = clock.monotonic()
        self._told: dict[str, str] = {}
        self._has_warned = False

    @property
    def connections(self) -> Sequence[Connection]:
        """Those of the rehearsal."""
        return () if self._rehearsal is None else self._rehearsal.connections

    @property
    def seconds(self) -> float:
        """Seconds until the next look."""
        return max(self._next_look - self._clock.monotonic(), 0.0)

    def attend(self) -> bool:
        """Look for requests and tell how far the study is, if due; say whether it must end."""
        now = self._clock.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self._look()
        if now >= self._next_word:
            self._next_word = now + TELL_SECONDS
            self._tell(self._progress.as_tags())
        return self._rehearsal is not None and self._rehearsal.attend()

    def _look(self) -> None:
        try:
            requests = self._tracker.stop_requests()
        except MlflowException as error:
            # A request that cannot be read must not end a study that can do without.
            logger.log(
                logging.DEBUG if self._has_warned else logging.WARNING,
                "Could not look for requests to stop (tuner.stop), and will try again: %s",
                error,
            )
            self._has_warned = True
            return
        for trial_id in sorted(requests.trials & set(self._in_flight) - self.stopped):
            logger.info("trial %s ends after this epoch, as it was asked to.", trial_id)
            self.stopped.add(trial_id)
            self._executor.stop(trial_id, "user")
        self._end_study(requests)

    def _end_study(self, requests: StopRequests) -> None:
        """Begin to end the study, if that is asked."""
        if requests.study is None or (self.is_ending and requests.study != "now"):
            return
        if requests.study == "now" and not self.is_cutting:
            logger.info("The study was asked to end now: trials end after this epoch.")
            self.is_cutting = True
            self._stop(self._in_flight)
        elif not self.is_ending:
            logger.info("The study was asked to end: no more trials start.")
            self._stop(set(self._in_flight) - self._running)
        self.is_ending = True

    def _stop(self, trial_ids: Collection[str]) -> None:
        for trial_id in sorted(trial_ids):
            self._executor.stop(trial_id, "user")

    def finish(self) -> None:
        """Record how far the study is, now that no trial runs any more."""
        self._tell({**self._progress.as_tags(), names.TIME_LEFT: "none"})

    def _tell(self, tags: dict[str, str]) -> None:
        new = {key: text for key, text in tags.items() if self._told.get(key) != text}
        if not new:
            return
        try:
            self._tracker.tell_progress(new)
        except MlflowException as error:
            logger.debug("Could not record how far the study is: %s", error)
            return
        self._told = tags
