"""Which engine runs a study's epochs, and what is refused before the first trial."""

import dataclasses
import functools
import subprocess
import sys
from collections.abc import Collection
from typing import Any

import numpy as np
import psutil
import pytest

from benchmarks import engines, grid
from support.configs import CUSTOM, loaded
from tuner.config import engine
from tuner.config.training import ENGINES, TrainingConfig
from tuner.datasets import ImageData
from tuner.driver.assembly import settle_engine
from tuner.errors import ConfigError
from tuner.models import LIMITS, RANDOM, SPACES
from tuner.trial import Values

CPU, GPU = ("CPU",), ("CPU", "GPU")

# Overrides of a study, and the key that its refusal must name.
SLOW = {
    ("space.dropout=0.2",): "space.dropout above 0",
    ("space.dropout=[0.0,0.2]",): "space.dropout above 0",
    ("space.dropout={min: 0.0, max: 0.5}",): "space.dropout above 0",
    ("space.augment.shift=0.1",): "space.augment.shift above 0",
    ("space.augment.rotation=[0,10]",): "space.augment.rotation above 0",
    ("space.augment.zoom={min: 0.0, max: 0.1}",): "space.augment.zoom above 0",
    ("space.augment.shear=0.1",): "space.augment.shear above 0",
    ("space.augment.elastic=0.03",): "space.augment.elastic above 0",
    ("space.augment.stroke=0.4",): "space.augment.stroke above 0",
    ("+experiment=best_mlp", "data=digits"): "space.dropout above 0",
    ("search=hyperband", "space.dropout=0.2"): "space.dropout above 0",
    ("model=cnn",): "model._target_=tuner.models.cnn.build",
    ("model=cnn", "space.dropout=0.0"): "model._target_=tuner.models.cnn.build",
}
FAST: list[tuple[str, ...]] = [
    (),
    ("space.dropout=0.0",),
    ("space.dropout=0",),
    ("space.dropout=[0.0]",),
    ("space.dropout={min: 0, max: 0}",),
    ("space.augment.shift=0.0", "space.augment.stroke=[0]"),
    ("space.layers=[1,2,3]", "space.batch_norm=[true,false]", "space.l2=1e-4"),
    ("space.optimizer=[adam,adamw,nadam,rmsprop,sgd]", "space.learning_rate_decay=0.9"),
    ("space.transform=[rescale,standardize,l2_columns,thin,deslant]",),
    ("space.activation=[relu,elu,selu,gelu,silu,leaky_relu,tanh,sigmoid,softplus]",),
]


config_of = functools.cache(loaded)


MANY = 10**6
"""Images whose epochs take so many steps that XLA saves more time than it compiles."""


def chosen(
    data: ImageData,
    *overrides: str,
    asked: str = "auto",
    devices: Collection[str] = CPU,
    num_images: int = MANY,
) -> str:
    config = dataclasses.replace(config_of(*overrides), training=TrainingConfig(asked))
    return engine.choose(config, data.num_bytes, num_images, devices).name


@pytest.mark.parametrize(("overrides", "cause"), SLOW.items())
def test_choose_keeps_out_of_xla_what_is_slow_in_it(
    few_digits: ImageData, overrides: tuple[str, ...], cause: str
) -> None:
    assert chosen(few_digits, *overrides) == "graph"
    # On a GPU, XLA is not slow for random numbers and convolutions.
    assert chosen(few_digits, *overrides, devices=GPU) == "xla"
    assert chosen(few_digits, *overrides, asked="xla", devices=GPU) == "xla"
    with pytest.raises(ConfigError) as refused:
        chosen(few_digits, *overrides, asked="xla")
    assert "`training.engine=xla`" in str(refused.value)
    assert cause in str(refused.value)
    assert "training.engine=auto" in str(refused.value)


@pytest.mark.parametrize("overrides", FAST)
def test_choose_takes_xla_where_nothing_is_slow(
    few_digits: ImageData, overrides: tuple[str, ...]
) -> None:
    assert chosen(few_digits, *overrides) == "xla"
    assert chosen(few_digits, *overrides, asked="xla") == "xla"


WIDE = "space.units={min: 32, max: 512, step: 32}"


