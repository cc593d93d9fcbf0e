"""A study that visitors look at: it is read while they do, and each is told what has changed.

Only MLflow is read, so a study on another machine can be looked at, and its driver need not
run. A visitor's requests to stop become tags there, which the driver reads; see
`tuner.study.stopping`.
"""

import asyncio
import dataclasses
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import mlflow
from mlflow.entities import Run

from tuner import passwords
from tuner.escapes import visible
from tuner.reports import gather, live_page, page
from tuner.reports.live_page import LivePage
from tuner.reports.page import Part
from tuner.reports.study_page import study_page
from tuner.server.work import Busy, Work
from tuner.study import stopping
from tuner.study.study import state_of
from tuner.tracking import history, tracking_store
from tuner.tracking.following import Following
from tuner.trial import Json

logger = logging.getLogger(__name__)

PAUSE = 1.0
"""Least seconds from one reading to the next while the study runs."""

REST = 3.0
"""The same while it does not: it may be resumed."""

SHARE = 0.05
"""Largest share of a processor's time that is spent on reading."""

LONGEST = 5.0
"""Most seconds from one reading to the next, unless the store takes longer to answer."""


@dataclass(frozen=True)
class View:
    """What the page shows at one time.

    Attributes:
        title: Title of the browser's tab.
        notice: What a reader should know first; empty if there is nothing.
        parts: The content, from top to bottom; no two have the same key.
    """

    title: str
    notice: str = ""
    parts: Sequence[Part] = ()


