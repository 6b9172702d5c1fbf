"""What a report says beyond metrics, on answers whose judgement is known."""

from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from src.core.user_errors import UserError
from src.evaluation.judgement import (
    add_label_errors,
    add_mistakes,
    add_slices,
    find_label_errors,
    find_surest_mistakes,
)
from src.evaluation.probability_judgement import judge_classes, judge_labels
from src.evaluation.report import (
    Predictions,
    build_classification_report,
    build_multi_label_report,
    build_regression_report,
)
from src.evaluation.report_config import ReportConfig
from src.evaluation.report_page import Section, render_page
from src.evaluation.report_plots import draw_picture
from src.evaluation.slices import cut_by_column
from src.evaluation.value_judgement import bootstrap_values, judge_values
from src.model.decision_rule import DecisionRule

NAMES = ["no", "yes"]


def draw_answers(rows: int, classes: int) -> Predictions:
    generator = torch.Generator().manual_seed(1)
    outputs = torch.randn(rows, classes, generator=generator) * 2
    truths = torch.multinomial(outputs.softmax(1), 1, generator=generator)[:, 0]
    return Predictions(torch.arange(rows) + 10, truths, (outputs * 2).softmax(1))


def test_classes_are_judged_as_the_report_measures_them():
    predictions = draw_answers(400, 3)
    report = build_classification_report(predictions, ["a", "b", "c"])
    judged, answers = judge_classes(
        predictions,
        ["a", "b", "c"],
        report.tables["per_class"],
        ordered=False,
        rule=DecisionRule(temperature=2.0),
    )
    whole = judged.tables["intervals"]
    values = dict(zip(whole["metric"], whole["value"], strict=True))
    assert values == pytest.approx(
        {
            "accuracy": report.metrics["accuracy"],
            "balanced_accuracy": report.metrics["recall_macro"],
            "f1_macro": report.metrics["f1_macro"],
            "matthews": report.metrics["matthews"],
        },
        abs=1e-6,
    )
    for low, value, high in zip(whole["low"], whole["value"], whole["high"], strict=True):
        assert value - 0.08 < low < value < high < value + 0.08
    per_class = judged.tables["per_class"]
    assert per_class["recall"] == report.tables["per_class"]["recall"]
    assert all(
        low < value < high
        for name in ("precision", "recall", "f1")
        for low, value, high in zip(
            per_class[f"{name}_low"], per_class[name], per_class[f"{name}_high"], strict=True
        )
    )
    # answers that are twice as sure as they should be
    assert judged.metrics["calibration/test/error_tempered"] < 0.05
    assert judged.metrics["calibration/test/error"] > 0.1
    assert judged.tables["calibration"]["temperature"] == [1.0, 2.0]
    assert answers.right.mean() == pytest.approx(report.metrics["accuracy"])
    assert set(judged.figures) == {"curves", "confidence"}
    assert set(judged.tables["curves"]["label"]) == {"a", "b", "c"}


def test_thresholds_are_judged_beside_the_likeliest_label():
    probabilities = torch.tensor([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7], [0.65, 0.35]])
    predictions = Predictions(torch.arange(4), torch.tensor([0, 1, 1, 0]), probabilities)
    report = build_classification_report(predictions, NAMES)
    rule = DecisionRule(thresholds=(0.7, 0.3), aim="f1")
    judged, _ = judge_classes(
        predictions, NAMES, report.tables["per_class"], ordered=False, rule=rule
    )
    table = judged.tables["decision"]
    assert table["decision"] == ["likeliest label", "thresholds for f1"]
    assert table["recall of yes"] == [0.5, 1.0]
    assert table["precision of yes"] == [1.0, pytest.approx(2 / 3)]
    assert judged.metrics["decision/test/accuracy"] == 0.75


def test_labels_are_judged_by_themselves():
    probabilities = torch.tensor([[0.9, 0.2], [0.4, 0.2], [0.2, 0.8], [0.1, 0.4]])
    targets = torch.tensor([[1, 0], [1, 0], [0, 1], [0, 1]])
    predictions = Predictions(torch.arange(4), targets, probabilities)
    report = build_multi_label_report(predictions, NAMES)
    filed = report.tables["predictions"]
    judged, answers = judge_labels(
        predictions,
        NAMES,
        report.tables["per_class"],
        (filed["label"], filed["predicted"]),
        rule=DecisionRule(thresholds=(0.3, 0.3), aim="f1"),
    )
    assert judged.tables["decision"]["f1 at one half"] == [pytest.approx(2 / 3)] * 2
    assert judged.tables["decision"]["f1 at threshold"] == [1.0, 1.0]
    assert answers.right.tolist() == [True, False, True, False]
    assert answers.confidence.tolist() == pytest.approx([0.8, 0.6, 0.8, 0.6])
    assert judged.tables["per_class"]["average_precision"] == [1.0, 1.0]


def test_the_surest_mistakes_come_first_with_their_texts():
    probabilities = torch.tensor([[0.6, 0.4], [0.1, 0.9], [0.2, 0.8], [0.9, 0.1]])
    predictions = Predictions(torch.arange(4) + 7, torch.tensor([1, 0, 1, 0]), probabilities)
    report = build_classification_report(predictions, NAMES)
    judged, answers = judge_classes(
        predictions, NAMES, report.tables["per_class"], ordered=False, rule=DecisionRule()
    )
    places = find_surest_mistakes(answers, 50)
    assert places.tolist() == [1, 0]
    assert find_surest_mistakes(answers, 1).tolist() == [1]
    rows = predictions.rows.tolist()
    add_mistakes(judged, answers, places, rows, {8: ("<b>a text</b>", None), 7: ("b", None)})
    table = judged.tables["mistakes"]
    assert table["row"] == [8, 7]
    assert table["predicted"] == ["yes", "no"]
    assert table["text"] == ["<b>a text</b>", "b"]
    gap = add_slices(judged, cut_by_column("group", ["a", "b", "a", "b"]), answers.right)
    # too few rows to name
    assert gap is None
    page = render_page("a run", "accuracy 0.5", judged.sections, judged.tables, {})
    assert "&lt;b&gt;a text&lt;/b&gt;" in page
    assert "<b>a text" not in page


