"""From tiny files to batches: what is read, divided, counted and cached."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from src.core.user_errors import UserError, UserErrors
from src.data.batches.batching import Labelled, Masked
from src.data.batches.denoising_batching import Denoising
from src.data.batches.sentence_pairs import SentencePairs
from src.data.cache import ContentCache
from src.data.data_config import DataConfig
from src.data.datamodule import TextDataModule
from src.data.preparation.cleaning import Cleaning
from src.data.preparation.splitting import Split
from src.data.reading.sources import Source
from src.data.rows.records import RawRecord
from src.data.tokenization import row_digest, tokenize
from src.data.tokenization.token_store import TextRow, TokenStoreWriter
from src.data.tokenization.tokenizer import PretrainedTokenizer, WordPiece
from tests.data.reading.test_readers import put_hub_parquet

WORDS = ["red", "green", "blue", "warm", "cold", "soft", "hard", "old", "new", "dark"]


def _texts(count: int, begin: int = 0) -> list[str]:
    """Texts that are all different."""
    return [
        " ".join(WORDS[int(digit)] for digit in f"{number:04d}")
        for number in range(begin, begin + count)
    ]


def _write(
    file: Path, rows: Sequence[Sequence[object]], header: Sequence[str] = ("text", "label")
) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])


def _labelled(
    count: int, begin: int = 0, names: Sequence[object] = ("neg", "pos")
) -> list[tuple[str, object]]:
    return [(text, names[place % len(names)]) for place, text in enumerate(_texts(count, begin))]


def _data(folder: Path, **changed: Any) -> TextDataModule:
    settings: dict[str, Any] = {
        "task": "classification",
        "source": Source(path=str(folder / "data"), label="label"),
        "cleaning": Cleaning(),
        "split": Split(),
        "tokenizer": WordPiece(vocab_size=150, min_frequency=1),
        "batching": Labelled(max_tokens=16, batch_size=4, eval_batch_size=4),
        "cache": str(folder / "cache"),
        "seed": 1,
    }
    return DataConfig(**(settings | changed)).build()


def _prepared(folder: Path, **changed: Any) -> TextDataModule:
    data = _data(folder, **changed)
    data.prepare_data()
    return data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """40 training rows and 10 test rows in two classes."""
    _write(tmp_path / "data" / "train.csv", _labelled(40))
    _write(tmp_path / "data" / "test.csv", _labelled(10, 100))
    return tmp_path


def _content(data: TextDataModule, split: str) -> list[list[Any]]:
    """Every batch of a split as plain lists."""
    loader: Any = {
        "train": data.train_dataloader,
        "validation": data.val_dataloader,
        "test": data.test_dataloader,
    }[split]()
    return [_plain(batch) for batch in loader]


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.tolist()
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


# -- what is read


def test_labels_found_in_the_data_and_a_validation_split_of_our_own(folder: Path) -> None:
    data = _prepared(folder)
    assert data.dataset_info.label_names == ("neg", "pos")
    assert data.data_summary["rows"] == {"train": 36, "validation": 4, "test": 10}
    assert data.data_summary["labels"] == {
        "train": {"neg": 18, "pos": 18},
        "validation": {"neg": 2, "pos": 2},
        "test": {"neg": 5, "pos": 5},
    }
    assert data.data_summary["counts"] == {
        "train/read": 40,
        "train/kept": 40,
        "test/read": 10,
        "test/kept": 10,
    }
    assert data.dataset_info.batches_per_epoch == 9 == len(data.train_dataloader())
    assert data.dataset_info.max_tokens == 16
    assert data.dataset_info.unigram_entropy is None
    rows = sorted(
        data.token_stores["train"].identities.tolist()
        + data.token_stores["validation"].identities.tolist()
    )
    # every row of the file is in one of them, under its own number
    assert rows == list(range(40))
    assert [batch.row_ids.tolist() for batch in data.test_dataloader()] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
    ]


def test_declared_labels_set_the_order(folder: Path) -> None:
    data = _prepared(folder, label_names=["pos", "neg"], num_labels=2)
    assert data.dataset_info.label_names == ("pos", "neg")
    assert data.token_stores["test"].targets.tolist() == [1, 0] * 5
    named = _prepared(folder, label_names=["bad", "good"], label_values=["neg", "pos"])
    assert named.token_stores["test"].targets.tolist() == [0, 1] * 5


def test_regression_on_pairs(tmp_path: Path) -> None:
    texts = _texts(40)
    rows = [(text, texts[-place], place / 10) for place, text in enumerate(texts)]
    _write(tmp_path / "data" / "train.csv", rows, ("one", "two", "score"))
    source = Source(path=str(tmp_path / "data"), text="one", pair="two", label="score")
    data = _prepared(
        tmp_path, task="regression", source=source, split=Split(validation=0.1, test=0.2)
    )
    assert data.data_summary["rows"] == {"train": 28, "validation": 4, "test": 8}
    assert data.data_summary["labels"] == {}
    assert data.dataset_info.label_names == ()
    batch = next(iter(data.test_dataloader()))
    assert batch.labels.dtype == torch.float32
    assert batch.labels.tolist() == pytest.approx([row / 10 for row in batch.row_ids.tolist()])
    assert sorted(set(batch.tokens.type_ids.tolist())) == [0, 1]
    assert data.describe_preprocessing()["pairs"] is True


def test_masked_lm_needs_no_labels(folder: Path) -> None:
    source = Source(path=str(folder / "data"))
    data = _prepared(
        folder, task="masked_lm", source=source, batching=Masked(row_tokens=16, batch_size=4)
    )
    store = data.token_stores["train"]
    assert data.dataset_info.batches_per_epoch == -(-store.num_tokens // 64)
    assert data.dataset_info.max_tokens == 16
    assert data.dataset_info.label_names == ()
    assert 0 < data.dataset_info.unigram_entropy < torch.tensor(150.0).log()  # type: ignore[operator]
    batches = list(data.train_dataloader())
    assert sum(len(batch.tokens.ids) for batch in batches) == store.num_tokens
    assert all(len(batch.masked_positions) == len(batch.targets) > 0 for batch in batches)


def test_pairs_of_segments_need_no_labels_but_two_documents(folder: Path) -> None:
    settings: dict[str, Any] = {
        "task": "masked_lm_with_next_sentence",
        "source": Source(path=str(folder / "data")),
        "batching": SentencePairs(row_tokens=16, batch_size=4, eval_batch_size=4),
    }
    data = _prepared(folder, **settings)
    first, again = _content(data, "train"), _content(_prepared(folder, **settings), "train")
    assert first == again and _content(data, "test") == _content(data, "test")
    batch = next(iter(data.train_dataloader()))
    assert (batch.tokens.num_sequences, len(batch.pair_labels)) == (4, 4)
    _write(folder / "data" / "test.csv", _labelled(1, 100))
    with pytest.raises(UserError, match="pair_task=next_sentence: the test split has one document"):
        _prepared(folder, **settings)


def test_noised_texts_need_no_labels_but_full_stops(folder: Path) -> None:
    settings: dict[str, Any] = {
        "task": "denoising",
        "source": Source(path=str(folder / "data")),
        "batching": Denoising(row_tokens=16, batch_size=4, permute_sentences=False),
    }
    data = _prepared(folder, **settings)
    assert _content(data, "train") == _content(_prepared(folder, **settings), "train")
    batch = next(iter(data.train_dataloader()))
    assert batch.num_targets == len(batch.target_tokens.ids) >= len(batch.tokens.ids)
    said = data.describe_reading()
    assert said.lines[-1] == "to be written: the whole text (data.batching.target=text)"
    assert said.tags["data/denoising_target"] == "text"
    # of [CLS] text [SEP]
    assert data.dataset_info.end_id == batch.target_tokens.ids[-1]
    assert data.tokenizer.huggingface.sep_token_id == data.dataset_info.end_id
    with pytest.raises(UserError, match="no token of the tokenizer ends a sentence"):
        _prepared(folder, **settings | {"batching": Denoising(row_tokens=16)})


def test_unigram_entropy_by_hand(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.txt").write_text("red\n" * 30 + "blue\n" * 10)
    source = Source(path=str(tmp_path / "data"))
    split = Split(validation=0.0)
    data = _prepared(
        tmp_path, task="masked_lm", source=source, batching=Masked(row_tokens=16), split=split
    )
    # each word whole, between [CLS] and [SEP]
    assert data.token_stores["train"].num_tokens == 120
    expected = -(0.75 * torch.tensor(0.75).log() + 0.25 * torch.tensor(0.25).log())
    assert data.dataset_info.unigram_entropy == pytest.approx(float(expected))
    assert data.val_dataloader() == [] == data.test_dataloader()


@pytest.mark.parametrize("split", ["train", "validation"])
def test_texts_of_which_the_tokenizer_knows_nothing(
    split: str, tmp_path: Path, composed: Callable[..., dict[str, Any]]
) -> None:
    """Stretches of more than 100 letters are one unknown token: nothing is there to be masked."""
    stretches = [f"{text.replace(' ', '') * 20}" for text in _texts(12)]
    for name in ("train", "validation"):
        texts = stretches if name == split else _texts(12, begin=100)
        _write(tmp_path / "data" / f"{name}.csv", [[text, 0] for text in texts])
    learnt = WordPiece(vocab_size=150, min_frequency=1).load_tokenizer(
        lambda: _texts(12), "", ContentCache(tmp_path / "learnt")
    )
    learnt.backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    learnt.save(tmp_path / "tokenizer", max_tokens=64, has_token_types=True)
    settings: dict[str, Any] = {
        "task": "masked_lm",
        "source": Source(path=str(tmp_path / "data")),
        "batching": Masked(row_tokens=8, batch_size=2, eval_batch_size=2),
    }
    pretrained = PretrainedTokenizer(name_or_path=str(tmp_path / "tokenizer"))
    with pytest.raises(
        UserError, match=f"knows nothing of the {split} texts.* 12 unknown tokens"
    ) as caught:
        _prepared(tmp_path, tokenizer=pretrained, **settings)
    proposed = str(caught.value).split("; ")[1].split(" learns both")[0].split()
    config = composed("+experiment=mlm_files", "data.source.path=here", *proposed)
    assert config["data"]["tokenizer"]["_target_"].endswith("WordPiece")
    assert config["model"]["encoder"]["_target_"].endswith("Scratch")
    # a vocabulary that is learnt here cuts them
    cutting = WordPiece(vocab_size=150, min_frequency=1, longest_word=100)
    data = _prepared(tmp_path, tokenizer=cutting, **settings)
    shares = data.data_summary["unknown_share"]
    assert shares["train"] == 0 and shares["validation"] < 0.15


def test_unknown_tokens_are_counted(tmp_path: Path) -> None:
    texts = [*_texts(12), "red " + "green" * 100]
    _write(tmp_path / "data" / "train.csv", [[text, "no"] for text in texts] + [["blue", "yes"]])
    _write(tmp_path / "data" / "test.csv", [["red", "no"]])
    _write(tmp_path / "data" / "validation.csv", [["\u2603 old", "no"]])
    data = _prepared(
        tmp_path, tokenizer=WordPiece(vocab_size=150, min_frequency=1, longest_word=100)
    )
    profiles = {split: entry["profile"] for split, entry in data.describe_splits().items()}
    assert {split: profile["unknown"] for split, profile in profiles.items()} == {
        "train": 0,
        "validation": 1,
        "test": 0,
    }
    # of the tokens of the text: the special ones around it do not count
    assert data.data_summary["unknown_share"] == {"train": 0.0, "validation": 0.5, "test": 0.0}
    notices = data.describe_reading()
    assert "50.0 % of tokens unknown" in " ".join(notices.lines)
    assert json.loads(notices.tags["data/summary"])["unknown_share"]["validation"] == 0.5


def test_letters_that_a_tokenizer_drops_are_counted(tmp_path: Path) -> None:
    vocabulary = {"[PAD]": 0, **{letter: 1 + place for place, letter in enumerate("abcd")}}
    backend = Tokenizer(models.BPE(vocabulary, []))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path / "tokenizer"
    PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]").save_pretrained(folder)
    _write(tmp_path / "data" / "train.csv", [["ab cx", "no"], ["xxd a", "yes"]] * 4)
    _write(tmp_path / "data" / "test.csv", [["ab", "no"]])
    _write(tmp_path / "data" / "validation.csv", [["a z", "no"]])
    data = _prepared(tmp_path, tokenizer=PretrainedTokenizer(name_or_path=str(folder)))
    assert data.data_summary["dropped_letters"] == {"train": 12, "validation": 1, "test": 0}
    notices = data.describe_reading()
    told = " ".join(" ".join(notices.lines).split())
    assert "train: 12 letters are dropped by the tokenizer, which has no token for them" in told
    assert "validation: 1 letter is dropped" in told and "test: 0 letters" not in told
    numbers = json.loads(notices.tags["data/summary"])["dropped_letters"]
    assert numbers == {"train": 12, "validation": 1}


def test_splits_of_the_source_are_kept(folder: Path) -> None:
    _write(folder / "data" / "validation.csv", _labelled(6, 200))
    data = _prepared(folder, split=Split(validation=0.5, test=0.4))
    assert data.data_summary["rows"] == {"train": 40, "validation": 6, "test": 10}


def test_training_rows_that_are_held_out_elsewhere_are_dropped(folder: Path) -> None:
    train = _labelled(40) + _labelled(3, 100) + _labelled(2, 200)
    _write(folder / "data" / "train.csv", train)
    _write(folder / "data" / "validation.csv", _labelled(6, 200))
    data = _prepared(folder)
    assert data.data_summary["rows"]["train"] == 40
    assert (
        data.data_summary["counts"]["train/overlap"],
        data.data_summary["counts"]["train/kept"],
    ) == (5, 40)
    kept = _prepared(folder, cleaning=Cleaning(overlap="keep"))
    assert kept.data_summary["rows"]["train"] == 45


def test_repeated_rows_do_not_leak_into_splits_of_our_own(folder: Path) -> None:
    """Each text stands there three times: what validation has, training must not."""
    _write(folder / "data" / "train.csv", _labelled(40) * 3)
    data = _prepared(folder)
    counts, rows = data.data_summary["counts"], data.data_summary["rows"]
    assert rows["validation"] == 12
    assert counts["train/overlap"] > 0
    assert (
        rows["train"] + rows["validation"] == counts["train/kept"] == 120 - counts["train/overlap"]
    )
    held_out = {place % 40 for place in data.token_stores["validation"].identities.tolist()}
    assert not held_out & {place % 40 for place in data.token_stores["train"].identities.tolist()}
    assert _prepared(folder, cleaning=Cleaning(overlap="keep")).data_summary["rows"]["train"] == 108


def test_fewer_training_rows_evenly_and_each_in_the_next_larger(folder: Path) -> None:
    rows = [(text, "rare" if place > 35 else "common") for place, text in enumerate(_texts(40))]
    _write(folder / "data" / "train.csv", rows)
    _write(folder / "data" / "test.csv", [(text, "rare") for text in _texts(5, 100)])
    chosen = []
    for count in (2, 6, 10, 99):
        data = _prepared(folder, train_rows=count, split=Split(validation=0.0))
        chosen.append(set(data.token_stores["train"].identities.tolist()))
        assert data.token_stores["train"].identities.tolist() == sorted(chosen[-1])
        if count < 10:
            assert data.data_summary["labels"]["train"] == {
                "common": count // 2,
                "rare": count // 2,
            }
    assert [len(each) for each in chosen] == [2, 6, 10, 40]
    assert chosen[0] < chosen[1] < chosen[2] < chosen[3]
    # drawn, not the first of the file
    assert chosen[1] != {0, 1, 2, 36, 37, 38}
    other = _prepared(folder, train_rows=10, split=Split(validation=0.0, seed=3))
    assert set(other.token_stores["train"].identities.tolist()) != chosen[2]


# -- what is refused


def test_a_label_seen_only_in_test(folder: Path) -> None:
    _write(folder / "data" / "test.csv", [*_labelled(4, 100), ("red red red", "neutral")])
    with pytest.raises(UserError) as caught:
        _prepared(folder)
    message = str(caught.value)
    assert "test.csv, row 5" in message or "test.csv, line 6" in message
    assert "label 'neutral' is none of the 2 classes found in train" in message


def test_another_number_of_labels_than_declared(folder: Path) -> None:
    message = "data.num_labels=3, but the data have 2 labels: neg, pos"
    with pytest.raises(UserError, match=f"^{message}$"):
        _prepared(folder, num_labels=3)
    # known before anything is learnt or tokenised
    assert not list((folder / "cache").rglob("*.json"))
    _prepared(folder)
    # and also where all is in the cache
    with pytest.raises(UserError, match=f"^{message}$"):
        _prepared(folder, num_labels=3)
    with pytest.raises(UserError, match=r"^data\.num_labels=3, but data\.label_names has 2: a, b "):
        _data(folder, num_labels=3, label_names=["a", "b"])


def test_batching_for_another_task(folder: Path) -> None:
    with pytest.raises(UserError) as caught:
        _data(folder, batching=Masked())
    assert str(caught.value) == (
        "data.task=classification does not go with data.batching=Masked; data/batching=labelled "
        "fits"
    )
    with pytest.raises(
        UserErrors,
        match=r"DataConfig\.train_rows: expected a whole number at least 1 or null, found 0",
    ):
        _data(folder, train_rows=0)


def test_a_source_without_training_rows(folder: Path) -> None:
    (folder / "data" / "train.csv").unlink()
    with pytest.raises(UserError, match="train"):
        _prepared(folder)


def test_no_rows_left(folder: Path) -> None:
    _write(folder / "data" / "test.csv", [(" ", "neg"), ("red", "")])
    with pytest.raises(UserError) as caught:
        _prepared(folder)
    assert str(caught.value) == (
        "no rows are left for test: 2 were read, 1 empty (data.source.text), 1 without a label "
        "(data.source.label); data.source.test=null leaves test out"
    )


def test_what_was_read_is_told(folder: Path) -> None:
    rows = [*_labelled(20, names=("neg", "Neg ", "pos")), (" ", "neg"), ("red warm", "\u200b")]
    (folder / "data" / "test.csv").unlink(missing_ok=True)
    (folder / "data" / "validation.csv").unlink(missing_ok=True)
    _write(folder / "data" / "train.csv", rows)
    data = _prepared(
        folder, batching=Labelled(max_tokens=5, batch_size=4, eval_batch_size=4), train_rows=9
    )
    notices = data.describe_reading()
    assert [" ".join(line.split()) for line in notices.lines] == [
        "train: 9 rows; Neg 3, neg 3, pos 3; 100.0 % of texts cut to 5 tokens",
        "validation: 3 rows taken out of train; Neg 1, neg 1, pos 1; 100.0 % of texts cut to 5 "
        "tokens",
        "left out of 22 rows read for train: 1 empty (data.source.text), 1 without a label "
        "(data.source.label)",
        "left out of train: 8 rows (data.train_rows or data.train_share)",
        "note: labels that look alike are classes of their own: 'Neg' (3 rows), 'neg' (3 rows); "
        "'data.label_map={Neg: neg, neg: neg, pos: pos}' merges them",
    ]
    assert all(len(part) <= 80 for line in notices.lines for part in line.splitlines())
    summary = json.loads(notices.tags["data/summary"])
    assert summary["rows"] == {"train": 9, "validation": 3}
    assert summary["read"] == {"train": 22}
    assert summary["left_out"] == {"train/empty_text": 1, "train/missing_label": 1}
    assert summary["cut_texts"] == {"train": 9, "validation": 3}
    assert notices.tags["data/remarks"].startswith("labels that look alike")


def test_what_was_not_read_is_told(tmp_path: Path) -> None:
    for number, text in enumerate(_texts(20)):
        file = tmp_path / "data" / ("pos", "neg")[number % 2] / str(number)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "data" / "README.TXT").write_text("about")
    notices = _prepared(tmp_path).describe_reading()
    line = "not read: files beside the class folders: README.TXT"
    assert line in notices.lines and notices.tags["data/unread"] == line


# -- the cache


def test_the_second_time_nothing_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _prepared(folder)

    def fail(*_: Any) -> Iterator[RawRecord]:
        raise AssertionError("read again")

    monkeypatch.setattr(Source, "read_records", fail)
    second = _prepared(folder)
    assert second.data_summary == first.data_summary
    assert second.dataset_info == first.dataset_info
    assert second.describe_splits() == first.describe_splits()
    for split in ("train", "validation", "test"):
        assert _content(second, split) == _content(first, split)
    second.prepare_data()
    # idempotent
    second.setup("fit")


def test_stopped_while_tokenising_and_called_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stores, digests and entropy are those of one go; what the first call did is not done
    again.
    """
    monkeypatch.setattr(tokenize, "CHUNK_TEXTS", 3)
    monkeypatch.setattr(tokenize, "TOKENS_PER_JOURNAL_ENTRY", 1)
    settings: dict[str, Any] = {
        "task": "masked_lm",
        "batching": Masked(row_tokens=16),
        "source": Source(path=str(folder / "data")),
    }
    whole = _prepared(folder, **settings, cache=str(folder / "one go"))
    append = TokenStoreWriter.append_rows
    texts: list[int] = []

    def full_disk(self: TokenStoreWriter, rows: Any, encoded: Any) -> None:
        if sum(texts) > 20:
            raise OSError("no space left on device")
        texts.append(len(rows))
        append(self, rows, encoded)

    monkeypatch.setattr(TokenStoreWriter, "append_rows", full_disk)
    with pytest.raises(OSError, match="no space"):
        _prepared(folder, **settings)
    done = sum(texts)
    monkeypatch.setattr(
        TokenStoreWriter,
        "append_rows",
        lambda self, *each: [texts.append(len(each[0])), append(self, *each)][1],
    )
    again = _prepared(folder, **settings)
    assert 20 < done < 50 == sum(texts)
    assert (again.data_summary, again.dataset_info, again.describe_splits()) == (
        whole.data_summary,
        whole.dataset_info,
        whole.describe_splits(),
    )
    for split, store in again.token_stores.items():
        for file in store.folder.iterdir():
            assert file.read_bytes() == (whole.token_stores[split].folder / file.name).read_bytes()