class Watched:
    """A study, read again and again while somebody looks.

    Args:
        client: Client of the store that holds it.
        run: The study's run.
        work: Threads in which the store is asked.
    """

    def __init__(self, client: mlflow.MlflowClient, run: Run, work: Work) -> None:
        self.name = history.read_study(run).name
        self._followed = Following(client, run, live_page.NUM_CURVES)
        self._live = LivePage(self._followed)
        self._report: list[Part] | None = None
        self._is_announced = False
        self._command = ""
        self._mark: tuple[object, ...] = ()
        self._marked = time.time()
        self._pause = PAUSE
        self._busy = 0.0
        self._work = work
        self._reading = threading.Lock()
        self._view = View(f"Study {self.name}")
        self._num_visitors = 0
        self._has_visitors = asyncio.Event()
        self._is_due = asyncio.Event()
        self._has_changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    async def events(self) -> AsyncIterator[str]:
        """Yield what changes for one visitor, everything at first, as server-sent events."""
        if self._task is None:
            self._task = asyncio.create_task(self._follow())
        self._num_visitors += 1
        self._has_visitors.set()
        self._is_due.set()
        shown: View | None = None
        try:
            while True:
                view = self._view
                if (news := changes(shown, view)) is not None:
                    yield f"data: {json.dumps(news, allow_nan=False)}\n\n"
                shown = view
                async with self._has_changed:
                    while self._view is shown:
                        await self._has_changed.wait()
        finally:
            self._num_visitors -= 1
            if not self._num_visitors:
                self._has_visitors.clear()

    async def stop(self, trial_id: str | None, now: bool) -> str:
        """Ask the study or one of its trials to end, and say what will happen.

        Args:
            trial_id: The trial; None for the study.
            now: Whether the study's trials end after the epoch under way.

        Raises:
            StudyError: If the study or the trial does not run.
            Busy: If the store takes too long.
        """
        said = await self._work.run(self._ask_to_stop, trial_id, now)
        self._is_due.set()
        return said

    def _ask_to_stop(self, trial_id: str | None, now: bool) -> str:
        client = self._followed.client
        study = history.read_study(client.get_run(self._followed.facts.run_id))
        stopping.check_runs(client, study)
        if trial_id is None:
            return stopping.stop_study(client, study, now)
        return stopping.stop_trial(client, study, trial_id)

    async def _follow(self) -> None:
        """Read while there are visitors, and wake those who wait for news."""
        while True:
            await self._has_visitors.wait()
            self._is_due.clear()
            began, self._busy = time.monotonic(), 0.0
            try:
                view = await self._work.run(self._look)
            except Busy:
                view = self._with_notice("The tracking store takes long to answer.")
            except Exception as error:
                # Any exception: whatever a store, a network or a disk may do passes.
                logger.debug("The study could not be read", exc_info=True)
                view = self._with_notice(f"The study cannot be read at present: {why(error)}.")
            if view != self._view:
                async with self._has_changed:
                    self._view = view
                    self._has_changed.notify_all()
            # A store that is slow is asked for at most half of the time.
            took = time.monotonic() - began
            pause = max(self._pause, took, min(self._busy / SHARE, LONGEST))
            try:
                async with asyncio.timeout(pause):
                    await self._is_due.wait()
            except TimeoutError:
                pass

    def _with_notice(self, notice: str) -> View:
        return dataclasses.replace(self._view, notice=notice)

    def _look(self) -> View:
        """Read the study, and lay out what there is to see."""
        with self._reading:
            began = time.thread_time()
            try:
                return self._read_and_lay_out()
            finally:
                self._busy = time.thread_time() - began

    def _read_and_lay_out(self) -> View:
        followed = self._followed
        followed.read()
        self._pause = REST
        if followed.is_deleted:
            return self._with_notice(_say_deleted(self.name, followed.facts.run_id))
        state = state_of(followed.facts)
        if state == "finished" and history.finished(
            followed.ended.values(), followed.facts.objective
        ):
            return self._show_report()
        self._report, self._is_announced = None, False
        title = state
        if state == "running":
            title, self._pause, self._command = self._live.progress, PAUSE, ""
        elif not self._command:
            self._command = stopping.resume_command(followed.client, followed.facts)
        parts = self._live.parts(state, self._quiet_since(), self._command)
        return View(f"{title}: study {self.name}", parts=parts)

    def _show_report(self) -> View:
        title = f"Study {self.name}"
        if self._report is None and not self._is_announced:
            # It takes seconds, in which a reader should know what they wait for.
            self._is_announced, self._pause = True, 0.0
            return self._with_notice("The study has finished. Its report is being made.")
        if self._report is None:
            followed = self._followed
            study = gather.as_record(
                followed.facts,
                list(followed.ended.values()),
                followed.experiment,
                followed.client.tracking_uri,
            )
            details = gather.read_details(followed.client, study)
            self._report = page.parts_of(study_page(study, details, None))
        return View(title, parts=self._report)

    def _quiet_since(self) -> float | None:
        """Return since when nothing has changed, if that is long ago."""
        followed = self._followed
        mark = (followed.facts, followed.ended_version, followed.curves_version)
        now = time.time()
        if mark != self._mark:
            self._mark, self._marked = mark, now
        return self._marked if now - self._marked > live_page.QUIET_SECONDS else None


def changes(shown: View | None, view: View) -> dict[str, Json] | None:
    """Return what a visitor's page must change, or None if nothing.

    Args:
        shown: What it shows; None if it is empty.
        view: What it is to show.

    Returns:
        `title`, `notice`, `parts`: for each its key, and its HTML if that is new, otherwise
        None; and `figures`: those that are new, by name.
    """
    if shown == view:
        return None
    before = {} if shown is None else {part.key: part for part in shown.parts}
    parts: list[Json] = []
    figures: dict[str, Json] = {}
    for part in view.parts:
        known = before.get(part.key)
        if known is None or known.html != part.html:
            # What is drawn in HTML that is new must be drawn again.
            parts.append([part.key, part.html])
            figures |= part.figures
            continue
        parts.append([part.key, None])
        figures |= {
            name: figure
            for name, figure in part.figures.items()
            if known.figures.get(name) != figure
        }
    return {"title": view.title, "notice": view.notice, "parts": parts, "figures": figures}


def why(error: Exception) -> str:
    """Return the cause of an error, without passwords."""
    return passwords.hide(visible(tracking_store.root_cause(error)))


def _say_deleted(name: str, run_id: str) -> str:
    return (
        f"The run of study {name} was deleted in MLflow; below is what was last read. To bring "
        f"it back: {history.restore(run_id)}. If the study was started over (overwrite=true), "
        f"start this page's command again to see the new one."
    )
