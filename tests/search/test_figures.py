"""The pictures of a sweep: which there are, and that they show what is so."""

import re
from dataclasses import replace
from typing import Any

import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from src.search.drawing import BEST, drawable, numbers, scale_of, svg, window
from src.search.figures import MOST_PANELS, figures
from src.search.rows import Row
from src.search.standing import counts, leading, ranked
from tests.search.sweeps import KEYS, LOGS, trials

WEIGHTS = {"model.optim.lr": 0.7, "model.optim.weight_decay": 0.3}


def _drawn(rows: list[Row], **other: Any) -> dict[str, Figure]:
    given: dict[str, Any] = {"keys": KEYS, "logs": LOGS, "monitors": ["val/loss"], "modes": ["min"], "importance": {}}
    return figures(rows, **given | other)


def _texts(figure: Figure) -> set[str]:
    return set(re.findall(r"<text[^>]*>([^<]*)</text>", svg(figure, "x")))


def test_what_cannot_say_anything_yet_is_left_out() -> None:
    assert _drawn([]) == {}
    assert set(_drawn(trials(1))) == {"intermediate"}
    assert set(_drawn([replace(trials(1)[0], reports={1: 0.5})])) == set()
    assert set(_drawn([replace(row, state="waiting", values=None, reports={}) for row in trials(3)])) == set()
    assert set(_drawn(trials(20))) == {"history", "rate", "parallel", "intermediate"}
    assert set(_drawn(trials(20), importance=WEIGHTS)) == {"history", "rate", "parallel", "importance", "intermediate"}
    assert set(_drawn(trials(20), keys=KEYS[:1])) == {"history", "rate", "intermediate"}
    same = [replace(row, params={KEYS[0]: 1e-4}) for row in trials(20)]
    assert set(_drawn(same)) == {"history", "intermediate"}


@pytest.mark.parametrize("metrics", [2, 3])
def test_several_metrics_have_a_front(metrics: int) -> None:
    names, modes = ["val/loss", "val/accuracy", "speed"][:metrics], ["min", "max", "max"][:metrics]
    drawn = _drawn(trials(20, metrics=metrics), monitors=names, modes=modes)
    assert {"history", "front", "parallel", "rate"} <= set(drawn)
    assert len(drawn["front"].axes) == {2: 1, 3: 3}[metrics]
    assert len(drawn["history"].axes) == metrics


def test_the_line_of_the_best_so_far() -> None:
    values = {0: 0.5, 1: None, 2: 0.6, 3: 0.4}  # trial 1 has failed
    rows = [
        Row(number, "failed" if value is None else "finished", {}, None if value is None else (value,))
        for number, value in values.items()
    ]
    for mode, reached in {"min": [0.5, 0.5, 0.4, 0.4], "max": [0.5, 0.6, 0.6, 0.6]}.items():
        (axes,) = _drawn(rows, modes=[mode])["history"].axes
        line = next(each for each in axes.get_lines() if each.get_drawstyle() == "steps-post")
        assert (list(line.get_xdata()), list(line.get_ydata())) == ([0, 2, 3, 3], reached)
        star = next(each for each in axes.get_lines() if each.get_marker() == "*")
        assert list(star.get_ydata()) == [reached[-1]]
        crosses = next(each for each in axes.get_lines() if each.get_marker() == "x")
        low, high = axes.get_ylim()
        assert list(crosses.get_xdata()) == [1]
        assert crosses.get_ydata()[0] > 0.6 if mode == "min" else crosses.get_ydata()[0] < 0.4
        assert low < crosses.get_ydata()[0] < high


def test_a_replaced_trial_is_not_drawn() -> None:
    rows = [*trials(3), Row(3, "failed", {}, about={"replaced_by": 4})]
    assert "failed" not in _texts(_drawn(rows)["history"])
    assert {"finished", "pruned", "best"} <= _texts(_drawn(rows)["history"])


def test_pruned_trials_keep_their_last_value() -> None:
    (axes,) = _drawn(trials(3))["history"].axes
    (open_,) = [each for each in axes.get_lines() if each.get_marker() == "o" and each.get_xdata()[0] == 1]
    assert open_.get_ydata()[0] == trials(3)[1].reports[2]


def test_the_best_lines_are_thick() -> None:
    (axes,) = _drawn(trials(20))["parallel"].axes
    thick = [each for each in axes.collections if isinstance(each, PathCollection) and each.get_linewidth()[0] > 2]
    assert len(thick) == 1 and len(thick[0].get_paths()) == 1
    front = _drawn(trials(20, metrics=2), monitors=["a", "b"], modes=["min", "max"])["intermediate"].axes[0]
    assert [each.get_color() for each in front.get_lines() if each.get_linewidth() > 2] == [BEST]


def test_numbers_that_are_none() -> None:
    rows = trials(12)
    rows[0] = replace(rows[0], values=(float("nan"),), reports={1: float("inf"), 2: float("nan")})
    rows[2] = replace(rows[2], values=())
    drawn = _drawn(rows, importance={"a": float("nan"), "b": 1.0})
    assert "importance" not in drawn
    for name, figure in drawn.items():
        assert "nan" not in svg(figure, name)


def test_equal_values_and_huge_ones() -> None:
    for value in (0.0, 1.0, 1e-12, 1e12, -3.0):
        for name, figure in _drawn([replace(row, values=(value,)) for row in trials(6)]).items():
            assert svg(figure, name)


