"""Formats: each gives the same records, and whatever cannot be read is named by file and line."""

import csv
import gc
import gzip
import json
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.core.user_errors import UserError
from src.data.reading.sources import Source
from src.data.rows.records import RawRecord

ROWS = [("a fine day", "1"), ("rain, and\nmore rain", "0"), ('he said "no"', "1")]


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


def put(path: Path, content: str | bytes) -> Path:
    """Write a file, packed where its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def put_csv(path: Path, rows: list[tuple[str, ...]], **options: str) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, **options).writerows(rows)  # type: ignore[arg-type]
    return path


def put_parquet(path: Path, rows: list[dict[str, object]]) -> None:
    import pyarrow
    from pyarrow.parquet import write_table

    write_table(pyarrow.Table.from_pylist(rows), path)


def read(path: Path, **options: object) -> list[RawRecord]:
    return list(Source(path=str(path), **options).read_records("train"))  # type: ignore[arg-type]


def fault(path: Path, **options: object) -> str:
    """What reading `path` complains of."""
    with pytest.raises(UserError) as caught:
        read(path, **options)
    return str(caught.value)


def test_csv_names_the_line_on_which_a_row_begins(tmp_path: Path) -> None:
    put_csv(tmp_path / "a.csv", [("text", "label"), *ROWS])
    assert read(tmp_path / "a.csv", label="label") == [
        RawRecord("a fine day", None, "1", "a.csv, line 2"),
        RawRecord(
            "rain, and\nmore rain",
            None,
            "0",
            "a.csv, line 3",
            remark="over several lines, in quotes",
        ),
        RawRecord('he said "no"', None, "1", "a.csv, line 5"),
    ]


def test_tsv_jsonl_and_parquet_give_the_same_texts_and_pairs(tmp_path: Path) -> None:
    put_csv(
        tmp_path / "a.tsv",
        [("label", "second", "text"), *((label, text, text) for text, label in ROWS)],
        delimiter="\t",
    )
    rows = [{"text": text, "second": text, "label": int(label)} for text, label in ROWS]
    put(tmp_path / "a.jsonl", "\r\n".join(map(json.dumps, rows)))
    put_parquet(tmp_path / "a.parquet", rows)
    expected = [(text, text, label) for text, label in ROWS]
    for name in ("a.tsv", "a.jsonl", "a.parquet"):
        quoting = True if name == "a.tsv" else None
        records = read(tmp_path / name, pair="second", label="label", quoting=quoting)
        assert [(each.text, each.pair, str(each.label)) for each in records] == expected, name
    assert [each.where for each in read(tmp_path / "a.parquet")] == [
        f"a.parquet, row {n}" for n in (1, 2, 3)
    ]


@pytest.mark.parametrize("name", ["a.csv.gz", "a.tsv.gz", "a.jsonl.gz", "a.txt.gz"])
def test_packed_files_read_like_plain_ones(tmp_path: Path, name: str) -> None:
    content = '{"text": "one"}\n{"text": "two"}\n' if "jsonl" in name else "text\none\ntwo\n"
    put(tmp_path / name, content)
    put(tmp_path / name.removesuffix(".gz"), content)
    packed, plain = read(tmp_path / name), read(tmp_path / name.removesuffix(".gz"))
    assert [each.text for each in packed] == [each.text for each in plain]
    assert packed[-1].text == "two"


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(rows=st.lists(st.tuples(words, words), min_size=1, max_size=6))
def test_csv_round_trip(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    put_csv(tmp_path / "a.csv", [("text", "other"), *rows])
    assert [(each.text, each.pair) for each in read(tmp_path / "a.csv", pair="other")] == rows


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    rows=st.lists(st.tuples(words, st.integers() | st.none()), min_size=1, max_size=6),
    escape=st.booleans(),
)
def test_json_round_trip(tmp_path: Path, rows: list[tuple[str, int | None]], escape: bool) -> None:
    content = "\n".join(
        json.dumps({"text": text, "label": label}, ensure_ascii=escape) for text, label in rows
    )
    put(tmp_path / "a.jsonl", content)
    assert [(each.text, each.label) for each in read(tmp_path / "a.jsonl", label="label")] == rows


def test_missing_labels_and_texts(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", "text,label\none,\ntwo, \n,x\n")
    assert [(each.text, each.label) for each in read(tmp_path / "a.csv", label="label")] == [
        ("one", None),
        ("two", None),
        ("", "x"),
    ]
    put(
        tmp_path / "a.jsonl",
        '{"text": "a", "label": NaN}\n\n{"text": null}\n{"text": "c", "label": true}\n',
    )
    assert read(tmp_path / "a.jsonl", label="label") == [
        RawRecord("a", None, None, "a.jsonl, line 1"),
        RawRecord("", None, None, "a.jsonl, line 3"),
        RawRecord("c", None, 1, "a.jsonl, line 4"),
    ]


def test_without_a_header_columns_are_positions_and_rows_may_be_wider(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", 'x\t5.0\tsay "hi\tthere\ny\t2.5\tb\tc\textra\n')
    options = {"format": "tsv", "header": False, "quoting": False, "text": 2, "pair": 3, "label": 1}
    assert [each[:3] for each in read(tmp_path / "a.csv", **options)] == [
        ('say "hi', "there", "5.0"),
        ("b", "c", "2.5"),
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", b"\xef\xbb\xbftext\r\none\r\n")
    assert [each.text for each in read(tmp_path / "a.csv")] == ["one"]


def test_other_encodings(tmp_path: Path) -> None:
    for encoding in ("utf-16", "latin-1"):
        put(tmp_path / "a.txt", "Käse\nBrot\n".encode(encoding))
        assert [each.text for each in read(tmp_path / "a.txt", encoding=encoding)] == [
            "Käse",
            "Brot",
        ]
    assert fault(tmp_path / "a.txt", encoding="utf-16") == (
        "a.txt: this is not utf-16 (UTF-16 stream does not start with BOM); "
        "data.source.encoding=NAME"
    )


TEXT = "\r\nfore\r\n\r\n= One =\r\n\r\na\r\nb\r\n\r\nc\r\n= Two =\r\nd\r\n"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {},
            [("fore", 2), ("= One =", 4), ("a", 6), ("b", 7), ("c", 9), ("= Two =", 10), ("d", 11)],
        ),
        (
            {"document": "paragraph"},
            [("fore", 2), ("= One =", 4), ("a\nb", 6), ("c\n= Two =\nd", 9)],
        ),
        ({"document": "file"}, [("fore\n\n= One =\n\na\nb\n\nc\n= Two =\nd", 2)]),
        ({"heading": "^= .* =$"}, [("fore", 2), ("= One =\n\na\nb\n\nc", 4), ("= Two =\nd", 10)]),
    ],
)
def test_what_one_document_is(
    tmp_path: Path, options: dict[str, str], expected: list[tuple[str, int]]
) -> None:
    put(tmp_path / "a.txt", TEXT)
    found = [(each.text, each.where) for each in read(tmp_path / "a.txt", **options)]
    assert found == [(text, f"a.txt, line {line}") for text, line in expected]


def test_label_first(tmp_path: Path) -> None:
    put(tmp_path / "stsa.binary.train", "1 so good\n\n0\tso bad\n1\n")
    put(tmp_path / "stsa.binary.dev", "0 x\n")
    source = Source(path=str(tmp_path), format="label_first", validation="dev", label=None)
    assert source.available_splits() == ("train", "validation")
    records = read(tmp_path, format="label_first", label="label", validation="dev")
    assert records == [
        RawRecord("so good", None, "1", "stsa.binary.train, line 1"),
        RawRecord("so bad", None, "0", "stsa.binary.train, line 3"),
        RawRecord("", None, "1", "stsa.binary.train, line 4"),
    ]
    assert [each.label for each in source.read_records("train")] == [None, None, None]


def test_bytes_that_do_not_decode_are_located(tmp_path: Path) -> None:
    # more than one buffer
    good = "ä line\r\n" * 20_000
    put(tmp_path / "a.txt", good.encode() + b"caf\xe9 au lait\n")
    assert fault(tmp_path / "a.txt") == (
        f"a.txt, line 20001: byte 0xe9 at position {len(good.encode()) + 3} of the file is not "
        "utf-8 "
        "(invalid continuation byte); name the file's encoding: data.source.encoding=NAME, or "
        "data.source.encoding=[utf-8,NAME] if only some files have it"
    )
    put(tmp_path / "b.txt", b"\xef\xbb\xbfone\nab\xc3")
    assert fault(tmp_path / "b.txt") == (
        "b.txt, line 2: byte 0xc3 at position 9 of the file is not utf-8 "
        "(unexpected end of data); name the file's encoding: data.source.encoding=NAME, or "
        "data.source.encoding=[utf-8,NAME] if only some files have it"
    )


def test_a_nul_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", "text\nx\ny\0\n")
    assert fault(tmp_path / "a.csv") == (
        "a.csv, line 3: a NUL character; this is not text in utf-8 (data.source.encoding=utf-16 "
        "reads UTF-16)"
    )


QUOTES = "data.source.quoting=false where quotes are ordinary characters"


def test_a_quote_that_never_closes_is_found_where_it_opened(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", "text,label\na,1\nb,1\n\n" + '"open,1\n' + "c,1\n" * 1000)
    assert fault(tmp_path / "a.csv") == (
        f"a.csv, line 5: the row that begins here opens a quote that is never closed; {QUOTES}"
    )


def test_an_open_quote_does_not_take_the_whole_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = csv.field_size_limit(1000)
    monkeypatch.setattr("src.data.reading.table_rows.MAX_FIELD_CHARACTERS", 1000)
    try:
        put(tmp_path / "a.csv", 'text\na\n"open\n' + "c\n" * 1000 + '"\n')
        assert fault(tmp_path / "a.csv") == (
            f"a.csv, line 3: the row that begins here opens a quote that is never closed; {QUOTES}"
        )
    finally:
        csv.field_size_limit(before)


def test_a_quote_that_closes_in_the_wrong_place(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", 'text,label\n"open,1\nc,1\n"next",1\n')
    assert fault(tmp_path / "a.csv") == (
        "a.csv, line 2: bad quoting in the row that ends on line 4: ',' expected after '\"'; "
        f"{QUOTES}"
    )


def test_rows_of_another_width(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", "text,label\na,1\nb, and c,1\n")
    assert fault(tmp_path / "a.csv") == (
        "a.csv, line 3: 3 columns, the header has 2; is a quote or separator missing? "
        "(data.source.format, data.source.quoting)"
    )
    assert fault(tmp_path / "a.csv", header=False, text=2) == (
        "a.csv, line 1: 2 columns, data.source asks for at least 3; is a quote or separator "
        "missing? "
        "(data.source.format, data.source.quoting)"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '{"text": }',
            "not valid JSON (Expecting value at column 10); expected one JSON object a line",
        ),
        (
            "[1, 2]",
            "a list, whose values have no names; data.source.columns=[text,label] names them",
        ),
        ("5", "a number and no object; expected one JSON object a line"),
        ('{"text": 5}', "'text' is 5 (int); expected a text (data.source.text)"),
        (
            '{"text": "x", "label": {"a": 1}}',
            "the label is {'a': 1} (dict); expected a text, a number, or a list of them "
            "(data.source.label)",
        ),
        ('{"text": "\\ud800"}', "'text' has half of a surrogate pair, which is not a character"),
    ],
)
def test_json_lines_that_cannot_be_used(tmp_path: Path, line: str, message: str) -> None:
    put(tmp_path / "a.jsonl", '{"text": "fine", "label": 1}\n\n' + line + "\n")
    assert fault(tmp_path / "a.jsonl", label="label") == f"a.jsonl, line 3: {message}"


def test_gzip_that_is_cut_off(tmp_path: Path) -> None:
    noise = "\n".join(f"{n * 7919 % 10007} text" for n in range(20_000))
    whole = gzip.compress(noise.encode())
    (tmp_path / "a.txt.gz").write_bytes(whole[: len(whole) // 2])
    message = fault(tmp_path / "a.txt.gz")
    assert message.startswith("a.txt.gz: broken gzip data after line ")
    assert message.endswith(
        "(Compressed file ended before the end-of-stream marker was reached); the file is cut off "
        "or damaged, "
        "copy or download it again"
    )
    (tmp_path / "b.txt.gz").write_bytes(b"no gzip")
    assert "b.txt.gz: broken gzip data after line 0 (Not a gzipped file" in fault(
        tmp_path / "b.txt.gz"
    )


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", ""), ("a.csv", "text\n"), ("a.jsonl", "\n"), ("a.txt", "\n")]
)
def test_files_without_rows(tmp_path: Path, name: str, content: str) -> None:
    put(tmp_path / name, content)
    assert fault(tmp_path / name) == f"{name}: no rows in it"


def test_parquet_that_is_none(tmp_path: Path) -> None:
    put(tmp_path / "a.parquet", "no parquet at all")
    assert fault(tmp_path / "a.parquet").startswith("a.parquet: not a Parquet file; ")
    put(tmp_path / "b.parquet.gz", "x")
    message = "b.parquet.gz: Parquet is compressed inside; unpack the file"
    assert fault(tmp_path / "b.parquet.gz") == message


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_other_columns_are_kept_where_asked_for(tmp_path: Path, name: str) -> None:
    row = {"id": "7", "text": "a"}
    if name == "a.csv":
        put(tmp_path / name, "id,text\n7,a\n")
    elif name == "a.jsonl":
        put(tmp_path / name, json.dumps(row))
    else:
        put_parquet(tmp_path / name, [row])
    source = Source(path=str(tmp_path / name))
    assert [record.other for record in source.read_records("train", keep_other=True)] == [row]
    assert [record.other for record in source.read_records("train")] == [None]


def put_hub_parquet(path: Path, labels: list[int | None], names: list[str]) -> Path:
    """Write a file as the library `datasets` does, with the names of its classes."""
    import pyarrow
    from pyarrow.parquet import write_table

    features = {
        "text": {"dtype": "string", "_type": "Value"},
        "label": {"names": names, "_type": "ClassLabel"},
    }
    texts = [f"text {number}" for number in range(len(labels))]
    table = pyarrow.table({"text": texts, "label": pyarrow.array(labels, pyarrow.int64())})
    content = json.dumps({"info": {"features": features}})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(table.replace_schema_metadata({"huggingface": content}), path)
    return path


def test_classes_of_parquet_files_of_datasets(tmp_path: Path) -> None:
    names = ["entailment", "not_entailment"]
    path = put_hub_parquet(tmp_path / "a.parquet", [1, -1, 0, None], names)
    assert [row.label for row in read(path, label="label")] == [1, None, 0, None]
    assert [row.label for row in read(path)] == [None] * 4
    assert Source(path=str(path), label="label").find_class_names() == names
    assert Source(path=str(path), label="text").find_class_names() is None
    put_parquet(tmp_path / "b.parquet", [{"text": "a", "label": -1}])
    assert read(tmp_path / "b.parquet", label="label")[0].label == -1
    assert Source(path=str(tmp_path / "b.parquet"), label="label").find_class_names() is None


def test_parquet_values_inside_others_and_lists_of_words(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rows = [{"words": ["a", f"b{n}"], "label": {"name": "xy"[n % 2], "id": n}} for n in range(4)]
    put_parquet(path, rows)
    source = Source(path=str(path), text="words", label="label.name")
    source.check()
    records = list(source.read_records("train"))
    assert [(row.text, row.label) for row in records[:2]] == [("a b0", "x"), ("a b1", "y")]
    assert records[0].remark == "whose text is a list, joined by spaces"
    with pytest.raises(UserError, match=r"label\.name"):
        Source(path=str(path), text="words", label="label.nam").check()
    assert "expected a text, a number, or a list" in fault(path, text="words", label="label")


def test_what_is_no_data(tmp_path: Path) -> None:
    for name, content, words in (
        ("a.csv", "\n<!DOCTYPE html>\n<html><body>404</body></html>", "a web page (HTML)"),
        ("a.jsonl", "<html lang=en>", "a web page (HTML)"),
        ("a.xlsx", "<table><tr><td>text</td></tr></table>", "or save the table as CSV"),
        ("c.csv", b"\x80\x04\x95abc", "a pickle, which could run code"),
        ("d.csv", b"\x93NUMPY\x01", "save the table as Parquet"),
        ("b.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "of Git LFS"),
    ):
        path = put(tmp_path / name, content)
        with pytest.raises(UserError) as caught:
            Source(path=str(path)).check()
        assert str(caught.value).startswith(f"{name}: this is ") and words in str(caught.value)


def test_a_comma_before_the_text_in_older_files_of_fasttext(tmp_path: Path) -> None:
    path = put(
        tmp_path / "a.txt",
        "__label__2 , great cd: yes\n__label__a , __label__b , x, y\n__label__1, z\nlabel , text\n",
    )
    rows = read(path, format="label_first", label="label")
    assert [(row.label, row.text) for row in rows] == [
        ("__label__2", "great cd: yes"),
        (("__label__a", "__label__b"), "x, y"),
        ("__label__1", "z"),
        ("label", ", text"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("a.csv", "text;label\na, b;1\n", {}),
        ("b.csv", "text,label\na,1\nb\n", {}),
        ("c.csv", 'text,label\na,1\n"b\n', {}),
        ("d.jsonl", '{"text": "a"}\n{"text": \n', {}),
        ("e.csv", "text,label\na,x 1\nb,y\n", {"label": "label", "label_pattern": "( 1)"}),
        ("f.conll", "Ada B-PER\nsings\n", {}),
    ],
)
def test_a_file_that_cannot_be_read_is_closed(
    tmp_path: Path, name: str, content: str, options: dict[str, object]
) -> None:
    put(tmp_path / name, content)
    gc.disable()
    try:
        with pytest.raises(UserError) as caught:
            read(tmp_path / name, **options)
        opened = {Path(file.path).parent for file in psutil.Process().open_files()}
        assert tmp_path not in opened
    finally:
        gc.enable()
    assert caught
