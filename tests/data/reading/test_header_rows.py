"""Where headers stand: what comes before them is told of, and what to type works as it stands."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from src.core.user_errors import UserError
from src.data.reading.header_rows import count_lines_before_header, propose_names
from src.data.reading.sources import Source
from src.look import main
from tests.data.reading.test_readers import put, read
from tests.data.reading.test_spreadsheets import _save

ROWS = [("a fine day", "good"), ("rain again", "bad"), ("so so", "bad")]
BODY = "".join(f"{text},{label}\n" for text, label in ROWS)


def _follow(path: Path, options: dict[str, object]) -> list[tuple[str, object]]:
    """What is read with the options that the message for `path` proposes."""
    with pytest.raises(UserError) as caught:
        Source(path=str(path), **options).check()  # type: ignore[arg-type]
    typed = re.findall(r"data\.source\.(\w+)=(\[[^\]]*\]|\S+)", str(caught.value).split("; ", 1)[1])
    options |= {key: yaml.safe_load(value.rstrip("'")) for key, value in typed}
    Source(path=str(path), **options).check()  # type: ignore[arg-type]
    return [(row.text, row.label) for row in read(path, **options)]


@pytest.mark.parametrize(
    ("before", "delimiter"),
    [
        ("# reviews, made in 2024\n", ","),
        ("# one\n#two, three\n\n", ","),
        ("Reviews of films\n\n", ","),
        ("Reviews of films,\nall of them,\n", ","),
        ("Reviews of films\n", ";"),
    ],
)
def test_lines_before_the_header(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], before: str, delimiter: str
) -> None:
    body = BODY.replace(",", delimiter)
    path = put(tmp_path / "a.csv", f"{before}review{delimiter}stars\n{body}")
    assert _follow(path, {"text": "review", "label": "stars"}) == ROWS
    assert main([f"data.source.path={path}"]) == 0
    shown = capsys.readouterr().out
    assert f"data.source.skip_rows={before.count(chr(10))}" in shown
    assert "data.source.text=review data.source.label=stars" in shown
    options = {"text": "review", "label": "stars", "delimiter": delimiter}
    rows = read(path, skip_rows=before.count("\n"), **options)
    assert rows[0].where == f"a.csv, line {before.count(chr(10)) + 2}"


def test_a_title_in_a_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[list[object]] = [["Reviews of films"], [None], ["review", "stars"], *map(list, ROWS)]
    path = _save(tmp_path / "a.xlsx", Sheet=rows)
    assert _follow(path, {"text": "review", "label": "stars"}) == ROWS
    assert main([f"data.source.path={path}"]) == 0
    shown = capsys.readouterr().out
    assert "data.source.skip_rows=2 data.source.text=review data.source.label=stars" in shown
    # the title taken for the name of a column is said
    remark = read(path, text="Reviews of films")[0].remark
    assert remark is not None and "data.source.skip_rows=N" in remark


def test_headers_that_are_the_first_line(tmp_path: Path) -> None:
    headed = {
        "#id,text\n1,a b\n2,c d\n": 0,
        ",text\n0,a b\n1,c d\n": 0,
        "text,label,note\na,x,\nb,y,\nc,x,n\n": 0,
        "text,\na b,x\nc d,x\n": 0,
        "one text\nanother\n": 0,
        "Survey,\nof,2024\nid,text,label\n1,a b,x\n2,c d,x\n3,e f,y\n": 2,
        "Survey, of 2024\ntext,label\na b,x\nc d,x\n": 1,
        "Survey, of 2024\ntext,text\na b,x\nc d,y\n": 0,
        "# a\n#id,text\n1,a b\n2,c d\n": 1,
    }
    for content, lines in headed.items():
        rows = [(n, line.split(",")) for n, line in enumerate(content.splitlines(), start=1)]
        assert count_lines_before_header(rows) == lines, content
    assert count_lines_before_header([]) == 0
    put(tmp_path / "a.jsonl", '{"text": "a"}\n')
    with pytest.raises(UserError, match=r"skip_rows=1: jsonl files have no lines before a header"):
        Source(path=str(tmp_path / "a.jsonl"), skip_rows=1).check()
    with pytest.raises(UserError, match=r"skip_rows: expected 0 or more, found -1"):
        Source(path="a.csv", skip_rows=-1)


def test_rows_with_names_and_a_header_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As R's write.table writes them."""
    body = "".join(f'"{n}","{text}","{label}"\n' for n, (text, label) in enumerate(ROWS, start=1))
    path = put(tmp_path / "a.csv", f'"text","label"\n{body}')
    assert _follow(path, {"label": "label"}) == ROWS
    assert main([f"data.source.path={path}"]) == 0
    [command] = [line for line in capsys.readouterr().out.splitlines() if "src.run" in line]
    assert "data.source.columns=[row,text,label]" in shlex.split(command)
    path = put(tmp_path / "b.csv", "text,label\n" + BODY.replace("\n", ",\n"))
    assert _follow(path, {"label": "label"}) == ROWS
    assert propose_names([(1, ["a b", "c"]), (2, ["1", "2", "3"])]) is None
    for name in ("c.csv", "c.txt"):
        spaced = put(tmp_path / name, f'"text" "label"\n{body.replace(",", " ")}')
        assert main([f"data.source.path={spaced}"]) == 0
        assert "data.source.delimiter=space" in capsys.readouterr().out
