"""A worker's side of trials on Ray, without a cluster around it."""

import dataclasses
from pathlib import Path

import pytest

from support import workers
from tuner.datasets import ImageData
from tuner.executors.ray_worker import News, RayWorker
from tuner.executors.transfer import CheckpointParcel
from tuner.outcomes import TrialResult
from tuner.trial import TrialRequest

CURVE = workers.CURVES[5]


@pytest.fixture
def worker(few_digits: ImageData) -> RayWorker:
    made = RayWorker()
    made.start(workers.learning, few_digits)
    return made


@pytest.mark.parametrize("last", [1, 3, 4])
def test_trial_that_is_judged_trains_no_epoch_before_its_answer(
    worker: RayWorker, tmp_path: Path, last: int
) -> None:
    request = TrialRequest("0001", {"epochs": 4, "width": 5}, 0, str(tmp_path), is_judged=True)
    # An answer to a trial that this worker does not have any more.
    worker.answer("0000", 1, "pruned")
    seen: list[float] = []
    news = News()
    for news in worker.run(request, CheckpointParcel.for_trial(request)):
        for epoch, metrics, _ in news.epochs:
            seen.append(metrics["val_accuracy"])
            worker.answer("0001", epoch, "pruned" if epoch == last else None)
    assert isinstance(news.outcome, TrialResult)
    assert news.outcome.stopped == ("pruned" if last < 4 else None)
    assert [metrics["val_accuracy"] for metrics in news.outcome.epochs] == list(CURVE[:last])
    assert seen == list(CURVE[:last])


def test_trial_that_is_not_judged_waits_for_nothing(worker: RayWorker, tmp_path: Path) -> None:
    request = TrialRequest("0001", {"epochs": 4, "width": 5}, 0, str(tmp_path))
    parcel = CheckpointParcel.for_trial(request)
    [*_, last] = worker.run(request, parcel)
    assert isinstance(last.outcome, TrialResult)
    assert len(last.outcome.epochs) == 4
    worker.stop("0002", "user")
    stopped = dataclasses.replace(request, trial_id="0002")
    [*_, last] = worker.run(stopped, parcel)
    assert isinstance(last.outcome, TrialResult)
    assert (last.outcome.stopped, len(last.outcome.epochs)) == ("user", 1)
