"""Passwords: used, but never shown or written.

They are recognised by where they stand: after the user in an address, in a parameter of a
query, in a header, or in a variable or key that is named like one. A password that was given is
also remembered (`remember`), so that it is found in the messages of libraries.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

STARS = "***"

_QUERY_NAME = re.compile(
    r"pass|pwd|secret|token|key|credential|sig|auth(?!or)|odbc_connect", re.IGNORECASE
)
_NAMED = (
    r"password|passwd|pwd|passphrase|secret|credentials?|(?:api|access|secret|private)[_-]?key"
    r"(?:[_-]?id)?"
)
_NAME = re.compile(rf"(?:.*[_.-])?(?:{_NAMED}|token)", re.IGNORECASE)

_QUERY = re.compile(r"([?&])([^=&?;\s'\"`]+)=([^&\s'\"`]*)")
_SETTINGS = re.compile(r"(;)([^=&?;\s'\"`]+)=([^;&\s'\"`]*)")
_HEADER = re.compile(
    r"\b((?:proxy-)?authorization['\"]?\s*[:=]\s*['\"]?)(?:(?:bearer|basic|digest|token)\s+)?"
    r"[^\s'\",}]+",
    re.IGNORECASE,
)
_SCHEME_OF_HEADER = re.compile(
    r"\b(bearer|basic)\s+(?=\S*[\d=._~+/-])[\w.~+/=-]{8,}", re.IGNORECASE
)
_ASSIGNED = re.compile(
    rf"(?<![\w?&;])((?:[\w.-]*[_.-])?(?:{_NAMED}|token(?==)|(?<=[_-])token)['\"]?(?:=|:\s+)['\"]?)"
    r"(?![\s'\"=*])[^\s'\",;&`]+",
    re.IGNORECASE,
)
# The host follows the last @; the user ends at the first colon. An empty authority has no user.
_USER = re.compile(r"(?<=://)(?!/)([^:\s]*):\S*@")
_WHOLE_USER = re.compile(r"(?<=://)(?!/)([^:]*):.*@", re.DOTALL)
_NO_SCHEME_AT_ALL = re.compile(r"([^:/]*):.*@", re.DOTALL)
_TOKEN_AS_USER = re.compile(r"(?<=://)(?=[^\s@/]*\d)[\w.%~-]{20,}(?=@)")
_WITHOUT_SCHEME = re.compile(r"(?<![\w/])([\w.%+-]+):[^\s@/'\"]+@(?=[\w.\[\]-]+:\d)")
_ADDRESS_KEY = re.compile(r"(?:.*\.)?(?:uri|url|address|host|tracking|executor)")
_ENVIRONMENT = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
_SECRET_ENVIRONMENT = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "PGPASSWORD")

_addresses: dict[str, str] = {}
_secrets: set[str] = set()


def hide(text: str) -> str:
    """Return text with stars for every password in it.

    Args:
        text: An address such as `postgresql://user:password@host/database`, whose password may
            have any characters except spaces, or any text with addresses, headers or settings
            in it.
    """
    for address, hidden in _addresses.items():
        text = text.replace(address, hidden)
    text = _USER.sub(rf"\1:{STARS}@", text)
    text = _TOKEN_AS_USER.sub(STARS, text)
    text = _WITHOUT_SCHEME.sub(rf"\1:{STARS}@", text)
    text = _SETTINGS.sub(_hide_parameter, _QUERY.sub(_hide_parameter, text))
    text = _HEADER.sub(rf"\1{STARS}", text)
    text = _SCHEME_OF_HEADER.sub(rf"\1 {STARS}", text)
    text = _ASSIGNED.sub(rf"\1{STARS}", text)
    return _hide_remembered(text)


def hide_override(override: str) -> str:
    """Return `key=value` of a command line with stars for every password."""
    key, equals, value = override.partition("=")
    name = key.lstrip("+~")
    if equals and value and _is_secret(name):
        return f"{key}={STARS}"
    # A hyperparameter has numbers and names as values, whatever it is called.
    return override if name.startswith("space.") else hide(override)


def without(nested: Any, key: str = "") -> Any:
    """Return nested mappings and lists with stars for every password, ready to be written.

    Args:
        nested: Plain data.
        key: The key whose value it is, such as `data.path`.
    """
    if isinstance(nested, Mapping):
        return {k: without(v, f"{key}.{k}" if key else str(k)) for k, v in nested.items()}
    if isinstance(nested, list | tuple):
        return [without(value, key) for value in nested]
    if isinstance(nested, str) and nested:
        return STARS if _is_secret(key) else hide(nested)
    return nested


def remember(overrides: list[str]) -> None:
    """Remember the passwords of the command line and the environment, to hide them later.

    Args:
        overrides: The overrides as typed, `key=value` each.
    """
    for override in overrides:
        key, _, value = override.partition("=")
        if _is_secret(key.lstrip("+~")):
            _remember_secret(value)
        elif "://" in value or _ADDRESS_KEY.fullmatch(key.lstrip("+~")):
            _remember_address(value)
    for name in _ENVIRONMENT:
        _remember_address(os.environ.get(name, ""))
    for name in _SECRET_ENVIRONMENT:
        _remember_secret(os.environ.get(name, ""))


def forget() -> None:
    """Forget all that was remembered."""
    _addresses.clear()
    _secrets.clear()


def protect(path: Path) -> None:
    """If a password was given, make a file that might hold it readable by its owner only.

    Args:
        path: The file. Its text has been through `hide`, which may have missed a password.
    """
    if _secrets:
        path.chmod(0o600)


def _remember_address(address: str) -> None:
    address = address.strip("'\"")
    found = _WHOLE_USER.search(address) or _NO_SCHEME_AT_ALL.match(address)
    if found is not None:
        start, end = found.end(1) + 1, found.end() - 1
        _addresses[address] = f"{address[:start]}{STARS}{address[end:]}"
        _remember_secret(address[start:end])
    for _, name, value in _QUERY.findall(address):
        if _QUERY_NAME.search(unquote(name)):
            _remember_secret(value)


def _remember_secret(secret: str) -> None:
    _secrets.update(form for form in (secret, unquote(secret)) if form)


def _hide_remembered(text: str) -> str:
    for secret in sorted(_secrets, key=len, reverse=True):
        # Hiding a password that is an ordinary word would make other sentences unreadable.
        if len(secret) >= 5 and not secret.isalpha():
            text = text.replace(secret, STARS)
    return re.sub(r"(['\"])([^'\"]{3,})\1", _hide_piece, text)


def _hide_piece(quoted: re.Match[str]) -> str:
    """Hide the part of a password that a library quotes, such as an invalid port."""
    if any(quoted[2] in secret for secret in _secrets):
        return f"{quoted[1]}{STARS}{quoted[1]}"
    return quoted[0]


def _hide_parameter(found: re.Match[str]) -> str:
    if found[3] and _QUERY_NAME.search(unquote(found[2])):
        return f"{found[1]}{found[2]}={STARS}"
    return found[0]


def _is_secret(key: str) -> bool:
    return not key.startswith("space.") and _NAME.fullmatch(key) is not None
