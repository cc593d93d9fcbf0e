"""What a user should know of a search before its first trial."""

from collections.abc import Iterator

from tuner.config.schema import BayesianConfig, HyperbandConfig, StudyConfig
from tuner.wording import plural


def notices(config: StudyConfig, num_trials: int | None) -> Iterator[str]:
    """Yield what is worth saying of a search that is about to begin, a sentence or two each.

    Args:
        config: The study's.
        num_trials: Trials of the whole search, or None where nobody knows.
    """
    search = config.search
    if isinstance(search, HyperbandConfig) and "epochs" in config.space:
        yield (
            f"Hyperband sets the epochs itself ({', '.join(map(str, search.epochs))}; "
            f"search.max_epochs={search.max_epochs}): space.epochs is not searched."
        )
    budget = search.max_trials
    if budget is not None and num_trials is not None and num_trials < budget:
        holder = "The space has " + plural(num_trials, "point")
        if isinstance(search, HyperbandConfig):
            holder = "Hyperband's brackets hold " + plural(num_trials, "trial")
        yield f"{holder}, so the search ends before search.max_trials={budget}."
    if isinstance(search, BayesianConfig) and num_trials is not None:
        num_random = search.initial_points(len(config.searched_space().searched))
        if num_trials <= num_random:
            yield (
                f"All trials of this search ({num_trials:,}) are random: search=bayesian "
                f"begins with {num_random:,} random ones before its model proposes any. Give "
                f"search.max_trials above {num_random:,}, or fewer search.num_initial_points."
            )
