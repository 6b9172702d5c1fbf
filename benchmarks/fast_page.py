"""docs/results/fast_finetune.md and its picture, from the rows that were kept."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from benchmarks.curves import COLORS
from benchmarks.fast_contestants import CONTESTANTS
from benchmarks.setting import RESULTS, write
from src.evaluation.intervals import find_share_interval
from src.search.view.plot_axes import INK_COLOR, create_panels

PICTURE = "fast_finetune.png"
DEFAULT = "default"
# The gate on IMDb: this share of the default's processor seconds, and this much accuracy less.
MOST_SECONDS, LEAST_ACCURACY, SEEDS = 0.5, 0.002, 3
TITLES = {
    "imdb": "IMDb: 22,500 reviews to train, 25,000 to test",
    "sst2": "SST-2: 6,920 sentences to train, 1,821 to test",
    "choice": "What is chosen by: 6,000 of IMDb's training reviews, judged by 2,500 others of them",
}
NOTES = {
    "imdb": "To reach, over three seeds: the default's mean accuracy less 0.2 points, in half "
    "of its seconds.",
    "sst2": "To reach, over three seeds: a mean within the 95 % interval of the default's mean on "
    "1,821 rows.",
    "choice": "No test review has a part in it; nothing is to be reached here.",
}
TEST_ROWS = {"imdb": 25_000, "sst2": 1821, "choice": 2500}
INTRODUCTION = [
    "Every contestant is its experiment but for the keys that the last table lists, trained by the "
    "product on one thread, in bf16. Seconds are those of the processor in training and "
    "validation, on a machine with other work: a difference of a tenth is none. All trainings are "
    "shown. A time is compared over the seeds that the default was trained with too.",
    "",
]


class Line(NamedTuple):
    """What is known of a contestant on one task. Shares and differences are those to the default
    over the seeds that both have; None without such a seed.
    """

    name: str
    accuracies: dict[int, float]
    seconds: float
    share: float | None
    difference: float | None


def summarise(rows: Sequence[Mapping[str, Any]], task: str) -> list[Line]:
    """The contestants of a task, the default first."""
    by_name: dict[str, dict[int, Mapping[str, Any]]] = {}
    for row in rows:
        if row["task"] == task:
            by_name.setdefault(row["contestant"], {})[row["seed"]] = row
    base = by_name.get(DEFAULT, {})
    lines = []
    for name in sorted(by_name, key=_order):
        found = by_name[name]
        both = sorted(set(found) & set(base))
        share = difference = None
        if both:
            share = _mean(found, both, "train_seconds") / _mean(base, both, "train_seconds")
            difference = _mean(found, both, "test_accuracy") - _mean(base, both, "test_accuracy")
        accuracies = {seed: found[seed]["test_accuracy"] for seed in sorted(found)}
        lines.append(
            Line(name, accuracies, _mean(found, found, "train_seconds"), share, difference)
        )
    return lines


def _order(name: str) -> int:
    """The contestants as they are listed; one that is no longer tried stays on the page, last."""
    names = [*CONTESTANTS]
    return names.index(name) if name in names else len(names)


def _mean(found: Mapping[int, Mapping[str, Any]], seeds: Any, key: str) -> float:
    return mean(found[seed][key] for seed in seeds)


def is_reached(line: Line, task: str, base: Line) -> bool | None:
    """Whether a contestant reaches the gate of its task; None where that is not known yet."""
    seeds = set(line.accuracies) & set(base.accuracies)
    if task == "choice" or line.name == DEFAULT or len(seeds) < SEEDS:
        return None
    assert line.difference is not None and line.share is not None
    if task == "imdb":
        return line.difference >= -LEAST_ACCURACY and line.share <= MOST_SECONDS
    center = mean(base.accuracies[seed] for seed in seeds)
    interval = find_share_interval(round(center * TEST_ROWS[task]), TEST_ROWS[task])
    assert interval is not None
    return center + line.difference >= interval.low


def write_page(rows: Sequence[Mapping[str, Any]], folder: Path = RESULTS) -> int:
    """Write page and picture; the exit code is 1 where no contestant reaches the gate on IMDb."""
    lines = [*INTRODUCTION]
    reached = []
    tasks = [task for task in TITLES if any(row["task"] == task for row in rows)]
    for task in tasks:
        found = summarise(rows, task)
        base = next((line for line in found if line.name == DEFAULT), None)
        lines += [f"**{TITLES[task]}.** {NOTES[task]}", ""]
        lines += [
            "| contestant | test accuracy by seed | mean | to the default's | s of training | "
            "share of the default's | reached |",
            "| --- | --- | ---: | ---: | ---: | ---: | --- |",
        ]
        for line in found:
            verdict = None if base is None else is_reached(line, task, base)
            reached += [verdict] if task == "imdb" else []
            lines.append(_format(line, verdict))
        lines.append("")
    lines += [f"![Accuracy against processor seconds]({PICTURE})", ""]
    lines += ["| contestant | what it does | keys |", "| --- | --- | --- |"]
    keys = {row["contestant"]: row["overrides"] for row in rows}
    for name in sorted(keys, key=_order):
        what = CONTESTANTS[name].what if name in CONTESTANTS else "no longer tried"
        lines.append(f"| {name} | {what} | {' '.join(f'`{key}`' for key in keys[name])} |")
    settings = sorted({row["setting"] for row in rows})
    lines += ["", "Trained:", "", *(f"- {setting}" for setting in settings)]
    folder.mkdir(parents=True, exist_ok=True)
    draw({task: summarise(rows, task) for task in tasks}, folder / PICTURE)
    command = "REAL_DATA=FOLDER python -m benchmarks.fast_finetune imdb"
    write("fast_finetune", "Fine-tuning in less time", command, lines, folder)
    return 0 if any(reached) else 1


def _format(line: Line, verdict: bool | None) -> str:
    accuracies = ", ".join(f"{value:.4f} ({seed})" for seed, value in line.accuracies.items())
    difference = "" if line.difference is None else f"{100 * line.difference:+.2f}"
    share = "" if line.share is None else f"{line.share:.2f}"
    word = {True: "yes", False: "**no**", None: ""}[verdict]
    return (
        f"| {line.name} | {accuracies} | {mean(line.accuracies.values()):.4f} | {difference} | "
        f"{line.seconds:.0f} | {share} | {word} |"
    )


def draw(tasks: Mapping[str, Sequence[Line]], path: Path) -> None:
    """Mean accuracy against processor seconds: a panel for each task, a point for each
    contestant, and faint ones for its seeds.
    """
    figure, panels = create_panels(
        "Accuracy against processor seconds",
        "means over seeds; each faint mark is a seed",
        count=len(tasks),
        columns=2,
        height=3.6,
    )
    for axes, (task, lines) in zip(panels, tasks.items(), strict=True):
        for line in lines:
            color = COLORS[_order(line.name) % len(COLORS)]
            values = [*line.accuracies.values()]
            axes.scatter([line.seconds] * len(values), values, s=14, color=color, alpha=0.35)
            axes.scatter([line.seconds], [mean(values)], s=30, color=color)
            axes.annotate(
                line.name,
                (line.seconds, mean(values)),
                xytext=(5, -3),
                textcoords="offset points",
                size=7.5,
                color=INK_COLOR,
            )
        axes.set_xlim(0, 1.25 * max(line.seconds for line in lines))
        axes.set_title(TITLES[task].partition(":")[0], loc="left", size=9.5, color=INK_COLOR)
        axes.set_xlabel("processor seconds of training")
        axes.set_ylabel("test accuracy")
    figure.savefig(path, dpi=110)
