"""Deletes a study: its versions, models, files, runs, and its folder.

A deletion that was interrupted is completed by the same call. The first steps mark the study: a
file in its folder, which keeps a search from resuming it, and a tag of its own run, which is
deleted first. From then on no command takes it for a study. The folder is removed last, since
it knows the study's id.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import shutil
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import mlflow
from mlflow.entities import Run

from tuner import names, passwords
from tuner.config import aliases
from tuner.config.printed_commands import of_module, program, word
from tuner.driver import remains
from tuner.driver.study_folder import EXPERIMENTS_DIR, is_running
from tuner.errors import StudyError
from tuner.runtime import files, locks
from tuner.study.belongings import Belongings, Place
from tuner.tracking import history
from tuner.tracking.logged_models import artifacts
from tuner.tracking.manifest import local_folder


@contextlib.contextmanager
def held(client: mlflow.MlflowClient, study: Place) -> Iterator[None]:
    """Keep a study from running while it is looked at and deleted.

    Raises:
        StudyError: If it runs now, or if that cannot be known.
    """
    if study.folder is None:
        if study.run is not None:
            _check_ended(client, study.run)
        yield
        return
    stop = of_module("tuner.stop", [f"study={study.name}"])
    to_do = f"Nothing was deleted. Wait for its end, or stop it: {stop}"
    with locks.hold_file(study.folder / remains.LOCK, f"study={study.name}", to_do):
        yield


def check_unused(client: mlflow.MlflowClient, study: Belongings, given: Sequence[str]) -> None:
    """Refuse to delete a model that an alias of the registry stands for.

    Args:
        client: Client of the store.
        study: What belongs to the study.
        given: Arguments that select the store, for the commands in the message.

    Raises:
        StudyError: It names each version with its aliases, and how to move them.
    """
    lines = []
    for name in sorted({version.name for version in study.versions}):
        model = client.get_registered_model(name)
        ours = {str(v.version): v for v in study.versions if v.name == name}
        for alias, number in sorted(model.aliases.items()):
            if (version := ours.get(str(number))) is None:
                continue
            trial = version.tags.get(names.TRIAL)
            origin = "" if trial is None else f" (trial {trial})"
            lines.append(f"  {name} version {number}{origin} is {alias}. To change that:")
            if alias == aliases.DEFAULT or aliases.history_tag(alias) in model.tags:
                chosen = [f"registry.name={name}", *given]
                if alias != aliases.DEFAULT:
                    chosen.append(f"registry.alias={alias}")
                for way in ("study=ANOTHER", "rollback=true"):
                    lines.append(f"    {of_module('tuner.promote', [way, *chosen])}")
            call = f"delete_registered_model_alias({_text(name)}, {_text(alias)})"
            lines.append(f"    {_in_python(client, call)}")
    if lines:
        intro = f"Study {study.name} cannot be deleted, since the registry uses its models."
        raise StudyError("\n".join([f"{intro} Nothing was deleted.", *lines]))


def delete(client: mlflow.MlflowClient, study: Belongings) -> list[str]:
    """Delete everything that belongs to a study.

    Args:
        client: Client of the store that holds it.
        study: What belongs to it; `held` is in force.

    Returns:
        Addresses of files that are still there, since their store does not remove files.
    """
    if study.folder is not None:
        files.write(study.folder / remains.DELETING, "")
    for run in study.own:
        _mark(client, run)
    for version in study.versions:
        client.delete_model_version(version.name, str(version.version))
    left = []
    for model in study.models:
        # The files first: without its record, nobody would find them again.
        left += _remove_files(client, study, str(model.artifact_location))
        client.delete_logged_model(model.model_id)
    for run in (*study.others, *study.own):
        left += _remove_files(client, study, str(run.info.artifact_uri))
        if run in study.others and run.info.lifecycle_stage == "active":
            client.delete_run(run.info.run_id)
    if study.folder is not None:
        _remove_folder(study.folder)
    return left


def _mark(client: mlflow.MlflowClient, run: Run) -> None:
    """Delete a study's own run, with a tag that says that its files go, too."""
    run_id, is_active = run.info.run_id, run.info.lifecycle_stage == "active"
    if not is_active and names.DELETED in run.data.tags:
        return
    if not is_active:
        # Somebody has deleted it by hand; a deleted run takes no tags.
        client.restore_run(run_id)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    client.set_tag(run_id, names.DELETED, now)
    client.delete_run(run_id)


def _remove_files(client: mlflow.MlflowClient, study: Belongings, uri: str) -> list[str]:
    """Remove the files at an address; return it if they are still there."""
    if uri in study.foreign:
        return [uri]
    store = artifacts(client, uri)
    store.delete_artifacts()
    folder = local_folder(uri)
    if folder is None:
        return [uri] if store.list_artifacts() else []
    # MLflow's folder of the run or model, which held nothing else.
    with contextlib.suppress(OSError):
        folder.parent.rmdir()
    return []


def _remove_folder(folder: Path) -> None:
    """Remove what Glassy has written into a study's folder, and the folder if it is empty."""
    last = (remains.STATE, remains.DELETING)
    entries = [entry for entry in folder.iterdir() if remains.is_ours(entry)]
    for entry in entries:
        if entry.name not in last and not remains.is_lock(entry.name):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for name in last:
        # One after the other: a state without this mark would be a study to resume.
        files.sync([folder])
        (folder / name).unlink(missing_ok=True)
    for entry in filter(lambda entry: remains.is_lock(entry.name), entries):
        entry.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _check_ended(client: mlflow.MlflowClient, run: Run) -> None:
    """Refuse if a study whose folder is not here may still be running."""
    facts = history.read_study(run)
    if facts.status not in ("RUNNING", "SCHEDULED") or run.info.lifecycle_stage != "active":
        return
    host, _, folder = facts.folder.partition(":")
    if host == socket.gethostname():
        if not is_running(Path(folder).expanduser() / EXPERIMENTS_DIR / facts.name):
            return
        raise StudyError(
            f"Study {facts.name} runs now, in {folder}. Nothing was deleted. Wait for its end, "
            f"or stop it: {of_module('tuner.stop', [f'study={facts.name}'])}"
        )
    call = f"set_terminated({_text(facts.run_id)}, {_text('KILLED')})"
    raise StudyError(
        f"Study {facts.name} runs in {facts.folder or 'an unknown folder'}, or was killed "
        f"there without notice, which cannot be known here. Nothing was deleted. Give the "
        f"command there or, if it was killed, say so to MLflow first:\n"
        f"    {_in_python(client, call)}"
    )


def _in_python(client: mlflow.MlflowClient, call: str) -> str:
    """Return a command that calls a method of MLflow's client, which has no command for it."""
    uri = passwords.hide(client.tracking_uri)
    code = f"import mlflow; mlflow.MlflowClient({_text(uri)}).{call}"
    return f"{program('python')} -c {word(code)}"


def _text(value: str) -> str:
    """Write text as Python does, in the quotes that a shell command needs no escape for."""
    return json.dumps(value)
