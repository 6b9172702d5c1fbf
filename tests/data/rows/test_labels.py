"""Labels: which spellings are one class, and what is said of those that are none."""

import pytest

from src.core.user_errors import UserError
from src.data.reading.label_cells import split_labels
from src.data.reading.reading_remarks import RemarkCounts
from src.data.rows.labels import (
    LabelSpace,
    RawLabel,
    normalize_label,
    require_single_label,
)
from src.data.rows.odd_labels import (
    WORD_TABLE_HINT,
    describe_odd_labels,
    guess_label_separator,
)
from src.data.rows.records import RawRecord

WHERE = "reviews.csv, line 17"
REGRESSION = (
    "data.task=regression model=regression callbacks.checkpoint.monitor=val/pearson "
    "callbacks.checkpoint.mode=max predicts numbers"
)
REMEDY = f"is it a score ({REGRESSION}), or is another column the label (data.source.label)?"


def message(call, *arguments: object, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize("label", ["positive", 1, 1.0, "1", "1.0", True])
def test_a_declared_class_has_a_name_and_an_index(label: RawLabel) -> None:
    assert LabelSpace.from_names(["negative", "positive"]).class_index(label, WHERE) == 1


def test_where_names_are_numbers_they_are_no_indices() -> None:
    stars = LabelSpace.from_names(["1", "2", "3"])
    assert [stars.class_index(label, WHERE) for label in ("1", 2, 3.0)] == [0, 1, 2]
    assert (
        message(stars.class_index, 0, WHERE)
        == f"{WHERE}: label 0 is none of the 3 classes declared; valid: 1, 2, 3"
    )


def test_values_are_how_the_file_writes_the_names() -> None:
    space = LabelSpace.from_names(["negative", "positive"], [0, 4])
    assert space.names == ("negative", "positive")
    assert [space.class_index(label, WHERE) for label in (0, "4", 4.0)] == [0, 1, 1]
    assert (
        message(space.class_index, 1, WHERE)
        == f"{WHERE}: label 1 is none of the 2 classes declared; valid: 0, 4"
    )


@pytest.mark.parametrize(
    ("label", "hint"),
    [
        ("POSITIVE", "did you mean 'positive'?"),
        ("positve", "did you mean 'positive'?"),
        (2, "valid: negative, positive"),
        (-1, "valid: negative, positive"),
        (0.5, "valid: negative, positive"),
        ("01", "valid: negative, positive"),
    ],
)
def test_a_label_that_is_none(label: RawLabel, hint: str) -> None:
    space = LabelSpace.from_names(["negative", "positive"])
    assert (
        message(space.class_index, label, WHERE)
        == f"{WHERE}: label {label!r} is none of the 2 classes declared; {hint}"
    )


def test_a_missing_label() -> None:
    space = LabelSpace.from_names(["no", "yes"])
    assert message(space.class_index, None, WHERE) == f"{WHERE}: no label; expected one of no, yes"


@pytest.mark.parametrize(
    ("names", "values", "expected"),
    [
        (["a"], None, "data.label_names has 1 (a); a classifier needs at least 2"),
        (["a", "b", "a"], None, "data.label_names: 'a' stands there 2 times"),
        (["a", "b"], [1], "data.label_values has 1 for 2 label names; expected one for each"),
        (["a", "b"], [1, "1.0"], "data.label_values: '1' stands there 2 times"),
    ],
)
def test_declarations_that_do_not_hold(
    names: list[str], values: list[str | int] | None, expected: str
) -> None:
    assert message(LabelSpace.from_names, names, values) == expected


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["pos", "neg", "pos"], ("neg", "pos")),
        (["10", "9", "1"], ("1", "9", "10")),
        ([1, "1", 1.0, True, "1.0", 0], ("0", "1")),
        (["2.5", 2.50, 10], ("2.5", "10")),
        (["10", "9", "none"], ("10", "9", "none")),
        (["007", "7"], ("007", "7")),
    ],
)
def test_classes_found_in_train(labels: list[RawLabel], names: tuple[str, ...]) -> None:
    assert LabelSpace.from_labels(labels).names == names


def test_a_label_that_train_does_not_have() -> None:
    space = LabelSpace.from_labels(["neutral", "positive"])
    assert message(space.class_index, "negative", "test.csv, line 4") == (
        "test.csv, line 4: label 'negative' is none of the 2 classes found in train; valid: "
        "neutral, positive"
    )


