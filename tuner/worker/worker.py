"""One trial, from its values to its files: everything that computes, nothing that records."""

import functools
import re
import shutil
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tuner import drawings, names, training
from tuner.curves.checkpoints import Curve, CurveWriter, TrainedEpoch, curve_of
from tuner.datasets import ImageData
from tuner.drawings import Form
from tuner.errors import (
    ConstraintBroken,
    InfeasibleTrial,
    ModelError,
    TrialStopped,
    refusal_to_write,
)
from tuner.evaluation import measures
from tuner.models import custom_objects
from tuner.models.building import build, no_such_metric
from tuner.models.metrics import leave_out_own
from tuner.outcomes import (
    FailureKind,
    Outcome,
    TrialFailure,
    TrialFiles,
    TrialPause,
    TrialResult,
)
from tuner.runtime import gc_pauses, interrupt, tensorflow_setup
from tuner.runtime.user_code import find_function, is_ours
from tuner.training.callbacks import Told, class_weights
from tuner.training.keras_loop import Logs
from tuner.training.latency import latency_ms
from tuner.training.state import TrainingState
from tuner.trial import (
    Metrics,
    ReportEpoch,
    Stopped,
    TrialRequest,
    WorkerSetup,
    all_finite,
    whole,
)
from tuner.worker import trial_files
from tuner.worker.ending import Ending