def test_flipped_labels_are_found_and_broken_probabilities_refused():
    pytest.importorskip("cleanlab")
    generator = np.random.default_rng(1)
    truths = generator.integers(3, size=600)
    flipped = generator.choice(600, size=30, replace=False)
    given = truths.copy()
    given[flipped] = (truths[flipped] + 1) % 3
    probabilities = np.full((600, 3), 0.05)
    probabilities[np.arange(600), truths] = 0.9
    found = find_label_errors(probabilities, given)
    assert set(found) == set(flipped)
    predictions = Predictions(
        torch.arange(600), torch.from_numpy(given), torch.from_numpy(probabilities).float()
    )
    report = build_classification_report(predictions, ["a", "b", "c"])
    judged, answers = judge_classes(
        predictions,
        ["a", "b", "c"],
        report.tables["per_class"],
        ordered=False,
        rule=DecisionRule(),
    )
    add_label_errors(judged, answers, found, list(range(600)), {})
    assert judged.metrics["report/suspected_label_errors"] == 30
    assert sorted(judged.tables["label_errors"]["row"]) == sorted(flipped)
    broken = probabilities.copy()
    broken[0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        find_label_errors(broken, given)


def test_without_the_package_wrong_labels_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="label-errors"):
        ReportConfig(label_errors=True).check()
    ReportConfig().check()


def test_values_have_the_intervals_of_scipy():
    from scipy.stats import bootstrap

    generator = np.random.default_rng(1)
    targets = generator.normal(3, 1, 200)
    outputs = targets + generator.normal(0.1, 0.6, 200)
    ours = bootstrap_values(targets, outputs)

    def correlate(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.corrcoef(x, y)[0, 1])

    theirs = bootstrap(
        (targets, outputs),
        correlate,
        paired=True,
        vectorized=False,
        n_resamples=1000,
        rng=generator,
    ).confidence_interval
    assert ours[2] == pytest.approx((theirs.low, theirs.high), abs=0.01)
    misses = (np.abs(targets - outputs),)
    theirs = bootstrap(misses, np.mean, n_resamples=1000, rng=generator).confidence_interval
    assert ours[0] == pytest.approx((theirs.low, theirs.high), abs=0.01)
    values = [torch.from_numpy(part).float() for part in (targets, outputs)]
    predictions = Predictions(torch.arange(200), *values)
    report = build_regression_report(predictions)
    table = judge_values(predictions).tables["intervals"]
    assert table["metric"] == ["mae", "rmse", "pearson"]
    expected = [report.metrics[name] for name in table["metric"]]
    assert table["value"] == pytest.approx(expected, abs=1e-5)
    constant = judge_values(Predictions(torch.arange(3), torch.ones(3), torch.zeros(3)))
    assert constant.tables["intervals"]["metric"] == ["mae", "rmse"]


class _Addresses(HTMLParser):
    """Everything that a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [str(value) for name, value in attrs if name in ("src", "href")]
        assert tag not in ("script", "link", "iframe")


def test_the_page_holds_its_pictures_and_loads_nothing():
    predictions = draw_answers(60, 2)
    report = build_classification_report(predictions, NAMES)
    judged, _ = judge_classes(
        predictions, NAMES, report.tables["per_class"], ordered=False, rule=DecisionRule()
    )
    pictures = {name: draw_picture(figure) for name, figure in judged.figures.items()}
    assert all(picture.startswith(b"\x89PNG") for picture in pictures.values())
    tables = judged.tables | {"many": {"number": list(range(200)), "name": ["x"] * 200}}
    sections = [*judged.sections, Section("Many", table="many")]
    page = render_page("run <1>", "accuracy 0.5", sections, tables, pictures)
    reader = _Addresses()
    reader.feed(page)
    assert len(reader.found) == len(pictures)
    assert all(address.startswith("data:image/png;base64,") for address in reader.found)
    assert "run &lt;1&gt;" in page
    assert "prefers-color-scheme: dark" in page
    assert "140 more rows stand in many.json" in page


@pytest.mark.parametrize(
    "targets",
    [
        [[0, 0, 0]] * 4,
        [[1, 0, 1]],
        [[1, 0, 1], [0, 1, 1], [1, 1, 1], [0, 0, 1]],
        [1, 1, 1],
        [0],
    ],
)
def test_label_errors_are_sought_where_labels_differ(targets: list) -> None:
    given = np.array(targets)
    shares = np.eye(2)[given] if given.ndim == 1 else given
    found = find_label_errors(0.8 * shares.astype(np.float32) + 0.1, given)
    assert found.dtype.kind == "i" and not len(found)


def test_a_label_that_all_rows_have_hides_no_error_of_another() -> None:
    targets = np.tile([[1, 0, 1], [0, 1, 1]], (10, 1))
    probabilities = 0.8 * targets + 0.1
    probabilities[3] = [0.9, 0.1, 0.9]
    assert find_label_errors(probabilities, targets).tolist() == [3]
    # of one label alone that differs
    assert find_label_errors(probabilities[:, 1:], targets[:, 1:]).tolist() == [3]
