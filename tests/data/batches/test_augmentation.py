"""Augmentation: training texts that are changed anew in every epoch, and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from src.core.user_errors import UserError, UserErrors
from src.data.batches import loader
from src.data.batches.augmentation import Augmentation, find_word_spans, read_synonyms
from src.data.batches.batching import Masked
from src.data.reading.sources import Source
from src.data.tokenization.text_store import TextStore, write_texts
from tests.data.test_datamodule import _content, _data, _prepared, _write

WORDS = [f"w{n}" for n in range(2000)]
TEXT = " ".join(WORDS)


def change(augmentation: Augmentation, text: str = TEXT, **place: int) -> list[str]:
    return augmentation.change_text(text, **({"seed": 1, "epoch": 0, "row": 0} | place)).split()


def build(**changed: Any) -> Augmentation:
    return Augmentation(**({"deletion": 0, "swap": 0, "unchanged": 0} | changed))


def synonyms(folder: Path, text: str) -> str:
    file = folder / "synonyms.txt"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_words_are_left_out() -> None:
    words = change(build(deletion=0.2))
    assert words == [word for word in WORDS if word in set(words)]
    # 1,600 on average, with a deviation of 18
    assert abs(len(words) - 1600) < 72
    assert change(build(deletion=1), "one two") == ["one"]


def test_words_change_places() -> None:
    words = change(build(swap=0.1))
    assert sorted(words) == sorted(WORDS) and words != WORDS
    moved = sum(word != old for word, old in zip(words, WORDS, strict=True))
    # 200 on average, with a deviation of 19 (exchanges move two words)
    assert abs(moved - 200) < 76


def test_words_are_replaced_by_their_synonyms(tmp_path: Path) -> None:
    file = synonyms(tmp_path, "good\tgreat, very fine\n\nFilm\tmovie\n")
    everything = build(synonyms=file, synonym_share=1)
    found = {
        everything.change_text('A "Good" film, good?', seed=1, epoch=epoch, row=0)
        for epoch in range(40)
    }
    assert found == {
        f'A "{one}" movie, {other}?'
        for one in ("Great", "Very fine")
        for other in ("great", "very fine")
    }
    some = change(build(synonyms=file, synonym_share=0.3), "good " * 1000)
    assert abs(sum(word == "good" for word in some) - 700) < 58
    assert abs(some.count("great") - 150) < 46


def test_words_are_replaced_by_those_of_a_masked_language_model(tmp_path: Path) -> None:
    asked: list[tuple[int, float]] = []

    def substitute(word: int, share: float) -> str | None:
        asked.append((word, share))
        return None if word == 1 else f"other{word}"

    everything = build(masked_lm="here", masked_lm_share=1)
    place = {"seed": 1, "epoch": 0, "row": 0}
    text = 'A "Good" film, good?'
    changed = everything.change_text(text, **place, substitute=substitute)
    # the second has none; capitals and marks stay
    assert changed == 'Other0 "Good" other2, other3?'
    assert [word for word, _ in asked] == [0, 1, 2, 3]
    assert all(0 <= share < 1 for _, share in asked) and len({share for _, share in asked}) == 4
    assert everything.change_text(text, **place, substitute=substitute) == changed
    assert asked[:4] == asked[4:]
    everything.change_text(text, **(place | {"epoch": 1}), substitute=substitute)
    assert asked[8:] != asked[:4]
    some = build(masked_lm="here", masked_lm_share=0.1)
    words = some.change_text(TEXT, **place, substitute=lambda *_: "x").split()
    # 200 on average, with a deviation of 13
    assert abs(words.count("x") - 200) < 53
    # what else is drawn stays as it was
    other = build(masked_lm="here", masked_lm_share=0, deletion=0.3, swap=0.2)
    plain = build(deletion=0.3, swap=0.2)
    assert other.change_text(TEXT, **place, substitute=lambda *_: "x").split() == change(plain)
    with pytest.raises(UserError, match=r"data.augmentation.masked_lm"):
        build(masked_lm=str(tmp_path / "none")).check()


def test_where_words_stand() -> None:
    text = 'A "Good"  film, it\'s 3 -- (so).'
    spans = find_word_spans(text)
    assert [text[begin:end] for begin, end in spans] == ["A", "Good", "film", "", "", "", "so"]
    assert len(spans) == len(text.split()) and find_word_spans("") == []


def test_white_space_stays() -> None:
    text = "one\ntwo  three\n\nfour"
    assert build().change_text(text, seed=1, epoch=0, row=0) == text
    changed = build(swap=1).change_text(text, seed=1, epoch=3, row=0)
    assert sorted(changed.split()) == ["four", "one", "three", "two"]
    assert [part for part in changed if part.isspace()] == ["\n", " ", " ", "\n", "\n"]
    assert build(deletion=0.5).change_text("", seed=1, epoch=0, row=0) == ""


def test_a_text_is_a_pure_function_of_seed_epoch_and_row() -> None:
    augmentation = build(deletion=0.3, swap=0.3)
    first = change(augmentation)
    assert change(augmentation) == first
    places = [{"seed": 2}, {"epoch": 1}, {"row": 1}, {"part": 1}]
    others = [change(augmentation, **place) for place in places]
    assert all(first != other for other in others)
    # the numbers are the same in every version of Python
    assert change(build(deletion=0.5), "a b c d e f g h") == ["c", "e", "f", "h"]


def test_some_texts_stay_as_they_are() -> None:
    half = build(deletion=0.5, unchanged=0.5)
    same = sum(change(half, row=row) == WORDS for row in range(200))
    assert abs(same - 100) < 29
    # both texts of a pair do, or neither
    for row in range(20):
        assert (change(half, row=row) == WORDS) == (change(half, row=row, part=1) == WORDS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("good great\n", "line 1: expected a word, a tab, and its synonyms with commas between "),
        ("a\tb\nvery good\tgreat\n", "line 2: expected a word, a tab, and its synonyms "),
        ("a\t,\n", "line 1: expected a word, a tab, and its synonyms with commas between them, "),
        ("\n", "there is no word in it"),
    ],
)
def test_a_file_of_synonyms_that_is_something_else(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_synonyms(synonyms(tmp_path, text))


def test_a_file_of_synonyms_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        Augmentation(synonyms=str(tmp_path / "none")).check()
    assert str(caught.value) == (
        f"data.augmentation.synonyms={tmp_path}/none: there is no such file"
    )


def test_texts_on_disk(tmp_path: Path) -> None:
    rows = [("a", "b"), ("é\n", None), ("", "c"), ("last", None)]
    write_texts(tmp_path, rows)
    store = TextStore.open(tmp_path)
    assert [store.read_row(n) for n in range(4)] == [(text, pair or "") for text, pair in rows]
    write_texts(tmp_path, [("", None)])
    assert TextStore.open(tmp_path).read_row(0) == ("", "")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [
        [
            " ".join(f"{word}{n}" for word in ("red", "green", "blue", "warm", "cold")),
            f"p q{n}",
            n % 2,
        ]
        for n in range(20)
    ]
    for split, some in (("train", rows), ("validation", rows[:4]), ("test", rows[:4])):
        _write(tmp_path / "data" / f"{split}.csv", some, header=("text", "pair", "label"))
    return tmp_path


@pytest.mark.parametrize("pair", [None, "pair"])
def test_an_augmentation_that_changes_nothing(pair: str | None, folder: Path) -> None:
    source = Source(path=str(folder / "data"), label="label", pair=pair, validation=None, test=None)
    plain = _prepared(folder, source=source)
    changed = _prepared(folder, source=source, augmentation=build())
    assert _content(changed, "train") == _content(plain, "train")


def test_only_training_rows_change_and_anew_in_every_epoch(folder: Path) -> None:
    source = Source(path=str(folder / "data"), label="label", validation=None)
    plain = _prepared(folder, source=source)
    augmentation = build(deletion=0.4)
    data = _prepared(folder, source=source, augmentation=augmentation)
    for split in ("validation", "test"):
        assert _content(data, split) == _content(plain, split)
    first = _content(data, "train")
    assert first == _content(data, "train") != _content(plain, "train")
    loader = data.train_dataloader()
    rows = data._open_augmented_rows()
    assert rows is not None
    store = data.token_stores["train"]
    for epoch in (0, 5):
        built = rows.build_store(store.identities * 0 + range(len(store)), epoch)
        assert (built.targets == store.targets).all()
        for row in range(len(store)):
            text = augmentation.change_text(
                rows.texts.read_row(row)[0], seed=1, epoch=epoch, row=row
            )
            ids, _, _ = data.tokenizer.encode([text], None, 16, "head")
            begin, end = built.offsets[row : row + 2]
            assert built.ids[begin:end].tolist() == ids[0].tolist()
    loader._epoch_sampler.set_epoch(1)
    assert [batch.tokens.ids.tolist() for batch in loader] != [batch[0][0] for batch in first]


def test_a_worker_does_not_wait_for_threads_of_its_parent(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source(path=str(folder / "data"), label="label", validation=None)
    settings: dict[str, Any] = {"source": source, "augmentation": build(deletion=0.4)}
    expected = _content(_prepared(folder, **settings), "train")
    # some set it to be rid of the library's warning about forks
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    data = _prepared(folder, num_workers=1, **settings)
    # the library has threads now
    data.tokenizer.encode(["red", "green"] * 8, None, 16, "head")
    # before the worker starts; without this a worker that waits would hold up the test
    monkeypatch.setattr(loader, "WORKER_TIMEOUT_SECONDS", 30)
    assert _content(data, "train") == expected


def test_it_goes_with_labels_of_whole_texts(folder: Path) -> None:
    with pytest.raises(UserErrors) as caught:
        _data(folder, task="masked_lm", batching=Masked(), augmentation=build())
    assert str(caught.value) == (
        "data.augmentation goes with labels of whole texts, found data.task=masked_lm; "
        "data/augmentation=none leaves texts as they are"
    )