def test_nothing_is_shown_and_nothing_is_written_elsewhere(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def files() -> set[Path]:
        return {each for each in folder.rglob("*") if folder / "cache" not in each.parents}

    before = files()
    _prepared(folder)
    assert files() - before == {folder / "cache"}
    assert capfd.readouterr() == ("", "")


def test_building_reads_nothing(tmp_path: Path) -> None:
    _data(tmp_path / "not there")
    assert list(tmp_path.iterdir()) == []


def test_digests_follow_the_rows_and_nothing_else(folder: Path) -> None:
    def digests(**changed: Any) -> dict[str, str]:
        return {
            split: about["digest"]
            for split, about in _prepared(folder, **changed).describe_splits().items()
        }

    first = digests()
    assert len(set(first.values())) == 3
    assert all(len(each) == 16 for each in first.values())
    assert digests(cache=str(folder / "elsewhere")) == first
    assert digests(batching=Labelled(max_tokens=8), tokenizer=WordPiece(vocab_size=110)) == first
    assert digests(seed=7, num_workers=2) == first
    assert digests(label_names=["pos", "neg"])["test"] != first["test"]
    assert digests(split=Split(validation=0.2))["test"] == first["test"]
    assert digests(split=Split(validation=0.2))["train"] != first["train"]
    _write(folder / "data" / "test.csv", _labelled(11, 100))
    changed = digests()
    assert changed["test"] != first["test"]
    assert (changed["train"], changed["validation"]) == (first["train"], first["validation"])


def test_the_same_file_as_validation_and_as_test_is_not_confused(folder: Path) -> None:
    """The cache's key holds which split a content belongs to."""
    assert set(_prepared(folder, split=Split(validation=0.0)).token_stores) == {"train", "test"}
    (folder / "data" / "test.csv").rename(folder / "data" / "validation.csv")
    assert set(_prepared(folder, split=Split(validation=0.0)).token_stores) == {
        "train",
        "validation",
    }


def test_description_and_reading(folder: Path) -> None:
    data = _prepared(folder, batching=Labelled(max_tokens=4, truncation="tail"))
    about = data.describe_splits()["test"]
    assert (about["name"], about["rows"]) == ("data-test", 10)
    assert about["profile"]["tokens"] == data.token_stores["test"].num_tokens == 40
    assert about["profile"]["cut"] == 10
    assert about["profile"]["labels"] == {"neg": 5, "pos": 5}
    # plain values
    reading = json.loads(json.dumps(data.describe_preprocessing()))
    assert (reading["max_tokens"], reading["truncation"], reading["label_names"]) == (
        4,
        "tail",
        ["neg", "pos"],
    )
    assert reading["cleaning"]["overlap"] == "drop"
    assert reading["pairs"] is False


# -- batches


@pytest.mark.parametrize("task", ["classification", "masked_lm"])
def test_batches_do_not_depend_on_workers(
    task: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    batching = (
        Masked(row_tokens=16, batch_size=4)
        if task == "masked_lm"
        else Labelled(max_tokens=16, batch_size=4)
    )
    found = []
    for workers in (0, 2):
        data = _prepared(folder, task=task, batching=batching, num_workers=workers)
        loader = data.train_dataloader()
        epochs = []
        for epoch in (0, 1):
            loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
            epochs.append([_plain(batch) for batch in loader])
        found.append(epochs)
    assert found[0] == found[1]
    assert found[0][0] != found[0][1]
    assert capfd.readouterr().err == ""


def test_seeds_change_the_order_of_training_only(folder: Path) -> None:
    one, two = _prepared(folder, seed=1), _prepared(folder, seed=2)
    assert _content(one, "train") != _content(two, "train")
    assert _content(one, "validation") == _content(two, "validation")
    assert _content(one, "train") == _content(_prepared(folder, seed=1), "train")


@given(
    text=st.text(max_size=30),
    pair=st.none() | st.text(max_size=30),
    target=st.integers(0, 5) | st.floats(),
)
def test_long_rows_are_digested_as_short_ones(text: str, pair: str | None, target: float) -> None:
    row = TextRow(text, pair, target, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_digest, "_LONG_TEXT_CHARACTERS", 7)
        assert "".join(row_digest.iter_json_pieces(row)) == json.dumps([text, pair, target])


@pytest.mark.parametrize("names", [["no", "yes"], ["2", "1"]])
def test_names_of_classes_that_a_file_brings(tmp_path: Path, names: list[str]) -> None:
    labels: list[int | None] = [0, 1, 1] * 10 + [-1]
    put_hub_parquet(tmp_path / "data" / "train.parquet", labels, names)
    data = _data(tmp_path)
    data.prepare_data()
    assert data.data_summary["label_names"] == names
    counts = [
        sum(of_split[name] for of_split in data.data_summary["labels"].values()) for name in names
    ]
    assert counts == [10, 20]
    declared = _data(tmp_path, label_names=["a", "b"])
    declared.prepare_data()
    assert declared.data_summary["label_names"] == ["a", "b"]
