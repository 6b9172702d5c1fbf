"""Documents to shards: the tokens of a store, in one go or in many."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.core.object_folder import ObjectFolder
from src.core.user_errors import UserError
from src.data.shards.manifest import ShardManifest
from src.data.shards.settings import PATH_KEY, Shards
from src.data.shards.shard_writer import COUNTS_FILE, ShardWriter, remove_growing_files
from src.data.shards.sharded_tokens import ShardedTokens
from src.data.tokenization.text_encoder import EncodedTexts
from src.data.tokenization.token_store import TargetLayout, TextRow, TokenStore, TokenStoreWriter

VOCABULARY = 50
SHARD_TOKENS = 24
KEY = "corpus"


def make_chunks(count: int = 30, seed: int = 1) -> list[tuple[list[TextRow], EncodedTexts]]:
    """Chunks of documents, some of which are empty and some longer than a shard."""
    random = np.random.default_rng(seed)
    chunks = []
    for number in range(count):
        lengths = random.choice([0, 1, 3, 5, 9, 60], size=5, p=[0.1, 0.2, 0.3, 0.2, 0.15, 0.05])
        ids = random.integers(0, VOCABULARY, lengths.sum()).astype(np.uint32)
        rows = [TextRow("", None, 0, number * 5 + at) for at in range(5)]
        chunks.append((rows, EncodedTexts(ids, lengths, np.zeros(5, np.int32), number % 2)))
    return chunks


def write_store(place: Path, chunks: list[tuple[list[TextRow], EncodedTexts]]) -> TokenStore:
    with TokenStoreWriter(place, VOCABULARY, targets=TargetLayout()) as writer:
        for rows, encoded in chunks:
            writer.append_rows(rows, encoded)
        writer.finish_store()
    return TokenStore.open(place)


def open_writer(
    place: Path, address: str, state: dict[str, int] | None = None, shard_tokens: int = SHARD_TOKENS
) -> ShardWriter:
    return ShardWriter(
        place,
        ObjectFolder(address, key=PATH_KEY, outage_seconds=0),
        KEY,
        vocab_size=VOCABULARY,
        shard_tokens=shard_tokens,
        state=state,
    )


def write_shards(
    place: Path,
    address: str,
    chunks: list[tuple[list[TextRow], EncodedTexts]],
    shard_tokens: int = SHARD_TOKENS,
    **settings: Any,
) -> ShardedTokens:
    with open_writer(place, address, shard_tokens=shard_tokens) as writer:
        for rows, encoded in chunks:
            writer.append_rows(rows, encoded)
        writer.finish_store()
    remove_growing_files(place)
    return open_tokens(place, address, **settings)


def open_tokens(place: Path, address: str, **settings: Any) -> ShardedTokens:
    shards = Shards(path=address, **({"window_shards": 2, "cached_shards": 4} | settings))
    return ShardedTokens(place, shards.open_folder(), place.parent / "copies", shards)


def read_files(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.mark.parametrize("length", [1, 2, 4, 8, 12, 24])
def test_rows_are_those_of_a_store(length: int, tmp_path: Path) -> None:
    chunks = make_chunks()
    store = write_store(tmp_path / "store", chunks)
    tokens = write_shards(tmp_path / "train", str(tmp_path / "shards"), chunks)
    assert (len(tokens), tokens.num_tokens, tokens.num_truncated) == (
        len(store),
        store.num_tokens,
        store.num_truncated,
    )
    assert tokens.count_tokens(VOCABULARY).tolist() == store.count_tokens(VOCABULARY).tolist()
    full = store.num_tokens // length
    random = np.random.default_rng(length)
    for begins in (
        np.arange(full) * length,
        random.permutation(full)[:9] * length,
        np.zeros(0, int),
    ):
        for ours, theirs in zip(
            tokens.read_spans(begins, length), store.read_spans(begins, length), strict=True
        ):
            assert np.array_equal(ours, theirs)
    if rest := store.num_tokens % length:
        begins = np.array([full * length])
        for ours, theirs in zip(
            tokens.read_spans(begins, rest), store.read_spans(begins, rest), strict=True
        ):
            assert np.array_equal(ours, theirs)


def test_all_shards_but_the_last_have_the_same_number_of_tokens(tmp_path: Path) -> None:
    write_shards(tmp_path / "train", str(tmp_path / "shards"), make_chunks())
    manifest = ShardManifest.read(tmp_path / "train")
    sizes = [shard.tokens for shard in manifest.shards]
    assert set(sizes[:-1]) == {SHARD_TOKENS} and 0 < sizes[-1] <= SHARD_TOKENS
    assert sum(sizes) == manifest.tokens
    assert {path.name for path in (tmp_path / "train").iterdir()} == {"shards.json", COUNTS_FILE}
    assert len(read_files(tmp_path / "shards")) == len(sizes)


def _tokenise_and_be_killed(place: Path, address: str, journal: Path, stop: int | None) -> None:
    """Go on from the journal; be killed before chunk `stop`. Journal after every third chunk."""
    entry = json.loads(journal.read_text()) if journal.exists() else {"chunks": 0, "state": None}
    chunks = make_chunks()
    with open_writer(place, address, entry["state"]) as writer:
        for number in range(entry["chunks"], len(chunks)):
            if number == stop:
                os.kill(os.getpid(), signal.SIGKILL)
            writer.append_rows(*chunks[number])
            if number % 3 == 2:
                state = writer.sync_state()
                journal.write_text(json.dumps({"chunks": number + 1, "state": state}))
        writer.finish_store()


@pytest.mark.parametrize("stops", [(0, 1), (4, 5, 6), (3, 10, 11, 12, 29), (29, 29)])
def test_killed_at_any_moment_it_goes_on_and_ends_with_the_same_files(
    stops: tuple[int, ...], tmp_path: Path
) -> None:
    write_shards(tmp_path / "whole" / "train", str(tmp_path / "whole" / "shards"), make_chunks())
    place, address = tmp_path / "killed" / "train", str(tmp_path / "killed" / "shards")
    place.parent.mkdir()
    for stop in stops:
        child = os.fork()
        if not child:
            _tokenise_and_be_killed(place, address, tmp_path / "journal", stop)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").rglob("*.bin")}
    done = (
        json.loads((tmp_path / "journal").read_text())["state"]["tokens"] // SHARD_TOKENS
        if (tmp_path / "journal").exists()
        else 0
    )
    _tokenise_and_be_killed(place, address, tmp_path / "journal", None)
    remove_growing_files(place)
    assert read_files(tmp_path / "killed") == read_files(tmp_path / "whole")
    # those that the journal knew of were not written again
    kept = [path for path, time in before.items() if path.stat().st_mtime_ns == time]
    assert len(kept) >= done


def test_a_broken_manifest_is_said(tmp_path: Path) -> None:
    write_shards(tmp_path / "train", str(tmp_path / "shards"), make_chunks(3))
    file = tmp_path / "train" / "shards.json"
    for content in ("", "[]", "{}", file.read_text().replace('"tokens": ', '"tokens": 1')):
        file.write_text(content)
        with pytest.raises(UserError, match="shards.json is broken; delete the folder"):
            ShardManifest.read(tmp_path / "train")


def test_settings_say_what_fits() -> None:
    [error] = Shards(path="x", shard_tokens=1000).find_row_errors(384)
    assert str(error) == (
        "data.shards.shard_tokens=1000: a shard would end in the middle of a row: expected a "
        "multiple of data.batching.row_tokens=384; data.shards.shard_tokens=1152 fits"
    )
    assert not list(Shards(path="x", shard_tokens=1152).find_row_errors(384))
    lengths = (64, 96, 128, 160, 256, 320, 384, 512, 640, 768, 1024, 2048, 4096, 8192)
    assert not any(list(Shards(path="x").find_row_errors(length)) for length in lengths)
    with pytest.raises(UserError, match="twice data.shards.window_shards=3 at least"):
        Shards(path="x", window_shards=3, cached_shards=5)
