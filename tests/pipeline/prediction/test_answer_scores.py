"""What is told of answers whose labels stand in the file, against values computed by hand."""

from typing import Any

import pytest

from src.data.rows.records import RawRecord
from src.data.rows.token_labels import EntitySpan, TokenLabels, join_words
from src.pipeline.prediction.answer_scores import build_answer_score
from src.pipeline.prediction.predictor import TextPrediction
from src.pipeline.prediction.word_tagger import Entity

NAMES = ("low", "mid", "high")


def row(label: Any, text: str = "a", words: Any = None) -> RawRecord:
    return RawRecord(text, None, label, "a.csv, line 2", words=words)


def describe(
    task: str,
    rows: list[tuple[Any, Any]],
    names: tuple[str, ...] = (),
    head: str = "sequence",
    **data: Any,
) -> str | None:
    """What is said of pairs of a label, or a whole row, and an answer."""
    reading = {"task": task, "label_names": list(names), "head": head}
    score = build_answer_score(reading, {"data": data})
    assert score is not None
    for label, answer in rows:
        record = label if isinstance(label, RawRecord) else row(label)
        if isinstance(answer, TextPrediction):
            score.add(record, answer)
        elif isinstance(answer, tuple):
            score.add(record, TextPrediction(",".join(answer), {}, labels=answer))
        else:
            score.add(record, TextPrediction(str(answer), {}))
    return score.describe()


def test_accuracy() -> None:
    rows = [("low", "low"), ("mid", "high"), (None, "low"), ("high", "high")]
    assert describe("classification", rows, NAMES) == "accuracy 0.6667 (2 of 3 labelled rows)"
    assert describe("classification", [(None, "low")], NAMES) is None


def test_labels_are_mapped_as_in_training() -> None:
    rows = [(1, "low"), (3, "high"), (9, "high")]
    mapping = {1: "low", 2: "mid", 3: "mid", 4: "high"}
    assert describe("classification", rows, NAMES, label_map=mapping) == (
        "accuracy 0.5000 (1 of 2 labelled rows; data.label_map leaves out 1)"
    )


def test_ranks() -> None:
    """Answers low, high, high for low, mid, low: distances 0, 1, 2.

    Kappa: squares observed 5 of 3 rows; by chance, truths (2, 1, 0) and answers (1, 0, 2) give
    (2*1*0 + 2*2*4 + 1*1*1 + 1*2*1) / 3 = 19/3, so 1 - 15/19.
    """
    rows = [("low", "low"), ("mid", "high"), ("low", "high")]
    assert describe("classification", rows, NAMES, head="ordinal") == (
        "accuracy 0.3333 (1 of 3 labelled rows), mean distance 1.0000 ranks, quadratic kappa 0.2105"
    )
    assert describe("classification", rows[:1], NAMES, head="ordinal") == (
        "accuracy 1.0000 (1 of 1 labelled row), mean distance 0.0000 ranks, "
        "quadratic kappa undefined"
    )


def test_several_labels() -> None:
    """F1 of low: 2*1/(2+1); of mid: 0/(1+1); high occurs nowhere."""
    rows = [(("low",), ("low",)), (("low", "mid"), ()), ((), ("mid",)), (None, ("high",))]
    assert describe("multi_label", rows, NAMES) == (
        "exact match 0.3333 (1 of 3 labelled rows), macro F1 0.3333 over 2 of 3 labels"
    )
    assert describe("multi_label", [((), ())], NAMES) == (
        "exact match 1.0000 (1 of 1 labelled row), macro F1 undefined: no row has a label or gets "
        "one"
    )
    assert describe("multi_label", [(("low", "odd"), ("low",))], NAMES) == (
        "no exact match: the label 'odd' is none of the model's (data.source.label=null leaves "
        "labels alone)"
    )
    # names may have commas
    commas = ("a,b", "c")
    assert describe("multi_label", [(("a,b",), ("a,b",))], commas) == (
        "exact match 1.0000 (1 of 1 labelled row), macro F1 1.0000 over 1 of 2 labels"
    )


