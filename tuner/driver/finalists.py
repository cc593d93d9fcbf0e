"""Trains the best trials of a search again with new seeds, and names the winner by these alone.

The score of the best of many trials is the luckiest one: a seed that did well is part of why it
is the best. New seeds took no part in that. The tracking store is the record of the finalists:
one that has been trained is found there again by trial and seed, whether a process was killed
in between or the study was extended, and all decisions follow from the scores.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from tuner import names
from tuner.driver.forecast import Forecast
from tuner.driver.loop import TrialLoop
from tuner.driver.parts import Best
from tuner.driver.progress import Progress
from tuner.driver.pruning import Pruning
from tuner.driver.stopping import Stopping
from tuner.driver.trainings import TrainingRules
from tuner.evaluation.racing import Race
from tuner.evaluation.ties import find_ties
from tuner.outcomes import Told, TrialFailure
from tuner.tracking import json_tags
from tuner.trial import Metrics, Objective, Proposal, Pruned, Values, finalist_seed
from tuner.wording import plural

if TYPE_CHECKING:
    from tuner.config.finalists import Finalists
    from tuner.config.schema import StudyConfig
    from tuner.driver.parts import Display, LoopParts
    from tuner.driver.ranking import Ranked
    from tuner.runtime.screen import Screen

logger = logging.getLogger(__name__)


class FinalistSource:
    """The source of the loop's trainings, round by round; see `TrialSource`.

    A round trains each remaining finalist with one new seed. One that fails leaves, and so does
    one that is clearly worse. The source ends when one is left, or the seeds are used up.

    Args:
        finalists: The values of each, by trial, in the order of the search's ranking.
        objective: What the search improves.
        seeds: The new seeds.
    """

    def __init__(
        self, finalists: Mapping[str, Values], objective: Objective, seeds: Sequence[int]
    ) -> None:
        self.values: Mapping[str, Values] = {}
        self.tags: Mapping[str, Mapping[str, str]] = {}
        self.scores: Mapping[str, float] = {}
        self.paused: Mapping[str, int] = {}
        self.standings: Mapping[int, Mapping[str, float]] = {}
        self.curves: Mapping[str, Sequence[float]] = {}
        self.repeats: Mapping[str, Sequence[float]] = {}
        self.measured: Mapping[str, Metrics] = {}
        self.pruned: Mapping[str, Pruned] = {}
        self.num_told = 0
        self.num_trials = len(finalists) * len(seeds)
        self.rounds = None
        self._finalists = finalists
        self._objective = objective
        self._seeds = seeds
        self._remaining = list(finalists)
        self._scores: dict[str, list[float]] = {trial_id: [] for trial_id in finalists}
        self._num_rounds = 0
        self._waiting: deque[Proposal] = deque()
        self._open: dict[str, str] = {}
        self._told: dict[str, float | None] = {}
        self._begin_round()

    @property
    def race(self) -> Race | None:
        """The whole rounds so far; None if there is none, or all finalists failed."""
        if not self._num_rounds:
            return None
        scores = {trial_id: tuple(found) for trial_id, found in self._scores.items()}
        return Race(self._objective, tuple(self._seeds[: self._num_rounds]), scores)

    def ask(self) -> Proposal | None:
        """Return the next training; None if all are done or the round is under way."""
        return self._waiting.popleft() if self._waiting else None

    def tell(self, trial_id: str, told: Told) -> None:
        """Take note of a finalist's score under the seed of the round, if it has one."""
        self.num_told += 1
        self._told[self._open.pop(trial_id)] = told.score
        if not self._open:
            self._end_round()

    def prune(self, trial_id: str, decision: Pruned) -> None:
        """See `TrialSource.prune`: nothing prunes a finalist."""

    def _begin_round(self) -> None:
        seed, number = self._seeds[self._num_rounds], self._num_rounds + 1
        self._told = {}
        for trial_id in self._remaining:
            name = names.finalist_name(trial_id, number)
            tags = {names.FINALIST_OF: trial_id, names.SEED: str(seed)}
            self._open[name] = trial_id
            self._waiting.append(Proposal(name, self._finalists[trial_id], tags, seed=seed))

    def _end_round(self) -> None:
        scores = {t: score for t, score in self._told.items() if score is not None}
        if not scores:
            return
        for trial_id, score in scores.items():
            self._scores[trial_id].append(score)
        self._num_rounds += 1
        # In the order of the ranking, not in that in which they ended.
        self._remaining = [trial_id for trial_id in self._remaining if trial_id in scores]
        if self._num_rounds < len(self._seeds):
            self._leave()
            if len(self._remaining) > 1:
                self._begin_round()

    def _leave(self) -> None:
        """Let those leave that are clearly worse."""
        race = self.race
        assert race is not None
        worse = race.clearly_worse(len(self._seeds))
        self._remaining = [t for t in self._remaining if t not in worse]
        for trial_id in sorted(worse):
            logger.info(
                "Finalist %s (mean %.4f) is clearly worse than %s (mean %.4f) after %s: it is "
                "not trained any more.",
                trial_id,
                race.mean(trial_id),
                race.winner,
                race.mean(race.winner),
                plural(self._num_rounds, "seed"),
            )