@pytest.mark.parametrize(
    ("num_images", "overrides", "expected"),
    [
        # Steps: epochs times images over the batch size.
        (1_221, (WIDE, "space.epochs={min: 2, max: 10}"), "graph"),
        (1_221, (WIDE, "space.epochs=200"), "xla"),
        (54_000, (WIDE, "space.epochs=[3]"), "xla"),
        (54_000, (WIDE, "space.epochs=[1,2]"), "graph"),
        (54_000, (WIDE, "space.epochs=[3]", "space.batch_size=[64,128]"), "graph"),
        (54_000, (WIDE, "space.epochs=[3]", "space.batch_size={min: 32, max: 64}"), "xla"),
        # Few shapes are shared by many trials; rates need no program of their own.
        (5_000, ("space.units=128", "space.layers=2", "space.epochs=3"), "xla"),
        (1_221, ("space.units=128", "space.layers=2", "space.epochs=3"), "graph"),
        (5_000, ("space.units=128", "space.epochs=3", "space.l2={min: 0.1, max: 0.2}"), "xla"),
        (5_000, ("space.units=[32,64,96,128]", "space.layers=2", "space.epochs=3"), "graph"),
        # What the oracle sets, it sets.
        (54_000, (WIDE, "search=hyperband", "search.max_epochs=9"), "xla"),
        (54_000, (WIDE, "search=hyperband", "search.max_epochs=2"), "graph"),
        (54_000, (WIDE, "search=asha", "search.max_epochs=9"), "xla"),
        (5_000, (WIDE, "search=asha", "search.max_epochs=9"), "graph"),
    ],
)
def test_choose_takes_xla_for_as_many_steps_as_it_saves_time(
    few_digits: ImageData, num_images: int, overrides: tuple[str, ...], expected: str
) -> None:
    assert chosen(few_digits, *overrides, num_images=num_images) == expected
    assert chosen(few_digits, *overrides, num_images=num_images, devices=GPU) == "xla"


@pytest.mark.parametrize("asked", ["graph", "keras"])
def test_choose_takes_what_is_asked_for(few_digits: ImageData, asked: str) -> None:
    assert chosen(few_digits, asked=asked) == asked
    assert chosen(few_digits, "model=cnn", asked=asked, devices=GPU) == asked


def test_choose_knows_nothing_of_a_users_own_model(few_digits: ImageData) -> None:
    made = engine.choose(config_of(*CUSTOM), few_digits.num_bytes, MANY, CPU)
    assert made.name == "graph"
    assert "my_package.my_function" in made.reason
    assert chosen(few_digits, *CUSTOM, devices=GPU) == "xla"
    # Users may ask for it, since they know what is in their model.
    assert chosen(few_digits, *CUSTOM, asked="xla") == "xla"


@pytest.mark.parametrize(
    ("gpus", "devices", "expected"),
    [(0, CPU, "graph"), (0, GPU, "graph"), (1, CPU, "xla"), (0.5, GPU, "xla")],
)
def test_choose_asks_for_the_gpus_of_a_trial_on_ray(
    few_digits: ImageData, gpus: float, devices: Collection[str], expected: str
) -> None:
    overrides = ("executor=ray", f"executor.gpus={gpus}", "space.dropout=0.2")
    assert chosen(few_digits, *overrides, devices=devices) == expected


