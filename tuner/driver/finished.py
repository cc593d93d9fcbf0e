"""A finished study that is run once more: what still holds, and what was lost."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tuner.errors import GlassyError

if TYPE_CHECKING:
    from tuner.config.schema import StudyConfig
    from tuner.driver.study_folder import StudyFolder

logger = logging.getLogger(__name__)


def find_missing(config: StudyConfig, uri: str | None, existing: StudyFolder) -> str | None:
    """Say which part of a finished study is lost or damaged, if that can be determined.

    Args:
        config: The study's configuration.
        uri: The tracking store's address, with its password.
        existing: The study's folder.
    """
    from tuner.driver import checkup
    from tuner.tracking import tracking_store

    try:
        tracking_store.check_is_there(uri)
    except GlassyError:
        return "the tracking store that it was recorded in is gone"
    try:
        client = tracking_store.connect_to_existing(uri)
        missing = checkup.find_missing(client, config, existing.state.study_id)
    except GlassyError as error:
        logger.debug("Could not check whether everything is still there: %s", error)
        return None
    if missing is None and (blank := existing.blank):
        verb = "is" if len(blank) == 1 else "are"
        return f"its {' and '.join(blank)} {verb} missing or empty in {existing.path}"
    return missing


def lines(config: StudyConfig, uri: str | None, existing: StudyFolder) -> Iterator[str]:
    """Yield what to print for a finished study that is complete, line by line.

    Args:
        config: The study's configuration, as given now.
        uri: The tracking store's address, with its password.
        existing: The study's folder.
    """
    from tuner.tracking import standing

    yield "It is finished: there is nothing left to train."
    if changed := _changed_sources(existing):
        yield (
            f"The model's sources have changed since ({', '.join(changed)}). The results below "
            f"are those of the earlier sources; to search with the new ones, give another "
            f"study=…."
        )
    state = existing.state
    yield from standing.summary(
        uri, state.study_id, config.registry.alias, state.finished or ()
    )


def _changed_sources(existing: StudyFolder) -> list[str]:
    from tuner.curves.fingerprint import changed_on_disk

    environment = (existing.state.identity or {}).get("environment", {})
    return changed_on_disk(environment.get("sources", {}))
