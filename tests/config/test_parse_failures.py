"""The argument that a message proposes gives, typed in a shell, the text that was meant."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from src.config.parse_failures import quote_override


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
