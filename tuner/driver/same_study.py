"""Whether a command resumes the study in a folder, or would make another study of it."""

import logging
from dataclasses import asdict
from pathlib import Path

from tuner.config.engine import SLOW_ON_CPU, slow_here
from tuner.config.schema import StudyConfig
from tuner.curves.identity import Change, Identity, differing, is_of_search, plain_store
from tuner.driver import stored_settings
from tuner.driver.study_state import StudyState
from tuner.errors import StudyError

logger = logging.getLogger(__name__)

_WAYS_OUT = (
    "Give another name, or overwrite=true to delete the earlier study's folder; its runs stay "
    "in MLflow."
)


def check_settings(
    folder: Path, state: StudyState, name: str, config: StudyConfig
) -> dict[str, Change]:
    """Compare the settings of a command with those that a study was made with.

    Args:
        folder: The study's folder.
        state: Its state.
        name: Its name.
        config: What it is told now.

    Returns:
        Settings that differ and may: before and now, by key.

    Raises:
        StudyError: If others differ, or the stored ones cannot be read.
    """
    before = stored_settings.flat(folder)
    if before is None:
        # They will be written; the journal knows what the trials were made with.
        return {}
    after = stored_settings.flat_now(config)
    if state.store is not None:
        # Compares what `null` stood for, in case MLFLOW_TRACKING_URI has changed.
        before["tracking.uri"] = state.store
        after["tracking.uri"] = plain_store(config.tracking.uri)
    refused, allowed = differing(before, after)
    if config.extend:
        allowed |= {key: change for key, change in refused.items() if is_of_search(key)}
        refused = {key: change for key, change in refused.items() if key not in allowed}
    if refused:
        said = "; ".join(f"{key}: was {old}, now {new}" for key, (old, new) in refused.items())
        way = ""
        if all(map(is_of_search, refused)):
            way = " Give extend=true to search on with these; the earlier trials stay its own."
        raise StudyError(f"study={name} exists with other settings ({said}).{way} {_WAYS_OUT}")
    return allowed


def check_identity(
    state: StudyState, name: str, config: StudyConfig, identity: Identity
) -> None:
    """Compare what the settings stand for now with what they stood for at the start.

    Args:
        state: The study's state, in which the versions are noted that the user agrees to.
        name: Its name.
        config: What it is told now; `extend` agrees to other versions.
        identity: What the settings stand for now.

    Raises:
        StudyError: If that has changed.
    """
    if state.identity is None:
        state.identity = asdict(identity)
        return
    begun = Identity(**state.identity)
    if changed := identity.changes_since(begun):
        raise StudyError(
            f"study={name} cannot be resumed, since its trials would not be comparable. "
            f"Changed since it was started: {'; '.join(changed)}. Undo that. {_WAYS_OUT}"
        )
    _check_engine(state, name, config, identity)
    if identity.versions in (begun.versions, *state.accepted):
        return
    last = state.accepted[-1] if state.accepted else begun.versions
    said = ", ".join(
        f"{'Glassy engine' if name == 'engine' else name} {last.get(name)} is now {now}"
        for name, now in identity.versions.items()
        if last.get(name) != now
    )
    if not config.extend:
        raise StudyError(
            f"study={name} was started with other versions ({said}), so its next trials may "
            f"differ from the earlier ones in more than their values. Give extend=true to "
            f"resume it with these versions, or reinstall the earlier ones."
        )
    logger.warning("Resuming with other versions, as extend=true allows: %s.", said)
    state.accepted.append(identity.versions)


def _check_engine(
    state: StudyState, name: str, config: StudyConfig, identity: Identity
) -> None:
    """Refuse trials that would be too slow by the engine that a study has begun with.

    Raises:
        StudyError: If there may be some.
    """
    found = slow_here(config, identity.environment["devices"])
    if state.engine == "xla" and found is not None:
        raise StudyError(
            f"study={name} trains by XLA (training.engine), which was chosen when no trial of "
            f"it could have {found[0]}: {SLOW_ON_CPU}, and all trials of a study share an "
            f"engine. Leave that out, or give another name for a study of its own."
        )
