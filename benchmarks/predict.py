"""Answers to real reviews: `REAL_DATA=FOLDER python -m benchmarks.predict [TEXTS]`; 300 texts
unless said otherwise.

`Predictor`, as `python -m src.predict` uses it, against `transformers.pipeline` at its best batch
size, with the same model, texts and cut, in turns, on one thread.
"""

import gzip
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.material import minilm, real
from benchmarks.setting import Row, write
from src.pipeline.export import INFERENCE_CONFIG_NAME
from src.pipeline.prediction.predictor import Predictor

MAX_TOKENS = 256
# batch sizes tried of the pipeline
SIZES = (1, 8, 32, 64)
TURNS = 4
GATE = 2.0
LABEL = "1"
# texts to the probability of LABEL
Asked = Callable[[Sequence[str]], list[float]]


def rows(texts: int = 300) -> list[Row]:
    """Reviews a second of processor time, ours and the pipeline's: as it comes (fp32, with the
    gate), and in bf16.
    """
    reviews = _reviews(texts + 64)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            _model(folder)
            ours = Predictor(folder)
            plain = _race(
                ours, _best(folder, torch.float32, reviews[texts:]), reviews[:texts], "fp32"
            )
            tuned = _race(
                ours, _best(folder, torch.bfloat16, reviews[texts:]), reviews[:texts], "bf16"
            )
    finally:
        torch.set_num_threads(threads)
    gated = plain._replace(gate=f"at least {GATE:g} times", reached=plain.ratio >= GATE)
    return [gated, tuned]


def _race(ours: Predictor, best: tuple[int, Asked], reviews: list[str], kind: str) -> Row:
    """Both answer the same quarter of the reviews in turn."""
    size, theirs = best
    mine: Asked = lambda texts: [
        answer.probabilities[LABEL] for answer in ours.predict_texts(texts) if answer
    ]
    seconds, apart = {"ours": 0.0, "theirs": 0.0}, 0.0
    for turn in range(TURNS):
        part = reviews[turn::TURNS]
        answers = {}
        for name, ask in (("ours", mine), ("theirs", theirs)):
            started_at = time.process_time()
            answers[name] = ask(part)
            seconds[name] += time.process_time() - started_at
        apart = max(
            apart, *(abs(one - other) for one, other in zip(*answers.values(), strict=True))
        )
    assert apart < 0.03, f"probabilities differ by {apart:.3f}: not the same work"
    return Row(
        name=f"predict, {len(reviews):,} IMDb reviews, pipeline in {kind}",
        ours=len(reviews) / seconds["ours"],
        theirs=len(reviews) / seconds["theirs"],
        unit="reviews per second",
        ratio=seconds["theirs"] / seconds["ours"],
        gate="",
        note=f"MiniLM-L6, {MAX_TOKENS} tokens; ours {ours.precision_reason}; pipeline with "
        f"batches of {size}, its best of "
        f"{', '.join(map(str, SIZES))}; probabilities differ by {apart:.1e} at most",
    )


def _best(folder: Path, kind: torch.dtype, reviews: list[str]) -> tuple[int, Asked]:
    """The pipeline at the batch size at which it answers some reviews fastest."""
    from transformers import pipeline

    # The package's types know none of the tasks' own arguments.
    pipe: Any = pipeline("text-classification", model=str(folder), device="cpu", dtype=kind)

    def asked(size: int) -> Asked:
        def ask(texts: Sequence[str]) -> list[float]:
            found = pipe(
                list(texts), batch_size=size, truncation=True, max_length=MAX_TOKENS, top_k=None
            )
            return [
                next(each["score"] for each in scores if each["label"] == LABEL) for scores in found
            ]

        return ask

    seconds = {}
    # the first call is slower
    asked(1)(reviews[:2])
    for size in SIZES:
        started_at = time.process_time()
        asked(size)(reviews)
        seconds[size] = time.process_time() - started_at
    size = min(seconds, key=seconds.__getitem__)
    return size, asked(size)


def _model(folder: Path) -> None:
    """MiniLM with a head of two labels, as a run leaves it. The head is random: what it says costs
    the same.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(0)
    names = {0: "0", 1: LABEL}
    model = AutoModelForSequenceClassification.from_pretrained(
        minilm(), num_labels=2, id2label=names
    )
    with torch.no_grad():
        # so that probabilities spread as a trained head's do, and differences show
        model.classifier.weight.mul_(5)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(minilm()).save_pretrained(folder)
    reading = {
        "task": "classification",
        "label_names": list(names.values()),
        "cleaning": {},
        "max_tokens": MAX_TOKENS,
        "truncation": "head",
    }
    (folder / INFERENCE_CONFIG_NAME).write_text(json.dumps(reading), encoding="utf-8")


def _reviews(count: int) -> list[str]:
    """Of the official test split, drawn by a fixed seed."""
    [file] = real("imdb").glob("test*.gz")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in random.Random(1).sample(list(lines), count)]


def main(arguments: list[str]) -> int:
    found = rows(*map(int, arguments))
    lines = [
        "One thread, processor time, in turns.",
        "",
        "| | ours | pipeline | ratio | to reach | reached | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in found:
        assert row.theirs is not None
        lines.append(
            f"| {row.name} | {row.ours:.1f} | {row.theirs:.1f} {row.unit} | {row.ratio:.2f} | "
            f"{row.gate} "
            f"| {row.verdict} | {row.note} |"
        )
    write(
        "predict", "Answers to IMDb reviews", "REAL_DATA=FOLDER python -m benchmarks.predict", lines
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
