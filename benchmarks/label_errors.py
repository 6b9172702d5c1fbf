"""`python -m benchmarks.label_errors`: labels that are wrong, found in a test set of which one in
twenty was flipped.

A small run on generated questions judges a test whose labels were flipped; its training rows are as
they were. Precision and recall are those of the ranked list of `report/label_errors.json`.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.setting import write

TEST_ROWS, TRAIN_ROWS, FLIPPED_SHARE = 2000, 2000, 0.05
LEAST_PRECISION, RECALL = 0.6, 0.5


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        flipped = write_rows(Path(folder) / "data")
        accuracy, ranked = train_and_list(Path(folder))
    hits = np.cumsum([row in flipped for row in ranked])
    recalls, precisions = hits / len(flipped), hits / np.arange(1, len(hits) + 1)
    enough = np.flatnonzero(recalls >= RECALL)
    precision = float(precisions[enough].max()) if len(enough) else 0.0
    good = precision >= LEAST_PRECISION
    lines = [
        "| rows | flipped | listed | accuracy | precision at recall 0.5 | recall of the list | "
        "precision of the list |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        f"| {TEST_ROWS:,} | {len(flipped)} | {len(ranked)} | {accuracy:.3f} | {precision:.2f} | "
        f"{recalls[-1] if len(recalls) else 0:.2f} | "
        f"{precisions[-1] if len(precisions) else 0:.2f} |",
        "",
        f"To reach: precision {LEAST_PRECISION} at recall {RECALL}: "
        f"{'reached' if good else 'missed'}.",
    ]
    write("label_errors", "Wrong labels that are found", "python -m benchmarks.label_errors", lines)
    return 0 if good else 1


def write_rows(folder: Path) -> set[int]:
    """Files of generated questions; returns the rows of the test whose label was flipped."""
    from src.data.synthetic.tasks import GeneratedTask

    source = GeneratedTask(
        kind="questions", train=TRAIN_ROWS, validation=400, test=TEST_ROWS, seed=1
    )
    folder.mkdir()
    generator = np.random.default_rng(1)
    flipped = set(
        generator.choice(TEST_ROWS, size=round(TEST_ROWS * FLIPPED_SHARE), replace=False).tolist()
    )
    names: list[str] = []
    for split in ("train", "validation", "test"):
        records = list(source.read_records(split))
        names = names or sorted({str(record.label) for record in records})
        with (folder / f"{split}.jsonl").open("w") as file:
            for number, record in enumerate(records):
                label = str(record.label)
                if split == "test" and number in flipped:
                    others = [name for name in names if name != label]
                    label = others[int(generator.integers(len(others)))]
                file.write(json.dumps({"text": record.text, "label": label}) + "\n")
    return flipped


def train_and_list(folder: Path) -> tuple[float, list[int]]:
    """Accuracy on the test with its flipped labels, and the rows that are suspected."""
    import palimpsest
    from src.tracking.store import Store

    config: Any = palimpsest.compose(
        "data=files",
        f"data.source.path={folder / 'data'}",
        f"data.cache={folder / 'cache'}",
        "data/tokenizer=wordpiece_2k",
        "model/encoder=tiny",
        "model.optim.lr=1e-3",
        "trainer.max_epochs=10",
        "trainer.accelerator=cpu",
        "trainer.threads=1",
        "trainer.precision=fp32",
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
