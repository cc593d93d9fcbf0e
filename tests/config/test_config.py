"""Every file in `conf/` composes, and every mistake gives one message."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra.errors import MissingConfigException
from omegaconf import OmegaConf

from support.configs import CUSTOM, REQUIRED, composed, loaded
from support.paths import CONF
from tuner.config.checks import check_name
from tuner.config.compose import (
    flatten,
    load_explore,
    load_predict,
    load_promote,
    load_report,
    named,
    to_dict,
    unknown_key,
    with_settings,
)
from tuner.config.executors import EXECUTORS, RayConfig
from tuner.config.hyperparameters import Range
from tuner.config.overrides import quoted, text_keys
from tuner.config.schema import ReportConfig, StudyConfig
from tuner.config.searches import (
    SEARCHES,
    AshaConfig,
    BayesianConfig,
    CmaEsConfig,
    GridConfig,
    HyperbandConfig,
    QmcConfig,
    RandomConfig,
    SearchConfig,
    TpeConfig,
)
from tuner.errors import ConfigError
from tuner.trial import Objective


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


GROUPS = sorted(
    path.name for path in CONF.iterdir() if path.is_dir() and path.name != "commands"
)
CHOICES = [
    f"+experiment={option}" if group == "experiment" else f"{group}={option}"
    for group in GROUPS
    for option in options(group)
]


def fail(*overrides: str) -> str:
    """Return the one message with which these overrides are refused."""
    with pytest.raises(ConfigError) as caught:
        loaded(*overrides)
    return str(caught.value)


def test_conf_has_no_file_that_no_test_composes() -> None:
    files = {path.relative_to(CONF).as_posix() for path in CONF.rglob("*.yaml")}
    grouped = {f"{group}/{option}.yaml" for group in GROUPS for option in options(group)}
    assert files - grouped == {
        "config.yaml",
        "explore.yaml",
        "commands/bench.yaml",
        "commands/bench_engines.yaml",
        "commands/delete.yaml",
        "commands/demo.yaml",
        "commands/predict.yaml",
        "commands/promote.yaml",
        "commands/report.yaml",
        "commands/simulate.yaml",
        "commands/stop.yaml",
        "commands/watch.yaml",
    }


@pytest.mark.parametrize("choice", CHOICES)
def test_load_accepts_every_option(choice: str) -> None:
    config = loaded(choice, *REQUIRED.get(choice, []))
    assert config.seed == 0
    # No Hydra type goes further.
    assert not any(OmegaConf.is_config(value) for value in flatten(to_dict(config)).values())


def test_load_defaults() -> None:
    config = loaded()
    assert (config.study, config.seed, config.overwrite) == (None, 0, False)
    assert config.data.name == "digits"
    assert config.model_function == "tuner.models.mlp.build"
    assert config.search.oracle == "random"
    assert config.executor.name == "processes"
    assert config.tracking.experiment is None
    assert config.registry.name == "digits-classifier"
    assert config.registry.alias == "champion"
    assert config.objective == Objective("val_accuracy", "max")


def test_load_keeps_classic_network_of_preset() -> None:
    config = loaded("+experiment=glassy")
    assert (config.data.name, config.search.oracle) == ("mnist", "grid")
    assert config.searched_space().size() == 1
    expected = {"epochs": 4, "layers": 2, "units": 128, "learning_rate": 1e-3}
    assert {name: config.space[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("oracle", "schema"),
    [
        ("random", RandomConfig),
        ("grid", GridConfig),
        ("bayesian", BayesianConfig),
        ("hyperband", HyperbandConfig),
        ("asha", AshaConfig),
        ("tpe", TpeConfig),
        ("cmaes", CmaEsConfig),
        ("qmc", QmcConfig),
    ],
)
def test_load_makes_schema_of_oracle(oracle: str, schema: type[SearchConfig]) -> None:
    search = loaded(f"search={oracle}").search
    assert type(search) is schema
    assert search.oracle == oracle


@pytest.mark.parametrize("oracle", options("search"))
def test_search_file_agrees_with_defaults_of_schema(oracle: str) -> None:
    """If a file leaves out a key, only the schema has its default, where nobody looks."""
    search = loaded(f"search={oracle}").search
    in_file: Any = OmegaConf.load(CONF / "search" / f"{oracle}.yaml")
    assert set(in_file) == {field.name for field in dataclasses.fields(search)}


def test_load_custom_model_keeps_its_arguments() -> None:
    config = loaded(*CUSTOM, "+model.width=3", "+space.filters=[8,16]")
    assert config.model == {"_target_": "my_package.my_function", "width": 3}
    assert config.space["filters"] == [8, 16]


def test_load_custom_model_takes_own_metric() -> None:
    config = loaded(*CUSTOM, "search.objective=val_f1", "search.direction=max")
    assert config.objective == Objective("val_f1", "max")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], Objective("val_accuracy", "max")),
        (["search.objective=val_loss"], Objective("val_loss", "min")),
    ],
)
def test_objective_has_direction_of_its_own(
    overrides: Sequence[str], expected: Objective
) -> None:
    assert loaded(*overrides).objective == expected


def test_searched_space_of_hyperband_has_no_epochs() -> None:
    assert "epochs" in loaded().searched_space().dimensions
    assert "epochs" not in loaded("search=hyperband").searched_space().dimensions


def test_load_hyperband_needs_no_epochs_in_space() -> None:
    assert "epochs" not in loaded("search=hyperband", "~space.epochs").space


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_load_accepts_seed_at_its_ends(seed: int) -> None:
    assert loaded(f"seed={seed}").seed == seed


def test_load_gives_each_trial_on_ray_a_cpu_for_each_thread() -> None:
    executor = loaded("executor=ray", "executor.threads=3").executor
    assert isinstance(executor, RayConfig)
    assert (executor.cpus, executor.gpus, executor.address) == (3.0, 0.0, None)


@pytest.mark.parametrize("address", ["auto", "head:6379", "127.0.0.1:6379", "'[::1]:6379'"])
def test_load_accepts_address_of_a_cluster(address: str) -> None:
    executor = loaded("executor=ray", f"executor.address={address}").executor
    assert isinstance(executor, RayConfig)
    assert executor.address == address.strip("'")


def test_load_accepts_null_registry_name() -> None:
    assert loaded("registry.name=null").registry.name is None


# Each row: the overrides, then what the message must hold - the key, the value found and what
# is allowed.
MISTAKES: list[tuple[list[str], list[str]]] = [
    # Unknown keys, and what was meant.
    (["+sed=1"], ["`sed`", "study, seed, overwrite", "Did you mean `seed`?"]),
    (["+data.pathh=3"], ["`data.pathh`", "path, train_size", "mean `data.path`?"]),
    (["+search.max_trial=3"], ["`search.max_trial`", "mean `search.max_trials`?"]),
    (["+search.factor=3"], ["`search.factor`", "oracle, objective, direction, max_trials"]),
    (["+executor.thread=2"], ["`executor.thread`", "mean `executor.threads`?"]),
    (["+tracking.url=x"], ["`tracking.url`", "uri, experiment", "mean `tracking.uri`?"]),
    (["+registry.gate.metrics=x"], ["`registry.gate.metrics`", "`registry.gate.metric`?"]),
    (["+space.unit=4"], ["`space.unit`", "layers, units", "mean `space.units`?"]),
    # Wrong types.
    (["seed=abc"], ["`seed`", "'abc'", "Integer"]),
    (["seed=1.5"], ["`seed`", "'1.5'", "Integer"]),
    (["seed=null"], ["`seed`", "'None'", "int"]),
    (["overwrite=maybe"], ["`overwrite`", "'maybe'", "bool"]),
    (["data.name=null"], ["`data.name`", "'None'", "str"]),
    (["data.train_size=many"], ["`data.train_size`", "'many'", "Integer"]),
    (["data.validation_split=half"], ["`data.validation_split`", "'half'", "Float"]),
    (["search.max_trials=2.5"], ["`search.max_trials`", "'2.5'", "Integer"]),
    (["search.max_minutes=long"], ["`search.max_minutes`", "'long'", "Float"]),
    (["executor.threads=two"], ["`executor.threads`", "'two'", "Integer"]),
    (["space=3"], ["`space`", "int"]),
    # Missing.
    (["data=npz"], ["`data.path` is missing", "data.path="]),
    (["model=custom"], ["`model._target_` is missing", "model._target_="]),
    (["~space.epochs"], ["`space.epochs` is missing", "{min: …, max: …}"]),
    (["~space.units"], ["`space.units` is missing", "{min: …, max: …}"]),
    ([*CUSTOM, "~space.epochs"], ["`space.epochs` is missing"]),
    ([*CUSTOM, "~space.batch_size"], ["`space.batch_size` is missing"]),
    # One of several.
    (["search.oracle=genetic"], ["`search.oracle`", "'genetic'", "random, grid, bayesian"]),
    (["search.oracle=null"], ["`search.oracle`", "None", "random, grid, bayesian"]),
    (["executor.name=slurm"], ["`executor.name`", "'slurm'", "serial"]),
    (["search.direction=up"], ["`search.direction`", "'up'", "min, max or null"]),
    (["registry.gate.metric=f1"], ["`registry.gate.metric`", "'f1'", "accuracy, balanced"]),
    (["registry.gate.confidence=1"], ["`registry.gate.confidence`", "got 1", "below 1"]),
    (["registry.gate.min_accuracy=98"], ["`registry.gate.min_accuracy`", "got 98", "null"]),
    (["registry.gate.max_class_drop=-1"], ["`registry.gate.max_class_drop`", "got -1"]),
    (["registry.gate.max_parameters=0"], ["`registry.gate.max_parameters`", "got 0", "null"]),
    (["registry.gate.max_latency_ms=0"], ["`registry.gate.max_latency_ms`", "got 0"]),
    (["registry.alias=previous"], ["`registry.alias`", "'previous'", "must not be"]),
    # Constraints.
    (["search.constraints=small"], ["`search.constraints`", "'small'", "gate or null"]),
    (["search.constraints=gate"], ["takes over", "registry.gate.max_parameters or"]),
    (
        ["search.constraints={test_accuracy: {min: 0.9}}"],
        ["`search.constraints.test_accuracy`", "val_accuracy", "registry.gate.min_accuracy"],
    ),
    (
        ["search.constraints={num_paramters: {max: 5}}"],
        [
            "`search.constraints.num_paramters`",
            "Did you mean search.constraints.num_parameters?",
        ],
    ),
    (
        ["search.constraints={val_f1: {min: 0.9}}"],
        ["`search.constraints.val_f1`", "latency_ms"],
    ),
    (["search.constraints={loss: {max: 1}}"], ["`search.constraints.loss`", "val_loss?"]),
    (["search.constraints={latency_ms: 5}"], ["search.constraints.latency_ms.max=1", "got 5"]),
    (["search.constraints={latency_ms: {}}"], ["with max, min or both", "got {}"]),
    (["search.constraints={latency_ms: {most: 5}}"], ["with max, min or both", "'most'"]),
    (
        ["search.constraints={latency_ms: {max: 0}}"],
        ["latency_ms.max` must be above 0", "got 0"],
    ),
    (["search.constraints={val_loss: {max: nan}}"], ["must be a number or null", "got nan"]),
    (["search.constraints={val_loss: {max: true}}"], ["must be a number or null", "got True"]),
    (["search.constraints={val_accuracy: {min: 97}}"], ["between 0 and 1", "got 97"]),
    (
        ["search.constraints={val_loss: {min: 2, max: 1}}"],
        ["`search.constraints.val_loss.min` must be at most", "min=2 and max=1"],
    ),
    # Several objectives.
    (["search.objective=[]"], ["`search.objective` must be the name of a metric", "got []"]),
    (["search.objective=3"], ["`search.objective` must be the name of a metric", "got 3"]),
    (["search.objective=[val_loss,val_loss]"], ["each metric once", "val_loss twice"]),
    (
        ["search=bayesian", "search.objective=[val_accuracy,num_parameters]"],
        ["`search=bayesian` knows one", "names 2", "random, grid, tpe, qmc, nsga2"],
    ),
    (
        ["search=hyperband", "search.objective=[val_accuracy,val_loss]"],
        ["`search=hyperband` knows one objective"],
    ),
    (
        ["search.objective=[val_accuracy,val_loss]", "search.target=0.9"],
        ["`search.target=0.9` is a score of one objective", "search.constraints"],
    ),
    (
        [
            "search=tpe",
            "search.objective=[val_accuracy,num_parameters]",
            "search.pruner=median",
        ],
        ["`search.pruner` compares trials by one objective", "num_parameters"],
    ),
    (["search.objective=num_parameters"], ["must begin with a validation metric", "max=1000"]),
    (["search.objective=[latency_ms,val_loss]"], ["must begin with", "got latency_ms"]),
    (
        ["search.objective=[val_accuracy,val_loss]", "search.direction=max"],
        ["min, max or null for each of", "(2)", "got 'max'"],
    ),
    (["search.direction=[max,min]"], ["for each of", "(1)", "['max', 'min']"]),
    (
        ["search.objective=[val_accuracy,num_parameters]", "search.direction=[max,max]"],
        ["`search.direction` must be min or null for the objective num_parameters"],
    ),
    (
        ["search.objective=[val_accuracy,num_params]"],
        ["one of val_accuracy", "num_parameters, latency_ms", "'num_params'"],
    ),
    (
        [*CUSTOM, "search.objective=[val_accuracy,val_f1]"],
        ["`search.direction` must say min or max for the objective val_f1"],
    ),
    # Objective and direction.
    (["search.objective=accuracy"], ["`search.objective`", "'accuracy'", "val_accuracy, val"]),
    (["search.objective=val_f1"], ["`search.objective`", "'val_f1'", "val_accuracy, val_loss"]),
    (
        [*CUSTOM, "search.objective=loss", "search.direction=min"],
        ["`search.objective`", "'loss'", "`val_…`"],
    ),
    ([*CUSTOM, "search.objective=val_f1"], ["`search.direction`", "min or max", "val_f1"]),
    (["search.target=99"], ["`search.target`", "at most 1 for val_accuracy", "0.99", "got 99"]),
    (
        ["search.objective=val_loss", "search.target=-0.1"],
        ["`search.target`", "at least 0 for val_loss", "got -0.1"],
    ),
    (["search.target=nan"], ["`search.target`", "finite", "got nan"]),
    # What cannot be extended.
    (["extend=true"], ["`extend=true`", "study=<name>"]),
    (["extend=true", "overwrite=true", "study=a"], ["`extend=true`", "`overwrite=true`"]),
    # Out of range.
    (["seed=-1"], ["`seed`", "-1", "0 and 2147483647"]),
    (["seed=2147483648"], ["`seed`", "got 2147483648", "0 and 2147483647"]),
    (
        ["data.validation_split=0"],
        ["`data.validation_split`", "got 0.0", "above 0 and below 1"],
    ),
    (
        ["data.validation_split=1"],
        ["`data.validation_split`", "got 1.0", "above 0 and below 1"],
    ),
    (["data.validation_split=nan"], ["`data.validation_split`", "got nan"]),
    (["data.train_size=0"], ["`data.train_size`", "got 0", "at least 1"]),
    (["executor.threads=0"], ["`executor.threads`", "got 0", "at least 1"]),
    (["curves.keep=some"], ["`curves.keep`", "all, best, none", "'some'"]),
    (["curves.every_seconds=-1"], ["`curves.every_seconds`", "at least 0", "-1"]),
    (["curves.max_mb=-5"], ["`curves.max_mb`", "at least 0", "-5"]),
    (["curves.shared=true", "curves.reuse=false"], ["`curves.shared=true`", "`curves.reuse"]),
    (["tracking.log_models=few"], ["`tracking.log_models`", "all, best, none", "'few'"]),
    (["tracking.log_models=none"], ["`tracking.log_models=none`", "registry.name=null"]),
    (["executor=ray", "executor.workers=0"], ["`executor.workers`", "got 0", "at least 1"]),
    (["executor=ray", "executor.retries=-1"], ["`executor.retries`", "got -1", "at least 0"]),
    (["executor=ray", "executor.cpus=-1"], ["`executor.cpus`", "at least 0", "got -1.0"]),
    (["executor=ray", "executor.cpus=0.12345"], ["`executor.cpus`", "4 decimals"]),
    (["executor=ray", "executor.gpus=nan"], ["`executor.gpus`", "at least 0", "got nan"]),
    (["executor=ray", "executor.gpus=1.5"], ["`executor.gpus`", "whole number", "got 1.5"]),
    (["executor=ray", "executor.cpus=0"], ["`executor.cpus` or `executor.gpus`", "above 0"]),
    (["executor=ray", "executor.address=head"], ["`executor.address`", "host:port", "'head'"]),
    (["executor=ray", "executor.address=ray://head:1"], ["`executor.address`", "ray://"]),
    (["search.max_trials=0"], ["`search.max_trials`", "got 0", "above 0"]),
    (["search.max_trials=null"], ["`search.max_trials`", "null", "whole number", "random"]),
    (["search.max_minutes=0"], ["`search.max_minutes`", "got 0.0", "above 0"]),
    (["search.max_minutes=nan"], ["`search.max_minutes`", "got nan", "above 0"]),
    (
        ["registry.gate.min_improvement=-0.1"],
        ["`registry.gate.min_improvement`", "got -0.1", "at least 0"],
    ),
    (
        ["search=bayesian", "search.max_trials=null"],
        ["`search.max_trials`", "null", "whole number", "bayesian"],
    ),
    (
        ["search=bayesian", "search.num_initial_points=0"],
        ["`search.num_initial_points`", "got 0", "above 0"],
    ),
    (["search=bayesian", "search.alpha=-1"], ["`search.alpha`", "got -1.0", "at least 0"]),
    (["search=bayesian", "search.beta=-0.5"], ["`search.beta`", "got -0.5", "at least 0"]),
    (["search=asha", "search.reduction_factor=1"], ["got 1", "at least 2"]),
    (["search=asha", "search.min_epochs=0"], ["`search.min_epochs`", "got 0", "above 0"]),
    (
        ["search=asha", "search.max_epochs=2", "search.min_epochs=4"],
        ["`search.max_epochs`", "min_epochs x reduction_factor (4 x 3)", "got 2"],
    ),
    (
        ["search=asha", "~space.epochs"],
        ["`search.max_epochs` must be the most epochs", "`space.epochs`", "neither"],
    ),
    (
        ["search=asha", "search.sampler=grid"],
        ["`search.sampler` must be one of random, tpe, qmc", "'grid'"],
    ),
    (
        ["search=hyperband", "search.reduction_factor=1"],
        ["`search.reduction_factor`", "got 1", "at least 2"],
    ),
    (["search=hyperband", "search.max_epochs=0"], ["`search.max_epochs`", "got 0", "above 0"]),
    (["search=hyperband", "search.iterations=0"], ["`search.iterations`", "got 0", "above 0"]),
    (["search=tpe", "search.max_trials=null"], ["`search.max_trials`", "null", "tpe"]),
    (
        ["search=tpe", "search.num_initial_points=0"],
        ["`search.num_initial_points`", "got 0", "above 0"],
    ),
    (
        ["search=cmaes", "space.epochs=[1,2]", "space.units=[8,16]"],
        ["`search=cmaes`", "range", "only choices (epochs, units_1, units_2)", "search=tpe"],
    ),
    (["search=cmaes", "space.epochs=1", "space.units=8"], ["nothing to search", "search=tpe"]),
    (["space.layers=0"], ["`space.layers`", "got 0", "at least 1"]),
    # Pruners.
    (
        ["search.pruner=meridian"],
        ["`search.pruner`", "median, percentile", "mean median?"],
    ),
    (
        ["search.pruner=wilcoxon"],
        ["`search.pruner=wilcoxon`", "at least 5", "1 training", "search.repeats=5", "median"],
    ),
    (
        ["search.pruner={name: wilcoxon, p_threshold: 0.01}", "data.folds=7"],
        ["`search.pruner=wilcoxon`", "p_threshold=0.01", "at least 8", "7 trainings"],
    ),
    *(
        (
            [f"search.pruner={{name: wilcoxon, p_threshold: {wrong}}}", "search.repeats=9"],
            ["`search.pruner.p_threshold`", "above 0 and below 1", f"got {said}"],
        )
        for wrong, said in (("0", "0"), ("1", "1"), ("little", "'little'"), ("true", "True"))
    ),
    (["search.repeats=0"], ["`search.repeats` must be above 0", "got 0"]),
    (["data.folds=1"], ["`data.folds` must be at least 2", "got 1"]),
    (
        ["search=asha", "search.repeats=2"],
        ["`search.repeats` must be 1 with search=asha", "got 2", "search.finalists"],
    ),
    (
        ["search=hyperband", "data.folds=3"],
        ["`data.folds` must be null with search=hyperband", "got 3", "another search"],
    ),
    (
        ["search.pruner=3"],
        ["`search.pruner`", "median, percentile", "or null", "got 3"],
    ),
    (
        ["search.pruner=[median]"],
        ["`search.pruner`", "median, percentile", "['median']"],
    ),
    (["search.pruner={warmup_epochs: 2}"], ["`search.pruner`", "{'warmup_epochs': 2}"]),
    (
        ["search.pruner={name: median, percentile: 30}"],
        ["`search.pruner.percentile`", "not an option of the pruner median", "warmup_epochs"],
    ),
    (
        ["search.pruner={name: median, warmup: 2}"],
        ["`search.pruner.warmup`", "Did you mean `search.pruner.warmup_epochs`?"],
    ),
    *(
        (
            [f"search.pruner={{name: percentile, percentile: {wrong}}}"],
            ["`search.pruner.percentile`", "above 0 and below 100", f"got {said}"],
        )
        for wrong, said in (("0", 0), ("100", 100), ("-5", -5), ("half", "'half'"))
    ),
    *(
        (
            [f"search.pruner={{name: median, {option}: {wrong}}}"],
            [f"`search.pruner.{option}`", "must be", f"got {said}"],
        )
        for option, wrong, said in (
            ("interval", "0", 0),
            ("min_trials", "0", 0),
            ("num_startup_trials", "-1", -1),
            ("warmup_epochs", "0.5", 0.5),
            ("warmup_epochs", "true", True),
        )
    ),
    (
        ["search.pruner=median", "space.epochs=1"],
        ["`search.pruner`", "at least 2 epochs", "`space.epochs` has at most 1"],
    ),
    (
        ["search.pruner={name: median, warmup_epochs: 4}", "space.epochs=[2,5]"],
        ["`search.pruner` with warmup_epochs=4", "at least 6", "`space.epochs` has at most 5"],
    ),
    (
        ["search=hyperband", "search.pruner=median"],
        ["`search.pruner` must be null with search=hyperband", "'median'"],
    ),
    # Names.
    (["study=a/b"], ["`study`", "'a/b'", "letters, digits and ._=,+-"]),
    (["study=.."], ["`study`", "'..'", "letters, digits and ._=,+-"]),
    (["study='a b'"], ["`study`", "'a b'", "letters, digits and ._=,+-"]),
    (["registry.name=a/b"], ["`registry.name`", "'a/b'", "/ : @"]),
    (["registry.name=' '"], ["`registry.name`", "' '"]),
    (["registry.alias=a:b"], ["`registry.alias`", "'a:b'", "/ : @"]),
    (["tracking.experiment=' '"], ["`tracking.experiment`", "' '", "MLFLOW_EXPERIMENT_NAME"]),
    (["registry.alias=v1"], ["`registry.alias`", "'v1'", "reserves"]),
    (["registry.alias=Latest"], ["`registry.alias`", "'Latest'", "reserves"]),
    (["registry.alias='in service'"], ["`registry.alias`", "'in service'", "letters"]),
    (["registry.alias=x-previous"], ["`registry.alias`", "'x-previous'", "-previous"]),
    (["registry.name=.."], ["`registry.name`", "'..'"]),
    # Dotted names.
    (["model._target_=build"], ["`model._target_`", "'build'", "my_package.my_function"]),
    (["model._target_=5"], ["`model._target_`", "5", "my_package.my_function"]),
    (["model._target_=null"], ["`model._target_`", "None", "my_package.my_function"]),
    (["data._target_=load"], ["`data._target_`", "'load'", "my_package.load"]),
    (["data._target_=my-package.load"], ["`data._target_`", "'my-package.load'"]),
    # An interpolation that leads nowhere.
    (["study=${nowhere}"], ["`study`", "nowhere"]),
]


@pytest.mark.parametrize(
    ("overrides", "parts"), MISTAKES, ids=[" ".join(row[0]) for row in MISTAKES]
)
def test_load_says_mistake(overrides: Sequence[str], parts: Sequence[str]) -> None:
    message = fail(*overrides)
    missing = [part for part in parts if part not in message]
    assert not missing, message
    assert "\n" not in message


def test_load_refuses_hyperband_without_anything_to_search() -> None:
    """Keras Tuner's Hyperband proposes no trial at all when every value is fixed."""
    assert "hyperband" in fail("+experiment=glassy", "search=hyperband").lower()


