"""Takes a model function along as source: from a notebook's cell or a script to the workers.

Workers are other processes, and so are those that later resume the study. They can import a
module; they cannot get at what a notebook or a running script holds in memory. So the
function's source becomes a module, with everything from the same place that it refers to. What
cannot be written down is refused, by its name, with what to do.
"""

from __future__ import annotations

import ast
import builtins
import cmath
import importlib.util
import inspect
import linecache
import symtable
import sys
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any, cast

from tuner.errors import ConfigError

MAX_CONSTANT = 10_000
"""Largest constant that is taken along, in characters of its source: larger ones are data."""

_HEAD = '''"""The model function that this study was given, taken along by tuner.run_study."""
'''

_MAIN = ("__main__", "__mp_main__")


def importable_name(function: Callable[..., Any]) -> str | None:
    """Return the dotted name by which other processes can import a function.

    Args:
        function: The function.

    Returns:
        None if it is defined in a notebook, in the script that runs, or inside of a function.
    """
    module, name = getattr(function, "__module__", None), getattr(function, "__name__", None)
    if module is None or name is None:
        return None
    is_there = getattr(sys.modules.get(module), name, None) is function
    return f"{module}.{name}" if is_there and _is_importable(module) else None


def module_text(function: Callable[..., Any]) -> str:
    """Return the source of a module that holds a function and all that it refers to.

    Args:
        function: A function with source; imports, constants, and functions and classes from the
            same place come along.

    Raises:
        ConfigError: If that cannot be done; it names what is in the way, and what to do.
    """
    if not isinstance(function, FunctionType):
        kind = type(function).__name__
        raise ConfigError(
            f"`model` must be a function defined by `def`, but is a {kind}: give the function "
            f"itself. Fixed arguments are overrides, such as '+model.filters=8'."
        )
    if function.__name__ == "<lambda>":
        raise ConfigError(
            "`model` must be a function defined by `def`, but is a lambda, whose source cannot "
            "be taken along: write it as `def build(values, image_shape, num_classes): …`."
        )
    return _Module(function).text()


class _Module:
    """A module that is put together from what one function refers to.

    Args:
        function: The function, defined by `def`.
    """

    def __init__(self, function: FunctionType) -> None:
        self._function = function
        self._globals = function.__globals__
        self._imports: dict[str, None] = {}
        self._constants: dict[str, str] = {}
        # In the order in which they are complete: what a decorator or a base class needs
        # comes before it.
        self._definitions: dict[str, str] = {}
        self._begun: set[str] = set()
        self._define(function.__name__, function)

    def text(self) -> str:
        """Return its source."""
        constants = "".join(f"{n} = {text}\n" for n, text in sorted(self._constants.items()))
        parts = [_HEAD, "".join(f"{line}\n" for line in sorted(self._imports)), constants]
        definitions = [f"\n{text.rstrip()}\n" for text in self._definitions.values()]
        return "\n".join(part for part in [*parts, *definitions] if part)

    def _define(self, name: str, definition: Any) -> None:
        """Take along a function or a class, and what it refers to."""
        if name in self._begun:
            return
        self._begun.add(name)
        source = self._source(name, definition)
        if definition.__name__ != name:
            source = f"{source.rstrip()}\n\n\n{name} = {definition.__name__}\n"
        for wanted, chains in _global_names(source, definition.__name__).items():
            self._take(wanted, chains, name)
        self._definitions[name] = source

    def _source(self, name: str, definition: Any) -> str:
        """Return the source of a function or a class, at the margin.

        Raises:
            ConfigError: If there is none, or it is not all that it needs.
        """
        code = _code_of(definition)
        lines = [] if code is None else linecache.getlines(code.co_filename, self._globals)
        node = _find(lines, definition, code)
        if node is None:
            raise self._refused(
                name, "whose source cannot be found", "write it into a module of your own"
            )
        if isinstance(definition, type):
            free = [n for f in _functions_of(definition) for n in f.__code__.co_freevars]
            free = [n for n in free if n != "__class__"]
        else:
            free = list(code.co_freevars) if code is not None else []
        if free:
            raise ConfigError(
                f"`model`: {definition.__name__} uses {free[0]!r} of the function that it is "
                f"defined in, which other processes do not have. Make it an argument of the "
                f"model function and give it as an override ('+model.{free[0]}=…'), or define "
                f"{definition.__name__} outside of any function."
            )
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        source = textwrap.dedent("".join(lines[first - 1 : node.end_lineno]))
        try:
            ast.parse(source)
        except SyntaxError as error:
            # Inside of a function, with a text of several lines that begin at the margin.
            raise self._refused(
                name, "whose source cannot be taken out of its place", "define it at the top"
            ) from error
        return source

    def _take(self, name: str, chains: set[tuple[str, ...]], by: str) -> None:
        """Take along what a global name stands for.

        Args:
            name: The name.
            chains: The attributes that are looked up on it, such as `("layers", "Dense")`.
            by: The function or class that refers to it.
        """
        if name not in self._globals:
            if not hasattr(builtins, name):
                raise ConfigError(
                    f"`model`: {by} uses {name!r}, which is not defined: define or import it "
                    f"before tuner.run_study is called."
                )
            return
        value = self._globals[name]
        if isinstance(value, ModuleType):
            self._import_module(name, value, chains)
        elif isinstance(value, FunctionType | type) and not _is_importable(value.__module__):
            self._define(name, value)
        elif (literal := _literal(value)) is not None:
            if len(literal) > MAX_CONSTANT:
                raise self._refused(
                    name,
                    f"which is a constant of {len(literal):,} characters",
                    "read it from a file inside of the function",
                )
            self._constants[name] = literal
        elif (home := _home(name, value)) is not None:
            module, attribute = home
            renamed = "" if attribute == name else f" as {name}"
            self._imports[f"from {module} import {attribute}{renamed}"] = None
        else:
            raise self._refused(
                name,
                f"an object of the class {type(value).__name__}, which other processes do not "
                f"have",
                f"make it inside of the function, or give a number or text as an override "
                f"('+model.{name}=…')",
            )

    def _import_module(
        self, name: str, module: ModuleType, chains: set[tuple[str, ...]]
    ) -> None:
        full = module.__name__
        if full in _MAIN:
            raise self._refused(name, "which is the running script or notebook itself", "use "
                                "its functions and constants by their names")  # fmt: skip
        if name == full:
            self._imports[f"import {full}"] = None
        elif full.endswith(f".{name}"):
            self._imports[f"from {full.rpartition('.')[0]} import {name}"] = None
        else:
            self._imports[f"import {full} as {name}"] = None
        # `import xml.etree` binds `xml` alone.
        for chain in chains if name == full else ():
            for end in range(1, len(chain) + 1):
                below = ".".join([full, *chain[:end]])
                if not _is_module(below):
                    break
                self._imports[f"import {below}"] = None

    def _refused(self, name: str, what: str, how: str) -> ConfigError:
        of = "is" if name == self._function.__name__ else f"uses {name!r},"
        return ConfigError(
            f"`model`: {self._function.__name__} {of} {what}: {how}, or move the function into "
            f"a module (a .py file) and import it."
        )


