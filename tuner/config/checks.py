"""Checks of a configuration that types cannot make and that need no data.

Each raises a `ConfigError` at the first mistake, which names the key, the value and what is
allowed.
"""

import re
from typing import get_args

from tuner.config import aliases, objectives, pruners, starting_points
from tuner.config.bounds import (
    check_at_least,
    check_between,
    check_one_of,
    is_dotted_name,
)
from tuner.config.hyperparameters import Fixed
from tuner.config.schema import (
    CurvesConfig,
    DataConfig,
    Kept,
    RegistryConfig,
    StudyConfig,
)
from tuner.config.space import Space
from tuner.errors import ConfigError
from tuner.models import BEST_SCORES

KEPT: tuple[Kept, ...] = get_args(Kept)
GATE_METRICS = ("accuracy", "balanced_accuracy", "loss")
MAX_SEED = 2**31 - 1
MAX_PORT = 2**16 - 1
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=,+-]{0,99}")


def check_name(name: str) -> None:
    """Refuse a study name that could not be a folder's name on every system.

    Raises:
        ConfigError: If it has other characters than letters, digits and `._=,+-`, starts with
            one of those, or is longer than 100 characters.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise ConfigError(
            f"`study` must be letters, digits and ._=,+- (100 at most, starting with a letter "
            f"or a digit), but got {name!r}."
        )


def check_study(config: StudyConfig) -> None:
    """Check the configuration of a study.

    Raises:
        ConfigError: At the first thing wrong.
    """
    if config.study is not None:
        check_name(config.study)
    check_between("seed", config.seed, 0, MAX_SEED)
    if not is_dotted_name(config.model.get("_target_")):
        raise ConfigError(
            f"`model._target_` must be a dotted name such as my_package.my_function, but got "
            f"{config.model.get('_target_')!r}."
        )
    check_custom_objects("model.custom_objects", config.model.get("custom_objects"))
    check_data(config.data)
    objectives.check(config)
    _check_target(config)
    _check_extend(config)
    config.executor.check()
    _check_curves(config.curves)
    check_one_of("tracking.log_models", config.tracking.log_models, KEPT)
    if config.tracking.log_models == "none" and config.registry.name is not None:
        raise ConfigError(
            "`tracking.log_models=none` leaves no model to register: set registry.name=null "
            "too, or log the best."
        )
    data_name = config.data.name
    if not data_name.strip() or set("/:@") & set(data_name):
        raise ConfigError(
            f"`data.name` must be a name without any of / : @, but got {data_name!r}."
        )
    _check_registry(config.registry)
    experiment = config.tracking.experiment
    # MLflow allows everything else, such as the paths that name experiments on Databricks.
    if experiment is not None and not experiment.strip():
        raise ConfigError(
            f"`tracking.experiment` must be a name, or null for MLFLOW_EXPERIMENT_NAME or the "
            f"data's name, but got {experiment!r}."
        )
    config.search.settle(config.whole_space())
    space = config.searched_space()
    config.search.check(space)
    starting_points.check(config.search, space)
    _check_repeats(config)
    pruners.check(config.search, space, config.num_repeats)
    pruner = pruners.pruner_of(config.search.pruner)
    if pruner is not None and not pruner.judges_repeats and not config.executor.can_prune:
        raise ConfigError(
            f"`search.pruner` needs an executor that answers every epoch (`can_prune`), as "
            f"serial, processes and ray do, but got executor={config.executor.name}."
        )
    _check_training(config, space)
    if "epochs" not in space.dimensions and not config.search.sets_epochs:
        raise ConfigError(
            "`space.epochs` is missing: give a number, a list of choices or a range "
            "{min: …, max: …}."
        )


def check_data(data: DataConfig) -> None:
    """Check where images come from and how they are split.

    Raises:
        ConfigError: At the first thing wrong.
    """
    if not is_dotted_name(data._target_):
        raise ConfigError(
            f"`data._target_` must be a dotted name such as my_package.load, but got "
            f"{data._target_!r}."
        )
    if not 0 < data.validation_split < 1:
        raise ConfigError(
            f"`data.validation_split` must be above 0 and below 1 (the share of the training "
            f"images kept for validation), but got {data.validation_split}."
        )
    if data.folds is not None:
        check_at_least("data.folds", data.folds, 2)
    if not 0 < data.test_split < 1:
        raise ConfigError(
            f"`data.test_split` must be above 0 and below 1 (the share of the images kept for "
            f"testing), but got {data.test_split}."
        )
    if data.train_size is not None:
        check_at_least("data.train_size", data.train_size, 1)


def _check_registry(registry: RegistryConfig) -> None:
    if registry.name is not None:
        aliases.check_model_name(registry.name)
    aliases.check_alias(registry.alias)
    gate = registry.gate
    check_one_of("registry.gate.metric", gate.metric, GATE_METRICS)
    check_at_least("registry.gate.min_improvement", gate.min_improvement, 0)
    if not 0 <= gate.confidence < 1:
        raise ConfigError(
            f"`registry.gate.confidence` must be at least 0 (no test) and below 1, but got "
            f"{gate.confidence}."
        )
    for key, share in (
        ("min_accuracy", gate.min_accuracy),
        ("max_class_drop", gate.max_class_drop),
    ):
        if share is not None and not 0 <= share <= 1:
            raise ConfigError(
                f"`registry.gate.{key}` must lie between 0 and 1, or be null, but got {share}."
            )
    for key, most in (
        ("max_parameters", gate.max_parameters),
        ("max_latency_ms", gate.max_latency_ms),
    ):
        if most is not None and not most > 0:
            raise ConfigError(
                f"`registry.gate.{key}` must be above 0, or null for no limit, but got {most}."
            )


def _check_curves(curves: CurvesConfig) -> None:
    check_one_of("curves.keep", curves.keep, KEPT)
    check_at_least("curves.every_seconds", curves.every_seconds, 0)
    if curves.max_mb is not None:
        check_at_least("curves.max_mb", curves.max_mb, 0)
    if curves.shared and not curves.reuse:
        raise ConfigError(
            "`curves.shared=true` needs `curves.reuse=true`: curves that a study's own trials "
            "do not share cannot be shared with other studies."
        )


def _check_target(config: StudyConfig) -> None:
    """Refuse a target that no trial can reach: such a search would never end by it."""
    target, objective = config.search.target, config.objective
    best = BEST_SCORES.get(objective.name)
    if target is None or best is None or not objective.is_better(target, best):
        return
    least = "most" if objective.direction == "max" else "least"
    hint = " (0.99 for 99 %)" if objective.direction == "max" else ""
    raise ConfigError(
        f"`search.target` must be at {least} {best:g} for {objective.name}{hint}, or no trial "
        f"can reach it, but got {target:g}."
    )


def _check_repeats(config: StudyConfig) -> None:
    """Refuse repeats of trials that are paused at rungs, where single trainings compete."""
    search, folds = config.search, config.data.folds
    for key, given, is_single, single in (
        ("search.repeats", search.repeats, search.repeats == 1, "1"),
        ("data.folds", folds, folds is None, "null"),
    ):
        if search.sets_epochs and not is_single:
            raise ConfigError(
                f"`{key}` must be {single} with search={search.oracle}, which resumes single "
                f"trainings from rung to rung, but got {given}: use another search, or "
                f"search.finalists, which trains the best again with new seeds."
            )


def _check_extend(config: StudyConfig) -> None:
    if config.extend and config.study is None:
        raise ConfigError(
            "`extend=true` extends an earlier study, so it needs its name: give study=<name>."
        )
    if config.extend and config.overwrite:
        raise ConfigError(
            "`extend=true` keeps the trials of the earlier study, but `overwrite=true` deletes "
            "its folder: give only one of them."
        )


def _check_training(config: StudyConfig, space: Space) -> None:
    training, objective = config.training, config.objective
    reported = None
    if config.is_built_in and not training.callbacks:
        names = dict.fromkeys(("loss", "accuracy", *config.own_metrics))
        reported = [*names, *(f"val_{name}" for name in names)]
    training.check(objective, reported)
    decays = space.dimensions.get("learning_rate_decay", Fixed(1)) != Fixed(1)
    if training.reduce_on_plateau is not None and config.is_built_in and decays:
        raise ConfigError(
            "`training.reduce_on_plateau` needs `space.learning_rate_decay=1`: a learning rate "
            "that falls after every step cannot be set after an epoch."
        )


def check_custom_objects(key: str, value: object) -> None:
    """Refuse a value that does not name modules.

    Raises:
        ConfigError: It names the key.
    """
    names = value if isinstance(value, list | tuple) else [value]
    wrong = [n for n in names if not (isinstance(n, str) and re.fullmatch(r"\w+(\.\w+)*", n))]
    if value is not None and wrong:
        raise ConfigError(
            f"`{key}` must be a module of your own such as my_layers, or a list of them, but "
            f"got {wrong[0]!r}."
        )
