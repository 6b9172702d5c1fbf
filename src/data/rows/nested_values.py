"""Values inside others, by paths of keys with dots between them."""

from collections.abc import Iterator
from typing import Any

_PLACE_KEYS = frozenset(("start", "begin", "start_offset", "start_char", "offset"))


_REQUEST_KEYS = frozenset(("text", "entity", "slot_name"))
# Who says what, in the messages of a chat, as its turns are written for OpenAI and for ShareGPT.
_MESSAGE_KEYS = (("role", "content"), ("from", "value"))


def list_keys(row: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, found in row.items():
        yield prefix + key
        value = _gather_messages(found) or found
        if isinstance(value, dict) and not _is_choice(value):
            yield from list_keys(value, f"{prefix}{key}.")


def _is_choice(value: Any) -> bool:
    """Whether a value is a list of labels as Label Studio writes it beside single ones."""
    return isinstance(value, dict) and [*value] == ["choices"]


def flatten_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its objects' values by their paths of keys."""
    values = {key: look_up(row, key) for key in list_keys(row)}
    return {
        key: value
        for key, value in values.items()
        if not isinstance(value, dict) and _gather_messages(value) is None
    }


def _gather_messages(value: Any) -> dict[str, str] | None:
    """What each role says in the messages of a chat, a line for each of its messages: `system`,
    `user` and `assistant` of [{"role": "user", "content": "..."}, ...]; None of any other value.
    """
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return None
    for role, content in _MESSAGE_KEYS:
        turns = [(item.get(role), item.get(content)) for item in value]
        if turns and all(isinstance(part, str) for turn in turns for part in turn):
            said: dict[str, list[str]] = {}
            for who, what in turns:
                said.setdefault(who, []).append(what)
            return {who: "\n".join(lines) for who, lines in said.items()}
    return None


def look_up(row: dict[str, Any], column: str) -> Any:
    """The value of a key or of a path with dots; None if there is none. A key goes first.

    A path may lead through lists of objects, and is then the list of the values in these, each
    once: "annotations.result.value.choices". Through the messages of a chat it leads to what a role
    says: "messages.assistant".
    """
    if column in row:
        value = row[column]
        return value["choices"] if _is_choice(value) else value
    for dot in (place for place, character in enumerate(column) if character == "."):
        inner, rest = row.get(column[:dot]), column[dot + 1 :]
        if (said := _gather_messages(inner)) is not None and rest in said:
            return said[rest]
        if isinstance(inner, dict):
            return look_up(inner, rest)
        if isinstance(inner, list) and any(isinstance(item, dict) for item in inner):
            found = [look_up(item, rest) for item in inner if isinstance(item, dict)]
            return _join_lists([value for value in found if value is not None])
    return None


class InnerValues(list[Any]):
    """The different values in the objects of a list, which are none of its places."""


def _join_lists(values: list[Any]) -> InnerValues | None:
    """All values, those of lists among them, each once; None of none."""
    items = [item for value in values for item in (value if isinstance(value, list) else [value])]
    return (
        InnerValues(item for place, item in enumerate(items) if item not in items[:place]) or None
    )


def list_inner_texts(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The texts in lists of objects and in what these hold, with their paths."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, str) and prefix:
            yield prefix, item
        elif isinstance(item, dict):
            for key, inner in item.items():
                yield from list_inner_texts(inner, f"{prefix}.{key}" if prefix else key)


def join_parts(value: Any) -> str | None:
    """The text of a list whose parts are texts and objects with a `type` and a `text`, as chats are
    exported: ["see ", {"type": "link", "text": "example.org"}]; or of the parts of what somebody
    asks for, as Snips and Dialogflow mark them: [{"text": "play "}, {"text": "it", "entity": "x"}].
    None of any other value.
    """
    if not isinstance(value, list) or not any(isinstance(part, dict) for part in value):
        return None
    are_parts = _is_request_part if _are_request_parts(value) else _is_part
    texts = [part.get("text") if are_parts(part) else part for part in value]
    return "".join(texts) if all(isinstance(text, str) for text in texts) else None


def _is_part(part: Any) -> bool:
    # entities have a text and a place in another one
    return isinstance(part, dict) and "type" in part and _PLACE_KEYS.isdisjoint(part)


def _is_request_part(part: Any) -> bool:
    return isinstance(part, dict) and ("userDefined" in part or part.keys() <= _REQUEST_KEYS)


def _are_request_parts(parts: list[Any]) -> bool:
    # several with a text alone are paragraphs
    marked = any(len(part) > 1 for part in parts if isinstance(part, dict))
    return all(map(_is_request_part, parts)) and (marked or len(parts) == 1)
