"""Tokenised text on disk."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from src.data import store as module
from src.data.store import Row, TokenStore, write


def _tokenizer(vocab_size: int = 1000) -> Any:
    """Each text is written as its ids; a pair's second text follows without a border."""

    def encode(texts: Sequence[str], pairs: Sequence[str] | None, limit: int | None, truncation: str) -> Any:
        rows = [np.array(list(map(int, each.split())), dtype=np.int64) for each in texts]
        seconds = [np.array(list(map(int, each.split())), dtype=np.int64) for each in pairs or []]
        begins = [len(row) for row in rows] if pairs is not None else [0] * len(rows)
        whole = [np.concatenate(each) for each in zip(rows, seconds, strict=True)] if pairs is not None else rows
        return [row[:limit] for row in whole], begins, sum(limit is not None and len(row) > limit for row in whole)

    return SimpleNamespace(vocab_size=vocab_size, encode=encode)


def _write(folder: Path, rows: list[Row], vocab_size: int = 1000, limit: int | None = None) -> TokenStore:
    write(folder, rows, _tokenizer(vocab_size), max_tokens=limit, truncation="head", title="train")
    return TokenStore.open(folder)


def test_what_is_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 2)  # so that three rows take two chunks
    rows = [Row("5 6 7", None, 1, 4), Row("8", None, 0, 9), Row("9 10", None, 2, 11)]
    store = _write(tmp_path / "train", rows)
    assert store.ids.tolist() == [5, 6, 7, 8, 9, 10]
    assert store.offsets.tolist() == [0, 3, 4, 6]
    assert store.targets.tolist() == [1, 0, 2]
    assert store.identities.tolist() == [4, 9, 11]
    assert store.begins.tolist() == [0, 0, 0]
    assert (len(store), store.tokens, store.cut) == (3, 6, 0)
    assert (store.ids.dtype, store.targets.dtype, store.offsets.dtype) == (np.uint16, np.int64, np.int64)
    assert not store.ids.flags.writeable


def test_pairs_and_values(tmp_path: Path) -> None:
    store = _write(tmp_path, [Row("5 6", "7", 0.5, 0), Row("8", "9 10", -2.0, 1)])
    assert store.ids.tolist() == [5, 6, 7, 8, 9, 10]
    assert store.begins.tolist() == [2, 1]
    assert store.targets.tolist() == [0.5, -2.0]
    assert store.targets.dtype == np.float32


def test_texts_cut_are_counted_over_all_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 1)
    store = _write(tmp_path, [Row("5 6 7", None, 0, 0), Row("8", None, 0, 1), Row("9 9 9", None, 0, 2)], limit=2)
    assert (store.cut, store.tokens) == (2, 5)


@pytest.mark.parametrize(("vocab_size", "name"), [(2**16, "uint16"), (2**16 + 1, "uint32")])
def test_ids_take_as_little_room_as_the_vocabulary_allows(vocab_size: int, name: str, tmp_path: Path) -> None:
    top = vocab_size - 1
    store = _write(tmp_path, [Row(f"{top} 0", None, 0, 0)], vocab_size)
    assert store.ids.tolist() == [top, 0]
    assert json.loads((tmp_path / "store.json").read_text())["dtype"] == name


def test_rows_without_a_token(tmp_path: Path) -> None:
    store = _write(tmp_path, [Row("", None, 0, 0)])
    assert (len(store), store.tokens, store.ids.tolist()) == (1, 0, [])


def test_nothing_is_shown_for_a_short_job(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _write(tmp_path, [Row("1", None, 0, 0)])
    assert capfd.readouterr() == ("", "")
