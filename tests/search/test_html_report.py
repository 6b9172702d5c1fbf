"""A sweep's page, note and table: complete, valid, and nothing from outside becomes mark-up."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from src.search.trials import BudgetLimit, SweepSnapshot, TrialRecord
from src.search.view.html_report import build_trial_columns, render_note, render_page
from src.search.view.plots import plot_sweep, render_png
from tests.search.sweeps import KEYS, LOGS, trials

_EVIL = "<script>alert(1)</script>\"'&|`*"


def _standing(rows: list[TrialRecord], **other: Any) -> SweepSnapshot:
    given: dict[str, Any] = {
        "sweep": "1a2b" * 8,
        "name": "imdb lr",
        "state": "RUNNING",
        "rows": rows,
        "keys": KEYS,
        "modes": ["min"],
        "monitors": ["val/loss"],
        "taken_at": 1_700_000_000.0,
        "command": "python -m src.run -m 'model.optim.lr=interval(1e-6,1e-3)'",
        "resume_command": "python -m src.run -m sweep=1a2b1a2b",
        "limits": (BudgetLimit("trials", 3, 20), BudgetLimit("hours", 0.5, 2)),
    }
    return SweepSnapshot(**given | other)


def _page(standing: SweepSnapshot) -> str:
    figures = plot_sweep(standing, log_keys=LOGS, importance={})
    return render_page(standing, {name: render_png(figure) for name, figure in figures.items()})


class _Reader(HTMLParser):
    """Checks that each element is closed, and collects what is there."""

    VOID = frozenset({"meta", "br", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.found)

    def values(self, attribute: str) -> list[str]:
        return [
            str(attributes[attribute]) for _, attributes in self.found if attribute in attributes
        ]


@pytest.mark.parametrize("count", [0, 1, 20])
def test_a_page_is_valid_and_whole(count: int) -> None:
    read = _Reader(_page(_standing(trials(count))))
    assert read.count("tr") == (count + 1 if count else 0)
    assert read.count("figure") == read.count("img") == {0: 0, 1: 1, 20: 4}[count]
    assert read.count("script") == read.count("link") == read.count("iframe") == 0
    assert len(read.values("alt")) == read.count("img")
    assert "".join(read.texts).count("sweep=1a2b1a2b") == 1
    assert "3 of 20 trials" in read.texts and "0.5 of 2 h" in read.texts


def test_a_page_needs_no_network() -> None:
    text = _page(_standing(trials(20)))
    assert "http://" not in text and "https://" not in text
    assert "@import" not in text and "url(" not in text
    assert all(
        source.startswith("data:image/png;base64,") for source in _Reader(text).values("src")
    )


def test_the_best_trial_stands_first() -> None:
    rows = trials(20)
    best = min(
        (row for row in rows if row.state == "finished" and row.values),
        key=lambda row: row.values or (),
    )
    text = _page(_standing(rows, trial_urls={best.number: "https://example.org/#/runs/1"}))
    head = text[: text.index("<figure")]
    assert f"val/loss of trial {best.number}" in text
    assert f"{(best.values or (0,))[0]:.4g}" in text and f"{best.params[KEYS[0]]:.6g}" in text
    assert "<h2>Best trial</h2>" in head
    # in its card and in the table
    assert text.count('href="https://example.org/#/runs/1"') == 2
    assert text.count('<tr class="finished best">') == 1


def test_several_metrics_show_the_front() -> None:
    rows = [
        TrialRecord(n, "finished", {}, values)
        for n, values in enumerate([(0.5, 0.9), (0.4, 0.8), (0.6, 0.7)])
    ]
    standing = _standing(rows, monitors=["loss", "acc"], modes=["min", "max"])
    text = _page(standing)
    assert "2 trials" in text and "loss 0.4, acc 0.8" in text and "loss 0.6, acc 0.7" not in text
    assert "**2 trials on the Pareto front**: 1, 0" in render_note(standing)


def test_nothing_from_outside_is_mark_up() -> None:
    rows = [
        replace(
            row,
            params={"data.text": _EVIL + str(row.number)},
            attributes={"run_id": _EVIL, "reason": _EVIL},
        )
        for row in trials(6)
    ]
    links = {row.number: f'javascript:alert("{row.number}")' for row in rows}
    standing = _standing(
        rows,
        keys=["data.text"],
        monitors=[_EVIL],
        name=_EVIL,
        command=_EVIL,
        resume_command=_EVIL,
        reason=_EVIL,
        sweep=_EVIL,
        trial_urls=links,
        run_url='https://x/"onclick="',
    )
    text = _page(standing)
    assert _Reader(text).count("script") == 0
    assert "javascript:" not in text
    assert "onclick" not in [name for _, attributes in _Reader(text).found for name in attributes]
    told = render_note(standing)
    assert "javascript:" not in told
    assert "<script" not in re.sub(r"(?s)```.*?```", "", told)


def test_a_sweep_that_is_over_says_nothing_of_going_on() -> None:
    over = _standing(trials(20), state="FINISHED", resume_command=None)
    assert "go on" not in _page(over) and "go on" not in render_note(over)


def test_hundreds_of_trials_stay_small() -> None:
    text = _page(_standing(trials(500)))
    assert _Reader(text).count("tr") == 501
    assert len(text.encode()) < 2_000_000


def test_a_note() -> None:
    rows = trials(20)
    told = render_note(
        _standing(
            rows, trial_urls={row.number: f"#/experiments/1/runs/{row.number:032x}" for row in rows}
        )
    )
    lines = told.splitlines()
    assert lines[0] == "**search**: imdb lr"
    table = [line for line in lines if line.startswith("|")]
    assert table[0] == "| trial | val/loss | lr | weight_decay | model/optim/schedule | run |"
    assert len(table) == 2 + 5
    assert {line.count("|") for line in table} == {7}
    assert "(#/experiments/1/runs/" in table[2]
    assert (
        "RUNNING · 11 finished, 4 pruned, 4 failed, 1 running · 3 of 20 trials; 0.5 of 2 h" in lines
    )


def test_a_note_is_never_longer_than_a_tag() -> None:
    keys = [f"{'k' * 60}{number}" for number in range(40)]
    rows = [replace(row, params=dict.fromkeys(keys, "v" * 200)) for row in trials(20)]
    for shown in (keys, keys[:8]):
        told = render_note(
            _standing(
                rows,
                keys=shown,
                command="c" * 9000,
                reason="r" * 9000,
                resume_command="g" * 9000,
                name="n" * 250,
            )
        )
        assert len(told) < 8000


def test_a_note_without_any_trial() -> None:
    told = render_note(_standing([], command="", limits=()))
    assert told.startswith("**search**: imdb lr\n\nRUNNING · no trial yet\n\n")


def test_a_page_lists_the_best_first_and_says_which_validation_a_value_is_from() -> None:
    rows = [
        TrialRecord(0, "finished", {}, (0.808,), {1: 0.808, 2: 0.79}),
        TrialRecord(1, "failed", {}),
        TrialRecord(2, "pruned", {}, (0.5,), {1: 0.5}),
        TrialRecord(3, "finished", {}, (0.825,), {1: 0.825, 2: 0.81}),
        TrialRecord(4, "pruned", {}, (0.6,), {1: 0.6}),
        TrialRecord(5, "running", {}, None, {1: 0.7, 2: 0.68}),
    ]
    text = _page(_standing(rows, keys=[], monitors=["val/accuracy"], modes=["max"]))
    cells = re.findall(r'<tr class="\w+(?: best)?"><td class="n">(\d)</td>', text)
    assert cells == ["3", "0", "4", "2", "1", "5"]
    assert "0.825 <small>best</small>" in text and "0.68 <small>last</small>" in text
    columns = build_trial_columns(rows, keys=[], monitors=["val/accuracy"])
    assert columns["val/accuracy"] == [0.808, None, None, 0.825, None, None]
    assert columns["last"] == [0.79, None, 0.5, 0.81, 0.6, 0.68]


def test_pages_below_a_local_ui_are_told_without_its_port_and_test_values_have_a_column() -> None:
    rows = [
        TrialRecord(0, "finished", {}, (0.8,), {1: 0.8}, {"run_id": "5e" * 16}),
        TrialRecord(1, "running", {}, None, {1: 0.7}, {"run_id": "6f" * 16}),
    ]
    page = "#/experiments/1/runs/{}?workflowType=machine_learning"
    standing = _standing(
        rows,
        keys=[],
        monitors=["val/accuracy"],
        modes=["max"],
        run_url=page.format("1a2b" * 8),
        trial_urls={row.number: page.format(row.attributes["run_id"]) for row in rows},
        test_metric="test/accuracy",
        test_values={0: 0.7654},
    )
    text = _page(standing)
    for run_id in ("1a2b" * 8, "5e" * 16, "6f" * 16):
        assert f">{run_id}</code>" in text
    assert f"<code>{page.format('ID')}</code>, behind the address that" in text
    assert "href" not in text and "127.0.0.1" not in text
    assert '<th class="n">test/accuracy</th>' in text
    assert '<td class="n">0.7654</td>' in text
    assert "test/accuracy" not in _page(replace(standing, test_values={}))


def test_columns_are_of_one_length() -> None:
    rows = trials(20)
    found = build_trial_columns(rows[::-1], keys=KEYS, monitors=["val/loss"])
    assert list(found) == [
        "trial",
        "state",
        "val/loss",
        "last",
        *KEYS,
        "validations",
        "seconds",
        "run_id",
        "reason",
    ]
    assert {len(values) for values in found.values()} == {20}
    assert found["trial"] == list(range(20))
    # pruned
    assert found["val/loss"][1] is None and found["last"][1] == rows[1].intermediate_values[2]
    assert found["reason"][3] == "out of <memory> & more" and found["reason"][0] is None
    assert found["seconds"][0] == 8.0
    assert build_trial_columns([], keys=KEYS, monitors=["val/loss"])["trial"] == []
