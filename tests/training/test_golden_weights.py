"""The weights of short trainings, which a change of the engine would change.

`python tests/training/test_golden_weights.py` prints them for this machine and these versions.
"""

import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.networks import VALUES
from tuner import training
from tuner.datasets import ImageData
from tuner.models import cnn, mlp

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).with_name("golden_weights.json")

TOLERANCE = 1e-4
"""Far above what another processor's rounding changes in ten steps, and far below all else."""

NETWORK = {**VALUES, "units_1": 12}
CONVOLUTIONS = {
    **VALUES, "blocks": 2, "convolutions": 1, "filters": 4, "kernel_size": 3, "units": 8
}  # fmt: skip
CASES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "mlp": (mlp.build, NETWORK, "auto"),
    "mlp by Keras": (mlp.build, NETWORK, "keras"),
    "mlp regularised": (
        mlp.build,
        {**NETWORK, "dropout": 0.3, "batch_norm": True, "l2": 1e-3, "activation": "gelu"},
        "keras",
    ),
    "mlp of falling rate": (
        mlp.build,
        {**NETWORK, "layers": 2, "units_2": 9, "optimizer": "sgd", "learning_rate_decay": 0.5},
        "keras",
    ),
    "mlp augmented": (
        mlp.build, {**NETWORK, "augment_shift": 0.1, "augment_rotation": 10.0}, "keras"
    ),
    "cnn": (cnn.build, CONVOLUTIONS, "auto"),
    "cnn regularised": (
        cnn.build, {**CONVOLUTIONS, "dropout": 0.2, "batch_norm": True}, "keras"
    ),
}  # fmt: skip


def setting() -> str:
    """Return what the weights depend on beside the engine."""
    packages = ("tensorflow", "keras", "numpy")
    versions = [f"{name} {importlib.metadata.version(name)}" for name in packages]
    return ", ".join([*versions, platform.machine()])


def weights(name: str, data: ImageData) -> list[list[float]]:
    """Return mean and root mean square of each array of weights after two epochs."""
    build, values, engine = CASES[name]
    training.forget_models()
    training.seed_everything(5)
    model = build(values, data.image_shape, len(data.class_names))
    training.fit(
        model, data.train, data.validation, epochs=2, batch_size=32, seed=5, engine=engine
    )
    arrays = [np.asarray(weight, np.float64) for weight in model.get_weights()]
    return [[float(a.mean()), float(np.sqrt((a**2).mean()))] for a in arrays]


@pytest.mark.parametrize("name", CASES)
def test_engine_computes_what_its_version_says(few_digits: ImageData, name: str) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    if setting() not in golden:
        pytest.skip(f"no weights are kept of {setting()}")
    np.testing.assert_allclose(
        weights(name, few_digits),
        golden[setting()][name],
        rtol=TOLERANCE,
        atol=TOLERANCE / 10,
        err_msg="A training comes out otherwise than before: raise ENGINE_VERSION in "
        "tuner/config/engine.py, and write tests/training/golden_weights.json anew.",
    )


def test_golden_weights_tell_a_change(few_digits: ImageData) -> None:
    kept = json.loads(GOLDEN.read_text(encoding="utf-8")).get(setting())
    if kept is None:
        pytest.skip(f"no weights are kept of {setting()}")
    # Another loop, which rounds otherwise, does not count; another order of images would.
    assert np.allclose(kept["mlp"], kept["mlp by Keras"], rtol=TOLERANCE, atol=TOLERANCE / 10)
    build, values, _ = CASES["mlp"]
    training.forget_models()
    training.seed_everything(5)
    model = build(values, few_digits.image_shape, 10)
    training.fit(
        model, few_digits.train, few_digits.validation, epochs=2, batch_size=32, seed=6,
        engine="keras",
    )  # fmt: skip
    means = [float(np.asarray(weight, np.float64).mean()) for weight in model.get_weights()]
    assert not np.allclose(means, np.array(kept["mlp"])[:, 0], rtol=TOLERANCE, atol=1e-5)


if __name__ == "__main__":
    from tuner.config.schema import DataConfig
    from tuner.datasets import images

    config = DataConfig("tuner.datasets.digits.load", "digits", validation_split=0.15)
    digits = images.load(config, seed=0)
    few = ImageData(
        digits.name,
        digits.class_names,
        digits.digest,
        digits.train.take(np.arange(160)),
        digits.validation.take(np.arange(80)),
        digits.test.take(np.arange(80)),
    )
    rounded = {
        name: [[float(f"{value:.7g}") for value in pair] for pair in weights(name, few)]
        for name in CASES
    }
    lines = ",\n".join(f"  {json.dumps(n)}: {json.dumps(v)}" for n, v in rounded.items())
    print(f"{{{json.dumps(setting())}: {{\n{lines}\n}}}}")
