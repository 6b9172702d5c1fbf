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

from src.core.failures import LostProcessError, diagnose_failure
from src.data.tokenization import tokenize
from src.data.tokenization.text_encoder import TextEncoder
from src.data.tokenization.token_store import TargetLayout, TextRow, TokenStore
from src.data.tokenization.tokenize import CorpusSize, tokenize_to_stores

PIECES = [
    "[CLS]",
    "[SEP]",
    "[UNK]",
    *"abcdefghij",
    *(f"##{letter}" for letter in "abcdefghij"),
    "abc",
    "bad",
    "face",
]


def _encoder() -> TextEncoder:
    tokenizer = Tokenizer(
        models.WordPiece({piece: at for at, piece in enumerate(PIECES)}, unk_token="[UNK]")
    )
    tokenizer.normalizer, tokenizer.pre_tokenizer = (
        normalizers.BertNormalizer(),
        pre_tokenizers.BertPreTokenizer(),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 0), ("[SEP]", 1)],
    )
    return TextEncoder(tokenizer)


def _rows(count: int, pairs: bool = False) -> Iterator[tuple[str, TextRow]]:
    """Three of four go to train; every text is another."""
    for number in range(count):
        text = "".join("abcdefghij"[int(digit)] for digit in str(number)) + " bad face" * (
            number % 5
        )
        row = TextRow(text, "abc " + text if pairs else None, number % 3, number)
        yield ("validation" if number % 4 == 3 else "train"), row


def _tokenise(
    folder: Path,
    rows: Iterator[tuple[str, TextRow]],
    size: CorpusSize | None = None,
    **changed: Any,
) -> None:
    settings = {
        "vocab_size": len(PIECES),
        "max_tokens": 9,
        "truncation": "tail",
        "targets": TargetLayout(),
    } | changed
    tokenize_to_stores(folder, rows, _encoder(), size=size or CorpusSize(0, 0), **settings)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of seven texts, a journal entry after every 40 tokens."""
    monkeypatch.setattr(tokenize, "CHUNK_TEXTS", 7)
    monkeypatch.setattr(tokenize, "TOKENS_PER_JOURNAL_ENTRY", 40)


@pytest.mark.parametrize("pairs", [False, True])
def test_each_row_goes_to_its_split_as_the_tokenizer_has_it(
    pairs: bool, small: None, tmp_path: Path
) -> None:
    _tokenise(tmp_path, _rows(50, pairs))
    encoder = _encoder()
    for split in ("train", "validation"):
        store = TokenStore.open(tmp_path / split)
        expected = [row for name, row in _rows(50, pairs) if name == split]
        assert store.identities.tolist() == [row.identity for row in expected]
        assert store.targets.tolist() == [row.target for row in expected]
        for place, row in enumerate(expected):
            alone = encoder.encode([row.text], [row.pair] if row.pair else None, 9, "tail")
            assert (
                store.ids[store.offsets[place] : store.offsets[place + 1]].tolist()
                == alone.ids.tolist()
            )
            assert store.begins[place] == alone.begins[0]
    assert {path.name for path in tmp_path.iterdir()} == {"train", "validation"}


def test_long_texts_make_small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenize, "CHUNK_CHARACTERS", 30)
    monkeypatch.setattr(tokenize, "CHUNK_TEXTS", 3)
    texts = ["a" * 10] * 2 + ["a" * 40] + ["a"] * 4
    chunks = tokenize._iter_chunks(("train", TextRow(text, None, 0, 0)) for text in texts)
    assert [[len(row.text) for row in chunk.rows] for chunk in chunks] == [
        [10, 10, 40],
        [1, 1, 1],
        [1],
    ]


def test_processes_change_nothing(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _tokenise(tmp_path / "one", _rows(60))
    monkeypatch.setattr(tokenize, "count_usable_cores", lambda: 2)
    monkeypatch.setattr(tokenize, "MIN_PARALLEL_CHARACTERS", 1)
    _tokenise(tmp_path / "two", _rows(60), CorpusSize(60, 1000))
    assert _bytes(tmp_path / "one") == _bytes(tmp_path / "two")


@pytest.mark.parametrize("stop", [0, 1, 20, 59])
def test_an_error_in_the_middle_and_again(stop: int, small: None, tmp_path: Path) -> None:
    """The second call goes on from the journal of the first and tokenises only what is left."""

    def broken(at: int) -> Iterator[tuple[str, TextRow]]:
        for number, row in enumerate(_rows(60)):
            if number == at:
                raise OSError("no space left on device")
            yield row

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
    def broken() -> Iterator[tuple[str, TextRow]]:
        yield from islice(_rows(60), 50)
        raise OSError("no space left on device")

    _tokenise(tmp_path / "whole", _rows(60))
    with pytest.raises(OSError, match="no space"):
        _tokenise(tmp_path / "stopped", broken())
    journal = tmp_path / "stopped" / tokenize.JOURNAL_FILE
    assert journal.stat().st_size
    journal.write_text(content)
    _tokenise(tmp_path / "stopped", _rows(60))
    assert _bytes(tmp_path / "stopped") == _bytes(tmp_path / "whole")
    assert capfd.readouterr().err == f"note: {journal} is broken; tokenising starts over\n"


def test_a_process_that_is_killed(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system does where memory has run out: said in words, and gone on from by the next
    call.
    """
    monkeypatch.setattr(tokenize, "count_usable_cores", lambda: 2)
    monkeypatch.setattr(tokenize, "MIN_PARALLEL_CHARACTERS", 1)
    works_for = {process.pid for process in multiprocessing.active_children()}

    def killing() -> Iterator[tuple[str, TextRow]]:
        for number, row in enumerate(_rows(200)):
            if number == 150:
                # all of them: one that is slow to begin has no work yet that would be lost
                for process in multiprocessing.active_children():
                    if process.pid not in works_for:
                        os.kill(process.pid or 0, signal.SIGKILL)
            yield row

    with pytest.raises(LostProcessError) as caught:
        _tokenise(tmp_path / "killed", killing(), CorpusSize(200, 1000))
    failure = diagnose_failure(caught.value)
    assert failure is not None and failure.message == str(caught.value)
    assert str(caught.value).startswith(
        "a tokenising process was killed (signal 9); the system does so where memory has run out: "
        "the same "
    )
    assert tokenize._read_journal(tmp_path / "killed")[0] > 0
    monkeypatch.setattr(tokenize, "MIN_PARALLEL_CHARACTERS", 1 << 26)
    _tokenise(tmp_path / "killed", _rows(200))
    _tokenise(tmp_path / "whole", _rows(200))
    assert _bytes(tmp_path / "killed") == _bytes(tmp_path / "whole")


