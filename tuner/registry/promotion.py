"""Takes a trial to the registry: its version, the gate's decision on it, and the evidence."""

import dataclasses
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from tuner import names
from tuner.config.schema import StudyConfig
from tuner.errors import ModelError
from tuner.evaluation.racing import Race
from tuner.registry import gate, model_card
from tuner.registry.judging import Candidate, Case, Judgement, judge
from tuner.registry.versions import Registry
from tuner.runtime import files, forkserver
from tuner.tracking import standing
from tuner.tracking.manifest import local_folder
from tuner.trial import Metrics, Values
from tuner.wording import searched_first

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Challenger:
    """A trial whose model challenges the champion.

    Attributes:
        run_id: The run that logged the model.
        study: Name of its study.
        trial_id: The oracle's name for it, or the name of its finalist or refit.
        values: One point of the space.
        data_digest: Digest of the data it was trained and tested on.
        validation: Its score, by the objective's name; empty if unknown, as for a run that was
            trained on the validation images too.
        seed: Seed of its training; None for the one that follows from its values.
        race: The finalists that its trial has won against, if it is the winner's model.
    """

    run_id: str
    study: str
    trial_id: str
    values: Values
    data_digest: str
    validation: Metrics
    seed: int | None = None
    race: Race | None = None


@dataclass(frozen=True)
class Promotion:
    """The outcome for a challenger.

    Attributes:
        name: Name of the registered model.
        alias: Alias of the version in service.
        version: The challenger's version.
        promoted: Whether it now has the alias.
        reason: Why, in one or a few sentences.
        is_loadable: Whether the challenger's model can be loaded and used.
    """

    name: str
    alias: str
    version: str
    promoted: bool
    reason: str
    is_loadable: bool = True

    @property
    def uri(self) -> str:
        """The URI by which MLflow loads the challenger's model."""
        return f"models:/{self.name}" + (
            f"@{self.alias}" if self.promoted else f"/{self.version}"
        )

    def __str__(self) -> str:
        """Describe the outcome in one paragraph."""
        said = standing.registered_as(self.name, self.version, self.alias, self.promoted)
        return f"{said}\n  {self.reason}"


def promote(
    client: mlflow.MlflowClient,
    config: StudyConfig,
    challenger: Challenger,
    force: str | None = None,
) -> Promotion:
    """Register a challenger as a version, and give it the alias if the gate lets it through.

    A second call for the same run finds the version that the first one made, and decides again.
    If another promotion has moved the alias meanwhile, the challenger is judged again, against
    the new champion.

    Args:
        client: Client of the store that holds the challenger's run.
        config: The study's configuration; the registry's name is not None.
        challenger: The challenger.
        force: Why it becomes champion even if the gate refuses it; None if it does not.

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
            return _outcome(
                registry, version, True, _standing(registry, config, challenger, version)
            )
        registry.challenge(version)
        with TemporaryDirectory() as folder:
            try:
                judgement = _judge(
                    registry, config, challenger, version, champion, Path(folder), force
                )
            except ModelError as error:
                # Nothing in service may depend on a model that cannot be loaded.
                return dataclasses.replace(
                    _outcome(registry, version, False, str(error)), is_loadable=False
                )
            with registry.moving():
                if _number(registry.holder(registry.alias)) != _number(champion):
                    logger.info("The %s has changed meanwhile: judging again.", registry.alias)
                    continue
                _record(registry, config, challenger, version, judgement)
                decision = judgement.decision
                if decision.promoted:
                    why = f"study {challenger.study}, trial {challenger.trial_id}"
                    registry.promote(version, f"{why}: {decision.why}")
        return _outcome(registry, version, decision.promoted, decision.why)


def _standing(
    registry: Registry, config: StudyConfig, challenger: Challenger, version: ModelVersion
) -> str:
    """Say that a version is champion already, and which limits of the gate it breaks.

    It is measured only if there are limits.
    """
    already = f"It already is the {registry.alias}"
    if not gate.has_limits(config.registry.gate):
        return f"{already}."
    with TemporaryDirectory() as folder:
        try:
            decision = _judge(
                registry, config, challenger, version, None, Path(folder)
            ).decision
        except ModelError as error:
            return f"{already}, and stays, but: {error}"
    if decision.promoted:
        return f"{already}."
    return f"{already}, and stays, but breaks a limit: {decision.reason}"


def _judge(
    registry: Registry,
    config: StudyConfig,
    challenger: Challenger,
    version: ModelVersion,
    champion: ModelVersion | None,
    folder: Path,
    force: str | None = None,
) -> Judgement:
    """Let a child process, which imports TensorFlow, measure both models."""
    ours = _candidate(registry, version, folder)
    theirs, reason = None, None
    if champion is not None:
        try:
            theirs = _candidate(registry, champion, folder)
        except ModelError as error:
            reason = f"{error} So the two cannot be compared, and the {registry.alias} stays."
    (evidence := folder / names.PROMOTION).mkdir()
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
        custom_objects=config.custom_objects,
        force=force,
    )
    judgement: Judgement = forkserver.call(judge, case)
    return judgement


def _candidate(registry: Registry, version: ModelVersion, folder: Path) -> Candidate:
    (place := folder / str(version.version)).mkdir()
    path = registry.download(version, place)
    return Candidate(
        str(version.version),
        path,
        version.tags.get(names.TEST_DIGEST),
        _recorded_latency(registry.client, version),
    )


def _recorded_latency(client: mlflow.MlflowClient, version: ModelVersion) -> float | None:
    """Return the latency that a version's run has recorded; None if there is none."""
    try:
        run = client.get_run(str(version.run_id))
    except MlflowException:
        # The run is gone, or the version was made by other means.
        return None
    latency: float | None = run.data.metrics.get(names.LATENCY_MS)
    return latency


