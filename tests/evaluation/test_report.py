"""Reports against numbers worked out by hand, and against the definitions on random predictions."""

import io
import math

import pytest
import torch

from src.evaluation.report import (
    Predictions,
    build_classification_report,
    build_multi_label_report,
    build_regression_report,
    build_report,
)


def of_classes(targets: list[int], outputs: list[list[float]]) -> Predictions:
    return Predictions(
        torch.arange(len(targets)) + 100, torch.tensor(targets), torch.tensor(outputs)
    )


def of_values(targets: list[float], outputs: list[float]) -> Predictions:
    return Predictions(torch.arange(len(targets)), torch.tensor(targets), torch.tensor(outputs))


def drawn(figure) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def test_two_classes_by_hand():
    # truth 0 0 0 1 1, predicted 0 0 1 1 0
    predictions = of_classes(
        [0, 0, 0, 1, 1], [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6], [0.75, 0.25]]
    )
    report = build_classification_report(predictions, ["bad", "good"])
    assert report.metrics == pytest.approx(
        {
            "accuracy": 3 / 5,
            "precision_macro": (2 / 3 + 1 / 2) / 2,
            "recall_macro": (2 / 3 + 1 / 2) / 2,
            "f1_macro": (2 / 3 + 1 / 2) / 2,
            # pairs (good, bad) in the right order: 0.6 beats 0.1 and 0.2, 0.25 beats 0.1 and 0.2
            "auroc": 4 / 6,
            # (1 * 2 - 1 * 1) / (2 * 3)
            "matthews": 1 / 6,
            "support": 5,
        },
        abs=1e-6,
    )
    assert report.tables["confusion_matrix"] == {
        "truth": ["bad", "good"],
        "predicted_bad": [2, 1],
        "predicted_good": [1, 1],
    }
    per_class = report.tables["per_class"]
    assert per_class["label"] == ["bad", "good"]
    assert per_class["support"] == [3, 2]
    assert per_class["precision"] == pytest.approx([2 / 3, 1 / 2])
    table = report.tables["predictions"]
    assert list(table) == [
        *("row", "label", "predicted", "loss", "probability_bad", "probability_good")
    ]
    own = [table[f"probability_{label}"][row] for row, label in enumerate(table["label"])]
    assert table["loss"] == pytest.approx([-math.log(share) for share in own])
    assert table["row"] == [100, 101, 102, 103, 104]
    assert table["label"] == ["bad", "bad", "bad", "good", "good"]
    assert table["predicted"] == ["bad", "bad", "good", "good", "bad"]
    assert table["probability_good"] == pytest.approx([0.1, 0.2, 0.7, 0.6, 0.25])


def test_a_class_that_never_occurs_is_left_out_not_invented():
    predictions = of_classes([0, 0, 1], [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.2, 0.7, 0.1]])
    report = build_classification_report(predictions, ["a", "b", "c"])
    assert "auroc" not in report.metrics
    assert report.metrics["precision_macro"] == pytest.approx((1 + 1 / 2) / 2)
    assert report.metrics["recall_macro"] == pytest.approx((1 / 2 + 1) / 2)
    assert report.tables["per_class"]["precision"] == [1.0, 0.5, None]
    assert report.tables["per_class"]["f1"][2] is None
    assert report.tables["per_class"]["support"] == [2, 1, 0]
    # an empty row has no shares, and needs none
    drawn(report.figures["confusion_matrix"])


def test_a_class_that_is_never_predicted_counts_as_nought():
    report = build_classification_report(of_classes([0, 1], [[0.9, 0.1], [0.6, 0.4]]), ["a", "b"])
    assert report.tables["per_class"]["precision"] == [0.5, 0.0]
    # all predictions are equal
    assert "matthews" not in report.metrics
    assert report.metrics["precision_macro"] == pytest.approx(0.25)
    assert report.metrics["auroc"] == 1


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_agrees_with_the_definitions_on_random_predictions(classes):
    generator = torch.Generator().manual_seed(classes)
    outputs = torch.rand(200, classes, generator=generator).softmax(1)
    targets = torch.randint(classes, (200,), generator=generator)
    report = build_classification_report(
        Predictions(torch.arange(200), targets, outputs), [f"c{i}" for i in range(classes)]
    )

    guesses = outputs.argmax(1).tolist()
    pairs = list(zip(targets.tolist(), guesses, strict=True))
    precision, recall, f1, areas = [], [], [], []
    for label in range(classes):
        hit = sum(t == g == label for t, g in pairs)
        false_alarm = sum(g == label != t for t, g in pairs)
        missed = sum(t == label != g for t, g in pairs)
        precision.append(hit / max(hit + false_alarm, 1))
        recall.append(hit / max(hit + missed, 1))
        f1.append(2 * hit / max(2 * hit + false_alarm + missed, 1))
        inside, outside = outputs[targets == label, label], outputs[targets != label, label]
        areas.append((inside[:, None] > outside[None]).double().mean().item())
    true, said = torch.bincount(targets, minlength=classes), torch.bincount(outputs.argmax(1))
    said = torch.nn.functional.pad(said, (0, classes - len(said)))
    above = 200 * sum(t == g for t, g in pairs) - int((true * said).sum())
    below = (200**2 - int((true**2).sum())) * (200**2 - int((said**2).sum()))
    assert report.metrics == pytest.approx(
        {
            "accuracy": sum(t == g for t, g in pairs) / 200,
            "precision_macro": sum(precision) / classes,
            "recall_macro": sum(recall) / classes,
            "f1_macro": sum(f1) / classes,
            "auroc": areas[1] if classes == 2 else sum(areas) / classes,
            "matthews": above / below**0.5,
            "support": 200,
        },
        abs=1e-6,
    )
    assert report.tables["per_class"]["recall"] == pytest.approx(recall)
    assert report.tables["confusion_matrix"]["predicted_c1"] == [
        pairs.count((t, 1)) for t in range(classes)
    ]


