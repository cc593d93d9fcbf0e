"""`python -m tuner.delete`: delete a study's runs, models, files and folder."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from omegaconf import DictConfig

from tuner import passwords
from tuner.cli import application
from tuner.config.compose import load_delete
from tuner.config.printed_commands import program, word
from tuner.config.schema import DeleteConfig
from tuner.errors import ConfigError
from tuner.escapes import message
from tuner.runtime import terminal
from tuner.wording import megabytes, plural

if TYPE_CHECKING:
    import mlflow

    from tuner.study.belongings import Belongings, Place

KEPT = "Nothing was deleted."


def main(composed: DictConfig) -> None:
    """Show what belongs to a study, ask, and delete it."""
    config = load_delete(composed)
    from tuner.study import belongings, deletion
    from tuner.tracking import tracking_store

    uri = config.tracking.uri
    client = tracking_store.connect_to_existing(uri)
    console = terminal.console(soft_wrap=True)
    place = belongings.locate(client, uri, config.study)
    with deletion.held(client, place):
        study = belongings.gather(client, place)
        given = [] if uri is None else [f"tracking.uri={passwords.hide(uri)}"]
        deletion.check_unused(client, study, given)
        console.print(message("\n  ".join(_listed(place, study))))
        if not (config.yes or _agrees()):
            console.print(KEPT)
            return
        with console.status("Deleting"):
            left = deletion.delete(client, study)
    said = [f"Deleted study {study.name}.", *_remaining(client, place, study, left)]
    console.print(message("\n  ".join(said)))


def _listed(place: Place, study: Belongings) -> Iterator[str]:
    """Say what belongs to a study, and how much room it takes."""
    from tuner.tracking import history

    origin = ""
    if place.run is not None:
        facts = history.read_study(place.run)
        began = datetime.datetime.fromtimestamp(facts.began)
        origin = f", begun on {began:%Y-%m-%d at %H:%M} by {facts.owner or 'somebody'},"
    yield f"Study {study.name}{origin} has"
    yield f"{plural(len(study.active), 'run')} in MLflow, {_size(study.run_bytes)}"
    yield f"{plural(len(study.models), 'logged model')}, {_size(study.model_bytes)}"
    for version in study.versions:
        yield f"{version.name} version {version.version} in the registry, without an alias"
    if study.folder is not None:
        size = study.folder_bytes + study.curve_bytes
        yield f"{study.folder}, {_size(size)}, of which {_size(study.curve_bytes)} are curves"


def _size(size: int | None) -> str:
    return "whose files are on a server" if size is None else megabytes(size)


def _agrees() -> bool:
    """Ask on the terminal whether to delete it.

    Raises:
        ConfigError: If there is no terminal.
    """
    if not sys.stdin.isatty():
        raise ConfigError(f"There is no terminal to ask on: give yes=true to delete it. {KEPT}")
    try:
        answer = input("Delete all of it? Its files cannot be restored. [y/N] ")
    except EOFError:
        return False
    return answer.strip().lower() in ("y", "yes")


def _remaining(
    client: mlflow.MlflowClient, place: Place, study: Belongings, left: Sequence[str]
) -> Iterator[str]:
    """Say what is still there, and how to remove it."""
    from tuner.tracking import history

    if study.own:
        records = (
            "MLflow's database keeps the records of the runs and models, without their files, "
            "and shows them as deleted"
        )
        uri = passwords.hide(client.tracking_uri)
        if urlsplit(uri).scheme in ("http", "https"):
            yield f"{records}, until `mlflow gc` is run on its server."
        else:
            yield f"{records}. To remove them, with all else that was deleted there:"
            options = f"--backend-store-uri {word(uri)} --tracking-uri {word(uri)}"
            yield f"  {program('mlflow')} gc {options}"
    if left:
        more = f" and {len(left) - 1:,} more" if len(left) > 1 else ""
        yield (
            f"Files in {left[0]}{more} are still there: their store removes none, or they lie "
            f"outside the folder of the database."
        )
    if study.folder is not None and study.folder.exists():
        names = ", ".join(entry.name for entry in sorted(study.folder.iterdir()))
        yield f"{study.folder} is still there, since Glassy did not write all of it: {names}."
    if study.folder is None and place.run is not None:
        where = history.read_study(place.run).folder
        yield f"Its folder stays, in {where or 'an unknown place'}: give the command there."


if __name__ == "__main__":
    application.run(main, "commands/delete", DeleteConfig)
