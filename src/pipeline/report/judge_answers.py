"""The report of a run beyond its metrics: what is judged of the test predictions, and what of the
rows must be read again for it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from src.core.printing import print_line
from src.core.retry import describe_error
from src.pipeline.report.near_train import add_near_train_rows, find_near_train
from src.pipeline.report.probe_explanations import add_probe_explanations, choose_probe_rows
from src.pipeline.run_parts import RunParts

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from torch import Tensor

    from src.evaluation.judgement import Answers, Judgement
    from src.evaluation.near_train import RowScores
    from src.evaluation.report import EvaluationReport
    from src.evaluation.slices import Slice
    from src.model.decision_rule import DecisionRule

_JUDGED_KINDS = ("classification", "multi_label", "regression")


class JudgedAnswers(NamedTuple):
    """The parts of the report, and the texts that were read for it, by the number of the row; None
    if they could not be read.
    """

    parts: "Judgement"
    texts: dict[int, tuple[str, str | None]] | None


def check_report(parts: RunParts) -> None:
    """Raise UserError if the data do not have what `report` names; once they have been read."""
    from src.data.split_rows import check_columns

    config, datamodule = parts.report, parts.datamodule
    config.check_labels(parts.module.objective.kind, len(datamodule.dataset_info.label_names))
    if "test" in datamodule.token_stores:
        source = datamodule.config.source
        check_columns(source, "test", config.slices, key="report.slices")


def judge_answers(
    parts: RunParts,
    objective: Any,
    predictions: "tuple[Tensor, Tensor, Tensor]",
    report: "EvaluationReport",
    rule: "DecisionRule | None",
    folder: "Path | None" = None,
) -> JudgedAnswers | None:
    """Judge the predictions on the test rows.

    A report that cannot be made is said and tagged, and does not end the run: its model is worth
    more.

    Args:
        folder: the model, if its answers are to be explained.

    Returns:
        None if the kind of objective has no such report, or it cannot be made.
    """
    if objective.kind not in _JUDGED_KINDS:
        return None
    try:
        return _judge(parts, objective, predictions, report, rule, folder)
    except Exception as error:
        reason = f"report/ has no page: {describe_error(error)}"
        print_line(reason)
        parts.record.set_tag("report/failure", reason)
        return None


def _judge(
    parts: RunParts,
    objective: Any,
    predictions: "tuple[Tensor, Tensor, Tensor]",
    report: "EvaluationReport",
    rule: "DecisionRule | None",
    folder: "Path | None",
) -> JudgedAnswers:
    from src.evaluation.judgement import (
        add_label_errors,
        add_mistakes,
        add_slices,
        find_surest_mistakes,
    )
    from src.pipeline.report.row_texts import read_test_rows, shorten

    judged, answers = _judge_outputs(parts, objective, predictions, report, rule)
    rows = predictions[0].tolist()
    near = find_near_train(parts, rows, _score_rows(answers, predictions))
    if answers is None:
        found = read_test_rows(parts, near.rows if near is not None else ())
        if near is not None:
            add_near_train_rows(parts, judged, near, {} if found is None else found.texts, None)
        return JudgedAnswers(judged, None if found is None else found.texts)
    mistakes = find_surest_mistakes(answers, parts.report.mistakes)
    suspects = _find_suspects(parts, predictions, rule)
    further = [rows[place] for place in (*mistakes, *(() if suspects is None else suspects))]
    probes = choose_probe_rows(answers, rows, parts.report.explanations) if folder else []
    shown_elsewhere = [
        *(near.rows if near is not None else ()),
        *(rows[row.place] for row in probes),
    ]
    found = read_test_rows(parts, [*further, *shown_elsewhere])
    texts = {} if found is None else found.texts
    shown = {row: (shorten(texts[row][0]), texts[row][1]) for row in further if row in texts}
    if gap := add_slices(judged, [*_cut_rows(parts, rows, found)], answers.right):
        parts.record.set_tag("report/largest_gap", gap)
    add_mistakes(judged, answers, mistakes, rows, shown)
    if suspects is not None:
        add_label_errors(judged, answers, suspects, rows, shown)
    if near is not None:
        add_near_train_rows(parts, judged, near, texts, answers)
    if folder is not None:
        add_probe_explanations(parts, judged, answers, probes, texts, rows=rows, folder=folder)
    return JudgedAnswers(judged, None if found is None else texts)


def _judge_outputs(
    parts: RunParts,
    objective: Any,
    predictions: "tuple[Tensor, Tensor, Tensor]",
    report: "EvaluationReport",
    rule: "DecisionRule | None",
) -> "tuple[Judgement, Answers | None]":
    """The judgement of all rows together, and the answers to single ones if these are right or
    wrong.
    """
    from src.evaluation.probability_judgement import judge_classes, judge_labels
    from src.evaluation.report import Predictions
    from src.evaluation.value_judgement import judge_values
    from src.model.decision_rule import DecisionRule

    rows, targets, outputs = (values.detach().cpu() for values in predictions)
    rule = rule or DecisionRule()
    names, tables = parts.datamodule.dataset_info.label_names, report.tables
    if objective.kind == "regression":
        return judge_values(Predictions(rows, targets, outputs)), None
    judged = Predictions(rows, targets.long(), outputs.float().clamp(0, 1))
    if objective.kind == "multi_label":
        answers = tables["predictions"]["label"], tables["predictions"]["predicted"]
        return judge_labels(judged, names, tables["per_class"], answers, rule=rule)
    return judge_classes(
        judged, names, tables["per_class"], ordered=objective.head == "ordinal", rule=rule
    )


def _score_rows(
    answers: "Answers | None", predictions: "tuple[Tensor, Tensor, Tensor]"
) -> "RowScores":
    """What every row adds to the metric that leads: accuracy, or the mean absolute error."""
    from src.evaluation.near_train import RowScores

    _, targets, outputs = predictions
    if answers is not None:
        return RowScores("subset_accuracy" if targets.ndim == 2 else "accuracy", answers.right)
    return RowScores("mae", (outputs.cpu().double() - targets.cpu()).abs().numpy(), is_error=True)


def _find_suspects(
    parts: RunParts, predictions: "tuple[Tensor, Tensor, Tensor]", rule: "DecisionRule | None"
) -> "np.ndarray | None":
    """The places of rows whose label may be wrong; None if that is not asked for."""
    if not parts.report.label_errors:
        return None
    from src.evaluation.calibration import apply_temperature
    from src.evaluation.judgement import find_label_errors

    _, targets, outputs = predictions
    temperature = 1.0 if rule is None else rule.temperature
    tempered = apply_temperature(outputs.float(), temperature, many=targets.ndim == 2)
    return find_label_errors(tempered.numpy(), targets.long().numpy())


def _cut_rows(parts: RunParts, rows: list[int], found: Any) -> "Iterator[Slice]":
    """Slices of the test rows by their length and by the columns that the config names.

    Args:
        rows: the number of each row that was answered.
        found: what was read of the rows; None if nothing could be.
    """
    import numpy as np

    from src.evaluation.slices import cut_by_column, cut_by_length

    store = parts.datamodule.token_stores["test"]
    lengths = dict(zip(store.identities.tolist(), np.diff(store.offsets).tolist(), strict=True))
    yield from cut_by_length(np.array([lengths[row] for row in rows]))
    for name, values in found.columns.items() if found is not None else ():
        yield from cut_by_column(name, [values.get(row) for row in rows])
