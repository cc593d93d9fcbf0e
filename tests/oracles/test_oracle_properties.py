"""What is true of every grid, and of every study that is interrupted at any time."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.spaces import Given, parsed, points_of, spaces, written
from tuner.config.searches import (
    AshaConfig,
    GridConfig,
    HyperbandConfig,
    RandomConfig,
    SearchConfig,
)
from tuner.oracles.journal import JournaledOracle
from tuner.outcomes import Told
from tuner.trial import Objective, Proposal

OBJECTIVE = Objective("val_accuracy", "max")
SMALL = spaces().filter(lambda space: len(points_of(space)) <= 30)


@settings(max_examples=60)
@given(SMALL)
def test_grid_proposes_every_point_once(space: Given) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder, "oracle.jsonl")
        oracle = JournaledOracle(GridConfig("grid"), parsed(space), OBJECTIVE, 0, journal)
        tried = []
        while (proposal := oracle.ask()) is not None:
            tried.append(written(dict(proposal.values)))
            oracle.tell(proposal.trial_id, Told(0.5))
    assert len(tried) == oracle.num_trials == parsed(space).size()
    assert set(tried) == {written(point) for point in points_of(space)}
    assert len(set(tried)) == len(tried)


# A study resumes after an interrupt as if there had been none.

ASK = "ask"
Tell = tuple[int, float | None]
"""Which of the trials in flight ends, counted around, and its score if it has one."""

STEPS = st.lists(
    st.just(ASK) | st.tuples(st.integers(0, 3), st.none() | st.floats(0, 1)), max_size=20
)
SPACE: Mapping[str, Any] = {
    "epochs": 1,
    "batch_size": [16, 32],
    "layers": [1, 2],
    "units": [8, 16],
    "kind": ["a", None, True],
}
RATE = {"rate": {"min": 1e-4, "max": 1e-2, "log": True}}


@dataclass
class Asked:
    """An oracle, and which of its trials are in flight."""

    oracle: JournaledOracle
    in_flight: list[Proposal] = field(default_factory=list)

    def take(self, step: str | Tell) -> Proposal | None:
        """Ask or tell, and return what is proposed."""
        if isinstance(step, str):
            proposal = self.oracle.ask()
            if proposal is not None:
                self.in_flight.append(proposal)
            return proposal
        if self.in_flight:
            which, score = step
            ended = self.in_flight.pop(which % len(self.in_flight))
            self.oracle.tell(ended.trial_id, Told(score))
        return None


def state(oracle: JournaledOracle) -> tuple[Any, ...]:
    return (
        {trial_id: written(dict(values)) for trial_id, values in oracle.values.items()},
        dict(oracle.tags),
        list(oracle.scores.items()),
        oracle.num_told,
        oracle.num_trials,
    )


def reopened(asked: Asked, make: Callable[[], JournaledOracle]) -> Asked:
    """Open the journal as a new process does, which first asks for what was in flight."""
    oracle = make()
    again = Asked(oracle)
    assert state(oracle) == state(asked.oracle)
    assert oracle.num_asked == asked.oracle.num_asked - len(asked.in_flight)
    for expected in asked.in_flight:
        assert again.take(ASK) == expected
    again.in_flight = list(asked.in_flight)
    return again


@pytest.mark.parametrize(
    ("search", "space"),
    [
        (RandomConfig("random", max_trials=8), {**SPACE, **RATE}),
        (GridConfig("grid"), SPACE),
        (GridConfig("grid", max_trials=5), SPACE),
        # A few points, so that the oracle soon proposes all of them.
        (RandomConfig("random", max_trials=8), {"epochs": 1, "batch_size": [8, 16, 32]}),
        (HyperbandConfig("hyperband", max_epochs=3, reduction_factor=3), SPACE),
        (AshaConfig("asha", max_trials=8, sampler="random", max_epochs=3), SPACE),
    ],
    ids=["random", "grid", "short grid", "small space", "hyperband", "asha"],
)
@settings(max_examples=80)
@given(steps=STEPS, seed=st.integers(0, 2**31 - 1), data=st.data())
def test_oracle_is_resumed_from_any_prefix_of_its_journal(
    search: SearchConfig, space: Given, steps: list[str | Tell], seed: int, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole, cut = Path(folder, "whole.jsonl"), Path(folder, "cut.jsonl")
        for journal in (whole, cut):
            journal.touch()

        searched = parsed(space)
        if search.sets_epochs:
            searched = searched.without("epochs")

        def make(journal: Path) -> JournaledOracle:
            return JournaledOracle(search, searched, OBJECTIVE, seed, journal)

        num_before = data.draw(st.integers(0, len(steps)), label="steps before the kill")
        asked = Asked(make(whole))
        for step in steps[:num_before]:
            asked.take(step)
        kept = whole.read_bytes()
        cut.write_bytes(kept + data.draw(st.sampled_from([b"", b"{", b'{"ask": "00'])))
        again = reopened(asked, lambda: make(cut))
        assert cut.read_bytes() == kept
        for step in [*steps[num_before:], *[ASK] * 3]:
            assert again.take(step) == asked.take(step)
        assert state(again.oracle) == state(asked.oracle)
        assert cut.read_bytes() == whole.read_bytes()
