"""The part of a report on test rows that also stand, nearly, in train: finds them, reads the texts
of both again and says what they do to the score.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from src.core.retry import describe_error
from src.pipeline.report.row_texts import shorten
from src.pipeline.run_parts import RunParts

if TYPE_CHECKING:
    from src.data.near_train_rows import NearTrainRows
    from src.evaluation.judgement import Answers, Judgement
    from src.evaluation.near_train import RowScores

_EXTRA = (
    "nearly equal rows are looked for with the package datasketch "
    "(pip install -e '.[near-duplicates]')"
)


class ShownRows(NamedTuple):
    """Test rows that stand in train, those that flatter the score most first.

    Args:
        places: of the shown ones among all rows that were answered.
        rows, neighbours: their numbers, and those of their rows in train.
        similarity: of both.
        said: what is to be known of all.
        metrics: of all.
    """

    places: list[int]
    rows: list[int]
    neighbours: list[int]
    similarity: list[float]
    said: list[str]
    metrics: dict[str, float]


def find_near_train(parts: RunParts, rows: list[int], scores: "RowScores") -> ShownRows | None:
    """Find the rows to show; None if they are not to be looked for.

    Args:
        rows: the number of each row that was answered, in the source.
        scores: what each of them adds to the score.
    """
    threshold = parts.report.near_train
    if threshold is None:
        return None
    try:
        found: NearTrainRows = parts.datamodule.find_near_train_rows(threshold)
    except Exception as error:
        # the source may be gone by now, and the rest of the report is worth more
        reason = f"test rows that stand in train cannot be looked for: {describe_error(error)}"
        return ShownRows([], [], [], [], [reason], {})
    return _choose_rows(found, rows, scores, threshold)


def _choose_rows(
    found: "NearTrainRows", rows: list[int], scores: "RowScores", threshold: float
) -> ShownRows:
    import numpy as np

    from src.evaluation.near_train import describe_near_train, order_by_flattery

    place_of = {row: place for place, row in enumerate(rows)}
    answered = np.array([row in place_of for row in found.rows.tolist()], dtype=bool)
    numbers = found.rows[answered].tolist()
    neighbours, similarity = found.neighbours[answered], found.similarity[answered]
    places = np.array([place_of[row] for row in numbers], dtype=int)
    order, without = order_by_flattery(scores, places, similarity)
    said = [
        describe_near_train(scores, len(places), without, threshold, same_words=found.same_words)
    ]
    metrics = {"report/near_train_rows": float(len(places))}
    if len(places) and without is not None:
        metrics[f"report/{scores.metric}_without_near_train"] = without
    if found.same_words:
        said.append(_EXTRA)
    return ShownRows(
        places[order].tolist(),
        [numbers[index] for index in order],
        neighbours[order].tolist(),
        similarity[order].tolist(),
        said,
        metrics,
    )


def add_near_train_rows(
    parts: RunParts,
    judged: "Judgement",
    shown: ShownRows,
    texts: dict[int, tuple[str, str | None]],
    answers: "Answers | None",
) -> None:
    """Add the rows with the texts of both to the report, and say in a tag what they do to it.

    Args:
        texts: text and second text of rows of the test, by their numbers.
        answers: to all rows, if these are right or wrong.
    """
    from src.evaluation.near_train import add_near_train

    parts.record.set_tag("report/near_train", shown.said[0])
    train_texts = _read_train_texts(parts, shown)
    columns: dict[str, list[Any]] = {"row": shown.rows, "similarity": shown.similarity}
    if answers is not None:
        columns["label"] = [answers.truth[place] for place in shown.places]
        columns["predicted"] = [answers.predicted[place] for place in shown.places]
        columns["confidence"] = [float(answers.confidence[place]) for place in shown.places]
    columns |= _list_texts("", [texts.get(row) for row in shown.rows])
    columns["train_row"] = shown.neighbours
    columns |= _list_texts("train_", [train_texts.get(row) for row in shown.neighbours])
    add_near_train(judged, shown.said, columns, metrics=shown.metrics)


def _read_train_texts(parts: RunParts, shown: ShownRows) -> dict[int, tuple[str, str | None]]:
    if not shown.rows:
        return {}
    import numpy as np

    from src.data.split_rows import read_rows

    source = parts.datamodule.config.source
    return read_rows(source, "train", np.zeros(0, int), shown.neighbours).texts


def _list_texts(prefix: str, texts: list[tuple[str, str | None] | None]) -> dict[str, list[str]]:
    """The columns of texts, and of second texts where there are some."""
    found = [("", None) if pair is None else pair for pair in texts]
    columns = {f"{prefix}text": [shorten(text) for text, _ in found]}
    if any(pair is not None for _, pair in found):
        columns[f"{prefix}pair"] = [shorten(pair or "") for _, pair in found]
    return columns
