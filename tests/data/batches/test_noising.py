"""Noise: rows by hand, the same in every process, and as often as it should be."""

import math

import numpy as np
import pytest

from src.data.batches import noising
from src.data.batches.noising import NoiseParams, draw_spans, find_poisson_ends, noise_rows

BEGIN, END, MASK, STOP = 1, 2, 3, 9
SENTINELS = np.array([8, 7, 6, 5])
FRAME = (np.array([BEGIN]), np.array([END]))
IS_STOP = np.arange(100) == STOP


def _noise(target: str = "text", **changes: object) -> NoiseParams:
    settings = {
        "seed": 5,
        "target": target,
        "noise_fraction": 0.3,
        "deletion_fraction": 0.0,
        "mean_span_tokens": 3.0,
        "sentence_ends": None,
        "stand_ins": SENTINELS if target == "spans" else np.array([MASK]),
        "frame": FRAME,
    }
    return NoiseParams(**(settings | changes))  # type: ignore[arg-type]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[float]]:
    """What is drawn, as numbers from 0 to 1, by what it is for."""
    shares: dict[int, list[float]] = {}

    def draw(keys: np.ndarray, what: int, counts: np.ndarray) -> np.ndarray:
        assert len(shares[what]) == counts.sum()
        return (np.array(shares[what]) * 2**24).astype(np.uint64) << np.uint64(40)

    monkeypatch.setattr(noising, "draw_words", draw)
    return shares


def _rows(values: np.ndarray, lengths: np.ndarray) -> list[list[int]]:
    return [row.tolist() for row in np.split(values, lengths.cumsum()[:-1])]


def test_a_text_by_hand(drawn: dict[int, list[float]]) -> None:
    """Of ten tokens three lie in spans of 0, 2 and 5 tokens, which is cut to 1; the spans stand
    before the second, the fifth and behind the last of the seven others.
    """
    ends = find_poisson_ends(3.0)
    assert ends[:2] == pytest.approx([math.exp(-3), 4 * math.exp(-3)])
    drawn[noising._LENGTHS] = [ends[0] - 0.01, ends[1] + 0.01, ends[4] + 0.01]
    drawn[noising._GAPS] = [0.9, 0.3, 0.9, 0.9, 0.2, 0.9, 0.9, 0.1]
    text = np.arange(10, 20)
    found = noise_rows(text, np.array([10]), np.array([0]), 0, _noise())
    assert found.ids.tolist() == [1, 10, 3, 11, 12, 13, 3, 16, 17, 18, 3, 2]
    assert found.targets.tolist() == [1, *range(10, 20), 2]
    assert found.targets[found.is_missing].tolist() == [14, 15, 19]
    assert (found.lengths.tolist(), found.target_lengths.tolist()) == ([12], [12])


def test_spans_by_hand(drawn: dict[int, list[float]]) -> None:
    """A quarter of twenty tokens in spans of two on average: two of them, divided 2 and 3. Of four
    tokens one.
    """
    drawn[noising._LENGTHS] = [0.5, 0.1, 0.6, 0.7]
    drawn[noising._GAPS] = [0.1, *[0.9] * 14, 0.2, 0.7, 0.4, 0.5, 0.6]
    noise = _noise("spans", noise_fraction=0.25, mean_span_tokens=2.0)
    text = np.arange(10, 34)
    found = noise_rows(text, np.array([20, 4]), np.array([0, 1]), 0, noise)
    assert _rows(found.ids, found.lengths) == [[1, 8, *range(12, 27), 7, 2], [1, 30, 8, 32, 33, 2]]
    targets = [[1, 8, 10, 11, 7, 27, 28, 29, 6, 2], [1, 8, 31, 7, 2]]
    assert _rows(found.targets, found.target_lengths) == targets
    assert found.targets[found.is_missing].tolist() == [10, 11, 27, 28, 29, 31]


def test_sentences_and_deletions_by_hand(drawn: dict[int, list[float]]) -> None:
    """Three sentences, the last without a full stop, of which two have two; then a token of the
    second row is left out, whose place is counted in the new order.
    """
    drawn[noising._SENTENCES] = [0.5, 0.9, 0.1, 0.6, 0.3]
    drawn[noising._LENGTHS] = []
    drawn[noising._DELETIONS] = [0.9, 0.8, 0.7, 0.6, 0.01, 0.5, 0.4, 0.3, 0.2, 0.02, 0.8, 0.7]
    text = np.array([10, STOP, STOP, 11, 12, STOP, 13, 14, 20, STOP, 21, 22])
    noise = _noise(noise_fraction=0.0, deletion_fraction=0.125, sentence_ends=IS_STOP)
    drawn[noising._GAPS] = [0.5] * (9 + 5)
    found = noise_rows(text, np.array([8, 4]), np.array([0, 1]), 0, noise)
    # 0.125 of four tokens is half a token, which is rounded to none
    assert _rows(found.ids, found.lengths) == [
        [BEGIN, 13, 14, 10, STOP, 11, 12, STOP, END],
        [BEGIN, 21, 22, 20, STOP, END],
    ]
    assert found.targets.tolist() == [BEGIN, *text[:8], END, BEGIN, *text[8:], END]
    # the second of two full stops
    assert np.flatnonzero(found.is_missing).tolist() == [3]