class FinalistLoop(TrialLoop):
    """The search's loop, over finalists: their scores rank no curve and end no search."""

    kind: ClassVar[str] = names.KIND_FINALIST

    def _note_completed(self, trial_id: str, values: Values, metrics: Metrics) -> bool:
        """Name no best trial: the race does that, once a round is over."""
        return False

    def _keeps_model(self, metrics: Metrics) -> bool:
        """Keep all that may be kept: which seed is the median one is known at the end."""
        return self._log_models != "none"

    def _log_state(self) -> None:
        """Leave what the study's run says of its search."""

    def _judge_failure(self, failure: TrialFailure) -> None:
        """Let a finalist that has failed leave: the study has its trials."""
        if failure.kind != "stopped":
            self._tell(failure.trial_id, {})


def train(
    config: StudyConfig,
    parts: LoopParts,
    searched: TrialLoop,
    display: Callable[[FinalistSource], Display],
    num_validation: int | None,
) -> Best | None:
    """Train the finalists of a search that is over, and record which has won.

    Args:
        config: The study's configuration.
        parts: The parts of the search; its study's run is open.
        searched: The search.
        display: Makes what shows their trainings; see `progress`.
        num_validation: Number of validation images; None if unknown.

    Returns:
        The winner, with its median seed's model; None if no finalists were trained, or none to
        the end of a round.
    """
    wanted = config.search.wanted_finalists
    if wanted is None or searched.was_stopped:
        return None
    chosen = choose(searched.ranking.ranked(), config.objective, wanted, num_validation)
    if not chosen:
        return None
    said = ", ".join(trial.trial_id for trial in chosen)
    if parts.deadline is not None and parts.clock.now() >= parts.deadline:
        logger.info("The best trials (%s) are not trained again: no time is left.", said)
        return None
    logger.info(
        "The best trials (%s) are indistinguishable on the validation images: each is trained "
        "again with up to %s.",
        said,
        plural(wanted.seeds, "new seed"),
    )
    seeds = [finalist_seed(config.seed, number + 1) for number in range(wanted.seeds)]
    values = {trial.trial_id: trial.values for trial in chosen}
    source = FinalistSource(values, config.objective, seeds)
    loop = _make_loop(config, parts.for_finalists(source, display(source)))
    loop.run()
    if loop.was_stopped:
        parts.folder.state.was_stopped = True
    race = source.race
    if race is None:
        logger.warning("No winner is named by new seeds, since no finalist was trained.")
        return None
    parts.tracker.log_study({}, json_tags.as_tags(names.FINALISTS, race.encode()))
    return _winner(parts, race, chosen)


def choose(
    ranked: Sequence[Ranked],
    objective: Objective,
    wanted: Finalists,
    num_validation: int | None,
) -> list[Ranked]:
    """Return the trials to train again, the best first; none if nothing is to be told apart.

    Args:
        ranked: The trials that may be the best, best first.
        objective: What it improves.
        wanted: How many are trained at most.
        num_validation: Number of validation images; None if unknown.
    """
    if len(ranked) < 2:
        return []
    best = ranked[0]
    metrics = {trial.trial_id: trial.metrics for trial in ranked}
    ties = find_ties(best.trial_id, metrics, objective, num_validation)
    if ties is None:
        return list(ranked[: wanted.trials]) if wanted.is_asked else []
    tied = [trial for trial in ranked if trial.trial_id in ties.trial_ids]
    return [best, *tied[: wanted.trials - 1]] if tied else []


def progress(
    config: StudyConfig, parts: LoopParts, screen: Screen, source: FinalistSource
) -> Progress:
    """Return the display of a study's finalists.

    Args:
        config: The study's configuration.
        parts: The parts of the search.
        screen: Where to show it.
        source: The source of their trainings.
    """
    space = config.searched_space()
    return Progress(
        screen,
        config.objective,
        space.searched,
        source.num_trials,
        # Fewer may be trained than there are at most, so the time left is not known.
        Forecast(space, None, parts.oracle.rounds, False, config.curves.reuse),
        parts.deadline,
        parts.executor.capacity,
        parts.clock,
        "finalist",
    )


def _make_loop(config: StudyConfig, parts: LoopParts) -> FinalistLoop:
    return FinalistLoop(
        parts,
        TrainingRules(
            config.objective,
            config.seed,
            max_trial_minutes=config.search.max_trial_minutes,
        ),
        config.tracking.models_kept,
        Stopping(config.objective, None, None),
        Pruning(None, config.objective, parts.oracle, parts.tracker),
    )


def _winner(parts: LoopParts, race: Race, chosen: Sequence[Ranked]) -> Best:
    [trial] = [trial for trial in chosen if trial.trial_id == race.winner]
    name = names.finalist_name(race.winner, race.median)
    return Best(
        trial_id=race.winner,
        values=trial.values,
        score=race.scores[race.winner][race.median - 1],
        metrics=parts.tracker.metrics(name),
        run_id=parts.tracker.run_of(name),
        race=race,
        searched=trial.score,
    )
