"""Sources: what is refused before reading, what a fingerprint knows, the hub, and real files."""

import json
import os
import socket
import string
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.core.user_errors import UserError
from src.data.reading import hub, sources
from src.data.reading.sources import Source
from src.data.rows.records import RawRecord


def put(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def put_parquet(path: Path, rows: list[dict[str, object]]) -> None:
    import pyarrow
    from pyarrow.parquet import write_table

    write_table(pyarrow.Table.from_pylist(rows), path)


def check_fault(path: Path, **options: object) -> str:
    """What is said of `path` before it is read."""
    with pytest.raises(UserError) as caught:
        Source(path=str(path), **options).check()  # type: ignore[arg-type]
    return str(caught.value)


def test_a_source_needs_a_place() -> None:
    with pytest.raises(UserError) as caught:
        Source().check()
    assert str(caught.value) == (
        "data.source has neither path nor hub; give data.source.path=FILE_OR_FOLDER or "
        "data.source.hub=OWNER/NAME"
    )


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_a_column_that_the_header_lacks(tmp_path: Path, name: str) -> None:
    if name == "a.csv":
        put(tmp_path / name, "review,label\nx,1\n")
    elif name == "a.jsonl":
        put(tmp_path / name, '{"review": "x", "label": 1}')
    else:
        put_parquet(tmp_path / name, [{"review": "x", "label": 1}])
    message = (
        f"data.source.text=reviews: {name} has no such column; did you mean 'review'? "
        "Columns: review, label"
    )
    assert check_fault(tmp_path / name, text="reviews") == message
    with pytest.raises(UserError) as caught:
        list(Source(path=str(tmp_path / name), text="reviews").read_records("train"))
    assert str(caught.value).replace(", line 1", "") == message
    unlike = f"data.source.text=zzz: {name} has no such column; valid: label, review"
    if name == "a.csv":
        unlike += " (data.source.header=false where the first line holds no names)"
    assert check_fault(tmp_path / name, text="zzz") == unlike


def test_a_column_that_is_there_twice(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", "text,text\na,b\n")
    assert (
        check_fault(tmp_path / "a.csv") == "data.source.text=text: a.csv has 2 columns of that "
        "name; data.source.skip_rows=1 'data.source.columns=[text,text_2]' names them apart"
    )


def test_arguments_that_contradict_each_other_are_reported_together() -> None:
    with pytest.raises(UserError) as caught:
        Source(path="x", text=3, encoding="utf-9", heading="(", train="a", test="a")
    assert str(caught.value).splitlines() == [
        (
            "data.source.text=3: a position, but the columns have names; "
            """give the name (in quotes where it is a number: 'data.source.text="3"'), or """
            "data.source.header=false for a table without a header"
        ),
        "data.source.encoding=utf-9: no such text encoding; did you mean 'utf-8'?",
        "data.source.heading=(: not a regular expression (missing ), unterminated subpattern at "
        "position 0)",
        "data.source: two splits are both called 'a' (train, validation, test)",
    ]
    with pytest.raises(UserError) as caught:
        Source(path="x", header=False, encoding="hex")
    assert str(caught.value).splitlines() == [
        (
            "data.source.text=text: data.source.header=false leaves columns without names; "
            "expected a position, counted from 0, or data.source.columns=[NAME,NAME] with all names"
        ),
        "data.source.encoding=hex: no such text encoding; common ones: utf-8, utf-16, latin-1, "
        "cp1252",
    ]


def test_an_absent_split(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", "text\nx\n")
    with pytest.raises(UserError, match="^.*a.csv has no test split; it has: train$"):
        list(Source(path=str(tmp_path / "a.csv")).read_records("test"))


def test_a_fingerprint_knows_content_and_reading_but_not_names(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", "text,label\nx,1\n")
    put(tmp_path / "b.csv", "text,label\nx,1\n")
    put(tmp_path / "c.csv", "text,label\nx,2\n")

    def fingerprint(name: str, **options: object) -> str:
        return Source(path=str(tmp_path / name), **options).fingerprint_split("train")  # type: ignore[arg-type]

    assert fingerprint("a.csv") == fingerprint("b.csv") == fingerprint("a.csv", format="csv")
    assert fingerprint("a.csv", hub="ignored/here") == fingerprint("a.csv")
    others = {
        fingerprint("c.csv"),
        fingerprint("a.csv", label="label"),
        fingerprint("a.csv", encoding="latin-1"),
    }
    assert len(others | {fingerprint("a.csv")}) == 4
    assert set(fingerprint("a.csv")) <= set(string.hexdigits)
    assert len(fingerprint("a.csv")) == 64


@pytest.fixture
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An address where nobody answers, and an empty cache."""
    datasets = pytest.importorskip("datasets")
    with socket.create_server(("127.0.0.1", 0)) as server:
        # closed again: connections are refused
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", address)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    hub.load_from_hub.cache_clear()
    return address


def test_a_hub_that_cannot_be_reached_says_both_ways_out(no_hub: str) -> None:
    started = time.monotonic()
    with pytest.raises(UserError) as caught:
        Source(hub="nobody/nothing").available_splits()
    assert time.monotonic() - started < 20
    message = str(caught.value)
    assert message.startswith(
        f"data.source.hub=nobody/nothing: {no_hub} cannot be reached (ConnectError: "
    )
    assert message.endswith(
        "Two ways out: connect to the internet; or give a folder with the files train, "
        "validation and test (.csv, .tsv, .jsonl or .parquet, the same columns): "
        "data.source.path=FOLDER"
    )


def test_a_hub_that_never_answers_has_a_limit(no_hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(hub, "HUB_TIMEOUT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(
            datasets.config, "HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}"
        )
        started = time.monotonic()
        with pytest.raises(UserError, match="cannot be reached"):
            Source(hub="nobody/nothing").available_splits()
    assert time.monotonic() - started < 5


def test_a_limit_holds_whatever_the_call_waits_for() -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError, match="^no answer in 0.1 seconds$"):
        hub.call_with_timeout(0.1, lambda: time.sleep(2))
    assert time.monotonic() - started < 1


def test_without_the_hub_the_cache_answers_for_the_revision_it_has(
    tmp_path: Path, no_hub: str
) -> None:
    import datasets
    from datasets.arrow_writer import ArrowWriter

    folder = tmp_path / "cache" / "nobody___nothing" / "default" / "0.0.0" / "abc123"
    folder.mkdir(parents=True)
    with ArrowWriter(path=str(folder / "nothing-train.arrow")) as writer:
        writer.write({"text": "from the cache"})
        writer.finalize()
    info = {
        "features": {"text": {"dtype": "string", "_type": "Value"}},
        "config_name": "default",
        "dataset_name": "nothing",
        "version": {"version_str": "0.0.0", "major": 0, "minor": 0, "patch": 0},
        "splits": {"train": {"name": "train", "num_examples": 1, "dataset_name": "nothing"}},
    }
    put(folder / "dataset_info.json", json.dumps(info))
    for revision in (None, "abc123"):
        source = Source(hub="nobody/nothing", revision=revision)
        assert list(source.read_records("train")) == [
            RawRecord("from the cache", None, None, "nobody/nothing, train, row 1")
        ]
    with pytest.raises(
        UserError,
        match=r"the local cache does not help \(it has revision abc123, not def456\)\. Two",
    ):
        Source(hub="nobody/nothing", revision="def456").available_splits()
    assert datasets.config.HF_HUB_OFFLINE is False


def test_rows_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    classes = datasets.ClassLabel(names=["neg", "pos"])
    features = datasets.Features(
        text=datasets.Value("string"), label=classes, marks=datasets.List(classes)
    )
    part = datasets.Dataset.from_dict(
        {"text": ["a", "b", None], "label": [1, -1, 0], "marks": [[1, -1], [-1], []]},
        features=features,
    )
    monkeypatch.setattr(sources, "load_from_hub", lambda *_: {"train": part, "unsupervised": part})
    with pytest.raises(UserError) as caught:
        Source(hub="some/data", train="trian").available_splits()
    assert (
        str(caught.value)
        == "data.source.train=trian: some/data has no such split; did you mean 'train'?"
    )
    source = Source(hub="some/data", label="label")
    assert source.available_splits() == ("train",)
    assert list(source.read_records("train")) == [
        RawRecord("a", None, 1, "some/data, train, row 1"),
        RawRecord("b", None, None, "some/data, train, row 2"),
        RawRecord("", None, 0, "some/data, train, row 3"),
    ]
    assert source.fingerprint_split("train") == source.fingerprint_split("train")
    with pytest.raises(UserError) as caught:
        list(Source(hub="some/data", text="txt").read_records("train"))
    assert str(caught.value) == (
        "data.source.text=txt: some/data, train has no such column; did you mean 'text'? Columns: "
        "text, label, marks"
    )
    several = Source(hub="some/data", label="marks").read_records("train")
    assert [row.label for row in several] == [(1,), None, ()]


def test_building_and_checking_imports_nothing_heavy(tmp_path: Path) -> None:
    put(tmp_path / "train.csv", "text\nx\n")
    code = (
        "import sys, src.data.preparation.cleaning, src.data.rows.labels; "
        "import src.data.preparation.splitting; from src.data.reading.sources import Source;"
        f"Source(path={str(tmp_path)!r}).check();"
        "print(sorted({'torch', 'datasets', 'pandas', 'pyarrow', 'transformers', 'numpy'} & "
        "set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


REAL = os.environ.get("REAL_DATA", "")


STSB = {
    "text": 5,
    "pair": 6,
    "label": 4,
    "format": "tsv",
    "header": False,
    "quoting": False,
    "validation": "dev",
}


@pytest.mark.skipif(not REAL, reason="REAL_DATA names no folder with the real data sets")
@pytest.mark.parametrize(
    ("folder", "options", "expected"),
    [
        ("imdb", {"label": "label"}, {"train": 25_000, "test": 25_000}),
        (
            "sst2",
            {"format": "label_first", "validation": "dev", "label": "label"},
            {"train": 6920, "validation": 872, "test": 1821},
        ),
        ("stsb", STSB, {"train": 5749, "validation": 1500, "test": 1379}),
        (
            "wikitext2",
            {"heading": "^ = [^=].* = $", "validation": "valid"},
            # 31 lines of formulas look like headings
            {"train": 629, "validation": 60, "test": 62},
        ),
        ("hatecheck", {"text": "test_case", "label": "label_gold"}, {"test": 3728}),
    ],
)
def test_real_data(folder: str, options: dict[str, object], expected: dict[str, int]) -> None:
    source = Source(path=str(Path(REAL) / folder), **options)  # type: ignore[arg-type]
    source.check()
    assert {
        split: sum(1 for _ in source.read_records(split)) for split in source.available_splits()
    } == expected


def test_csv_of_the_hub_keeps_words_that_look_like_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    from src.data.reading.hub import _build_hub_dataset

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    put(tmp_path / "data" / "train.csv", "text,label\nNone,1\nNA,0\nnull,1\n")
    part = _build_hub_dataset(str(tmp_path / "data"), None, None)["train"]
    assert part["text"][:] == ["None", "NA", "null"]
