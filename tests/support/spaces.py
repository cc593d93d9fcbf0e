"""Random spaces as a configuration has them, and their points, counted one by one."""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from tuner.config.space import Space
from tuner.trial import Value, Values

Given = Mapping[str, Any]

MAX_LAYERS = 3

_WHOLE = st.integers(-50, 300)
_TENTHS = st.integers(-20, 20).map(lambda number: number / 10)
_WORDS = st.sampled_from(["adam", "null", "true", "1", ""])

fixed = st.none() | st.booleans() | _WHOLE | _TENTHS | _WORDS

choices = st.one_of(
    *(
        st.lists(options, min_size=2, max_size=3, unique=True)
        for options in (_WHOLE, _TENTHS, _WORDS, st.booleans())
    ),
    # Several types, which Keras Tuner gets as JSON.
    st.lists(
        st.sampled_from([None, True, 1, 2, "max", "null"]),
        min_size=2,
        max_size=3,
        unique_by=json.dumps,
    ),
)


@st.composite
def whole_ranges(draw: st.DrawFn, low: int = -50) -> dict[str, int]:
    step = draw(st.integers(1, 4))
    begin = draw(st.integers(low, 300))
    end = begin + draw(st.integers(1, 3 * step - 1))
    return {"min": begin, "max": end, **({} if step == 1 else {"step": step})}


@st.composite
def stepped_ranges(draw: st.DrawFn) -> dict[str, float]:
    # Quarters, which binary numbers represent exactly.
    begin = draw(st.integers(-8, 8)) / 4
    return {"min": begin, "max": begin + draw(st.integers(1, 3)) / 4, "step": 0.25}


@st.composite
def continuous_ranges(draw: st.DrawFn) -> dict[str, Any]:
    begin = draw(st.floats(1e-6, 10.0))
    end = begin + draw(st.floats(1e-3, 100.0))
    return {"min": begin, "max": end, **draw(st.sampled_from([{}, {"log": True}]))}


listed = fixed | choices | whole_ranges() | stepped_ranges()


@st.composite
def spaces(draw: st.DrawFn, others: st.SearchStrategy[Any] = listed) -> dict[str, Any]:
    """Draw a space of a user's own model, often with layers, whose keys are in any order.

    Args:
        draw: Hypothesis's own.
        others: What hyperparameters may be, beside the number of layers.
    """
    space = {name: draw(others) for name in draw(st.sets(st.sampled_from("abc")))}
    if draw(st.booleans()):
        numbers = st.integers(1, MAX_LAYERS)
        space["layers"] = draw(
            numbers
            | st.lists(numbers, min_size=1, max_size=2, unique=True)
            | st.just({"min": 1, "max": MAX_LAYERS})
        )
        space["units"] = draw(others)
        for layer in draw(st.sets(st.integers(1, max(options_of(space["layers"]) or ())))):
            space[f"units_{layer}"] = draw(others)
    for name, parents in (("b", ["a"]), ("c", ["a", "b", "layers"])):
        parent = draw(st.sampled_from([None, *parents]))
        if name in space and parent in space and options_of(space[parent]) is not None:
            allowed = st.sampled_from(options_of(space[parent]) or ())
            some = st.lists(allowed, min_size=1, max_size=2, unique_by=json.dumps)
            own = space[name]
            given = own if isinstance(own, Mapping) else {"choices": own}
            space[name] = {**given, "when": {parent: draw(some)}}
    order = draw(st.permutations(["epochs", "batch_size", *space]))
    return {name: space.get(name, 1) for name in order}


def parsed(given: Given) -> Space:
    return Space.parse(given, "my_package.my_function")


def options_of(given: Any) -> Sequence[Any] | None:
    """Return the values that a hyperparameter can take, or None for those of an interval."""
    if isinstance(given, Mapping) and "choices" in given:
        return options_of(given["choices"])
    if isinstance(given, Mapping):
        if isinstance(given["min"], int):
            return range(given["min"], given["max"] + 1, given.get("step", 1))
        if "step" not in given:
            return None
        count = round((given["max"] - given["min"]) / given["step"])
        return [given["min"] + i * given["step"] for i in range(count + 1)]
    return given if isinstance(given, list) else [given]


def all_names(given: Given) -> list[str]:
    """Return the names of all values that a trial can have, in the configuration's order."""
    if "layers" not in given:
        return list(given)
    widths = [f"units_{i}" for i in range(1, max(options_of(given["layers"]) or ()) + 1)]
    return [
        name
        for key in given
        if not key.startswith("units_")
        for name in (widths if key == "units" else [key])
    ]


def names_of(given: Given, values: Values) -> list[str]:
    """Return which of all names a trial has that has these values, in the same order."""
    return [name for name in all_names(given) if occurs(given, name, values)]


def occurs(given: Given, name: str, values: Values) -> bool:
    """Say whether a trial has a value, by the values that it has otherwise."""
    if "layers" in given and name.startswith("units_"):
        return int(name.removeprefix("units_")) <= int(str(values["layers"]))
    own = given_of(given, name)
    when = own.get("when", {}) if isinstance(own, Mapping) else {}
    return all(
        occurs(given, parent, values) and written(values[parent]) in map(written, allowed)
        for parent, allowed in when.items()
    )


def given_of(given: Given, name: str) -> Any:
    """Return the configuration's entry for one of a trial's values."""
    return given[name] if name in given else given["units"]


def points_of(given: Given) -> list[Values]:
    """List every point of a space whose hyperparameters can all be listed."""
    names = all_names(given)
    found = {}
    for chosen in itertools.product(*(options_of(given_of(given, n)) or () for n in names)):
        values = dict(zip(names, chosen, strict=True))
        point = {name: values[name] for name in names_of(given, values)}
        found[written(point)] = point
    return list(found.values())


def written(value: Value | Values) -> str:
    """Return a value or a point as JSON, which tells 1, 1.0 and true apart."""
    return json.dumps(value)


def is_allowed(value: Value, given: Any) -> bool:
    """Say whether a hyperparameter may be this very value, of this very type."""
    options = options_of(given)
    if options is None:
        return type(value) is float and given["min"] <= value <= given["max"]
    return written(value) in map(written, options)
