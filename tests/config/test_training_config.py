"""What a training may be told: what each key becomes, and what is refused before anything."""

from typing import Any

import pytest

from support.configs import CUSTOM, loaded
from tuner.curves.identity import Identity
from tuner.driver.assembly import training_facts
from tuner.errors import ConfigError
from tuner.trial import TrainingOptions

STOPPING: dict[str, Any] = {
    "monitor": "val_accuracy",
    "mode": "max",
    "patience": 3,
    "min_delta": 0.0,
    "restore_best_weights": True,
}
PLATEAU: dict[str, Any] = {
    "monitor": "val_accuracy",
    "mode": "max",
    "factor": 0.1,
    "patience": 10,
    "min_delta": 1e-4,
    "cooldown": 0,
    "min_lr": 0.0,
}


def options(*overrides: str) -> TrainingOptions:
    config = loaded(*overrides)
    return config.training.options(config.objective)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], TrainingOptions()),
        # Without a metric, it is the objective.
        (["training.early_stopping={}"], TrainingOptions(early_stopping=STOPPING)),
        (
            ["training.early_stopping={}", "search.objective=val_loss"],
            TrainingOptions(early_stopping={**STOPPING, "monitor": "val_loss", "mode": "min"}),
        ),
        (
            ["training.early_stopping={patience: 5, monitor: loss, restore_best: false}"],
            TrainingOptions(
                early_stopping={
                    **STOPPING,
                    "monitor": "loss",
                    "mode": "min",
                    "patience": 5,
                    "restore_best_weights": False,
                }
            ),
        ),
        (
            ["training.early_stopping={min_delta: 0.01}", "search.objective=val_macro_f1"],
            TrainingOptions(
                early_stopping={**STOPPING, "monitor": "val_macro_f1", "min_delta": 0.01}
            ),
        ),
        (
            ["training.early_stopping={monitor: macro_f1}", "search.objective=val_macro_f1"],
            TrainingOptions(early_stopping={**STOPPING, "monitor": "macro_f1"}),
        ),
        (
            [
                *CUSTOM,
                "search.objective=val_top2",
                "search.direction=max",
                "training.early_stopping={monitor: top2}",
            ],
            TrainingOptions(early_stopping={**STOPPING, "monitor": "top2"}),
        ),
        (
            [*CUSTOM, "training.early_stopping={monitor: val_mae, mode: min}"],
            TrainingOptions(early_stopping={**STOPPING, "monitor": "val_mae", "mode": "min"}),
        ),
        (["training.reduce_on_plateau={}"], TrainingOptions(reduce_on_plateau=PLATEAU)),
        (
            ["training.reduce_on_plateau={factor: 0.5, patience: 2, cooldown: 1, min_lr: 1}"],
            TrainingOptions(
                reduce_on_plateau={
                    **PLATEAU,
                    "factor": 0.5,
                    "patience": 2,
                    "cooldown": 1,
                    "min_lr": 1.0,
                }
            ),
        ),
        (["training.class_weight=balanced"], TrainingOptions(class_weight="balanced")),
        (
            ["training.class_weight={3: 2, long name: 0.5}"],
            TrainingOptions(class_weight={"3": 2.0, "long name": 0.5}),
        ),
        (["training.callbacks=mine.make"], TrainingOptions(callbacks=("mine.make",))),
        (
            ["training.callbacks=[mine.make,mine.Spy]"],
            TrainingOptions(callbacks=("mine.make", "mine.Spy")),
        ),
    ],
    ids=str,
)
def test_options_are_the_arguments_of_keras(
    overrides: list[str], expected: TrainingOptions
) -> None:
    assert options(*overrides) == expected


