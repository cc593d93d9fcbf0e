"""The end of a search: its best model before the gate, its report, its closing lines."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from tuner import names
from tuner.config import printed_commands
from tuner.driver import closing
from tuner.errors import SearchFailed
from tuner.evaluation.front import pareto_front
from tuner.evaluation.ties import find_ties
from tuner.registry import promotion, refit
from tuner.wording import plural

if TYPE_CHECKING:
    from tuner.config.schema import StudyConfig
    from tuner.driver.loop import TrialLoop
    from tuner.driver.parts import Best, Parts
    from tuner.driver.preflight import Ready
    from tuner.driver.study_folder import StudyFolder
    from tuner.registry.promotion import Promotion
    from tuner.reports.outlook import Outlook
    from tuner.tracking.runs import Tracker

logger = logging.getLogger(__name__)


def best_of(loop: TrialLoop) -> Best:
    """Return the best trial of a search that is over.

    Raises:
        SearchFailed: If no trial has succeeded, or none meets the constraints.
    """
    best = loop.best()
    if best is None:
        raise SearchFailed(
            loop.ranking.none_met()
            or "The search ended without a successful trial. The failed runs in MLflow say "
            "why, in error.txt: fix the cause, then give another name, or overwrite=true to "
            "start this study over."
        )
    return best


def challenger_of(config: StudyConfig, parts: Parts, loop: TrialLoop, best: Best) -> Best:
    """Return the trial to register, and record it: the best within the gate's limits.

    That is the best trial of all if no limit is known beforehand, or no trial keeps within
    them: then the gate says why it refuses it.

    Args:
        config: The study's configuration.
        parts: The parts of the search.
        loop: The search, which is over.
        best: Its best trial.
    """
    limits = config.registry.gate.limits
    chosen = best if limits.are_met(best.metrics) else loop.best(limits) or best
    judged = "" if chosen.trial_id == best.trial_id else chosen.trial_id
    parts.tracker.log_study({}, {names.JUDGED_TRIAL: judged})
    return chosen


def judge(config: StudyConfig, ready: Ready, parts: Parts, best: Best) -> Promotion | None:
    """Let the gate judge a trial's model; return None if the study registers none.

    Args:
        config: The study's configuration.
        ready: The preflight's findings.
        parts: The parts of the search.
        best: The model to judge, as `challenger_of` returns it.

    Raises:
        SearchFailed: If the refit fails.
    """
    if config.registry.name is None:
        return None
    challenger = promotion.Challenger(
        run_id=best.run_id,
        study=parts.folder.path.name,
        trial_id=best.name,
        values=best.values,
        data_digest=ready.data.digest,
        validation={config.objective.name: best.score},
        seed=best.seed,
        race=best.race,
    )
    if config.registry.refit:
        engine = str(parts.folder.state.engine)
        challenger = refit.refit(parts.tracker, config, engine, challenger)
    return promotion.promote(ready.client, config, challenger)


def closing_lines(
    config: StudyConfig,
    ready: Ready,
    parts: Parts,
    loop: TrialLoop,
    best: Best,
    challenger: Best,
    promoted: Promotion | None,
) -> list[str]:
    """Make the report, and word what a user wants to know at the end.

    Args:
        config: The study's configuration.
        ready: The preflight's findings.
        parts: The parts of the search; its study's run is closed.
        loop: The search, which is over.
        best: Its best trial.
        challenger: The trial that was registered, if any was.
        promoted: The registry's answer, if it was.
    """
    report = make_report(parts.tracker, parts.folder, config.tracking.uri)
    eligible = {trial.trial_id: trial.metrics for trial in loop.ranking.ranked()}
    tied = None
    if best.race is None:
        # Otherwise new seeds have told more than one training of each can.
        num_images = ready.data.num_scored
        tied = find_ties(best.trial_id, eligible, config.objective, num_images)
    named = dataclasses.replace(config, study=parts.folder.path.name)
    num_trials, overrides = loop.num_ended, parts.folder.overrides
    front = None
    if config.objective.others:
        on_front = pareto_front(eligible, config.objective)
        front = (
            f"It is the best by {config.objective.name}. On the Pareto front of all "
            f"objectives: {plural(len(on_front), 'trial')}."
        )
    outlook = _outlook(parts.tracker)
    return closing.lines(
        named, best, challenger, promoted, num_trials, tied, report, overrides, outlook, front
    )


def _outlook(tracker: Tracker) -> Outlook | None:
    """Return what more trials would likely bring; like the report, it may be missing."""
    from tuner.reports import gather, outlook

    try:
        study = gather.read_study(tracker.client, tracker.client.get_run(tracker.run_id))
        return outlook.find(study)
    except Exception:
        logger.debug("What more trials would bring is not known.", exc_info=True)
        return None


def make_report(tracker: Tracker, held: StudyFolder, uri: str | None) -> Path | None:
    """Make the study's report; a search that has succeeded does not fail for lack of one.

    Args:
        tracker: The study's tracker.
        held: The study's folder.
        uri: The tracking store's address, for the command that retries.

    Returns:
        Where the report lies, or None if it could not be made.
    """
    from tuner import reports

    path = held.path / reports.REPORT
    try:
        reports.report_study(tracker.client, tracker.client.get_run(tracker.run_id), path)
        tracker.sync_study()
    except Exception as error:
        logger.debug("The report failed.", exc_info=True)
        given = [f"study={held.path.name}"]
        if uri is not None:
            given.append(f"tracking.uri={uri}")
        logger.warning(
            "The report could not be made (%s); to retry: %s",
            error,
            printed_commands.of_module("tuner.report", given),
        )
        return None
    return path
