"""`python -m benchmarks.label_errors`: labels that are wrong, found among the generated questions,
of which one in twenty has a wrong one.

The experiment `questions` trains on rows that are as wrong as those of its test. Precision and
recall are those of the ranked list `report/label_errors.json`.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.setting import write

LEAST_PRECISION, RECALL = 0.6, 0.5


def main() -> int:
    flipped, rows = find_flipped_rows()
    with tempfile.TemporaryDirectory() as folder:
        accuracy, ranked = train_and_list(Path(folder))
    hits = np.cumsum([row in flipped for row in ranked])
    recalls, precisions = hits / len(flipped), hits / np.arange(1, len(hits) + 1)
    enough = np.flatnonzero(recalls >= RECALL)
    precision = float(precisions[enough[0]]) if len(enough) else 0.0
    good = precision >= LEAST_PRECISION
    lines = [
        "| rows | wrong labels | accuracy | precision at recall 0.5 | listed | recall of the list "
        "| precision of the list |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        f"| {rows:,} | {len(flipped)} | {accuracy:.3f} | {precision:.2f} | {len(ranked)} | "
        f"{recalls[-1] if len(recalls) else 0:.2f} | "
        f"{precisions[-1] if len(precisions) else 0:.2f} |",
        "",
        f"To reach: precision {LEAST_PRECISION} at recall {RECALL}: "
        f"{'reached' if good else 'missed'}.",
    ]
    write("label_errors", "Wrong labels that are found", "python -m benchmarks.label_errors", lines)
    return 0 if good else 1


def find_flipped_rows() -> tuple[set[int], int]:
    """The rows of the test whose label is wrong, and how many rows there are."""
    from src.data.synthetic.questions import QUESTION_CLASSES
    from src.data.synthetic.tasks import GeneratedTask

    labels = [
        record.label for record in GeneratedTask(kind="questions", seed=1).read_records("test")
    ]
    # before some are made wrong, the classes take turns
    return {
        row
        for row, label in enumerate(labels)
        if label != QUESTION_CLASSES[row % len(QUESTION_CLASSES)]
    }, len(labels)


def train_and_list(folder: Path) -> tuple[float, list[int]]:
    """Accuracy on the test with its wrong labels, and the rows that are suspected."""
    import palimpsest
    from src.tracking.store import Store

    config: Any = palimpsest.compose(
        "+experiment=questions",
        "data.source.seed=1",
        "trainer.accelerator=cpu",
        "callbacks.progress.style=off",
        "report.label_errors=true",
        f"tracking.root={folder}",
        "tracking.system_metrics=false",
    )
    outcome = palimpsest.run(config)
    client = Store(root=str(folder)).open().client
    table = json.loads(
        Path(client.download_artifacts(outcome.run_id, "report/label_errors.json")).read_text()
    )
    place = table["columns"].index("row")
    return outcome.metrics["test/accuracy"], [row[place] for row in table["data"]]


if __name__ == "__main__":
    sys.exit(main())
