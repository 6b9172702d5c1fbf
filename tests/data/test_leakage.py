"""Leakage: which held-out rows stand in train, and in what an encoder was trained on before."""

from pathlib import Path
from typing import Any

import pytest

from src.data import leakage as module
from src.data.batches.batching import Labelled, Masked
from src.data.data_config import DataConfig
from src.data.preparation.cleaning import Cleaning
from src.data.preparation.splitting import Split
from src.data.reading.sources import Source
from src.data.reading_notices import describe_rows
from src.data.tokenization.tokenizer import WordPiece
from tests.data.preparation.test_corpus import _corpus, held_rows


def test_held_out_rows_that_stand_in_train_are_counted_where_they_are_kept() -> None:
    source = held_rows(
        train=[("a", "x"), ("b", "y"), ("c", "x"), ("b", "y")],
        validation=[("c", "x"), ("d", "y"), ("c", "y")],
        test=[("e", "x"), ("f", "y")],
    )
    summary = _corpus(source, task="classification", overlap="keep").survey_rows().data_summary
    assert summary["leakage"] == {"exact": {"validation": 2, "test": 0}, "near": {}}
    lines, tags = describe_rows(summary, {}, cut_tokens=None)
    said = "leakage: 2 of 3 rows of validation also stand in train\n  (data.cleaning.overlap=keep)"
    assert said in lines
    assert '"leakage": {"exact": {"validation": 2}}' in tags["data/summary"]
    summary = _corpus(source, task="classification").survey_rows().data_summary
    assert summary["leakage"] == {"exact": {}, "near": {}}
    assert summary["counts"]["train/overlap"] == 1


def test_leakage_into_rows_that_were_taken_out_of_train() -> None:
    source = held_rows(train=[(f"text {n % 50}", "xy"[n % 2]) for n in range(100)])
    corpus = _corpus(source, task="classification", overlap="keep")
    survey = corpus.survey_rows()
    rows = [(split, row.text) for split, row in corpus.iter_rows(survey)]
    assert len(rows) == 100
    train = {text for split, text in rows if split == "train"}
    for split in ("validation", "test"):
        expected = sum(text in train for name, text in rows if name == split)
        assert survey.data_summary["leakage"]["exact"][split] == expected > 0


def test_nearly_equal_rows_count_apart() -> None:
    pytest.importorskip("datasketch")
    text = " ".join(f"word{n}" for n in range(30))
    source = held_rows(
        train=[(text, "x"), ("b", "y")],
        validation=[("v", "x")],
        test=[(text + " more", "x"), ("b", "y"), ("c", "x")],
    )
    corpus = _corpus(source, task="classification", overlap="keep", near_duplicates=0.8)
    assert corpus.survey_rows().data_summary["leakage"] == {
        "exact": {"validation": 0, "test": 1},
        "near": {"validation": 0, "test": 2},
    }


def prepare(folder: Path, name: str, splits: dict[str, list[str]], **changed: Any) -> DataConfig:
    """A config of labelled files in a folder of their own."""
    place = folder / name
    place.mkdir()
    for split, rows in splits.items():
        (place / f"{split}.csv").write_text("\n".join(["text,pair,label", *rows]))
    settings: dict[str, Any] = {
        "task": "classification",
        "source": Source(path=str(place), label="label"),
        "cleaning": Cleaning(),
        "split": Split(validation=0.2),
        "tokenizer": WordPiece(vocab_size=100, min_frequency=1),
        "batching": Labelled(max_tokens=16),
        "cache": str(folder / "cache"),
    }
    return DataConfig(**(settings | changed))


OURS = {
    "train": ["a,p,0", "b,p,1", "c,p,0"],
    "validation": ["d,p,1", "E  f,p,0"],
    "test": ["g,q,0", "h,q,1", "a b c d e f g h i j k l,q,1"],
}
EARLIER = {
    "train": ["h,,0", "q,,1", "e   f,,0", "E  f,,0", "A b c d e f g h i j k m l,,0"],
    "validation": ["g,,0", "z,,1"],
}


def find(folder: Path, **changed: Any) -> dict[str, list[int]]:
    ours = prepare(folder, "ours", OURS, **changed).build()
    ours.prepare_data()
    batching = {"task": "masked_lm", "batching": Masked(row_tokens=16)}
    earlier = prepare(folder, "earlier", EARLIER, **batching)
    found = ours.find_repeated_rows(earlier)
    return {split: levels.tolist() for split, levels in found.items()}


def test_held_out_rows_in_an_earlier_corpus(tmp_path: Path) -> None:
    # g stands in the other's validation rows, which nothing was learnt from
    assert find(tmp_path) == {"validation": [0, 2], "test": [0, 2, 0]}


def test_texts_are_compared_as_ours_are_cleaned(tmp_path: Path) -> None:
    # E  f is E f now, as one of two there is
    assert find(tmp_path, cleaning=Cleaning(whitespace=True))["validation"] == [0, 2]


def test_both_texts_of_a_pair_must_stand_there(tmp_path: Path) -> None:
    pairs = Source(path=str(tmp_path / "ours"), label="label", pair="pair")
    assert find(tmp_path, source=pairs) == {"validation": [0, 0], "test": [0, 2, 0]}


@pytest.mark.parametrize("rows", [2, 1000])
def test_nearly_equal_rows_of_an_earlier_corpus(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasketch")
    monkeypatch.setattr(module, "_BLOCK_ROWS", rows)
    assert find(tmp_path, cleaning=Cleaning(near_duplicates=0.7)) == {
        "validation": [0, 2],
        "test": [0, 2, 1],
    }


def test_what_was_found_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, earlier = prepare(tmp_path, "ours", OURS), prepare(tmp_path, "earlier", EARLIER)
    first = ours.build()
    first.prepare_data()
    found = first.find_repeated_rows(earlier)
    monkeypatch.setattr(module, "_find_equal_rows", lambda *corpora: pytest.fail("looked again"))
    second = ours.build()
    second.prepare_data()
    assert {split: levels.tolist() for split, levels in found.items()} == {
        split: levels.tolist() for split, levels in second.find_repeated_rows(earlier).items()
    }