@pytest.mark.parametrize("oracle", ["tpe", "cmaes", "qmc"])
def test_load_refuses_another_optuna(
    oracle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "optuna-4.8.0.dist-info").mkdir()
    (tmp_path / "optuna-4.8.0.dist-info" / "METADATA").write_text(
        "Name: optuna\nVersion: 4.8.0"
    )
    monkeypatch.syspath_prepend(tmp_path)
    message = fail(f"search={oracle}")
    assert f"`search={oracle}` needs Optuna 5, but Optuna 4.8.0 is installed here" in message
    assert 'pip install "optuna==5.*"' in message


def test_compose_unknown_option_names_options() -> None:
    with pytest.raises(MissingConfigException) as caught:
        composed("model=transformer")
    assert caught.value.options is not None
    assert sorted(caught.value.options) == options("model")


@pytest.mark.parametrize("name", ["a", "A1", "first", "x._=,+-", "0", "a..b", "n" * 100])
def test_check_name_accepts(name: str) -> None:
    check_name(name)
    assert loaded(f"study='{name}'").study == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".a", "-a", "a/b", "../a", "a\\b", "a b", "ä", "a\n", "n" * 101]
)
def test_check_name_refuses(name: str) -> None:
    with pytest.raises(ConfigError, match="`study` must be letters") as caught:
        check_name(name)
    assert repr(name) in str(caught.value)


