"""What test rows that also stand, nearly, in train do to the score: they flatter it where the model
has learnt them by heart.

Shape legend: N rows of the test, K of them with a similar row in train.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from src.evaluation.judgement import Judgement
from src.evaluation.report_page import Section

# of a table
_MOST_ROWS = 50


class RowScores(NamedTuple):
    """What each row adds to a metric that is a mean over rows.

    Args:
        metric: its name, such as accuracy.
        values: [N].
        is_error: whether less is better.
    """

    metric: str
    values: np.ndarray
    is_error: bool = False


def order_by_flattery(
    scores: RowScores, places: np.ndarray, similarity: np.ndarray
) -> tuple[np.ndarray, float | None]:
    """Which of the rows change the score most, and the score of all other rows.

    Args:
        places: [K] where they stand among all rows.
        similarity: [K] to their rows in train; of rows that change it alike, the most similar ones
            come first.

    Returns:
        Indices into `places`, at most 50, and the score without them; None where no other is left.
    """
    others = np.ones(len(scores.values), dtype=bool)
    others[places] = False
    without = float(scores.values[others].mean()) if others.any() else None
    values = scores.values[places].astype(float)
    better = values if scores.is_error else -values
    return np.lexsort((-similarity, better))[:_MOST_ROWS], without


def describe_near_train(
    scores: RowScores, count: int, without: float | None, threshold: float, *, same_words: bool
) -> str:
    """How many rows stand in train and what they do to the score, in words.

    Args:
        count: K.
        without: the score of all other rows.
        same_words: whether only rows of the same words count.
    """
    kind = "have the words of" if same_words else f"are similar (at least {threshold:g}) to"
    said = f"{count:,} of {len(scores.values):,} rows of the test {kind} a row of train"
    if not count:
        return said
    name = scores.metric.replace("_", " ")
    ends = "there are no others" if without is None else f"{without:.4g} without them"
    return f"{said}: {name} {scores.values.mean():.4g} with them, {ends}"


def add_near_train(
    judged: Judgement,
    said: Sequence[str],
    columns: Mapping[str, list],
    *,
    metrics: Mapping[str, float],
) -> None:
    """Add the rows to a report.

    Args:
        said: what `describe_near_train` says, and what else is to be known.
        columns: of their table, the row that flatters most first; empty where there is none.
        metrics: by the names under which they are logged.
    """
    judged.metrics.update(metrics)
    if columns and any(columns.values()):
        judged.tables["near_train"] = dict(columns)
    judged.sections.append(
        Section("Test rows that also stand in train", tuple(said), table="near_train")
    )
