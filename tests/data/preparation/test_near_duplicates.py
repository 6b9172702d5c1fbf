"""Near duplicates: how alike two texts are, which are found, and which row stays."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from src.core.user_errors import UserErrors
from src.data.preparation import near_duplicates as module
from src.data.preparation.near_duplicates import (
    PLACES,
    TextSigner,
    choose_band_width,
    find_missing_package,
    find_near_duplicates,
)
from tests.data.preparation.test_corpus import _corpus, held_rows

pytest.importorskip("datasketch")


def sign(*texts: str | tuple[str, str]) -> np.ndarray:
    signer = TextSigner()
    signed = (signer.sign(*((text,) if isinstance(text, str) else text)) for text in texts)
    return np.stack([np.frombuffer(signature, dtype=np.uint16) for signature in signed])


def find_leaders(signatures: np.ndarray, threshold: float, **options: Any) -> list[int]:
    leaders: list[int] = find_near_duplicates(signatures, threshold, **options).leaders.tolist()
    return leaders


def words(*numbers: int) -> str:
    return " ".join(f"word{number}" for number in numbers)


def test_a_signature_estimates_the_jaccard_index() -> None:
    # 101 pairs of neighbours in each, with both edges; the edge before the first is shared, and
    # so are 79 pairs: 80 / (101 + 101 - 80) = 0.656
    first, second = sign(words(*range(100)), words(*range(80), *range(200, 220)))
    assert abs(float((first == second).mean()) - 80 / 122) < 3 * np.sqrt(0.656 * 0.344 / PLACES)


def test_capitals_punctuation_and_spaces_do_not_count() -> None:
    signed = sign("The film, I think, is GOOD!", "the film - I think - is\n good", "The film")
    assert (signed[0] == signed[1]).all()
    assert (signed[0] != signed[2]).any()


def test_a_word_is_a_character_where_no_spaces_are_written() -> None:
    first, second = sign("今天的电影很好看我们都喜欢", "今天的电影很好看他们都喜欢")
    # 14 pairs each, 12 of them shared
    assert abs(float((first == second).mean()) - 12 / 16) < 0.15


def test_texts_of_a_pair_are_told_apart() -> None:
    one, other, joined = sign(("a b", "c d"), ("c d", "a b"), "a b c d")
    assert (one != other).any() and (one != joined).any()


def test_a_long_text_is_hashed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    text = words(*range(100))
    whole = sign(text)
    monkeypatch.setattr(module, "_BLOCK_WORDS", 7)
    assert (sign(text) == whole).all()


def test_texts_without_words_are_no_duplicates() -> None:
    assert find_leaders(sign("", "!!!", "", "a", "A."), 0.8) == [0, 1, 2, 3, 3]


def test_the_first_of_nearly_equal_rows_stays() -> None:
    rows = sign(
        words(*range(100)),
        words(*range(300, 400)),
        words(*range(98), 900),
        words(*range(100)),
        words(*range(302, 400)),
    )
    assert find_leaders(rows, 0.8) == [0, 1, 0, 0, 1]


def test_a_row_like_one_that_is_gone_stays_unless_it_is_like_the_first() -> None:
    # neighbours share 80 of 100 words, about 0.66; those two apart share 60, about 0.43
    chain = sign(*(words(*range(begin, begin + 100)) for begin in range(0, 100, 20)))
    assert find_leaders(chain, 0.55) == [0, 0, 2, 2, 4]


def test_held_out_rows_stay_and_what_is_like_them_goes() -> None:
    test, train = words(*range(50)), words(*range(100, 150))
    rows = sign(test, test, train, test + " more", train)
    assert find_leaders(rows, 0.8, num_held_out=2) == [0, 1, 2, 0, 2]
    kept = find_near_duplicates(rows, 0.8, num_held_out=2, may_repeat=True)
    assert kept.leaders.tolist() == [0, 1, 2, 3, 2]
    assert kept.repeated.tolist() == [True, True]


@pytest.mark.parametrize("threshold", [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
def test_bands_find_nine_in_ten_of_the_pairs_at_the_threshold(threshold: float) -> None:
    width = choose_band_width(threshold)
    assert 1 - (1 - threshold**width) ** (PLACES // width) >= 0.9
    assert width == {0.4: 3, 0.5: 3, 0.6: 4, 0.7: 6, 0.8: 8, 0.9: 14, 1.0: 128}[threshold]


def edit(text: Sequence[str], share: float, draw: random.Random) -> list[str]:
    return [f"new{draw.random()}" if draw.random() < share else word for word in text]


def compute_jaccard(first: Sequence[str], second: Sequence[str]) -> float:
    pairs = [set(zip(["|", *text], [*text, "|"], strict=True)) for text in (first, second)]
    return len(pairs[0] & pairs[1]) / len(pairs[0] | pairs[1])


def test_recall_beyond_the_threshold() -> None:
    draw = random.Random(1)
    firsts = [[f"w{draw.randrange(5000)}" for _ in range(200)] for _ in range(300)]
    seconds = [edit(first, (0.03, 0.1)[n % 2], draw) for n, first in enumerate(firsts)]
    leaders = find_leaders(sign(*map(" ".join, firsts + seconds)), 0.8)
    found = np.equal(leaders[300:], range(300))
    assert leaders[:300] == list(range(300))
    assert all(leaders[300 + n] == 300 + n for n in np.flatnonzero(~found))
    alike = np.array(list(map(compute_jaccard, firsts, seconds)))
    assert (alike > 0.87).sum() > 30 and (alike < 0.7).sum() > 5
    assert found[alike > 0.87].all()
    assert not found[alike < 0.7].any()


def test_a_corpus_without_its_near_duplicates() -> None:
    text = words(*range(30))
    source = held_rows(
        train=[
            (text, "yes"),
            (words(*range(50, 80)), "no"),
            (text + " more", "yes"),
            (text.upper(), "no"),
            (words(*range(200, 230)) + " end", "no"),
        ],
        test=[(words(*range(200, 230)), "yes")],
        validation=[("other", "no")],
    )
    survey = _corpus(source, task="classification", near_duplicates=0.8).survey_rows()
    assert survey.data_summary["counts"] == {
        "test/read": 1,
        "test/kept": 1,
        "validation/read": 1,
        "validation/kept": 1,
        "train/read": 5,
        "train/kept": 2,
        "train/near_overlap": 1,
        "train/near_duplicates": 1,
        "train/contradicting_near_duplicates": 1,
    }
    assert survey.places["train"].tolist() == [1, 1, 0, 0, 0]
    assert survey.data_summary["labels"]["train"] == {"no": 1, "yes": 1}
    kept = _corpus(source, task="classification", near_duplicates=0.8, overlap="keep").survey_rows()
    assert kept.places["train"].tolist() == [1, 1, 0, 0, 1]


def test_datasketch_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UserErrors) as caught:
        raise UserErrors(list(find_missing_package()))
    assert str(caught.value) == (
        "data.cleaning.near_duplicates: near duplicates need the package datasketch; "
        "pip install -e '.[near-duplicates]'; data.cleaning.near_duplicates=null looks for none"
    )
