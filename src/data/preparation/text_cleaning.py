"""How a text is made plain: tags, control characters, normal form, white space."""

import html
import re
import unicodedata
from typing import Literal

NormalForm = Literal["NFC", "NFKC"]

_BREAK_PATTERN = re.compile(r"<br\s*/?>", re.IGNORECASE)
_UNSHOWN_PATTERN = re.compile(
    r"<!--.*?-->|<(script|style)\b[^>]*>.*?</\1\s*>", re.IGNORECASE | re.DOTALL
)
_BLOCK_PATTERN = re.compile(
    r"</?(?:p|div|br|hr|li|ul|ol|dl|dt|dd|h[1-6]|table|tr|td|th|blockquote|pre|section|article|"
    r"header|footer|form|title)\b[^<>]*>",
    re.IGNORECASE,
)
# "a < b" is no tag: its sign is followed by a blank
_TAG_PATTERN = re.compile(r"</?[a-z][^<>]*>|<![a-z][^<>]*>", re.IGNORECASE)
# Not those that part lines and columns. Joiners (200C, 200D) stay: scripts and emoji need them.
_CONTROL_PATTERN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
)
_SYMBOL_PATTERN = re.compile(r"[^\w\s]|_")
# A longer text is split into words piece by piece, to bound memory.
_LONG_TEXT_CHARACTERS = 1 << 20


def replace_break_tags(text: str) -> str:
    """`<br />` tags as line breaks."""
    return _BREAK_PATTERN.sub("\n", text)


def strip_html(text: str) -> str:
    """A text without tags, comments, scripts and styles, with a line break for the end of a block,
    and with `&amp;` and the like as the characters that they stand for.
    """
    if "<" in text:
        text = _UNSHOWN_PATTERN.sub("", text)
        text = _TAG_PATTERN.sub("", _BLOCK_PATTERN.sub("\n", text))
    return html.unescape(text) if "&" in text else text


def drop_control_characters(text: str) -> str:
    """A text without characters that show nothing: controls other than tabs and line ends, soft
    hyphens, zero-width spaces, marks of byte order and of the direction of writing.
    """
    return text if text.isascii() and text.isprintable() else _CONTROL_PATTERN.sub("", text)


def apply_normal_form(text: str, form: NormalForm) -> str:
    """A text in a normal form of Unicode."""
    return unicodedata.normalize(form, text)


def collapse_whitespace(text: str) -> str:
    """Every run of white space as one space, none at the ends."""
    if len(text) <= _LONG_TEXT_CHARACTERS:
        return " ".join(text.split())
    from src.data.tokenization.text_encoder import split_text

    pieces = (" ".join(piece.split()) for piece in split_text(text, size=_LONG_TEXT_CHARACTERS))
    return " ".join(filter(None, pieces))


def compute_symbol_share(text: str) -> float:
    """The share of characters that are no letters, digits or white space; accents and vowel signs
    are parts of letters. 0 for an empty text.
    """
    symbols = [
        symbol
        for symbol in _SYMBOL_PATTERN.findall(text)
        if symbol.isascii() or not unicodedata.category(symbol).startswith("M")
    ]
    return len(symbols) / max(len(text), 1)
