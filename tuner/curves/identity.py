"""What makes a study the same study, and what may change when it is resumed.

A study is compared in two ways. First its settings are compared, before anything is loaded;
`differing` allows changes that do not affect results. Then `Identity` compares what the
settings stand for: the images, the model's sources, the engine. Results under two different
identities would not be comparable, so resuming is refused if it differs.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner import passwords
from tuner.curves.fingerprint import Environment

if TYPE_CHECKING:
    from tuner.datasets import ImageData

_MAX_TAG = 5000

NOT_SETTINGS = ("overwrite", "extend")
"""Keys that say what to do with a study rather than what it is: they are not recorded."""


def _any(_: object) -> None:
    """Make all values equal."""
    return None


def _is_some(value: object) -> bool:
    return bool(value)


def plain_store(uri: str | None) -> str:
    """Return the address of a tracking store in a canonical form.

    A user's name, a password and a trailing slash do not distinguish two stores. The path of an
    SQLite file below the current folder is relative to it, so that the folder may be moved.

    Args:
        uri: The configured address; None for `MLFLOW_TRACKING_URI` or, if that is not set,
            `sqlite:///mlflow.db`.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    # The result is written to the study's folder.
    uri = passwords.hide(uri)
    address, _, query = uri.partition("?")
    kept = "&".join(part for part in query.split("&") if part and not part.endswith("=***"))
    scheme, colon, rest = address.partition("://")
    if scheme.partition("+")[0] == "sqlite" and colon:
        address = f"sqlite:///{_from_here(rest.removeprefix('/'))}"
    elif scheme == "file" and colon:
        address = f"file://{_from_here(rest)}"
    elif colon:
        # Split at the last @, since a password may contain others.
        address = f"{scheme}://{rest.rpartition('@')[2].rstrip('/')}"
    else:
        address = f"file://{_from_here(address)}" if not _has_scheme(address) else address
    return f"{address}?{kept}" if kept else address


def _has_scheme(address: str) -> bool:
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", address) is not None


def _from_here(path: str) -> str:
    here, real = Path.cwd().resolve(), Path(path).expanduser().resolve()
    return str(real.relative_to(here) if real.is_relative_to(here) else real)


Change = tuple[object, object]
"""A setting as it was, and as it is now."""


@dataclass(frozen=True)
class MayChange:
    """A setting that may differ when a study is resumed.

    Attributes:
        why: Why a study with another value is the same study.
        compared_by: What of the value may not differ; `_any` where all of it may.
        reopens: Whether a finished study that is given another value has something to do.
    """

    why: str
    compared_by: Callable[[Any], object] = _any
    reopens: bool = False


_BUDGET = MayChange("a budget says when a study ends, not what its trials are", reopens=True)

MAY_CHANGE: Mapping[str, MayChange] = {
    "study": MayChange("the study was found by it"),
    "search.max_trials": _BUDGET,
    "search.max_minutes": _BUDGET,
    "search.max_trial_minutes": MayChange("it ends later trials, and no earlier one"),
    "search.patience": _BUDGET,
    "search.target": _BUDGET,
    "search.finalists": MayChange(
        "they come after the search, and change no trial", reopens=True
    ),
    "model.custom_objects": MayChange("a permission to load changes no training"),
    "data.path": MayChange(
        "a folder may be named in many ways; the digest of the images decides"
    ),
    "executor.name": MayChange("a trial computes the same wherever it runs"),
    "executor.workers": MayChange(
        "order never changes a result, nor does how many run at once"
    ),
    "executor.retries": MayChange("a trial that is retried computes the same"),
    "executor.address": MayChange("a trial computes the same on any cluster"),
    "executor.cpus": MayChange(
        "it places trials; the threads that compute are executor.threads"
    ),
    "executor.gpus": MayChange(
        "how many is of no account, but not whether there is one", _is_some
    ),
    "curves.keep": MayChange("it says what is kept once all is over", reopens=True),
    "curves.max_mb": MayChange("a curve that was removed is trained again, to the same bits"),
    "curves.every_seconds": MayChange(
        "a training that was resumed equals one that never stopped"
    ),
    "registry.*": MayChange(
        "it says what becomes of the best model, not how one is trained", reopens=True
    ),
    "tracking.log_models": MayChange("it says which models are kept", reopens=True),
    "tracking.uri": MayChange("one store may be written in many ways", plain_store),
}
"""Settings that may differ when a study is resumed. All others may not.

`<group>.*` stands for every key of a group.
"""


