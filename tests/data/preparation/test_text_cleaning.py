"""Texts that are made plain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.data.preparation.text_cleaning import (
    apply_normal_form,
    collapse_whitespace,
    compute_symbol_share,
    drop_control_characters,
    strip_html,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a <b>good</b> <i class='x'>film</i>", "a good film"),
        ("<p>One.</p><p>Two<br/>three</p>", "\nOne.\n\nTwo\nthree\n"),
        ("fish &amp; chips &lt;3 &#39;so&#39; &eacute;", "fish & chips <3 'so' é"),
        # what is written as text stays
        ("the &lt;b&gt; tag", "the <b> tag"),
        ("a < b and c > d, 1<2", "a < b and c > d, 1<2"),
        ("I <3 it", "I <3 it"),
        ("x<!-- not\nshown -->y", "xy"),
        ("a<SCRIPT type='x'>if (1 < 2) {}</script >b<style>p {}</style>c", "abc"),
        ("<!DOCTYPE html><html><body>a</body></html>", "a"),
        ("no tags", "no tags"),
    ],
)
def test_html(text: str, expected: str) -> None:
    assert strip_html(text) == expected


def test_characters_that_show_nothing() -> None:
    assert drop_control_characters("a\0b\x1bc\x85d\xade\u200bf\ufeffg\u202eh\u2066i") == (
        "abc\x85defghi"
    )
    kept = "tab\tline\r\nfeed\x0c \xa0 \u200c \u200d \U0001f468\u200d\U0001f469 e\u0301"
    assert drop_control_characters(kept) == kept


def test_normal_forms() -> None:
    assert apply_normal_form("e\u0301", "NFC") == "\xe9"
    assert apply_normal_form("\ufb01\uff21\u2460\xa0", "NFC") == "\ufb01\uff21\u2460\xa0"
    assert apply_normal_form("\ufb01\uff21\u2460\xa0", "NFKC") == "fiA1 "


@pytest.mark.parametrize(
    ("text", "share"),
    [("", 0), ("abc 12", 0), ("a,b.", 0.5), ("$$", 1), ("e\u0301", 0), ("今天。", 1 / 3)],
)
def test_share_of_symbols(text: str, share: float) -> None:
    assert compute_symbol_share(text) == pytest.approx(share)


@given(st.text())
def test_a_clean_text_is_clean(text: str) -> None:
    for make_plain in (drop_control_characters, collapse_whitespace):
        assert make_plain(make_plain(text)) == make_plain(text)
    assert all(form == apply_normal_form(form, "NFC") for form in [apply_normal_form(text, "NFC")])