def test_columns_hold_no_dots_and_stay_apart():
    report = build_classification_report(
        of_classes([0, 1], [[0.9, 0.1], [0.2, 0.8]]), ["comp.os", "comp_os"]
    )
    columns = [name for table in report.tables.values() for name in table]
    assert not [name for name in columns if "." in name]
    assert list(report.tables["predictions"])[4:] == [
        "probability_comp_os",
        "probability_comp_os_1",
    ]
    assert report.tables["per_class"]["label"] == ["comp.os", "comp_os"]


def test_half_precision_probabilities_are_probabilities():
    outputs = (
        torch.tensor([[3.0, -2.0, 0.5], [0.1, 4.0, 1.0], [0.0, 1.0, 2.0]]).bfloat16().softmax(1)
    )
    report = build_classification_report(
        Predictions(torch.arange(3), torch.arange(3), outputs), ["a", "b", "c"]
    )
    assert report.metrics["accuracy"] == 1


@pytest.mark.parametrize(
    ("targets", "outputs", "message"),
    [
        ([0, 1], [[0.5, 0.5]], "as many targets"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], "targets run from 0 to 2"),
        ([0, 1], [[0.2, 0.3, 0.5], [0.2, 0.3, 0.5]], r"shape \[N, 2\]"),
        ([0, 1], [[2.0, -1.0], [0.5, 0.5]], "no probabilities"),
        ([0, 1], [[float("nan"), 0.5], [0.5, 0.5]], "not finite"),
    ],
)
def test_refuses_what_does_not_fit(targets, outputs, message):
    predictions = Predictions(torch.arange(2), torch.tensor(targets), torch.tensor(outputs))
    with pytest.raises(ValueError, match=message):
        build_classification_report(predictions, ["a", "b"])


def test_refuses_no_rows():
    with pytest.raises(ValueError, match="at least one row"):
        build_classification_report(
            Predictions(torch.arange(0), torch.arange(0), torch.zeros(0, 2)), ["a", "b"]
        )


@pytest.mark.parametrize("classes", [2, 12, 30, 50])
def test_confusion_figure_draws_for_few_and_many_classes(classes):
    targets = torch.arange(classes).repeat(3)
    outputs = torch.eye(classes)[targets]
    names = [f"${i}_ a rather long label name, in words" for i in range(classes)]
    report = build_classification_report(
        Predictions(torch.arange(len(targets)), targets, outputs), names
    )
    figure = report.figures["confusion_matrix"]
    written = [text.get_text() for text in figure.axes[0].texts]
    assert written.count("3\n100%") == (classes if classes <= 40 else 0)
    assert drawn(figure).startswith(b"\x89PNG")


def test_regression_by_hand():
    # errors 1, 0, 0, -3
    report = build_regression_report(of_values([1.0, 2.0, 2.0, 4.0], [2.0, 2.0, 2.0, 1.0]))
    assert report.metrics["mae"] == pytest.approx(1)
    assert report.metrics["rmse"] == pytest.approx(math.sqrt(10 / 4))
    # centred truth -1.25 -.25 -.25 1.75, predictions .25 .25 .25 -.75
    assert report.metrics["pearson"] == pytest.approx(-1.75 / math.sqrt(4.75 * 0.75))
    # ranks 1 2.5 2.5 4 and 3 3 3 1, centred -1.5 0 0 1.5 and .5 .5 .5 -1.5
    assert report.metrics["spearman"] == pytest.approx(-3 / math.sqrt(4.5 * 3))
    assert report.metrics["support"] == 4
    assert report.tables["predictions"] == {
        "row": [0, 1, 2, 3],
        "label": [1.0, 2.0, 2.0, 4.0],
        "predicted": [2.0, 2.0, 2.0, 1.0],
    }
    assert drawn(report.figures["scatter"]).startswith(b"\x89PNG")


def test_a_perfect_order_of_two_rows_is_exactly_one():
    metrics = build_regression_report(of_values([0.0, 1.0], [5.0, 9.0])).metrics
    assert metrics["spearman"] == pytest.approx(1, abs=1e-12)
    assert metrics["pearson"] == pytest.approx(1, abs=1e-12)


