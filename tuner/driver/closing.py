"""The closing lines of a search: its best trial, the registry's answer, the next commands."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tuner import names, passwords
from tuner.config import edges
from tuner.config.printed_commands import of_module, program, word
from tuner.escapes import visible
from tuner.wording import REPORT_AT, plural

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tuner.config.schema import StudyConfig
    from tuner.driver.parts import Best
    from tuner.evaluation.ties import Ties
    from tuner.registry.promotion import Promotion
    from tuner.reports.outlook import Outlook

FILES = "FILE_OR_FOLDER"
"""Stands for a user's drawings: unlike `<file>`, a shell takes it as a word."""


def lines(
    config: StudyConfig,
    best: Best,
    challenger: Best,
    promoted: Promotion | None,
    num_trials: int,
    tied: Ties | None,
    report: Path | None,
    overrides: Sequence[str] = (),
    outlook: Outlook | None = None,
    front: str | None = None,
) -> list[str]:
    """Word what a user wants to know at the end, each line fit for a terminal.

    Args:
        config: The study's configuration.
        best: Its best trial.
        challenger: The trial that was registered, if any was.
        promoted: The registry's answer, if it was.
        num_trials: Number of trials that have ended.
        tied: Trials that are statistically indistinguishable from the best, if known.
        report: Where the report lies, if it could be made.
        overrides: What the study was asked for on the command line.
        outlook: What more trials would likely bring, if that can be estimated.
        front: How many trials are on the Pareto front, if there are several objectives.
    """
    from tuner.constraints import shown
    from tuner.wording import describe, searched_first

    searched = config.searched_space().searched
    differing = {n: value for n, value in best.values.items() if n in searched | {"epochs"}}
    values = searched_first(differing, searched)
    others = "".join(
        f", {one.name} {shown(one.name, best.metrics[one.name])}"
        for one in config.objective.others
    )
    said = [
        "",
        f"Best of {plural(num_trials, 'trial')}: {best.trial_id}  {describe(values)}",
        *_scores(best, config.objective.name, others),
    ]
    if front is not None:
        said.append(f"  {front}")
    if tied is not None:
        said.append(f"  {tied}")
    if promoted is not None and challenger != best:
        said.append(
            f"The best within the gate's limits ({config.registry.gate.limits}): trial "
            f"{challenger.trial_id}, {config.objective.name} {challenger.score:.4f}"
        )
    if promoted is not None:
        said += str(promoted).split("\n  ", 1)
        said[-1] = f"  {said[-1]}"
    if found := edges.find(config.searched_space(), best.values, config.model_function):
        study, budget = str(config.study), config.search.max_trials
        at, command = edges.say(found, best.values, overrides, study, budget)
        said += [f"  {at} To search beyond it:", f"    {command}"]
    if outlook is not None:
        said.append(f"  {outlook}")
    if report is not None:
        said.append(f"{REPORT_AT}{report}")
    uri = config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")
    said += [*look_at(uri), *(f"  {step}" for step in _predict(config, best, promoted))]
    printed = [passwords.hide(visible(line)) for line in said]
    if any(passwords.STARS in line for line in printed):
        printed.append(f"  (with the password in place of {passwords.STARS})")
    return printed


def _repeats(best: Best, objective: str) -> list[str]:
    """Say how much a trial's score differs between its trainings, if it has several."""
    deviation = best.metrics.get(names.deviation(objective))
    if deviation is None:
        return []
    return [f"  The mean of its trainings, whose standard deviation is {deviation:.4f}."]


def _scores(best: Best, objective: str, others: str) -> list[str]:
    """Say how good the best trial is: by new seeds alone, where it was trained with any."""
    from tuner.evaluation.ties import accuracy_on_test

    tested = f"{objective} {best.score:.4f}{others}, {accuracy_on_test(best.metrics)}"
    if best.race is None:
        return [f"  {tested}", *_repeats(best, objective)]
    said = [f"  {best.race}; {best.searched:.4f} in the search"]
    if best.race.lead is not None:
        said.append(f"  {best.race.lead}")
    return [*said, f"  Its model is {best.name}, of the median seed: {tested}"]


def look_at(uri: str | None) -> list[str]:
    """Say how to open MLflow's pages, and start the list of next commands.

    Args:
        uri: The store's address; None for MLflow's own default.
    """
    if uri and urlsplit(uri).scheme in ("http", "https"):
        # `mlflow ui` serves files and databases, but this is already a server. A browser asks
        # for user and password itself.
        return [f"MLflow's pages: {re.sub(r'(?<=://)[^/?#]*@', '', uri)}", "Next:"]
    store = f" --backend-store-uri {word(passwords.hide(uri))}" if uri else ""
    return ["Next:", f"  {program('mlflow')} ui{store}"]


def _predict(config: StudyConfig, best: Best, promoted: Promotion | None) -> list[str]:
    """Return the command that uses the best model, if that can be loaded."""
    if config.tracking.log_models == "none":
        return []
    if promoted is not None and not promoted.is_loadable:
        return []
    model = f"runs:/{best.run_id}/model" if promoted is None else promoted.uri
    given = [f"images={FILES}", f"model={model}"]
    if config.tracking.uri:
        given.append(f"tracking.uri={config.tracking.uri}")
    if modules := config.custom_objects:
        # Only the user's own command may name modules, not the store.
        named = modules[0] if len(modules) == 1 else f"[{','.join(modules)}]"
        given.append(f"custom_objects={named}")
    return [of_module("tuner.predict", given)]
