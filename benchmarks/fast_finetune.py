"""Fine-tuning to the same accuracy in less time: `REAL_DATA=FOLDER python -m
benchmarks.fast_finetune imdb|sst2|choice [only=NAME,...] [seeds=1,2,3] [again=true]`.

MiniLM-L6 by the product itself, one thread. Every contestant and seed that has ended is a row of
docs/results/fast_finetune.json and is not trained again; the page is made of all rows, whichever
were asked for. `choice` is what contestants are chosen by: 6,000 of IMDb's training reviews, judged
by 2,500 others of them, so that no test review has a part in it.
"""

import gzip
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.fast_contestants import CONTESTANTS
from benchmarks.fast_page import write_page
from benchmarks.material import PLACE, minilm, real
from benchmarks.recorded_runs import RecordedRuns
from benchmarks.timed_training import ONE_THREAD, Contest, hold_contest, train_timed

RUNS = RecordedRuns("fast_finetune", ("task", "contestant", "seed"))
TASKS = ("imdb", "sst2", "choice")
CHOICE_ROWS = {"train": 6000, "validation": 500, "test": 2500}


def main(arguments: Sequence[str]) -> int:
    """The exit code: 1 where a gate is missed, 2 for a person's mistake."""
    contest = Contest(
        "fast_finetune",
        TASKS,
        CONTESTANTS,
        only=",".join(CONTESTANTS),
        seeds="1,2,3",
        result="test_accuracy",
        locate=lambda task: real("sst2" if task == "sst2" else "imdb"),
        train=train,
        write_page=write_page,
    )
    return hold_contest(contest, RUNS, arguments)


def train(task: str, name: str, seed: int, root: str) -> dict[str, Any]:
    """Train one contestant as a run, and test its best checkpoint."""
    contestant = CONTESTANTS[name]
    metrics, seconds = train_timed(
        f"+experiment={'sst2' if task == 'sst2' else 'imdb'}",
        *locate_rows(task),
        f"model.encoder.name_or_path={minilm()}",
        f"data.cache={PLACE / 'fast_finetune'}",
        *ONE_THREAD,
        "callbacks.reference=null",
        f"tracking.root={root}",
        f"seed={seed}",
        *contestant.overrides,
    )
    return {
        "task": task,
        "contestant": name,
        "seed": seed,
        "overrides": contestant.overrides,
        "test_accuracy": metrics["test/accuracy"],
        "test_loss": metrics["test/loss"],
        "val_accuracy": metrics["val/accuracy"],
        "train_seconds": seconds,
        "process_seconds": round(time.process_time(), 1),
    }


def locate_rows(task: str) -> list[str]:
    """The overrides that name a task's rows."""
    if task == "sst2":
        return [
            f"data.source.path={real('sst2')}",
            "data.source.format=label_first",
            "data.source.validation=dev",
        ]
    if task == "imdb":
        return [f"data.source.path={real('imdb')}"]
    return [f"data.source.path={_draw_rows()}", "data.source.validation=validation"]


def _draw_rows() -> Path:
    """A folder of reviews to choose by, all from IMDb's training split."""
    folder = PLACE / "imdb-choice"
    if not (folder / "test.jsonl").is_file():
        [file] = real("imdb").glob("train*.gz")
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            by_text = {row["text"]: row["label"] for row in map(json.loads, lines)}
        drawn = random.Random(7).sample(sorted(by_text.items()), sum(CHOICE_ROWS.values()))
        folder.mkdir(parents=True, exist_ok=True)
        for split, count in CHOICE_ROWS.items():
            taken, drawn = drawn[:count], drawn[count:]
            content = "\n".join(json.dumps({"text": text, "label": label}) for text, label in taken)
            (folder / f"{split}.jsonl").write_text(content + "\n", encoding="utf-8")
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
