"""Files of other programs, files beside those that are read, and tables that belong together."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from src.core.user_errors import UserError
from src.data.reading.sources import Source
from src.look import main
from tests.data.reading.test_readers import put

TABLES = (".xls", ".ods", ".sav", ".dta", ".rds", ".RData", ".sas7bdat", ".pkl", ".feather", ".mat")


@pytest.mark.parametrize("suffix", [*TABLES, ".docx", ".pdf", ".odt", ".js", ".xml", ".sql"])
@pytest.mark.parametrize("kind", ["file", "folder", "pattern"])
def test_files_of_other_programs(tmp_path: Path, suffix: str, kind: str) -> None:
    for name in ("one", "two"):
        put(tmp_path / f"{name}{suffix}", b"\0\1 data")
    paths = {"file": f"one{suffix}", "folder": "", "pattern": f"*{suffix}"}
    with pytest.raises(UserError) as caught:
        Source(path=str(tmp_path / paths[kind])).check()
    assert str(caught.value).startswith(f"data.source.path={tmp_path}/one{suffix}: this is a")
    assert ", which is not read; save " in str(caught.value)
    if suffix in TABLES:
        assert str(caught.value).endswith("save its table as CSV, XLSX or Parquet")
        with pytest.raises(UserError, match="save its table as"):
            Source(path=str(tmp_path / f"one{suffix}"), format="csv").check()


def test_text_by_an_ending_of_others_is_read_in_a_typed_format(tmp_path: Path) -> None:
    put(tmp_path / "a.doc", "text\none\n")
    source = Source(path=str(tmp_path / "a.doc"), format="csv")
    assert [record.text for record in source.read_records("train")] == ["one"]


@pytest.mark.parametrize("name", ["dump.sql", "dump.sql.gz"])
def test_an_sql_dump(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    put(tmp_path / name, b"INSERT INTO `reviews` VALUES (1,'one','good');\n")
    assert main([f"data.source.path={tmp_path / name}"]) == 2
    assert capsys.readouterr().err == (
        f"error: data.source.path={tmp_path / name}: this is an SQL dump, which is not read; save "
        "its table as CSV, XLSX or Parquet\n"
    )


def test_files_beside_texts_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """brat: a file of annotations for every text."""
    for number in range(5):
        put(tmp_path / f"n{number}.txt", f"Patient {number} took aspirin.\n")
        put(tmp_path / f"n{number}.ann", "T1\tDrug 15 22\taspirin\n")
    put(tmp_path / "annotation.conf", "[entities]\nDrug\n")
    put(tmp_path / "README.md", "about\n")
    put(tmp_path / ".hidden", "x")
    expected = [
        "not read: annotation.conf",
        "not read: n0.ann, n1.ann, n2.ann, ... (5), annotations of brat",
    ]
    assert Source(path=str(tmp_path)).describe_unread() == expected
    assert main([f"data.source.path={tmp_path}"]) == 0
    assert "\n".join(expected) in capsys.readouterr().out
    for number in range(9):
        put(tmp_path / f"a.x{number}", "x")
    *_, last = Source(path=str(tmp_path)).describe_unread()
    assert last == "not read: files with 7 other endings, such as '.x4'"


def test_webanno_is_no_table_of_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"1-{n}\t{9 * n}-{9 * n + 3}\tAda\tPER[{n}]\t\n" for n in range(1, 30))
    put(tmp_path / "a.tsv", f"#FORMAT=WebAnno TSV 3.3\n#T_SP=webanno|value\n\n\n#Text=Ada\n{rows}")
    message = "a.tsv: this is WebAnno TSV, which is not read; export it as CoNLL 2002, which is"
    for options in ([], ["data.source.format=conll"]):
        assert main([f"data.source.path={tmp_path}/a.tsv", *options]) == 2
        assert capsys.readouterr().err == f"error: {message}\n"
    with pytest.raises(UserError, match="this is WebAnno TSV"):
        Source(path=str(tmp_path / "a.tsv"), text="a", header=True).check()


@pytest.mark.parametrize("sign", [",", "\t", ";"])
def test_texts_and_labels_in_two_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sign: str
) -> None:
    suffix = "tsv" if sign == "\t" else "csv"
    texts = [f"{n}{sign}{20 + n % 5}{sign}some words of row {n}" for n in range(30)]
    labels = [f"{n}{sign}{'good' if n % 3 else 'bad'}" for n in reversed(range(30))]
    head, tail = f"id{sign}age{sign}comment", f"id{sign}verdict"
    put(tmp_path / f"training_set_features.{suffix}", "\n".join([head, *texts]))
    put(tmp_path / f"training_set_labels.{suffix}", "\n".join([tail, *labels]))
    options = ["data.source.delimiter=semicolon"] if sign == ";" else []
    assert main([f"data.source.path={tmp_path}", *options]) == 2
    message = capsys.readouterr().err
    assert "have other columns and share 'id': texts and labels lie in different files" in message
    assert "data.source.text" not in message
    style = {"delimiter": "semicolon"} if sign == ";" else {}
    with pytest.raises(UserError) as caught:
        Source(path=str(tmp_path), label="label", **style).check()
    assert f"error: {caught.value}\n" == message
    words = shlex.split(message.partition("join them first: ")[2])
    assert words[:2] == ["python", "-c"]
    subprocess.run([sys.executable, "-c", words[2].rstrip(";")], check=True)
    path = words[-1].removeprefix("data.source.path=")
    assert main([f"data.source.path={path}"]) == 0
    assert "text=comment, label=verdict" in capsys.readouterr().out


def test_two_tables_whose_names_say_no_split(tmp_path: Path) -> None:
    put(tmp_path / "features.csv", "id,text\n1,one\n2,two\n")
    put(tmp_path / "targets.csv", "id,label\n2,a\n1,b\n")
    with pytest.raises(UserError, match="share 'id': texts and labels lie in different files"):
        Source(path=str(tmp_path), label="label").check()
    put(tmp_path / "targets.csv", "id,text\n3,three\n4,four\n")
    with pytest.raises(UserError, match="no file carries the name of a split"):
        Source(path=str(tmp_path), label="label").check()


def test_parts_of_one_table_are_no_such_tables(tmp_path: Path) -> None:
    put(tmp_path / "train-1.csv", "id,text,label\n1,one,a\n2,two,b\n")
    put(tmp_path / "train-2.csv", "id,text,label,note\n1,one,a,x\n2,two,b,y\n")
    source = Source(path=str(tmp_path), label="label")
    source.check()
    assert len(list(source.read_records("train"))) == 4
