"""Values that must come back from MLflow unchanged, as JSON in tags.

MLflow keeps params as text, which cannot tell `None` from `"None"` or `(1, 3)` from `"(1, 3)"`.
"""

import json
from collections.abc import Mapping
from typing import Any

from tuner.errors import StudyError

MAX_TAG = 5000
"""Number of characters that every version of MLflow accepts in a tag; 3.17 accepts 8,000."""


def as_tags(name: str, content: object) -> dict[str, str]:
    """Return content as JSON in tags: `name`, and `name.1`, `name.2`, … if it is long."""
    text = json.dumps(content, default=str)
    parts = [text[i : i + MAX_TAG] for i in range(0, len(text), MAX_TAG)]
    return {f"{name}.{i}" if i else name: part for i, part in enumerate(parts)}


def from_tags(tags: Mapping[str, str], name: str) -> Any:
    """Return the content that `as_tags` has put into tags; None if it is not there.

    Tags of a longer earlier content may be left over; the JSON itself shows where it ends.

    Raises:
        StudyError: If it has been altered.
    """
    if name not in tags:
        return None
    text, i = tags[name], 1
    while (part := tags.get(f"{name}.{i}")) is not None:
        text, i = text + part, i + 1
    try:
        return json.JSONDecoder().raw_decode(text)[0]
    except ValueError as error:
        raise StudyError(
            f"The tag {name} must hold JSON, but has been altered: {text[:80]!r}. Restore the "
            f"original text."
        ) from error
