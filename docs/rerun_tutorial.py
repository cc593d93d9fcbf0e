"""Runs `docs/tutorial.ipynb` again, and keeps what it shows: `make tutorial`.

The notebook is run in an empty folder, so that what it searches for is searched for anew.
"""

import contextlib
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

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


def _is_empty(output: NotebookNode) -> bool:
    """Say whether an output was drawn while a study ran, and is empty now that it has ended."""
    return "data" in output and output["data"].get("text/html") == ""


def main() -> None:
    """Run the notebook, and write it back with its outputs."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        execute(notebook, Path(folder))
    for cell in notebook.cells:
        cell.metadata.clear()
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_empty(output)]
    notebook.metadata = {
        key: notebook.metadata[key] for key in ("kernelspec",) if key in notebook.metadata
    }
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
