"""What Glassy calls things in MLflow: tags, kinds of runs, metrics, artifacts and aliases.

Other programs rely on these names; `docs/design.md` lists them.
"""

import re
from collections.abc import Iterable

# Tags of runs

KIND = "tuner.kind"
STUDY = "tuner.study"
STUDY_ID = "tuner.study_id"
TRIAL = "tuner.trial"
BEST_TRIAL = "tuner.best_trial"
JUDGED_TRIAL = "tuner.judged_trial"
"""Of a study: the trial that was registered, if that is not its best one; otherwise empty."""
FOLDER = "tuner.folder"
"""A study's tag: its `<host>:<folder>`. An experiment's tag: the database's folder."""
SETTINGS = "tuner.settings"
"""A study's tag: its configuration, flat, as JSON (see `json_tags`)."""
FILES = "tuner.files"
"""A trial's tag: the files that it has logged, with their checksums; see `manifest`."""
VALUES = "tuner.values"
"""A trial's and a version's tag: the values as JSON, since MLflow keeps params as text."""
IDENTITY = "tuner.identity"
"""A study's tag: what its settings stood for when it was started, as JSON; see `identity`."""
ENGINE = "tuner.engine"
"""Of a study: what runs its epochs; see `engine`."""
EXTENSIONS = "tuner.extensions"
"""Of a study: what it was told otherwise when it was resumed, as JSON (see `json_tags`)."""
VERSIONS = "tuner.versions"
DATA_PROFILE = "tuner.data_profile"
FIRST = "tuner.first"
"""Of a trial: that it is one of the starting points that the user gave."""
CURVE = "tuner.curve"
CONTINUED_FROM = "tuner.continued_from"
FINALIST_OF = "tuner.finalist_of"
"""Of a finalist: the trial whose values it trains again."""
SEED = "tuner.seed"
"""Of a finalist: its seed."""
FINALISTS = "tuner.finalists"
"""Of a study: its finalists' seeds and scores, as JSON (see `evaluation.racing.Race`)."""
BRACKET = "tuner.bracket"
"""Of a trial that is paused at rungs: the bracket of rungs that it climbs, as a number."""
RUNG = "tuner.rung"
"""Of such a trial: the rung that it has reached, or trains for, as a number of epochs."""
ERROR = "tuner.error"
FAILURE = "tuner.failure"
STOP = "tuner.stop"
"""A request to stop, set by a person. On a trial's run `true`: it ends after the epoch under
way. On a study's run `true`: running trials end; `now`: they end after the epoch under way."""
STOPPED = "tuner.stopped"
"""Of a trial: why it has fewer epochs than its values say, as in `trial.Stopped`; empty if it
has all."""
STOPPED_BECAUSE = "tuner.stopped_because"
"""Of a trial that stopped early or was pruned: why, in words."""
BEST_EPOCH = "tuner.best_epoch"
"""Of a trial whose model has the weights of an earlier epoch than its last: that epoch."""
REPEATS = "tuner.repeats"
"""Of a trial that is trained several times: its trainings, as JSON (see `facts.Repeats`)."""
NUM_TRIALS = "tuner.num_trials"
"""Of a study: trials of its whole search; empty if that is unknown."""
PROGRESS = "tuner.progress"
"""Of a study that runs: how far it is, in words."""
BEST_SO_FAR = "tuner.best_so_far"
TIME_LEFT = "tuner.time_left"
DELETED = "tuner.deleted"
"""Of a study: when `tuner.delete` was asked to delete it (ISO 8601, UTC)."""
PARENT = "mlflow.parentRunId"
USER = "mlflow.user"
DATASET_CONTEXT = "mlflow.data.context"

# Values of MLflow's own status of a run

PAUSED = "SCHEDULED"
"""Of a trial that waits at a rung for others."""

# Values of `tuner.kind`

KIND_STUDY = "study"
KIND_TRIAL = "trial"
KIND_REFIT = "refit"
"""The run of a refit: a trial's values trained again on more images. It is not a trial."""
KIND_FINALIST = "finalist"
"""The run of a finalist: a trial's values trained again with a new seed. It is not a trial."""

MAY_STOP = (KIND_TRIAL, KIND_FINALIST)
"""The trainings that a person may ask to stop."""

# Tags of a registered version

