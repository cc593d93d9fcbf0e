"""What a search says at its end: its best trial, the registry's answer, what to type next."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tuner import passwords
from tuner.config import edges
from tuner.config.printed_commands import of_module, program, word
from tuner.escapes import visible
from tuner.wording import REPORT_AT, plural

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tuner.config.schema import StudyConfig
    from tuner.driver.loop import Best
    from tuner.evaluation.ties import Ties
    from tuner.registry.promotion import Promotion

FILES = "FILE_OR_FOLDER"
"""Stands for a user's drawings: unlike `<file>`, a shell takes it as a word."""


def lines(
    config: StudyConfig,
    best: Best,
    promoted: Promotion | None,
    num_trials: int,
    tied: Ties | None,
    report: Path | None,
    overrides: Sequence[str] = (),
) -> list[str]:
    """Word what a user wants to know at the end, each line fit for a terminal.

    Args:
        config: The study's.
        best: Its best trial.
        promoted: What the registry made of it, if it was registered.
        num_trials: How many trials have ended.
        tied: Those that are statistically indistinguishable from the best, if that is known.
        report: Where the report lies, if it could be made.
        overrides: What the study was asked for on the command line.
    """
    from tuner.evaluation.ties import accuracy_on_test
    from tuner.wording import describe

    searched = config.searched_space().searched | {"epochs"}
    values = {name: value for name, value in best.values.items() if name in searched}
    said = [
        "",
        f"Best of {plural(num_trials, 'trial')}: {best.trial_id}  {describe(values)}",
        f"  {config.objective.name} {best.score:.4f}, {accuracy_on_test(best.metrics)}",
    ]
    if tied is not None:
        said.append(f"  {tied}")
    if promoted is not None:
        said += str(promoted).split("\n  ", 1)
        said[-1] = f"  {said[-1]}"
    if found := edges.find(config.searched_space(), best.values, config.model_function):
        study, budget = str(config.study), config.search.max_trials
        at, command = edges.say(found, best.values, overrides, study, budget)
        said += [f"  {at} To search beyond it:", f"    {command}"]
    if report is not None:
        said.append(f"{REPORT_AT}{report}")
    uri = config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")
    said += [*look_at(uri), *(f"  {step}" for step in _predict(config, best, promoted))]
    shown = [passwords.hide(visible(line)) for line in said]
    if any(passwords.STARS in line for line in shown):
        shown.append(f"  (with the password in place of {passwords.STARS})")
    return shown


def look_at(uri: str | None) -> list[str]:
    """Say how to see what MLflow has recorded, and begin what can be done next.

    Args:
        uri: The store's address; None for MLflow's own default.
    """
    if uri and urlsplit(uri).scheme in ("http", "https"):
        # `mlflow ui` serves files and databases; this is a server already. A browser asks for
        # user and password itself.
        return [f"MLflow's pages: {re.sub(r'(?<=://)[^/?#]*@', '', uri)}", "Next:"]
    store = f" --backend-store-uri {word(passwords.hide(uri))}" if uri else ""
    return ["Next:", f"  {program('mlflow')} ui{store}"]


def _predict(config: StudyConfig, best: Best, promoted: Promotion | None) -> list[str]:
    """Return the command that uses the best model, where there is one that can be used."""
    if config.tracking.log_models == "none":
        return []
    if promoted is not None and not promoted.is_loadable:
        return []
    model = f"runs:/{best.run_id}/model" if promoted is None else promoted.uri
    given = [f"images={FILES}", f"model={model}"]
    if config.tracking.uri:
        given.append(f"tracking.uri={config.tracking.uri}")
    if modules := config.custom_objects:
        # It is for the user's own command, and not for the store, to name modules.
        named = modules[0] if len(modules) == 1 else f"[{','.join(modules)}]"
        given.append(f"custom_objects={named}")
    return [of_module("tuner.predict", given)]