def test_unknown_key_without_anything_close_has_no_hint() -> None:
    assert unknown_key("data.zzz", "zzz", ["path", "name"]) == (
        "`data.zzz` is not a key of the configuration. Known here: path, name."
    )


def test_load_predict_accepts_conf() -> None:
    config = load_predict(
        composed("images=a.png", "model=models:/m/1", name="commands/predict")
    )
    assert (config.images, config.model) == ("a.png", "models:/m/1")
    assert config.tracking.uri is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=m"], "`images` is missing: give it as images=…."),
        (["images=a", "model=m", "+imagess=b"], "`imagess` is not a key .* mean `images`?"),
    ],
)
def test_load_predict_says_mistake(overrides: Sequence[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_predict(composed(*overrides, name="commands/predict"))


def test_load_explore() -> None:
    config = load_explore(composed("data=npz", "data.path=a.npz", "seed=3", name="explore"))
    assert (config.data.path, config.seed, config.picture) == ("a.npz", 3, "data.png")


def test_load_report() -> None:
    config = load_report(composed("study=first", "output=a.html", name="commands/report"))
    assert (config.study, config.output) == ("first", "a.html")
    assert (config.drawings, config.tracking.uri, config.tracking.experiment) == (None,) * 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("study=a/b", "`study` must be letters, digits"),
        ("output=a.pdf", "`output` must be the name of a .html, but got 'a.pdf'."),
        ("+stdy=a", "`stdy` is not a key .* mean `study`?"),
    ],
)
def test_load_report_says_mistake(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_report(composed(override, name="commands/report"))


def test_load_predict_turns_steps_off() -> None:
    overrides = ["images=a.png", "model=m", "prepare.stroke=false", "show=true"]
    config = load_predict(composed(*overrides, name="commands/predict"))
    assert to_dict(config.prepare) == {
        "invert": True,
        "crop": True,
        "stroke": False,
        "center": True,
    }
    assert config.show


@pytest.mark.parametrize(
    ("given", "rungs"),
    [
        (["space.epochs=27"], [1, 3, 9, 27]),
        (["space.epochs=10"], [1, 3, 10]),
        (["space.epochs={min: 2, max: 8}"], [2, 8]),
        (["space.epochs=[4,16]", "search.reduction_factor=2"], [4, 8, 16]),
        (["~space.epochs", "search.max_epochs=9"], [1, 3, 9]),
        (["space.epochs={min: 2, max: 8}", "search.max_epochs=9"], [2, 9]),
        (["space.epochs=27", "search.min_epochs=5", "search.reduction_factor=4"], [5, 27]),
    ],
)
def test_rungs_of_asha(given: list[str], rungs: list[int]) -> None:
    assert loaded("search=asha", *given).search.epochs == rungs


@pytest.mark.parametrize(
    ("max_epochs", "factor"), [(1, 3), (2, 3), (9, 3), (10, 3), (27, 3), (4, 2), (100, 4)]
)
def test_hyperband_epochs_are_those_of_keras_tuner(max_epochs: int, factor: int) -> None:
    from keras_tuner.oracles import HyperbandOracle

    oracle = HyperbandOracle("val_loss", max_epochs=max_epochs, factor=factor)
    trained = {
        oracle._get_epochs(bracket, number)
        for bracket in range(oracle._get_num_brackets())
        for number in range(oracle._get_num_rounds(bracket))
    }
    search = HyperbandConfig("hyperband", max_epochs=max_epochs, reduction_factor=factor)
    assert search.epochs == sorted(trained)


def test_load_promote_wants_one_thing() -> None:
    config = load_promote(composed("study=first", "data.path=a.npz", name="commands/promote"))
    assert (config.study, config.run, config.rollback) == ("first", None, False)
    assert config.data == {"path": "a.npz", "_target_": None}
    for wrong in ("registry.alias=v1", "registry.alias=latest", "registry.name=a/b"):
        with pytest.raises(ConfigError, match=wrong.partition("=")[0]):
            load_promote(composed("rollback=true", wrong, name="commands/promote"))
    with pytest.raises(ConfigError, match="exactly one of study=<name>"):
        load_promote(composed("study=first", "run=abc", name="commands/promote"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["run=abc", "trial=0003"], "`trial=0003` needs its study"),
        (["trial=0003", "rollback=true"], "`trial=0003` needs its study"),
        (["study=first", "force=true"], "`force=true` needs a reason"),
        (["study=first", "force=true", "reason=' '"], "`force=true` needs a reason"),
        (["study=first", "reason=why"], "it needs force=true"),
        (["rollback=true", "force=true", "reason=why"], "no use with rollback=true"),
    ],
)
def test_load_promote_says_what_goes_together(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_promote(composed(*overrides, name="commands/promote"))


@pytest.mark.parametrize(
    ("study", "names"),
    [("null", []), ("first", ["first"]), ("1.10", ["1.10"]), ("[a, 2_0]", ["a", "2_0"])],
)
def test_load_report_takes_no_study_one_or_several(study: str, names: list[str]) -> None:
    override = quoted(f"study={study}", text_keys(ReportConfig))
    config = load_report(composed(override, name="commands/report"))
    assert named(config.study) == names


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ("[a,a]", "must name different studies"),
        ("[a,../b]", "`study` must be letters"),
        ("[]", "`study` must be letters"),
    ],
)
def test_load_report_refuses_what_names_no_studies(study: str, message: str) -> None:
    override = quoted(f"study={study}", text_keys(ReportConfig))
    with pytest.raises(ConfigError, match=message):
        load_report(composed(override, name="commands/report"))