class Worker:
    """Runs trials, one at a time, in the process it is made in.

    Args:
        setup: What the trials share.
        data: The images.

    Raises:
        ConfigError: If there is no such model function, or a callback's.
    """

    def __init__(self, setup: WorkerSetup, data: ImageData) -> None:
        self._setup = setup
        self._data = data
        self._folds: dict[int, ImageData] = {}
        # Before any code of the user's, which may start TensorFlow itself.
        tensorflow_setup.set_up(setup.threads)
        if is_ours(setup.model_function):
            tensorflow_setup.use_keras_as_it_comes()
        custom_objects.permitted(setup.custom_objects)
        # Keras draws for our models; other code may use TensorFlow's own generator.
        self._own_randomness = bool(setup.options.callbacks) or not is_ours(
            setup.model_function
        )
        self._build = find_function("model._target_", setup.model_function)
        for name in setup.options.callbacks:
            find_function("training.callbacks", name)
        # After every trial, Keras requests a full collection to free the model.
        gc_pauses.keep_all()

    def run(self, request: TrialRequest, report: ReportEpoch) -> Outcome:
        """Train, evaluate and draw one trial.

        Whatever goes wrong in it comes back as a `TrialFailure`; only an interrupt from the
        keyboard is raised.
        """
        try:
            return self._run(request, report)
        except TrialStopped as error:
            return failure_of(request, error, "stopped")
        except ConstraintBroken as error:
            said, known = str(error), error.of_model
            return TrialFailure(request.trial_id, said, "", "constraint", known)
        except (InfeasibleTrial, MemoryError, tf.errors.ResourceExhaustedError) as error:
            return failure_of(request, error, "infeasible")
        except ModelError as error:
            return failure_of(request, error, "fatal")
        except OSError as error:
            return failure_of(request, error, "storage" if refusal_to_write(error) else "error")
        except (Exception, SystemExit) as error:
            # A user's function may exit like a script: that ends its trial, not the worker. An
            # interrupt that arrives while a module is imported turns into another error.
            interrupt.check()
            return failure_of(request, error, "error")
        finally:
            training.forget_models()

    def _run(self, request: TrialRequest, report: ReportEpoch) -> TrialResult | TrialPause:
        begin = time.perf_counter()
        output_dir = Path(request.output_dir)
        _empty(output_dir)
        trained = self._train(request, report)
        if request.pauses and trained.ended_because is None:
            return TrialPause(
                trial_id=request.trial_id,
                epochs=trained.metrics,
                num_parameters=int(trained.model.count_params()),
                train_seconds=trained.own_seconds,
                seconds=time.perf_counter() - begin,
                compile_seconds=trained.compile_seconds,
                epochs_reused=len(trained.reused),
                curve=trained.curve,
                best_epoch=trained.best_epoch,
                latency_ms=trained.latency_ms,
            )
        evaluating = time.perf_counter()
        leave_out_own(trained.model)
        test, files = self._evaluate(trained.model, output_dir)
        end = time.perf_counter()
        stopped: Stopped | None = None
        if len(trained.metrics) < request.epochs:
            stopped = trained.ended_because or "early"
        return TrialResult(
            trial_id=request.trial_id,
            epochs=trained.metrics,
            test=test,
            files=files,
            num_parameters=int(trained.model.count_params()),
            train_seconds=trained.own_seconds,
            seconds=end - begin,
            compile_seconds=trained.compile_seconds,
            evaluate_seconds=end - evaluating,
            epochs_reused=len(trained.reused),
            continued_from=trained.reused[-1].trial if trained.reused else None,
            curve=trained.curve,
            stopped=stopped,
            stopped_because=trained.why_early if stopped == "early" else "",
            best_epoch=trained.best_epoch,
            latency_ms=trained.latency_ms,
        )

    def _train(self, request: TrialRequest, report: ReportEpoch) -> "_Trained":
        """Train a trial from where its curve has got to."""
        ending = Ending(request, report)
        data = self._data if request.fold is None else self._of_fold(request.fold)
        training.seed_everything(request.seed, own_randomness=self._own_randomness)
        told = Told(self._setup.options)
        model, curve = self._model(request)
        told.check(model)
        trial = f"{self._setup.study}/{request.trial_id}"
        known = self._known(model)
        said = self._setup.constraints.before_training.broken(known)
        if said and not _has_begun(curve, request.epochs, trial):
            raise ConstraintBroken(said, known)
        writer, state = self._continue(curve, trial, ending)
        watch = _Watch(writer, self._setup.validated, ending)
        built = time.perf_counter()
        training.fit(
            model,
            data.train,
            data.validation,
            epochs=request.epochs,
            batch_size=whole(request.values["batch_size"]),
            seed=request.seed,
            callbacks=[*told.callbacks, watch],
            initial_epoch=len(writer.epochs),
            class_weight=class_weights(
                self._setup.options.class_weight,
                data.train.labels,
                data.class_names,
            ),
            engine=self._setup.engine,
            falls_back=self._setup.falls_back,
            check=interrupt.check,
            ends=lambda: ending.why is not None,
            state=state,
            on_state=functools.partial(_offer, writer, told),
        )
        return _Trained(
            model,
            epochs=writer.epochs,
            trial=trial,
            compile_seconds=0.0 if writer.began is None else writer.began - built,
            curve=_name(request, curve),
            ended_because=ending.why,
            why_early=told.why_stopped,
            best_epoch=told.best_epoch(len(writer.epochs)),
            latency_ms=known.get(names.LATENCY_MS),
        )

    def _model(self, request: TrialRequest) -> tuple[keras.Model, Curve | None]:
        """Build the model, check that the study can use it, and find its curve."""
        model, knows_epochs = build(
            self._build,
            self._setup,
            request.values,
            self._data.train.images[:2],
            len(self._data.class_names),
        )
        is_early = request.epochs < whole(request.values["epochs"])
        if knows_epochs and request.pauses and is_early:
            raise ModelError(
                "`search=asha` and `search=hyperband` train a few epochs of many trials and "
                "resume the best, but this model depends on `epochs`, the number that the "
                "trial will have in the end, as by a learning rate that falls towards the "
                "last one: after a few epochs such models cannot be compared. Take `epochs` "
                "out of the model function, or use another search."
            )
        if request.curve_dir is None:
            return model, None
        epochs = whole(request.values["epochs"]) if knows_epochs else None
        return model, curve_of(Path(request.curve_dir), epochs)

    def _known(self, model: keras.Model) -> Metrics:
        """Measure what is known of a model before it is trained."""
        known = {names.NUM_PARAMETERS: float(model.count_params())}
        if self._setup.with_latency:
            known[names.LATENCY_MS] = latency_ms(model, self._data.train.images)
        return known

    def _continue(
        self, curve: Curve | None, trial: str, ending: Ending
    ) -> tuple[CurveWriter, TrainingState | None]:
        """Report the epochs that the curve has, and take its latest checkpoint.

        If the trial ends with one of these epochs, a checkpoint after it is of no use.
        """
        while True:
            found = None if curve is None else curve.find(ending.last)
            writer = CurveWriter(curve, trial, found, self._setup.checkpoints)
            if ending.reaches([epoch.metrics for epoch in writer.epochs]):
                return writer, None if found is None else found.state

    def _of_fold(self, number: int) -> ImageData:
        """Return the data with a fold for validation, made once: programs are bound to it."""
        if number not in self._folds:
            self._folds[number] = self._data.fold(number)
        return self._folds[number]

    @functools.cached_property
    def _form(self) -> Form | None:
        """The form of the drawings in these data, measured once."""
        return drawings.measure(self._data.train.images)

    def _evaluate(self, model: keras.Model, output_dir: Path) -> tuple[Metrics, TrialFiles]:
        """Measure the model on the test split, and write the files to log."""
        test, class_names = self._data.test, self._data.class_names
        probabilities = measures.as_probabilities(
            training.predict(model, test), len(test), len(class_names)
        )
        result = measures.evaluate(probabilities, test.labels)
        written = trial_files.write(result, probabilities, test, class_names, output_dir)
        # Not imported at the top: MLflow takes 0.8 s, and the first trial can start without it.
        from tuner.worker import packaging

        packaging.save(
            model, self._data, self._form, output_dir / "model", self._setup.custom_objects
        )
        metrics = {
            names.TEST_LOSS: result.loss,
            names.TEST_ACCURACY: result.accuracy,
            names.TEST_CALIBRATION_ERROR: result.calibration.error,
            names.TEST_RIGHT: float(result.num_right),
            names.TEST_WRONG: float(result.num_wrong),
        }
        files = TrialFiles(tuple(map(str, written)), str(output_dir / "model"))
        return metrics, files


