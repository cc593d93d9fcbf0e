"""The key `search.finalists`."""

import pytest

from support.configs import loaded
from tuner.config.finalists import Finalists
from tuner.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("null", None),
        ("auto", Finalists(3, 3, is_asked=False)),
        ("{}", Finalists(3, 3, is_asked=True)),
        ("{trials: 2}", Finalists(2, 3, is_asked=True)),
        ("{trials: 5, seeds: 1}", Finalists(5, 1, is_asked=True)),
    ],
)
def test_finalists_are_read(given: str, expected: Finalists | None) -> None:
    assert loaded(f"search.finalists={given}").search.wanted_finalists == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("always", "`search.finalists` must be auto, null, or a mapping such as"),
        ("3", "must be auto, null, or a mapping such as {trials: 3, seeds: 3}, but got 3."),
        ("true", "must be auto, null, or a mapping"),
        ("[3,3]", "must be auto, null, or a mapping"),
        ("{trials: 1}", "`search.finalists.trials` must be at least 2, but got 1."),
        ("{seeds: 0}", "`search.finalists.seeds` must be at least 1, but got 0."),
        ("{seeds: 2.5}", "`search.finalists.seeds` must be a whole number, but got 2.5."),
        ("{trials: true}", "`search.finalists.trials` must be a whole number, but got True."),
        ("{trials: null}", "`search.finalists.trials` must be a whole number, but got None."),
        ("{seed: 3}", "`search.finalists.seed` is not a key of the configuration. Known here: "
         "trials, seeds. Did you mean `search.finalists.seeds`?"),
        ("{is_asked: true}", "`search.finalists.is_asked` is not a key"),
    ],
)  # fmt: skip
def test_finalists_that_cannot_be_are_refused(given: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(f"search.finalists={given}")
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("given", "num_trials", "is_said"),
    [
        ("{trials: 3}", 1, True),
        ("{trials: 3}", 2, False),
        ("auto", 1, False),
        ("null", 1, False),
    ],
)
def test_finalists_of_one_trial_are_said_to_be_none(
    given: str, num_trials: int, is_said: bool
) -> None:
    config = loaded(f"search.finalists={given}", f"search.max_trials={num_trials}")
    said = " ".join(config.search.notices(config.whole_space(), num_trials))
    assert ("nothing to compare it with" in said) == is_said
