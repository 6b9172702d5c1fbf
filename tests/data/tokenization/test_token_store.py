"""Tokenised text on disk."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.data.tokenization.text_encoder import EncodedTexts
from src.data.tokenization.token_store import TargetLayout, TextRow, TokenStore, TokenStoreWriter


def _encoded(*rows: list[int], begins: list[int] | None = None, cut: int = 0) -> EncodedTexts:
    ids = np.array([token_id for row in rows for token_id in row], dtype=np.uint32)
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    return EncodedTexts(ids, lengths, np.array(begins or [0] * len(rows), dtype=np.int32), cut)


def _rows(*targets: float | tuple[int, ...], first: int = 0) -> list[TextRow]:
    return [TextRow("", None, target, first + place) for place, target in enumerate(targets)]


def _write(
    folder: Path,
    *chunks: tuple[list[TextRow], EncodedTexts],
    vocab_size: int = 1000,
    targets: TargetLayout | None = None,
) -> TokenStore:
    with TokenStoreWriter(folder, vocab_size, targets=targets or TargetLayout()) as writer:
        for rows, encoded in chunks:
            writer.append_rows(rows, encoded)
        writer.finish_store()
    return TokenStore.open(folder)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    chunks = [
        (_rows(1, 0, first=4), _encoded([5, 6, 7], [8])),
        (_rows(2, first=11), _encoded([9, 10], cut=1)),
    ]
    store = _write(tmp_path / "train", *chunks)
    assert store.ids.tolist() == [5, 6, 7, 8, 9, 10]
    assert store.offsets.tolist() == [0, 3, 4, 6]
    assert store.targets.tolist() == [1, 0, 2]
    assert store.identities.tolist() == [4, 5, 11]
    assert store.begins.tolist() == [0, 0, 0]
    assert (len(store), store.num_tokens, store.num_truncated) == (3, 6, 1)
    assert (store.ids.dtype, store.targets.dtype, store.offsets.dtype) == (
        np.uint16,
        np.int64,
        np.int64,
    )
    assert store.count_tokens(12).tolist() == [0] * 5 + [1] * 6 + [0]


def test_an_open_store_is_mapped_and_not_read(tmp_path: Path) -> None:
    store = _write(tmp_path, (_rows(1), _encoded([5, 6, 7])))
    for column in (store.ids, store.offsets, store.begins, store.targets, store.identities):
        assert isinstance(column.base, np.memmap)
        assert type(column) is np.ndarray
        assert not column.flags.writeable


def test_pairs_and_values(tmp_path: Path) -> None:
    store = _write(
        tmp_path,
        (_rows(0.5, -2.0), _encoded([5, 6, 7], [8, 9, 10], begins=[2, 1])),
        targets=TargetLayout("float32"),
    )
    assert store.begins.tolist() == [2, 1]
    assert store.targets.tolist() == [0.5, -2.0]
    assert store.targets.dtype == np.float32


def test_several_labels_of_a_row(tmp_path: Path) -> None:
    layout = TargetLayout("uint8", 3)
    chunks = [
        (_rows((0, 1, 1), (0, 0, 0)), _encoded([5], [6])),
        (_rows((1, 0, 0)), _encoded([7])),
    ]
    store = _write(tmp_path / "whole", *chunks, targets=layout)
    assert store.targets.tolist() == [[0, 1, 1], [0, 0, 0], [1, 0, 0]]
    assert store.targets.dtype == np.uint8
    with TokenStoreWriter(tmp_path / "stopped", 1000, targets=layout) as writer:
        writer.append_rows(*chunks[0])
        state: dict[str, Any] = json.loads(json.dumps(writer.sync_state()))
        writer.append_rows(*chunks[0])
    with TokenStoreWriter(tmp_path / "stopped", 1000, targets=layout, state=state) as writer:
        writer.append_rows(*chunks[1])
        writer.finish_store()
    assert _bytes(tmp_path / "stopped") == _bytes(tmp_path / "whole")


@pytest.mark.parametrize(("vocab_size", "name"), [(2**16, "uint16"), (2**16 + 1, "uint32")])
def test_ids_take_as_little_room_as_the_vocabulary_allows(
    vocab_size: int, name: str, tmp_path: Path
) -> None:
    top = vocab_size - 1
    store = _write(tmp_path, (_rows(0), _encoded([top, 0])), vocab_size=vocab_size)
    assert store.ids.tolist() == [top, 0]
    assert json.loads((tmp_path / "store.json").read_text())["columns"]["ids"] == name


def test_rows_without_a_token(tmp_path: Path) -> None:
    store = _write(tmp_path, (_rows(0), _encoded([])))
    assert (len(store), store.num_tokens, store.ids.tolist()) == (1, 0, [])


def test_a_writer_goes_on_from_its_state_whatever_was_written_after_it(tmp_path: Path) -> None:
    first, lost = (
        (_rows(1), _encoded([5, 6], cut=1)),
        (_rows(3, 3, 3, first=7), _encoded([1], [1], [1, 1])),
    )
    second = (_rows(2, first=1), _encoded([7]))
    _write(tmp_path / "whole", first, second)
    with TokenStoreWriter(tmp_path / "stopped", 1000, targets=TargetLayout()) as writer:
        writer.append_rows(*first)
        state: dict[str, Any] = json.loads(json.dumps(writer.sync_state()))
        writer.append_rows(*lost)
    assert not (tmp_path / "stopped" / "store.json").exists()
    with TokenStoreWriter(
        tmp_path / "stopped", 1000, targets=TargetLayout(), state=state
    ) as writer:
        writer.append_rows(*second)
        writer.finish_store()
    assert _bytes(tmp_path / "stopped") == _bytes(tmp_path / "whole")
