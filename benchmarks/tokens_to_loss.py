"""Masked language modelling to the same loss in less time: `REAL_DATA=FOLDER python -m
benchmarks.tokens_to_loss TASK [only=NAME,...] [seeds=1,...,8] [again=true]`.

TASK is wikitext or novels, from scratch, or wikitext_going_on or novels_going_on, from MiniLM, or
wikitext_choice, a quarter as long, by which contestants are chosen. The default is the experiment
`mlm_wikitext` as it was before this contest, on one thread, with so many steps as take some 20
minutes of the processor; a contestant has at most so many as take some 12. Each is judged by its
loss on the test split after its last step. The rule of evidence: at least eight seeds a side, a
one-sided test of Welch with p < 0.001, every training that was ever made on the page. Seeds from
101 are for choosing as well and have no part in the verdict.

Every training that has ended is a row of docs/results/tokens_to_loss.json and is not made again.
"""

import io
import math
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from benchmarks.material import PLACE, minilm, real
from benchmarks.recorded_runs import RecordedRuns
from benchmarks.setting import write
from benchmarks.timed_training import ONE_THREAD, Contest, hold_contest, train_timed

NAME = "tokens_to_loss"
RUNS = RecordedRuns(NAME, ("task", "contestant", "seed"))
DEFAULT = "default"
# The gate: this share of the default's processor seconds, by so many seeds, at this p.
MOST_SECONDS, SEEDS, LEVEL = 0.6, 8, 0.001
FIRST_CHOOSING_SEED = 101
# MiniLM, 6 x 384 with a vocabulary of 30,522, takes about four times as long for a token
PRETRAINED_STEPS = 0.25
CHOICE_STEPS = 0.25
# of the 97 novels in the order of their names, every so many is for validation, and one after it
# for the test
EVERY = 32
WIKITEXT = "WikiText-2: 2 million words, and its own validation and test articles"
NOVELS = "97 English novels: 90 to train, 4 to validate, 3 to test"


class Task(NamedTuple):
    """A text, and from what the training on it begins.

    Attributes:
        text: `wikitext` or `novels`.
        lr, muon_lr: the learning rates of AdamW and of Muon.
        pretrained: whether it goes on from MiniLM.
        share: of the steps of a contestant.
    """

    title: str
    text: str
    lr: float = 2e-3
    muon_lr: float = 2e-3
    pretrained: bool = False
    share: float = 1.0

    def count_steps(self, contestant: "Contestant") -> int:
        """The optimizer steps of a contestant in this task."""
        return round(contestant.steps * self.share)


TASKS = {
    "wikitext": Task(f"{WIKITEXT}; from scratch", "wikitext"),
    "novels": Task(f"{NOVELS}; from scratch", "novels"),
    "wikitext_going_on": Task(
        f"{WIKITEXT}; from MiniLM", "wikitext", 2e-4, 2e-4, True, PRETRAINED_STEPS
    ),
    "novels_going_on": Task(f"{NOVELS}; from MiniLM", "novels", 2e-4, 2e-4, True, PRETRAINED_STEPS),
    "wikitext_choice": Task(
        f"{WIKITEXT}; from scratch, to choose by", "wikitext", share=CHOICE_STEPS
    ),
}


class Contestant(NamedTuple):
    """So many optimizer steps from scratch, overrides of the experiment, and in words what they
    do; `rate` times the learning rate that the task has for the optimizer.
    """

    what: str
    steps: int
    overrides: tuple[str, ...] = ()
    rate: float = 1.0


