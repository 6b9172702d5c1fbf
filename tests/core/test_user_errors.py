"""A UserError is data; its text is made when it is printed."""

import pickle
from typing import Any

import pytest

from src.core.user_errors import (
    UserError,
    UserErrors,
    format_known,
    format_suggestion,
    split_errors,
    suggest,
)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"problem": "a whole sentence"}, "a whole sentence"),
        ({"problem": "wrong", "key": "a.b", "hint": "c?"}, "a.b: wrong; c?"),
        ({"key": "port", "value": "x", "expected": "a number"}, "port=x: expected a number"),
        ({"key": "a", "expected": "1", "found": "'x'"}, "a: expected 1, found 'x'"),
        (
            {"problem": "is empty", "key": "a", "expected": "b", "colon": False},
            "a is empty: expected b",
        ),
        (
            {"problem": "cut", "where": "m/x", "hint": "copy it", "key": "a"},
            "m/x: cut; copy it (a)",
        ),
        (
            {"problem": "wrong", "key": "a", "hint": "b", "alternative": ("c", "1")},
            "a: wrong; b (c=1)",
        ),
        ({}, ""),
    ],
)
def test_text(fields: dict[str, Any], text: str) -> None:
    assert str(UserError(**fields)) == text


def test_keys_are_renamed_as_fields() -> None:
    error = UserError(
        "key data.path is text here", key="data.path", hint="as {key}=FILE", alternative=("b", "1")
    )
    named = error.with_renamed_keys({"data.path": "file"})
    assert str(named) == "file: key data.path is text here; as file=FILE"
    assert str(error) == "data.path: key data.path is text here; as data.path=FILE (b=1)"
    several = UserErrors([error, "other"]).with_renamed_keys({"data.path": "file"})
    assert several.messages == [str(named), "other"]


def test_a_key_is_given_where_there_is_none() -> None:
    assert str(UserError("wrong").with_key("a")) == "a: wrong"
    assert str(UserError("wrong", key="b").with_key("a")) == "b: wrong"
    assert str(UserError("b is wrong", about=["b"]).with_key("a")) == "b is wrong"
    assert str(UserError("wrong", where="file").with_key("a")) == "a: file: wrong"


def test_several_are_one_error_and_each_stands_there_once() -> None:
    first = UserError("wrong", key="a")
    both = UserErrors([first, "other", UserError("wrong", key="a")])
    assert both.errors[0] is first and str(both) == "a: wrong\nother"
    assert split_errors(both) == both.errors and split_errors(first) == [first]


def test_errors_cross_processes() -> None:
    error = UserError("wrong", key="a", hint="b")
    for sent in (error, UserErrors([error, "c"])):
        assert str(pickle.loads(pickle.dumps(sent))) == str(sent)


def test_suggestions() -> None:
    assert suggest("LINAER", ["linear", "cosine"]) == "linear"
    # what is typed is rather the beginning of a name than another name with a slip
    assert suggest("test/ACC", ["test/auroc", "test/accuracy"]) == "test/accuracy"
    assert suggest("val", ["vat", "val/loss_of_all", "val/loss"]) == "val/loss"
    assert suggest("l", ["linear"]) is None
    assert suggest("zzz", ["linear"]) is suggest("a", []) is None
    assert format_suggestion("linaer", ["Linear", "cosine"]) == "did you mean 'Linear'?"
    assert format_suggestion("zzz", ["b", "a"]) == "valid: a, b"
    assert format_suggestion("zzz", []) == "there is none to choose from"
    assert format_known("linaer", ["linear", "cosine"]) == (
        "did you mean 'linear'? valid: cosine, linear"
    )
    assert format_known("zzz", ["b", "a"]) == "valid: a, b"
