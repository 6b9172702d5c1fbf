"""Cleaning: what goes, what stays, and that every row is counted."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.core.user_errors import UserError
from src.data.preparation.cleaning import Cleaning, hash_text
from src.data.rows.records import RawRecord


def rows(*found: tuple[str, str | int | None]) -> list[RawRecord]:
    return [
        RawRecord(text, None, label, f"a.csv, line {line}")
        for line, (text, label) in enumerate(found, start=2)
    ]


def cleaned(
    cleaning: Cleaning, records: list[RawRecord], **options: object
) -> tuple[list[RawRecord], dict[str, int]]:
    counts: Counter[str] = Counter()
    arguments = {"split": "train", "labelled": True, "counts": counts, **options}
    return list(cleaning.clean_records(records, **arguments)), dict(counts)  # type: ignore[arg-type]


def test_nothing_is_changed_unless_asked() -> None:
    records = rows(("a <br />  b", "x"), ("a <br />  b", "x"))
    assert cleaned(Cleaning(), records) == (records, {"train/read": 2, "train/kept": 2})


@pytest.mark.parametrize(
    ("cleaning", "expected"),
    [
        (Cleaning(breaks=True), "one\n\ntwo\nthree  \t four\n"),
        (Cleaning(whitespace=True), "one<br /><br />two<BR>three four"),
        (Cleaning(breaks=True, whitespace=True), "one two three four"),
    ],
)
def test_tidying(cleaning: Cleaning, expected: str) -> None:
    text = "one<br /><br />two<BR>three  \t four\n"
    ((record,), _) = cleaned(cleaning, [RawRecord(text, text, 1, "a.csv, line 2")])
    assert record == RawRecord(expected, expected, 1, "a.csv, line 2")


def test_empty_texts_and_missing_labels_are_dropped_and_counted() -> None:
    records = [
        *rows(("a", "x"), (" \n", "x"), ("b", None)),
        RawRecord("c", "", "x", "a.csv, line 5"),
    ]
    kept, counts = cleaned(Cleaning(), records)
    assert kept == records[:1]
    assert counts == {
        "train/read": 4,
        "train/kept": 1,
        "train/empty_text": 1,
        "train/empty_pair": 1,
        "train/missing_label": 1,
    }


def test_a_text_of_tags_is_empty_only_once_they_are_gone() -> None:
    assert len(cleaned(Cleaning(), rows(("<br />", "x")))[0]) == 1
    assert len(cleaned(Cleaning(breaks=True), rows(("<br />", "x")))[0]) == 0


def test_labels_are_no_matter_where_none_are_wanted() -> None:
    assert len(cleaned(Cleaning(missing_label="error"), rows(("a", None)), labelled=False)[0]) == 1


@pytest.mark.parametrize(
    ("cleaning", "record", "message"),
    [
        (
            Cleaning(empty_text="error"),
            RawRecord(" ", None, "x", "a.csv, line 7"),
            "a.csv, line 7: the text is empty; data.cleaning.empty_text=drop leaves such rows out",
        ),
        (
            Cleaning(empty_text="error"),
            RawRecord("a", "", "x", "a.csv, line 7"),
            "a.csv, line 7: the pair is empty; data.cleaning.empty_text=drop leaves such rows out",
        ),
        (
            Cleaning(missing_label="error"),
            RawRecord("a", None, None, "a.csv, line 7"),
            "a.csv, line 7: no label; data.cleaning.missing_label=drop leaves such rows out",
        ),
    ],
)
def test_policy_error(cleaning: Cleaning, record: RawRecord, message: str) -> None:
    with pytest.raises(UserError) as caught:
        cleaned(cleaning, [record])
    assert str(caught.value) == message


def test_the_first_of_several_equal_texts_stays() -> None:
    records = rows(("a", "x"), ("b", "x"), ("a", "x"), ("a", "y"))
    kept, counts = cleaned(Cleaning(duplicates="drop"), records)
    assert kept == records[:2]
    assert counts == {
        "train/read": 4,
        "train/kept": 2,
        "train/duplicates": 1,
        "train/contradicting_duplicates": 1,
    }
    _, counts = cleaned(Cleaning(duplicates="drop"), records, labelled=False)
    assert counts == {"train/read": 4, "train/kept": 2, "train/duplicates": 2}


def test_a_number_has_one_spelling_and_a_text_is_no_number() -> None:
    records = rows(("a", 1), ("a", 1.0), ("a", True), ("a", "1"), ("a", 0))  # type: ignore[arg-type]
    _, counts = cleaned(Cleaning(duplicates="drop"), records)
    assert counts == {
        "train/read": 5,
        "train/kept": 1,
        "train/duplicates": 2,
        "train/contradicting_duplicates": 2,
    }


def test_pairs_are_equal_only_as_a_whole() -> None:
    pairs = [("ab", "c"), ("a", "bc"), ("abc", ""), ("abc", None), ("ab", "c")]
    records = [RawRecord(text, pair, 1, "a.csv, line 2") for text, pair in pairs]
    # without the empty pair
    assert len(cleaned(Cleaning(duplicates="drop", empty_text="drop"), records)[0]) == 3
    assert len({hash_text(*each) for each in pairs}) == 4


def test_training_texts_that_stand_in_test_are_dropped() -> None:
    cleaning = Cleaning(whitespace=True)
    forbidden = {hash_text("the same"), hash_text("other")}
    records = rows(("the  same ", "y"), ("mine", "x"))
    kept, counts = cleaned(cleaning, records, forbidden=forbidden)
    assert [record.text for record in kept] == ["mine"]
    # the row that was changed is the one that went
    assert counts == {"train/read": 2, "train/kept": 1, "train/overlap": 1}
    assert (
        len(cleaned(Cleaning(whitespace=True, overlap="keep"), records, forbidden=forbidden)[0])
        == 2
    )


UNFIT = [
    (Cleaning(min_words=3), "too_short", ["one two"], ["one two three", "a b c d"]),
    (Cleaning(min_characters=5), "too_short", ["four"], ["fives", "so long"]),
    (Cleaning(max_characters=5), "too_long", ["sixsix"], ["fives", "a"]),
    # 3 of 8; 2 of 8; marks are parts of letters, and white space counts
    (Cleaning(max_symbols=0.25), "symbols", ["ab = #$ d"], ["ab ##  d", "नमस्ते", "e\u0301e\u0301"]),
    (Cleaning(max_symbols=0), "symbols", ["snake_case", "a."], ["snake case", "Été 2024"]),
]


@pytest.mark.parametrize(("cleaning", "reason", "gone", "kept"), UNFIT)
def test_rows_that_are_not_worth_training_on(
    cleaning: Cleaning, reason: str, gone: list[str], kept: list[str]
) -> None:
    records = rows(*((text, "x") for text in gone + kept))
    found, counts = cleaned(cleaning, records)
    assert [record.text for record in found] == kept
    assert counts == {
        "train/read": len(records),
        "train/kept": len(kept),
        f"train/{reason}": len(gone),
    }
    for split in ("validation", "test", "predict"):
        assert len(cleaned(cleaning, records, split=split)[0]) == len(records)


def test_texts_of_a_pair_count_together() -> None:
    pair = [RawRecord("one two", "three", "x", "a.csv, line 2")]
    assert len(cleaned(Cleaning(min_words=3), pair)[0]) == 1
    assert len(cleaned(Cleaning(min_words=4), pair)[0]) == 0


def test_a_row_is_judged_as_it_is_cleaned_and_changed_rows_are_counted() -> None:
    cleaning = Cleaning(html=True, whitespace=True, min_words=2)
    records = rows(("<p>one</p>", "x"), ("<b>one</b> two", "x"), ("one two", "y"))
    kept, counts = cleaned(cleaning, records)
    assert [record.text for record in kept] == ["one two", "one two"]
    assert counts == {
        "train/read": 3,
        "train/kept": 2,
        "train/too_short": 1,
        "train/changed": 1,
    }


@given(
    st.lists(st.tuples(st.sampled_from(["", "a", "b", "c "]), st.sampled_from([None, "x", "y"])))
)
def test_every_row_is_accounted_for(found: list[tuple[str, str | None]]) -> None:
    cleaning = Cleaning(duplicates="drop")
    kept, counts = cleaned(cleaning, rows(*found), forbidden={hash_text("b")})
    reasons = {name: count for name, count in counts.items() if name != "train/read"}
    assert sum(reasons.values()) == counts.get("train/read", 0) == len(found)
    assert len(kept) == counts.get("train/kept", 0)


def test_it_streams() -> None:
    def endless():
        while True:
            yield RawRecord("a", None, "x", "a.csv, line 2")

    counts: Counter[str] = Counter()
    next(Cleaning().clean_records(endless(), split="test", labelled=True, counts=counts))
    assert counts == {"test/read": 1, "test/kept": 1}


def test_a_fingerprint_per_policy() -> None:
    policies = [
        Cleaning(),
        Cleaning(breaks=True),
        Cleaning(whitespace=True),
        Cleaning(duplicates="drop"),
    ]
    assert len({each.compute_fingerprint() for each in policies}) == 4
    assert Cleaning().compute_fingerprint() == Cleaning(breaks=False).compute_fingerprint()


def test_an_unknown_policy() -> None:
    with pytest.raises(UserError) as caught:
        Cleaning(duplicates="dropp")  # type: ignore[arg-type]
    assert str(caught.value) == (
        "Cleaning.duplicates: expected one of keep, drop, found 'dropp'; did you mean 'drop'?"
    )
