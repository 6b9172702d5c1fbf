"""Ask a run's model: `python -m src.predict run=ID text="A great film."` or `run=ID file=reviews.csv`.

run=ID           the run, by its id or the beginning of it
text=TEXT        one text; pair=TEXT where the model judges pairs
file=FILE        CSV, TSV, JSON lines, Parquet or plain text (one text a line)
column=text      the file's column of texts; pair_column= of second texts
output=FILE      where a file's answers go (CSV); default: FILE's name with .predictions.csv, beside it
batch_tokens=8192  most tokens of all texts that go through the model together
precision=auto   fp32 or bf16; auto takes bf16 where this machine is clearly faster at it
uri=             a store other than mlruns/mlflow.db
"""

import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from src.config.options import options, retold
from src.terms import startup
from src.terms.fault import Fault
from src.tracking.redaction import spoken

if TYPE_CHECKING:
    from src.training.predictor import Answer, Predictor

ROOT = Path(__file__).resolve().parents[1]
DEFAULTS = {
    "run": "", "text": "", "pair": "", "file": "", "column": "text", "pair_column": "", "output": "",
    "batch_tokens": "8192", "precision": "auto", "uri": "",
}  # fmt: skip
_OPTIONS = {
    "data.source.path": "file", "data.source.text": "column", "data.source.pair": "pair_column", "tracking.uri": "uri",
    " (data.source.header=false where the first line holds no names)": "",
}  # fmt: skip
PRECISIONS = ("auto", "fp32", "bf16")


class Question(NamedTuple):
    text: str
    pair: str | None


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0, or 2 for a person's mistake."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    try:
        asked = options(arguments, DEFAULTS)
        _check(asked)
        predictor = _predictor(asked)
        if asked["text"]:
            _answer_one(predictor, Question(asked["text"], asked["pair"] or None))
        else:
            _answer_file(predictor, asked)
    except Fault as fault:
        print(f"error: {spoken(fault)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _check(asked: dict[str, str]) -> None:
    if not asked["run"]:
        raise Fault("run: must be given, as run=ID; `make ui` shows the ids")
    if bool(asked["text"]) == bool(asked["file"]):
        raise Fault('expected either text="..." or file=FILE')
    if not asked["batch_tokens"].isdecimal() or int(asked["batch_tokens"]) < 1:
        raise Fault(f"batch_tokens={asked['batch_tokens']}: expected a whole number at least 1")
    if asked["precision"] not in PRECISIONS:
        raise Fault(f"precision={asked['precision']}: expected one of {', '.join(PRECISIONS)}")
    if asked["file"]:
        target = _target(asked)
        if not target.parent.is_dir():
            raise Fault(f"output={target}: there is no folder {target.parent}")
        if target.resolve() == Path(asked["file"]).resolve():
            raise Fault(f"output={target} is the file that is read; the answers need another name")
        try:
            _source(asked).check()
        except Fault as fault:
            raise retold(fault, _OPTIONS) from None


def _target(asked: dict[str, str]) -> Path:
    """Where a file's answers go."""
    source = Path(asked["file"])
    return Path(asked["output"]) if asked["output"] else source.with_name(f"{source.name}.predictions.csv")


def _source(asked: dict[str, str]):  # type: ignore[no-untyped-def]  # imported late, with what it needs
    from src.data.sources import Source

    return Source(path=asked["file"], text=asked["column"], pair=asked["pair_column"] or None)


def _predictor(asked: dict[str, str]) -> "Predictor":
    from src.tracking.store import Store
    from src.training.memory import bound_kernels
    from src.training.noise import quiet_transformers

    bound_kernels()
    quiet_transformers()
    store = Store(root=str(ROOT), uri=asked["uri"] or None)
    try:
        store.check()
    except Fault as fault:
        raise retold(fault, _OPTIONS) from None
    folder = store.model_folder(asked["run"], key="run")

    from src.training.predictor import Predictor

    startup.imported()
    return Predictor(folder, batch_tokens=int(asked["batch_tokens"]), precision=asked["precision"])  # type: ignore[arg-type]


def _answer_one(predictor: "Predictor", question: Question) -> None:
    [answer] = predictor.answers([question.text], [question.pair] if question.pair is not None else None)
    print(answer.said)
    for name, probability in answer.probabilities.items():
        print(f"  {name:<20} {probability:.4f}")


def _answer_file(predictor: "Predictor", asked: dict[str, str]) -> None:
    from tqdm import tqdm

    target = _target(asked)
    part = target.with_name(f".{target.name}.part")
    count = 0
    with part.open("w", newline="", encoding="utf-8") as sink, tqdm(desc="predict", unit=" texts", disable=None) as bar:
        writer = csv.writer(sink)
        for number, (text, answer) in enumerate(_answers(predictor, asked, bar.update)):
            if number == 0:
                writer.writerow(["row", "text", "prediction", *answer.probabilities])
            writer.writerow([number, text, answer.said, *(f"{each:.6f}" for each in answer.probabilities.values())])
            count += 1
    part.replace(target)
    print(f"{count} answers in {target} ({predictor.arithmetic})")


def _answers(
    predictor: "Predictor", asked: dict[str, str], done: Callable[[int], object]
) -> Iterator[tuple[str, "Answer"]]:
    """Texts and answers in the file's order, in constant memory."""
    from itertools import islice

    from src.training.predictor import WINDOW_TEXTS

    source = _source(asked)
    records = source.read(source.splits()[0])
    while chunk := list(islice(records, WINDOW_TEXTS)):
        pairs = [record.pair or "" for record in chunk] if asked["pair_column"] else None
        answers = predictor.answers([record.text for record in chunk], pairs, done=done)
        yield from ((record.text, answer) for record, answer in zip(chunk, answers, strict=True))


if __name__ == "__main__":
    with startup.program():
        sys.exit(main(sys.argv[1:]))
