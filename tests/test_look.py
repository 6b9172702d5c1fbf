"""`python -m src.look`: what is in files, and the command that trains on them."""

import subprocess
import sys
from pathlib import Path

import pytest

from src.core.files import PROJECT_ROOT
from src.look import main

REVIEWS = "id,review,stars\n" + "".join(
    f"{n},this is review number {n} of many,{'good' if n % 3 else 'bad'}\n" for n in range(30)
)


def _look(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    code = main(arguments)
    shown = capsys.readouterr()
    assert code == 0, shown.err
    for line in shown.out.splitlines():
        assert len(line) <= 80 or "src.run" in line
    return shown.out


@pytest.mark.parametrize("wrong", [(), ("data.source.text=txt", "data.source.label=class")])
def test_missing_and_wrong_columns_are_guessed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: tuple[str, ...]
) -> None:
    file = tmp_path / "a.csv"
    file.write_text(REVIEWS, encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}", *wrong)
    assert "rows: train 30\n" in shown
    assert "2 different labels: good 20, bad 10\n" in shown
    assert "guessed columns: text=review, label=stars\n" in shown
    assert ("data.source.text=txt: there is no such column" in shown) is bool(wrong)
    assert shown.endswith(
        f"  python -m src.run +experiment=files data.source.path={file} data.source.text=review "
        "data.source.label=stars\n"
    )


def test_numbers_are_a_regression(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.tsv"
    rows = "".join(f"{n / 10}\tsome words of row {n}\n" for n in range(30))
    file.write_text("Intensity Score\ttweet\n" + rows, encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}")
    assert shown.endswith(
        """'data.source.label="Intensity Score"' data.task=regression model=regression """
        "callbacks.checkpoint.monitor=val/pearson callbacks.checkpoint.mode=max\n"
    )


def test_a_table_without_header(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.csv"
    file.write_text(REVIEWS.split("\n", 1)[1], encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}", "data.source.header=false")
    assert shown.endswith("data.source.header=false data.source.text=1 data.source.label=2\n")


def test_pairs_of_json_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.jsonl"
    row = '{"premise": "it rains %d", "hypothesis": "it is wet, %d", "label": %d}\n'
    file.write_text("".join(row % (n, n, n % 2) for n in range(20)), encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}")
    assert shown.endswith(
        "data.source.text=premise data.source.pair=hypothesis data.source.label=label\n"
    )


def test_plain_text_and_class_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one line\nanother line\n", encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}")
    assert shown.endswith(f"  python -m src.run +experiment=mlm_files data.source.path={file}\n")
    for name in ("pos", "neg"):
        (tmp_path / "d" / name).mkdir(parents=True)
        (tmp_path / "d" / name / "1.txt").write_text("words", encoding="utf-8")
    shown = _look(capsys, f"data.source.path={tmp_path / 'd'}")
    assert "2 different labels: " in shown and "+experiment=files" in shown


def test_odd_labels_are_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.csv"
    file.write_text(REVIEWS + "".join(f"{n},more words,Good\n" for n in range(4)), encoding="utf-8")
    assert "labels that look alike" in _look(capsys, f"data.source.path={file}")


def test_mistakes_end_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], [f"data.source.path={tmp_path / 'none.csv'}"], ["data.source.pth=a"]):
        assert main(arguments) == 2
        assert capsys.readouterr().err.startswith("error: ")


def test_torch_is_not_imported() -> None:
    code = "import sys, src.look; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, check=False).returncode == 0
    )


def test_joined_and_named_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.csv"
    file.write_text("".join(f"{n % 2},title {n},body {n}\n" for n in range(20)), encoding="utf-8")
    shown = _look(
        capsys,
        f"data.source.path={file}",
        "data.source.columns=[label,title,body]",
        "data.source.text=[title,body]",
    )
    assert "guessed columns: label=label\n" in shown
    assert shown.endswith(
        "'data.source.columns=[label,title,body]' 'data.source.text=[title,body]' "
        "data.source.label=label\n"
    )
