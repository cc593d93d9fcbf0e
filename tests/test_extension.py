"""What docs/search.md promises: an oracle or executor is one file of Python and one of YAML."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from support.commands import command, runs
from support.configs import loaded
from support.extending import ALONE, EXTENSIONS, LOCAL
from tuner.config.executors import EXECUTORS, ExecutorConfig
from tuner.config.searches import SEARCHES, SearchConfig
from tuner.errors import ConfigError
from tuner.oracles.journal import JournaledOracle, make_oracle
from tuner.oracles.oracle import Oracle
from tuner.outcomes import Told
from tuner.runtime.user_code import find_function
from tuner.trial import Objective, Proposal


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with an oracle, an executor, and their configurations."""
    for name in ("my_oracle.py", "my_executor.py"):
        shutil.copy(EXTENSIONS / name, tmp_path / name)
    for group, name, text in (("search", "local", LOCAL), ("executor", "alone", ALONE)):
        folder = tmp_path / "my_conf" / group
        folder.mkdir(parents=True)
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("my_oracle", "my_executor"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.mark.slow
def test_study_runs_with_an_oracle_and_an_executor_of_ones_own(project: Path) -> None:
    done = command(
        project,
        "search",
        "--config-dir=my_conf",
        "search=local",
        "executor=alone",
        "data=digits",
        "study=mine",
        "space.epochs=1",
        "space.units=[8,16]",
    )
    assert done.returncode == 0, done.stderr
    assert "good morning from an executor for tuner.models.mlp.build" in done.stdout
    trials = runs(project, "trial")
    assert [run.info.status for run in trials] == ["FINISHED"] * 4
    assert {run.data.tags["my.draws"] for run in trials} == {"1", "2", "3", "4"}
    events = [
        json.loads(line)
        for line in (project / "experiments" / "mine" / "oracle.jsonl").read_text().splitlines()
    ]
    assert [event["ask"] for event in events if "ask" in event][:4] == [
        "0000", "0001", "0002", "0003",
    ]  # fmt: skip


def test_oracle_of_ones_own_is_resumed_from_its_journal(project: Path, tmp_path: Path) -> None:
    config = loaded(
        "search.oracle=my_oracle.LocalConfig", "space.units=[8,16,32]", "search.max_trials=9"
    )

    def opened() -> JournaledOracle:
        journal = tmp_path / "oracle.jsonl"
        space = config.searched_space()
        return JournaledOracle(config.search, space, config.objective, 0, journal)

    oracle = opened()
    for score in (0.5, 0.75, 0.25):
        proposal = oracle.ask()
        assert proposal is not None
        oracle.tell(proposal.trial_id, Told(score))
    waiting = oracle.ask()
    resumed = opened()
    assert (resumed.values, resumed.scores) == (oracle.values, oracle.scores)
    assert resumed.ask() == waiting
    assert resumed.ask() == oracle.ask()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("search.oracle=local", ["`search.oracle`", "'local'", "random", "hyperband"]),
        ("search.oracle=my_oracle.Missing", ["my_oracle has none named Missing", "LocalC"]),
        ("search.oracle=no_such_file.Config", ["no_such_file", "cannot be imported"]),
        ("search.oracle=my_oracle.LocalSearch", ["dataclass", "SearchConfig"]),
        ("search.oracle=my_executor.AloneConfig", ["dataclass", "SearchConfig"]),
        ("executor.name=slurm", ["`executor.name`", "'slurm'", "serial", "ray"]),
        ("executor.name=my_executor.prepare", ["dataclass", "ExecutorConfig"]),
        ("executor.name=my_oracle.LocalConfig", ["dataclass", "ExecutorConfig"]),
    ],
)
def test_name_without_entry_is_an_error(project: Path, override: str, said: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(override)
    assert [part for part in said if part not in str(caught.value)] == []


@pytest.mark.parametrize("name", SEARCHES)
def test_every_oracle_of_the_table_can_be_made(name: str) -> None:
    config = loaded(f"search={name}")
    space = config.searched_space()
    oracle = make_oracle(config.search, space, Objective("val_accuracy", "max"), 0)
    proposal = oracle.propose("0000")
    assert isinstance(proposal, Proposal)
    assert ("epochs" in space.dimensions) == (not config.search.sets_epochs)
    assert (
        (oracle.rounds() is not None) == config.search.sets_epochs == bool(config.search.epochs)
    )
    counts_itself = oracle.num_trials() is not None
    assert counts_itself or not config.search.ends_by_itself


@pytest.mark.parametrize("name", EXECUTORS)
def test_every_executor_of_the_table_can_be_prepared(name: str) -> None:
    entry: Any = EXECUTORS[name]
    assert issubclass(entry, ExecutorConfig)
    assert callable(find_function("prepare", entry.prepare))


def test_entry_whose_class_is_no_oracle_is_refused() -> None:
    class Wrong(SearchConfig):
        oracle_class = "pathlib.Path"

    space = loaded().searched_space()
    with pytest.raises(ConfigError, match=f"{Oracle.__module__}.Oracle"):
        make_oracle(Wrong("wrong"), space, Objective("val_loss", "min"), 0)
