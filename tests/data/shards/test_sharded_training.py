"""A training corpus in shards as a data module gives it: the rows of an ordinary one, in batches
that do not depend on where the shards lie.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from src.core.user_errors import UserError, UserErrors
from src.data import tokenized_corpus
from src.data.batches.batching import Labelled, Masked
from src.data.batches.causal_batching import Causal
from src.data.data_config import DataConfig
from src.data.datamodule import TextDataModule
from src.data.preparation.cleaning import Cleaning
from src.data.preparation.splitting import Split
from src.data.reading.sources import Source
from src.data.shards.settings import Shards
from src.data.tokenization.tokenizer import WordPiece

WORDS = ["red", "green", "blue", "warm", "cold", "soft", "hard", "old", "new", "dark"]


@pytest.fixture(autouse=True)
def storage() -> Iterator[None]:
    MemoryFileSystem.store.clear()
    yield
    MemoryFileSystem.store.clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = [" ".join(WORDS[int(digit)] for digit in f"{number:05d}") for number in range(300)]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.txt").write_text("\n".join(lines))
    (tmp_path / "data" / "validation.txt").write_text("\n".join(lines[:20]) + " red red")
    return tmp_path


def _data(
    folder: Path, address: str | None, cache: str = "cache", **changed: Any
) -> TextDataModule:
    settings: dict[str, Any] = {
        "task": "masked_lm",
        "source": Source(path=str(folder / "data")),
        "cleaning": Cleaning(),
        "split": Split(),
        "tokenizer": WordPiece(vocab_size=150, min_frequency=1),
        "batching": Masked(row_tokens=16, batch_size=4, eval_batch_size=4),
        "cache": str(folder / cache),
        "seed": 1,
    }
    if address is not None:
        settings["shards"] = Shards(
            path=address, shard_tokens=192, window_shards=2, cached_shards=4, outage_seconds=0
        )
    data = DataConfig(**(settings | changed)).build()
    data.prepare_data()
    return data


def _flatten(batch: Any) -> list[torch.Tensor]:
    return (
        [batch]
        if isinstance(batch, torch.Tensor)
        else [part for field in batch if not isinstance(field, int) for part in _flatten(field)]
    )


def _batches(data: TextDataModule, epochs: Sequence[int] = (0, 1)) -> list[list[torch.Tensor]]:
    loader = data.train_dataloader()
    found = []
    for epoch in epochs:
        loader.sampler.set_epoch(epoch)
        found += [_flatten(batch) for batch in loader]
    return found


def _are_equal(one: list[list[torch.Tensor]], two: list[list[torch.Tensor]]) -> bool:
    return len(one) == len(two) and all(
        torch.equal(a, b)
        for first, second in zip(one, two, strict=True)
        for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize(
    ("task", "batching"),
    [
        ("masked_lm", Masked(row_tokens=16, batch_size=4, eval_batch_size=4)),
        ("causal_lm", Causal(row_tokens=16, batch_size=4, eval_batch_size=4)),
    ],
)
def test_batches_do_not_depend_on_where_the_shards_lie(
    task: str, batching: Any, folder: Path
) -> None:
    settings = {"task": task, "batching": batching}
    local = _batches(_data(folder, str(folder / "shards"), **settings))
    remote = _data(folder, "memory://bucket/corpus", "other", **settings)
    assert remote.sharded_train is not None and len(remote.sharded_train.manifest.shards) > 8
    assert _are_equal(_batches(remote), local)
    assert len(list((folder / "other" / "shards").rglob("*.bin"))) <= 4
    assert _are_equal(
        _batches(_data(folder, "memory://bucket/corpus", num_workers=2, **settings)), local
    )


def test_rows_are_those_of_an_ordinary_store(folder: Path) -> None:
    """Row by row, masks included; the validation batches and facts are the same too."""
    plain, sharded = _data(folder, None), _data(folder, str(folder / "shards"))
    for data in (plain, sharded):
        assert isinstance(data.config.batching, Masked)
    number = plain.config.batching.count_rows(plain.split_tokens["train"])  # type: ignore[union-attr]
    by_row = []
    for data in (plain, sharded):
        source = data.build_loader("train").dataset
        by_row.append(
            [
                _flatten(
                    source.batching.build_batch(
                        source.store, torch.tensor([row]).numpy(), epoch=2, **source._settings
                    )
                )
                for row in range(number)
            ]
        )
    assert _are_equal(*by_row)
    assert plain.dataset_info == sharded.dataset_info
    assert plain.describe_splits() == sharded.describe_splits()
    assert _are_equal(
        *([_flatten(batch) for batch in data.val_dataloader()] for data in (plain, sharded))
    )


def test_training_goes_on_in_the_middle_of_an_epoch(folder: Path) -> None:
    whole = _batches(_data(folder, "memory://bucket/corpus"), [1])
    again = _data(folder, "memory://bucket/corpus", "elsewhere")
    loader = again.train_dataloader()
    loader.load_state_dict({**loader.state_dict(), "epoch": 1, "batch": 11})
    assert _are_equal([_flatten(batch) for batch in loader], whole[11:])


def test_the_plan_of_an_ordinary_store_is_another(folder: Path) -> None:
    state = _data(folder, None).train_dataloader().state_dict()
    with pytest.raises(UserError, match="the batches are not those of the checkpoint"):
        _data(folder, str(folder / "shards")).train_dataloader().load_state_dict(state)


def test_another_machine_reads_and_tokenises_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _batches(_data(folder, "memory://bucket/corpus"))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("tokenised again")

    monkeypatch.setattr(tokenized_corpus, "tokenize_to_stores", refuse)
    monkeypatch.setattr("src.data.preparation.corpus.Corpus.survey_rows", refuse)
    other = _data(folder, "memory://bucket/corpus", "other machine")
    assert _are_equal(_batches(other), first)
    # nor where all was copied to another place
    for name, file in dict(MemoryFileSystem.store).items():
        MemoryFileSystem().pipe_file(name.replace("/bucket/", "/mirror/"), file.getvalue())
    moved = _data(folder, "memory://mirror/corpus")
    assert _are_equal(_batches(moved), first)


def test_the_run_says_where_the_shards_lie(folder: Path) -> None:
    notices = _data(folder, "memory://bucket/corpus").describe_reading()
    assert notices.lines[-1] == (
        "train: 11 shards of 192 tokens in memory://bucket/corpus, at most 4 on this machine; rows "
        "mix within 2"
    )
    assert json.loads(notices.tags["data/shards"])["shards"] == 11


def test_what_does_not_go_with_shards(folder: Path) -> None:
    shards = Shards(path="x", shard_tokens=190, window_shards=2, cached_shards=4)
    with pytest.raises(UserErrors) as caught:
        _data(folder, None, shards=shards, on_device=True)
    assert caught.value.messages == [
        "data.shards.shard_tokens=190: a shard would end in the middle of a row: expected a "
        "multiple of data.batching.row_tokens=16; data.shards.shard_tokens=192 fits",
        "data.on_device=true: a corpus in shards is not kept on the device; data.on_device=null "
        "fits",
    ]
    with pytest.raises(UserErrors) as caught:
        _data(folder, None, shards=shards, task="classification", batching=Labelled())
    assert caught.value.messages == [
        "data.shards: goes with rows that are packed without a look at all texts: expected "
        "data.task=masked_lm or causal_lm, found data.task=classification; data/shards=none keeps "
        "the tokens in data.cache"
    ]