def test_rows_of_a_test_set_with_a_label_that_train_lacks_can_be_left_out() -> None:
    """Sentiment140 has neutral tweets in its test set alone."""
    space = LabelSpace.from_labels(["0", "4"])
    labels = {label: f"test.csv, line {label}" for label in ("0", "2", "4")}
    assert message(space.class_indices, labels, "test") == (
        "test.csv, line 2: label '2' is none of the 2 classes found in train; valid: 0, 4; "
        "'data.label_map={0: 0, 4: 4}' leaves out rows with other labels"
    )
    # a slip of the pen is asked for, and where no label is known nothing would be left
    space = LabelSpace.from_labels(["good", "bad"])
    assert "did you mean 'good'?" in message(space.class_indices, {"Good": "a", "bad": "b"}, "test")
    assert "label_map" not in message(space.class_indices, {"other": "a"}, "test")


def test_an_index_is_no_name_where_classes_were_found() -> None:
    space = LabelSpace.from_labels(["a", "b"])
    assert (
        message(space.class_index, 0, WHERE)
        == f"{WHERE}: label 0 is none of the 2 classes found in train; valid: a, b"
    )


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([], "train has no rows with a label (data.source.label)"),
        (
            ["a", "a"],
            "all 2 rows of train have the label 'a'; a classifier needs at least 2 classes "
            "(data.source.label names their column)",
        ),
        (["a", None], "label 2 of train is missing; classes are found among rows that have one"),
        (range(2000), f"more than 1000 classes in the first 1001 rows of train; {REMEDY}"),
        (list("abcdefghijkl"), f"12 classes in 12 rows of train; {REMEDY}"),
        (
            [n / 10 for n in range(30)] * 5,
            "30 labels in train that are all numbers, not all of them whole (0.1, 0.2, 0.3); "
            f"{REGRESSION}",
        ),
        (
            [0.0, 0.5, 1.0] * 5,
            "3 labels in train that are all numbers, not all of them whole (0.5); "
            f"{REGRESSION}, data.label_names=[0,0.5,1] takes them as classes",
        ),
        (
            ["1e-2", "0.5", "1"] * 5,
            "3 labels in train that are all numbers, not all of them whole (0.5, 1e-2); "
            f"{REGRESSION}, data.label_names=[1e-2,0.5,1] takes them as classes",
        ),
    ],
)
def test_columns_that_are_no_classes(labels: list[RawLabel], expected: str) -> None:
    assert message(LabelSpace.from_labels, labels) == expected


@pytest.mark.parametrize(
    "spelling",
    ["pos ", " pos", "\tpos", "pos\u00a0", "pos\r", "pos\r\n", "\u200bpos", "\ufeffpos", "pos\x00"],
)
def test_what_cannot_be_seen_makes_no_class_of_its_own(spelling: str) -> None:
    assert LabelSpace.from_labels(["neg", "pos", spelling]).names == ("neg", "pos")
    assert normalize_label(spelling) == "pos"


def test_accents_are_composed_and_numbers_keep_their_order() -> None:
    assert LabelSpace.from_labels(["café", "cafe\u0301", "thé"]).names == ("café", "thé")
    assert LabelSpace.from_labels(["1 ", "1", 10, " 9"]).names == ("1", "9", "10")
    # joiners inside a word belong to it
    assert normalize_label("a\u200db ") == "a\u200db"


def test_a_label_of_nothing_but_invisible_characters_is_missing() -> None:
    assert normalize_label(" \u200b\ufeff") is None


def test_names_may_be_declared_as_numbers() -> None:
    stars = LabelSpace.from_names([1, 2, 3, 4, 5])
    assert stars.names == ("1", "2", "3", "4", "5")
    assert stars.class_index("5.0", WHERE) == 4
    assert LabelSpace.from_names([0, 0.5, 1]).class_index("0.50", WHERE) == 1
    assert LabelSpace.from_names(["no", "yes"], [0, 1.5]).class_index("1.50", WHERE) == 1


@pytest.mark.parametrize(
    ("names", "labels", "split", "hint"),
    [
        (
            ["world", "sports", "business", "tech"],
            ["3", "4", "2", "1"],
            "train",
            "data.label_values=[1,2,3,4] says that the data write world, sports, business, tech so",
        ),
        (
            ["neg", "pos"],
            ["4", "0"],
            "train",
            "data.label_values=[0,4] says that the data write neg, pos so",
        ),
        (
            ["neg", "pos"],
            ["Pos", "Neg"],
            "train",
            "data.label_values=[Neg,Pos] says that the data write neg, pos so",
        ),
        (
            ["0", "1"],
            [-1],
            "test",
            "-1 is the only one in test: does it stand for 'no label'? data.source.test=null "
            "leaves test out",
        ),
        (
            ["0", "1"],
            ["0", "-1"],
            "train",
            "does it stand for 'no label'? an empty cell does, and such rows are left out",
        ),
    ],
)
def test_unknown_labels_name_the_option_that_mends_them(
    names: list[str], labels: list[RawLabel], split: str, hint: str
) -> None:
    space = LabelSpace.from_names(names)
    text = message(space.class_indices, dict.fromkeys(labels, WHERE), split)
    assert text.startswith(f"{WHERE}: label ")
    assert text.endswith(f" is none of the {len(names)} classes declared; {hint}")