def test_with_settings_changes_what_is_given() -> None:
    config = loaded("registry.gate.confidence=0.9", "registry.name=m")
    given = {"registry": {"name": None, "gate": {"confidence": 0, "metric": None}}}
    changed = with_settings(config, given)
    assert changed.registry.gate.confidence == 0
    assert (changed.registry.name, changed.registry.gate.metric) == ("m", "accuracy")
    with pytest.raises(ConfigError, match=r"registry\.gate\.confidence"):
        with_settings(config, {"registry": {"gate": {"confidence": 2}}})


def test_space_of_a_group_is_merged_member_by_member() -> None:
    overrides = ["space.augment.shift={min: 0.0, max: 0.1}", "space.augment.zoom=[0.1,0.2]"]
    space = loaded(*overrides).searched_space()
    assert space.searched == {"epochs", "units_1", "units_2", "augment_shift", "augment_zoom"}
    # Replaced as a whole: nothing of the range is left.
    again = loaded(*overrides, "space.augment.shift={min: 0.0, max: 0.2, step: 0.1}")
    assert again.searched_space().dimensions["augment_shift"] == Range(0.0, 0.2, 0.1)


def test_to_dict_keeps_order_of_fields() -> None:
    as_dict = to_dict(loaded("study=first"))
    assert list(as_dict) == [field.name for field in dataclasses.fields(StudyConfig)]
    assert as_dict["study"] == "first"
    assert as_dict["registry"]["gate"] == {
        "metric": "accuracy",
        "min_improvement": 0.0,
        "confidence": 0.95,
        "min_accuracy": None,
        "max_parameters": None,
        "max_latency_ms": None,
        "max_class_drop": None,
    }


