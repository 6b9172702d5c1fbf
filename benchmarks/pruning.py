"""Whether pruning keeps the winners: `python -m benchmarks.pruning [seeds=10] [trials=20] [jobs=1]
[record=true] [live=true]`.

Searches for the learning rate as `search=learning_rate` does, with each pruner and with none, on
recorded trainings (docs/results/pruning.json). record=true trains first what is not recorded
(REAL_DATA names a folder with sst2/), live=true trains real sweeps beside it on the first task.
"""

import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import optuna
from omegaconf import OmegaConf

from benchmarks import recorded_curves, sweeping
from benchmarks.recorded_curves import Curve, Task
from benchmarks.replay import Outcome, ReplayedSearch
from benchmarks.setting import ROOT, write
from src.config.build_nodes import build_node
from src.config.command_line import parse_key_values
from src.core.user_errors import UserError
from src.search.pruners import Halving, Hyperband, Median, SearchPruner
from src.search.samplers import TPE

SHIPPED = ("percentile", "median", "halving", "hyperband")
# as they were when they judged from the first validation on
FORMER: dict[str, SearchPruner] = {
    "median": Median(),
    "halving": Halving(),
    "hyperband": Hyperband(),
}
DEFAULT = "percentile"
OPTIONS = {"seeds": "10", "trials": "20", "jobs": "1", "record": "false", "live": "false"}
LIVE_SEEDS = (1, 2)


class Comparison(NamedTuple):
    """A pruner against none on one task, over all seeds: the share of the steps (mean and worst),
    and by how many standard deviations of retraining its best trial is better (mean and worst, by
    validation; mean, by test).
    """

    steps: float
    most_steps: float
    best: float
    worst_best: float
    test: float

    @property
    def is_reached(self) -> bool:
        """Half the steps at most, and a best trial within the noise; on the mean over the seeds."""
        return self.steps <= 0.5 and self.best >= -1


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0; 1 where the shipped pruner misses on a task; 2 for a person's mistake."""
    try:
        asked = parse_key_values(arguments, OPTIONS)
    except UserError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    seeds, trials, jobs = (int(asked[name]) for name in ("seeds", "trials", "jobs"))
    if asked["record"] == "true":
        recorded_curves.record()
    curves, modes = recorded_curves.load(), recorded_curves.load_modes()
    pruners: dict[str, SearchPruner | None] = {name: _load_shipped(name) for name in SHIPPED}
    pruners |= {f"{name}, as shipped before": pruner for name, pruner in FORMER.items()}
    found: dict[str, dict[str, Comparison]] = {name: {} for name in pruners}
    for task, trainings in curves.items():
        unpruned = _replay(modes[task], trainings, None, seeds, trials, jobs)
        noise = recorded_curves.measure_noise(trainings)
        for name, pruner in pruners.items():
            outcomes = _replay(modes[task], trainings, pruner, seeds, trials, jobs)
            found[name][task] = compare(outcomes, unpruned, noise, modes[task])
    lines = _format_tables(found, curves, seeds=seeds, trials=trials, jobs=jobs)
    if asked["live"] == "true":
        lines += _run_live(trials)
    write("pruning", "Pruning: steps spared, winners kept", "python -m benchmarks.pruning", lines)
    return 0 if all(each.is_reached for each in found[DEFAULT].values()) else 1


def compare(
    outcomes: Sequence[Outcome],
    unpruned: Sequence[Outcome],
    noise: tuple[float, float],
    mode: str,
) -> Comparison:
    """Searches with a pruner against those with the same seeds without.

    Args:
        noise: standard deviations of retraining, of validation and test.
    """
    sign = 1 if mode == "max" else -1
    pairs = list(zip(outcomes, unpruned, strict=True))
    steps = [ours.steps / theirs.steps for ours, theirs in pairs]
    best = [sign * (ours.best.best - theirs.best.best) / noise[0] for ours, theirs in pairs]
    test = [sign * (ours.best.test - theirs.best.test) / noise[1] for ours, theirs in pairs]
    return Comparison(
        statistics.mean(steps), max(steps), statistics.mean(best), min(best), statistics.mean(test)
    )


