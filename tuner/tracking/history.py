"""The one reader of a recorded study: its run, its trials, their values, metrics and files.

Resume, report and promotion all read MLflow's records through this module, as the types of
`facts`; `trial_epochs` reads a trial's epochs. It writes nothing.
"""

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException

from tuner import names
from tuner.constraints import Constraints
from tuner.evaluation.front import pareto_front
from tuner.evaluation.racing import Race
from tuner.runtime import gc_pauses
from tuner.tracking import json_tags, plain_yaml
from tuner.tracking.facts import (
    DataFacts,
    Presence,
    Repeats,
    StopRequests,
    StudyFacts,
    TrialRecord,
    objective_of,
)
from tuner.tracking.manifest import Manifest
from tuner.trial import Objective

PAGE = 1000
"""Number of runs per request."""


def read_study(run: Run) -> StudyFacts:
    """Read the facts of a study from its run."""
    tags = run.data.tags
    settings = json_tags.from_tags(tags, names.SETTINGS)
    settings = dict(run.data.params) if settings is None else settings
    race = json_tags.from_tags(tags, names.FINALISTS)
    return StudyFacts(
        name=tags[names.STUDY],
        study_id=tags[names.STUDY_ID],
        run_id=run.info.run_id,
        experiment_id=str(run.info.experiment_id),
        status=run.info.status,
        began=run.info.start_time / 1000,
        owner=tags.get(names.USER, ""),
        folder=tags.get(names.FOLDER, ""),
        settings=settings,
        metrics=dict(run.data.metrics),
        versions=json.loads(tags.get(names.VERSIONS, "{}")),
        data=_data(run),
        best_trial=tags.get(names.BEST_TRIAL),
        judged_trial=tags.get(names.JUDGED_TRIAL) or tags.get(names.BEST_TRIAL),
        extensions=json_tags.from_tags(tags, names.EXTENSIONS) or [],
        stop=_request(tags, ("true", "now")),
        num_trials=int(tags.get(names.NUM_TRIALS) or 0) or None,
        time_left=tags.get(names.TIME_LEFT, ""),
        race=None if race is None else Race.decode(race, objective_of(settings)),
    )


def read_trial(run: Run) -> TrialRecord:
    """Read the record of a trial from its run."""
    tags = run.data.tags
    metrics, params = dict(run.data.metrics), dict(run.data.params)
    values = json_tags.from_tags(tags, names.VALUES)
    inputs, outputs = run.inputs, run.outputs
    has_more = bool((inputs and inputs.dataset_inputs) or (outputs and outputs.model_outputs))
    return TrialRecord(
        trial_id=tags[names.TRIAL],
        run_id=run.info.run_id,
        status=run.info.status,
        values=params if values is None else values,
        metrics=metrics,
        ended=(run.info.end_time or run.info.start_time) / 1000,
        error=tags.get(names.ERROR),
        failure=tags.get(names.FAILURE),
        stopped=tags.get(names.STOPPED) or None,
        stop=_request(tags, ("true",)) is not None,
        kind=tags[names.KIND],
        artifact_uri=str(run.info.artifact_uri),
        params=frozenset(params),
        parent=tags.get(names.PARENT),
        manifest=Manifest.decode(tags.get(names.FILES)),
        is_bare=not (metrics or params or has_more),
        stopped_because=tags.get(names.STOPPED_BECAUSE, ""),
        best_epoch=int(tags.get(names.BEST_EPOCH) or 0) or None,
        finalist_of=tags.get(names.FINALIST_OF),
        repeats=Repeats.decode(json_tags.from_tags(tags, names.REPEATS)),
        seed=int(tags[names.SEED]) if names.SEED in tags else None,
    )


def studies(
    client: mlflow.MlflowClient,
    experiment_ids: Iterable[str],
    study_id: str | None = None,
    view: int = ViewType.ACTIVE_ONLY,
) -> list[Run]:
    """Return the runs of studies, one per study, the latest first.

    Args:
        client: Client of the store that holds them.
        experiment_ids: Experiments to look in.
        study_id: Id of one study; None for all.
        view: Active runs, deleted runs, or both.
    """
    found: dict[str, Run] = {}
    tags = {names.KIND: names.KIND_STUDY, names.STUDY_ID: study_id}
    for run in _runs(client, experiment_ids, tags, view):
        # A request that was sent twice may have made two runs; the fuller one was used.
        other = found.setdefault(run.data.tags[names.STUDY_ID], run)
        if _amount(run) > _amount(other):
            found[run.data.tags[names.STUDY_ID]] = run
    return sorted(found.values(), key=lambda run: -run.info.start_time)


def runs_of(
    client: mlflow.MlflowClient,
    experiment_id: str,
    study_id: str,
    view: int = ViewType.ACTIVE_ONLY,
) -> list[Run]:
    """Return every run of a study, of whatever kind: its own and those of all trainings.

    Args:
        client: Client of the store that holds them.
        experiment_id: Id of the study's experiment.
        study_id: The study's id.
        view: Active runs, deleted runs, or both.
    """
    return list(_runs(client, [experiment_id], {names.STUDY_ID: study_id}, view))