def test_several_objectives_have_their_own_directions() -> None:
    config = loaded("search.objective=[val_accuracy,num_parameters,latency_ms]")
    assert config.objective == Objective(
        "val_accuracy",
        "max",
        (Objective("num_parameters", "min"), Objective("latency_ms", "min")),
    )
    setup = config.worker_setup("first", "graph")
    assert setup.with_latency
    assert setup.validated == [("search.objective", "val_accuracy")]
    own = [*CUSTOM, "search.objective=[val_auc,val_loss]", "search.direction=[max,null]"]
    assert loaded(*own).objective.others == (Objective("val_loss", "min"),)


def test_constraints_may_be_those_of_the_gate() -> None:
    gate = ["registry.gate.max_parameters=500", "registry.gate.max_latency_ms=1.5"]
    config = loaded("search.constraints=gate", *gate)
    taken = {"num_parameters": {"max": 500}, "latency_ms": {"max": 1.5}}
    assert config.search.constraints == taken
    assert config.worker_setup("first", "graph").with_latency
    # A gate's limit alone constrains no search, but its latency is measured.
    config = loaded(*gate)
    assert not config.constraints
    assert config.worker_setup("first", "graph").with_latency
    assert not loaded(gate[0]).worker_setup("first", "graph").with_latency


def test_constraints_are_one_setting() -> None:
    config = loaded("++search.constraints.val_macro_f1.min=0.9", "search.objective=val_loss")
    assert flatten(to_dict(config))["search.constraints"] == {"val_macro_f1": {"min": 0.9}}
    # What a built-in model reports only where it is asked for.
    assert config.model_arguments["metrics"] == ["macro_f1"]
    assert config.worker_setup("first", "graph").validated == [
        ("search.objective", "val_loss"),
        ("search.constraints.val_macro_f1.min", "val_macro_f1"),
    ]


