"""Exports of surveys, whose first rows below the header are no answers."""

import shlex
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from src.config.proposed_command import parse_typed_value
from src.core.user_errors import UserError
from src.data.reading.sources import Source
from src.data.reading.survey_rows import is_second_header
from src.look import main

QUALTRICS = [
    ["ResponseId", "Q1", "Q2"],
    ["Response ID", "What should we improve,\nin your words?", "Overall satisfaction"],
    ['{"ImportId":"_recordId"}', '{"ImportId":"QID1_TEXT"}', '{"ImportId":"QID2"}'],
]
ANSWERS = [[f"R_{n}", f"some words of answer {n}", "Good" if n % 3 else "Bad"] for n in range(30)]
MONKEY = [
    ["Respondent ID", "Your visit, please", "How was it?"],
    ["", "Open-Ended Response", "Response"],
]


def _write(path: Path, rows: list[list[str]]) -> Path:
    if path.suffix == ".xlsx":
        book = openpyxl.Workbook()
        for row in rows:
            book.active.append([cell or None for cell in row])
        book.save(path)
        return path
    lines = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _read(path: Path, **options: Any) -> list[tuple[str, Any, str | None]]:
    source = Source(path=str(path), **options)
    source.check()
    return [(one.text, one.label, one.remark) for one in source.read_records("train")]


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx"])
def test_questions_and_import_ids_are_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = _write(tmp_path / name, [*QUALTRICS, *ANSWERS])
    rows = _read(path, text="Q1", label="Q2")
    assert [row[0] for row in rows] == [answer[1] for answer in ANSWERS]
    remark = "below the questions and ImportIds of a Qualtrics export, which are passed over"
    assert [row[2] for row in rows] == [remark, *[None] * 29]
    # without a header the names go too
    assert len(_read(path, header=False, text=1, label=2)) == 30
    assert main([f"data.source.path={path}"]) == 0
    shown = capsys.readouterr().out
    assert "2 different labels: Good 20, Bad 10\n" in shown
    assert "guessed columns: text=Q1, label=Q2\n" in shown
    assert "ImportIds of a Qualtrics export" in shown


def test_import_ids_alone_and_behind_a_bad_row(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", [QUALTRICS[0], QUALTRICS[2], *ANSWERS])
    assert len(_read(path, text="Q1", label="Q2")) == 30
    path = _write(tmp_path / "b.csv", [QUALTRICS[0], ["one"], *ANSWERS])
    kept = Source(path=str(path), text="Q1").read_records("train", keep_bad=True)
    assert [record.unreadable is None for record in kept] == [False, *[True] * 30]
    with pytest.raises(UserError, match="line 2: 1 columns, the header has 3"):
        _read(path, text="Q1")


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx"])
def test_a_second_header_is_told_with_options_that_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = _write(tmp_path / name, [*MONKEY, *ANSWERS])
    named = {"text": "Your visit, please", "label": "How was it?"}
    first, *others = _read(path, **named)
    assert first[:2] == ("Open-Ended Response", "Response")
    assert {row[2] for row in others} == {None}
    remark = str(first[2])
    assert remark.startswith("that is a second header, as surveys have it (")
    words = shlex.split(remark[remark.index("(") + 1 : -1])
    typed = {
        word.partition("=")[0].removeprefix("data.source."): parse_typed_value(word)
        for word in words
    }
    assert typed == {"skip_rows": 2, "columns": MONKEY[0]}
    rows = _read(path, **named, **typed)
    assert [row[0] for row in rows] == [answer[1] for answer in ANSWERS]
    assert {row[2] for row in rows} == {None}
    assert main([f"data.source.path={path}"]) == 0
    shown = capsys.readouterr().out
    assert "2 different labels: Good 20, Bad 10\n" in shown
    assert "guessed: skip_rows=2, columns=" in shown


def test_choices_in_a_second_header_are_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As SurveyMonkey writes a question with several choices."""
    head = [
        ["Respondent ID", "What went wrong?", "", "", "Your visit"],
        ["", "Price", "Delivery", "Staff", "Open-Ended Response"],
    ]
    rows = [
        [str(n), "Price" * (n % 2), "Delivery" * (n % 3 // 2), "", f"some words of answer {n}"]
        for n in range(1, 31)
    ]
    path = _write(tmp_path / "a.csv", [*head, *rows])
    label = "data.source.label=[Delivery,Staff]"
    assert main([f"data.source.path={path}", label, "data.source.text=Your visit"]) == 0
    shown = capsys.readouterr().out
    assert "columns=[Respondent ID, What went wrong?, Delivery, Staff, Your visit]" in " ".join(
        shown.split()
    )
    assert "1 different label: Delivery 10\n" in shown
    assert "read as 1 and 0" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("names", "row", "expected"),
    [
        (["StartDate", "Q1", "Progress"], ["Start Date", "Why?", "Progress"], True),
        (["V1", "Q1", "Q2", "Finished"], ["Id", "Why?", "How?", "Finished"], True),
        (["V1", "Q1", "Q2", "Finished"], ["R_1", "why?", "Good", "yes"], False),
        (["id", "text", "label"], ["", "a response", "Response"], True),
        (["id", "text", "label"], ["", "a good film", "good"], False),
        (["id", "text", "label"], ["7", "", "Response"], False),
        (["text", "label"], ["text of mine", "label"], False),
        (["text", "label"], ["text", "label"], False),
    ],
)
def test_what_is_a_second_header(names: list[str], row: list[str], expected: bool) -> None:
    assert is_second_header(names, row) is expected


def test_many_names_are_left_to_look(tmp_path: Path) -> None:
    names = [f"name {n}" for n in range(30)]
    rows = [names, ["", *["Response"] * 29], *[[f"{n} words here"] * 30 for n in range(9)]]
    remark = _read(_write(tmp_path / "a.csv", rows), text="name 1")[0][2]
    assert "python -m src.look proposes" in str(remark)
