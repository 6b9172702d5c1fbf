"""What a run says and records of held-out texts that its encoder was trained on."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from src.core.user_errors import UserError
from src.data.preparation.cleaning import Cleaning
from src.pipeline.report import leakage as module
from src.pipeline.report.leakage import record_leakage

CHAIN = {
    "run2": "init_from: run1\ndata: {name: labelled}",
    "run1": "data: {name: texts}",
}


class Recorded:
    """A record that remembers."""

    def __init__(self) -> None:
        self.tags: dict[str, str] = {}
        self.metrics: dict[str, float] = {}

    def set_tag(self, key: str, value: str) -> None:
        self.tags[key] = value

    def log_metrics(self, values: dict[str, float]) -> None:
        self.metrics |= values


def record(
    found: dict[str, Any], monkeypatch: pytest.MonkeyPatch, near: float | None = None
) -> Recorded:
    """The record of a run from run2, which comes from run1.

    Args:
        found: by the data of these runs what of test stands there, or the error of looking.
    """

    def find_repeated_rows(data: dict[str, str]) -> dict[str, np.ndarray]:
        levels = found[data["name"]]
        if isinstance(levels, Exception):
            raise levels
        return {"test": np.array(levels, dtype=np.uint8)}

    monkeypatch.setattr(module, "build_node", lambda node: node)
    recorded = Recorded()
    parts: Any = SimpleNamespace(
        config={"init_from": "run2"},
        record=recorded,
        store=SimpleNamespace(load_config_yaml=lambda run_id, key: CHAIN[run_id]),
        datamodule=SimpleNamespace(
            data_summary={"leakage": {"exact": {"test": 3}, "near": {}}},
            config=SimpleNamespace(cleaning=Cleaning(near_duplicates=near)),
            find_repeated_rows=find_repeated_rows,
        ),
    )
    record_leakage(parts)
    return recorded


def test_a_row_that_stands_in_any_earlier_run_counts_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    found = {"labelled": [2, 0, 0, 1], "texts": [2, 2, 0, 0]}
    recorded = record(found, monkeypatch, near=0.8)
    assert recorded.metrics == {
        "data/leakage/test_in_train": 3,
        "data/leakage/test_in_pretraining": 2,
        "data/leakage/test_nearly_in_pretraining": 3,
    }
    said = (
        "leakage: 2 of 4 rows of test stand in what the encoder was trained on before\n"
        "leakage: 3 of 4 rows of test stand or nearly stand in what the encoder was\n"
        "  trained on before\n"
    )
    assert capfd.readouterr().out == said
    assert recorded.tags == {"data/leakage": said.replace("\n  ", " ").rstrip()}


def test_nothing_is_said_where_nothing_leaks(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    recorded = record({"labelled": [0, 0], "texts": [0, 0]}, monkeypatch)
    assert recorded.metrics == {
        "data/leakage/test_in_train": 3,
        "data/leakage/test_in_pretraining": 0,
    }
    assert recorded.tags == {} and capfd.readouterr().out == ""


def test_data_of_an_earlier_run_that_are_gone(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gone = UserError("no such file", key="data.source.path", value="old")
    recorded = record({"labelled": [0, 2], "texts": gone}, monkeypatch)
    assert recorded.metrics["data/leakage/test_in_pretraining"] == 1
    said = recorded.tags["data/leakage"].splitlines()[1]
    assert said == (
        "leakage: what run run1 was trained on cannot be looked through for held-out texts: "
        "data.source.path=old: no such file"
    )
    record({"labelled": gone, "texts": gone}, monkeypatch)
    assert capfd.readouterr().out.count("cannot be looked through") == 3