def test_flatten_joins_keys() -> None:
    nested = {"a": {"b": 1, "c": {"d": [2]}}, "e": {}, "f": None}
    assert flatten(nested) == {"a.b": 1, "a.c.d": [2], "e": {}, "f": None}


# The help text.


@pytest.mark.parametrize("group", ["data", "model", "search", "executor", "experiment"])
def test_help_names_every_option(group: str) -> None:
    raw: Any = OmegaConf.to_container(OmegaConf.load(CONF / "config.yaml"))
    template = raw["hydra"]["help"]["template"]
    listed = re.search(rf"^\+?{group}: +(.+)$", template, re.MULTILINE)
    assert listed is not None
    assert sorted(listed[1].split(", ")) == options(group)


@pytest.mark.parametrize("group", ["data", "model", "search", "executor"])
def test_comment_of_defaults_list_names_every_option(group: str) -> None:
    text = (CONF / "config.yaml").read_text(encoding="utf-8")
    listed = re.search(rf"^  - {group}: \w+ +# [^:]+: +(.+)$", text, re.MULTILINE)
    assert listed is not None
    assert sorted(listed[1].split(", ")) == options(group)


@pytest.mark.parametrize(
    ("group", "schemas"),
    [("search", SEARCHES), ("executor", EXECUTORS)],
)
def test_every_schema_has_its_file(group: str, schemas: dict[str, type]) -> None:
    assert sorted(schemas) == options(group)