_ADDED: Mapping[str, object] = {
    "training.early_stopping": None,
    "training.reduce_on_plateau": None,
    "training.class_weight": None,
    "training.callbacks": None,
    "search.finalists": None,
    "search.pruner": None,
    "search.constraints": None,
    "search.repeats": 1,
    "data.folds": None,
}
"""Settings that studies of earlier versions do not have, with what they stood for then."""


def differing(
    before: Mapping[str, object], after: Mapping[str, object]
) -> tuple[dict[str, Change], dict[str, Change]]:
    """Compare the settings of a study with those it is to be resumed with.

    Args:
        before: The settings given last, flat.
        after: The settings given now, flat.

    Returns:
        Changes that are refused, and changes that are allowed: values before and now, by key.
    """
    refused, allowed = {}, {}
    before, after = {**_ADDED, **before}, {**_ADDED, **after}
    for key in sorted(before.keys() | after.keys()):
        values = (before.get(key, "not set"), after.get(key, "not set"))
        if values[0] == values[1]:
            continue
        entry = _entry(key)
        before_and_now = before.get(key), after.get(key)
        if entry is None or len(set(map(entry.compared_by, before_and_now))) > 1:
            refused[key] = values
        else:
            allowed[key] = values
    return refused, allowed


_SCORES = ("objective", "direction", "repeats")
"""Keys of `search` that say what a trial's score is: with others, scores cannot be compared."""


def is_of_search(key: str) -> bool:
    """Say whether a setting is of a study's search, which `extend=true` may change."""
    group, _, name = key.partition(".")
    return group == "space" or (group == "search" and name not in _SCORES)


def reopens(changed: Iterable[str]) -> bool:
    """Say whether a finished study has something to do when these settings have changed.

    Args:
        changed: Keys of settings that may change, if need be with `extend=true`, and have.
    """
    return any(entry.reopens if (entry := _entry(key)) else True for key in changed)


def _entry(key: str) -> MayChange | None:
    return MAY_CHANGE.get(key) or MAY_CHANGE.get(f"{key.partition('.')[0]}.*")


@dataclass(frozen=True)
class Identity:
    """What the settings of a study stand for.

    Attributes:
        data: Digest of all images, labels and names of classes.
        split: Digest of the split into training, validation and test images.
        environment: The model's sources, precision, devices, the engine and its libraries.
    """

    data: str
    split: str
    environment: Environment

    @classmethod
    def of(cls, data: ImageData, environment: Environment) -> Identity:
        """Return the identity of a study of these data in this environment."""
        sha = hashlib.sha256()
        for split in (data.train, data.validation, data.test):
            sha.update(f"{len(split)}:".encode())
            sha.update(split.labels.tobytes())
        return cls(data.digest, sha.hexdigest()[:32], environment)

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the engine and the libraries; the user may accept a change."""
        return {"engine": str(self.environment["engine"]), **self.environment["versions"]}

    def tag(self) -> str:
        """Return the identity as JSON, for a tag of the study's run.

        A tag holds at most 8,000 characters, so a long list of sources becomes one digest.
        """
        content = asdict(self)
        if len(text := json.dumps(content)) > _MAX_TAG:
            sources = json.dumps(self.environment["sources"], sort_keys=True)
            digest = hashlib.sha256(sources.encode()).hexdigest()[:32]
            content["environment"]["sources"] = {"*": digest}
            text = json.dumps(content)
        return text

    def changes_since(self, begun: Identity) -> list[str]:
        """Say what has changed since a study was started, although it must not."""
        said = []
        if begun.data != self.data:
            said.append(f"the data (their digest was {begun.data} and is now {self.data})")
        elif begun.split != self.split:
            said.append("the split into training, validation and test images")
        if files := _changed_files(begun.environment["sources"], self.environment["sources"]):
            said.append(f"the model's sources ({', '.join(files)})")
        was, now = begun.environment, self.environment
        for what, old, new in (
            ("Keras's precision", was["precision"], now["precision"]),
            ("the kinds of device", was["devices"], now["devices"]),
        ):
            if old != new:
                said.append(f"{what} (before: {', '.join(old)}; now: {', '.join(new)})")
        return said


def _changed_files(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    changed = []
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            changed.append(f"{name} is no longer imported")
        elif name not in before:
            changed.append(f"{name} is new")
        elif before[name] != after[name]:
            changed.append(f"{name} has changed")
    return changed
