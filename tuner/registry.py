"""The registry: a new version for the best trial, and the gate to the champion's alias."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from tuner import store
from tuner.logged_models import logged_model_id
from tuner.schema import RegistryConfig
from tuner.trial import Values

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Challenger:
    """A trial whose model wants to be champion.

    Attributes:
        run_id: The trial's run.
        study: Name of its study.
        trial_id: The oracle's name of it.
        values: One point of the space.
        data_digest: Of the data it was trained and tested on.
        validation: The objective's name and what it reached.
        test_accuracy: In `[0, 1]`.
    """

    run_id: str
    study: str
    trial_id: str
    values: Values
    data_digest: str
    validation: tuple[str, float]
    test_accuracy: float

    def tags(self) -> dict[str, str]:
        """Return what its version in the registry is tagged with."""
        metric, score = self.validation
        return {
            "tuner.study": self.study,
            "tuner.trial": self.trial_id,
            "tuner.values": json.dumps(dict(self.values)),
            "tuner.data_digest": self.data_digest,
            f"tuner.{metric}": repr(score),
            "tuner.test_accuracy": repr(self.test_accuracy),
        }


@dataclass(frozen=True)
class GateDecision:
    """Whether the challenger became champion.

    Attributes:
        promoted: Whether it holds the alias now.
        reason: Why, in one sentence.
        challenger: Its version.
        champion: The version that held the alias before, if any.
    """

    promoted: bool
    reason: str
    challenger: str
    champion: str | None


def promote(
    client: mlflow.MlflowClient, config: RegistryConfig, challenger: Challenger
) -> GateDecision:
    """Register a challenger as a version, and give it the alias if the gate lets it through.

    Doing it again for the same run finds the version it made, and decides again.

    Args:
        client: Of the store the challenger's run is in.
        config: Name, alias and gate; the name is not None.
        challenger: What wants to be champion.
    """
    name = str(config.name)
    _ensure_registered_model(client, name)
    version = _find_version(client, name, challenger.run_id)
    if version is None:
        model_id = logged_model_id(client, challenger.run_id)
        with store.as_default(client):
            version = client.create_model_version(
                name,
                source=f"models:/{model_id}",
                run_id=challenger.run_id,
                tags=challenger.tags(),
                model_id=model_id,
            )
        # MLflow's server does it itself; without it the model's page says "Not registered".
        link = [{"name": name, "version": version.version}]
        client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: json.dumps(link)})
    champion = _holder(client, name, config.alias)
    decision = decide(config, challenger, str(version.version), champion)
    if decision.promoted and (champion is None or champion.version != version.version):
        client.set_registered_model_alias(name, config.alias, str(version.version))
    return decision


def decide(
    config: RegistryConfig, challenger: Challenger, version: str, champion: ModelVersion | None
) -> GateDecision:
    """Decide whether a challenger takes the alias.

    It does if nobody holds it, or if it beats the champion's accuracy on the same test split by
    more than `gate.min_improvement`. A tie keeps the champion.

    Args:
        config: The alias and the gate.
        challenger: What wants the alias.
        version: The challenger's version.
        champion: The version that holds the alias.
    """
    alias = config.alias
    if champion is None:
        return GateDecision(True, f"There was no {alias}.", version, None)
    holder = str(champion.version)
    if holder == version:
        return GateDecision(True, f"It is the {alias} already.", version, holder)
    tags: Mapping[str, str] = champion.tags
    if tags.get("tuner.data_digest") != challenger.data_digest:
        reason = (
            f"The {alias}, version {holder}, was tested on other data, so the two cannot be "
            f"compared; set the alias yourself to replace it."
        )
        return GateDecision(False, reason, version, holder)
    theirs = float(tags["tuner.test_accuracy"])
    ours, margin = challenger.test_accuracy, config.gate.min_improvement
    is_better = ours > theirs + margin
    compared = f"its test accuracy is {ours:.4f} against {theirs:.4f} of version {holder}"
    asked = f", and must be above it by more than {margin:g}" if margin else ""
    verdict = "It beats" if is_better else "It does not beat"
    return GateDecision(
        is_better,
        f"{verdict} the {alias}: {compared}{'' if is_better else asked}.",
        version,
        holder,
    )


def _ensure_registered_model(client: mlflow.MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _find_version(client: mlflow.MlflowClient, name: str, run_id: str) -> ModelVersion | None:
    """Return the version made from a run before, if there is one."""
    for version in client.search_model_versions(f"run_id = '{run_id}'"):
        if version.name == name:
            return version
    return None


def _holder(client: mlflow.MlflowClient, name: str, alias: str) -> ModelVersion | None:
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        # Stores differ in what they call an alias that is not there, or whose version is gone.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