def test_letters_that_the_font_does_not_have() -> None:
    """matplotlib warns of each of them, and reads dollars as mathematics."""
    rows = [replace(row, params={"data.$x_1$": text}) for row, text in zip(trials(3), "中$文", strict=True)]
    drawn = _drawn(rows, keys=["data.$x_1$"], monitors=["loss_$a$ 中\n"])
    assert "data.$x_1$" in _texts(drawn["rate"])
    assert drawable("lr 中 é → λ") == "lr □ é → λ"


def test_there_are_only_so_many_panels() -> None:
    keys = [f"key_{number}" for number in range(20)]
    rows = [replace(row, params=dict.fromkeys(keys, row.number + 0.5)) for row in trials(6)]
    drawn = _drawn(rows, keys=keys, importance={"key_19": 1.0, "key_0": 0.0})
    assert len(drawn["rate"].axes) == MOST_PANELS
    assert {"key_19"} <= _texts(drawn["rate"])
    assert any(text.endswith("12 of 20 parameters") for text in _texts(drawn["rate"]))


def test_an_svg_is_the_same_twice_and_shares_a_page() -> None:
    (one, two), other = ([_drawn(trials(20))["rate"] for _ in range(2)]), _drawn(trials(20))["history"]
    assert svg(one, "rate") == svg(two, "rate")
    ids = [re.findall(r'\bid="([^"]*)"', svg(figure, name)) for name, figure in (("rate", one), ("history", other))]
    assert not set(ids[0]) & set(ids[1])
    text = svg(one, "rate")
    assert set(re.findall(r'(?:href="|url\()#([^")]*)', text)) <= set(ids[0])
    assert text.startswith("<svg") and "<metadata" not in text and "var(--ink, #22303c)" in text


@pytest.mark.parametrize(
    ("values", "log", "ticks"),
    [
        ([1e-6, 1e-3], True, ["1e-06", "3e-06", "1e-05", "3e-05", "1e-04", "3e-04", "0.001"]),
        ([1e-6, 1e2], True, ["1e-06", "1e-04", "0.01", "1", "100"]),
        ([0.0, 0.5], False, ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5"]),
        ([2, 12], False, ["2", "4", "6", "8", "10", "12"]),
        (["5e-5", "1e-5", "2e-5"], False, ["1e-5", "2e-5", "5e-5"]),  # listed: as they were typed, by their worth
        (["b", "a", "10", "9"], False, ["9", "10", "a", "b"]),
        (["x", 1], False, ["1", "x"]),
    ],
)
def test_scales(values: list, log: bool, ticks: list[str]) -> None:
    scale = scale_of(values, log=log)
    assert scale is not None
    assert [text for _, text in scale.ticks(7)] == ticks
    places = [place for place, _ in scale.ticks(7)]
    assert places == sorted(places)


def test_many_listed_numbers_stand_on_a_scale_of_numbers() -> None:
    scale = scale_of([str(number) for number in range(1, 20)], log=False)
    assert scale is not None and not scale.names and (scale.low, scale.high) == (1.0, 19.0)
    wide = scale_of([f"1e-{number}" for number in range(1, 12)], log=False)
    assert wide is not None and wide.log
    assert scale_of([3, 3], log=False) is None
    assert scale_of([0.0, 1.0], log=True) is not None  # no logarithm of nothing: as it is


def test_ticks_have_the_digits_that_they_need() -> None:
    assert [text for _, text in numbers(0.4981, 0.4984, 3)] == ["0.4981", "0.4982", "0.4983", "0.4984"]
    assert [text for _, text in numbers(0, 2_000_000, 2)] == ["0", "1,000,000", "2,000,000"]
    assert [text for _, text in numbers(0, 2e-5, 2)] == ["0", "1e-05", "2e-05"]
    assert [text for _, text in numbers(0, 3, 10, whole=True)] == ["0", "1", "2", "3"]


def test_what_went_astray_does_not_flatten_the_rest() -> None:
    low, high = window([0.3, 0.4, 0.5, 0.6, 90.0], "min")
    assert (low, high) == pytest.approx((0.3 - 0.06 * 0.3, 0.6 + 0.12 * 0.3))
    low, high = window([0.9, 0.8, 0.7, 0.6, -50.0], "max")
    assert (low, high) == pytest.approx((0.6 - 0.12 * 0.3, 0.9 + 0.06 * 0.3))
    rows = [Row(number, "finished", {}, (value,)) for number, value in enumerate([0.3, 0.4, 0.5, 0.6, 90.0])]
    assert "off the scale" in _texts(_drawn(rows)["history"])


def test_who_leads() -> None:
    values = [(0.5, 0.9), (0.4, 0.8), (0.6, 0.7), (0.5, 0.95), (0.4, 0.8)]
    rows = [Row(number, "finished", {}, each) for number, each in enumerate(values)]
    rows += [Row(5, "pruned", {}, (0.1, 1.0)), Row(6, "finished", {}, (float("nan"), 1.0))]
    assert [row.number for row in leading(rows, ["min", "max"])] == [1, 4, 3]
    assert [row.number for row in ranked(rows, ["min", "max"])] == [1, 4, 3, 0, 2]
    assert [row.number for row in leading(rows, ["min"])] == [1]
    assert [row.number for row in leading(rows, ["max"])] == [2]
    assert leading([], ["min"]) == []
    again = Row(7, "failed", {}, about={"replaced_by": 8})
    assert counts([*rows, again]) == {"finished": 6, "pruned": 1}
