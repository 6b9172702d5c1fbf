"""Training rows in other languages are left out, and those too short to be judged stay."""

import sys

import pytest

from src.core.user_errors import UserError
from src.data.preparation import languages
from src.data.preparation.cleaning import Cleaning
from tests.data.preparation.test_cleaning import cleaned, rows

ENGLISH = "The weather in the north of the country will be cold and rainy until the weekend."
GERMAN = "Das Wetter im Norden des Landes bleibt bis zum Wochenende kalt und regnerisch."
FRENCH = "Le temps dans le nord du pays restera froid et pluvieux jusqu'à la fin de la semaine."
SHORT = "Guten Tag"
ALL = ((ENGLISH, "x"), (GERMAN, "x"), (FRENCH, "x"), (SHORT, "x"))


def test_languages_are_told() -> None:
    found = [languages.identify_language(text) for text in (ENGLISH, GERMAN, FRENCH, ENGLISH)]
    assert found == ["en", "de", "fr", "en"]


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [(["en"], [ENGLISH, SHORT]), (["fr", "de"], [GERMAN, FRENCH, SHORT]), (["da"], [SHORT])],
)
def test_rows_in_other_languages_are_left_out_of_train_alone(
    wanted: list[str], kept: list[str]
) -> None:
    cleaning = Cleaning(languages=wanted)
    found, counts = cleaned(cleaning, rows(*ALL))
    assert [record.text for record in found] == kept
    assert counts == {
        "train/read": 4,
        "train/kept": len(kept),
        "train/other_language": 4 - len(kept),
        "train/language_unknown": 1,
    }
    for split in ("validation", "test", "predict"):
        assert len(cleaned(cleaning, rows(*ALL), split=split)[0]) == 4


def test_texts_are_judged_from_a_number_of_letters_on() -> None:
    letters = sum(map(str.isalpha, GERMAN))
    assert languages.has_letters(GERMAN, letters) and not languages.has_letters(GERMAN, letters + 1)
    for least, left in ((letters, 0), (letters + 1, 1)):
        cleaning = Cleaning(languages=["en"], language_min_letters=least)
        found, counts = cleaned(cleaning, rows((GERMAN, "x")))
        assert (len(found), counts.get("train/language_unknown", 0)) == (left, left)


def test_a_language_that_is_not_known() -> None:
    Cleaning(languages=["en", "zh"]).check()
    with pytest.raises(UserError) as caught:
        Cleaning(languages=["english"]).check()
    assert str(caught.value) == (
        "data.cleaning.languages=english: py3langid knows no such language: expected codes of ISO "
        "639 such as en, de or zh"
    )
    with pytest.raises(UserError, match=r"expected one language or more, or null, found \[\]"):
        Cleaning(languages=[]).check()
    with pytest.raises(UserError, match="did you mean 'en'"):
        Cleaning(languages=["EN"]).check()


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py3langid", None)
    monkeypatch.setattr(languages, "find_spec", lambda name: None)
    with pytest.raises(UserError) as caught:
        Cleaning(languages=["en"]).check()
    assert str(caught.value) == (
        "data.cleaning.languages: languages are told by the package py3langid; pip install -e "
        "'.[languages]'; data.cleaning.languages=null tells none"
    )
