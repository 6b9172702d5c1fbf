"""Files that are not in UTF-8: their encoding is named, and others are not garbled by it."""

from pathlib import Path

import pytest

from src.core.user_errors import UserError
from src.data.reading.decoding import InputFile, guess_encoding
from src.data.reading.reading_remarks import RemarkCounts
from src.data.reading.sources import Source
from src.data.rows.records import RawRecord
from tests.data.reading.test_readers import fault, put, read


def _describe(records: list[RawRecord]) -> list[str]:
    counts = RemarkCounts()
    for record in records:
        counts.count("train", record)
    return counts.describe()


def _put_news(folder: Path) -> list[str]:
    """Class folders of which one file is not in UTF-8; returns their texts."""
    texts = {name: f"£{name} naïve" for name in ("a", "b", "c")}
    for kind in ("business", "sport"):
        for name, text in texts.items():
            lone = (kind, name) == ("sport", "b")
            put(folder / kind / f"{name}.txt", text.encode("cp1252" if lone else "utf-8"))
    return [*texts.values()] * 2


def test_one_file_of_another_encoding_does_not_garble_the_rest(tmp_path: Path) -> None:
    texts = _put_news(tmp_path)
    message = fault(tmp_path, label="label")
    assert message.startswith("sport/b.txt, line 1: byte 0xa3 at position 0 of the file is not")
    assert message.endswith("data.source.encoding=[utf-8,cp1252] if only some files have it")
    records = read(tmp_path, label="label", encoding=["utf-8", "cp1252"])
    assert [record.text for record in records] == texts
    assert _describe(records) == [
        "train: 1 row in files that are not utf-8, read as cp1252 (the first: sport/b.txt, line 1)"
    ]


def test_utf_8_that_is_read_as_something_else_is_told(tmp_path: Path) -> None:
    _put_news(tmp_path)
    put(tmp_path / "sport" / "d.txt", "plain")
    assert _describe(read(tmp_path, label="label", encoding="cp1252")) == [
        "train: 5 rows in files that seem to be utf-8, read as cp1252: "
        "data.source.encoding=[utf-8,cp1252] reads them as utf-8 "
        "(the first: business/a.txt, line 1)"
    ]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.json", "a.csv.gz"])
def test_every_format_of_text_chooses(tmp_path: Path, name: str) -> None:
    content = {
        "a.csv": "text,label\nKäse,1\n",
        "a.tsv": "text\tlabel\nKäse\t1\n",
        "a.jsonl": '{"text": "Käse", "label": "1"}\n',
        "a.json": '{"train": [{"text": "Käse", "label": "1"}],'
        ' "test": [{"text": "ä", "label": "0"}]}',
    }[name.removesuffix(".gz")]
    options = {"label": "label", "encoding": ["utf-8", "utf-16", "latin-1"]}
    for encoding in ("utf-8", "utf-16", "latin-1"):
        put(tmp_path / name, content.encode(encoding))
        Source(path=str(tmp_path / name), **options).check()  # type: ignore[arg-type]
        [record] = read(tmp_path / name, **options)
        assert (record.text, record.label) == ("Käse", "1")
        told = None if encoding == "utf-8" else f"in files that are not utf-8, read as {encoding}"
        assert record.remark == told


def test_encodings_that_do_not_fit(tmp_path: Path) -> None:
    put(tmp_path / "a.txt", b"K\xe4se\n")
    assert "of the file is not ascii" in fault(tmp_path / "a.txt", encoding=["utf-8", "ascii"])
    with pytest.raises(UserError, match="data.source.encoding=utf-9: no such text encoding"):
        Source(path="x", encoding=["utf-8", "utf-9"])
    with pytest.raises(UserError, match="data.source.encoding: expected one encoding or more"):
        Source(path="x", encoding=[])
    path = str(put(tmp_path / "b.txt", "a"))
    prints = {
        Source(path=path, encoding=encoding).fingerprint_split("train")
        for encoding in ("utf-8", ["utf-8", "cp1252"], ["cp1252", "utf-8"])
    }
    assert len(prints) == 3


@pytest.mark.parametrize(("mark", "name"), [(b"7z\xbc\xaf", "7z"), (b"Rar!\xff", "RAR")])
def test_archives_of_other_kinds(tmp_path: Path, mark: bytes, name: str) -> None:
    (tmp_path / "a.csv").write_bytes(mark)
    with pytest.raises(UserError, match=f"this is a {name} archive; unpack it"):
        Source(path=str(tmp_path / "a.csv")).check()


@pytest.mark.parametrize(
    ("text", "written", "guessed"),
    [
        ("plain words", "ascii", None),
        ("schöne Wörter", "utf-8", None),
        ("some words – and über und so weiter", "cp1252", "cp1252"),
        ("some words", "utf-16", "utf-16"),
        ("Это довольно длинный текст на русском языке, написанный давно.", "cp1251", "cp1251"),
        ("这是一个很长的中文句子，里面有很多汉字。", "gb18030", "gb18030"),
        ("Αυτό είναι ένα μεγάλο κείμενο στα ελληνικά.", "cp1253", "cp1253"),
        ("£b naïve", "cp1252", "cp1252"),
        ("これは日本語で書かれた文章です。とても長い文章です。", "shift_jis", "cp932"),
        ("two\0words", "ascii", None),
        ("viele schöne Wörter, und eines das nicht gültig ist: \udcff", "utf-8", None),
    ],
)
def test_guesses(tmp_path: Path, text: str, written: str, guessed: str | None) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes((text + "\n").encode(written, "surrogateescape") * 10)
    assert guess_encoding(InputFile(path, "a.txt")) == guessed
