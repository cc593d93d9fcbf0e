"""How likely more trials beat the best score: known probabilities, and made-up searches."""

import numpy as np
import pytest

from tuner.evaluation.prospects import MIN_SCORES, chance_of_gain


@pytest.mark.parametrize(
    ("num_scores", "num_more", "expected"),
    [(5, 5, 0.5), (20, 20, 0.5), (9, 1, 0.1), (30, 10, 0.25), (10, 90, 0.9)],
)
def test_any_gain_has_the_chance_of_a_record(
    num_scores: int, num_more: int, expected: float
) -> None:
    # The best of n + m exchangeable draws is among the last m with probability m / (n + m).
    scores = np.random.default_rng(0).normal(size=num_scores).tolist()
    assert chance_of_gain(scores, num_more, 0.0) == pytest.approx(expected, abs=2e-3)


def test_later_half_counts_for_an_oracle_that_learns() -> None:
    scores = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
    # Five draws and ten more; all ten would be ten and ten.
    assert chance_of_gain(scores, 10, 0.0, learns=True) == pytest.approx(2 / 3, abs=2e-3)
    assert chance_of_gain(scores, 10, 0.0) == pytest.approx(1 / 2, abs=2e-3)
    # A best score of the earlier half has to be beaten, too.
    early = [0.99, *scores[1:]]
    assert chance_of_gain(early, 10, 0.0, learns=True) < 0.6


def test_larger_gain_is_less_likely_and_more_trials_are_more_likely() -> None:
    scores = np.random.default_rng(1).normal(size=12).tolist()
    by_gain = [chance_of_gain(scores, 10, gain) for gain in (0.0, 0.1, 0.5, 2.0, 50.0)]
    assert by_gain == sorted(by_gain, reverse=True)
    assert by_gain[-1] < 0.01
    by_number = [chance_of_gain(scores, number, 0.1) for number in (1, 5, 20, 1000)]
    assert by_number == sorted(by_number)
    assert all(0 <= chance <= 1 for chance in (*by_gain, *by_number))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_chance_does_not_depend_on_the_unit(scale: float) -> None:
    scores = np.random.default_rng(2).normal(size=12)
    expected = chance_of_gain(scores.tolist(), 10, 0.3)
    scaled = chance_of_gain((scores * scale - 7 * scale).tolist(), 10, 0.3 * scale)
    assert scaled == pytest.approx(expected)


def test_scores_without_any_spread_promise_nothing() -> None:
    assert chance_of_gain([0.5] * 8, 8, 0.001) == 0.0
    assert chance_of_gain([0.1, 0.5, 0.5, 0.5, 0.2, 0.3], 6, 0.001) == 0.0


@pytest.mark.parametrize(
    ("draw", "gain"),
    [("exponential", 0.1), ("exponential", 0.5), ("normal", 0.1), ("normal", 0.5)],
)
def test_chance_is_about_as_often_true_as_it_says(draw: str, gain: float) -> None:
    """Of made-up searches with 20 trials and 20 more."""
    drawn = np.random.default_rng(3)
    chances, happened = [], []
    for _ in range(400):
        scores = getattr(drawn, draw)(size=40)
        spread = gain * scores.std()
        chances.append(chance_of_gain(scores[:20].tolist(), 20, spread))
        happened.append(scores[20:].max() > scores[:20].max() + spread)
    # Two standard errors of 400 searches are 0.05, and a normal tail ends sooner.
    assert abs(np.mean(chances) - np.mean(happened)) < 0.08


@pytest.mark.parametrize("num_scores", [0, 1, MIN_SCORES - 1])
def test_too_few_scores_are_refused(num_scores: int) -> None:
    with pytest.raises(ValueError, match=f"at least {MIN_SCORES}, but are {num_scores}"):
        chance_of_gain([0.5] * num_scores, 5, 0.001)
