"""Ask a run's model: `python -m src.predict run=ID text="A great film."` or `run=ID \
file=reviews.csv`.

run=ID           the run, by its id or the beginning of it
text=TEXT        one text; pair=TEXT where the model judges pairs
file=FILE        CSV, TSV, JSON lines, Parquet or plain text (one text a line)
column=text      the file's column of texts; pair_column= of second texts
output=FILE      where a file's answers go (CSV); default: FILE's name with .predictions.csv, \
beside it
batch_tokens=8192  most tokens of all texts that go through the model together
precision=auto   fp32 or bf16; auto takes bf16 where this machine is clearly faster at it
uri=             a store other than mlruns/mlflow.db
"""

import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from src.config.command_line import parse_key_values, run_command_line
from src.core import startup
from src.core.files import PROJECT_ROOT, atomic_write
from src.core.mlflow_environment import read_experiment_name, read_tracking_uri
from src.core.printing import print_line
from src.core.user_errors import UserError

if TYPE_CHECKING:
    from src.pipeline.predictor import Predictor, TextPrediction

OPTION_DEFAULTS = {
    "run": "",
    "text": "",
    "pair": "",
    "file": "",
    "column": "text",
    "pair_column": "",
    "output": "",
    "batch_tokens": "8192",
    "precision": "auto",
    "uri": "",
}
_OPTION_NAMES = {
    "data.source.path": "file",
    "data.source.text": "column",
    "data.source.pair": "pair_column",
    "tracking.uri": "uri",
}
PRECISIONS = ("auto", "fp32", "bf16")


class Question(NamedTuple):
    text: str
    pair: str | None


def main(arguments: Sequence[str]) -> int:
    """Predict a text or a file; returns the exit code."""
    return run_command_line(
        arguments, _handle_arguments, help_text=__doc__, option_names=_OPTION_NAMES
    )


def _handle_arguments(arguments: Sequence[str]) -> int:
    options = parse_key_values(arguments, OPTION_DEFAULTS)
    _check_options(options)
    predictor = _load_predictor(options)
    if options["text"]:
        _predict_text(predictor, Question(options["text"], options["pair"] or None))
    else:
        _predict_file(predictor, options)
    return 0


def _check_options(options: dict[str, str]) -> None:
    if not options["run"]:
        raise UserError("must be given, as run=ID", key="run", hint="`make ui` shows the ids")
    if bool(options["text"]) == bool(options["file"]):
        raise UserError('expected either text="..." or file=FILE')
    if not options["batch_tokens"].isdecimal() or int(options["batch_tokens"]) < 1:
        raise UserError(
            key="batch_tokens", value=options["batch_tokens"], expected="a whole number at least 1"
        )
    if options["precision"] not in PRECISIONS:
        raise UserError(
            key="precision", value=options["precision"], expected=f"one of {', '.join(PRECISIONS)}"
        )
    if options["file"]:
        target = _output_path(options)
        if not target.parent.is_dir():
            raise UserError(f"there is no folder {target.parent}", key="output", value=target)
        if target.resolve() == Path(options["file"]).resolve():
            raise UserError(
                "is the file that is read",
                key="output",
                value=target,
                hint="the answers need another name",
                colon=False,
            )
        _make_source(options).check()


def _output_path(options: dict[str, str]) -> Path:
    """Where a file's answers go."""
    source = Path(options["file"])
    return (
        Path(options["output"])
        if options["output"]
        else source.with_name(f"{source.name}.predictions.csv")
    )


def _make_source(options: dict[str, str]):  # type: ignore[no-untyped-def]
    # imported late, with what it needs
    from src.data.sources import Source

    return Source(path=options["file"], text=options["column"], pair=options["pair_column"] or None)


def _load_predictor(options: dict[str, str]) -> "Predictor":
    from src.core.startup import silence_transformers
    from src.tracking.store import Store
    from src.training.cpu_allocators import limit_kernel_cache

    limit_kernel_cache()
    silence_transformers()
    store = Store(
        root=str(PROJECT_ROOT),
        uri=options["uri"] or read_tracking_uri(),
        experiment=read_experiment_name(),
    )
    store.check()
    store.announce_environment()
    folder = store.fetch_model_folder(options["run"], key="run")

    from src.pipeline.predictor import Predictor

    startup.resume_gc()
    precision: Any = options["precision"]
    return Predictor(folder, batch_tokens=int(options["batch_tokens"]), precision=precision)


def _predict_text(predictor: "Predictor", question: Question) -> None:
    [answer] = predictor.predict_texts(
        [question.text], [question.pair] if question.pair is not None else None
    )
    print_line(answer.predicted)
    for name, probability in answer.probabilities.items():
        print_line(f"  {name:<20} {probability:.4f}")


def _predict_file(predictor: "Predictor", options: dict[str, str]) -> None:
    from tqdm import tqdm

    target = _output_path(options)
    count = 0
    with (
        atomic_write(target) as partial,
        partial.open("w", newline="", encoding="utf-8") as sink,
        tqdm(desc="predict", unit=" texts", disable=None) as bar,
    ):
        writer = csv.writer(sink)
        for number, (text, answer) in enumerate(_iter_predictions(predictor, options, bar.update)):
            if number == 0:
                writer.writerow(["row", "text", "prediction", *answer.probabilities])
            writer.writerow(
                [
                    number,
                    text,
                    answer.predicted,
                    *(f"{probability:.6f}" for probability in answer.probabilities.values()),
                ]
            )
            count += 1
    print_line(f"{count} answers in {target} ({predictor.precision_reason})")


def _iter_predictions(
    predictor: "Predictor", options: dict[str, str], done: Callable[[int], object]
) -> Iterator[tuple[str, "TextPrediction"]]:
    """Texts and answers in the file's order, in constant memory."""
    from itertools import islice

    from src.pipeline.predictor import MAX_TEXTS_PER_CALL

    source = _make_source(options)
    records = source.read_records(source.available_splits()[0])
    while chunk := list(islice(records, MAX_TEXTS_PER_CALL)):
        pairs = [record.pair or "" for record in chunk] if options["pair_column"] else None
        answers = predictor.predict_texts(
            [record.text for record in chunk], pairs, on_batch_done=done
        )
        yield from ((record.text, answer) for record, answer in zip(chunk, answers, strict=True))


if __name__ == "__main__":
    with startup.run_without_gc():
        sys.exit(main(sys.argv[1:]))
