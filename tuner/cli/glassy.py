"""`glassy <command> …`: the commands of Glassy under one name.

`glassy search study=first` is `python -m tuner.search study=first`.
"""

import runpy
import sys
from collections.abc import Mapping, Sequence

from tuner.wording import did_you_mean

COMMANDS: Mapping[str, str] = {
    "search": "search hyperparameters, record every trial, promote the best",
    "watch": "open a page that shows a study while it runs",
    "stop": "end a study that runs, or one of its trials, with what it has",
    "simulate": "see which search would have needed fewer epochs for a study's best",
    "report": "write a study's report, or compare several studies",
    "promote": "let a study's best trial, or any trial, become champion; roll back",
    "predict": "predict the classes of image files",
    "explore": "look at a data set before searching on it",
    "delete": "delete a study: its runs, models, files and folder",
    "demo": "open a page to draw on, and see what the champion makes of it",
}
"""Every command with what it does; each is a module of `tuner`."""

_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the first argument names; `glassy --help` lists all.

    Args:
        arguments: What was typed after `glassy`; `sys.argv[1:]` if None.

    Raises:
        SystemExit: With the command's exit status, or 2 if there is no such command.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        print(_help())
        sys.exit(0)
    name, *rest = given
    if name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS, "`glassy {}`")
        sys.stderr.write(
            f"Error: `glassy` must be followed by one of {', '.join(COMMANDS)}, but got "
            f"{name!r}.{hint}\n"
        )
        sys.exit(_USAGE)
    sys.argv[1:] = rest
    runpy.run_module(f"tuner.{name}", run_name="__main__", alter_sys=True)


def _help() -> str:
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:{width}}  {what}" for name, what in COMMANDS.items())
    return (
        f"glassy <command> [key=value …]\n\n{listed}\n\n"
        f"glassy <command> --help shows what a command takes."
    )
