"""Whatever a file holds: what was written, or one fault that names it; never another exception."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.core.pretrained_files import check_encoder_folder
from src.core.user_errors import UserError
from src.data.cache import ContentCache
from src.data.reading.sources import Source
from src.data.rows.records import RawRecord
from src.tracking.outbox import Journal, JournalPosition, read_entries

bounded = settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
TABLE = b'text,label\n"a, b",1\nc,0\n'
OBJECTS = b'{"text": "a", "label": 1}\n{"text": null}\n'


def _records(path: Path) -> list[RawRecord]:
    source = Source(
        path=str(path),
        label=None if path.suffix == ".txt" else "label",
        # ordinary characters there, unless it is named
        quote='"' if path.suffix == ".tsv" else None,
    )
    return list(source.read_records("train"))


@bounded
@given(
    rows=st.lists(st.tuples(words, words), min_size=1, max_size=5),
    suffix=st.sampled_from(["csv", "tsv", "parquet"]),
)
def test_a_table_gives_back_what_was_written(
    tmp_path: Path, rows: list[tuple[str, str]], suffix: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "parquet":
        import pyarrow
        from pyarrow.parquet import write_table

        write_table(
            pyarrow.Table.from_pylist([{"text": text, "label": label} for text, label in rows]),
            path,
        )
    else:
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, delimiter="," if suffix == "csv" else "\t")
            writer.writerows([("text", "label"), *rows])
    expected = [(text, label if label.strip() else None) for text, label in rows]
    assert [(each.text, each.label) for each in _records(path)] == expected


def _changed(sound: bytes) -> st.SearchStrategy[bytes]:
    """Any bytes, a sound file cut off, or one with some bytes replaced."""
    pieces = st.tuples(st.integers(0, len(sound)), st.binary(max_size=6), st.integers(0, 6))
    replaced = pieces.map(lambda each: sound[: each[0]] + each[1] + sound[each[0] + each[2] :])
    return st.binary(max_size=60) | replaced


@pytest.mark.parametrize(
    ("name", "sound"),
    [
        ("a.csv", TABLE),
        ("a.tsv", TABLE),
        ("a.jsonl", OBJECTS),
        ("a.txt", b"a\n\nb\n"),
        ("a.parquet", b"PAR1xxPAR1"),
        (
            "a.csv.gz",
            b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        ),
    ],
)
@bounded
@given(data=st.data())
def test_any_bytes_are_read_or_refused_by_name(
    tmp_path: Path, name: str, sound: bytes, data: st.DataObject
) -> None:
    (tmp_path / name).write_bytes(data.draw(_changed(sound)))
    try:
        found = _records(tmp_path / name)
    except UserError as fault:
        assert name in str(fault)
    else:
        assert all(each.where.startswith(name) for each in found)


@bounded
@given(config=_changed(b'{"model_type": "bert"}'), weights=_changed(b"\x02\0\0\0\0\0\0\0{}"))
def test_any_model_folder_is_taken_or_refused(
    tmp_path: Path, config: bytes, weights: bytes
) -> None:
    (tmp_path / "config.json").write_bytes(config)
    (tmp_path / "model.safetensors").write_bytes(weights)
    try:
        check_encoder_folder(tmp_path, {"bert"}, "key")
    except UserError as fault:
        assert str(tmp_path) in str(fault) and "key" in str(fault)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


@bounded
@given(
    entries=st.lists(
        st.dictionaries(words, values, min_size=1, max_size=3), min_size=1, max_size=6
    ),
    data=st.data(),
)
def test_a_journal_cut_anywhere_holds_a_beginning_of_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, entries: list[dict[str, object]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    entries = [{**each, "kind": "tags"} for each in entries]
    journal = Journal(folder)
    journal.append_entries(entries)
    journal.close()
    [file] = folder.glob("*.jsonl")
    whole = file.read_bytes()
    file.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    found = [entry for entry, _ in read_entries(folder, JournalPosition(1, 0)) if entry is not None]
    assert found == json.loads(json.dumps(entries))[: len(found)]
    assert len(found) == file.read_bytes().count(b"\n")


class _Killed(BaseException):
    """The process ends here."""


@bounded
@given(stops=st.lists(st.integers(0, 3), max_size=3), resumable=st.booleans())
def test_a_folder_of_the_cache_is_whole_or_absent(
    tmp_path_factory: pytest.TempPathFactory, stops: list[int], resumable: bool
) -> None:
    cache = ContentCache(tmp_path_factory.mktemp("cache"))

    def building(stop: int | None) -> Callable[[Path], None]:
        def build(folder: Path) -> None:
            for number in range(4):
                if number == stop:
                    raise _Killed
                (folder / str(number)).write_text("whole")

        return build

    place = cache.root / "kind" / "key"
    for stop in stops:
        with pytest.raises(_Killed):
            cache.get_or_build("kind", "key", building(stop), resumable=resumable)
        assert not place.exists()
    assert cache.get_or_build("kind", "key", building(None), resumable=resumable) == place
    assert sorted(each.name for each in place.iterdir()) == ["0", "1", "2", "3"]
