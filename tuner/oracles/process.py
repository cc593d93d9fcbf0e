"""The oracle in its own process.

Keras Tuner imports TensorFlow. In a child of the process that imports it for the workers, the
oracle is ready as soon as they are, while the driver imports MLflow; and proposals are computed
in one place, whatever the executor.
"""

import contextlib
import logging
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tuner.config.searches import SearchConfig
from tuner.config.space import Space
from tuner.errors import SearchFailed
from tuner.outcomes import Told
from tuner.runtime import forkserver, relay, tensorflow_setup
from tuner.trial import Metrics, Objective, Proposal, Pruned, Values


class OracleProcess:
    """A `JournaledOracle` in a child process, and the facts about it that the driver needs.

    Args:
        search: Entry of the oracle, with its options.
        space: What is searched, without what the oracle sets itself.
        objective: What it is to improve.
        seed: Of its proposals, in `[0, 2**31)`.
        journal: File of the search's questions and answers so far; made when missing.
        earlier: Those of the study's earlier searches, in their order.
        first: Points that are tried first, whole.
        log_file: Gets all that the oracle prints.

    Attributes:
        num_trials: See `JournaledOracle.num_trials`.
        rounds: See `JournaledOracle.rounds`.
        num_told: Number of trials that have ended or paused, successfully or not.
        values: Values of every trial proposed before the process started.
        tags: Tags that are recorded for each besides its values.
        scores: The objective of every trial that completed or paused before, in the order in
            which they did.
        curves: The objective after each epoch of those that completed, where that is known.
        repeats: The objective of each training of those that have several.
        pruned: What a pruner decided before, by trial.
        paused: The epochs of every trial that was paused at a rung before.
        standings: The scores of all trials that had reached a rung before, by rung.

    Raises:
        StudyError: If the journal was written by an oracle that answers differently.
    """

    def __init__(
        self,
        search: SearchConfig,
        space: Space,
        objective: Objective,
        seed: int,
        journal: Path,
        earlier: Sequence[Path],
        first: Sequence[Values],
        log_file: Path,
    ) -> None:
        self._child = forkserver.start(
            _serve,
            search,
            space,
            objective,
            seed,
            journal,
            earlier,
            first,
            log_file=log_file,
        )
        begun: dict[str, Any] = self._receive()
        self.num_trials: int | None = begun["num_trials"]
        self.rounds: list[tuple[int, int]] | None = begun["rounds"]
        self.num_told: int = begun["num_told"]
        self.values: dict[str, Values] = begun["values"]
        self.tags: dict[str, Mapping[str, str]] = begun["tags"]
        self.scores: dict[str, float] = begun["scores"]
        self.measured: dict[str, Metrics] = begun["measured"]
        self.paused: dict[str, int] = begun["paused"]
        self.standings: dict[int, dict[str, float]] = begun["standings"]
        self._counted = set(self.scores)
        self.curves: dict[str, Sequence[float]] = begun["curves"]
        self.repeats: dict[str, Sequence[float]] = begun["repeats"]
        self.pruned: dict[str, Pruned] = begun["pruned"]

    @property
    def pid(self) -> int | None:
        """The process's id."""
        return self._child.process.pid

    def ask(self) -> Proposal | None:
        """Return the next trial to run, or None: see `JournaledOracle.ask`."""
        proposal: Proposal | None = self._call("ask")
        return proposal

    def tell(self, trial_id: str, told: Told) -> None:
        """Say how a trial ended, once it is written down: see `JournaledOracle.tell`."""
        self._call("tell", trial_id, told)
        self.num_told += trial_id not in self._counted
        self._counted.add(trial_id)

    def prune(self, trial_id: str, decision: Pruned) -> None:
        """Write a pruner's decision down: see `JournaledOracle.prune`."""
        self._call("prune", trial_id, decision)

    def close(self) -> None:
        """End the process."""
        self._child.connection.close()
        self._child.process.join()

    def _call(self, *question: object) -> Any:
        # If the other end is closed already, reading the answer will show it.
        with contextlib.suppress(OSError):
            self._child.connection.send(question)
        return self._receive()

    def _receive(self) -> Any:
        while True:
            try:
                kind, content = self._child.connection.recv()
            except (EOFError, OSError) as error:
                raise SearchFailed(
                    "The oracle's process has died; the study's tune.log may say why. No "
                    "finished trial is lost: give the same command again to resume."
                ) from error
            if kind == "answer":
                return content
            if kind == "error":
                raise content
            logging.getLogger(content.name).handle(content)


def _serve(
    connection: Connection,
    search: SearchConfig,
    space: Space,
    objective: Objective,
    seed: int,
    journal: Path,
    earlier: Sequence[Path],
    first: Sequence[Values],
) -> None:
    """Answer the driver until it hangs up."""
    relay.log_to(lambda record: connection.send(("log", record)), logging.DEBUG)
    try:
        # Keras Tuner imports it too, but this reports any fault in one message.
        tensorflow_setup.import_tensorflow()
        from tuner.oracles.journal import JournaledOracle

        oracle = JournaledOracle(search, space, objective, seed, journal, earlier, first)
        answer: object = {
            "num_trials": oracle.num_trials,
            "rounds": oracle.rounds,
            "num_told": oracle.num_told,
            "values": oracle.values,
            "tags": oracle.tags,
            "scores": dict(oracle.scores),
            "measured": oracle.measured,
            "paused": dict(oracle.paused),
            "standings": oracle.standings,
            "curves": oracle.curves,
            "repeats": oracle.repeats,
            "pruned": oracle.pruned,
        }
        while True:
            connection.send(("answer", answer))
            name, *arguments = connection.recv()
            answer = getattr(oracle, name)(*arguments)
    except EOFError:
        return
    except Exception as error:
        connection.send(("error", error))
