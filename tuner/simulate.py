"""`python -m tuner.simulate`: which search finds a study's best with the fewest epochs."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from tuner.cli import application
from tuner.config.compose import load_simulate
from tuner.config.schema import SimulateConfig
from tuner.escapes import message
from tuner.runtime import terminal
from tuner.runtime.logs import native_noise_to
from tuner.wording import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    import mlflow
    from rich.table import Table

    from tuner.simulation.replay import Replay, Row


def main(composed: DictConfig) -> None:
    """Simulate searches on the trials of a study, and print what each has needed."""
    config = load_simulate(composed)
    # Imported here: --help and --cfg answer at once.
    from tuner.tracking import tracking_store

    replay = _replay(tracking_store.connect_to_existing(config.tracking.uri), config.study)
    console = terminal.console(soft_wrap=True)
    rows = [replay.in_order()]
    for search in config.searches:
        # Keras Tuner's oracles import TensorFlow, which speaks of this machine.
        noise = native_noise_to(Path(os.devnull))
        with noise, console.status(f"Simulating search={search}"):
            rows.append(replay.row(search, range(config.seeds), config.workers))
    console.print(message(_head(config, replay)))
    console.print(_table(rows, replay.num_epochs))


def _replay(client: mlflow.MlflowClient, name: str) -> Replay:
    """Read a study's finished trials.

    Raises:
        StudyError: If there is no such study, or it cannot be simulated.
    """
    from tuner import names
    from tuner.simulation.replay import RecordedTrial, Replay
    from tuner.study import records
    from tuner.study.study import Study
    from tuner.tracking import history

    study = records.find_study(client, name)
    facts, objective = history.read_study(study.run), study.config.objective
    found = history.trials(client, facts.experiment_id, facts.study_id)
    finished = history.finished(found, objective)
    curves = dict(list(Study(client, study.run).curves.groupby("trial")))
    trials = []
    for trial in sorted(finished, key=lambda trial: trial.trial_id):
        rows = curves[trial.trial_id].drop(columns=["trial", "epoch"]).to_dict("records")
        # Of epochs that another trial has trained, no time is known.
        trained = trial.metrics.get(names.EPOCHS_TRAINED) or math.inf
        trials.append(
            RecordedTrial(
                trial.values,
                trial.metrics[objective.name],
                rows,
                trial.metrics.get(names.TRAIN_SECONDS, 0.0) / trained,
                trial.stopped,
            )
        )
    num_scored = None if facts.data is None else facts.data.num_scored
    return Replay(trials, study.config, num_scored)


def _head(config: SimulateConfig, replay: Replay) -> str:
    trials, epochs = plural(len(replay.trials), "trial"), plural(replay.num_epochs, "epoch")
    within = (
        ""
        if replay.enough == replay.best
        else (f" (one standard error of {replay.best:.4f}, the best)")
    )
    return (
        f"Study {config.study} has {trials}, {epochs} in all. Each search chooses among these, "
        f"{plural(config.seeds, 'time')}, until one has reached {replay.enough:.4f}{within}:"
    )


def _table(rows: Sequence[Row], num_epochs: int) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("search")
    for name in ("epochs (median)", "of the study's", "trials (median)"):
        table.add_column(name, justify="right")
    for row in rows:
        share = row.median_epochs / num_epochs
        numbers = (f"{row.median_epochs:g}", f"{share:.0%}", f"{row.median_trials:g}")
        shown = numbers if math.isfinite(share) else ("-", "-", "-")
        table.add_row(row.search, *shown)
    return table


if __name__ == "__main__":
    application.run(main, "commands/simulate", SimulateConfig)
