"""The client that waits for a locked database does so in every method that is called."""

import ast
from pathlib import Path

from mlflow import MlflowClient

import tuner
from tuner.tracking.patient_client import PatientClient

METHODS = {name for name in vars(MlflowClient) if not name.startswith("_")}


def called_methods() -> set[str]:
    """Return the methods of MLflow's client that Glassy names, after a client of any name."""
    found: set[str] = set()
    for path in Path(tuner.__file__).parent.rglob("*.py"):
        if path.stem == "patient_client":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_method = isinstance(node, ast.Attribute) and node.attr in METHODS
            if is_method and ast.unparse(node.value).endswith("client"):
                found.add(node.attr)
    return found - {"tracking_uri"}


def test_patient_client_has_patience_in_every_method_that_is_called() -> None:
    patient = {name for name in vars(PatientClient) if not name.startswith("_")}
    assert patient == called_methods()
    assert len(patient) > 30
