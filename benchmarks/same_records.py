"""Compare the studies recorded by two versions of Glassy, bit for bit.

    python -m benchmarks.same_records <project folder> <project folder>

Run the same searches with both versions, in separate folders. Values, statuses, metrics of
every epoch and weights must be the same; times, paths and identifiers may differ.
"""

import argparse
import hashlib
import io
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from tuner import names
from tuner.tracking import history, tracking_store
from tuner.tracking.checksums import MODEL_FILE
from tuner.tracking.logged_models import artifacts, logged_model_id

MAY_DIFFER = {
    names.CURVE, names.FOLDER, names.STUDY_ID, names.FILES, names.IDENTITY, names.VERSIONS,
    names.PARENT, names.USER,
}  # fmt: skip
"""Tags that hold folders, versions or random identifiers."""


def main(folders: list[Path]) -> int:
    """Print the differences between two folders' studies, and return their number."""
    first, second = (records(folder) for folder in folders)
    differing = [
        f"{kind} {key}: {first.get(key, {}).get(kind)!r} and {second.get(key, {}).get(kind)!r}"
        for key in sorted(first.keys() | second.keys())
        for kind in ("status", "params", "metrics", "tags", "weights")
        if first.get(key, {}).get(kind) != second.get(key, {}).get(kind)
    ]
    for line in differing:
        print(line)
    with_weights = sum(record["weights"] is not None for record in first.values())
    print(f"{len(first)} and {len(second)} runs, {with_weights} with weights: "
          f"{len(differing)} differences")  # fmt: skip
    return len(differing)


def records(folder: Path) -> dict[tuple[str, ...], Mapping[str, Any]]:
    """Return what the runs in a project's folder have recorded, by study, kind and trial."""
    client = tracking_store.connect_to_existing(f"sqlite:///{folder.resolve()}/mlflow.db")
    runs = history.pages(
        client.search_runs, experiment_ids=history.experiments(client), max_results=1000
    )
    return {
        tuple(run.data.tags.get(tag, "") for tag in (names.STUDY, names.KIND, names.TRIAL)): {
            "status": run.info.status,
            "params": run.data.params,
            "metrics": _metrics(client, run),
            "tags": {
                key: value
                for key, value in run.data.tags.items()
                if key not in MAY_DIFFER and not key.startswith("mlflow.")
            },
            "weights": _weights(client, run),
        }
        for run in runs
    }


def _metrics(client: mlflow.MlflowClient, run: Run) -> dict[str, list[tuple[int, float]]]:
    """Return each metric's values by step, except for times."""
    return {
        name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
        if "seconds" not in name
    }


def _weights(client: mlflow.MlflowClient, run: Run) -> str | None:
    """Return a digest of the weights of a run's model; None if it has logged none."""
    import h5py

    try:
        model = client.get_logged_model(logged_model_id(client, run.info.run_id))
    except MlflowException:
        return None
    path = artifacts(client, model.artifact_location).download_artifacts(MODEL_FILE)
    digest = hashlib.sha256()

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            digest.update(name.encode() + item[()].tobytes())

    # The archive holds the time when it was made, so only the weights are compared.
    with zipfile.ZipFile(path) as archive:
        h5py.File(io.BytesIO(archive.read("model.weights.h5"))).visititems(add)
    return digest.hexdigest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs=2, type=Path)
    sys.exit(main(parser.parse_args().folders) > 0)
