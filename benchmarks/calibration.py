"""`REAL_DATA=FOLDER python -m benchmarks.calibration imdb|sst2 [KEY=VALUE ...]`: how far the
probabilities of a fine-tuned MiniLM are from what happens, before and after the temperature that is
fitted on validation.

FOLDER is that of `benchmarks.accuracy`; further keys change the run. The rows are those of the
test, which the temperature has not seen.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.accuracy import minilm
from benchmarks.setting import write

LEAST_ERROR = 0.01
_SOURCES = {
    "imdb": (),
    "sst2": ("data.source.format=label_first", "data.source.validation=dev"),
}


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in _SOURCES or "REAL_DATA" not in os.environ:
        print(__doc__)
        return 2
    task, *further = arguments
    metrics = train(task, further)
    before, after = (metrics[f"calibration/test/error{end}"] for end in ("", "_tempered"))
    good = after <= max(before / 2, LEAST_ERROR)
    rows = [
        f"| {name} | {metrics[f'calibration/test/{key}']:.4f} | "
        f"{metrics[f'calibration/test/{key}_tempered']:.4f} |"
        for name, key in (
            ("expected calibration error (15 bins)", "error"),
            ("Brier score", "brier"),
            ("log loss", "log_loss"),
        )
    ]
    lines = [
        f"Test accuracy {metrics['test/accuracy']:.4f}; temperature "
        f"{metrics['calibration/temperature']:.3f}.",
        "",
        "| of the test | plain | at the temperature |",
        "| --- | ---: | ---: |",
        *rows,
        "",
        f"To reach: half the error, or {LEAST_ERROR}: {'reached' if good else 'missed'}.",
    ]
    command = " ".join(["REAL_DATA=FOLDER python -m benchmarks.calibration", *arguments])
    write(f"calibration_{task}", f"Calibration of MiniLM on {task}", command, lines)
    return 0 if good else 1


def train(task: str, further: list[str]) -> dict[str, float]:
    """The metrics of a run."""
    import palimpsest

    data = Path(os.environ["REAL_DATA"]).resolve() / task
    with tempfile.TemporaryDirectory() as folder:
        config: Any = palimpsest.compose(
            f"+experiment={task}",
            f"data.source.path={data}",
            *_SOURCES[task],
            minilm(),
            f"tracking.root={folder}",
            *further,
        )
        metrics = palimpsest.run(config).metrics
    # without a temperature both are the same
    return {
        **{
            f"{name}_tempered": value
            for name, value in metrics.items()
            if name.startswith("calibration/test/")
        },
        **metrics,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
