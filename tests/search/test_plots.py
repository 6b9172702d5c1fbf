"""The plots of a sweep: which there are, and that they show what is so."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from src.search.trials import (
    SweepSnapshot,
    TrialRecord,
    count_by_status,
    rank_trials,
    select_best_trials,
)
from src.search.view.plot_axes import infer_scale, robust_axis_range
from src.search.view.plots import MAX_PANELS, plot_sweep, render_png
from tests.search.sweeps import KEYS, LOGS, trials

WEIGHTS = {"model.optim.lr": 0.7, "model.optim.weight_decay": 0.3}


def _drawn(
    rows: list[TrialRecord], *, importance: Mapping[str, float] | None = None, **other: Any
) -> dict[str, Figure]:
    facts: dict[str, Any] = {"keys": KEYS, "monitors": ["val/loss"], "modes": ["min"]}
    sweep = SweepSnapshot(
        sweep="1a2b", name="sweep", state="RUNNING", rows=rows, taken_at=0.0, **facts | other
    )
    return plot_sweep(sweep, log_keys=LOGS, importance=importance or {})


def _texts(figure: Figure) -> set[str]:
    figure.draw_without_rendering()
    return {text.get_text() for text in figure.findobj(Text)}  # type: ignore[attr-defined]


def test_what_cannot_say_anything_yet_is_left_out() -> None:
    assert _drawn([]) == {}
    assert set(_drawn(trials(1))) == {"intermediate"}
    assert set(_drawn([replace(trials(1)[0], intermediate_values={1: 0.5})])) == set()
    assert (
        set(
            _drawn(
                [
                    replace(row, state="waiting", values=None, intermediate_values={})
                    for row in trials(3)
                ]
            )
        )
        == set()
    )
    assert set(_drawn(trials(20))) == {"history", "rate", "parallel", "intermediate"}
    assert set(_drawn(trials(20), importance=WEIGHTS)) == {
        "history",
        "rate",
        "parallel",
        "importance",
        "intermediate",
    }
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
    # trial 1 has failed
    values = {0: 0.5, 1: None, 2: 0.6, 3: 0.4}
    rows = [
        TrialRecord(
            number,
            "failed" if value is None else "finished",
            {},
            None if value is None else (value,),
        )
        for number, value in values.items()
    ]
    for mode, reached in {"min": [0.5, 0.5, 0.4, 0.4], "max": [0.5, 0.6, 0.6, 0.6]}.items():
        (axes,) = _drawn(rows, modes=[mode])["history"].axes
        line = next(line for line in axes.get_lines() if line.get_drawstyle() == "steps-post")
        assert (list(line.get_xdata()), list(line.get_ydata())) == ([0, 2, 3, 3], reached)
        star = next(line for line in axes.get_lines() if line.get_marker() == "*")
        assert list(star.get_ydata()) == [reached[-1]]
        crosses = next(line for line in axes.get_lines() if line.get_marker() == "x")
        low, high = axes.get_ylim()
        assert list(crosses.get_xdata()) == [1]
        assert crosses.get_ydata()[0] > 0.6 if mode == "min" else crosses.get_ydata()[0] < 0.4
        assert low < crosses.get_ydata()[0] < high


def test_a_replaced_trial_is_not_drawn() -> None:
    rows = [*trials(3), TrialRecord(3, "failed", {}, attributes={"replaced_by": 4})]
    assert "failed" not in _texts(_drawn(rows)["history"])
    assert {"finished", "pruned", "best"} <= _texts(_drawn(rows)["history"])


def test_pruned_trials_keep_their_last_value() -> None:
    (axes,) = _drawn(trials(3))["history"].axes
    (open_,) = [
        line for line in axes.get_lines() if line.get_marker() == "o" and line.get_xdata()[0] == 1
    ]
    assert open_.get_ydata()[0] == trials(3)[1].intermediate_values[2]


def test_parallel_coordinates_say_what_is_drawn_at_the_end_of_an_axis() -> None:
    values = [0.82, 0.81, 0.80, 0.82, 0.81, 0.83, 0.79, 0.80]

    def draw(worst: float) -> set[str]:
        rows = [
            TrialRecord(number, "finished", {KEYS[0]: 10**-number, KEYS[1]: number}, (value,))
            for number, value in enumerate([*values, worst])
        ]
        return _texts(_drawn(rows, monitors=["val/accuracy"], modes=["max"])["parallel"])

    told = "colour: val/accuracy  ·  best: trial 5, 0.83"
    assert f"{told}  ·  1 trial beyond an axis, drawn at its end" in draw(0.5075)
    assert told in draw(0.8)


def test_the_best_lines_are_thick() -> None:
    axes = _drawn(trials(20))["parallel"].axes[0]
    thick = [
        collection
        for collection in axes.collections
        if isinstance(collection, LineCollection) and collection.get_linewidth()[0] > 2
    ]
    assert len(thick) == 1 and len(thick[0].get_paths()) == 1
    front = _drawn(trials(20, metrics=2), monitors=["a", "b"], modes=["min", "max"])[
        "intermediate"
    ].axes[0]
    assert [line.get_color() for line in front.get_lines() if line.get_linewidth() > 2] == [
        "#d55e00"
    ]


def test_numbers_that_are_none() -> None:
    rows = trials(12)
    rows[0] = replace(
        rows[0], values=(float("nan"),), intermediate_values={1: float("inf"), 2: float("nan")}
    )
    rows[2] = replace(rows[2], values=())
    drawn = _drawn(rows, importance={"a": float("nan"), "b": 1.0})
    assert "importance" not in drawn
    for figure in drawn.values():
        assert not any("nan" in text for text in _texts(figure))


def test_equal_values_and_huge_ones() -> None:
    for value in (0.0, 1.0, 1e-12, 1e12, -3.0):
        for figure in _drawn([replace(row, values=(value,)) for row in trials(6)]).values():
            assert render_png(figure)


def test_letters_that_the_font_does_not_have() -> None:
    """matplotlib warns of each of them, and reads dollars as mathematics."""
    rows = [
        replace(row, params={"data.$x_1$": text})
        for row, text in zip(trials(3), "中$文", strict=True)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = _drawn(rows, keys=["data.$x_1$"], monitors=["loss_$a$ 中\n"])
        assert all(render_png(figure) for figure in drawn.values())
        assert "data.$x_1$" in _texts(drawn["rate"])


def test_there_are_only_so_many_panels() -> None:
    keys = [f"key_{number}" for number in range(20)]
    rows = [replace(row, params=dict.fromkeys(keys, row.number + 0.5)) for row in trials(6)]
    drawn = _drawn(rows, keys=keys, importance={"key_19": 1.0, "key_0": 0.0})
    assert len(drawn["rate"].axes) == MAX_PANELS
    assert {"key_19"} <= _texts(drawn["rate"])
    assert any(text.endswith("12 of 20 parameters") for text in _texts(drawn["rate"]))


@pytest.mark.parametrize(
    ("values", "log", "ticks"),
    [
        ([1e-6, 1e-3], True, ["1e-06", "1e-05", "0.0001", "0.001"]),
        ([1e-6, 1e2], True, ["1e-06", "0.0001", "0.01", "1", "100"]),
        ([0.0, 0.5], False, ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]),
        ([3e-5, 8e-5], True, ["3e-05", "4e-05", "5e-05", "6e-05", "7e-05", "8e-05"]),
        ([2, 12], False, ["2", "4", "6", "8", "10", "12"]),
        # listed: as they were typed, by their worth
        (["5e-5", "1e-5", "2e-5"], False, ["1e-5", "2e-5", "5e-5"]),
        (["b", "a", "10", "9"], False, ["9", "10", "a", "b"]),
        (["x", 1], False, ["1", "x"]),
    ],
)
def test_scales(values: list, log: bool, ticks: list[str]) -> None:
    scale = infer_scale(values, log=log)
    assert scale is not None
    axes = Figure().add_subplot()
    scale.apply(axes, "x")
    low, high = axes.get_xlim()
    shown = [
        (label.get_text(), place)
        for label, place in zip(axes.get_xticklabels(), axes.get_xticks(), strict=True)
        if low <= place <= high
    ]
    assert [text.replace("\N{MINUS SIGN}", "-") for text, _ in shown] == ticks
    assert [place for _, place in shown] == sorted(place for _, place in shown)
    assert all(low <= scale.position(value) <= high for value in values)


def test_many_listed_numbers_stand_on_a_scale_of_numbers() -> None:
    scale = infer_scale([str(number) for number in range(1, 20)], log=False)
    assert scale is not None and not scale.categories and (scale.low, scale.high) == (1.0, 19.0)
    wide = infer_scale([f"1e-{number}" for number in range(1, 12)], log=False)
    assert wide is not None and wide.is_log
    assert infer_scale([3, 3], log=False) is None
    # no logarithm of nothing: as it is
    assert infer_scale([0.0, 1.0], log=True) is not None


def test_what_went_astray_does_not_flatten_the_rest() -> None:
    low, high = robust_axis_range([0.3, 0.4, 0.5, 0.6, 90.0], "min")
    assert (low, high) == pytest.approx((0.3 - 0.06 * 0.3, 0.6 + 0.12 * 0.3))
    low, high = robust_axis_range([0.9, 0.8, 0.7, 0.6, -50.0], "max")
    assert (low, high) == pytest.approx((0.6 - 0.12 * 0.3, 0.9 + 0.06 * 0.3))
    rows = [
        TrialRecord(number, "finished", {}, (value,))
        for number, value in enumerate([0.3, 0.4, 0.5, 0.6, 90.0])
    ]
    assert "off the scale" in _texts(_drawn(rows)["history"])


def test_who_leads() -> None:
    values = [(0.5, 0.9), (0.4, 0.8), (0.6, 0.7), (0.5, 0.95), (0.4, 0.8)]
    rows = [TrialRecord(number, "finished", {}, value) for number, value in enumerate(values)]
    rows += [
        TrialRecord(5, "pruned", {}, (0.1, 1.0)),
        TrialRecord(6, "finished", {}, (float("nan"), 1.0)),
    ]
    assert [row.number for row in select_best_trials(rows, ["min", "max"])] == [1, 4, 3]
    assert [row.number for row in rank_trials(rows, ["min", "max"])] == [1, 4, 3, 0, 2]
    assert [row.number for row in select_best_trials(rows, ["min"])] == [1]
    assert [row.number for row in select_best_trials(rows, ["max"])] == [2]
    assert select_best_trials([], ["min"]) == []
    again = TrialRecord(7, "failed", {}, attributes={"replaced_by": 8})
    assert count_by_status([*rows, again]) == {"finished": 6, "pruned": 1}
