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
from src.pipeline.prediction.answer_scores import AnswerScore, ClassScore, build_answer_score
from src.pipeline.prediction.prediction_output import (
    STDOUT,
    AnswerColumns,
    name_answer_columns,
    open_output,
)

if TYPE_CHECKING:
    import pyarrow

    from src.pipeline.earlier_model import EarlierModel
    from src.pipeline.prediction.mask_filler import MaskFiller
    from src.pipeline.prediction.parquet_output import ColumnTypes
    from src.pipeline.prediction.prediction_source import PredictionSource
    from src.pipeline.prediction.predictor import Predictor, TextPrediction

# What the answers are called for tasks that give a list for each text.
LIST_COLUMNS = {
    "token_classification": "entities",
    "masked_lm": "fillings",
    "masked_lm_with_next_sentence": "fillings",
}
# Most characters of texts that are held at once, besides the last one's.
_MOST_CHARACTERS = 1 << 23
# Rows that cannot be read of which the error is told; the file of answers has all.
_SHOWN_ERRORS = 10
# Rows whose first word must be a label in files of lines "<label> <sentence>".
_SAMPLE_ROWS = 100


@dataclass(frozen=True, kw_only=True)
class FilePrediction:
    """The rows of a file whose columns are known, and the names that the answers will have.

    Args:
        errors: what is wrong with the first rows that cannot be read, by their numbers.
        num_bad: how many cannot be read.
        types: of the columns, if these were asked for.
    """

    rows: "PredictionSource"
    count: int
    columns: AnswerColumns
    score: AnswerScore | None
    remarks: RemarkCounts
    errors: dict[int, str]
    num_bad: int
    types: "ColumnTypes | None"

    @classmethod
    def scan(
        cls, rows: "PredictionSource", model: "EarlierModel", types: "ColumnTypes | None" = None
    ) -> "FilePrediction":
        """Read the file once: all its columns, and whatever is wrong in it, are known then.

        Raises:
            UserError: no row can be read, or one that must.
        """
        label_names = model.inference_config.get("label_names") or []
        task = model.inference_config["task"]
        list_column = LIST_COLUMNS.get(task)
        score = build_answer_score(model.inference_config, model.config)
        remarks = RemarkCounts()
        count, num_bad, names = 0, 0, dict[str, None]()
        errors: dict[int, str] = {}
        sample: list[RawRecord] = []
        for record, columns in rows.iter_rows():
            count += 1
            if record.unreadable is not None:
                num_bad += 1
                if len(errors) < _SHOWN_ERRORS:
                    errors[count - 1] = record.unreadable
                continue
            if types is not None:
                types.add(columns)
            remarks.count(rows.source.name, record)
            names.update(dict.fromkeys(columns))
            if len(sample) < _SAMPLE_ROWS:
                sample.append(record)
        if num_bad == count:
            raise UserError(next(iter(errors.values()), "no rows"))
        if (
            rows.format == "label_first"
            and isinstance(score, ClassScore)
            and not any(map(score.labels.find_names, sample))
        ):
            raise UserError(
                f"{rows.source.path}: no line begins with a label of the model",
                hint="data.source.format=text reads whole lines",
            )
        return cls(
            rows=rows,
            count=count,
            columns=name_answer_columns(
                list(names),
                () if list_column else label_names,
                list_column or "prediction",
                has_errors=num_bad > 0,
            ),
            score=score,
            remarks=remarks,
            errors=errors,
            num_bad=num_bad,
            types=types,
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
        if self.num_bad:
            yield (
                f"{format_quantity(self.num_bad, 'row')} cannot be read and get no answer "
                "(strict=true stops there):"
            )
        for number, error in self.errors.items():
            yield f"  row {number}: {error}"
        if self.num_bad > len(self.errors):
            [column] = self.columns.error
            yield f"  and {self.num_bad - len(self.errors):,} more, in the column {column}"

    def write_answers(self, predictor: "Predictor | MaskFiller", output: str) -> list[str]:
        """Write the answers for all rows; returns what is to be said of them.

        Raises:
            UserError: they cannot be written.
        """
        from tqdm import tqdm

        empty = 0
        task = predictor.inference_config["task"]
        # lists are no cells of a table
        suffix = ".jsonl" if task in LIST_COLUMNS else ".csv"
        schema = None if self.types is None else self._build_schema(self.types, predictor)
        try:
            with (
                open_output(output, self.columns.names, suffix, schema) as write,
                tqdm(total=self.count, desc="predict", unit=" texts", disable=None) as bar,
            ):
                for number, (record, columns, answer) in enumerate(
                    self.iter_answers(predictor, bar.update)
                ):
                    if record.unreadable is not None:
                        pass
                    elif answer is None:
                        empty += 1
                    elif self.score is not None:
                        self.score.add(record, answer)
                    write(self._build_row(number, columns, answer, record.unreadable))
        except BrokenPipeError:
            # nobody reads any more (`| head`)
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return []
        except OSError as error:
            raise UserError(
                f"cannot be written: {error.strerror or error}", key="output", value=output
            ) from error
        place = "" if output == STDOUT else f" in {output}"
        count = self.count - empty - self.num_bad
        lines = [f"{format_quantity(count, 'answer')}{place} ({predictor.precision_reason})"]
        if empty:
            kind = "text or second text" if self.rows.source.pair is not None else "text"
            why = f"the {kind} is empty, and training leaves such rows out"
            if LIST_COLUMNS.get(task) == "fillings":
                limit = predictor.inference_config["max_tokens"]
                why = f"the text has no mask, or one beyond {limit} tokens"
            lines.append(f"{format_quantity(empty, 'row')} without an answer: {why}")
        if self.num_bad:
            lines.append(f"{format_quantity(self.num_bad, 'row')} that could not be read")
        if predictor.tagger is not None and predictor.tagger.num_divided:
            lines.append(
                f"{format_quantity(predictor.tagger.num_divided, 'text')} longer than "
                f"{predictor.inference_config['max_tokens']} tokens, read in pieces"
            )
        score = None if self.score is None else self.score.describe()
        return [*lines, *filter(None, (predictor.describe_cuts(), score))]

    def iter_answers(
        self,
        predictor: "Predictor | MaskFiller",
        done: Callable[[int], object] = lambda count: None,
    ) -> Iterator[tuple[RawRecord, dict[str, Any], "TextPrediction | None"]]:
        """All rows with their columns and answers, a few thousand at a time.

        Args:
            done: called with the number of texts of each batch.
        """
        rows = self.rows.iter_rows()
        while chunk := _take_rows(rows):
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
        self,
        number: int,
        columns: dict[str, Any],
        answer: "TextPrediction | None",
        error: str | None,
    ) -> dict[str, Any]:
        names = self.columns
        row = {names.row: number, **columns, **dict.fromkeys(names.error, error)}
        if answer is None:
            return row | dict.fromkeys((names.prediction, *names.probabilities))
        if answer.entities is not None:
            return row | {names.prediction: [entity._asdict() for entity in answer.entities]}
        if answer.fillings is not None:
            return row | {names.prediction: [filling._asdict() for filling in answer.fillings]}
        probabilities = [round(value, 6) for value in answer.probabilities.values()]
        # without labels it is a number
        predicted = answer.predicted if probabilities else float(answer.predicted)
        return (
            row
            | {names.prediction: predicted}
            | dict(zip(names.probabilities, probabilities, strict=True))
        )

    def _build_schema(
        self, types: "ColumnTypes", predictor: "Predictor | MaskFiller"
    ) -> "pyarrow.Schema":
        """The schema of a Parquet file of answers."""
        import pyarrow

        names = self.columns
        schema = types.build_schema(names.columns)
        number, value, text = pyarrow.int64(), pyarrow.float64(), pyarrow.string()
        answer = text if names.probabilities else value
        match LIST_COLUMNS.get(predictor.inference_config["task"]):
            case "entities":
                fields = [("start", number), ("end", number), ("text", text), ("type", text)]
                answer = pyarrow.list_(pyarrow.struct([*fields, ("score", value)]))
            case "fillings":
                fields = [("mask", number), ("token", text), ("probability", value)]
                answer = pyarrow.list_(pyarrow.struct(fields))
        schema = schema.insert(0, pyarrow.field(names.row, pyarrow.int64()))
        schema = schema.append(pyarrow.field(names.prediction, answer))
        for name in names.probabilities:
            schema = schema.append(pyarrow.field(name, pyarrow.float64()))
        for name in names.error:
            schema = schema.append(pyarrow.field(name, pyarrow.string()))
        return schema


def _take_rows(
    rows: Iterator[tuple[RawRecord, dict[str, Any]]],
) -> list[tuple[RawRecord, dict[str, Any]]]:
    """The next rows that go to the model together; long texts are fewer at once."""
    from src.pipeline.prediction import predictor

    taken, characters = [], 0
    for record, columns in islice(rows, predictor.MAX_TEXTS_PER_CALL):
        taken.append((record, columns))
        characters += len(record.text) + len(record.pair or "")
        if characters > _MOST_CHARACTERS:
            break
    return taken