def test_values() -> None:
    """Errors 1, 0, -1; labels 1, 2, 3 and answers 2, 2, 2 do not vary together."""
    assert describe("regression", [(1, 2), ("2", 2), (3.0, 2), (None, 9)]) == (
        "RMSE 0.8165, Pearson undefined (one side does not vary) (3 labelled rows)"
    )
    # deviations (-1, 0, 1) and (-1, 1, 0): 1 / 2
    assert describe("regression", [(1, 1), (2, 3), (3, 2)]) == (
        "RMSE 0.8165, Pearson 0.5000 (3 labelled rows)"
    )
    assert describe("regression", [("many", 1)]) == (
        "no RMSE: the label 'many' is no number (data.source.label=null leaves labels alone)"
    )
    # numbers far from 0 lose nothing
    shifted = [(1e8 + one, 1e8 + other) for one, other in ((1, 1), (2, 3), (3, 2))]
    assert describe("regression", shifted) == "RMSE 0.8165, Pearson 0.5000 (3 labelled rows)"


TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


def tagged(*words_and_tags: str) -> RawRecord:
    text, spans = join_words([one.split("/")[0] for one in words_and_tags])
    tags = tuple(one.split("/")[1] for one in words_and_tags)
    return row(TokenLabels(tags=tags), text, spans)


def found(text: str, *entities: tuple[str, str]) -> TextPrediction:
    return TextPrediction(
        "",
        {},
        [
            Entity(text.index(one), text.index(one) + len(one), one, kind, 1.0)
            for one, kind in entities
        ],
    )


def test_entities_in_any_scheme() -> None:
    """Two of three found entities are right, of four."""
    bio = tagged("Ada/B-PER", "Byron/I-PER", "in/O", "Rome/B-LOC")
    bilou = tagged("Ada/B-PER", "Byron/L-PER", "in/O", "Rome/U-LOC")
    for record in (bio, bilou):
        answers = found(record.text, ("Ada Byron", "PER"), ("Rome", "PER"))
        spans = row(
            TokenLabels(spans=(EntitySpan(0, 3, "PER"), EntitySpan(7, 10, "LOC"))), "Bob at Ulm"
        )
        rows = [(record, answers), (spans, found(spans.text, ("Ulm", "LOC")))]
        assert describe("token_classification", rows, TAGS) == (
            "entity F1 0.5714, precision 0.6667, recall 0.5000 (4 entities in 2 labelled texts)"
        )


def test_entities_that_are_not_there_or_not_known() -> None:
    plain = tagged("in/O")
    assert describe("token_classification", [(plain, found("in"))], TAGS) == (
        "no F1: no entity in 1 labelled text, and none was found"
    )
    assert describe("token_classification", [(plain, found("in", ("in", "LOC")))], TAGS) == (
        "entity F1 0.0000, precision 0.0000, recall undefined (0 entities in 1 labelled text)"
    )
    other = tagged("May/B-DATE")
    assert describe("token_classification", [(other, found("May"))], TAGS) == (
        "no F1: a.csv, line 2: the type 'DATE' is none of the model's (data.source.label=null "
        "leaves labels alone)"
    )
    assert describe("token_classification", [(row(None), found("a"))], TAGS) is None


def test_words_whose_tags_are_about_no_entities() -> None:
    record = tagged("I/PRON", "run/VERB", "home/NOUN")
    answer = found(record.text, ("I", "PRON"), ("run", "NOUN"), ("home", "NOUN"))
    names = ("NOUN", "PRON", "VERB")
    assert describe("token_classification", [(record, answer)], names) == (
        "accuracy 0.6667 (2 of 3 words in 1 labelled text)"
    )


@pytest.mark.parametrize("task", ["masked_lm", "denoising"])
def test_pretraining_has_no_labels(task: str) -> None:
    assert build_answer_score({"task": task, "label_names": []}, {}) is None