def trials(
    client: mlflow.MlflowClient,
    experiment_id: str,
    study_id: str,
    kind: str | None = names.KIND_TRIAL,
    trial_id: str | None = None,
    view: int = ViewType.ACTIVE_ONLY,
) -> list[TrialRecord]:
    """Return the trials of a study, found by its id alone, in the order in which they ended.

    They are found whatever has become of the study's own run.

    Args:
        client: Client of the store that holds them.
        experiment_id: Id of the study's experiment.
        study_id: The study's id.
        kind: `names.KIND_TRIAL`, `names.KIND_REFIT` or `names.KIND_FINALIST`; None for all.
        trial_id: Id of one trial, or name of one refit or finalist; None for all.
        view: Active runs, deleted runs, or both.
    """
    tags = {names.KIND: kind, names.STUDY_ID: study_id, names.TRIAL: trial_id}
    # For 2,000 trials MLflow makes 60,000 objects: the collector took 1.3 of 2.1 s.
    with gc_pauses.paused():
        runs = _runs(client, [experiment_id], tags, view)
        found = [
            read_trial(run) for run in runs if run.data.tags[names.KIND] != names.KIND_STUDY
        ]
    return sorted(found, key=lambda trial: (trial.ended, trial.trial_id))


def stop_requests(
    client: mlflow.MlflowClient, experiment_id: str, study_id: str
) -> StopRequests:
    """Return what people have asked of a study that runs, in one request.

    Args:
        client: Client of the store that holds it.
        experiment_id: Id of its experiment.
        study_id: The study's id.
    """
    study, asked = None, set()
    # MLflow has no other way to ask for any value.
    where = ["attributes.status = 'RUNNING'", f"tags.`{names.STOP}` LIKE '%'"]
    for run in _runs(client, [experiment_id], {names.STUDY_ID: study_id}, where=where):
        tags = run.data.tags
        if tags[names.KIND] == names.KIND_STUDY:
            study = _request(tags, ("true", "now"))
        elif tags[names.KIND] in names.MAY_STOP and _request(tags, ("true",)):
            asked.add(tags[names.TRIAL])
    return StopRequests(study, frozenset(asked))


def running(
    client: mlflow.MlflowClient, experiment_id: str, study_id: str
) -> list[TrialRecord]:
    """Return the trials, finalists and refits of a study that run now, in their order.

    Args:
        client: Client of the store that holds them.
        experiment_id: Id of the study's experiment.
        study_id: The study's id.
    """
    tags = {names.STUDY_ID: study_id}
    runs = _runs(client, [experiment_id], tags, where=["attributes.status = 'RUNNING'"])
    found = [run for run in runs if run.data.tags[names.KIND] != names.KIND_STUDY]
    return sorted(map(read_trial, found), key=lambda trial: trial.trial_id)


def ended_since(
    client: mlflow.MlflowClient, experiment_id: str, study_id: str, time: float
) -> list[TrialRecord]:
    """Return the trials of a study that ended at or after a time, in that order.

    Args:
        client: Client of the store that holds them.
        experiment_id: Id of the study's experiment.
        study_id: The study's id.
        time: Seconds since 1970, as the study's driver tells the time.
    """
    tags = {names.KIND: names.KIND_TRIAL, names.STUDY_ID: study_id}
    where = [f"attributes.end_time >= {int(time * 1000)}"]
    found = map(read_trial, _runs(client, [experiment_id], tags, where=where))
    # A trial that is resumed keeps the time at which it ended before.
    ended = [trial for trial in found if trial.status != "RUNNING"]
    return sorted(ended, key=lambda trial: (trial.ended, trial.trial_id))


def finished(trials: Iterable[TrialRecord], objective: Objective) -> list[TrialRecord]:
    """Return the trials of a study that ended with a result, in the order given.

    Args:
        trials: Trials of one study.
        objective: The metric that it improves.
    """
    return [t for t in trials if t.status == "FINISHED" and objective.name in t.metrics]


def ranked(
    trials: Iterable[TrialRecord], objective: Objective, constraints: Constraints
) -> list[TrialRecord]:
    """Return the trials that may be the best, best first; see `Objective.order`.

    Args:
        trials: Trials of one study.
        objective: The metric that it improves.
        constraints: Limits that the best must keep within.
    """
    return sorted(
        (t for t in finished(trials, objective) if constraints.are_met(t.metrics)),
        key=lambda t: objective.order(t.metrics, t.trial_id),
    )


def on_front(
    trials: Iterable[TrialRecord], objective: Objective, constraints: Constraints
) -> list[TrialRecord]:
    """Return the trials of `ranked` that no other one of them beats in all objectives.

    Args:
        trials: Trials of one study.
        objective: What it improves; with one objective only the best are left.
        constraints: Limits that they must keep within.
    """
    found = ranked(trials, objective, constraints)
    front = set(pareto_front({t.trial_id: t.metrics for t in found}, objective))
    return [trial for trial in found if trial.trial_id in front]


