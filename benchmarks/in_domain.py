"""What masked language modelling on the texts of a task buys, by the number of labels:
`REAL_DATA=FOLDER python -m benchmarks.in_domain [only=ARM] [minutes=M]`.

IMDb at 1,000, 5,000 and all 24,000 labels, three seeds: MiniLM as it is and after going on with
masked language modelling on the training and unlabelled reviews, a fresh small encoder as it is and
after the same. Takes some eight hours of one core; a call ends before the minutes that it is given
are over, and the next goes on. Pretraining is done again where its folder in `.cache` is gone.

ARM is minilm, minilm_mlm, scratch or scratch_mlm; two calls for two arms go side by side.
"""

import gzip
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.material import PLACE, Unavailable, minilm, real
from benchmarks.recorded_runs import RecordedRuns
from benchmarks.setting import RESULTS, write
from benchmarks.timed_training import ONE_THREAD
from palimpsest import UserError, compose, run
from src.config.command_line import parse_key_values
from src.evaluation.seed_groups import MeanInterval, compute_mean_interval
from src.search.view.plot_axes import INK_COLOR, create_panels

NAME = "in_domain"
SEEDS = (1, 2, 3)
# all but those that validate and those that also stand in the test sample
ALL = 24_000
LABELS = (1000, 5000, ALL)
# drawn once from the 25,000
TEST_REVIEWS = 5000
TOKENS = 128
COLORS = ("#8fb4d9", "#2563a8", "#e0b08f", "#c2571a")


class Arm(NamedTuple):
    """One way to train: from what, and for how many passes over so many labels."""

    name: str
    overrides: tuple[str, ...]
    passes: dict[int, int]
    # of the masked language modelling before; none for an arm that has none
    pretraining: tuple[str, ...] = ()


def arms() -> list[Arm]:
    """All arms; each pair differs in the pretraining alone."""
    pretrained = (f"model.encoder.name_or_path={minilm()}", "model.optim.lr=1e-4")
    going_on = ("+experiment=mlm_imdb_pretrained", pretrained[0], "trainer.max_steps=1500")
    fresh = ("data/tokenizer=wordpiece_8k", "model/encoder=modern_mini", "model.optim.lr=5e-4")
    from_scratch = ("+experiment=mlm_imdb", "trainer.max_steps=6000")
    few, many = {1000: 4, 5000: 2, ALL: 1}, {1000: 12, 5000: 6, ALL: 2}
    return [
        Arm("minilm", pretrained, few),
        Arm("minilm_mlm", ("model.optim.lr=1e-4",), few, going_on),
        Arm("scratch", fresh, many),
        Arm("scratch_mlm", ("model.optim.lr=5e-4",), many, from_scratch),
    ]


def main(arguments: list[str]) -> int:
    """The exit code: 1 while runs are missing, 2 for a person's mistake."""
    try:
        options = parse_key_values(arguments, {"only": "", "minutes": "inf"})
        until = time.monotonic() + 60 * float(options["minutes"])
        names = [arm.name for arm in arms()]
        if options["only"] not in ("", *names):
            raise UserError(
                key="only", value=options["only"], expected=f"one of {', '.join(names)}"
            )
        real("imdb")
    except (UserError, ValueError, Unavailable) as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    chosen = [arm for arm in arms() if options["only"] in ("", arm.name)]
    runs = open_runs()
    missing = [
        (arm, labels, seed)
        for labels in LABELS
        for seed in SEEDS
        for arm in chosen
        if not runs.has(arm.name, labels, seed)
    ]
    longest = 0.0
    for arm, labels, seed in missing:
        if time.monotonic() + longest > until:
            break
        start = _start(arm)
        # without the pretraining, which the next run of the arm has not to make
        began = time.monotonic()
        named = {"arm": arm.name, "labels": labels, "seed": seed}
        runs.add({**named, **_train(arm, start, labels, seed)})
        longest = max(longest, time.monotonic() - began)
    return _report(runs)


def open_runs() -> RecordedRuns:
    """Fine-tunings, and the pretraining of each arm that has one, which has neither labels nor
    seed.
    """
    return RecordedRuns(NAME, ("arm", "labels", "seed"))


def _start(arm: Arm) -> tuple[str, ...]:
    """The overrides that say from what an arm begins; pretrains it if need be."""
    if arm.pretraining:
        return ("+experiment=imdb_from_pretraining", f"init_from={_pretrain(arm)}")
    return ("+experiment=imdb",)


def _train(arm: Arm, start: tuple[str, ...], labels: int, seed: int) -> dict[str, Any]:
    """One fine-tuning; what the test said, and its processor seconds."""
    limit = (f"data.train_rows={labels}",) if labels != ALL else ()
    began = time.process_time()
    outcome = run(
        compose(
            *start,
            *arm.overrides,
            *limit,
            *_common(_labelled()),
            "data.split.validation=0.04",
            f"data.batching.max_tokens={TOKENS}",
            "callbacks.reference=null",
            "model.optim.warmup_fraction=0.1",
            f"trainer.max_epochs={arm.passes[labels]}",
            f"seed={seed}",
        )
    )
    return {
        "accuracy": outcome.metrics["test/accuracy"],
        "auroc": outcome.metrics["test/auroc"],
        "log_loss": outcome.metrics["test/loss"],
        "processor_seconds": round(time.process_time() - began),
    }


