"""Measures two models of the registry on the same test split, in a child process.

The child loads the data itself, so that images need not pass between processes, and imports
TensorFlow, which the driver does not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.config.schema import DataConfig, GateConfig
from tuner.errors import DataError, ModelError
from tuner.runtime import files, tensorflow_setup
from tuner.wording import first_line

if TYPE_CHECKING:
    from tuner.datasets import ImageData
    from tuner.registry.gate import GateDecision, Measured


@dataclass(frozen=True)
class Candidate:
    """A version in the registry, and its file.

    Attributes:
        version: Its number.
        path: A copy of its `.keras` file.
        test_digest: Digest of the test split that it was judged on before; None if it was not.
        latency_ms: The latency that its run has recorded; None if it has not.
    """

    version: str
    path: Path
    test_digest: str | None
    latency_ms: float | None = None


@dataclass(frozen=True)
class Case:
    """A case for the gate.

    Attributes:
        data: The data whose test split judges.
        seed: The study's seed, on which the split of the data may depend.
        data_digest: Digest that the data must have.
        gate: The rule.
        threads: Threads of one operation.
        challenger: The challenger.
        champion: The champion, if there is one that can be measured.
        incomparable: Why the champion cannot be measured, if it cannot.
        output_dir: Existing folder for the evidence.
        custom_objects: Modules whose classes the models may hold, as named by the user's
            command.
        force: Why the challenger is promoted even if the gate refuses it; None if it is not.
    """

    data: DataConfig
    seed: int
    data_digest: str
    gate: GateConfig
    threads: int
    challenger: Candidate
    champion: Candidate | None
    incomparable: str | None
    output_dir: Path
    custom_objects: tuple[str, ...] = ()
    force: str | None = None


@dataclass(frozen=True)
class Judgement:
    """The decision and its evidence.

    Attributes:
        decision: Whether the challenger replaces the champion.
        class_names: One name per class.
        test_digest: Digest of the test split.
        profile: Shape of an image, and number of images in each split.
        files: `decision.json`; with a champion `confusion_difference.png` and
            `changed_predictions.png` too.
    """

    decision: GateDecision
    class_names: tuple[str, ...]
    test_digest: str
    profile: Mapping[str, Any]
    files: tuple[Path, ...]


def judge(case: Case) -> Judgement:
    """Measure both models, decide, and write the evidence.

    Raises:
        DataError: If the data are not those that the challenger was trained on.
        ModelError: If a file is not a model for these data.
    """
    # Before the user's loader, which may start TensorFlow itself.
    tensorflow_setup.set_up(case.threads)
    from tuner import datasets

    data = datasets.load(case.data, case.seed)
    if data.digest != case.data_digest:
        raise DataError(
            f"The data have changed since the challenger was trained on them: their digest "
            f"was {case.data_digest}, and is now {data.digest}. Restore the data, or search "
            f"again."
        )
    test_digest = data.test_digest()
    needs_latency = case.gate.max_latency_ms is not None
    ours = _measure(case.challenger, data, case.custom_objects, needs_latency)
    decision = _decide(case, ours, data, test_digest)
    if case.force is not None:
        decision = decision.overruled(case.force)
    profile = {
        "image_shape": list(data.image_shape),
        "num_train": len(data.train),
        "num_validation": len(data.validation),
        "num_test": len(data.test),
    }
    written = _write(decision, data, case.output_dir)
    return Judgement(decision, data.class_names, test_digest, profile, written)


def _decide(case: Case, ours: Measured, data: ImageData, test_digest: str) -> GateDecision:
    from tuner.registry import gate

    if case.incomparable is not None:
        return gate.GateDecision(False, case.incomparable, ours)
    if case.champion is None:
        return gate.decide(case.gate, ours, None, data.class_names)
    if case.champion.test_digest != test_digest:
        reason = (
            f"The champion, version {case.champion.version}, was tested on other images, so "
            f"the two cannot be compared, and it stays. To replace it anyway, give "
            f"tuner.promote force=true with a reason."
        )
        return gate.GateDecision(False, reason, ours)
    theirs = _measure(case.champion, data, case.custom_objects)
    return gate.decide(case.gate, ours, theirs, data.class_names)


def _measure(
    candidate: Candidate,
    data: ImageData,
    custom_objects: tuple[str, ...],
    needs_latency: bool = False,
) -> Measured:
    from tuner import training
    from tuner.classifier.safe_loading import load_file
    from tuner.evaluation import measures
    from tuner.registry import gate
    from tuner.training.latency import latency_ms

    what = f"version {candidate.version}"
    model, test = load_file(candidate.path, what, custom_objects), data.test
    try:
        output = training.predict(model, test)
        probabilities = measures.as_probabilities(output, len(test), len(data.class_names))
    except ValueError as error:
        raise ModelError(
            f"The model of {what} cannot be used on {data.name}: {first_line(error)}."
        ) from error
    latency = candidate.latency_ms
    if latency is None and needs_latency:
        # Its study had no limit of latency.
        latency = latency_ms(model, test.images)
    return gate.Measured(
        version=candidate.version,
        labels=test.labels,
        probabilities=probabilities,
        num_parameters=int(model.count_params()),
        latency_ms=latency,
    )


def _write(decision: GateDecision, data: ImageData, folder: Path) -> tuple[Path, ...]:
    from tuner.figures.confusion import confusion_difference
    from tuner.figures.sheets import changed_predictions

    text = json.dumps(decision.to_dict(data.class_names), indent=1)
    files.write_scratch(table := folder / "decision.json", text)
    ours, theirs = decision.challenger, decision.champion
    if theirs is None:
        return (table,)
    confusion_difference(
        theirs.confusion, ours.confusion, data.class_names,
        difference := folder / "confusion_difference.png",
    )  # fmt: skip
    changed_predictions(
        data.test, theirs.probabilities, ours.probabilities, data.class_names,
        changed := folder / "changed_predictions.png",
    )  # fmt: skip
    return table, difference, changed