SHA256 = "tuner.sha256"
DATA_DIGEST = "tuner.data_digest"
TEST_DIGEST = "tuner.test_digest"
VERSION_TEST_ACCURACY = "tuner.test_accuracy"
PROMOTED = "tuner.promoted"
REASON = "tuner.reason"
FORCED = "tuner.forced"
"""Why a person made the version champion although the gate refused it."""
P_VALUE = "tuner.p_value"

# Metrics

LOSS = "loss"
TEST_LOSS = "test_loss"
TEST_ACCURACY = "test_accuracy"
TEST_CALIBRATION_ERROR = "test_calibration_error"
TEST_RIGHT = "test_right"
TEST_WRONG = "test_wrong"
TRAIN_SECONDS = "train_seconds"
COMPILE_SECONDS = "compile_seconds"
EVALUATE_SECONDS = "evaluate_seconds"
TRIAL_SECONDS = "trial_seconds"
NUM_PARAMETERS = "num_parameters"
LATENCY_MS = "latency_ms"
"""Milliseconds that a trial's model takes for one image, where that was asked for."""
EPOCHS_TRAINED = "epochs_trained"
EPOCHS_REUSED = "epochs_reused"
SECONDS = "seconds"
WORKER_SECONDS = "worker_seconds"

OF_WHOLE_TRIAL = frozenset(
    {
        TEST_LOSS, TEST_ACCURACY, TEST_CALIBRATION_ERROR, TEST_RIGHT, TEST_WRONG,
        TRAIN_SECONDS, COMPILE_SECONDS, EVALUATE_SECONDS, TRIAL_SECONDS, NUM_PARAMETERS,
        LATENCY_MS, EPOCHS_TRAINED, EPOCHS_REUSED,
    }
)  # fmt: skip
"""Metrics of a trial that it has once, after its last epoch."""

# Artifacts

DATA_PICTURE = "data.png"
CONFIG = "config.yaml"
OVERRIDES = "overrides.yaml"
REPORT = "report.html"
EPOCHS = "epochs.jsonl"
TRACEBACK = "error.txt"
CONFUSION_MATRIX = "confusion_matrix.json"
WRONG_PREDICTIONS = "wrong_predictions.png"
WRONG_IMAGES = "wrong_predictions.csv"
PROMOTION = "promotion"
"""Folder of the evidence, among the artifacts of the challenger's run."""
DECISION = f"{PROMOTION}/decision.json"
MODEL = "model"


def best_metric(objective: str) -> str:
    """Return the metric of a study's run that holds its best score."""
    return f"best_{objective}"


def seconds_spent(what: str) -> str:
    """Return the metric of a study's run that says how long its driver spent on something."""
    return f"{what}_seconds"


def objective_tag(objective: str) -> str:
    """Return the tag of a version that holds its trial's score."""
    return f"tuner.{objective}"


def moved_tag(time: str) -> str:
    """Return a version's tag for a move of an alias at that time."""
    return f"tuner.moved.{time}"


def finalist_name(trial_id: str, number: int) -> str:
    """Return the name of a trial's training with a new seed, used where a trial has its id.

    Args:
        trial_id: The trial.
        number: Number of the seed, from 1.
    """
    return f"{trial_id}-seed{number}"


def may_be_stopped(name: str) -> bool:
    """Say whether a text may name a trial or a finalist, for requests to stop one."""
    return re.fullmatch(r"[0-9]+(-seed[0-9]+)?", name) is not None


def of_repeat(repeat: int, metric: str) -> str:
    """Return the name under which a metric of one of a trial's trainings is recorded."""
    return f"repeat_{repeat}/{metric}"


def deviation(metric: str) -> str:
    """Return the name of the standard deviation of a metric between a trial's trainings."""
    return f"std/{metric}"


def repeats_with(metrics: Iterable[str]) -> set[int]:
    """Return the numbers of the repeats that some metrics are of."""
    found = (re.fullmatch(r"repeat_([0-9]+)/.+", name) for name in metrics)
    return {int(match[1]) for match in found if match is not None}


def is_of_repeats(metric: str) -> bool:
    """Say whether a metric is one of `of_repeat` or `deviation`."""
    return re.match(r"(repeat_[0-9]+|std)/", metric) is not None


def refit_name(trial_id: str) -> str:
    """Return the name of a trial's refit, used where a trial has its id."""
    return f"{trial_id}-{KIND_REFIT}"