# What the experiment was before this contest, and every contestant is where it says nothing else.
BEFORE = (
    "model.fresh_embeddings=random",
    "data.batching.mask_fraction=0.2",
    "model.optim.schedule=linear",
)
MUON = ("model/optim=muon",)
FALLING_MASKS = ("data.batching.mask_fraction=0.3", "data.batching.mask_fraction_end=0.15")
SQRT_DECAY = (
    "model.optim.schedule=wsd",
    "model.optim.decay_fraction=0.4",
    "model.optim.decay_shape=sqrt",
)
SMALL = "data.batching.batch_size=8"
MANY_MASKS = ("data.batching.mask_fraction=0.4",)
AVERAGE = ("callbacks=weight_averaging",)
MORE_MASKS = ("data.batching.mask_fraction=0.3",)
NEIGHBOURS = ("model.fresh_embeddings=cooccurrence",)
CONTESTANTS = {
    DEFAULT: Contestant("the experiment as it is, longer", 4000),
    "shorter": Contestant("fewer steps alone", 2400),
    "falling masks": Contestant("masks from 0.3 to 0.15", 2400, FALLING_MASKS),
    "late decay": Contestant("a constant rate, which falls as 1 - sqrt", 2400, SQRT_DECAY),
    "average": Contestant("an average of the last hundred steps or so", 2400, AVERAGE),
    "small batches": Contestant("half of the rows in a step", 4400, (SMALL,)),
    "many masks": Contestant("masks at 0.4", 2000, MANY_MASKS),
    "more masks and late decay": Contestant(
        "masks at 0.3, and late decay",
        2150,
        (*SQRT_DECAY, *MORE_MASKS),
    ),
    "neighbours": Contestant("embeddings that begin with neighbours", 2350, NEIGHBOURS),
    "neighbours with more masks and late decay": Contestant(
        "embeddings that begin with neighbours, masks at 0.3, and late decay",
        2050,
        (*NEIGHBOURS, *SQRT_DECAY, *MORE_MASKS),
    ),
    "half as long with neighbours": Contestant(
        "embeddings that begin with neighbours, masks at 0.3, and late decay",
        1800,
        (*NEIGHBOURS, *SQRT_DECAY, *MORE_MASKS),
    ),
    "many masks and late decay": Contestant(
        "masks at 0.4, and late decay", 2000, (*SQRT_DECAY, *MANY_MASKS)
    ),
    "many masks and late decay in small batches": Contestant(
        "masks at 0.4, late decay, half of the rows in a step",
        3600,
        (*SQRT_DECAY, *MANY_MASKS, SMALL),
    ),
    "most masks and late decay": Contestant(
        "masks at 0.6, and late decay", 1700, (*SQRT_DECAY, "data.batching.mask_fraction=0.6")
    ),
    "falling from many masks": Contestant(
        "masks from 0.5 to 0.15",
        2200,
        ("data.batching.mask_fraction=0.5", "data.batching.mask_fraction_end=0.15"),
    ),
    "falling from most masks with late decay": Contestant(
        "masks from 0.6 to 0.15, and late decay",
        2050,
        (*SQRT_DECAY, "data.batching.mask_fraction=0.6", "data.batching.mask_fraction_end=0.15"),
    ),
    "muon": Contestant("Muon", 1950, MUON),
    "muon with late decay": Contestant("Muon and late decay", 1950, (*MUON, *SQRT_DECAY)),
    "muon with cautious decay": Contestant(
        "Muon, late decay, and ten times as much weight decay, which spares growing weights",
        1950,
        (*MUON, *SQRT_DECAY, "model.optim.weight_decay=0.1", "model.optim.cautious_decay=true"),
    ),
    "muon at a higher rate": Contestant(
        "Muon and late decay at twice the rate", 1950, (*MUON, *SQRT_DECAY), 2.0
    ),
    "muon at four times the rate": Contestant(
        "Muon and late decay at four times the rate", 1600, (*MUON, *SQRT_DECAY), 4.0
    ),
    "muon in small batches": Contestant(
        "Muon and late decay, half of the rows in a step", 3300, (*MUON, *SQRT_DECAY, SMALL)
    ),
    "late decay at a higher rate": Contestant(
        "late decay at twice the rate", 2400, SQRT_DECAY, 2.0
    ),
    "together": Contestant(
        "Muon, late decay and falling masks", 1950, (*MUON, *SQRT_DECAY, *FALLING_MASKS)
    ),
}


def main(arguments: Sequence[str]) -> int:
    """The exit code: 1 where no contestant reaches the gate, 2 for a person's mistake."""
    contest = Contest(
        NAME,
        TASKS,
        CONTESTANTS,
        only=DEFAULT,
        seeds=",".join(map(str, range(1, SEEDS + 1))),
        result="test_loss",
        locate=lambda task: locate_text(TASKS[task].text),
        train=train,
        write_page=write_page,
    )
    return hold_contest(contest, RUNS, arguments)