def test_choose_has_images_read_that_memory_cannot_hold(
    few_digits: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_bytes = few_digits.train.images.nbytes + few_digits.validation.images.nbytes
    # The one thing here that is not real: a machine with hardly any memory.
    little = psutil.virtual_memory()._replace(total=2 * num_bytes - 1)
    monkeypatch.setattr(engine.psutil, "virtual_memory", lambda: little)
    made = engine.choose(config_of(), few_digits.num_bytes, MANY, CPU)
    assert made.name == "keras"
    assert "memory" in made.reason
    assert chosen(few_digits, asked="xla") == "xla"


@pytest.mark.parametrize(
    "override",
    [
        "search.max_trials=1",
        "search.max_trials=1000",
        "search.max_minutes=1",
        "search=grid",
        "seed=7",
        "executor=serial",
    ],
)
@pytest.mark.parametrize("space", [(), ("space.dropout=0.2",)])
def test_choose_takes_nothing_from_the_budget(
    few_digits: ImageData, space: tuple[str, ...], override: str
) -> None:
    assert chosen(few_digits, *space, override) == chosen(few_digits, *space)


def test_choose_takes_keras_for_a_callback_after_every_batch(few_digits: ImageData) -> None:
    hook = "Spy has a hook for every batch (on_train_batch_end)"
    size = few_digits.num_bytes
    made = engine.choose(config_of(), size, MANY, GPU, hook)
    assert (made.name, made.reason) == ("keras", hook)
    asked_for = engine.choose(config_of("training.engine=keras"), size, MANY, CPU, hook)
    assert asked_for.name == "keras"
    for asked in ("xla", "graph"):
        with pytest.raises(ConfigError, match=r"`training\.engine=\w+` runs .* but Spy has"):
            engine.choose(config_of(f"training.engine={asked}"), size, MANY, CPU, hook)


def test_removed_engine_is_refused_like_any_other() -> None:
    message = r"`training\.engine` must be one of auto, xla, graph, keras, but got 'compiled'"
    with pytest.raises(ConfigError, match=message):
        loaded("training.engine=compiled")
    assert ENGINES == ("auto", "xla", "graph", "keras")


def test_engine_is_settled_once(few_digits: ImageData) -> None:
    @dataclasses.dataclass
    class State:
        engine: str | None = None

    class Folder:
        state = State()
        num_saved = 0

        def save_state(self) -> None:
            self.num_saved += 1

    folder: Any = Folder()
    for name in ("graph", "xla"):
        settle_engine(folder, engine.Engine(name, "of a test"))
    assert (folder.state.engine, folder.num_saved) == ("graph", 1)


def test_engine_is_chosen_without_tensorflow() -> None:
    code = (
        "import sys, tuner.config.engine; print({'tensorflow', 'keras'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("model", SPACES)
def test_every_random_hyperparameter_of_the_built_in_models_is_known(model: str) -> None:
    from tuner.runtime.user_code import find_function

    configuration = grid.mlp((4,)) if model == grid.MLP else grid.cnn(dropout=0.0, blocks=1)
    # A value other than the default for each hyperparameter.
    others = {"l2": 0.1, "learning_rate": 0.1, "learning_rate_decay": 0.5, "batch_norm": True}
    for name, limit in SPACES[model].items():
        if name in LIMITS or name in ("layers", "blocks", "units", "convolutions"):
            continue
        other = 1 if limit.integer else 0.5
        value = limit.options[-1] if limit.options else others.get(name, other)
        optimizer = "sgd" if name == "momentum" else configuration.values["optimizer"]
        values: Values = {**configuration.values, "optimizer": optimizer, name: value}
        built = find_function("model", model)(values, (8, 8), 10)
        seeds = [v for v in built.variables if v.name == "seed_generator_state"]
        assert bool(seeds) == (name in RANDOM), name


# The benchmark


@pytest.mark.parametrize("configurations", [grid.short, grid.full])
def test_grid_holds_only_what_the_built_in_models_take(configurations: Any) -> None:
    made = list(configurations())
    assert len({configuration.name for configuration in made}) == len(made)
    for configuration in made:
        limits = SPACES[configuration.model]
        for name, value in configuration.values.items():
            key = "units" if name.startswith("units_") else name
            assert limits[key].allows(value), (configuration.name, name)


def test_table_names_what_is_slower() -> None:
    def row(name: str, auto: str, **seconds: float) -> engines.Row:
        measured = {n: engines.Measured(3.0, took) for n, took in seconds.items()}
        return engines.Row(grid.Configuration(name, grid.MLP, {}), auto, measured)

    split = engines.datasets.Split(np.zeros((5, 2, 2), np.uint8), np.zeros(5, np.int64))
    data = ImageData("tiny", ("a", "b"), "0", split, split, split)
    rows = [
        row("fast", "xla", keras=1.0, graph=0.5, xla=0.25),
        row("slow", "graph", keras=1.0, graph=1.5),
        row("slower", "xla", keras=1.0, graph=0.5, xla=1.2),
    ]
    text = engines.table(rows, data)
    assert (
        "| fast | 1.000 | 0.500 | 0.250 | xla | 0.25 | 0.50 | 3.000 | 3.000 | 3.000 |" in text
    )
    assert "| slow | 1.000 | 1.500 | - | graph | 1.50 | 1.50 |" in text
    assert "by more than 5%: slow (graph); slower (xla)." in text
