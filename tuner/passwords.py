"""Passwords in addresses: used, but never shown or written."""

import re


def hide(text: str) -> str:
    """Return an address, or text that ends in one, with stars for its password.

    Args:
        text: Such as `postgresql://user:password@host/database`, whose password may have any
            characters, or `…?password=…`.
    """
    text = re.sub(r"(?<=[?&]password=)[^&]*", "***", text)
    return re.sub(r"(?<=://)([^:/@]*):.*@", r"\1:***@", text)