def _pretrain(arm: Arm) -> str:
    """The id of the run of masked language modelling, made once a machine."""
    note = PLACE / NAME / f"{arm.name}.json"
    words = [*arm.pretraining, *_common(_texts())]
    if note.is_file():
        known: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
        if known["overrides"] == words:
            return str(known["run"])
    began = time.process_time()
    outcome = run(compose(*words, "trainer.max_epochs=null", "trainer.val_check_steps=500"))
    seconds = round(time.process_time() - began)
    print(f"{arm.name}: pretrained in {seconds} s, {outcome.metrics}", flush=True)
    losses = {"val_loss": outcome.metrics["val/loss"], "processor_seconds": seconds}
    open_runs().add({"arm": arm.name, **losses})
    note.write_text(json.dumps({"overrides": words, "run": outcome.run_id}), encoding="utf-8")
    return outcome.run_id


def _common(folder: Path) -> tuple[str, ...]:
    return (
        f"data.source.path={folder}",
        f"data.cache={PLACE / NAME / 'cache'}",
        f"tracking.root={PLACE / NAME}",
        *ONE_THREAD,
    )


def _labelled() -> Path:
    """IMDb's training reviews, and a sample of its test reviews."""
    folder = PLACE / NAME / "labelled"
    if not (folder / "test.jsonl").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _link(real("imdb") / "train.jsonl.gz", folder / "train.jsonl.gz")
        lines = _read(real("imdb") / "test.jsonl.gz")
        kept = random.Random(0).sample(lines, TEST_REVIEWS)
        (folder / "test.jsonl").write_text("".join(kept), encoding="utf-8")
    return folder


def _texts() -> Path:
    """The training and the unlabelled reviews; texts of the whole test set are there to be found
    and left out.
    """
    folder = PLACE / NAME / "texts"
    if not (folder / "test.jsonl.gz").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        files = [real("imdb") / f"{name}.jsonl.gz" for name in ("train", "unsup")]
        both = [line for file in files for line in _read(file)]
        (folder / "train.jsonl").write_text("".join(both), encoding="utf-8")
        _link(real("imdb") / "test.jsonl.gz", folder / "test.jsonl.gz")
    return folder


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    os.symlink(source, target)


def _read(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return list(lines)


def _report(runs: RecordedRuns) -> int:
    """Write the page and the picture; 0 once no run is missing."""
    made = runs.read()
    found: dict[str, dict[int, MeanInterval]] = {}
    lines = [
        f"{TOKENS} tokens of a review, the end of long ones kept; a random {TEST_REVIEWS:,} of the "
        "25,000 test reviews, the same for all; mean of up to three seeds with the 95 % interval "
        "of Student's t. Rates and passes were not searched. Masked language modelling ran on the "
        "75,000 training and unlabelled reviews less those that stand in the test set too.",
        "",
        "| arm | labels | passes | test accuracy, seeds | mean | interval | processor seconds |",
        "| --- | ---: | ---: | --- | ---: | --- | ---: |",
    ]
    for arm in arms():
        found[arm.name] = {}
        for labels in LABELS:
            of_arm = [row for row in made if (row["arm"], row.get("labels")) == (arm.name, labels)]
            if of_arm:
                interval = compute_mean_interval([row["accuracy"] for row in of_arm])
                found[arm.name][labels] = interval
                lines.append(_describe(arm, labels, of_arm, interval))
    lines += [
        "",
        *(
            f"- {row['arm']}: loss on held-out reviews after its masked language modelling "
            f"{row['val_loss']:.3f}, {row['processor_seconds']:,} s of processor time"
            for row in made
            if "val_loss" in row
        ),
    ]
    missing = len(arms()) * len(LABELS) * len(SEEDS) - sum("seed" in row for row in made)
    if missing:
        lines += ["", f"**{missing} runs are missing yet**; the same command makes them."]
    _draw(found)
    lines += ["", f"![Accuracy by the number of labels]({NAME}.png)"]
    command = "REAL_DATA=FOLDER python -m benchmarks.in_domain"
    write(NAME, "IMDb: what masked language modelling on its texts buys", command, lines)
    return 1 if missing else 0


def _describe(arm: Arm, labels: int, rows: list[dict[str, Any]], interval: MeanInterval) -> str:
    shown = ", ".join(f"{row['accuracy']:.4f}" for row in rows)
    low, high = interval.low, interval.high
    bounds = f"{low:.4f} to {high:.4f}" if low is not None and high is not None else ""
    seconds = sum(row["processor_seconds"] for row in rows) / len(rows)
    return (
        f"| {arm.name} | {labels:,} | {arm.passes[labels]} | {shown} | {interval.mean:.4f} | "
        f"{bounds} | {seconds:,.0f} |"
    )


def _draw(found: dict[str, dict[int, MeanInterval]]) -> None:
    figure, [axes] = create_panels(
        "IMDb: accuracy by labels", "bars: 95 % interval of the mean over seeds (Student's t)"
    )
    for place, ((name, means), color) in enumerate(zip(found.items(), COLORS, strict=True)):
        # side by side, so that bars do not cover each other
        at = [labels * 1.04 ** (place - 1.5) for labels in means]
        values = [interval.mean for interval in means.values()]
        halves = [(interval.high or interval.mean) - interval.mean for interval in means.values()]
        axes.errorbar(at, values, halves, label=name, color=color, marker="o", capsize=3)
    axes.set_xscale("log")
    axes.set_xticks(LABELS, [f"{labels:,}" for labels in LABELS])
    axes.minorticks_off()
    axes.set_xlabel("labels")
    axes.set_ylabel("test accuracy")
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK_COLOR)
    figure.savefig(RESULTS / f"{NAME}.png", dpi=110)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
