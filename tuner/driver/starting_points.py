"""The starting points of a search, those of another study among them, before it starts."""

import logging

import mlflow

from tuner.config import starting_points
from tuner.config.schema import StudyConfig
from tuner.config.starting_points import BEST_OF, NUM_BEST, study_named
from tuner.driver.study_folder import id_of_folder
from tuner.errors import ConfigError
from tuner.tracking import history
from tuner.tracking.facts import StudyFacts
from tuner.trial import Values
from tuner.wording import plural

logger = logging.getLogger(__name__)


def find(client: mlflow.MlflowClient, config: StudyConfig, digest: str) -> list[Values]:
    """Return the points that a search tries first, each whole.

    Args:
        client: Client of the tracking store.
        config: The study's configuration.
        digest: Digest of its data.

    Raises:
        ConfigError: If they are the best of a study that is unknown, has other data, or has
            no finished trial in the space.
    """
    search, space = config.search, config.searched_space()
    name = study_named(search.first)
    if name is None:
        return starting_points.given_points(search, space, config.seed)
    other = _find_study(client, name)
    if other.data is None or other.data.digest != digest:
        theirs = "other data" if other.data is None else f"{other.data.name}, digest "
        theirs += "" if other.data is None else other.data.digest
        raise ConfigError(
            f"`search.first={BEST_OF}{name}` must name a study on the same data, but it "
            f"searched on other data ({theirs}; here {config.data.name}, digest {digest}): its "
            f"best values need not be good here. To try them, list them in search.first."
        )
    trials = history.trials(client, other.experiment_id, other.study_id)
    ranked = history.ranked(trials, other.objective, other.constraints)[:NUM_BEST]
    points = [starting_points.whole_point(trial.values, search, space) for trial in ranked]
    inside = [point for point in points if point is not None]
    if not inside:
        raise ConfigError(
            f"`search.first={BEST_OF}{name}`: that study has "
            f"{plural(len(ranked), 'finished trial')} among its best, none of them in the "
            f"space of this search. Widen the space, or list points in search.first."
        )
    if len(inside) < len(points):
        logger.info(
            "Of the best trials of study %s, %d of %d lie in this space and are tried first.",
            name,
            len(inside),
            len(points),
        )
    return inside


def _find_study(client: mlflow.MlflowClient, name: str) -> StudyFacts:
    """Return the study of that name: the one whose folder is here, or the only one."""
    runs = history.studies(client, history.experiments(client))
    named = [facts for facts in map(history.read_study, runs) if facts.name == name]
    here = id_of_folder(name)
    found = [facts for facts in named if facts.study_id == here] or named
    if len(found) == 1:
        return found[0]
    what = "several studies of that name" if found else "no such study"
    known = ", ".join(dict.fromkeys(str(history.read_study(run).name) for run in runs[:10]))
    raise ConfigError(
        f"`search.first={BEST_OF}{name}` must name one study of this tracking store, which has "
        f"{what}. The latest: {known or 'none'}."
    )