# Merging: a hyperparameter is replaced whole.


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("space.epochs=[2,4]", [2, 4]),
        ("space.epochs=5", 5),
        ("space.epochs={min:3,max:4}", {"min": 3, "max": 4}),
        ("space.epochs.max=20", {"min": 2, "max": 20}),
    ],
)
def test_override_replaces_mapping(override: str, expected: object) -> None:
    assert loaded(override).space["epochs"] == expected


def test_override_mapping_keeps_no_old_step() -> None:
    units = loaded("space.units={min:16,max:64}").space["units"]
    assert units == {"min": 16, "max": 64}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("space.batch_size={min:16,max:64,step:16}", {"min": 16, "max": 64, "step": 16}),
        ("space.batch_size=[8]", [8]),
        ("space.batch_size=8", 8),
    ],
)
def test_override_replaces_list(override: str, expected: object) -> None:
    assert loaded(override).space["batch_size"] == expected


def test_override_twice_keeps_the_last() -> None:
    config = loaded("space.units={min:16,max:64,step:16}", "space.units={min:8,max:9}")
    assert config.space["units"] == {"min": 8, "max": 9}


def test_merging_elsewhere_stays_as_it_was() -> None:
    """Only hyperparameters are replaced whole: other groups keep the keys not given."""
    gate = loaded("registry.gate={min_improvement:0.5}").registry.gate
    assert (gate.metric, gate.min_improvement) == ("accuracy", 0.5)


PRESET = """\
# @package _global_
defaults:
  - override /search: grid
space:
  epochs: [2, 4]
  units: {min: 16, max: 64}
  batch_size: {min: 8, max: 16}
  layers: 1
"""


@pytest.fixture
def preset(tmp_path: Path) -> str:
    """A preset in a folder of the user's own, and the override that finds it."""
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(PRESET, encoding="utf-8")
    return f"hydra.searchpath=[file://{tmp_path}]"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("epochs", [2, 4]),
        ("units", {"min": 16, "max": 64}),
        ("batch_size", {"min": 8, "max": 16}),
        ("layers", 1),
        ("dropout", 0.0),
    ],
)
def test_preset_replaces_hyperparameters_whole(
    preset: str, name: str, expected: object
) -> None:
    config = loaded(preset, "+experiment=mine")
    assert config.search.oracle == "grid"
    assert config.space[name] == expected


def test_override_goes_over_preset(preset: str) -> None:
    config = loaded(preset, "+experiment=mine", "space.units={min:1,max:2}", "space.epochs=9")
    assert config.space["units"] == {"min": 1, "max": 2}
    assert config.space["epochs"] == 9
