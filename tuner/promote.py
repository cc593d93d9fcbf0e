"""`python -m tuner.promote`: judge a trial's model against the champion, or roll back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from tuner.cli import application
from tuner.config.compose import load_promote, with_settings
from tuner.config.schema import PromoteConfig, module_names
from tuner.errors import ConfigError, StudyError
from tuner.escapes import message
from tuner.runtime import terminal

if TYPE_CHECKING:
    import mlflow

    from tuner.registry.promotion import Promotion


REFUSED = 3
"""Exit status if the model does not become champion."""


def main(composed: DictConfig) -> int:
    """Judge a trial's model against the champion, or roll the champion back.

    Returns:
        0, or `REFUSED`.
    """
    config = load_promote(composed)
    from tuner.runtime import forkserver, tensorflow_setup
    from tuner.runtime.logs import native_noise_to

    console = terminal.console(soft_wrap=True)
    with native_noise_to(Path(os.devnull)):
        if not config.rollback:
            forkserver.begin_imports(["tuner.worker.preload"])
        from tuner.tracking import tracking_store

        tensorflow_setup.check_flags()
        client = tracking_store.connect_to_existing(config.tracking.uri)
        if config.rollback:
            said, is_champion = _roll_back(client, config), True
        else:
            promotion = _promote(client, config)
            said, is_champion = str(promotion), promotion.promoted
    console.print(message(said))
    return 0 if is_champion else REFUSED


def _promote(client: mlflow.MlflowClient, config: PromoteConfig) -> Promotion:
    from tuner import names
    from tuner.driver import given
    from tuner.registry import promotion, refit
    from tuner.study import records, trust
    from tuner.tracking import history
    from tuner.tracking.data_record import DataRecord

    trial = None if config.run is None else records.find_trial(client, config.run)
    if trial is None:
        study = records.find_study(client, str(config.study))
    else:
        study = records.study_of(client, trial)
    study_id = study.run.data.tags[names.STUDY_ID]
    told = {"data": config.data, "model": config.model, "registry": config.registry}
    settings = with_settings(study.config, told)
    if config.trial is not None:
        trial = records.trial_of(client, study, config.trial)
    elif trial is None:
        trial = records.best_trial(client, study, settings.registry.gate.limits)
    trust.check_code(settings, told, study.name, study_id)
    # Modules that only the store names are never imported.
    settings.model["custom_objects"] = list(module_names(config.custom_objects))
    if settings.registry.name is None:
        raise ConfigError(
            f"`registry.name` must be a name, but study {study.name} was searched with null: "
            f"give registry.name=<name>."
        )
    objective, recorded = settings.objective.name, history.read_trial(trial)
    facts = history.read_study(study.run)
    challenger = promotion.Challenger(
        run_id=trial.info.run_id,
        study=study.name,
        trial_id=recorded.trial_id,
        values=recorded.values,
        data_digest=DataRecord.of(trial).digest,
        validation={k: v for k, v in recorded.metrics.items() if k == objective},
        seed=recorded.seed,
        race=facts.race if recorded.trial_id == facts.best_model else None,
    )
    if settings.registry.refit and recorded.kind != names.KIND_REFIT:
        with given.importable_from(trust.own_folder(study.name, study_id)):
            challenger = refit.refit(
                records.tracker_of(client, study), settings, study.engine, challenger
            )
    elif not records.has_model(client, trial):
        raise StudyError(
            f"Trial {recorded.trial_id} of study {study.name} has no model: it was searched "
            f"with tracking.log_models={settings.tracking.log_models}, or the model was "
            f"deleted since. Give registry.refit=true to train its values again, on training "
            f"and validation images together, or choose a trial with a model."
        )
    return promotion.promote(client, settings, challenger, config.reason)


def _roll_back(client: mlflow.MlflowClient, config: PromoteConfig) -> str:
    from tuner.config import aliases
    from tuner.registry.versions import Registry

    alias = config.registry["alias"] or aliases.DEFAULT
    name = config.registry["name"]
    if name is None:
        names = [model.name for model in client.search_registered_models()]
        if len(names) != 1:
            raise StudyError(
                f"`registry.name` must say which model's {alias} to roll back. Registered: "
                f"{', '.join(sorted(names)) or 'no models'}."
            )
        name = names[0]
    name = str(name)
    done = Registry(client, name, alias).roll_back()
    said = f"Version {done.now.version} of {name} is {alias} again"
    if done.before is not None:
        said += f", instead of version {done.before.version}"
    if done.deleted:
        noun = "version" if len(done.deleted) == 1 else "versions"
        said += f"; skipped because deleted: {noun} {', '.join(done.deleted)}"
    return f"{said}."


if __name__ == "__main__":
    application.run(main, "commands/promote", PromoteConfig)