STOP, FALL = "training.early_stopping", "training.reduce_on_plateau"
WEIGHT = "training.class_weight"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([f"{STOP}=true"], f"`{STOP}` must be a mapping of keys"),
        ([f"{STOP}={{patienc: 3}}"], f"Did you mean `{STOP}.patience`?"),
        ([f"{STOP}={{patience: soon}}"], f"`{STOP}.patience`: Value 'soon'"),
        ([f"{STOP}={{patience: 0}}"], f"`{STOP}.patience` must be at least 1, but got 0."),
        ([f"{STOP}={{min_delta: -1}}"], f"`{STOP}.min_delta` must be at least 0"),
        ([f"{STOP}={{mode: up}}"], f"`{STOP}.mode` must be min, max or null, but got 'up'."),
        (
            [f"{STOP}={{monitor: val_los}}"],
            f"`{STOP}.monitor` must be a metric that is measured after every epoch, but "
            f"'val_los' is not among loss, accuracy, val_loss, val_accuracy.",
        ),
        ([f"{STOP}={{monitor: val_macro_f1}}"], "'val_macro_f1' is not among"),
        (
            [*CUSTOM, f"{STOP}={{monitor: val_top2}}"],
            f"`{STOP}.mode` must say min or max for the metric val_top2.",
        ),
        (
            ["training.callbacks=mine.make", f"{STOP}={{monitor: val_worst}}"],
            f"`{STOP}.mode` must say min or max for the metric val_worst.",
        ),
        ([f"{FALL}={{factor: 1}}"], f"`{FALL}.factor` must be above 0 and below 1"),
        ([f"{FALL}={{factor: 0}}"], f"`{FALL}.factor` must be above 0 and below 1"),
        ([f"{FALL}={{patience: 0}}"], f"`{FALL}.patience` must be at least 1"),
        ([f"{FALL}={{cooldown: -1}}"], f"`{FALL}.cooldown` must be at least 0"),
        ([f"{FALL}={{min_lr: -1}}"], f"`{FALL}.min_lr` must be at least 0"),
        ([f"{FALL}={{monitor: x}}"], "'x' is not among"),
        ([f"{FALL}={{}}", "space.learning_rate_decay=0.9"], "needs `space.learning_rate_de"),
        (
            [f"{FALL}={{}}", "space.learning_rate_decay=[1,0.9]"],
            "needs `space.learning_rate_de",
        ),
        ([f"{WEIGHT}=heavy"], "must be balanced, or weights by the names of classes"),
        ([f"{WEIGHT}=[1,2]"], "must be balanced, or weights"),
        ([f"{WEIGHT}={{}}"], "must be balanced, or weights"),
        ([f"{WEIGHT}={{3: 0}}"], f"`{WEIGHT}.3` must be above 0, but got 0"),
        ([f"{WEIGHT}={{3: much}}"], f"`{WEIGHT}.3` must be a number above 0"),
        ([f"{WEIGHT}={{3: true}}"], f"`{WEIGHT}.3` must be a number above"),
        ([f"{WEIGHT}={{3: .inf}}"], f"`{WEIGHT}.3` must be a number above"),
        (["training.callbacks=make"], "must be a list of dotted names"),
        (["training.callbacks=[mine.make,3]"], "or null, but got 3."),
        (["training.callbacks={make: 1}"], "must be a list of dotted names"),
        (["search.objective=val_f1"], "val_balanced_accuracy, val_macro_f1, or another"),
        (
            ["search.objective=val_macro_f1", "search.direction=min"],
            "`search.direction` must be max or null for the objective val_macro_f1",
        ),
    ],
    ids=str,
)
def test_what_no_training_can_be_told_is_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(*overrides)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ("{cat: 2.0}", None),
        ("balanced", None),
        ("{cat: 2.0, dgo: 1.0}", "have no class 'dgo'; they have cat, dog. Did you mean dog?"),
        ("{3: 2.0}", "have no class '3'; they have cat, dog."),
    ],
)
def test_weights_of_classes_that_are_not_there_are_refused(
    weights: str, said: str | None
) -> None:
    training = loaded(f"training.class_weight={weights}").training
    if said is None:
        training.check_classes(["cat", "dog"])
        return
    with pytest.raises(ConfigError) as caught:
        training.check_classes(["cat", "dog"])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "arguments"),
    [
        ([], {}),
        (["search.objective=val_loss"], {}),
        (["search.objective=val_macro_f1"], {"metrics": ["macro_f1"]}),
        (["search.objective=val_balanced_accuracy"], {"metrics": ["balanced_accuracy"]}),
        # A model of the user's own compiles it itself.
        ([*CUSTOM, "search.objective=val_macro_f1"], {}),
    ],
)
def test_built_in_models_measure_what_is_asked_for(
    overrides: list[str], arguments: dict[str, Any]
) -> None:
    config = loaded(*overrides)
    assert config.model_arguments == arguments
    assert config.objective.direction == ("min" if "loss" in config.objective.name else "max")


BEGUN: Any = {"model": "tuner.models.mlp.build", "engine": 1}


def facts(*overrides: str) -> dict[str, Any]:
    return training_facts(loaded(*overrides), Identity("d1", "s1", BEGUN), "graph")


def test_key_of_curves_is_that_of_earlier_versions() -> None:
    assert facts() == {
        "data": ["d1", None, 0.15],
        "seed": 0,
        "arguments": {"_target_": "tuner.models.mlp.build"},
        "engine": "graph",
        "threads": 1,
        "environment": BEGUN,
    }


@pytest.mark.parametrize(
    "override",
    [
        f"{STOP}={{patience: 4}}",
        f"{FALL}={{patience: 4}}",
        "training.class_weight=balanced",
        "training.class_weight={3: 2.0}",
        "training.callbacks=[mine.make]",
        "search.objective=val_macro_f1",
    ],
)
def test_key_of_curves_holds_what_trainings_are_told(override: str) -> None:
    assert facts(override) != facts()
    assert facts(override) == facts(override)
