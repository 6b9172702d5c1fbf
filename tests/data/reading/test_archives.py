"""Packed files and archives: read as what is in them, and nothing is written outside the cache."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from src.core.user_errors import UserError
from src.data.reading import archives
from src.data.reading.sources import Source
from tests.data.reading.test_readers import fault, put, read

CSV = b"text,label\ngood,1\nbad,0\n"
JSON = b'{"text": "good", "label": "1"}\n{"text": "bad", "label": "0"}\n'
ROWS = [("good", "1"), ("bad", "0")]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(archives, "CACHE_ROOT", tmp_path / "cache")
    return tmp_path / "cache"


def _pack(path: Path, members: dict[str, bytes]) -> Path:
    """Write an archive of the kind that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
            for name, content in members.items():
                zipped.writestr(name, content)
        return path
    kind = path.suffix.removeprefix(".").replace("tgz", "gz").replace("tar", "")
    with tarfile.open(path, f"w:{kind}") as tar:  # type: ignore[call-overload]
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


ENDINGS = [".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz"]


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)],
)
def test_packed_files_of_every_kind(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    for name, content in {"a.csv": CSV, "a.tsv": CSV.replace(b",", b"\t"), "a.jsonl": JSON}.items():
        (tmp_path / f"{name}{suffix}").write_bytes(pack(content))
        records = read(tmp_path / f"{name}{suffix}", label="label")
        assert [(row.text, row.label) for row in records] == ROWS
    (tmp_path / f"train.csv{suffix}").write_bytes(pack(CSV * 900)[:-9])
    assert " data after line " in fault(tmp_path / f"train.csv{suffix}")


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_archive_is_read_as_the_folder_that_it_holds(tmp_path: Path, ending: str) -> None:
    members = {
        "set/train.csv": CSV,
        "set/test.csv": CSV + b"fine,1\n",
        "set/README.md": b"about",
        "__MACOSX/set/._train.csv": b"\0",
        ".DS_Store": b"\0",
    }
    source = Source(path=str(_pack(tmp_path / f"a{ending}", members)), label="label")
    source.check()
    assert source.name == f"a{ending}"
    assert source.available_splits() == ("train", "test")
    assert [(row.text, row.label) for row in source.read_records("train")] == ROWS
    assert [row.where for row in source.read_records("test")][-1] == "test.csv, line 4"


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_lone_file_in_an_archive_is_train(tmp_path: Path, ending: str) -> None:
    for name in ("reviews.csv", "out/reviews.csv"):
        path = _pack(tmp_path / name.partition("/")[0] / f"b{ending}", {name: CSV})
        assert [(row.text, row.label) for row in read(path, label="label")] == ROWS


def test_a_path_leads_on_inside_an_archive(tmp_path: Path) -> None:
    lines = b"x\t1\t*\tgood\nx\t0\t\tbad\n"
    members = {"cola/raw/in_train.tsv": lines, "cola/tokenized/in_train.tsv": lines}
    path = _pack(tmp_path / "cola.zip", members)
    options = {"header": False, "text": 3, "label": 1}
    assert "stands in several folders" in fault(path, **options)
    for inside in ("cola/raw", "cola/raw/in_train.tsv"):
        records = read(path / inside, **options)
        assert [(row.text, row.label) for row in records] == ROWS
    message = fault(path / "cola/row", **options)
    assert message.startswith(f"data.source.path={path}/cola/row: there is no 'row' in ")
    assert message.endswith("did you mean 'raw'?")


def test_class_folders_and_parquet_in_an_archive(tmp_path: Path) -> None:
    members = {f"reviews/{name}/{n}.txt": b"text" for name in ("pos", "neg") for n in range(2)}
    records = read(_pack(tmp_path / "folders.tar.gz", members), label="label")
    assert [row.label for row in records] == ["neg", "neg", "pos", "pos"]


def test_zipped_files_beside_others(tmp_path: Path) -> None:
    _pack(tmp_path / "train.csv.zip", {"train.csv": CSV})
    _pack(tmp_path / "test.csv.zip", {"test.csv": CSV, "__MACOSX/._test.csv": b"\0"})
    source = Source(path=str(tmp_path), label="label")
    for split in ("train", "test"):
        assert [(row.text, row.label) for row in source.read_records(split)] == ROWS
    _pack(tmp_path / "test.csv.zip", {"a.csv": CSV, "b.csv": CSV})
    with pytest.raises(UserError, match="test.csv.zip holds 2 files"):
        list(source.read_records("test"))
    _pack(tmp_path / "more" / "a.zip", {"a.csv": CSV})
    assert fault(tmp_path / "more").endswith(
        f"an archive is read where it is named itself: data.source.path={tmp_path}/more/a.zip"
    )


@pytest.mark.parametrize("ending", [".zip", ".tar"])
@pytest.mark.parametrize("name", ["../out.csv", "/tmp/out.csv", "a/../../out.csv", "..\\out.csv"])
def test_nothing_is_written_outside(tmp_path: Path, cache: Path, ending: str, name: str) -> None:
    path = _pack(tmp_path / f"a{ending}", {"train.csv": CSV, name: CSV})
    assert "would lie outside its folder" in fault(path)
    assert not [file for file in tmp_path.rglob("*.csv") if file.is_file()]
    assert not list((cache / "unpacked").glob("*.unfinished"))


def test_links_are_passed_over_and_traps_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _pack(tmp_path / "a.tar", {"train.csv": CSV})
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("test.csv")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert Source(path=str(path)).available_splits() == ("train",)
    monkeypatch.setattr(archives, "_ALWAYS_UNPACKED_BYTES", 1 << 16)
    trap = _pack(tmp_path / "trap.zip", {"train.csv": b"\0" * (1 << 22)})
    assert "unpacks to more than 500 times its size" in fault(trap)


def test_broken_encrypted_and_empty_archives(tmp_path: Path) -> None:
    whole = _pack(tmp_path / "a.zip", {"train.csv": CSV * 9000}).read_bytes()
    put(tmp_path / "cut.zip", whole[: len(whole) // 2])
    assert "cut.zip: broken or of an unknown kind after 0 files" in fault(tmp_path / "cut.zip")
    whole = _pack(tmp_path / "a.tar", {"train.csv": CSV * 9000}).read_bytes()
    put(tmp_path / "cut.tar", whole[: len(whole) // 2])
    assert "cut.tar: broken or of an unknown kind" in fault(tmp_path / "cut.tar")
    put(tmp_path / "no.tgz", b"no archive")
    assert "no.tgz: broken or of an unknown kind" in fault(tmp_path / "no.tgz")
    assert "no files in it" in fault(_pack(tmp_path / "empty.zip", {}))
    encrypted = bytearray(_pack(tmp_path / "a.zip", {"train.csv": CSV}).read_bytes())
    encrypted[6] |= 1
    encrypted[encrypted.index(b"PK\1\2") + 8] |= 1
    put(tmp_path / "secret.zip", bytes(encrypted))
    assert "'train.csv' is encrypted; unpack it with its password" in fault(tmp_path / "secret.zip")


def test_a_member_packed_in_an_unknown_way_alone_and_beside_others(tmp_path: Path) -> None:
    packed = bytearray(_pack(tmp_path / "a.zip", {"train.csv": CSV}).read_bytes())
    # Deflate64, in both headers
    packed[8] = packed[packed.index(b"PK\1\2") + 10] = 9
    put(tmp_path / "odd.zip", bytes(packed))
    words = "'train.csv' is packed in a way that Python does not know"
    assert words in fault(tmp_path / "odd.zip")
    put(tmp_path / "set" / "train.csv.zip", bytes(packed))
    put(tmp_path / "set" / "test.csv", CSV)
    assert words in fault(tmp_path / "set")


def test_an_archive_is_unpacked_once_and_anew_when_it_changes(tmp_path: Path, cache: Path) -> None:
    path = _pack(tmp_path / "a.zip", {"train.csv": CSV})
    first = Source(path=str(path)).fingerprint_split("train")
    assert Source(path=str(path)).fingerprint_split("train") == first
    assert len([one for one in (cache / "unpacked").iterdir() if one.is_dir()]) == 1
    _pack(path, {"train.csv": CSV + b"more,1\n"})
    assert Source(path=str(path)).fingerprint_split("train") != first


def test_archives_inside_archives(tmp_path: Path) -> None:
    inner = _pack(tmp_path / "inner.zip", {"a.csv": CSV}).read_bytes()
    lone = _pack(tmp_path / "lone.tar.gz", {"set/inner.zip": inner})
    two = _pack(tmp_path / "two.zip", {"b.zip": inner, "c.zip": inner})
    for path in (lone, lone / "set" / "inner.zip", two / "c.zip"):
        assert [(row.text, row.label) for row in read(path, label="label")] == ROWS
    for level in range(3):
        inner = _pack(tmp_path / f"{level}.zip", {"inner.zip": inner}).read_bytes()
    assert "unpack them yourself" in fault(tmp_path / "2.zip")


def test_an_archive_is_called_as_it_was_typed(tmp_path: Path) -> None:
    path = _pack(tmp_path / "two.zip", {"amazon.csv": CSV, "yelp.csv": CSV})
    assert fault(path).startswith(f"data.source.path={path}: no file carries the name of a split")