def presence(
    client: mlflow.MlflowClient, experiment_id: str, study_id: str, trial_ids: Iterable[str]
) -> Presence:
    """Say which finished trials are recorded, which are deleted, and which are gone.

    Args:
        client: Client of the store that holds the study.
        experiment_id: Id of the study's experiment.
        study_id: The study's id.
        trial_ids: Trials that have finished according to the oracle's journal, or finalists.
    """
    asked = frozenset(trial_ids)

    def finished(view: int) -> frozenset[str]:
        found = trials(client, experiment_id, study_id, None, view=view)
        return asked & {trial.trial_id for trial in found if trial.status == "FINISHED"}

    present = finished(ViewType.ACTIVE_ONLY)
    deleted = frozenset[str]()
    if present != asked:
        deleted = finished(ViewType.DELETED_ONLY) - present
    return Presence(present, deleted, asked - present - deleted)


def experiments(client: mlflow.MlflowClient) -> dict[str, str]:
    """Return the names of the experiments that are not deleted, by their ids."""
    found = pages(client.search_experiments, view_type=ViewType.ACTIVE_ONLY)
    return {str(experiment.experiment_id): experiment.name for experiment in found}


def decision(
    client: mlflow.MlflowClient, study: StudyFacts, trial_id: str
) -> Mapping[str, Any] | None:
    """Return the gate's decision on a trial, or on its refit, if there is one."""
    for run_id in judged_runs(client, study, trial_id):
        content = read_file(client, run_id, names.DECISION)
        # A file that is empty or torn, as after a power cut, counts as missing.
        with contextlib.suppress(ValueError):
            if content is not None:
                found: dict[str, Any] = json.loads(content)
                return found
    return None


def judged_runs(
    client: mlflow.MlflowClient,
    study: StudyFacts,
    trial_id: str,
    view: int = ViewType.ACTIVE_ONLY,
) -> list[str]:
    """Return the runs from which a trial may be registered: its refit's, then its own.

    Args:
        client: Client of the store that holds the study.
        study: The study.
        trial_id: The trial, or the name of a finalist.
        view: Active runs, deleted runs, or both.
    """
    return [
        trial.run_id
        for name in (names.refit_name(trial_id), trial_id)
        for trial in trials(client, study.experiment_id, study.study_id, None, name, view)
    ]


def overrides(client: mlflow.MlflowClient, run_id: str) -> list[str]:
    """Return what a study was asked for on the command line; empty if that cannot be read."""
    content = read_file(client, run_id, names.OVERRIDES)
    try:
        lines = [] if content is None else plain_yaml.read(content)
    except plain_yaml.NotPlain:
        return []
    return [str(line) for line in lines] if isinstance(lines, list) else []


def read_file(client: mlflow.MlflowClient, run_id: str, path: str) -> bytes | None:
    """Return the content of a run's file, or None if it has none of that name."""
    folder = str(Path(path).parent) if "/" in path else None
    if path not in {file.path for file in client.list_artifacts(run_id, folder)}:
        return None
    with tempfile.TemporaryDirectory() as target:
        try:
            return Path(client.download_artifacts(run_id, path, target)).read_bytes()
        except (OSError, MlflowException):
            # Removed between two calls, or refused: a report can do without it.
            return None


def restore(run_id: str) -> str:
    """Return MLflow's own command that restores a deleted run."""
    return f"mlflow runs restore --run-id {run_id}"


def pages(search: Callable[..., Any], **query: object) -> Iterator[Any]:
    """Return the results of a search, page by page."""
    token = None
    while token != "":
        page = search(**query, page_token=token)
        yield from page
        token = page.token or ""


def _runs(
    client: mlflow.MlflowClient,
    experiment_ids: Iterable[str],
    tags: Mapping[str, str | None],
    view: int = ViewType.ACTIVE_ONLY,
    where: Sequence[str] = (),
) -> Iterator[Run]:
    """Return the runs that have these tags; a tag that is None matches anything.

    Args:
        client: Client of the store that holds them.
        experiment_ids: Experiments to look in.
        tags: The tags.
        view: Active runs, deleted runs, or both.
        where: What else must hold, each in MLflow's own language.
    """
    query = [f"tags.`{key}` = '{value}'" for key, value in tags.items() if value is not None]
    query += where
    return pages(
        client.search_runs,
        experiment_ids=list(experiment_ids),
        filter_string=" and ".join(query),
        run_view_type=view,
        max_results=PAGE,
    )


def _request(tags: Mapping[str, str], known: Iterable[str]) -> str | None:
    """Return what a run was asked for by `names.STOP`, which people may write by hand."""
    asked = tags.get(names.STOP, "").strip().lower()
    return asked if asked in known else None


def _amount(run: Run) -> tuple[int, int, int]:
    return len(run.data.metrics), len(run.data.params), run.info.start_time


def _data(run: Run) -> DataFacts | None:
    for given in run.inputs.dataset_inputs if run.inputs else ():
        dataset = given.dataset
        profile = json.loads(run.data.tags.get(names.DATA_PROFILE, "{}"))
        return DataFacts(dataset.name, dataset.digest, profile)
    return None
