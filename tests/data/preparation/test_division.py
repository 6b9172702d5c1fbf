"""Rows that are divided by a column: whole groups, and by time."""

import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.core.user_errors import UserError, UserErrors
from src.data.preparation.division import DivisionColumn, find_division_errors
from src.data.preparation.splitting import SPLITS, Split
from src.data.reading.sources import Source
from src.data.rows.records import RawRecord
from tests.data.preparation.test_corpus import Held, _corpus


def dated(value: Any, column: str = "date") -> RawRecord:
    return RawRecord("a", None, None, "a.csv, line 2", {column: value})


def divide(split: Split, values: list[Any]) -> list[str]:
    dtype = np.float64 if split.time is not None else np.uint64
    places = split.assign_splits(
        len(values), None, validation=True, test=True, column_values=np.array(values, dtype=dtype)
    )
    return [SPLITS[place] for place in places]


def test_the_newest_rows_are_test_and_the_next_validation() -> None:
    split = Split(validation=0.2, test=0.2, time="year")
    years = [2003, 2001, 2010, 2002, 2009, 2004, 2005, 2008, 2006, 2007]
    expected = {2010: "test", 2009: "test", 2008: "validation", 2007: "validation"}
    assert divide(split, years) == [expected.get(year, "train") for year in years]


def test_rows_of_one_time_stay_together() -> None:
    split = Split(validation=0.3, test=0.1, time="year")
    # one row would be nearest to a tenth, but the newest time has three
    assert divide(split, [3, 1, 3, 1, 2, 2, 3, 1, 1, 1]) == [
        {1: "train", 2: "validation", 3: "test"}[year] for year in [3, 1, 3, 1, 2, 2, 3, 1, 1, 1]
    ]
    # the last times are not spent on test, so that all have some
    assert divide(Split(validation=0.1, test=0.8, time="year"), [1, 2, 3]) == [
        "train",
        "validation",
        "test",
    ]


def test_no_group_is_in_two_splits() -> None:
    draw = np.random.default_rng(1)
    groups = draw.integers(0, 200, 3000)
    places = np.array(divide(Split(validation=0.2, test=0.1, group="patient"), groups.tolist()))
    assert all(len(set(places[groups == group])) == 1 for group in range(200))
    assert abs((places == "validation").mean() - 0.2) < 0.02
    assert abs((places == "test").mean() - 0.1) < 0.02
    other = divide(Split(validation=0.2, test=0.1, group="patient", seed=1), groups.tolist())
    assert other != places.tolist()


def test_a_group_that_is_too_large_is_left_in_train() -> None:
    groups = [1] * 90 + [2] * 5 + [3] * 5
    places = divide(Split(validation=0.05, test=0.05, group="patient"), groups)
    assert places[:90] == ["train"] * 90
    assert {places[90], places[95]} == {"validation", "test"}


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (
            Split(group="patient"),
            "data.split.group=patient: has 1 value in 3 rows, and train and validation need one "
            "each",
        ),
        (
            Split(time="date", test=0.1),
            "data.split.time=date: has 1 value in 3 rows, and train and test and validation need "
            "one each",
        ),
    ],
)
def test_one_value_only(split: Split, message: str) -> None:
    with pytest.raises(UserError) as caught:
        divide(split, [1, 1, 1])
    assert str(caught.value) == message


def test_groups_and_time_at_once() -> None:
    with pytest.raises(UserError) as caught:
        Split(group="patient", time="date")
    assert str(caught.value) == (
        "data.split.group=patient: rows are divided by groups or by time, and not by both, found "
        "data.split.time=date"
    )


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (2, 10),
        ("2", "10"),
        ("2.5", 3),
        ("2024-02-01", "2024-12-31"),
        ("2024-02", "2024-02-02"),
        ("2024/02/01", date(2024, 2, 2)),
        ("2024-01-01T12:00:00+02:00", "2024-01-01 11:00"),
        (date(2024, 1, 1), datetime(2024, 1, 1, 1, tzinfo=UTC)),
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:01"),
    ],
)
def test_what_is_older(older: Any, newer: Any) -> None:
    column = DivisionColumn(kind="time", column="date")
    assert column.read_value(dated(older)) < column.read_value(dated(newer))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "03/04/2021",
            "a.csv, line 2: 'date' is '03/04/2021', which cannot be put in order; "
            """'data.split.time_format="%d/%m/%Y"' or 'data.split.time_format="%m/%d/%Y"' says """
            "how dates are written (data.split.time)",
        ),
        ("nan", "a.csv, line 2: 'date' is 'nan', which cannot be put in order; dates are "),
        (" ", "a.csv, line 2: 'date' is empty; every row needs one (data.split.time)"),
        (None, "a.csv, line 2: 'date' is empty; every row needs one (data.split.time)"),
        (
            2021,
            "a.csv, line 2: 'date' is '2021', a number, and a date in earlier rows "
            "(data.split.time)",
        ),
    ],
)
def test_dates_that_cannot_be_put_in_order(value: Any, message: str) -> None:
    column = DivisionColumn(kind="time", column="date")
    column.read_value(dated("2024-12-31"))
    with pytest.raises(UserError) as caught:
        column.read_value(dated(value))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("format", "older", "newer"),
    [
        ("%d/%m/%Y", "31/01/2020", "01/02/2020"),
        ("%m/%d/%y %I:%M %p", "12/31/19 11:59 PM", "1/1/20 12:01 AM"),
        ("%Y%m%d", "20191231", "20200101"),
        (
            "%a %b %d %H:%M:%S %z %Y",
            "Mon Feb 03 10:00:00 +0200 2020",
            "Mon Feb 03 09:00:00 +0000 2020",
        ),
    ],
)
def test_dates_in_a_format(format: str, older: str, newer: str) -> None:
    column = DivisionColumn.build(Split(time="date", time_format=format))
    assert column is not None
    assert column.read_value(dated(older)) < column.read_value(dated(newer))
    with pytest.raises(UserError) as caught:
        column.read_value(dated("2020-01-31"))
    assert str(caught.value) == (
        f"a.csv, line 2: 'date' is '2020-01-31' and not written {format} (data.split.time_format)"
    )
    # a number is in order; of others it is what is proposed
    if format != "%Y%m%d":
        with pytest.raises(UserError, match=re.escape(f'data.split.time_format="{format}"')):
            DivisionColumn(kind="time", column="date").read_value(dated(older))


