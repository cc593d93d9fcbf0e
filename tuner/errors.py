"""The exceptions that Glassy raises on purpose.

GlassyError                    exit status
├── UserError                  2   a mistake in what was asked for; nothing has been changed
│   ├── ConfigError            2   a key of the configuration
│   ├── DataError              2   a data set or an image file
│   ├── ModelError             2   what the model function returned
│   └── StudyError             2   a study that exists, is held, or was made with other settings
├── UnavailableError           1   a server or a download that does not answer
├── SearchFailed               1   a search that cannot continue
│   ├── NoRoom                 1   the system refuses to write a file
│   ├── NoMemory               1   there is not enough memory
│   ├── FolderGone             1   the study's folder was removed while it ran
│   └── ChildDied              1   a process of ours that was killed, or ended by itself
├── InfeasibleTrial            -   these values cannot work: recorded, and the search continues
│   └── ConstraintBroken       -   their model breaks a constraint, and is not trained
└── TrialStopped               -   the trial was ended: nobody can use its result
"""

import errno
import re
from collections.abc import Mapping
from pathlib import Path


class GlassyError(Exception):
    """Base of everything Glassy raises on purpose; its text is one message for a person."""

    exit_status = 1


class UserError(GlassyError):
    """What was asked for cannot be done as asked."""

    exit_status = 2


class ConfigError(UserError):
    """A key of the configuration is unknown, of the wrong type or out of range."""


class DataError(UserError):
    """A data set or an image file cannot be used."""


class ModelError(UserError):
    """The model function did not return what it must."""


class StudyError(UserError):
    """The study's name or folder does not allow what was asked."""


class UnavailableError(GlassyError):
    """Something outside this machine does not answer."""


class SearchFailed(GlassyError):
    """The search cannot continue."""


class NoRoom(SearchFailed):
    """The system refuses to write a file; the search can be resumed once there is room."""

    def __init__(self, refusal: str) -> None:
        super().__init__(
            f"A file could not be written ({refusal.rstrip('.')}). Make room, and give the "
            f"same command again: no finished trial is lost."
        )


class NoMemory(SearchFailed):
    """There is not enough memory for what was asked, or for the libraries that do it."""

    def __init__(self, error: BaseException, to_do: str = "for this") -> None:
        said = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
        super().__init__(
            f"There is not enough memory {to_do} ({said.rstrip('.')}). Raise this process's "
            f"limit (ulimit -v unlimited), close other programs, or give it less to do."
        )


class ChildDied(SearchFailed):
    """A child process that did part of the work was killed, or ended by itself."""


class FolderGone(SearchFailed):
    """Somebody has removed the study's folder, or put another in its place."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"The study's folder {folder} was removed or replaced while the study ran, so the "
            f"study was stopped. Put the folder back and give the same command again to resume "
            f"it; without the folder, the same command starts the study over."
        )


class InfeasibleTrial(GlassyError):
    """These values cannot work; the trial is recorded as failed and the search continues."""


class ConstraintBroken(InfeasibleTrial):
    """A model breaks a constraint, as was known before it was trained.

    Args:
        broken: Which one, and how.
        of_model: What was measured of the model.
    """

    def __init__(self, broken: str, of_model: Mapping[str, float]) -> None:
        super().__init__(broken)
        self.of_model = of_model


class TrialStopped(GlassyError):
    """The trial was ended before its last epoch because the study cannot use its result."""


def refusal_to_write(error: BaseException) -> str | None:
    """Return how the system refused to write a file, if that is what caused an error.

    Args:
        error: The error; its causes are searched too. SQLite and NumPy report a refusal by
            text only.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, NoRoom | FolderGone):
            return None
        if isinstance(cause, OSError) and cause.errno in _REFUSALS:
            return str(cause)
        for line in str(cause).splitlines():
            if any(re.search(words, line) for words in _REFUSALS_IN_WORDS):
                return line
        cause = cause.__cause__ or cause.__context__
    return None


def wants_memory(error: BaseException) -> bool:
    """Say whether an error comes from a lack of memory, whichever library raised it.

    Args:
        error: The error; its causes are searched too.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError) or re.search(_WANTS_OF_MEMORY, str(cause)):
            return True
        if isinstance(cause, OSError) and cause.errno == errno.ENOMEM:
            return True
        cause = cause.__cause__ or cause.__context__
    return False


_WANTS_OF_MEMORY = (
    r"OOM when allocating|[Oo]ut of memory|[Uu]nable to allocate|[Cc]annot allocate memory"
    r"|[Cc]an't start new thread|failed to map segment|std::bad_alloc|RESOURCE_EXHAUSTED"
    # oneDNN's wording.
    r"|could not create a (primitive|memory)"
)
_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
_REFUSALS_IN_WORDS = (
    "database or disk is full",
    "disk I/O error",
    r"\d+ requested and \d+ written",
)