KILLED = """
import sys, time
from pathlib import Path
from src.data.tokenization import tokenize
from tests.data.tokenization.test_tokenize import _rows, _tokenise

tokenize.CHUNK_TEXTS, tokenize.TOKENS_PER_JOURNAL_ENTRY = 7, 40

def slow():
    for number, row in enumerate(_rows(200)):
        if number == 120:
            print("in the middle", flush=True)
            time.sleep(60)
        yield row

_tokenise(Path(sys.argv[1]), slow())
"""


def test_killed_in_the_middle(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).resolve().parents[3]
    killed = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, str(killed)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in the middle\n"
        process.send_signal(signal.SIGKILL)
    assert not (killed / "train" / "store.json").exists()
    done, _ = tokenize._read_journal(killed)
    assert done > 5

    texts = []
    encode = tokenize.EncodingSettings.encode
    monkeypatch.setattr(
        tokenize.EncodingSettings,
        "encode",
        lambda self, *arguments: [texts.append(arguments), encode(self, *arguments)][1],
    )
    _tokenise(killed, _rows(200))
    # 150 texts make 22 chunks, 50 make 8
    assert len(texts) == 200 // 7 + 2 - done
    _tokenise(tmp_path / "whole", _rows(200))
    assert _bytes(killed) == _bytes(tmp_path / "whole")


ORPHAN = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from src.data.tokenization.tokenize import EncodingSettings, _encode_in_worker, _init_worker
from tests.data.tokenization.test_tokenize import _encoder

if __name__ == "__main__":
    settings = EncodingSettings(_encoder(), None, "head")
    pool = ProcessPoolExecutor(1, get_context("spawn"), _init_worker, (settings,))
    pool.submit(_encode_in_worker, ["abc"], None, None).result()
    print(*pool._processes, flush=True)
    time.sleep(60)
"""


def test_no_process_outlives_the_one_it_works_for(tmp_path: Path) -> None:
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN)
    root = Path(__file__).resolve().parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        worker = Path("/proc", process.stdout.readline().strip())
        assert worker.exists()
        process.send_signal(signal.SIGKILL)
    for _ in range(300):
        if not worker.exists():
            return
        time.sleep(0.1)
    raise AssertionError("still there after 30 seconds")


def test_nothing_is_shown_for_a_short_job(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _tokenise(tmp_path, _rows(10))
    assert capfd.readouterr() == ("", "")
