"""`python -m tuner.search`: search hyperparameters, record every trial, promote the best."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import shutil
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from tuner import names, passwords
from tuner.errors import DataError, FolderGone, ModelError
from tuner.runtime import interrupt
from tuner.runtime.background import Background
from tuner.runtime.screen import RelayedScreen, Screen, own_screen

if TYPE_CHECKING:
    from pathlib import Path

    from omegaconf import DictConfig

    from tuner.config.schema import StudyConfig
    from tuner.driver.given import Given
    from tuner.driver.parts import Parts
    from tuner.driver.preflight import Ready
    from tuner.driver.study_folder import StudyFolder

# Everything heavy is imported where it is needed: --help and --cfg answer at once. So is Hydra,
# because every child process of a study imports this module, the driver's main one, again.

logger = logging.getLogger("tuner.search")


@dataclasses.dataclass(frozen=True)
class Searched:
    """Where a study is that was searched.

    Attributes:
        name: The study's name.
        uri: Address of its store, with its password; None for the default.
    """

    name: str
    uri: str | None


def main(composed: DictConfig) -> None:
    """Run one study, or resume it."""
    search(composed, own_screen())


def search(composed: DictConfig, screen: Screen, given: Given | None = None) -> Searched:
    """Run one study, or resume it, and say so.

    Args:
        composed: The configuration, as Hydra composes it.
        screen: Where to say it.
        given: What the study is given as objects; None if by its configuration alone.
    """
    from tuner.config import printed_commands
    from tuner.config.compose import load

    config = load(composed)
    from tuner.driver import study_folder
    from tuner.driver.given import Given

    kept = given or Given()
    name = config.study or study_folder.make_name(config)
    arguments = kept.overrides(printed_commands.arguments(), name)
    config = kept.placed(config, name)
    try:
        screen.say(f"study {name}")
        with kept.importable(study_folder.EXPERIMENTS_DIR / name):
            _search(config, name, arguments, screen, kept)
    except (KeyboardInterrupt, Exception) as error:
        if isinstance(error, KeyboardInterrupt) or interrupt.is_cause_of(error):
            if given is None:
                how = printed_commands.resume(arguments, None if config.study else name)
            else:
                how = f'tuner.run_study(…, study="{name}"), with the same arguments'
            screen.say(f"Interrupted. To resume after the last finished trial:\n  {how}")
            if passwords.STARS in how:
                screen.say(f"  (with the password in place of {passwords.STARS})")
        raise
    return Searched(name, config.tracking.uri)


def _search(
    config: StudyConfig, name: str, arguments: list[str], screen: Screen, given: Given
) -> None:
    """Run a study, unless it is finished."""
    from tuner.curves import identity
    from tuner.driver import finished, preflight, study_folder
    from tuner.runtime.logs import logging_to, native_noise_to

    # Nothing that is shown or written from here on contains a password.
    uri, hidden = config.tracking.uri, passwords.hide(config.tracking.uri or "")
    config = dataclasses.replace(
        config, tracking=dataclasses.replace(config.tracking, uri=hidden or None)
    )
    existing = study_folder.find(name, config)
    if existing is not None and existing.state.finished is not None:
        given.check_same_data(existing)
        if existing.state.was_stopped:
            screen.say("It was stopped before its budget was used, and is resumed.")
        elif identity.reopens(existing.told):
            screen.say(f"It was finished, and is resumed with {existing.said_of_told}.")
        elif missing := finished.find_missing(config, uri, existing):
            screen.say(f"It was finished, but {missing}: repairing it.")
        else:
            for line in finished.lines(config, uri, existing):
                screen.say(line)
            return
    # As early as possible, because it takes longest and runs beside all that follows.
    preflight.begin_imports()
    from tuner.driver.progress import STARTING, waiting_for

    screen.show(waiting_for(STARTING))
    try:
        is_new = existing is None or existing.changes_search
        ready = preflight.check(config, uri, screen, given.data, is_new)
        with (
            study_folder.hold(name, config, arguments, ready.identity) as held,
            logging_to(screen, held.log_file),
            native_noise_to(held.log_file),
        ):
            given.keep(held)
            _run_held(config, ready, held, screen)
    finally:
        screen.show(None)


def _run_held(config: StudyConfig, ready: Ready, held: StudyFolder, screen: Screen) -> None:
    """Run a study in its folder, and print its closing lines."""
    from tuner.driver import assembly
    from tuner.tracking import tracking_store

    parts: Parts | None = None
    # Meanwhile, the oracle and the workers start.
    drawing = Background(assembly.draw_data, ready.data, held)
    try:
        with assembly.assembled(config, ready, held, screen) as parts:
            lines = _run(config, ready, parts, screen, drawing)
        held.state.finished = lines
        held.save_state()
        # Saved first: whatever is printed is on disk by then.
        for line in lines:
            logger.info("%s", line)
    except KeyboardInterrupt:
        logger.debug("Interrupted.")
        raise
    except (DataError, ModelError):
        has_ended = parts is None or parts.oracle.num_told or parts.tracker.finished_trials()
        if parts is not None and not has_ended:
            # No trial has ended: free the name for the command that the user corrects.
            parts.tracker.withdraw()
            shutil.rmtree(held.path, ignore_errors=True)
        raise
    except Exception as error:
        logger.debug("The search failed.", exc_info=True)
        if not isinstance(error, FolderGone):
            # Otherwise the message would name the first file that was missing.
            held.check_held()
            tracking_store.check_kept(ready.client)
        error.add_note(f"The traceback is in {held.log_file}.")
        raise


def _run(
    config: StudyConfig, ready: Ready, parts: Parts, screen: Screen, drawing: Background[Path]
) -> list[str]:
    """Search, promote, and return the closing lines."""
    from tuner.driver import assembly, conclusion, finalists
    from tuner.driver.progress import JUDGING, waiting_for
    from tuner.wording import plural

    notices = config.search.notices(config.whole_space(), parts.oracle.num_trials)
    for notice in (*notices, *ready.notices):
        logger.info("%s", notice)
    if parts.oracle.num_told:
        logger.info("Resuming after %s.", plural(parts.oracle.num_told, "finished trial"))
    assembly.open_records(config, ready, parts, drawing.result())
    status = "FAILED"
    try:
        loop = assembly.make_loop(config, parts)
        loop.run()
        parts.folder.state.was_stopped = loop.was_stopped
        searched = conclusion.best_of(loop)
        display = functools.partial(finalists.progress, config, parts, screen)
        num_images = ready.data.num_scored
        best = finalists.train(config, parts, loop, display, num_images) or searched
        screen.show(waiting_for(JUDGING))
        challenger = conclusion.challenger_of(config, parts, loop, best)
        promoted = conclusion.judge(config, ready, parts, challenger)
        loop.finish()
        epochs = parts.folder.path / names.EPOCHS
        # A study of an earlier version may have nothing left to train.
        if epochs.exists():
            parts.tracker.log_file(epochs)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        parts.tracker.close_study(status)
    lines = conclusion.closing_lines(config, ready, parts, loop, best, challenger, promoted)
    screen.show(None)
    return lines


def serve(connection: Connection) -> None:
    """Run one study for `tuner.run_study`, in a process of its own.

    Args:
        connection: Receives the overrides and a `Given`. Sends `("say", …)` and `("show", …)`
            (see `RelayedScreen`), and last `("searched", Searched)`, `("interrupted", None)` or
            `("failed", Failure)`. When the other process closes its end, the study is
            interrupted.
    """
    from tuner.cli import application
    from tuner.cli.faults import Failure
    from tuner.config.schema import StudyConfig

    # The other process decides what an interrupt means, and sends SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    overrides, given = connection.recv()
    sys.argv[:] = ["run_study", *overrides]
    sending = threading.Lock()

    def send(message: tuple[str, Any]) -> None:
        # If nobody listens any more, `_end_with` sees that and interrupts the study.
        with sending, contextlib.suppress(OSError):
            connection.send(message)

    answers: list[tuple[str, Any]] = []

    def command(composed: DictConfig) -> None:
        answers.append(("searched", search(composed, RelayedScreen(send), given)))

    def fail(error: Exception) -> None:
        answers.append(("failed", Failure.of(application.understood(error))))

    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    try:
        try:
            application.call(command, "config", StudyConfig, fail)
        except Exception as error:
            fail(error)
    except KeyboardInterrupt:
        answers.append(("interrupted", None))
    # From here on, a closed connection only means that the answer has been read.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    send(answers[-1])


def _end_with(connection: Connection) -> None:
    """Interrupt this process when the other end of a connection is closed."""
    with contextlib.suppress(EOFError, OSError):
        connection.recv()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    from tuner.cli import application
    from tuner.config.schema import StudyConfig

    application.run(main, "config", StudyConfig)
