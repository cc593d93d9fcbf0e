"""Runs `docs/tutorial.ipynb` again, and keeps what it shows: `make tutorial`.

The notebook is run in an empty folder, so that what it searches for is searched for anew.
"""

import contextlib
import itertools
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_output

NOTEBOOK = Path(__file__).with_name("tutorial.ipynb")
_CELL_SECONDS = 600


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Run all cells of a notebook in a folder; they get their outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell fails.
    """
    client = NotebookClient(
        notebook,
        timeout=_CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
    )
    # `!python …` in a cell is the Python that the notebook runs in.
    here = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    client.execute(env={**os.environ, "PATH": here})


def _whole(outputs: Sequence[NotebookNode]) -> Iterator[NotebookNode]:
    """Yield a cell's outputs, its lines as one, without what was drawn while a study ran."""
    for name, several in itertools.groupby(
        (output for output in outputs if output.get("data", {}).get("text/html") != ""),
        key=lambda output: output.get("name"),
    ):
        if name is None:
            yield from several
        else:
            yield new_output("stream", name=name, text="".join(o["text"] for o in several))


def main() -> None:
    """Run the notebook, and write it back with its outputs."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        execute(notebook, Path(folder))
    for cell in notebook.cells:
        cell.metadata.clear()
        if cell.cell_type == "code":
            cell.outputs = list(_whole(cell.outputs))
    notebook.metadata = {
        key: notebook.metadata[key] for key in ("kernelspec",) if key in notebook.metadata
    }
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
