"""What pruning saves: epochs trained and best score, with and without it, on the digits.

    python -m benchmarks.pruning --seeds 3 --trials 20

Oracles, pruners and trainings are Glassy's own, one trial after another. Nothing is logged,
drawn or saved, and what several searches train is trained once.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tuner import datasets
from tuner.config.pruners import MedianConfig, PercentileConfig, PrunerConfig
from tuner.config.schema import DataConfig
from tuner.config.searches import SEARCHES
from tuner.config.space import Space
from tuner.datasets import ImageData
from tuner.oracles.journal import JournaledOracle
from tuner.oracles.pruner import Pruner
from tuner.outcomes import Told
from tuner.runtime import gc_pauses, tensorflow_setup
from tuner.trial import Objective, Pruned, Values, trial_seed, whole, without_epochs

MODEL = "tuner.models.mlp.build"
MAX_EPOCHS = 30
SPACE = Space.parse(
    {
        "epochs": {"min": 10, "max": MAX_EPOCHS},
        "batch_size": [16, 64],
        "layers": 1,
        "units": [32, 128],
        "dropout": 0.0,
        "learning_rate": {"min": 1e-4, "max": 1e-1, "log": True},
        "learning_rate_decay": 1.0,
        "optimizer": ["adam", "sgd"],
        "activation": "relu",
        "batch_norm": False,
        "l2": 0.0,
        "momentum": 0.0,
        "transform": "rescale",
    },
    MODEL,
)
OBJECTIVE = Objective("val_accuracy", "max")
PRUNERS: dict[str, PrunerConfig | None] = {
    "none": None,
    "median": MedianConfig(),
    "median, warmup_epochs: 4": MedianConfig(warmup_epochs=4),
    "percentile, percentile: 25": PercentileConfig(),
}


class Curves:
    """The curves of the digits, each trained once."""

    def __init__(self) -> None:
        data = DataConfig("tuner.datasets.digits.load", "digits", validation_split=0.15)
        self._data: ImageData = datasets.load(data, 0)
        self._known: dict[tuple[int, str], list[float]] = {}

    def of(self, values: Values, seed: int) -> list[float]:
        """Return the validation accuracy after each epoch."""
        key = seed, repr(sorted(without_epochs(values).items()))
        if key not in self._known:
            self._known[key] = self._train(values, trial_seed(seed, values))
        return self._known[key][: whole(values["epochs"])]

    def _train(self, values: Values, seed: int) -> list[float]:
        from tuner import training
        from tuner.models import mlp

        data = self._data
        training.seed_everything(seed)
        history = training.fit(
            mlp.build(values, data.image_shape, len(data.class_names)),
            data.train,
            data.validation,
            epochs=MAX_EPOCHS,
            batch_size=whole(values["batch_size"]),
            seed=seed,
        )
        training.forget_models()
        return [float(value) for value in history.history["val_accuracy"]]


def search(
    oracle_name: str, config: PrunerConfig | None, seed: int, num_trials: int, curves: Curves
) -> tuple[int, float, int]:
    """Run one search; return its epochs, its best score and how many trials were pruned."""
    entry = SEARCHES[oracle_name](oracle_name, max_trials=num_trials)
    pruner = None if config is None else Pruner(config, OBJECTIVE)
    num_epochs, scores = 0, []
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder, "oracle.jsonl")
        oracle = JournaledOracle(entry, SPACE, OBJECTIVE, seed, journal)
        while (proposal := oracle.ask()) is not None:
            curve = curves.of(proposal.values, seed)
            decision = None if pruner is None else _judged(pruner, curve)
            if decision is not None:
                oracle.prune(proposal.trial_id, decision)
                curve = curve[: decision.epoch]
            elif pruner is not None:
                pruner.add(curve[-1], curve)
            oracle.tell(proposal.trial_id, Told(curve[-1], curve=curve))
            num_epochs += len(curve)
            scores.append(curve[-1])
    return num_epochs, max(scores), len(oracle.pruned)


def _judged(pruner: Pruner, curve: Sequence[float]) -> Pruned | None:
    for epoch in range(1, len(curve)):
        if (why := pruner.judge(curve[:epoch])) is not None:
            return Pruned(epoch, why)
    return None


def main() -> None:
    """Print a row for each search and pruner: means over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=20)
    arguments = parser.parse_args()
    tensorflow_setup.set_up(1)
    gc_pauses.keep_all()
    curves = Curves()
    for oracle_name in ("random", "tpe"):
        for name, config in PRUNERS.items():
            found = [
                search(oracle_name, config, seed, arguments.trials, curves)
                for seed in range(arguments.seeds)
            ]
            epochs, best, pruned = zip(*found, strict=True)
            print(
                f"{oracle_name:7} {name:27} epochs {statistics.mean(epochs):6.1f}  "
                f"best {statistics.mean(best):.4f} ({min(best):.4f} to {max(best):.4f})  "
                f"pruned {statistics.mean(pruned):.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
