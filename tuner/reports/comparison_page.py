"""The content of a report on several studies: the best model of each, side by side."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tuner.evaluation import ties
from tuner.evaluation.measures import accuracy_interval
from tuner.names import SECONDS, TEST_ACCURACY, TEST_RIGHT, TEST_WRONG, WRONG_IMAGES
from tuner.reports import overview, progress, summaries
from tuner.reports.page import Chart, Link, Page, Section, Table
from tuner.reports.records import OnDrawings, StudyRecord
from tuner.reports.verdicts import SIGNIFICANT, Contender, Verdict, judge
from tuner.tracking.standing import Standing
from tuner.wording import describe, duration, plural

MAX_DRAWN = 40
"""Number of models whose accuracies are drawn, the best ones."""


@dataclass(frozen=True)
class Compared:
    """One study of a comparison.

    Attributes:
        study: The study with its trials.
        standing: Present state of its best model in the registry; None if it is not there.
        drawings: Accuracy of its best model on drawings, if measured.
        wrong: The test images that its best model gets wrong, if they were recorded and the
            model of another study was tested on the same images.
    """

    study: StudyRecord
    standing: Standing | None
    drawings: OnDrawings | None
    wrong: frozenset[int] | None = None


def comparison_page(studies: Sequence[Compared], title: str) -> Page:
    """Put together the report of several studies.

    Args:
        studies: The studies, latest first, at least one with a finished trial.
        title: The page's heading.
    """
    ranked = by_accuracy(studies)
    shown = [(_name(c.study), _accuracy(c.study), _interval(c.study)) for c in ranked]
    charts = []
    text = []
    if shown:
        text.append(
            "Intervals contain the true accuracy with 95 % confidence. Accuracies on different "
            "data cannot be compared."
        )
        height = 110 + 28 * min(len(shown), MAX_DRAWN)
        charts.append(Chart("accuracies", summaries.accuracies(shown[:MAX_DRAWN]), height))
    if len(shown) > MAX_DRAWN:
        text.append(f"The chart shows the best {MAX_DRAWN} of {len(shown)}.")
    num_trials = sum(len(compared.study.trials) for compared in studies)
    count = "1 study" if len(studies) == 1 else f"{len(studies)} studies"
    return Page(
        title=title,
        lead=f"{count} with {plural(num_trials, 'trial')}.",
        sections=[
            *_verdicts(studies),
            *_progress(studies),
            Section("The best model of each study", text, charts, [models(studies)]),
            Section("The studies", _links(studies), tables=[_studies(studies)]),
        ],
    )


def verdicts(studies: Sequence[Compared]) -> list[Verdict]:
    """Say which studies have found the better models, and how sure that is."""
    contenders = []
    for compared in studies:
        data, wrong = compared.study.data, compared.wrong
        if data is None or wrong is None:
            continue
        metrics = compared.study.model.metrics
        num_images = round(metrics[TEST_RIGHT] + metrics[TEST_WRONG])
        contenders.append(
            Contender(compared.study.name, data.name, data.digest, num_images, wrong)
        )
    return judge(contenders)


def _verdicts(studies: Sequence[Compared]) -> Iterator[Section]:
    found, unknown = verdicts(studies), _without_list(studies)
    if not (found or unknown):
        return
    # The first verdict on each data set is on the two best models there.
    nearest: dict[str, Verdict] = {}
    for verdict in found:
        nearest.setdefault(verdict.first.digest, verdict)
    text = [
        f"On {verdict.first.data}: {verdict}" if len(nearest) > 1 else str(verdict)
        for verdict in nearest.values()
    ]
    if found:
        several = len(found) > len(nearest)
        holm = ", adjusted for the number of comparisons by Holm's method" if several else ""
        text.append(
            f"p is the probability of at least this difference between two models that are "
            f"equally good (McNemar's exact two-sided test on the test images that only one of "
            f"them gets right{holm}); below {SIGNIFICANT} the difference is significant. Each "
            f"study's model is the one that was best on its validation images. The test says "
            f"nothing about the same searches with other seeds."
        )
    if unknown:
        text.append(
            f"Not compared, since MLflow has no whole {WRONG_IMAGES} of the best trial: "
            f"{', '.join(unknown)}."
        )
    head = (
        "ahead", "behind", "points", "only the one ahead is right",
        "only the one behind is right", "p", "",
    )  # fmt: skip
    rows = [
        (
            verdict.first.study,
            verdict.second.study,
            verdict.points,
            f"{verdict.only_first:,}",
            f"{verdict.only_second:,}",
            verdict.p_shown,
            verdict.answer.removeprefix("statistically "),
        )
        for verdict in found
    ]
    tables = [Table(head, rows)] if rows else []
    yield Section("Which did better", text, tables=tables)


def _without_list(studies: Sequence[Compared]) -> list[str]:
    """Return the studies that share their data with others, but not what they get wrong."""
    finished = [c for c in studies if c.study.finished and c.study.data is not None]
    digests = [c.study.data.digest for c in finished if c.study.data is not None]
    return [
        compared.study.name
        for compared, digest in zip(finished, digests, strict=True)
        if compared.wrong is None and digests.count(digest) > 1
    ]


def _progress(studies: Sequence[Compared]) -> Iterator[Section]:
    groups = progress.comparable([compared.study for compared in studies])
    for i, group in enumerate(groups):
        data = group[0].data
        assert data is not None
        where = f", on {data.name}" if len(groups) > 1 else ""
        text = []
        if len(group) > progress.MAX_LINES:
            text.append(f"The charts show the best {progress.MAX_LINES} of {len(group)}.")
        yield Section(
            f"Best {group[0].objective.name} so far{where}",
            text,
            progress.charts(group, f"progress-{i}"),
        )


def _links(studies: Sequence[Compared]) -> list[str]:
    return [note for note in [overview.links_to([c.study for c in studies])] if note]


def tell_apart(studies: Sequence[Compared]) -> list[Compared]:
    """Add the owner to the names of studies where several have one name."""
    names = [compared.study.name for compared in studies]
    return [
        dataclasses.replace(compared, study=_with_owner(compared.study))
        if names.count(compared.study.name) > 1
        else compared
        for compared in studies
    ]


def _with_owner(study: StudyRecord) -> StudyRecord:
    told = ", ".join(text for text in (study.owner, study.study_id[:8]) if text)
    return dataclasses.replace(study, name=f"{study.name} ({told})")


def by_accuracy(studies: Sequence[Compared]) -> list[Compared]:
    """Return the studies whose best trial has a test accuracy, the highest first."""
    tested = [c for c in studies if c.study.finished]
    tested = [c for c in tested if TEST_ACCURACY in c.study.model.metrics]
    return sorted(tested, key=lambda c: -_accuracy(c.study))


def models(studies: Sequence[Compared]) -> Table:
    """List model, test accuracy and, if measured, accuracy on drawings."""
    has_drawings = any(compared.drawings for compared in studies)
    rows = []
    for compared in by_accuracy(studies):
        accuracy = f"{_accuracy(compared.study):.4f}"
        if interval := _interval(compared.study):
            accuracy += f" ({interval[0]:.4f} to {interval[1]:.4f})"
        drawings = [_on_drawings(compared.drawings)] if has_drawings else []
        rows.append([_name(compared.study), accuracy, *drawings])
    head = ["model", "test accuracy", *(["accuracy on drawings"] if has_drawings else [])]
    return Table(head, rows)


def _studies(studies: Sequence[Compared]) -> Table:
    head = (
        "study", "owner", "started", "state", "data", "search", "trials", "failed", "time",
        "objective", "best trial", "best", "test accuracy", "indistinguishable", "registry",
        "values of the best",
    )  # fmt: skip
    return Table(head, [_row(compared) for compared in studies])


def _row(compared: Compared) -> tuple[str | Link, ...]:
    study = compared.study
    begun = f"{datetime.datetime.fromtimestamp(study.began):%Y-%m-%d %H:%M}"
    seconds = study.metrics.get(SECONDS)
    common = (
        overview.link(study, study.name, study.run_id),
        study.owner,
        begun,
        study.status.lower(),
        study.data.name if study.data else "",
        study.params["search.oracle"],
        str(len(study.finished)),
        str(len(study.failed)),
        "" if seconds is None else duration(seconds),
        study.objective.name,
    )
    if not study.finished:
        return (*common, "", "", "", "", "", "no finished trial")
    best, tied = study.best, overview.find_ties(study)
    registry = "not registered" if compared.standing is None else str(compared.standing)
    return (
        *common,
        overview.link(study, best.trial_id, best.run_id),
        f"{study.best_score:.4f}",
        f"{_accuracy(study):.4f}" if TEST_ACCURACY in study.model.metrics else "",
        "" if tied is None else str(len(tied.trial_ids)),
        registry,
        describe({name: best.values[name] for name in study.varied if name in best.values}),
    )


def _name(study: StudyRecord) -> str:
    """Name a study's best model by its kind and its origin."""
    model = study.params["model._target_"].removeprefix("tuner.models.").removesuffix(".build")
    return f"{model}, {study.name} {study.best.trial_id}"


def _accuracy(study: StudyRecord) -> float:
    return study.model.metrics[TEST_ACCURACY]


def _interval(study: StudyRecord) -> tuple[float, float] | None:
    tested = ties.accuracy_on_test(study.model.metrics)
    return None if tested is None else tested.interval


def _on_drawings(found: OnDrawings | None) -> str:
    if found is None:
        return ""
    low, high = accuracy_interval(found.num_right, found.num_files)
    return (
        f"{found.accuracy:.4f} ({low:.4f} to {high:.4f}; {found.num_right:,} of "
        f"{found.num_files:,})"
    )