def _load_shipped(name: str) -> SearchPruner:
    """The pruner of a file in conf/search/pruner/."""
    config = OmegaConf.load(ROOT / "conf" / "search" / "pruner" / f"{name}.yaml")
    return build_node(OmegaConf.to_container(config))  # type: ignore[arg-type]


def _replay(
    mode: str,
    curves: Sequence[Curve],
    pruner: SearchPruner | None,
    seeds: int,
    trials: int,
    jobs: int,
) -> list[Outcome]:
    return [
        ReplayedSearch(mode, curves, TPE(seed=seed), pruner, seed=seed, jobs=jobs).run(trials)
        for seed in range(1, seeds + 1)
    ]


def _format_tables(
    found: Mapping[str, Mapping[str, Comparison]],
    curves: Mapping[str, Sequence[Curve]],
    **setting: int,
) -> list[str]:
    """One table for each pruner, the default first."""
    lines = [
        f"Searches for the learning rate (TPE, {setting['trials']} trials, {setting['jobs']} at a "
        f"time), {setting['seeds']} seeds on each task, with a pruner and without, by replay: the "
        "sampler and the pruner are asked as in a sweep, and a trial has the validations of the "
        "recorded training with the nearest rate. Differences of the best trial are in standard "
        "deviations of retraining with another seed; plus is better. The quarter and the share of "
        "the shipped pruner were chosen on these recordings: no task was held out.",
        "",
        "| task | trainings | noise of validation | noise of test |",
        "| --- " * 4 + "|",
    ]
    for task, trainings in curves.items():
        best, test = recorded_curves.measure_noise(trainings)
        lines.append(f"| {task} | {len(trainings)} | {best:.4f} | {test:.4f} |")
    for name, by_task in found.items():
        mark = ", which `search=learning_rate` ships" if name == DEFAULT else ""
        lines += [
            "",
            f"**{name}**{mark}",
            "",
            "| task | steps of the unpruned | most | best trial, validation | worst seed | "
            "best trial, test | half the steps, within the noise |",
            "| --- " * 7 + "|",
        ]
        lines += [
            f"| {task} | {row.steps:.2f} | {row.most_steps:.2f} | {row.best:+.2f} | "
            f"{row.worst_best:+.2f} | {row.test:+.2f} | {'yes' if row.is_reached else '**no**'} |"
            for task, row in by_task.items()
        ]
    return lines


def _run_live(trials: int) -> list[str]:
    """Real sweeps on the first task, with the shipped pruner and with none."""
    name, task = next(iter(recorded_curves.list_tasks(recorded_curves.pretrain()).items()))
    lines = ["", f"**live**: {name}", "", "| seed | steps of the unpruned | best, pruned | best |"]
    lines.append("| --- " * 4 + "|")
    for seed in LIVE_SEEDS:
        (steps, best), (all_steps, all_best) = (
            _train_sweep(task, trials, f"search.sampler.seed={seed}", *words)
            for words in ((), ("search.pruner=null",))
        )
        lines.append(f"| {seed} | {steps / all_steps:.2f} | {best:.4f} | {all_best:.4f} |")
        print(lines[-1], flush=True)
    return lines


def _train_sweep(task: Task, trials: int, *words: str) -> tuple[int, float]:
    """The steps of a real sweep, and the value of its best trial."""
    with tempfile.TemporaryDirectory(prefix="pruning-") as folder:
        root = Path(folder)
        sweeping.run(
            root, "search=learning_rate", f"search.max_trials={trials}", *words, task=task.words
        )
        ended = sweeping.trials(root)
    values = [trial.values[0] for trial in ended if trial.state == "finished" and trial.values]
    steps = sum(int(trial.attributes.get("steps", 0)) for trial in ended)
    return steps, (max if task.mode == "max" else min)(values)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
