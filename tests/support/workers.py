"""What worker processes run in the tests of executors: plain functions, no TensorFlow."""

import dataclasses
import os
import signal
import threading
import time
from pathlib import Path

from tuner.datasets import ImageData
from tuner.errors import ConfigError
from tuner.outcomes import Outcome, RunTrial, TrialFiles, TrialResult
from tuner.trial import ReportEpoch, TrialRequest


def result(request: TrialRequest, value: float) -> TrialResult:
    return TrialResult(
        trial_id=request.trial_id,
        epochs=({"val_accuracy": value},),
        test={"test_accuracy": value},
        files=TrialFiles((), request.output_dir),
        num_parameters=os.getpid(),
        train_seconds=0.0,
        seconds=0.0,
    )


def counting(data: ImageData) -> RunTrial:
    """Report two epochs, and the mean of the images that the worker sees."""

    def run(request: TrialRequest, on_epoch: ReportEpoch) -> Outcome:
        for epoch in (1, 2):
            on_epoch(request.trial_id, epoch, {"loss": epoch / 2})
        return result(request, float(data.train.images.mean()))

    return run


def dying(data: ImageData) -> RunTrial:
    """Die as often, and in the way, that the values ask for."""

    def run(request: TrialRequest, on_epoch: ReportEpoch) -> Outcome:
        folder = Path(str(request.values.get("marks", request.output_dir)))
        deaths = folder / f"{request.trial_id}.deaths"
        count = int(deaths.read_text()) if deaths.exists() else 0
        if count < int(request.values["deaths"]):
            deaths.write_text(str(count + 1))
            if request.values["how"] == "exit":
                os._exit(3)
            os.kill(os.getpid(), getattr(signal, str(request.values["how"])))
        time.sleep(0.2)
        return result(request, 1.0)

    return run


CURVES = {
    1: (0.1, 0.3, 0.5, 0.7),
    2: (0.2, 0.4, 0.6, 0.8),
    3: (0.05, 0.9, 0.9, 0.9),
    4: (0.3, 0.2, 0.9, 0.9),
    5: (0.2, 0.4, 0.6, 0.5),
}
"""The accuracy of each `width` after each of its epochs."""


def learning(data: ImageData) -> RunTrial:
    """Follow the curve of the trial's width, and end where the driver says."""
    return follow


def follow(request: TrialRequest, on_epoch: ReportEpoch) -> TrialResult:
    epochs, stopped = [], None
    for epoch, accuracy in enumerate(CURVES[int(str(request.values["width"]))], 1):
        epochs.append({"loss": 1 - accuracy, "val_accuracy": accuracy})
        if (stopped := on_epoch(request.trial_id, epoch, epochs[-1])) is not None:
            break
    return dataclasses.replace(
        result(request, 0.0),
        epochs=tuple(epochs),
        stopped=stopped if len(epochs) < request.epochs else None,
    )


def dying_when_pruned(data: ImageData) -> RunTrial:
    """Die the first time that each trial hears that it is pruned."""

    def run(request: TrialRequest, on_epoch: ReportEpoch) -> Outcome:
        done, died = follow(request, on_epoch), Path(request.output_dir, "died")
        if done.stopped == "pruned" and not died.exists():
            died.touch()
            os._exit(3)
        return done

    return run


def sleeping(data: ImageData) -> RunTrial:
    def run(request: TrialRequest, on_epoch: ReportEpoch) -> Outcome:
        on_epoch(request.trial_id, 1, {"pid": os.getpid()})
        time.sleep(600)
        return result(request, 1.0)

    return run


def stoppable(data: ImageData) -> RunTrial:
    """Train all epochs, a moment each, unless the trial is stopped."""

    def run(request: TrialRequest, on_epoch: ReportEpoch) -> Outcome:
        epochs, why = [], None
        while why is None and len(epochs) < request.epochs:
            time.sleep(0.02)
            epochs.append({"val_accuracy": 0.5})
            why = on_epoch(request.trial_id, len(epochs), epochs[-1])
        made = result(request, 0.5)
        return dataclasses.replace(made, epochs=tuple(epochs), stopped=why)

    return run


def writing(data: ImageData) -> RunTrial:
    """Write files, and say where; and whether the images are a copy of the worker's own."""

    def run(request: TrialRequest, on_epoch: ReportEpoch) -> Outcome:
        folder = Path(request.output_dir)
        (folder / "model" / "data").mkdir(parents=True)
        (folder / "model" / "data" / "weights.bin").write_bytes(bytes(range(256)) * 4096)
        (folder / "where.txt").write_text(str(folder))
        flags = data.train.images.flags
        on_epoch(request.trial_id, 1, {"is_copy": float(flags.owndata or flags.writeable)})
        files = TrialFiles((str(folder / "where.txt"),), str(folder / "model"))
        return dataclasses.replace(result(request, 1.0), files=files)

    return run


def never_starting(data: ImageData) -> RunTrial:
    os._exit(4)


def raising(data: ImageData) -> RunTrial:
    raise ImportError("no such library")


def dying_after(data: ImageData) -> RunTrial:
    """Die as soon as the outcome has been sent."""

    def run(request: TrialRequest, on_epoch: ReportEpoch) -> Outcome:
        threading.Timer(0.5, os._exit, [5]).start()
        return result(request, 1.0)

    return run


def growing(data: ImageData) -> RunTrial:
    """Leak 30 MB a trial."""
    leaked = []

    def run(request: TrialRequest, on_epoch: ReportEpoch) -> Outcome:
        leaked.append(os.urandom(30_000_000))
        return result(request, 1.0)

    return run


def misconfigured(data: ImageData) -> RunTrial:
    raise ConfigError("`model._target_` is nowhere.")
