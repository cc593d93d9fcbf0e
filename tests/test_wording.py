"""Parts of sentences are correct whatever is inserted into them."""

import pytest

from tuner import wording


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("No experiment with id=77."), "No experiment with id=77"),
        (ValueError("\n  first \nsecond"), "first"),
        (ValueError("Go on . . ."), "Go on"),
        (KeyError("name"), "'name'"),
        (ValueError(" "), "ValueError"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_first_line_fits_into_a_sentence(error: Exception, expected: str) -> None:
    assert wording.first_line(error) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 trials"), (1, "1 trial"), (2, "2 trials"), (1200, "1,200 trials")],
)
def test_plural_agrees_with_its_count(count: int, expected: str) -> None:
    assert wording.plural(count, "trial") == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 MB"),
        (1, "under 0.1 MB"),
        (99_999, "under 0.1 MB"),
        (100_000, "0.1 MB"),
        (1_234_560_000, "1,234.6 MB"),
    ],
)
def test_megabytes_never_say_nothing_of_something(size: int, expected: str) -> None:
    assert wording.megabytes(size) == expected


def test_searched_values_come_first_in_their_order() -> None:
    values = {"epochs": 4, "layers": 2, "units_1": 8, "batch_size": 32}
    shown = wording.searched_first(values, {"units_1", "layers", "other"})
    assert list(shown.items()) == [
        ("layers", 2), ("units_1", 8), ("epochs", 4), ("batch_size", 32),
    ]  # fmt: skip
