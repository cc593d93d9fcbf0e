"""`python -m tuner.stop`: end a study that runs, or one of its trials, with what it has."""

from omegaconf import DictConfig

from tuner.cli import application
from tuner.config.compose import load_stop
from tuner.config.schema import StopConfig
from tuner.escapes import message
from tuner.runtime import terminal


def main(composed: DictConfig) -> None:
    """Ask a study that runs to end, or one of its trials."""
    config = load_stop(composed)
    # Imported here: --help and --cfg answer at once.
    from tuner.study import stopping
    from tuner.tracking import tracking_store

    client = tracking_store.connect_to_existing(config.tracking.uri)
    study = stopping.find_running(client, config.study)
    if config.trial is None:
        said = stopping.stop_study(client, study, config.now)
    else:
        said = stopping.stop_trial(client, study, config.trial)
    terminal.console(soft_wrap=True).print(message(said))


if __name__ == "__main__":
    application.run(main, "commands/stop", StopConfig)
