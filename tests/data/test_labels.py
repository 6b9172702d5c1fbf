"""Labels: which spellings are one class, and what is said of those that are none."""

import math

import pytest

from src.core.user_errors import UserError
from src.data.labels import LabelSpace, RawLabel, parse_regression_target

WHERE = "reviews.csv, line 17"
REMEDY = (
    "is it a score (then a regression objective fits), or is another column the label "
    "(data.source.label)?"
)


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
        (" positive", "did you mean 'positive'?"),
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
            f"30 classes that are all numbers, not all of them whole, in train; {REMEDY}",
        ),
    ],
)
def test_columns_that_are_no_classes(labels: list[RawLabel], expected: str) -> None:
    assert message(LabelSpace.from_labels, labels) == expected


@pytest.mark.parametrize(
    ("label", "number"), [("3.800", 3.8), (5, 5.0), (-0.5, -0.5), ("1e-2", 0.01), (True, 1.0)]
)
def test_numbers(label: RawLabel, number: float) -> None:
    assert parse_regression_target(label, WHERE) == number


@pytest.mark.parametrize("label", ["good", "", "3,5", "1_000", "inf", "nan", math.inf, 10**400])
def test_what_is_no_number(label: RawLabel) -> None:
    assert message(parse_regression_target, label, WHERE) == (
        f"{WHERE}: label {label!r} is not a finite number (a regression needs one; "
        "data.source.label)"
    )


def test_a_missing_number() -> None:
    assert message(parse_regression_target, None, WHERE) == f"{WHERE}: no label; expected a number"
