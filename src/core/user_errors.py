"""Mistakes of the user as data: the key, what was expected, what was found and how to mend it.

The text of an error is made where it is printed (`str(error)`). Code that needs to know more about
an error reads its fields and never its text.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Self

# A name of fewer letters is the beginning of too many.
_SHORTEST_BEGINNING = 3


class UserError(Exception):
    """Something that the user typed, named or provided is wrong.

    An error raised before a run opens ends the program with exit code 2 and leaves nothing behind;
    raised later it becomes the reason of a FAILED run. Its text is

        KEY=VALUE: PROBLEM: expected EXPECTED, found FOUND; HINT (ALTERNATIVE)

    or, where the mistake lies in a file or a row, `WHERE: ... (KEY)`. Parts that are not given are
    left out, so `UserError("a whole sentence")` is possible.

    Args:
        problem: what is wrong.
        key: the config key or option to change.
        value: the value of the key, shown with it as `KEY=VALUE`.
        where: the file, row or name in which the mistake lies; the key then stands at the end.
        expected: what would be right.
        found: what stands there instead.
        hint: how to mend it; `{key}` in it stands for the key.
        alternative: another key that may be the one to change, and what to set it to.
        about: config keys that the error depends on beside `key`, named in its sentences.
        annotation: the type annotation that the value violates.
        colon: False where the problem goes on with the sentence that the key begins, as in
            `name is empty`.
    """

    def __init__(
        self,
        problem: str = "",
        *,
        key: str | None = None,
        value: object = None,
        where: object = None,
        expected: str | None = None,
        found: str | None = None,
        hint: str | None = None,
        alternative: tuple[str, str] | None = None,
        about: Sequence[str] = (),
        annotation: Any = None,
        colon: bool = True,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.key = key
        self.value = value
        self.where = where
        self.expected = expected
        self.found = found
        self.hint = hint
        self.alternative = alternative
        self.about = tuple(about)
        self.annotation = annotation
        self.colon = colon

    def __str__(self) -> str:
        subject = self.key or ""
        if self.where is not None:
            subject = str(self.where)
        elif self.value is not None:
            subject = f"{self.key}={self.value}"
        expected = f"expected {self.expected}" if self.expected is not None else ""
        problem = ": ".join(filter(None, [self.problem, expected]))
        if self.found is not None:
            problem += f", found {self.found}"
        parts = [subject, problem]
        text = (": " if self.colon else " ").join(filter(None, parts))
        if self.hint:
            text += "; " + self.hint.replace("{key}", self.key or "")
        if self.alternative is not None:
            text += f" ({'='.join(self.alternative)})"
        if self.where is not None and self.key is not None:
            text += f" ({self.key})"
        return text

    @property
    def keys(self) -> tuple[str, ...]:
        """All config keys that the error is about."""
        return (*([] if self.key is None else [self.key]), *self.about)

    def with_key(self, key: str) -> "UserError":
        """This error, about `key` where it names no key of its own."""
        if self.keys:
            return self
        if self.where is not None:
            return UserError(str(self), key=key)
        changed = copy.copy(self)
        changed.key = key
        return changed

    def with_renamed_keys(self, names: Mapping[str, str]) -> Self:
        """This error with its key renamed as `names` says.

        An alternative is dropped where `names` has no name for its key: the reader of the message
        has no such option.
        """
        changed = copy.copy(self)
        if self.key is not None:
            changed.key = names.get(self.key, self.key)
        if self.alternative is not None:
            key, text = self.alternative
            changed.alternative = (names[key], text) if key in names else None
        return changed


class UserErrors(UserError):
    """Several mistakes in one config, reported together; the same one is reported once."""

    def __init__(self, errors: Iterable[UserError | str]) -> None:
        by_text: dict[str, UserError] = {}
        for error in [errors] if isinstance(errors, str) else errors:
            by_text.setdefault(
                str(error), error if isinstance(error, UserError) else UserError(error)
            )
        super().__init__()
        self.errors = list(by_text.values())
        # what a pickled exception is built from again
        self.args = (self.errors,)

    def __str__(self) -> str:
        return "\n".join(self.messages)

    @property
    def messages(self) -> list[str]:
        """The text of each error."""
        return [str(error) for error in self.errors]

    def with_renamed_keys(self, names: Mapping[str, str]) -> "UserErrors":
        return UserErrors(error.with_renamed_keys(names) for error in self.errors)


def split_errors(error: UserError) -> list[UserError]:
    """The single errors that `error` consists of."""
    return error.errors if isinstance(error, UserErrors) else [error]


def suggest(name: object, names: Iterable[object], *, cutoff: float = 0.6) -> str | None:
    """The valid name that is most like `name`, upper and lower case aside; None if none is like it.
    Those that begin with the whole of `name` come first, as `accuracy` for `acc`.

    Args:
        cutoff: how like it must be at least, from 0 to 1, where it does not begin so.
    """
    folded = {str(valid).casefold(): str(valid) for valid in names}
    typed = str(name).casefold()
    longer = [valid for valid in folded if valid.startswith(typed)]
    if longer and len(typed) >= _SHORTEST_BEGINNING:
        return folded[min(longer, key=lambda valid: (len(valid), valid))]
    near = get_close_matches(typed, folded, n=1, cutoff=cutoff)
    return folded[near[0]] if near else None


def did_you_mean(name: object) -> str:
    """The question that a message about an unknown name ends in."""
    return f"did you mean '{name}'?"


def format_suggestion(name: object, names: Iterable[object]) -> str:
    """The end of a message about an unknown name: the nearest valid one, or all of them where none
    is near.
    """
    valid = sorted(map(str, names))
    near = suggest(name, valid)
    if near is not None:
        return did_you_mean(near)
    return f"valid: {', '.join(valid)}" if valid else "there is none to choose from"


def format_known(name: object, names: Iterable[object]) -> str:
    """The same with all valid ones also where one is near, for names that a user has given."""
    valid = sorted(map(str, names))
    near = suggest(name, valid)
    question = "" if near is None else f"{did_you_mean(near)} "
    return f"{question}valid: {', '.join(valid)}" if valid else "there is none to choose from"
