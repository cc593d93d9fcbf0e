"""Where things lie, and how the processes that tests start find them."""

import os
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
CONF = ROOT / "conf"

MNIST = ROOT.parent / "shared" / "data" / "mnist.npz"
"""The real MNIST, which is not part of the project."""


def with_support(*folders: Path, **variables: str) -> dict[str, str]:
    """Return an environment in which Python finds `support`.

    Args:
        folders: Further folders of modules.
        variables: What else differs from the environment of this process.
    """
    path = [str(folder) for folder in (TESTS, *folders)]
    if inherited := os.environ.get("PYTHONPATH"):
        path.append(inherited)
    return {**os.environ, **variables, "PYTHONPATH": os.pathsep.join(path)}
