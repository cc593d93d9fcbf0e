"""`python -m tuner.search`: search hyperparameters, record every trial, promote the best."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from tuner import passwords
from tuner.cli import application
from tuner.config import printed_commands
from tuner.config.compose import load
from tuner.config.schema import StudyConfig
from tuner.errors import DataError, FolderGone, ModelError
from tuner.runtime import interrupt, terminal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from tuner.driver.loop import Parts
    from tuner.driver.preflight import Ready
    from tuner.driver.study_folder import StudyFolder

# Everything heavy is imported where it is needed: --help and --cfg answer at once.

logger = logging.getLogger("tuner.search")


def main(composed: DictConfig) -> None:
    """Run one study, or resume it."""
    config = load(composed)
    from tuner.driver import study_folder

    arguments = printed_commands.arguments()
    name = config.study or study_folder.make_name(config)
    console = terminal.console(soft_wrap=True)
    try:
        console.print(f"study {name}")
        _search(config, name, arguments, console)
    except (KeyboardInterrupt, Exception) as error:
        if isinstance(error, KeyboardInterrupt) or interrupt.is_cause_of(error):
            command = printed_commands.resume(arguments, None if config.study else name)
            console.print(f"Interrupted. To resume after the last finished trial:\n  {command}")
            if passwords.STARS in command:
                console.print(f"  (with the password in place of {passwords.STARS})")
        raise


def _search(config: StudyConfig, name: str, arguments: list[str], console: Console) -> None:
    """Run a study, unless it is finished."""
    from tuner.curves import identity
    from tuner.driver import finished, preflight, study_folder
    from tuner.driver.progress import shown_while_starting
    from tuner.runtime.logs import logging_to, native_noise_to

    # Nothing that is shown or written from here on contains a password.
    uri, shown = config.tracking.uri, passwords.hide(config.tracking.uri or "")
    config = dataclasses.replace(
        config, tracking=dataclasses.replace(config.tracking, uri=shown or None)
    )
    existing = study_folder.find(name, config)
    if existing is not None and existing.state.finished is not None:
        if existing.state.was_stopped:
            console.print("It was stopped before its budget was used, and is resumed.")
        elif identity.reopens(existing.told):
            console.print(
                f"It was finished, and is resumed with {existing.said_of_told}.", markup=False
            )
        elif missing := finished.find_missing(config, uri, existing):
            console.print(f"It was finished, but {missing}: repairing it.", markup=False)
        else:
            for line in finished.lines(config, uri, existing):
                console.print(line, markup=False)
            return
    with shown_while_starting(console) as waiting:
        is_new = existing is None or existing.changes_search
        ready = preflight.check(config, uri, console, is_new)
        with (
            study_folder.hold(name, config, arguments, ready.identity) as held,
            logging_to(console, held.log_file),
            native_noise_to(held.log_file),
        ):
            _run_held(config, ready, held, console, waiting)


def _run_held(
    config: StudyConfig, ready: Ready, held: StudyFolder, console: Console, waiting: Status
) -> None:
    """Run a study in its folder, and print its closing lines."""
    from tuner.driver import assembly
    from tuner.tracking import tracking_store

    parts: Parts | None = None
    try:
        with assembly.assembled(config, ready, held, console) as parts:
            lines = _run(config, ready, parts, waiting)
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


def _run(config: StudyConfig, ready: Ready, parts: Parts, waiting: Status) -> list[str]:
    """Search, promote, and return the closing lines."""
    from tuner.driver import assembly, conclusion
    from tuner.wording import plural

    for notice in config.search.notices(config.whole_space(), parts.oracle.num_trials):
        logger.info("%s", notice)
    if parts.oracle.num_told:
        logger.info("Resuming after %s.", plural(parts.oracle.num_told, "finished trial"))
    assembly.open_records(config, ready, parts)
    status = "FAILED"
    try:
        loop = assembly.make_loop(config, parts)
        waiting.stop()
        loop.run()
        waiting.update("Judging the best model, and writing the report")
        if waiting.console.is_terminal:
            waiting.start()
        best = conclusion.best_of(loop)
        promoted = conclusion.judge(config, ready, parts, best)
        loop.finish()
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        parts.tracker.close_study(status)
    lines = conclusion.closing_lines(config, ready, parts, loop, best, promoted)
    parts.folder.state.was_stopped = loop.was_stopped
    waiting.stop()
    return lines


if __name__ == "__main__":
    application.run(main, "config", StudyConfig)
