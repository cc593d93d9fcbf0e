"""From a trial to the registry: its version, the gate's decision on it, and the evidence."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.entities.model_registry import ModelVersion

from tuner import files, forkserver, model_card
from tuner.errors import ModelError
from tuner.judging import Candidate, Case, Judgement, judge
from tuner.manifest import local_folder
from tuner.registry import Registry
from tuner.schema import StudyConfig
from tuner.trial import Metrics, Values

logger = logging.getLogger(__name__)

FOLDER = "promotion"
"""Where the evidence lies among the artifacts of the challenger's run."""


@dataclass(frozen=True)
class Challenger:
    """A trial whose model wants to be champion.

    Attributes:
        run_id: The run that logged the model.
        study: Name of its study.
        trial_id: The oracle's name of it.
        values: One point of the space.
        data_digest: Of the data it was trained and tested on.
        validation: What it reached of the objective, by its name; empty where that is not
            known, as of a run that was trained on the validation images too.
    """

    run_id: str
    study: str
    trial_id: str
    values: Values
    data_digest: str
    validation: Metrics


@dataclass(frozen=True)
class Promotion:
    """What became of a challenger.

    Attributes:
        name: Of the registered model.
        alias: Of the version in service.
        version: The challenger's.
        promoted: Whether it has the alias now.
        reason: Why, in a sentence or a few.
    """

    name: str
    alias: str
    version: str
    promoted: bool
    reason: str

    @property
    def uri(self) -> str:
        """What MLflow loads the challenger's model by."""
        return f"models:/{self.name}" + (
            f"@{self.alias}" if self.promoted else f"/{self.version}"
        )

    def __str__(self) -> str:
        """Say it, in one paragraph."""
        is_now = f"now {self.alias}" if self.promoted else f"not {self.alias}"
        return f"Registered as {self.name} version {self.version}, {is_now}.\n  {self.reason}"


def promote(
    client: mlflow.MlflowClient, config: StudyConfig, challenger: Challenger
) -> Promotion:
    """Register a challenger as a version, and give it the alias if the gate lets it through.

    Doing it again for the same run finds the version it made, and decides again. If another
    promotion has moved the alias meanwhile, the challenger is judged again, against the new
    champion.

    Args:
        client: Of the store the challenger's run is in.
        config: The study's; the registry's name is not None.
        challenger: What wants to be champion.

    Raises:
        ConfigError: If the store has no registry.
        DataError: If the data are no longer those that it was trained on.
        StudyError: If its run has no model.
    """
    registry = Registry(client, str(config.registry.name), config.registry.alias)
    registry.check()
    version = registry.register(challenger.run_id)
    while True:
        champion = registry.holder(registry.alias)
        if champion is not None and champion.version == version.version:
            with registry.moving():
                registry.promote(version, "")
            reason = f"It is the {registry.alias} already."
            return _outcome(registry, version, True, reason)
        registry.challenge(version)
        with TemporaryDirectory() as folder:
            try:
                judgement = _judge(
                    registry, config, challenger, version, champion, Path(folder)
                )
            except ModelError as error:
                # Nothing in use may depend on what cannot be loaded.
                return _outcome(registry, version, False, str(error))
            with registry.moving():
                if _number(registry.holder(registry.alias)) != _number(champion):
                    logger.info("The %s has changed meanwhile: judging again.", registry.alias)
                    continue
                _record(registry, config, challenger, version, judgement)
                decision = judgement.decision
                if decision.promoted:
                    why = f"study {challenger.study}, trial {challenger.trial_id}"
                    registry.promote(version, f"{why}: {decision.reason}")
        return _outcome(registry, version, decision.promoted, decision.reason)


def _judge(
    registry: Registry,
    config: StudyConfig,
    challenger: Challenger,
    version: ModelVersion,
    champion: ModelVersion | None,
    folder: Path,
) -> Judgement:
    """Have both models measured by a child, which imports TensorFlow."""
    ours = _candidate(registry, version, folder)
    theirs, reason = None, None
    if champion is not None:
        try:
            theirs = _candidate(registry, champion, folder)
        except ModelError as error:
            reason = f"{error} So the two cannot be compared, and the {registry.alias} stays."
    (evidence := folder / FOLDER).mkdir()
    case = Case(
        data=config.data,
        seed=config.seed,
        data_digest=challenger.data_digest,
        gate=config.registry.gate,
        threads=config.executor.threads,
        challenger=ours,
        champion=theirs,
        incomparable=reason,
        output_dir=evidence,
    )
    judgement: Judgement = forkserver.call(judge, case)
    return judgement


def _candidate(registry: Registry, version: ModelVersion, folder: Path) -> Candidate:
    (place := folder / str(version.version)).mkdir()
    path = registry.download(version, place)
    return Candidate(str(version.version), path, version.tags.get("tuner.test_digest"))


def _record(
    registry: Registry,
    config: StudyConfig,
    challenger: Challenger,
    version: ModelVersion,
    judgement: Judgement,
) -> None:
    """Keep the decision and what it rests on, with the version and with its run."""
    decision, client = judgement.decision, registry.client
    tags = {
        "tuner.study": challenger.study,
        "tuner.trial": challenger.trial_id,
        "tuner.values": json.dumps(dict(challenger.values)),
        "tuner.data_digest": challenger.data_digest,
        "tuner.test_digest": judgement.test_digest,
        **{f"tuner.{name}": repr(score) for name, score in challenger.validation.items()},
        "tuner.test_accuracy": repr(decision.challenger.accuracy),
        "tuner.promoted": str(decision.promoted).lower(),
        "tuner.reason": decision.reason[:5000],
    }
    if decision.agreement is not None:
        tags["tuner.p_value"] = f"{decision.agreement.p_value:.6g}"
    card = model_card.write(
        registry.name,
        str(version.version),
        f"study {challenger.study}, trial {challenger.trial_id}",
        config.data.name,
        challenger.data_digest,
        challenger.values,
        judgement,
    )
    registry.describe(version, card, tags)
    table = next(path for path in judgement.files if path.suffix == ".json")
    content = json.loads(table.read_text(encoding="utf-8"))
    content |= {"name": registry.name, "alias": registry.alias, "version": str(version.version)}
    files.write_scratch(table, json.dumps(content, indent=1))
    for path in judgement.files:
        files.uninterrupted(client.log_artifact, challenger.run_id, str(path), FOLDER)
    # The evidence is on disk before the alias moves.
    uri = client.get_run(challenger.run_id).info.artifact_uri
    if (kept := local_folder(uri)) is not None:
        files.sync_tree(kept / FOLDER)


def _outcome(
    registry: Registry, version: ModelVersion, promoted: bool, reason: str
) -> Promotion:
    return Promotion(registry.name, registry.alias, str(version.version), promoted, reason)


def _number(version: ModelVersion | None) -> str | None:
    return None if version is None else str(version.version)
