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