def test_one_outlier_among_thousands_still_correlates():
    values = torch.zeros(20_000)
    values[7] = 1e6
    report = build_regression_report(Predictions(torch.arange(20_000), values, values * 3 + 1))
    assert report.metrics["pearson"] == pytest.approx(1)


def test_correlation_of_a_constant_is_left_out():
    report = build_regression_report(of_values([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]))
    assert set(report.metrics) == {"mae", "rmse", "support"}
    drawn(report.figures["scatter"])


def test_regression_refuses_class_outputs():
    with pytest.raises(ValueError, match=r"shape \[N\]"):
        build_regression_report(of_classes([0, 1], [[0.5, 0.5], [0.5, 0.5]]))


# -- several labels


def of_label_sets(targets: list[list[int]], outputs: list[list[float]]) -> Predictions:
    return Predictions(
        torch.arange(len(targets)), torch.tensor(targets, dtype=torch.uint8), torch.tensor(outputs)
    )


def test_several_labels_by_hand():
    # truth {a}, {a, b}, {}, {b}; predicted {a}, {b}, {a}, {b}; nobody has or gets c
    predictions = of_label_sets(
        [[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]],
        [[0.9, 0.1, 0.1], [0.4, 0.8, 0.2], [0.6, 0.3, 0.0], [0.1, 0.7, 0.5]],
    )
    report = build_report("multi_label", tuple(predictions), ["a", "b", "c"])
    assert report is not None
    assert report.metrics == pytest.approx(
        {
            "precision_micro": 3 / 4,
            "recall_micro": 3 / 4,
            "f1_micro": 3 / 4,
            "precision_macro": (1 / 2 + 1 + 0) / 3,
            "recall_macro": (1 / 2 + 1 + 0) / 3,
            "f1_macro": (1 / 2 + 1 + 0) / 3,
            "subset_accuracy": 2 / 4,
            # of a: right at the first and the third place; of b: at the first two
            "average_precision": ((1 / 2 * 1 + 1 / 2 * 2 / 3) + 1) / 2,
            "support": 4,
        },
        abs=1e-6,
    )
    per_class = report.tables["per_class"]
    assert per_class["f1"] == [0.5, 1.0, None]
    assert per_class["average_precision"] == [pytest.approx(5 / 6), 1.0, None]
    assert (per_class["support"], per_class["predicted"]) == ([2, 2, 0], [2, 2, 0])
    table = report.tables["predictions"]
    assert table["label"] == ["a", "a, b", "", "b"]
    assert table["predicted"] == ["a", "b", "a", "b"]
    assert table["probability_c"] == pytest.approx([0.1, 0.2, 0.0, 0.5])


def test_several_labels_without_any():
    report = build_multi_label_report(of_label_sets([[0, 0]], [[0.2, 0.1]]), ["a", "b"])
    assert "average_precision" not in report.metrics
    assert report.metrics["subset_accuracy"] == 1


@pytest.mark.parametrize(
    ("targets", "outputs", "message"),
    [
        ([[1, 0]], [[2.0, 0.1]], "no probabilities"),
        ([[1, 0]], [[0.2, 0.1, 0.3]], "shape"),
        ([[1, 0]], [[math.nan, 0.1]], "not finite"),
    ],
)
def test_predictions_of_several_labels_that_do_not_fit(targets, outputs, message):
    with pytest.raises(ValueError, match=message):
        build_multi_label_report(of_label_sets(targets, outputs), ["a", "b"])


def test_classes_in_an_order_are_judged_by_their_distance():
    """The median of 0.4, 0.25, 0.35 is class 1. Squared distances 1 and 1 of 4 rows; by chance, the
    sum over all pairs of a prediction (1 0 2 1) and a truth (1 0 1 2), divided by 4, is 13 / 4.
    """
    outputs = [[0.4, 0.25, 0.35], [0.8, 0.1, 0.1], [0.1, 0.2, 0.7], [0.2, 0.7, 0.1]]
    predictions = (torch.arange(4), torch.tensor([1, 0, 1, 2]), torch.tensor(outputs))
    report = build_report("classification", predictions, ["a", "b", "c"], head="ordinal")
    assert report.tables["predictions"]["predicted"] == ["b", "a", "c", "b"]
    chance = sum((one - other) ** 2 for one in (1, 0, 2, 1) for other in (1, 0, 1, 2)) / 4
    assert report.metrics["mae"] == pytest.approx(2 / 4)
    assert report.metrics["accuracy"] == pytest.approx(2 / 4)
    assert report.metrics["quadratic_kappa"] == pytest.approx(1 - 2 / chance)
    assert report.metrics["spearman"] == pytest.approx(1.5 / math.sqrt(5 * 4.5))
    same = (torch.arange(2), torch.tensor([1, 1]), torch.tensor([[0.1, 0.8, 0.1]] * 2))
    judged = build_report("classification", same, ["a", "b", "c"], head="ordinal").metrics
    assert "spearman" not in judged and "quadratic_kappa" not in judged
