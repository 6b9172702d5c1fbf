"""Which rows of a test are explained, and what is said where none can be."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from src.evaluation.judgement import Answers, Judgement
from src.pipeline.report import probe_explanations as module
from src.pipeline.report.probe_explanations import add_probe_explanations, choose_probe_rows


def make_answers(rows: int = 200) -> Answers:
    confidence = np.linspace(0.5, 1, rows)
    right = np.arange(rows) % 4 > 0
    return Answers(confidence, right, ["a"] * rows, ["a" if one else "b" for one in right])


def test_two_rows_of_each_kind_are_chosen():
    answers = make_answers()
    rows = list(range(1000, 1200))
    chosen = choose_probe_rows(answers, rows, 6)
    kinds = [row.kind for row in chosen]
    assert kinds == ["right and sure"] * 2 + ["wrong and sure"] * 2 + ["unsure"] * 2
    for place, kind in chosen:
        sure, right = answers.confidence[place], answers.right[place]
        assert {
            "right and sure": right and sure >= 0.875,
            "wrong and sure": not right and sure >= 0.745,
            "unsure": sure <= 0.55,
        }[kind]
    assert len({row.place for row in chosen}) == 6


def test_the_order_of_the_answers_changes_nothing():
    answers, rows = make_answers(), list(range(200))
    order = np.random.default_rng(3).permutation(200)
    shuffled = Answers(
        answers.confidence[order],
        answers.right[order],
        answers.truth,
        [answers.predicted[place] for place in order],
    )
    expected = [(rows[place], kind) for place, kind in choose_probe_rows(answers, rows, 6)]
    found = choose_probe_rows(shuffled, order.tolist(), 6)
    assert [(int(order[place]), kind) for place, kind in found] == expected


def test_few_rows_and_no_mistake():
    answers = Answers(np.array([0.9, 0.6, 0.8]), np.array([True] * 3), ["a"] * 3, ["a"] * 3)
    chosen = choose_probe_rows(answers, [5, 6, 7], 6)
    assert [tuple(row) for row in chosen] == [(0, "right and sure"), (1, "unsure")]
    assert choose_probe_rows(answers, [5, 6, 7], 0) == []


@pytest.mark.parametrize("has_captum", [False, True])
def test_why_nothing_is_explained_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_captum: bool
) -> None:
    """Without the package, and of a folder without a model."""
    monkeypatch.setattr(module, "find_spec", lambda name: has_captum or None)
    judged = Judgement({}, {}, {}, [])
    answers = make_answers(4)
    chosen = choose_probe_rows(answers, [0, 1, 2, 3], 3)
    parts: Any = SimpleNamespace()
    texts = dict.fromkeys(range(4), ("a text", None))
    add_probe_explanations(
        parts, judged, answers, chosen, texts, rows=[0, 1, 2, 3], folder=tmp_path
    )
    [section] = judged.sections
    expected = "there are no explanations: " if has_captum else "explanations need captum: pip"
    assert section.lines[0].startswith(expected) and not judged.tables
