"""Numbers of regression: what is one, and what single precision makes of them."""

import math

import numpy as np
import pytest

from src.core.user_errors import UserError
from src.data.rows.labels import RawLabel
from src.data.rows.regression_targets import describe_close_targets, parse_regression_target

WHERE = "reviews.csv, line 17"


def message(label: RawLabel) -> str:
    with pytest.raises(UserError) as caught:
        parse_regression_target(label, WHERE)
    return str(caught.value)


@pytest.mark.parametrize(
    ("label", "number"), [("3.800", 3.8), (5, 5.0), (-0.5, -0.5), ("1e-2", 0.01), (True, 1.0)]
)
def test_numbers(label: RawLabel, number: float) -> None:
    assert parse_regression_target(label, WHERE) == number


@pytest.mark.parametrize("label", ["good", "", "3,5", "1_000", "inf", "nan", math.inf, 10**400])
def test_what_is_no_number(label: RawLabel) -> None:
    hint = "; data.source.decimal=comma where a comma stands before decimals"
    assert message(label) == (
        f"{WHERE}: label {label!r} is not a finite number (a regression needs one; "
        f"data.source.label){hint if label == '3,5' else ''}"
    )


def test_a_missing_number() -> None:
    assert message(None) == f"{WHERE}: no label; expected a number"


@pytest.mark.parametrize("label", ["1e39", -(10**40)])
def test_a_number_beyond_single_precision(label: RawLabel) -> None:
    assert message(label) == (
        f"{WHERE}: label {label!r} is too large; numbers go up to 3.4e+38 (data.source.label)"
    )


@pytest.mark.parametrize(
    "targets",
    [
        [0.1, 0.2, 0.3],
        [5.0, 5.0],
        # seconds since 1970 over a year
        np.linspace(1.7e9, 1.73e9, 100),
        # an outlier
        [1e8, *np.linspace(0, 1, 100)],
        # as close as all those numbers of double precision that are the same in single precision
        [*np.linspace(0, 1, 100), 0.5 + 1e-12],
    ],
)
def test_numbers_that_stay_apart(targets: list[float]) -> None:
    assert describe_close_targets(np.array(targets)) == []


def test_numbers_that_single_precision_does_not_tell_apart_are_told_of() -> None:
    assert describe_close_targets(1e8 + np.arange(5.0)) == [
        "the labels lie between 100000000 and 100000004, where single precision, in which they "
        "are kept, has steps of 8: 5 different ones become 1; labels from which a number near "
        "them is subtracted keep their differences"
    ]
