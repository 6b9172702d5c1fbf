"""The parts of a report, and those of them that are about single rows: slices, the surest mistakes,
labels that may be wrong.

Shape legend: N rows, C labels.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from src.evaluation import report_plots as plots
from src.evaluation.report_page import Section
from src.evaluation.slices import Slice, describe_largest_gap, tabulate_slices

if TYPE_CHECKING:
    from src.core.pictures import Picture

# of a table
_MOST_LABEL_ERRORS = 500


class Judgement(NamedTuple):
    """Parts of a report.

    Args:
        metrics: by the names under which they are logged.
        tables: columns by table.
        figures: by name.
        sections: of the page, in their order.
    """

    metrics: dict[str, float]
    tables: dict[str, dict[str, list]]
    figures: dict[str, "Picture"]
    sections: list[Section]


class Answers(NamedTuple):
    """What was answered to each row, and whether it is right.

    Args:
        confidence: [N] the probability of what was answered.
        right: [N] bool.
        truth, predicted: [N] names.
    """

    confidence: np.ndarray
    right: np.ndarray
    truth: list[str]
    predicted: list[str]


def add_slices(judged: Judgement, slices: Sequence[Slice], right: np.ndarray) -> str | None:
    """Add the result of every slice; returns the largest gap in words."""
    table = tabulate_slices(slices, right)
    if not table["value"]:
        return None
    gap = describe_largest_gap(table)
    judged.tables["slices"] = table
    judged.figures["slices"] = plots.plot_slices(table, float(right.mean()))
    judged.sections.append(Section("Slices", (gap,) if gap else (), "slices", "slices"))
    return gap


def find_surest_mistakes(answers: Answers, count: int) -> np.ndarray:
    """The places of at most `count` wrong rows, the surest first."""
    wrong = np.flatnonzero(~answers.right)
    return wrong[np.argsort(-answers.confidence[wrong], kind="stable")][:count]


def add_mistakes(
    judged: Judgement,
    answers: Answers,
    places: np.ndarray,
    rows: Sequence[int],
    texts: Mapping[int, tuple[str, str | None]],
) -> None:
    """Add the surest mistakes with their texts.

    Args:
        places: of them among the answers.
        rows: the number of each row of the test, in the source.
        texts: text and second text by that number.
    """
    if not len(places):
        return
    table: dict[str, list] = {
        "row": [rows[place] for place in places],
        "label": [answers.truth[place] for place in places],
        "predicted": [answers.predicted[place] for place in places],
        "confidence": [float(answers.confidence[place]) for place in places],
        "text": [texts.get(rows[place], ("", None))[0] for place in places],
    }
    pairs = [texts.get(rows[place], ("", None))[1] for place in places]
    if any(pair is not None for pair in pairs):
        table["pair"] = pairs
    judged.tables["mistakes"] = table
    lines = ("the wrong answers that the model is surest of; some of their labels may be wrong",)
    judged.sections.append(Section("The surest mistakes", lines, table="mistakes"))


def find_label_errors(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The places of rows whose label may be wrong, the likeliest first, by confident learning
    (Northcutt et al., 2021).

    The model must not have been trained on these rows.

    Args:
        probabilities: [N, C], at the temperature at which they hold best.
        targets: [N] class indices as given, or [N, C] of 0 and 1.

    Raises:
        ValueError: some probabilities are not finite: they would hide errors without a word.
    """
    if not np.isfinite(probabilities).all():
        raise ValueError("some probabilities are not finite")
    if targets.ndim == 2:
        from cleanlab.multilabel_classification.filter import find_label_issues

        # cleanlab refuses a label that all rows have, and a table in which none has any
        differs = (targets != targets[:1]).any(0)
        if differs.sum() < 2:
            # nor does it take a single label for one of several
            if not differs.any():
                return np.array([], dtype=int)
            share = probabilities[:, differs]
            return find_label_errors(np.hstack([1 - share, share]), targets[:, differs][:, 0])
        given = [np.flatnonzero(row).tolist() for row in targets[:, differs]]
        found = find_label_issues(
            given, probabilities[:, differs], return_indices_ranked_by="self_confidence", n_jobs=1
        )
        return np.asarray(found, dtype=int)
    if len(np.unique(targets)) < 2:
        # none but one label was given, so that nothing is known of rows that have another
        return np.array([], dtype=int)
    from cleanlab.filter import find_label_issues

    # a softmax in low precision may miss a sum of 1
    shares = probabilities / probabilities.sum(1, keepdims=True)
    found = find_label_issues(targets, shares, return_indices_ranked_by="self_confidence", n_jobs=1)
    return np.asarray(found, dtype=int)


def add_label_errors(
    judged: Judgement,
    answers: Answers,
    places: np.ndarray,
    rows: Sequence[int],
    texts: Mapping[int, tuple[str, str | None]],
) -> None:
    """Add the rows whose label may be wrong, with their texts.

    Args:
        places: of them among the answers, the likeliest first.
        rows: the number of each row of the test, in the source.
        texts: text and second text by that number.
    """
    judged.metrics["report/suspected_label_errors"] = float(len(places))
    kept = places[:_MOST_LABEL_ERRORS]
    if not len(kept):
        return
    judged.tables["label_errors"] = {
        "row": [rows[place] for place in kept],
        "label": [answers.truth[place] for place in kept],
        "predicted": [answers.predicted[place] for place in kept],
        "confidence": [float(answers.confidence[place]) for place in kept],
        "text": [texts.get(rows[place], ("", None))[0] for place in kept],
    }
    lines = (
        f"{len(places):,} of {len(rows):,} rows, the likeliest first. Of a weak model most are its "
        "own mistakes: a person must look",
    )
    judged.sections.append(Section("Labels that may be wrong", lines, table="label_errors"))
