"""The machine and the software that the figures were measured with."""

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

from benchmarks.rows import ROOT

PACKAGES = ("tensorflow", "keras", "mlflow", "keras-tuner", "tensorboard", "optuna", "ray")
"""The packages whose versions are reported."""

_ASK = """
import importlib.metadata, json
found = {d.name.lower(): d.version for d in importlib.metadata.distributions()}
print(json.dumps(found))
"""


def cpu() -> str:
    """Return the processor's name, as the kernel has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def versions(environments: Iterable[Path]) -> dict[str, str]:
    """Return the versions of Python and of `PACKAGES` in these environments.

    If versions differ between environments, all are listed.
    """
    found: dict[str, set[str]] = {package: set() for package in PACKAGES}
    for environment in set(environments):
        python = environment / "bin" / "python"
        if not python.exists():
            # The environment could not be made: its rows will fail, and say so.
            continue
        answer = subprocess.run([python, "-c", _ASK], stdout=subprocess.PIPE, check=True)
        for package, version in json.loads(answer.stdout).items():
            if package in found:
                found[package].add(version)
    listed = {name: " and ".join(sorted(seen)) for name, seen in found.items() if seen}
    return {"python": platform.python_version(), **listed}


def digest() -> str:
    """Return a digest of the code that is measured and the code that measures it."""
    sha = hashlib.sha256()
    for folder, pattern in (("tuner", "*.py"), ("conf", "*.yaml"), ("benchmarks", "*.py")):
        for path in sorted((ROOT / folder).rglob(pattern)):
            sha.update(path.read_bytes())
    return sha.hexdigest()[:32]
