"""Splitting: disjoint, complete, stratified, and the same for ever."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from src.core.user_errors import UserError
from src.data.batches.batching import Labelled
from src.data.data_config import DataConfig
from src.data.preparation import splitting
from src.data.preparation.cleaning import Cleaning
from src.data.preparation.splitting import SPLITS, Split, _compute_split_sizes, _hash_rows
from src.data.reading.sources import Source
from src.data.synthetic.reviews import Generated
from src.data.tokenization.tokenizer import WordPiece

shares = st.floats(0.01, 0.45)


def divided(
    split: Split, count: int, classes: np.ndarray | None, validation: bool = True, test: bool = True
) -> dict[str, np.ndarray]:
    """Row numbers by split, those that have rows."""
    places = split.assign_splits(count, classes, validation=validation, test=test)
    assert (len(places), places.dtype) == (count, np.uint8)
    rows = {name: np.flatnonzero(places == code) for code, name in enumerate(SPLITS)}
    return {name: each for name, each in rows.items() if len(each)}


@settings(deadline=None)
@given(
    count=st.integers(6, 300),
    validation=shares,
    test=shares,
    seed=st.integers(0, 2**70),
    data=st.data(),
)
def test_every_row_is_in_one_split(
    count: int, validation: float, test: float, seed: int, data: st.DataObject
) -> None:
    classes = np.array(data.draw(st.lists(st.integers(0, 4), min_size=count, max_size=count)))
    stratify = data.draw(st.booleans())
    assume(not stratify or max(np.bincount(classes)) >= 3)
    split = Split(validation=validation, test=test, seed=seed, stratify=stratify)
    rows = divided(split, count, classes)
    assert list(rows) == ["train", "validation", "test"]
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(count))


@settings(deadline=None)
@given(count=st.integers(6, 300), validation=shares, test=shares, seed=st.integers(0, 2**70))
def test_rows_stand_in_the_order_of_their_hashes(
    count: int, validation: float, test: float, seed: int
) -> None:
    """The first go to test, the next to validation."""
    rows = divided(Split(validation=validation, test=test, seed=seed), count, None)
    order = np.argsort(_hash_rows(seed, np.arange(count, dtype=np.uint64)))
    first, second = len(rows["test"]), len(rows["validation"])
    assert (first, second) == tuple(
        _compute_split_sizes(count, {"test": test, "validation": validation}).values()
    )
    assert rows["test"].tolist() == sorted(order[:first].tolist())
    assert rows["validation"].tolist() == sorted(order[first : first + second].tolist())


@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=5), validation=shares, test=shares)
@example(sizes=[4, 3, 2, 1], validation=0.45, test=0.45)
def test_every_class_has_its_share(sizes: list[int], validation: float, test: float) -> None:
    assume(max(sizes) >= 3)
    classes = np.repeat(np.arange(len(sizes)), sizes)
    rows = divided(Split(validation=validation, test=test), len(classes), classes)
    for index, size in enumerate(sizes):
        found = {split: int((classes[rows.get(split, [])] == index).sum()) for split in SPLITS}
        if size < 3:
            assert found == {"train": size, "validation": 0, "test": 0}
            continue
        assert min(found.values()) >= 1
        assert abs(found["validation"] - size * validation) <= 1
        assert abs(found["test"] - size * test) <= 1


def test_a_class_of_two_rows_is_divided_where_one_split_is_taken() -> None:
    rows = divided(Split(), 4, np.array([0, 1, 1, 0]), test=False)
    assert {split: len(each) for split, each in rows.items()} == {"train": 2, "validation": 2}


def test_only_what_is_asked_for_is_taken() -> None:
    split = Split(validation=0.2, test=0.3)
    assert {k: len(v) for k, v in divided(split, 10, None, validation=False).items()} == {
        "train": 7,
        "test": 3,
    }
    assert list(divided(split, 10, None, validation=False, test=False)) == ["train"]
    assert list(divided(Split(validation=0), 10, None)) == ["train"]


def test_the_rows_never_move() -> None:
    split = Split(validation=0.2, test=0.2)
    rows = divided(split, 20, None)
    assert rows["validation"].tolist() == [3, 4, 15, 17]
    assert rows["test"].tolist() == [2, 7, 9, 12]


def test_another_seed_divides_otherwise() -> None:
    one, two = (divided(Split(seed=seed), 1000, None, test=False)["validation"] for seed in (1, 2))
    # 10 of 100 by chance
    assert len(np.intersect1d(one, two)) < 30


def test_order_and_class_do_not_follow_the_row_number() -> None:
    rows = divided(Split(validation=0.5), 10_000, None, test=False)["validation"]
    # 3.5 standard deviations of the mean are 101
    assert abs(rows.mean() - 5000) < 100
    assert abs((rows % 2).mean() - 0.5) < 0.02


@pytest.mark.parametrize(
    ("count", "classes", "split"), [(1, None, "validation"), (3, [0, 1, 2], "validation")]
)
def test_too_few_rows(count: int, classes: list[int] | None, split: str) -> None:
    with pytest.raises(UserError) as caught:
        Split().assign_splits(
            count, None if classes is None else np.array(classes), validation=True, test=False
        )
    assert str(caught.value) == (
        f"{count} rows cannot be divided: none is left for {split} (data.split.validation=0.1, "
        "data.split.test=0.0)"
    )


def test_shares_that_leave_nothing() -> None:
    with pytest.raises(UserError) as caught:
        Split(validation=0.5, test=0.5)
    assert str(caught.value) == (
        "data.split.validation=0.5 and data.split.test=0.5 leave nothing for train; together they "
        "must be below 1"
    )
    with pytest.raises(UserError) as caught:
        Split(validation=1.5)
    assert (
        str(caught.value)
        == "Split.validation: expected a number at least 0 and at most 1, found 1.5"
    )


@settings(max_examples=50, deadline=None)
@given(
    count=st.integers(4, 200),
    classes=st.booleans(),
    block=st.integers(1, 60),
    seed=st.integers(0, 2**64 - 1),
)
def test_many_rows_are_divided_as_few_are(count: int, classes: bool, block: int, seed: int) -> None:
    """A block at a time, and by the first bits of hashes."""
    split = Split(validation=0.2, test=0.3, seed=seed)
    labels = np.arange(count) % 3 // 2 if classes else None
    expected = split.assign_splits(count, labels, validation=True, test=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splitting, "_BLOCK_ROWS", block)
        assert (
            split.assign_splits(count, labels, validation=True, test=True).tolist()
            == expected.tolist()
        )


# -- parts for cross-validation


@pytest.mark.parametrize("test", [0.0, 0.2])
def test_folds_have_no_row_in_common_and_all_rows_together(test: float) -> None:
    classes = np.repeat([0, 1, 2], [60, 31, 3])
    folds = [
        divided(Split(fold=f"{number}/5", test=test), len(classes), classes)
        for number in range(1, 6)
    ]
    held_out = np.concatenate([rows["validation"] for rows in folds])
    tests = folds[0].get("test", np.array([], dtype=int))
    assert sorted([*held_out, *tests]) == list(range(len(classes)))
    for rows in folds:
        assert rows.get("test", tests).tolist() == tests.tolist()
        assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(len(classes)))
        # a fifth of each class, rounded one way or the other
        counts = np.bincount(classes[rows["validation"]], minlength=3)
        left = np.bincount(np.delete(classes, tests), minlength=3)
        assert (abs(counts - left / 5) < 1).all()


def test_folds_of_groups_keep_them_whole() -> None:
    groups = np.repeat(np.arange(12, dtype=np.uint64), [5, 1, 8, 2, 2, 9, 4, 4, 6, 1, 3, 5])
    seen: list[int] = []
    for number in (1, 2, 3):
        split = Split(fold=f"{number}/3", group="author")
        places = split.assign_splits(
            len(groups), None, validation=True, test=False, column_values=groups
        )
        chosen = set(groups[places == SPLITS.index("validation")].tolist())
        assert not chosen & set(groups[places == 0].tolist())
        assert 10 <= (places == SPLITS.index("validation")).sum() <= 24
        seen += chosen
    assert sorted(seen) == list(range(12))


@pytest.mark.parametrize("fold", ["0/5", "6/5", "1/1", "2", "a/5", "-1/5", "1/5/2", ""])
def test_a_fold_that_is_none(fold: str) -> None:
    with pytest.raises(UserError, match="expected 1/5 to 5/5 for five parts"):
        Split(fold=fold)


def test_a_fold_and_time_are_refused() -> None:
    with pytest.raises(UserError, match="drawn by chance, where time would divide"):
        Split(fold="1/5", time="date")


def test_folds_of_a_source_with_a_validation_split_say_what_to_type(tmp_path: Path) -> None:
    """The split of files is left out by its name; generated rows always have one."""
    for name in ("train", "validation"):
        (tmp_path / f"{name}.csv").write_text("text,label\na,0\nb,1\n")
    source = Source(path=str(tmp_path), label="label", test=None)
    others: dict[str, Any] = {
        "task": "classification",
        "cleaning": Cleaning(),
        "split": Split(fold="1/2"),
        "tokenizer": WordPiece(vocab_size=100),
        "batching": Labelled(),
        "cache": str(tmp_path / "cache"),
    }
    start = "data.split.fold=1/2: the source has a validation split of its own; "
    with pytest.raises(UserError) as caught:
        DataConfig(source=source, **others).check()
    assert str(caught.value) == start + "data.source.validation=null leaves it out"
    DataConfig(source=replace(source, validation=None), **others).check()
    with pytest.raises(UserError) as caught:
        DataConfig(source=Generated(), **others).check()
    assert str(caught.value) == start + "data.split.fold=null fits"


def test_shares_that_are_asked_for_and_not_taken_are_said() -> None:
    own = ("train", "validation", "test")
    assert list(Split(validation=0.3, test=0.2).describe_unused(own)) == [
        "data.split.validation=0.3 changes nothing: the data have a validation split of their own",
        "data.split.test=0.2 changes nothing: the data have a test split of their own",
    ]
    assert list(Split(validation=0.3, test=0.2).describe_unused(("train",))) == []
    # what is shipped, and no share
    assert list(Split(validation=0.1, test=0.1).describe_unused(own)) == []
    assert list(Split(validation=0.0).describe_unused(own)) == []