def _global_names(source: str, own: str) -> dict[str, set[tuple[str, ...]]]:
    """Return the global names that a definition refers to, with the attributes looked up.

    Args:
        source: Source of one function or class.
        own: Its own name, which is left out.
    """
    wanted: set[str] = set()

    def collect(table: symtable.SymbolTable, is_top: bool) -> None:
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (is_top or symbol.is_global()):
                wanted.add(symbol.get_name())
        for child in table.get_children():
            collect(child, False)

    collect(symtable.symtable(source, "<model>", "exec"), True)
    chains: dict[str, set[tuple[str, ...]]] = {name: set() for name in sorted(wanted - {own})}
    for node in ast.walk(ast.parse(source)):
        root, chain = _chain(node)
        if root in chains:
            chains[root].add(chain)
    return chains


def _chain(node: ast.AST) -> tuple[str, tuple[str, ...]]:
    """Return `("keras", ("layers", "Dense"))` of `keras.layers.Dense`."""
    chain: list[str] = []
    while isinstance(node, ast.Attribute):
        chain.insert(0, node.attr)
        node = node.value
    return (node.id if isinstance(node, ast.Name) else ""), tuple(chain)


def _code_of(definition: Any) -> CodeType | None:
    """Return the code of a function, without its decorators, or of a class's first method."""
    if isinstance(definition, type):
        return next((f.__code__ for f in _functions_of(definition)), None)
    unwrapped = inspect.unwrap(definition)
    return unwrapped.__code__ if isinstance(unwrapped, FunctionType) else None


def _functions_of(kind: type) -> Iterator[FunctionType]:
    for value in vars(kind).values():
        inner = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
        inner = inspect.unwrap(inner) if callable(inner) else inner
        if isinstance(inner, FunctionType) and inner.__qualname__.startswith(
            f"{kind.__qualname__}."
        ):
            yield inner


def _find(
    lines: list[str], definition: Any, code: CodeType | None
) -> ast.FunctionDef | ast.ClassDef | None:
    """Find what defines a function or a class in the lines of its file or cell."""
    if code is None or not lines:
        return None
    try:
        tree = ast.parse("".join(lines))
    except SyntaxError:
        return None
    kind = ast.ClassDef if isinstance(definition, type) else ast.FunctionDef
    name = definition.__name__ if isinstance(definition, type) else code.co_name
    for node in ast.walk(tree):
        if isinstance(node, kind) and node.name == name:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if first <= code.co_firstlineno <= (node.end_lineno or first):
                return node
    return None


def _literal(value: object) -> str | None:
    """Return a constant as source, always the same; None if it is none."""
    kind = type(value)
    if kind in (type(None), bool, int, str, bytes):
        return repr(value)
    if kind in (float, complex):
        return repr(value) if cmath.isfinite(cast(complex, value)) else None
    if kind is dict:
        pairs = [(_literal(k), _literal(v)) for k, v in cast(dict[Any, Any], value).items()]
        if any(None in pair for pair in pairs):
            return None
        return "{" + ", ".join(f"{k}: {v}" for k, v in pairs) + "}"
    if kind not in (list, tuple, set):
        return None
    parts = [_literal(part) for part in cast(list[Any], value)]
    if None in parts or (kind is set and not parts):
        return None
    texts = cast(list[str], parts)
    if kind is list:
        return f"[{', '.join(texts)}]"
    if kind is set:
        # Sets have no order that lasts.
        return "{" + ", ".join(sorted(texts)) + "}"
    return f"({', '.join(texts)}{',' if len(texts) == 1 else ''})"


def _home(name: str, value: object) -> tuple[str, str] | None:
    """Return the module and the name there of what an import has brought; None if none has."""
    module = getattr(value, "__module__", None)
    if not isinstance(module, str) or not _is_importable(module):
        return None
    for attribute in (str(getattr(value, "__qualname__", name)), name):
        if getattr(sys.modules[module], attribute, None) is value:
            return module, attribute
    return None


def _is_importable(module: str | None) -> bool:
    """Say whether other processes can import a module: not the running script, nor a cell."""
    if module is None or module in _MAIN:
        return False
    return getattr(sys.modules.get(module), "__spec__", None) is not None


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, AttributeError, ValueError):
        return False