@dataclass(frozen=True)
class _Trained:
    """A training that has ended, or is paused.

    Attributes:
        model: With the weights that are to be logged.
        epochs: All epochs of its curve so far.
        trial: Its trial, as `<study>/<trial id>`.
        compile_seconds: As in `TrialResult`.
        curve: As in `TrialResult`.
        ended_because: Why it was ended from outside, if it was.
        why_early: Why it has ended early by itself, in words; empty if it has not.
        best_epoch: As in `TrialResult`.
        latency_ms: As in `TrialResult`.
    """

    model: keras.Model
    epochs: Sequence[TrainedEpoch]
    trial: str
    compile_seconds: float
    curve: str
    ended_because: Stopped | None
    why_early: str
    best_epoch: int | None
    latency_ms: float | None

    @property
    def metrics(self) -> tuple[Metrics, ...]:
        """The metrics after each epoch."""
        return tuple(epoch.metrics for epoch in self.epochs)

    @property
    def reused(self) -> list[TrainedEpoch]:
        """The epochs that other trials had trained before."""
        return [epoch for epoch in self.epochs if epoch.trial != self.trial]

    @property
    def own_seconds(self) -> float:
        """Wall time of the epochs that the trial has trained itself."""
        return sum(epoch.seconds for epoch in self.epochs if epoch.trial == self.trial)


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Reports every epoch, and ends a training whose metrics are not finite.

    It keeps no state of its own: a callback's attributes are part of a checkpoint.
    """

    def __init__(
        self, writer: CurveWriter, validated: Sequence[tuple[str, str]], ending: Ending
    ) -> None:
        super().__init__()
        self._writer = writer
        self._validated = validated
        self._ending = ending

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._writer.begin_epoch()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        # The shortest number that is the same float32: 0.973, not 0.9729999899864197.
        metrics = {name: float(str(np.float32(value))) for name, value in (logs or {}).items()}
        for key, name in self._validated:
            if name not in metrics:
                raise no_such_metric(key, name, list(metrics))
        if not all_finite(metrics):
            raise InfeasibleTrial(
                f"All metrics must be finite, but after epoch {epoch + 1} they are {metrics}."
            )
        self._writer.end_epoch(metrics)
        self._ending.note(epoch + 1, metrics)


def _has_begun(curve: Curve | None, epochs: int, trial: str) -> bool:
    """Say whether a trial has trained some of its epochs before."""
    found = None if curve is None else curve.find(epochs)
    return found is not None and any(epoch.trial == trial for epoch in found.epochs)


def _offer(
    writer: CurveWriter, told: Told, is_last: bool, capture: Callable[[], TrainingState]
) -> None:
    """Write a checkpoint if it is due, unless it would lack a part of a callback's state."""
    if told.can_be_kept():
        writer.offer(is_last, capture)


def _empty(folder: Path) -> None:
    """Remove the files of an earlier attempt: MLflow does not save a model over another one."""
    for left in folder.iterdir():
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def _name(request: TrialRequest, curve: Curve | None) -> str:
    """Name a curve by its key, and by the folder below it, if any."""
    if curve is None or request.curve_dir is None:
        return ""
    return str(curve.folder.relative_to(Path(request.curve_dir).parent))


_OF_A_NODE = re.compile(
    r"Graph execution error:|Detected at node |  File |<stack traces unavailable>"
    r"|\s*\[\[\{\{node "
)


def failure_of(request: TrialRequest, error: BaseException, kind: FailureKind) -> TrialFailure:
    """Return what is recorded of a trial that the error being handled has ended."""
    summary = _summary(str(error)) or type(error).__name__
    if kind == "error":
        summary = f"{type(error).__name__}: {summary}"
    return TrialFailure(request.trial_id, summary, traceback.format_exc(), kind)


def _summary(text: str) -> str:
    """Return an error's message on one line, without TensorFlow's stack traces of nodes.

    An error in a compiled program says where each of its nodes was defined, which takes
    thousands of characters; the reason comes last. The trial's `error.txt` has all of it.
    """
    if text.startswith("Graph execution error:"):
        text = "\n".join(line for line in text.splitlines() if not _OF_A_NODE.match(line))
    return " ".join(text.split())
