"""Rows as JSON, over which the digest of a split is computed."""

import json
from collections.abc import Iterator

from src.data.tokenization.token_store import TextRow

# Texts with more characters than this are hashed in pieces.
_LONG_TEXT_CHARACTERS = 1 << 20


def iter_json_pieces(row: TextRow) -> Iterator[str]:
    """A row as JSON, a list of text, pair, target and, where they are given, words. A long text
    comes in pieces, since JSON takes six bytes for each character that is not ASCII.
    """
    if len(row.text) + len(row.pair or "") <= _LONG_TEXT_CHARACTERS:
        words = () if row.words is None else (row.words,)
        yield json.dumps([row.text, row.pair, row.target, *words])
        return
    for before, text in (("[", row.text), (", ", row.pair)):
        yield before + ("null" if text is None else '"')
        for begin in range(0, len(text or ""), _LONG_TEXT_CHARACTERS):
            yield json.dumps((text or "")[begin : begin + _LONG_TEXT_CHARACTERS])[1:-1]
        yield "" if text is None else '"'
    words_text = "" if row.words is None else f", {json.dumps(row.words)}"
    yield f", {json.dumps(row.target)}{words_text}]"
