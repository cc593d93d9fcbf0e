"""The metrics of Glassy's own are exact over a whole split, and come along nowhere."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from support.networks import NETWORK
from tuner import training
from tuner.datasets import ImageData, Split
from tuner.models import DIRECTIONS, OWN_METRICS, metrics, mlp
from tuner.training import compiled

NUM_CLASSES = 4

# True and predicted classes of four, by what is special about them.
CASES = {
    "some of each": ([0, 0, 1, 2, 3, 3, 3], [0, 1, 1, 2, 3, 3, 0]),
    "a class that does not occur": ([0, 0, 1, 3], [0, 1, 1, 3]),
    "one that is only predicted": ([0, 0, 1, 1], [0, 2, 1, 2]),
    "one that is never predicted": ([0, 1, 2, 2], [0, 1, 1, 1]),
    "none right": ([0, 1], [1, 0]),
    "all right": ([0, 1, 2, 3], [0, 1, 2, 3]),
}


pytestmark = pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")


def theirs(
    name: str, labels: npt.ArrayLike, predicted: npt.ArrayLike, weights: Any = None
) -> float:
    """What scikit-learn says."""
    if name == "macro_f1":
        return float(
            f1_score(labels, predicted, average="macro", sample_weight=weights, zero_division=0)
        )
    return float(balanced_accuracy_score(labels, predicted, sample_weight=weights))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("labels", "predicted"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("kind", [metrics.BalancedAccuracy, metrics.MacroF1])
def test_metric_is_that_of_scikit_learn(
    kind: type[Any], labels: list[int], predicted: list[int], weighted: bool
) -> None:
    metric = kind(NUM_CLASSES)
    probabilities = np.eye(NUM_CLASSES, dtype=np.float32)[predicted] * 0.6 + 0.1
    weights = np.linspace(0.25, 2, len(labels)) if weighted else None
    # In two batches, since it is no mean of theirs.
    for part in (slice(None, 2), slice(2, None)):
        if labels[part]:
            given = None if weights is None else weights[part]
            metric.update_state(np.array(labels[part]), probabilities[part], given)
    expected = theirs(metric.name, labels, predicted, weights)
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)
    metric.reset_state()
    assert float(metric.result()) == 0
    same = kind.from_config(metric.get_config())
    assert (same.name, same.num_classes) == (metric.name, NUM_CLASSES)


@pytest.mark.parametrize("engine", ["xla", "graph"])
def test_epochs_report_it_of_the_whole_validation_split(digits: ImageData, engine: str) -> None:
    # Three batches of 500 with a rest, and one class left out.
    chosen = np.flatnonzero(digits.train.labels != 7)
    validation = digits.train.take(np.tile(chosen, 2))
    models, histories = [], []
    for names in (OWN_METRICS, ()):
        training.forget_models()
        training.seed_everything(1)
        model = mlp.build(NETWORK, digits.image_shape, 10, metrics=names)
        models.append(model)
        histories.append(
            training.fit(
                model,
                digits.train,
                validation,
                epochs=2,
                batch_size=64,
                seed=3,
                engine=engine,
                falls_back=False,
            ).history
        )
    predicted = training.predict(models[0], validation).argmax(axis=1)
    for name in OWN_METRICS:
        expected = theirs(name, validation.labels, predicted)
        assert histories[0][f"val_{name}"][-1] == pytest.approx(expected, abs=1e-6)
        assert DIRECTIONS[f"val_{name}"] == "max"
    # They only watch.
    for key, values in histories[1].items():
        assert histories[0][key] == values
    for one, other in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_models_with_it_share_a_program(few_digits: ImageData) -> None:
    compiled.programs.clear()
    for _ in range(2):
        training.forget_models()
        model = mlp.build(NETWORK, few_digits.image_shape, 10, metrics=["macro_f1"])
        split: Split = few_digits.train
        training.fit(model, split, split, epochs=1, batch_size=32, seed=1)
    assert len(compiled.programs) == 1


def test_saved_model_does_not_need_it(few_digits: ImageData, tmp_path: Path) -> None:
    model = mlp.build(NETWORK, few_digits.image_shape, 10, metrics=["macro_f1"])
    split = few_digits.train
    training.fit(model, split, split, epochs=1, batch_size=32, seed=1)
    before = [np.array(variable) for variable in model.optimizer.variables]
    metrics.leave_out_own(model)
    model.save(tmp_path / "model.keras")
    # As where Glassy is not installed; MLflow saves all that is registered with every model.
    registered = keras.saving.get_custom_objects().values()
    assert not [kind for kind in registered if kind.__module__.startswith("tuner")]
    loaded = keras.models.load_model(tmp_path / "model.keras")
    names = loaded.evaluate(split.images, split.labels, verbose=0, return_dict=True)
    assert set(names) == {"loss", "accuracy"}
    for one, other in zip(before, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, np.array(other))
    compiled_before = model.get_compile_config()
    metrics.leave_out_own(model)
    assert model.get_compile_config() == compiled_before
