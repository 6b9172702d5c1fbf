"""Texts in one file, labels in another."""

from pathlib import Path

import pytest

from src.core.user_errors import UserError
from src.data.reading.sources import Source
from src.look import main
from tests.data.reading.test_readers import put, read
from tests.data.reading.test_sources import check_fault


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        ("{}.text", "{}.labels"),
        ("{}_text.txt", "{}_labels.txt"),
        ("{}.txt", "{}.label"),
        ("{}/seq.in", "{}/label"),
        ("sentences-{}.txt", "labels-{}.txt"),
        ("x_{}.txt", "y_{}.txt"),
    ],
)
def test_labels_on_the_same_line_of_another_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], texts: str, labels: str
) -> None:
    for split in ("train", "test"):
        put(tmp_path / texts.format(split), f"a {split}\n\nb c\n")
        put(tmp_path / labels.format(split), "x\ny\n\n")
    put(tmp_path / "mapping.txt", "x good\n")
    source = Source(path=str(tmp_path), label="label")
    source.check()
    for split in ("train", "test"):
        found = [(row.text, row.label) for row in source.read_records(split)]
        assert found == [(f"a {split}", "x"), ("", "y"), ("b c", None)]
    before = source.fingerprint_split("train")
    put(tmp_path / labels.format("train"), "x\nx\nx\n")
    assert source.fingerprint_split("train") != before
    unlabelled = Source(path=str(tmp_path))
    assert [row.text for row in unlabelled.read_records("train")] == ["a train", "", "b c"]
    assert main([f"data.source.path={tmp_path}"]) == 0
    shown = capsys.readouterr().out
    assert "format: parallel" in shown and "+experiment=files" in shown
    assert "not read: mapping.txt" in shown


def test_files_that_do_not_go_together(tmp_path: Path) -> None:
    put(tmp_path / "a" / "texts.txt", "a\nb\nc\n")
    put(tmp_path / "a" / "labels.txt", "x\ny\n")
    assert check_fault(tmp_path / "a", label="label") == (
        "texts.txt, line 3: labels.txt ends before line 3, and its neighbour does not; every line "
        "of texts has its label on the same line of the other file; "
        "data.source.format=text reads texts without labels (data.source.format)"
    )
    put(tmp_path / "b" / "train.txt", "a\n")
    put(tmp_path / "b" / "labels.txt", "x\n")
    assert [row.label for row in read(tmp_path / "b")] == [None]
    with pytest.raises(UserError, match="no file of texts that has a file of labels beside it"):
        Source(path=str(tmp_path / "b"), format="parallel").check()
    for name in ("en", "de"):
        put(tmp_path / "c" / f"{name}.train.text", "a\n")
        put(tmp_path / "c" / f"{name}.train.labels", "x\n")
    assert "several files of texts beside files of labels for train" in check_fault(tmp_path / "c")
