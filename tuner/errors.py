"""The exceptions that Glassy raises on purpose.

GlassyError                    exit status
├── UserError                  2   a mistake in what was asked for; nothing has been changed
│   ├── ConfigError            2   a key of the configuration
│   ├── DataError              2   a data set or an image file
│   ├── ModelError             2   what the model function returned
│   └── StudyError             2   a study that exists, is held, or was made with other settings
├── UnavailableError           1   a server or a download that does not answer
├── SearchFailed               1   a search that cannot go on
├── InfeasibleTrial            -   these values cannot work: recorded, and the search goes on
└── TrialStopped               -   the trial was asked to stop: time is up
"""


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
    """The search cannot go on."""


class InfeasibleTrial(GlassyError):
    """These values cannot work; the trial is recorded as failed and the search goes on."""


class TrialStopped(GlassyError):
    """The trial was stopped before its last epoch because time is up."""