def test_a_row_is_noised_alike_whoever_is_beside_it() -> None:
    rng = np.random.default_rng(1)
    lengths = np.array([40, 1, 0, 90, 17])
    text = rng.integers(9, 60, lengths.sum())
    numbers = np.array([7, 300, 2, 5, 11])
    for target, others in (
        ("text", {"deletion_fraction": 0.1, "sentence_ends": IS_STOP}),
        ("spans", {"noise_fraction": 0.1, "stand_ins": np.arange(99, 69, -1)}),
    ):
        noise = _noise(target, **others)
        whole = noise_rows(text, lengths, numbers, 3, noise)
        rows = _rows(whole.ids, whole.lengths)
        targets = _rows(whole.targets, whole.target_lengths)
        for number, own in enumerate(np.split(text, lengths.cumsum()[:-1])):
            one = slice(number, number + 1)
            alone = noise_rows(own, lengths[one], numbers[one], 3, noise)
            assert (alone.ids.tolist(), alone.targets.tolist()) == (rows[number], targets[number])
        for changed in (
            noise_rows(text, lengths, numbers, 4, noise),
            noise_rows(text, lengths, numbers, 3, noise._replace(seed=6)),
            noise_rows(text, lengths, numbers + 1, 3, noise),
        ):
            assert _rows(changed.ids, changed.lengths)[3] != rows[3]


@pytest.mark.parametrize("fraction", [0.15, 0.3, 0.9])
@pytest.mark.parametrize("target", ["text", "spans"])
def test_what_is_written_and_what_is_there_make_the_text(target: str, fraction: float) -> None:
    lengths = np.array([100] * 50 + [1, 2, 3, 0])
    text = np.random.default_rng(2).integers(10, 60, lengths.sum())
    stand_ins = np.arange(199, 99, -1) if target == "spans" else np.array([MASK])
    noise = _noise(target, noise_fraction=fraction, stand_ins=stand_ins)
    found = noise_rows(text, lengths, np.arange(len(lengths)), 0, noise)
    texts = _rows(text, lengths)
    sources, targets = (
        _rows(found.ids, found.lengths),
        _rows(found.targets, found.target_lengths),
    )
    assert found.lengths[:50].max() <= 102
    for original, source, written in zip(texts, sources, targets, strict=True):
        hidden = max(1, round(fraction * len(original))) if original else 0
        assert (source[0], source[-1], written[0], written[-1]) == (BEGIN, END, BEGIN, END)
        if target == "text":
            assert written[1:-1] == original
            assert sum(token >= 10 for token in source) == len(original) - hidden
            continue
        # put what follows each sentinel in its place
        spans: dict[int, list[int]] = {}
        for token in written[1:-1]:
            if token >= 100:
                spans[token] = []
            else:
                spans[[*spans][-1]].append(token)
        *known, last = spans
        assert known == [token for token in source if token >= 100]
        assert not spans[last] and all(spans[sentinel] for sentinel in known)
        restored = [
            one for token in source[1:-1] for one in (spans[token] if token >= 100 else [token])
        ]
        assert restored == original
        assert sum(map(len, spans.values())) == hidden


def test_lengths_and_places_are_as_frequent_as_they_should_be() -> None:
    lengths, rows = np.full(4000, 100), np.arange(4000)
    keys = noising.finalize_splitmix64(rows.astype(np.uint64))
    poisson = draw_spans(lengths, keys, _noise())
    # the last span of a row is cut
    is_last = np.diff(poisson.owners, append=-1) != 0
    found = np.bincount(poisson.lengths[~is_last]) / np.count_nonzero(~is_last)
    assert found[:3] == pytest.approx(np.diff(find_poisson_ends(3.0)[:3], prepend=0.0), abs=0.03)
    assert (np.bincount(poisson.owners, poisson.lengths) == 30).all()
    even = draw_spans(lengths, keys, _noise("spans", noise_fraction=0.15))
    assert (np.bincount(even.owners) == 5).all()
    assert even.lengths.mean() == 3.0 and even.lengths.min() == 1
    # 15 tokens in 5 spans: C(13, 3) of C(14, 4) divisions begin with a span of one token
    assert np.mean(even.lengths == 1) == pytest.approx(286 / 1001, abs=0.01)
    hidden = (even.begins.repeat(even.lengths)) + noising.number_within(even.lengths)
    shares = np.bincount(hidden, minlength=100) / 4000
    # a span is cut by neither end, so that the tokens there are hidden a little less often
    assert shares[5:95] == pytest.approx(np.full(90, 0.15), abs=0.035)
