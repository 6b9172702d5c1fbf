"""The argument that a message proposes gives, typed in a shell, the text that was meant."""

import shlex

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from src.config.parse_failures import explain_parse_failure, quote_override


@pytest.mark.parametrize(
    "text",
    [
        "~/x.csv",
        "data/year=2024/x.csv",
        "größe.csv",
        "a, b",
        "a'b",
        'a "b" c',
        "C:\\data\\x.csv",
        "ends in a backslash\\",
        'a backslash before a quote \\"',
        "{open",
        "[1",
        "a#b@c%d",
    ],
)
def test_a_quoted_value_is_the_text_itself(text: str) -> None:
    [argument] = shlex.split(quote_override("name", text))
    assert OverridesParser.create().parse_override(argument).value() == text


def test_quotes_that_are_there_are_no_part_of_the_text() -> None:
    assert quote_override("name", "'a=b'") == quote_override("name", "a=b")


@pytest.mark.parametrize(
    ("value", "typed"),
    [
        ('{"very good": 1, bad: 0}', "{very good: 1, bad: 0}"),
        ("{'a, b: c': x}", "{a\\, b\\: c: x}"),
        ('{"(none)": null, "x[1]": y}', "{\\(none\\): null, x\\[1\\]: y}"),
    ],
)
def test_a_mapping_whose_keys_stand_in_quotes(value: str, typed: str) -> None:
    """What is proposed is read, and means what was typed."""
    error = explain_parse_failure(f"data.label_map={value}")
    assert str(error) == (
        f"'data.label_map={value}' cannot be read: the keys of a mapping are typed without quotes; "
        f"'data.label_map={typed}'"
    )
    [argument] = shlex.split(str(error.hint))
    read = OverridesParser.create().parse_override(argument).value()
    assert {str(key): label for key, label in read.items()} == yaml.safe_load(value)


@pytest.mark.parametrize("value", ['{"a": b', '["a": b]', '{"it"s": b}'])
def test_what_is_no_such_mapping_is_not_taken_for_one(value: str) -> None:
    assert "keys of a mapping" not in str(explain_parse_failure(f"key={value}"))


@pytest.mark.parametrize(
    ("value", "typed"),
    [
        ("[é,b]", '["é",b]'),
        ("[b c, größe ]", '[b c, "größe"]'),
        ("{a: größe}", '{a: "größe"}'),
        ("[a,[C#]]", '[a,["C#"]]'),
    ],
)
def test_texts_of_lists_and_mappings_are_quoted_one_by_one(value: str, typed: str) -> None:
    error = explain_parse_failure(f"data.x={value}")
    assert str(error).endswith(f"wants quotes of its own; 'data.x={typed}'")
    OverridesParser.create().parse_override(f"data.x={typed}")


def test_a_key_that_no_override_can_have_is_named() -> None:
    error = explain_parse_failure("data.label_map={a: x, é: y}")
    assert "'é' cannot be typed as the key of a mapping" in str(error)
