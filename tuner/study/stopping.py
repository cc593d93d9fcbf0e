"""Asks a study that runs to end, or one of its trials: a tag in MLflow, which its driver reads.

That works from any machine that reaches the tracking store. The driver looks every few seconds;
see `tuner.driver.steering`.
"""

import mlflow
from mlflow.entities import Run

from tuner import names
from tuner.config import printed_commands
from tuner.config.overrides import key_of
from tuner.errors import StudyError
from tuner.study import records
from tuner.study.study import state_of
from tuner.tracking import history
from tuner.tracking.facts import StudyFacts


def find_running(client: mlflow.MlflowClient, wanted: str) -> StudyFacts:
    """Return a study that runs now, as far as that can be known.

    Args:
        client: Client of the store that holds it.
        wanted: Its name, or the beginning of its id.

    Raises:
        StudyError: If there is no such study, or nobody runs it.
    """
    facts = history.read_study(records.choose(client, None, wanted))
    check_runs(client, facts)
    return facts


def only_running(client: mlflow.MlflowClient) -> Run:
    """Return the run of the only study that runs now, as far as that can be known.

    Args:
        client: Client of the store that holds it.

    Raises:
        ConfigError: If there is no study at all.
        StudyError: If none runs, or more than one.
    """
    runs = records.find_studies(client, None)
    running = [run for run in runs if state_of(history.read_study(run)) == "running"]
    if len(running) == 1:
        return running[0]
    if running:
        raise StudyError(
            f"`study` must say which of {len(running)} running studies is meant:\n"
            f"{records.listed(running)}"
        )
    raise StudyError(
        f"No study runs now: give study=<name>. The latest: {history.read_study(runs[0]).name}."
    )


def check_runs(client: mlflow.MlflowClient, study: StudyFacts) -> None:
    """Check that a study runs now, as far as that can be known.

    Args:
        client: Client of the store that holds it.
        study: The study.

    Raises:
        StudyError: If nobody runs it.
    """
    state = state_of(study)
    if state == "running":
        return
    if state == "finished":
        raise StudyError(
            f"Study {study.name} is finished: there is nothing to stop. Its report: "
            f"{printed_commands.of_module('tuner.report', [f'study={study.name}'])}"
        )
    raise StudyError(
        f"Nobody runs study {study.name} now ({state}): there is nothing to stop. To resume "
        f"it:\n  {resume_command(client, study)}"
    )


def resume_command(client: mlflow.MlflowClient, study: StudyFacts) -> str:
    """Return the command that resumes a study, to be run in the folder where it was started.

    Args:
        client: Client of the store that holds it.
        study: The study.
    """
    given = history.overrides(client, study.run_id)
    is_named = any(key_of(argument) == "study" for argument in given)
    return printed_commands.resume(given, None if is_named else study.name)


def stop_study(client: mlflow.MlflowClient, study: StudyFacts, now: bool = False) -> str:
    """Ask a study to end, and say what will happen.

    Args:
        client: Client of the store that holds it.
        study: A study that runs.
        now: Whether its trials end after the epoch under way, instead of their last.
    """
    client.set_tag(study.run_id, names.STOP, "now" if now else "true")
    running = _running(client, study)
    trials = f"trial{'s' if len(running) > 1 else ''} {', '.join(running)}"
    when = "after the epoch under way" if now else "after their last epoch"
    ends = f" {trials.capitalize()} will end {when}." if running else ""
    return (
        f"Study {study.name} was asked to end: no more trials start.{ends} Then its best model "
        f"is judged, and its report made. The same search command resumes it."
    )


def stop_trial(client: mlflow.MlflowClient, study: StudyFacts, trial_id: str) -> str:
    """Ask a trial to end after the epoch under way, and say what will happen.

    Args:
        client: Client of the store that holds it.
        study: A study that runs.
        trial_id: The trial's number, with or without zeros in front, or the name of a finalist,
            such as `0003-seed1`.

    Raises:
        StudyError: If the study has no such trial, or it has ended.
    """
    number, dash, seed = trial_id.partition("-")
    wanted = f"{int(number):04d}{dash}{seed}"
    found = history.trials(client, study.experiment_id, study.study_id, None, wanted)
    others = f"Running now: {', '.join(_running(client, study)) or 'no trial'}."
    if not found:
        raise StudyError(f"Study {study.name} has begun no trial {wanted}. {others}")
    if found[-1].status != "RUNNING":
        raise StudyError(
            f"Trial {wanted} of study {study.name} has ended ({found[-1].status.lower()}). "
            f"{others}"
        )
    client.set_tag(found[-1].run_id, names.STOP, "true")
    return (
        f"Trial {wanted} of study {study.name} was asked to end after the epoch under way; it "
        f"is evaluated and logged with what it has."
    )


def _running(client: mlflow.MlflowClient, study: StudyFacts) -> list[str]:
    running = history.running(client, study.experiment_id, study.study_id)
    return [trial.trial_id for trial in running if trial.kind in names.MAY_STOP]
