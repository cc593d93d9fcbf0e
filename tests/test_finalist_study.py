"""A study with finalists, run by its command: killed while they train, resumed, and read."""

import json
from pathlib import Path
from typing import Any

import mlflow
import pytest

import tuner
from support.commands import command, killed_and_whole, runs
from tuner import names
from tuner.tracking import history

GIVEN = (
    "study=first",
    "executor.workers=2",
    "search=grid",
    "search.finalists={trials: 2, seeds: 2}",
    "space.epochs=[2,3]",
    "space.units=[16,24]",
    "space.layers=1",
    "space.learning_rate=0.01",
)


def results(folder: Path) -> dict[str, Any]:
    """Return the scores of all trials and finalists, and what the study has made of them."""
    [study] = runs(folder, "study")
    race = json.loads(study.data.tags[names.FINALISTS])
    scores = {
        run.data.tags[names.TRIAL]: run.data.metrics["val_accuracy"]
        for kind in (names.KIND_TRIAL, names.KIND_FINALIST)
        for run in runs(folder, kind)
    }
    return {"race": race, "scores": scores}


@pytest.mark.long
def test_finalists_of_a_killed_study_are_those_of_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, whole, done = killed_and_whole(tmp_path, GIVEN, "finalist 00")
    expected = results(whole)
    assert results(killed) == expected
    # Four trials, and two finalists with two seeds.
    assert len(expected["scores"]) == 8
    assert "new seeds (95 % interval" in done.stdout
    assert "in the search\n" in done.stdout
    again = command(killed, "search", *GIVEN)
    assert "there is nothing left to train" in again.stdout

    [study] = runs(whole, "study")
    client = mlflow.MlflowClient(f"sqlite:///{whole}/mlflow.db")
    race = history.read_study(study).race
    assert race is not None
    name = names.finalist_name(race.winner, race.median)
    [version] = client.search_model_versions("name = 'digits-classifier'")
    assert version.tags[names.TRIAL] == name
    assert f"mean of {len(race.seeds)} new seeds" in version.description
    report = (whole / "experiments" / "first" / "report.html").read_text()
    # The page keeps a number and its percent sign together.
    assert str(race).replace(" %", "\N{NO-BREAK SPACE}%") in report

    monkeypatch.chdir(whole)
    read = tuner.open_study("first", tracking_uri=client.tracking_uri)
    assert len(read.trials) == 4
    assert set(read.finalists.trial) == set(race.scores)
    assert sorted(set(read.finalists.seed)) == sorted(race.seeds)
    assert read.best is not None
    assert (read.best.trial_id, read.best.run_id) == (race.winner, version.run_id)
    assert read.best.load().predict is not None

    # The model of another finalist can be promoted, too, and refitted with its own seed.
    other = next(trial for trial in race.scores if trial != race.winner)
    given = ("study=first", f"trial={other}-seed1", "registry.refit=true")
    promoted = command(whole, "promote", *given)
    assert promoted.returncode in (0, 3), promoted.stderr
    versions = client.search_model_versions("name = 'digits-classifier'")
    refit = names.refit_name(f"{other}-seed1")
    assert {v.tags[names.TRIAL] for v in versions} == {name, refit}
    [run] = runs(whole, names.KIND_REFIT)
    assert run.data.metrics["epochs_trained"] == read.trials.set_index("trial").epochs[other]
