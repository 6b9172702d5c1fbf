"""Rows to stores: in one process or several, in one go or in many."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from src.data import tokenising
from src.data.encoding import TextEncoder
from src.data.store import Row, TokenStore
from src.data.tokenising import Size, tokenise
from src.terms.world import LostProcess, diagnose

PIECES = ["[CLS]", "[SEP]", "[UNK]", *"abcdefghij", *(f"##{letter}" for letter in "abcdefghij"), "abc", "bad", "face"]


def _encoder() -> TextEncoder:
    tokenizer = Tokenizer(models.WordPiece({piece: at for at, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
    )
    return TextEncoder(tokenizer)


def _rows(count: int, pairs: bool = False) -> Iterator[tuple[str, Row]]:
    """Three of four go to train; every text is another."""
    for number in range(count):
        text = "".join("abcdefghij"[int(digit)] for digit in str(number)) + " bad face" * (number % 5)
        row = Row(text, "abc " + text if pairs else None, number % 3, number)
        yield ("validation" if number % 4 == 3 else "train"), row


def _tokenise(folder: Path, rows: Iterator[tuple[str, Row]], size: Size | None = None, **changed: Any) -> None:
    settings = {"vocab_size": len(PIECES), "max_tokens": 9, "truncation": "tail", "valued": False} | changed
    tokenise(folder, rows, _encoder(), size=size or Size(0, 0), **settings)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of seven texts, a journal entry after every 40 tokens."""
    monkeypatch.setattr(tokenising, "CHUNK_TEXTS", 7)
    monkeypatch.setattr(tokenising, "JOURNAL_TOKENS", 40)


@pytest.mark.parametrize("pairs", [False, True])
def test_each_row_goes_to_its_split_as_the_tokenizer_has_it(pairs: bool, small: None, tmp_path: Path) -> None:
    _tokenise(tmp_path, _rows(50, pairs))
    encoder = _encoder()
    for split in ("train", "validation"):
        store = TokenStore.open(tmp_path / split)
        expected = [row for name, row in _rows(50, pairs) if name == split]
        assert store.identities.tolist() == [row.identity for row in expected]
        assert store.targets.tolist() == [row.target for row in expected]
        for place, row in enumerate(expected):
            alone = encoder.encode([row.text], [row.pair] if row.pair else None, 9, "tail")
            assert store.ids[store.offsets[place] : store.offsets[place + 1]].tolist() == alone.ids.tolist()
            assert store.begins[place] == alone.begins[0]
    assert {each.name for each in tmp_path.iterdir()} == {"train", "validation"}


def test_long_texts_make_small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenising, "CHUNK_LETTERS", 30)
    monkeypatch.setattr(tokenising, "CHUNK_TEXTS", 3)
    texts = ["a" * 10] * 2 + ["a" * 40] + ["a"] * 4
    chunks = tokenising._chunks(("train", Row(text, None, 0, 0)) for text in texts)
    assert [[len(row.text) for row in chunk.rows] for chunk in chunks] == [[10, 10, 40], [1, 1, 1], [1]]


