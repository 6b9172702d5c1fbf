"""The language that a text is most likely in, by the library py3langid (Lui and Baldwin, 2012:
naive Bayes over sequences of bytes), which brings its model with it: nothing is fetched.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

from src.core.user_errors import UserError, format_suggestion

_KEY = "data.cleaning.languages"


def find_language_errors(languages: Sequence[str]) -> Iterator[UserError]:
    """The error of an installation without py3langid, or of languages that it does not know."""
    if not languages:
        yield UserError(key=_KEY, expected="one language or more, or null", found="[]")
        return
    if find_spec("py3langid") is None:
        yield UserError(
            "languages are told by the package py3langid; pip install -e '.[languages]'",
            key=_KEY,
            hint="{key}=null tells none",
        )
        return
    known = _load_identifier().labels
    for language in languages:
        if language not in known:
            yield UserError(
                "py3langid knows no such language",
                key=_KEY,
                value=language,
                expected="codes of ISO 639 such as en, de or zh",
                hint=format_suggestion(language, known) if language.casefold() in known else None,
            )


def has_letters(text: str, count: int) -> bool:
    """Whether a text has so many letters."""
    found = 0
    for character in text:
        found += character.isalpha()
        if found >= count:
            return True
    return False


def identify_language(text: str) -> str:
    """The code of the text's likeliest language, the same whatever was asked before."""
    return str(_load_identifier().classify(text)[0])


@cache
def _load_identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE)
