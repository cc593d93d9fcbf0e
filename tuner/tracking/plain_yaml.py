"""YAML from a store, read as plain data whatever somebody has put there.

No tag makes an object, no interpolation reads a variable, no alias expands to something huge.
"""

from collections.abc import Iterator
from typing import Any

import yaml

MAX_BYTES = 2_000_000
"""A configuration has 3 kB; a description with the names of 20,000 classes has 600."""

MAX_DEPTH = 20


class NotPlain(Exception):
    """The text is not YAML, or more than plain data; the message says why in a few words."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Knows only the types of JSON, and no aliases."""


def read(content: bytes) -> Any:
    """Return the plain data in a YAML file: mappings, lists, text, numbers, null.

    Raises:
        NotPlain: If it is damaged, too large or too deep, or holds a tag or an alias.
    """
    if len(content) > MAX_BYTES:
        raise NotPlain(f"it has {len(content):,} bytes, more than {MAX_BYTES:,}")
    try:
        depth = 0
        for event in yaml.parse(content.decode("utf-8"), _Loader):
            if isinstance(event, yaml.AliasEvent):
                raise NotPlain(f"it holds the alias *{event.anchor}, which is never written")
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > MAX_DEPTH:
                raise NotPlain(f"it is nested more than {MAX_DEPTH} levels deep")
        return yaml.load(content.decode("utf-8"), _Loader)
    except UnicodeDecodeError as error:
        raise NotPlain("it is not UTF-8") from error
    except (yaml.YAMLError, ValueError, TypeError) as error:
        first = str(error).strip().splitlines()
        raise NotPlain(f"it is not plain YAML: {first[0] if first else 'damaged'}") from error


def texts(data: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text in plain data, including names of keys, with the key that holds it."""
    if isinstance(data, str):
        yield key, data
    elif isinstance(data, dict):
        for name, value in data.items():
            below = f"{key}.{name}" if key else str(name)
            yield from texts(name, below)
            yield from texts(value, below)
    elif isinstance(data, list):
        for value in data:
            yield from texts(value, key)
