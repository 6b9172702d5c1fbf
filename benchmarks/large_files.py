"""`python -m benchmarks.large_files`: `src.predict` on files of a gigabyte needs no more memory
than on small ones.

Only reading and writing are measured: the model is tiny and its answers are made up. A row in
100,000 cannot be read.
"""

import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.setting import write
from src.pipeline.earlier_model import EarlierModel
from src.pipeline.prediction.file_prediction import FilePrediction
from src.pipeline.prediction.parquet_output import ColumnTypes
from src.pipeline.prediction.prediction_source import find_prediction_source
from src.pipeline.prediction.predictor import TextPrediction

SMALL, LARGE = 10_000_000, 1_000_000_000
# what is read, and what is written of it
CASES = (("csv", "csv"), ("jsonl", "jsonl"), ("jsonl", "parquet"), ("parquet", "parquet"))
MOST_MEGABYTES = 200
WORDS_PER_TEXT = 180
_ANSWER = TextPrediction("yes", {"no": 0.25, "yes": 0.75})


class Cost(NamedTuple):
    """What a file took: megabytes of memory at the most, and seconds."""

    rows: int
    megabytes: float
    seconds: float


class MadeUpPredictor:
    """Says the same of every text."""

    precision_reason = "made up"
    tagger = None

    def __init__(self, inference_config: dict[str, Any]) -> None:
        self.inference_config = inference_config

    def predict_texts(self, texts: Sequence[str], *_: Any, **__: Any) -> list[Any]:
        return [_ANSWER if text else None for text in texts]

    def describe_cuts(self) -> None:
        """No text is cut."""


def main() -> int:
    lines = [
        "| read | written | rows | MB at 10 MB | MB at 1 GB | MB more | seconds at 1 GB |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    growths = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, output in CASES:
            small, large = (measure(Path(folder), kind, output, size) for size in (SMALL, LARGE))
            growths.append(large.megabytes - small.megabytes)
            lines.append(
                f"| {kind} | {output} | {large.rows:,} | {small.megabytes:.0f} | "
                f"{large.megabytes:.0f} | {growths[-1]:.0f} | {large.seconds:.0f} |"
            )
    good = max(growths) <= MOST_MEGABYTES
    lines += [
        "",
        f"To reach: at most {MOST_MEGABYTES} MB more: {'reached' if good else '**not reached**'}.",
    ]
    title = "Files of a gigabyte in constant memory"
    write("large_files", title, "python -m benchmarks.large_files", lines)
    return 0 if good else 1


def measure(folder: Path, kind: str, output: str, size: int) -> Cost:
    """Write a file, predict it in a process of its own, and delete both files."""
    file, answers = folder / f"rows.{kind}", folder / f"answers.{output}"
    write_file(file, size)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        cost = pool.apply(predict_file, (file, answers))
    file.unlink()
    answers.unlink()
    return cost


def predict_file(file: Path, answers: Path) -> Cost:
    """Answer every row of a file, as `src.predict` does."""
    config = {"task": "classification", "label_names": ["no", "yes"], "pairs": False}
    start = time.perf_counter()
    rows = find_prediction_source(file, {}, {}, keep_bad=True)
    types = ColumnTypes(rows.read_types()) if answers.suffix == ".parquet" else None
    prediction = FilePrediction.scan(rows, EarlierModel(file.parent, config, {}, ""), types)
    prediction.write_answers(MadeUpPredictor(config), str(answers))  # type: ignore[arg-type]
    return Cost(prediction.count, read_peak_megabytes(), time.perf_counter() - start)


def read_peak_megabytes() -> float:
    """The most memory that this process had. `ru_maxrss` would count that of the process which
    started it, here the one that has written the file.
    """
    status = Path("/proc/self/status").read_text()
    [kilobytes] = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return int(kilobytes) / 1024


def write_file(file: Path, size: int) -> None:
    """Rows of about 1,000 characters until a file has this many bytes."""
    if file.suffix == ".parquet":
        _write_parquet(file, size)
        return
    written = 0
    with file.open("w", encoding="utf-8") as sink:
        if file.suffix == ".csv":
            sink.write("id,text,other\n")
        for number, row in enumerate(_make_rows()):
            line = json.dumps(row) if file.suffix == ".jsonl" else ",".join(map(str, row.values()))
            if number % 100_000 == 5:
                line = '{"text": ' if file.suffix == ".jsonl" else f"{line},more"
            written += sink.write(f"{line}\n")
            if written > size:
                return


def _write_parquet(file: Path, size: int) -> None:
    """In row groups of 100,000 rows, as large as they usually are."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    rows = _make_rows()
    schema = pyarrow.schema([("id", "int64"), ("text", "string"), ("other", "string")])
    # packed they would be much smaller
    with ParquetWriter(file, schema, compression="none", use_dictionary=False) as writer:
        while file.stat().st_size < size:
            taken = list(islice(rows, min(100_000, size // 1000)))
            writer.write_table(pyarrow.Table.from_pylist(taken, schema))


def _make_rows() -> Iterator[dict[str, Any]]:
    words = ["good", "bad", "film", "very", "long", "and", "a", "the", "movie", "was", "seen"]
    texts = [
        " ".join(words[(start * place) % len(words)] for place in range(WORDS_PER_TEXT))
        for start in range(1, 200)
    ]
    number = 0
    while True:
        yield {"id": number, "text": texts[number % len(texts)], "other": f"x{number % 7}"}
        number += 1


if __name__ == "__main__":
    sys.exit(main())
