"""A model function that is taken along as source: what comes with it, and what cannot."""

import linecache
from collections.abc import Callable
from typing import Any

import pytest

from support import models
from tuner.errors import ConfigError
from tuner.models import mlp
from tuner.study.model_source import importable_name, module_text

BUILD = "def build(values, image_shape, num_classes):\n    return "


def in_cell(source: str, **values: Any) -> Callable[..., Any]:
    """Run the source of a notebook's cell, and return its function `build`."""
    name = f"/tmp/ipykernel_1/{abs(hash(source))}.py"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    namespace: dict[str, Any] = {"__name__": "__main__", **values}
    exec(compile(source, name, "exec"), namespace)
    function = namespace["build"]
    assert callable(function)
    return function


def run(text: str) -> Any:
    """Import the text as a worker does, where nothing else is defined, and call `build`."""
    namespace: dict[str, Any] = {"__name__": "study_model"}
    exec(compile(text, "study_model.py", "exec"), namespace)
    return namespace["build"]({"width": 3}, (2, 2), 2)


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        (BUILD + "values['width'] * num_classes\n", 6),
        ("import math\n\n" + BUILD + "math.floor(2.5)\n", 2),
        ("import math as m\n\n" + BUILD + "m.floor(2.5)\n", 2),
        ("from math import floor as down\n\n" + BUILD + "down(2.5)\n", 2),
        ("import os.path\n\n" + BUILD + "os.path.basename('a/b')\n", "b"),
        ("import xml.dom\n\n" + BUILD + "xml.dom.Node.TEXT_NODE\n", 3),
        ("from xml import dom\n\n" + BUILD + "dom.Node.TEXT_NODE\n", 3),
        ("from numpy import exp\n\n" + BUILD + "float(exp(0))\n", 1.0),
        ("WIDTHS = (1, [2], {'a': None, 2: {3.5}})\n\n" + BUILD + "WIDTHS\n",
         (1, [2], {"a": None, 2: {3.5}})),
        # What a helper needs comes along, whatever the order in which it was written.
        ("def half(x):\n    return x // TWO\n\nTWO = 2\n\n" + BUILD + "half(9)\n", 4),
        ("def a(n):\n    return b(n - 1) if n else 7\n\ndef b(n):\n    return a(n)\n\n"
         + BUILD + "a(3)\n", 7),
        ("def one():\n    return 1\n\nother = one\n\n" + BUILD + "other()\n", 1),
        ("class Pair:\n    def __init__(self, n):\n        self.n = n\n\n"
         "class Twice(Pair):\n    def get(self):\n        return 2 * self.n\n\n"
         + BUILD + "Twice(4).get()\n", 8),
        ("import functools\n\ndef loud(f):\n    @functools.wraps(f)\n    def g(*args):\n"
         "        return f(*args) + 1\n    return g\n\n@loud\n" + BUILD + "1\n", 2),
        ("N = 3\n\ndef build(values, image_shape, num_classes, n: int = N) -> int:\n"
         "    return sum(i for i in range(n))\n", 3),
        ("def make():\n    def build(values, image_shape, num_classes):\n        return 5\n"
         "    return build\n\nbuild = make()\n", 5),
    ],
)  # fmt: skip
def test_module_text_takes_along_what_is_needed(source: str, answer: object) -> None:
    assert run(module_text(in_cell(source))) == answer


def test_module_text_is_the_same_whatever_else_a_notebook_holds() -> None:
    source = "NAMES = {'b', 'a', 'c'}\n\n" + BUILD + "NAMES\n"
    text = module_text(in_cell(source))
    assert module_text(in_cell(source, others=[1], keras=None)) == text
    assert "NAMES = {'a', 'b', 'c'}" in text
    assert "others" not in text


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (BUILD + "missing(values)\n", "build uses 'missing', which is not defined"),
        ("import threading\nlock = threading.Lock()\n\n" + BUILD + "lock\n",
         "uses 'lock', an object of the class lock, .* make it inside of the function"),
        ("big = list(range(9999))\n\n" + BUILD + "big\n", "a constant of 58,884 characters"),
        ("build = lambda values, image_shape, num_classes: 1\n", "is a lambda"),
        ("import functools\n\ndef f(a, b, c, d):\n    return d\n\n"
         "build = functools.partial(f, d=1)\n", r"is a partial: .*'\+model.filters=8'"),
        ("def make(width):\n    def build(values, image_shape, num_classes):\n"
         "        return width\n    return build\n\nbuild = make(3)\n",
         r"build uses 'width' of the function that it is defined in.*\+model.width="),
        ("class Empty:\n    pass\n\n" + BUILD + "Empty()\n",
         "uses 'Empty', whose source cannot be found"),
        ("import __main__\n\n" + BUILD + "__main__.x\n", "the running script or notebook"),
    ],
)  # fmt: skip
def test_module_text_refuses_what_workers_cannot_have(source: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        module_text(in_cell(source))
    assert str(caught.value).startswith("`model`")


def test_importable_function_is_known_by_its_name() -> None:
    assert importable_name(mlp.build) == "tuner.models.mlp.build"
    assert importable_name(models.raises) == "support.models.raises"
    assert importable_name(in_cell(BUILD + "1\n")) is None
    assert importable_name(lambda: None) is None
