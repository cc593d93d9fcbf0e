"""McNemar's exact test: whether two models that see the same images differ by chance alone."""

from typing import Literal


def p_value(
    only_first: int, only_second: int, alternative: Literal["greater", "two-sided"]
) -> float:
    """Return the probability of at least this difference if the models were equally good.

    Under the null hypothesis, an image that only one of the two gets right is equally likely
    to be either one's. McNemar, "Note on the sampling error of the difference between
    correlated proportions or percentages", Psychometrika 1947.

    Args:
        only_first: Number of images that only the first model gets right.
        only_second: Number of images that only the second one gets right.
        alternative: `greater` asks whether the first is better, `two-sided` whether they
            differ.

    Returns:
        A probability; 1 if they get the same images right.
    """
    # Not imported at the top: it takes 0.6 s, and most commands test nothing.
    from scipy.stats import binomtest

    alone = only_first + only_second
    if not alone:
        return 1.0
    return float(binomtest(only_first, alone, 0.5, alternative=alternative).pvalue)


def adjusted(p_values: list[float]) -> list[float]:
    """Return p-values of several tests, adjusted so that they hold for all of them at once.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 1979: `[0.01, 0.04, 0.03]` becomes `[0.03, 0.06, 0.06]`.

    Args:
        p_values: One per test, in any order.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    result, least = list(p_values), 0.0
    for rank, place in enumerate(order):
        least = min(max(least, (len(order) - rank) * p_values[place]), 1.0)
        result[place] = least
    return result