@pytest.mark.parametrize("format", ["31/12/2024", "%d/%d", "%Q", ""])
def test_formats_that_cannot_be(format: str) -> None:
    with pytest.raises(UserError) as caught:
        Split(time="date", time_format=format)
    assert str(caught.value) == (
        f"data.split.time_format={format}: expected codes such as %d/%m/%Y for 31/12/2024"
    )
    with pytest.raises(UserError, match="is about the dates of data.split.time, which names no"):
        Split(time_format="%d")


def test_a_source_without_the_column() -> None:
    column = DivisionColumn(kind="group", column="patient")
    with pytest.raises(UserError) as caught:
        column.read_value(dated(1, "patients"))
    assert str(caught.value) == (
        "data.split.group=patient: a.csv, line 2: there is no column 'patient'; "
        "did you mean 'patients'?"
    )


def test_names_of_groups_are_compared_as_texts() -> None:
    column = DivisionColumn(kind="group", column="date")
    values = [column.read_value(dated(name)) for name in (1, "1 ", "one", "One")]
    assert values[0] == values[1] and len(set(values)) == 3


def write(folder: Path, **rows: list[str]) -> Source:
    for split, lines in rows.items():
        (folder / f"{split}.csv").write_text("\n".join(["text,label,patient,date", *lines]))
    return Source(path=str(folder), label="label")


def test_groups_of_held_out_splits_leave_train(tmp_path: Path) -> None:
    source = write(
        tmp_path,
        train=[f"text {n},{n % 2},{n // 2},2024-01-{n + 1:02d}" for n in range(20)],
        test=["other,0,3,2024-01-01", "others,1,99,2024-01-01"],
    )
    survey = _corpus(
        source, task="classification", split=Split(validation=0.25, group="patient")
    ).survey_rows()
    places = survey.places["train"].tolist()
    assert places[6:8] == [0, 0]
    assert places.count(0) == 2
    assert all(places[n] == places[n + 1] for n in range(0, 20, 2))
    assert survey.data_summary["counts"]["train/held_out_group"] == 2
    assert survey.data_summary["rows"]["validation"] == 4
    assert survey.data_summary["remarks"][-1] == (
        "the rows of validation are 2 of 9 groups by 'patient', 22.2 % of the rows"
    )


def test_a_corpus_that_is_divided_by_time(tmp_path: Path) -> None:
    source = write(
        tmp_path, train=[f"text {n},{n % 2},1,2024-01-{n + 1:02d}" for n in range(20)][::-1]
    )
    survey = _corpus(
        source, task="classification", split=Split(validation=0.1, test=0.2, time="date")
    ).survey_rows()
    assert survey.places["train"].tolist() == [3] * 4 + [2] * 2 + [1] * 14
    assert survey.data_summary["remarks"][-2:] == [
        "the rows of validation are those of 'date' from 2024-01-15 to 2024-01-16, "
        "10.0 % of the rows",
        "the rows of test are those of 'date' from 2024-01-17 to 2024-01-20, 20.0 % of the rows",
    ]


def test_time_that_divides_nothing(tmp_path: Path) -> None:
    rows = ["a,0,1,2024-01-01", "b,1,1,2024-01-02", "c,0,1,2024-01-03"]
    source = write(tmp_path, train=rows, validation=["v,0,1,then"], test=["t,1,1,now"])
    survey = _corpus(source, task="classification", split=Split(time="date")).survey_rows()
    assert survey.data_summary["remarks"][-1] == (
        "'date' divides nothing: no split is taken out of train (data.split.time)"
    )


def test_a_source_of_ones_own_that_keeps_no_columns() -> None:
    source = Held({"train": [RawRecord("a", None, "x", "held, row 1")]})
    with pytest.raises(UserError, match=r"held, row 1: there is no column 'patient'$"):
        _corpus(source, task="classification", split=Split(group="patient")).survey_rows()


def test_a_column_that_is_not_in_the_files(tmp_path: Path) -> None:
    source = write(tmp_path, train=["a,0,1,2024-01-01"])
    (tmp_path / "test.csv").write_text("text,label\nb,1\n")
    with pytest.raises(UserErrors) as caught:
        raise UserErrors(list(find_division_errors(source, "group", "patients")))
    assert str(caught.value).splitlines() == [
        "data.split.group=patients: train.csv has no such column; did you mean 'patient'?",
        "data.split.group=patients: test.csv has no such column; valid: label, text",
    ]
    assert list(find_division_errors(source, "time", "date")) == []
    (tmp_path / "lines.txt").write_text("a\n")
    texts = Source(path=str(tmp_path / "lines.txt"))
    (error,) = find_division_errors(texts, "time", "date")
    assert str(error) == "data.split.time=date: text files have no columns"
