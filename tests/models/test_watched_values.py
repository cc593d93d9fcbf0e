"""Whether a model function has read `epochs`, in whatever way."""

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from tuner.models.watched_values import WatchedValues

NAMES_ONLY = {
    "__class_getitem__", "__contains__", "__delitem__", "__getattribute__", "__init__",
    "__ior__", "__iter__", "__len__", "__new__", "__reversed__", "__setitem__", "__sizeof__",
    "clear", "fromkeys", "keys", "update", "__doc__", "__hash__",
    # Order is not defined for dictionaries.
    "__lt__", "__le__", "__gt__", "__ge__",
}  # fmt: skip
"""Members of `dict` that hand out no value."""


def test_every_way_to_a_value_is_watched() -> None:
    watched = set(vars(WatchedValues)) & set(vars(dict))
    assert set(vars(dict)) - watched == NAMES_ONLY - {"__doc__", "__hash__", "__iter__"}


def _matched(values: Any) -> Any:
    match values:
        case {"epochs": epochs}:
            return epochs


LOOKS: dict[str, Callable[[Any], Any]] = {
    "item": lambda v: v["epochs"],
    "get": lambda v: v.get("epochs"),
    "get with default": lambda v: v.get("epochs", 1),
    "pop": lambda v: v.pop("epochs"),
    "setdefault": lambda v: v.setdefault("epochs", 1),
    "popitem": lambda v: v.popitem(),
    "items": lambda v: list(v.items()),
    "values": lambda v: list(v.values()),
    "copy": lambda v: v.copy(),
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "dict": dict,
    "keywords": lambda v: (lambda **given: given)(**v),
    "or": lambda v: v | {},
    "or from the right": lambda v: {} | v,
    "equal": lambda v: v == {"epochs": 3, "units": 8},
    "repr": repr,
    "f-string": lambda v: f"{v}",
    "JSON": json.dumps,
    "pickle": pickle.dumps,
    "match": _matched,
    "update of another": lambda v: {}.update(v),
    "comprehension": lambda v: {name: v[name] for name in v},
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS.keys())
def test_a_look_at_epochs_is_seen(look: Callable[[Any], Any]) -> None:
    values = WatchedValues({"units": 8, "epochs": 3})
    assert not values.knows_epochs
    look(values)
    assert values.knows_epochs


OTHERS: dict[str, Callable[[Any], Any]] = {
    "item": lambda v: v["units"],
    "get": lambda v: v.get("units"),
    "missing": lambda v: v.get("layers", 1),
    "pop": lambda v: v.pop("units"),
    "setdefault": lambda v: v.setdefault("layers", 1),
    "in": lambda v: "epochs" in v,
    "names": lambda v: [*v, *v.keys(), *reversed(v)],
    "len": len,
    "set": lambda v: v.update(units=9),
}


@pytest.mark.parametrize("look", OTHERS.values(), ids=OTHERS.keys())
def test_a_look_at_other_values_is_none_at_epochs(look: Callable[[Any], Any]) -> None:
    values = WatchedValues({"units": 8, "epochs": 3})
    look(values)
    assert not values.knows_epochs
    assert isinstance(values, dict)