def _record(
    registry: Registry,
    config: StudyConfig,
    challenger: Challenger,
    version: ModelVersion,
    judgement: Judgement,
) -> None:
    """Keep the decision and its evidence with the version and with its run."""
    decision, client = judgement.decision, registry.client
    tags: dict[str, str | None] = {
        names.STUDY: challenger.study,
        names.TRIAL: challenger.trial_id,
        names.VALUES: json.dumps(dict(challenger.values)),
        names.DATA_DIGEST: challenger.data_digest,
        names.TEST_DIGEST: judgement.test_digest,
        **{
            names.objective_tag(name): repr(score)
            for name, score in challenger.validation.items()
        },
        names.VERSION_TEST_ACCURACY: repr(decision.challenger.accuracy),
        names.PROMOTED: str(decision.promoted).lower(),
        names.REASON: decision.reason[:5000],
        # An earlier promotion of the same version may have been forced.
        names.FORCED: None if decision.forced is None else decision.forced[:5000],
    }
    if decision.agreement is not None:
        tags[names.P_VALUE] = f"{decision.agreement.p_value:.6g}"
    card = model_card.write(
        registry.name,
        str(version.version),
        f"study {challenger.study}, trial {challenger.trial_id}",
        config.data.name,
        challenger.data_digest,
        searched_first(challenger.values, config.whole_space().searched),
        judgement,
        challenger.race,
    )
    registry.describe(version, card, tags)
    table = next(path for path in judgement.files if path.suffix == ".json")
    content = json.loads(table.read_text(encoding="utf-8"))
    content |= {"name": registry.name, "alias": registry.alias, "version": str(version.version)}
    files.write_scratch(table, json.dumps(content, indent=1))
    for path in judgement.files:
        files.uninterrupted(client.log_artifact, challenger.run_id, str(path), names.PROMOTION)
    # The evidence is on disk before the alias moves.
    uri = client.get_run(challenger.run_id).info.artifact_uri
    if (kept := local_folder(uri)) is not None:
        files.sync_tree(kept / names.PROMOTION)


def _outcome(
    registry: Registry, version: ModelVersion, promoted: bool, reason: str
) -> Promotion:
    return Promotion(registry.name, registry.alias, str(version.version), promoted, reason)


def _number(version: ModelVersion | None) -> str | None:
    return None if version is None else str(version.version)