def train(task: str, name: str, seed: int, root: str) -> dict[str, Any]:
    """Train one contestant as a run, and test it."""
    contestant, where = CONTESTANTS[name], TASKS[task]
    steps = where.count_steps(contestant)
    rate = where.muon_lr if MUON[0] in contestant.overrides else where.lr
    text = (
        "+experiment=mlm_wikitext",
        *locate_text(where.text),
        *(_begin_from_minilm() if where.pretrained else ()),
        f"data.cache={PLACE / NAME}",
    )
    metrics, seconds = train_timed(
        *text,
        *ONE_THREAD,
        f"trainer.max_steps={steps}",
        f"trainer.val_check_steps={steps}",
        f"tracking.root={root}",
        f"seed={seed}",
        *_fill_up(contestant.overrides),
        f"model.optim.lr={rate * contestant.rate}",
    )
    if NEIGHBOURS[0] in contestant.overrides:
        # they are found before the training begins
        seconds = round(seconds + _time_neighbours(*text), 1)
    return {
        "task": task,
        "contestant": name,
        "seed": seed,
        "steps": steps,
        "overrides": contestant.overrides,
        "test_loss": metrics["test/loss"],
        "val_loss": metrics["val/loss"],
        "train_seconds": seconds,
    }


def _fill_up(overrides: Sequence[str]) -> list[str]:
    """Overrides, and those of `BEFORE` whose keys are not among them."""
    keys = {word.partition("=")[0] for word in overrides}
    return [*(word for word in BEFORE if word.partition("=")[0] not in keys), *overrides]


def _time_neighbours(*overrides: str) -> float:
    """The processor seconds in which the neighbours of all tokens are counted and factorised."""
    from palimpsest import compose
    from src.config.build_nodes import build_node
    from src.data.cache import ContentCache

    config = compose(*overrides)
    datamodule = build_node(config["data"]).build(None)
    datamodule.prepare_data()
    with tempfile.TemporaryDirectory() as folder:
        datamodule.cache = ContentCache(folder)
        began = time.process_time()
        datamodule.load_token_vectors(config["model"]["encoder"]["width"])
        return time.process_time() - began


def _begin_from_minilm() -> tuple[str, ...]:
    return (
        "data/tokenizer=pretrained",
        "model/encoder=pretrained",
        f"model.encoder.name_or_path={minilm()}",
    )


def locate_text(text: str) -> list[str]:
    """The overrides that name a text."""
    if text == "wikitext":
        return [f"data.source.path={real('wikitext2')}", "data.source.validation=valid"]
    return [
        f"data.source.path={_unpack_novels()}",
        "data.source.validation=validation",
        "data.source.heading=null",
    ]


def _unpack_novels() -> Path:
    """A folder with a novel a line in train.txt, validation.txt and test.txt."""
    archive, folder = real("novels") / "corpus_97.tar.xz", PLACE / "novels"
    if not (folder / "test.txt").is_file():
        splits: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
        with tarfile.open(archive) as files:
            members = sorted((file for file in files if file.isfile()), key=lambda file: file.name)
            for place, member in enumerate(members):
                content = files.extractfile(member)
                assert content is not None
                with io.TextIOWrapper(content, encoding="utf-8-sig") as text:
                    novel = " ".join(text.read().split())
                split = {0: "validation", 1: "test"}.get(place % EVERY, "train")
                splits[split].append(novel)
        folder.mkdir(parents=True, exist_ok=True)
        for split, novels in splits.items():
            (folder / f"{split}.txt").write_text("\n".join(novels) + "\n", encoding="utf-8")
    return folder


class Line(NamedTuple):
    """What is known of a contestant on one task.

    Attributes:
        losses: by seed, also those that contestants were chosen by.
        share: of the default's processor seconds; None without the default.
        p: of the hypothesis that its loss is no lower than the default's; None without two seeds of
            each.
        reached: whether it reaches the gate; None while that is not known.
    """

    name: str
    losses: dict[int, float]
    seconds: float
    share: float | None = None
    p: float | None = None
    reached: bool | None = None


def summarise(rows: Sequence[Mapping[str, Any]], task: str) -> list[Line]:
    """The contestants of a task, the default first."""
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["task"] == task:
            by_name.setdefault(row["contestant"], []).append(row)
    names = sorted(by_name, key=lambda name: (name != DEFAULT, name))
    base = by_name.get(DEFAULT, [])
    return [_judge(name, by_name[name], base) for name in names]


