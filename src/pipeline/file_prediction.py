"""Answers for all rows of a file, in constant memory."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from src.core.formatting import format_quantity, to_override_text
from src.core.user_errors import UserError
from src.data.reading.reading_remarks import RemarkCounts
from src.data.rows.records import RawRecord
from src.pipeline.label_score import LabelScore
from src.pipeline.prediction_output import STDOUT, AnswerColumns, name_answer_columns, open_output

if TYPE_CHECKING:
    from src.pipeline.earlier_model import EarlierModel
    from src.pipeline.prediction_source import PredictionSource
    from src.pipeline.predictor import Predictor, TextPrediction

# Rows whose first word must be a label in files of lines "<label> <sentence>".
_SAMPLE_ROWS = 100


@dataclass(frozen=True, kw_only=True)
class FilePrediction:
    """The rows of a file whose columns are known, and the names that the answers will have."""

    rows: "PredictionSource"
    count: int
    columns: AnswerColumns
    score: LabelScore
    remarks: RemarkCounts

    @classmethod
    def scan(cls, rows: "PredictionSource", model: "EarlierModel") -> "FilePrediction":
        """Read the file once: all its columns, and whatever is wrong in it, are known then.

        Raises:
            UserError: a row cannot be read.
        """
        label_names = model.inference_config.get("label_names") or []
        is_scored = model.inference_config["task"] == "classification"
        score = LabelScore(label_names if is_scored else (), model.config)
        remarks = RemarkCounts()
        count, names = 0, dict[str, None]()
        labels = []
        for record, columns in rows.iter_rows():
            count += 1
            remarks.count(rows.source.name, record)
            names.update(dict.fromkeys(columns))
            if count <= _SAMPLE_ROWS:
                labels.append(record.label)
        if rows.format == "label_first" and is_scored and not any(map(score.find_name, labels)):
            raise UserError(
                f"{rows.source.path}: no line begins with a label of the model",
                hint="data.source.format=text reads whole lines",
            )
        return cls(
            rows=rows,
            count=count,
            columns=(
                name_answer_columns(list(names), (), "entities")
                if model.inference_config["task"] == "token_classification"
                else name_answer_columns(list(names), label_names)
            ),
            score=score,
            remarks=remarks,
        )

    def describe_reading(self) -> Iterator[str]:
        """What is not to be seen in the command: how the file is read, and new names of columns."""
        if inherited := self.rows.inherited:
            shown = " ".join(f"{key}={to_override_text(value)}" for key, value in inherited.items())
            yield f"read as the run read its data: {shown}"
        if remark := self.rows.find_encoding_remark():
            yield f"note: {remark}"
        for remark in self.remarks.describe():
            yield f"note: {remark}"
        for name, new in self.columns.renamed.items():
            yield f"the file has a column {name} of its own: the model's is {new}"

    def write_answers(self, predictor: "Predictor", output: str) -> list[str]:
        """Write the answers for all rows; returns what is to be said of them.

        Raises:
            UserError: they cannot be written.
        """
        from tqdm import tqdm

        empty = 0
        # lists of entities are no cells of a table
        suffix = ".csv" if predictor.tagger is None else ".jsonl"
        try:
            with (
                open_output(output, self.columns.names, suffix) as write,
                tqdm(total=self.count, desc="predict", unit=" texts", disable=None) as bar,
            ):
                for number, (record, columns, answer) in enumerate(
                    self._iter_answers(predictor, bar.update)
                ):
                    if answer is None:
                        empty += 1
                    else:
                        self.score.add(record.label, answer.predicted)
                    write(self._build_row(number, columns, answer))
        except BrokenPipeError:
            # nobody reads any more (`| head`)
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return []
        except OSError as error:
            raise UserError(
                f"cannot be written: {error.strerror or error}", key="output", value=output
            ) from error
        place = "" if output == STDOUT else f" in {output}"
        lines = [f"{format_quantity(self.count, 'answer')}{place} ({predictor.precision_reason})"]
        if empty:
            kind = "text or second text" if self.rows.source.pair is not None else "text"
            lines = [
                f"{self.count - empty:,} answers{place} ({predictor.precision_reason})",
                f"{format_quantity(empty, 'row')} without an answer: the {kind} is empty, and "
                "training leaves such rows out",
            ]
        if predictor.tagger is not None and predictor.tagger.num_divided:
            lines.append(
                f"{format_quantity(predictor.tagger.num_divided, 'text')} longer than "
                f"{predictor.inference_config['max_tokens']} tokens, read in pieces"
            )
        if accuracy := self.score.describe():
            lines.append(accuracy)
        return lines

    def _iter_answers(
        self, predictor: "Predictor", done: Callable[[int], object]
    ) -> Iterator[tuple[RawRecord, dict[str, Any], "TextPrediction | None"]]:
        from src.pipeline import predictor as module

        rows = self.rows.iter_rows()
        while chunk := list(islice(rows, module.MAX_TEXTS_PER_CALL)):
            has_pairs = self.rows.source.pair is not None
            answers = predictor.predict_texts(
                [record.text for record, _ in chunk],
                [record.pair or "" for record, _ in chunk] if has_pairs else None,
                words=[record.words for record, _ in chunk],
                on_batch_done=done,
            )
            for (record, columns), answer in zip(chunk, answers, strict=True):
                yield record, columns, answer

    def _build_row(
        self, number: int, columns: dict[str, Any], answer: "TextPrediction | None"
    ) -> dict[str, Any]:
        names = self.columns
        row = {names.row: number, **columns}
        if answer is None:
            return row | dict.fromkeys((names.prediction, *names.probabilities))
        if answer.entities is not None:
            return row | {names.prediction: [entity._asdict() for entity in answer.entities]}
        probabilities = [round(value, 6) for value in answer.probabilities.values()]
        # without labels it is a number
        predicted = answer.predicted if probabilities else float(answer.predicted)
        return (
            row
            | {names.prediction: predicted}
            | dict(zip(names.probabilities, probabilities, strict=True))
        )
