"""Candidates for words: how they are kept, chosen, and used in training rows alone."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.data.batches.augmentation import Augmentation
from src.data.batches.substitutes import Substitutes, write_substitutes
from src.data.reading.sources import Source
from src.data.tokenization.text_store import TextStore, write_texts
from tests.data.test_datamodule import _content, _data, _write


class Upper:
    """Names the letters X and Y for all words of two letters and more."""

    fingerprint = "upper"
    vocabulary = ("", "x", "y")

    def __init__(self, name_or_path: str = "", count: int = 3) -> None:
        self.calls: list[str] = []

    def guess(
        self, texts: Sequence[str], spans: Sequence[Sequence[tuple[int, int]]]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        self.calls += texts
        for places in spans:
            known = np.array([end - begin > 1 for begin, end in places], dtype=bool)[:, None]
            yield np.tile([1, 2, 0], (len(places), 1)), known * np.array([0.75, 0.25, 0.0])


def test_candidates_are_kept_and_drawn_by_their_probability(tmp_path: Path) -> None:
    rows = [("good a film", "so 12"), ("", None), ("last", None)] + [("of", "it")] * 100
    (tmp_path / "texts").mkdir()
    write_texts(tmp_path / "texts", rows)
    guesser = Upper()
    write_substitutes(tmp_path, TextStore.open(tmp_path / "texts"), guesser, 3)
    found = Substitutes.open(tmp_path)
    assert guesser.calls == [text or "" for row in rows for text in row]
    assert found.choose(0, 0, 0, 0.74) == "x" and found.choose(0, 0, 0, 0.76) == "y"
    # the largest share below 1 is none of no probability
    assert found.choose(0, 0, 0, np.nextafter(1, 0)) == "y"
    assert found.choose(0, 0, 1, 0.5) is None
    assert (found.choose(0, 1, 0, 0.1), found.choose(0, 1, 1, 0.1)) == ("x", None)
    assert found.choose(2, 0, 0, 0.1) == found.choose(102, 1, 0, 0.1) == "x"
    # a number is no word, and a letter is one
    assert (found.num_words, found.num_with_candidates) == (205, 204)
    notices = found.describe()
    assert notices.lines == (
        "other words for 204 of 205 words of the training texts (data.augmentation.masked_lm)",
    )
    assert notices.tags["data/augmentation/words_with_candidates"] == "204"


@pytest.mark.parametrize("pair", [None, "pair"])
def test_only_training_rows_have_them_and_anew_in_every_epoch(
    pair: str | None, tmp_path: Path
) -> None:
    rows = [[f"red green blue warm w{n}", f"p qq{n}", n % 2] for n in range(20)]
    for split, some in (("train", rows), ("validation", rows[:4]), ("test", rows[:4])):
        _write(tmp_path / "data" / f"{split}.csv", some, header=("text", "pair", "label"))
    settings: dict[str, Any] = {
        "source": Source(
            path=str(tmp_path / "data"), label="label", pair=pair, validation=None, test=None
        ),
        "augmentation": Augmentation(
            deletion=0,
            swap=0,
            unchanged=0,
            masked_lm="here",
            masked_lm_share=0.5,
            masked_lm_candidates=3,
        ),
    }

    def prepare(guesser: Any) -> Any:
        data = _data(tmp_path, **settings)
        if guesser is not None:
            data.set_word_guesser(guesser)
        data.prepare_data()
        return data

    plain, changed = prepare(None), prepare(Upper)
    assert _content(changed, "train") != _content(plain, "train")
    assert _content(changed, "train") == _content(prepare(Upper), "train")
    assert any("other words for" in line for line in changed.describe_reading().lines)
    assert "data/augmentation/words" not in plain.describe_reading().tags
    rows_at = {}
    for epoch in (0, 1):
        keys = changed.build_batch_sampler("train")
        keys.set_epoch(epoch)
        dataset = changed.build_loader("train").dataset
        ids = [batch.tokens.ids.tolist() for batch in map(dataset.__getitem__, keys)]
        rows_at[epoch] = sorted(map(str, ids))
    assert rows_at[0] != rows_at[1]