def _judge(
    name: str, found: Sequence[Mapping[str, Any]], base: Sequence[Mapping[str, Any]]
) -> Line:
    losses = {row["seed"]: row["test_loss"] for row in sorted(found, key=lambda row: row["seed"])}
    line = Line(name, losses, mean(row["train_seconds"] for row in found))
    if not base or name == DEFAULT:
        return line
    share = line.seconds / mean(row["train_seconds"] for row in base)
    counted, theirs = _count(found), _count(base)
    if min(len(counted), len(theirs)) < 2:
        return line._replace(share=share)
    from scipy.stats import ttest_ind

    test = ttest_ind(counted, theirs, equal_var=False, alternative="less")
    p = float(test.pvalue) if math.isfinite(test.pvalue) else 1.0
    is_known = min(len(counted), len(theirs)) >= SEEDS
    reached = share <= MOST_SECONDS and p < LEVEL if is_known else None
    return line._replace(share=share, p=p, reached=reached)


def _count(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """The losses that count: not those by which contestants were chosen."""
    return [row["test_loss"] for row in rows if row["seed"] < FIRST_CHOOSING_SEED]


def write_page(rows: Sequence[Mapping[str, Any]]) -> int:
    """Write the page; the exit code is 1 where no contestant reaches the gate."""
    lines = [
        "By the product on one thread in bf16. From scratch: ModernBERT's form, 4 layers of 256, a "
        "vocabulary of 8,000 learnt on the training text. From MiniLM: its 6 layers of 384, its "
        "vocabulary, and a fresh head. Test loss in nats a masked token, masks "
        "at 0.15 with a seed of their own. Seconds are those of the processor in training and its "
        "one validation, and in finding neighbours, on a machine with other work: a difference of "
        "a tenth is none.",
        "",
        f"The default is the experiment as it was until 1 December 2026: {' '.join(BEFORE)}.",
        "",
        f"To reach: a mean loss below the default's, by at least {SEEDS} seeds a side and Welch's "
        f"one-sided test with p < {LEVEL}, in at most {MOST_SECONDS} of its seconds. Seeds from "
        f"{FIRST_CHOOSING_SEED} chose the contestants and do not count. All trainings are shown.",
        "",
    ]
    reached = []
    for task, where in TASKS.items():
        found = summarise(rows, task)
        if not found:
            continue
        rates = f"AdamW with a rate of {where.lr:g}, Muon with {where.muon_lr:g}"
        lines += [f"**{where.title}.** {rates}.", ""]
        lines += [
            "| contestant | steps | test loss (seed) | mean | s | share of the default's | p | "
            "reached |",
            "| --- | ---: | --- | ---: | ---: | ---: | ---: | --- |",
        ]
        steps = {row["contestant"]: row["steps"] for row in rows if row["task"] == task}
        for line in found:
            reached.append(line.reached)
            lines.append(_format(line, steps[line.name]))
        lines.append("")
    lines += ["| contestant | what it does | keys |", "| --- | --- | --- |"]
    keys = {row["contestant"]: row["overrides"] for row in rows}
    for name in keys:
        what = CONTESTANTS[name].what if name in CONTESTANTS else "no longer tried"
        lines.append(f"| {name} | {what} | {' '.join(f'`{key}`' for key in keys[name])} |")
    settings = sorted({row["setting"] for row in rows})
    lines += ["", "Trained:", "", *(f"- {setting}" for setting in settings)]
    command = f"REAL_DATA=FOLDER python -m benchmarks.{NAME} wikitext"
    write(NAME, "Masked language modelling to the same loss in less time", command, lines)
    return 0 if any(reached) else 1


def _format(line: Line, steps: int) -> str:
    losses = ", ".join(f"{loss:.4f} ({seed})" for seed, loss in line.losses.items())
    share = "" if line.share is None else f"{line.share:.2f}"
    p = "" if line.p is None else f"{line.p:.2g}"
    word = {True: "yes", False: "**no**", None: ""}[line.reached]
    return (
        f"| {line.name} | {steps:,} | {losses} | {mean(line.losses.values()):.4f} | "
        f"{line.seconds:.0f} | {share} | {p} | {word} |"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