def test_processes_change_nothing(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _tokenise(tmp_path / "one", _rows(60))
    monkeypatch.setattr(tokenising, "_cores", lambda: 2)
    monkeypatch.setattr(tokenising, "PARALLEL_LETTERS", 1)
    _tokenise(tmp_path / "two", _rows(60), Size(60, 1000))
    assert _bytes(tmp_path / "one") == _bytes(tmp_path / "two")


@pytest.mark.parametrize("stop", [0, 1, 20, 59])
def test_an_error_in_the_middle_and_again(stop: int, small: None, tmp_path: Path) -> None:
    """The second call goes on from the journal of the first, and does not tokenise what that has."""

    def broken(at: int) -> Iterator[tuple[str, Row]]:
        for number, each in enumerate(_rows(60)):
            if number == at:
                raise OSError("no space left on device")
            yield each

    _tokenise(tmp_path / "whole", _rows(60))
    for at in (stop, stop, 59):
        with pytest.raises(OSError, match="no space"):
            _tokenise(tmp_path / "stopped", broken(at))
    _tokenise(tmp_path / "stopped", _rows(60))
    assert _bytes(tmp_path / "stopped") == _bytes(tmp_path / "whole")


@pytest.mark.parametrize("content", ["", "[]", '{"chunks": 3, "stores": {"train": {"rows": 1}}}'])
def test_a_broken_journal_means_starting_over(
    content: str, small: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken() -> Iterator[tuple[str, Row]]:
        yield from islice(_rows(60), 50)
        raise OSError("no space left on device")

    _tokenise(tmp_path / "whole", _rows(60))
    with pytest.raises(OSError, match="no space"):
        _tokenise(tmp_path / "stopped", broken())
    journal = tmp_path / "stopped" / tokenising.JOURNAL
    assert journal.stat().st_size
    journal.write_text(content)
    _tokenise(tmp_path / "stopped", _rows(60))
    assert _bytes(tmp_path / "stopped") == _bytes(tmp_path / "whole")
    assert capfd.readouterr().err == f"note: {journal} is broken; tokenising starts over\n"


def test_a_process_that_is_killed(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system does where memory has run out: said in words, and gone on from by the next call."""
    monkeypatch.setattr(tokenising, "_cores", lambda: 2)
    monkeypatch.setattr(tokenising, "PARALLEL_LETTERS", 1)
    works_for = {each.pid for each in multiprocessing.active_children()}

    def killing() -> Iterator[tuple[str, Row]]:
        for number, each in enumerate(_rows(200)):
            if number == 150:
                worker = next(each for each in multiprocessing.active_children() if each.pid not in works_for)
                os.kill(worker.pid or 0, signal.SIGKILL)
            yield each

    with pytest.raises(LostProcess) as caught:
        _tokenise(tmp_path / "killed", killing(), Size(200, 1000))
    assert diagnose(caught.value) == str(caught.value)
    assert str(caught.value).startswith(
        "a tokenising process was killed (signal 9); the system does so where memory has run out: the same "
    )
    assert tokenising._journal(tmp_path / "killed")[0] > 0
    monkeypatch.setattr(tokenising, "PARALLEL_LETTERS", 1 << 26)
    _tokenise(tmp_path / "killed", _rows(200))
    _tokenise(tmp_path / "whole", _rows(200))
    assert _bytes(tmp_path / "killed") == _bytes(tmp_path / "whole")


KILLED = """
import sys, time
from pathlib import Path
from src.data import tokenising
from tests.data.test_tokenising import _rows, _tokenise

tokenising.CHUNK_TEXTS, tokenising.JOURNAL_TOKENS = 7, 40

def slow():
    for number, each in enumerate(_rows(200)):
        if number == 120:
            print("in the middle", flush=True)
            time.sleep(60)
        yield each

_tokenise(Path(sys.argv[1]), slow())
"""


def test_killed_in_the_middle(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).resolve().parents[2]
    killed = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, str(killed)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in the middle\n"
        process.send_signal(signal.SIGKILL)
    assert not (killed / "train" / "store.json").exists()
    done, _ = tokenising._journal(killed)
    assert done > 5

    texts = []
    encode = tokenising.Settings.encode
    monkeypatch.setattr(tokenising.Settings, "encode", lambda self, *each: [texts.append(each), encode(self, *each)][1])
    _tokenise(killed, _rows(200))
    assert len(texts) == 200 // 7 + 2 - done  # 150 texts make 22 chunks, 50 make 8
    _tokenise(tmp_path / "whole", _rows(200))
    assert _bytes(killed) == _bytes(tmp_path / "whole")


ORPHAN = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from src.data.tokenising import Settings, _start, _work
from tests.data.test_tokenising import _encoder

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, get_context("spawn"), _start, (Settings(_encoder(), None, "head"),))
    pool.submit(_work, ["abc"], None).result()
    print(*pool._processes, flush=True)
    time.sleep(60)
"""


def test_no_process_outlives_the_one_it_works_for(tmp_path: Path) -> None:
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN)
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        worker = Path("/proc", process.stdout.readline().strip())
        assert worker.exists()
        process.send_signal(signal.SIGKILL)
    for _ in range(300):
        if not worker.exists():
            return
        time.sleep(0.1)
    raise AssertionError("still there after 30 seconds")


def test_nothing_is_shown_for_a_short_job(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _tokenise(tmp_path, _rows(10))
    assert capfd.readouterr() == ("", "")
