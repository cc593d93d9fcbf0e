"""A power cut on a real ext4 file system: a few of the moments of `make powercut-ext4`."""

import io

import pytest
from rich.console import Console

from torture import ext4


@pytest.mark.long
def test_power_cut_loses_nothing_that_was_told() -> None:
    if (missing := ext4.obstacle()) is not None:
        pytest.skip(missing)
    printed = io.StringIO()
    wrong = ext4.powercut(2, 0, Console(file=printed, soft_wrap=True, markup=False))
    assert wrong == [], printed.getvalue()