@pytest.mark.parametrize(
    ("counts", "remarks"),
    [
        ({"neg": 5, "pos": 7}, []),
        (
            {"Pos": 3, "neg": 5, "pos": 7},
            [
                "labels that look alike are classes of their own: 'Pos' (3 rows), 'pos' (7 rows); "
                "'data.label_map={Pos: pos, neg: neg, pos: pos}' merges them"
            ],
        ),
        (
            {"NA": 4, "neg": 5, "pos": 7},
            [
                "the label 'NA' is a class (4 rows); only an empty cell is a missing label; "
                "'data.label_map={neg: neg, pos: pos}' leaves it out"
            ],
        ),
        (
            {"18": 5, "20": 5, "5": 5, "5,18": 5, "5,18,20": 5},
            [
                "2 of 5 classes look like several labels in one cell, such as '5,18'; every "
                "combination is a class of its own; data.source.label_separator=comma "
                "data.task=multi_label model=multi_label "
                "callbacks.checkpoint.monitor=val/f1_macro callbacks.checkpoint.mode=max learns "
                "several"
            ],
        ),
        (
            {"MM\nPR": 5, "MM": 5, "PR": 5},
            [
                "1 of 3 classes look like several labels in one cell, such as 'MM\nPR'; every "
                "combination is a class of its own; data.source.label_separator=newline "
                "data.task=multi_label model=multi_label "
                "callbacks.checkpoint.monitor=val/f1_macro callbacks.checkpoint.mode=max learns "
                "several"
            ],
        ),
        (
            {"[0, 1, 1]": 5, "[1, 0, 0]": 5},
            [
                "the classes are lists of 1 and 0, such as '[0, 1, 1]'; every combination is a "
                "class of its own; data.source.label_threshold=0.5 data.task=multi_label "
                "model=multi_label callbacks.checkpoint.monitor=val/f1_macro "
                "callbacks.checkpoint.mode=max learns several"
            ],
        ),
        ({"Portland, Oregon": 5, "Salem": 6}, []),
        (
            {'{"choices": ["fast", "cheap"]}': 5, "cheap": 9},
            [
                "1 of 2 classes look like several labels in one cell, such as "
                """'{"choices": ["fast", "cheap"]}'; every combination is a class of its own; """
                "data.source.label_separator=comma data.task=multi_label model=multi_label "
                "callbacks.checkpoint.monitor=val/f1_macro callbacks.checkpoint.mode=max learns "
                "several"
            ],
        ),
        ({"[deleted]": 5, "{x}": 9, "a": 4}, []),
        ({"O": 9, "B-cells": 5, "T-cells": 4}, []),
        (
            {"O": 90, "B-LOC": 5, "I-LOC": 4},
            [
                "the labels are tags of words (such as B-PER and O), so that each row is a word; "
                f"{WORD_TABLE_HINT}"
            ],
        ),
        (
            {"\\N": 4, "good": 5},
            ["the label '\\N' is a class (4 rows); only an empty cell is a missing label"],
        ),
        ({"a": 1, "b": 50, "c": 2}, ["2 of 3 classes have fewer than 3 rows in train: 'a', 'c'"]),
    ],
)
def test_odd_labels_are_told_of(counts: dict[str, int], remarks: list[str]) -> None:
    assert describe_odd_labels(counts) == remarks


def test_zero_with_a_sign_is_zero() -> None:
    space = LabelSpace.from_labels(["-0", "0", "1", -0.0, "-0.0"])
    assert space.names == ("0", "1")
    assert space.class_index("-0", "here") == 0
    counts = RemarkCounts()
    for label in ("-0", "0", -0.0):
        counts.count("train", RawRecord("a", None, label, "a.csv, line 2"))
    assert counts.describe() == [
        "train: 1 row with the label -0, which is taken as 0 (the first: a.csv, line 2)"
    ]


def test_a_list_of_one_label_is_that_label() -> None:
    assert require_single_label(("a",), "row 1") == "a"
    assert require_single_label((), "row 1") is None
    with pytest.raises(UserError, match="2 labels"):
        require_single_label(("a", "b"), "row 1")


def test_tags_in_angle_brackets() -> None:
    tags = ["<r>", "<python>", "<python><pandas>", "<r><ggplot2>"]
    found = guess_label_separator(tags)
    assert found == ("><", ["<python><pandas>", "<r><ggplot2>"])
    assert [split_labels(tag, "><") for tag in tags[1:3]] == [("python",), ("python", "pandas")]
