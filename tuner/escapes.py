"""Names are not code: one function for each place where text leaves Glassy.

Names of classes, files and models may hold any characters: those that move a terminal's cursor,
end a cell, start a formula, or are not characters at all (a byte of a file name that is not
UTF-8 becomes a lone surrogate). HTML is escaped by Jinja, and Plotly's labels by
`tuner.reports.plotting.plain`.
"""

import html
import re
import unicodedata

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_TURNS_TEXT_AROUND = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_UNSEEN = frozenset({"Cc", "Cs", "Zl", "Zp"})


def visible(text: str) -> str:
    r"""Return text for one line of a terminal, a picture or a log.

    Args:
        text: Such as a file's name. Controls, line breaks, marks that turn the direction of
            writing and lone surrogates become escapes: ESC becomes `\x1b`.
    """
    return text if text.isprintable() else "".join(map(_visible, text))


def message(text: str) -> str:
    r"""Return a message for a terminal: like `visible`, but continuation lines remain.

    Args:
        text: The message. Its lines after the first are indented by at least two spaces; any
            other line break comes from a name in it, and becomes `\n`.
    """
    return "\n".join(visible(line) for line in re.split(r"\n(?=  )", text))


def encodable(text: str) -> str:
    """Return text that UTF-8 can encode: lone surrogates become escapes, the rest stays."""
    return _SURROGATE.sub(lambda found: _visible(found[0]), text)


def csv_cell(text: str) -> str:
    """Return text for a cell of a .csv that no spreadsheet takes for a formula.

    Args:
        text: Returned unchanged unless it begins like a formula: then an apostrophe, which
            spreadsheets do not show, is put before it.
    """
    begins_a_formula = text.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    return encodable(f"'{text}" if begins_a_formula else text)


def markdown_cell(text: str) -> str:
    """Return text for a cell of a Markdown table, shown as it is: no HTML, link or emphasis."""
    shown = html.escape(visible(text), quote=False)
    # An underscore within a word needs no escape.
    return re.sub(r"([\\`*\[\]|~]|(?<!\w)_|_(?!\w))", r"\\\1", shown)


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if category not in _UNSEEN and character not in _TURNS_TEXT_AROUND:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        # How Python holds a byte that is not UTF-8.
        return f"\\x{code - 0xDC00:02x}"
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
