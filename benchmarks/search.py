"""A search's own costs, and what it survives: `python -m benchmarks.search [only=...] [seeds=5]`.

only=overhead,kills,memory,processes,pruning,study   these, in this order; the others stay as they
were measured last
"""

import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna

from benchmarks import sweeping
from benchmarks.setting import AT_START, RESULTS, Row, write
from src.config.command_line import parse_key_values
from src.core.user_errors import UserError, format_suggestion
from src.search.samplers import Grid, build_distributions
from src.search.space import parse_space
from src.search.sweep_study import SweepStorage
from src.search.trials import TrialRecord as TrialRow

TRAINING_SECONDS = 2.0
TRIALS, FRESH, KILLS = 20, 6, 10
RATES = ",".join(f"{1e-5 * 1.3**place:.3g}" for place in range(TRIALS))
GRID_SIDE = 4
READ_TRIALS = 1_000


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0; 1 where a gate is missed; 2 for a person's mistake."""
    try:
        asked = parse_key_values(arguments, {"only": ",".join(PARTS), "seeds": "5"})
        for name in asked["only"].split(","):
            if name not in PARTS:
                raise UserError(
                    f"only={name}: there is no such benchmark; {format_suggestion(name, PARTS)}"
                )
    except UserError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    # of all parts, each with the setting in which it was measured last
    kept = RESULTS / "search.json"
    parts: dict[str, dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else {}
    missed = False
    for name in asked["only"].split(","):
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"search-{name}-") as folder:
            rows = PARTS[name](Path(folder), int(asked["seeds"]))
        missed |= any(row.reached is False for row in rows)
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
        parts[name] = {"setting": AT_START, "rows": [row._asdict() for row in rows]}
    kept.write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")
    write(
        "search",
        "A search: what it costs, and what it survives",
        "python -m benchmarks.search",
        lines(parts),
    )
    return 1 if missed else 0


def lines(parts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The tables of all parts, those measured together in one."""
    found: list[str] = []
    for setting in dict.fromkeys(parts[name]["setting"] for name in PARTS if name in parts):
        names = [name for name in PARTS if name in parts and parts[name]["setting"] == setting]
        rows = [Row(**row) for name in names for row in parts[name]["rows"]]
        found += [
            f"Measured {setting}:",
            "",
            "| what | ours | theirs | unit | asked | reached |",
            "| --- " * 6 + "|",
        ]
        for row in rows:
            theirs = "" if row.theirs is None else f"{row.theirs:.3g}"
            found.append(
                f"| {row.name} | {row.ours:.3g} | {theirs} | {row.unit} | {row.gate} | "
                f"{row.verdict} |"
            )
        found += ["", *(f"- {row.name}: {row.note}" for row in rows), ""]
    return found


def overhead(folder: Path, _: int) -> list[Row]:
    """Trials of two seconds of training each, one after the other, beside as many commands of their
    own.
    """
    timed = (
        f"trainer.max_minutes={TRAINING_SECONDS / 60}",
        "trainer.max_epochs=1000",
        "callbacks.progress.style=off",
    )
    # files and caches of the system
    sweeping.run(folder / "first", "trainer.max_steps=1", sweep=False)
    sweep = sweeping.run(folder / "sweep", *timed, f"model.optim.lr={RATES}")
    fresh = [
        sweeping.run(folder / "fresh", *timed, f"model.optim.lr={rate}", sweep=False)
        - TRAINING_SECONDS
        for rate in RATES.split(",")[:FRESH]
    ]
    ours, theirs = sweep / TRIALS - TRAINING_SECONDS, statistics.median(fresh)
    note = (
        f"{sweep:.1f} s for {TRIALS} trials that each train for {TRAINING_SECONDS:g} s by the "
        "clock, from the command "
        f"to its end; theirs: a fresh process for each trial, median of {FRESH}"
    )
    name, gate = f"beyond training, each of {TRIALS} trials", "1.5 s, and half of theirs"
    return [
        Row(name, ours, theirs, "s", theirs / ours, gate, note, ours <= 1.5 and ours < theirs / 2)
    ]


def kills(folder: Path, _: int) -> list[Row]:
    """`kill -9` of a sweep at ten random moments, the same command again each time."""
    words = (
        "trainer.max_epochs=1000",
        "trainer.max_steps=150",
        "trainer.val_check_steps=50",
        "callbacks.checkpoint.every_steps=10",
        "search/sampler=random",
        "search.max_trials=12",
        "model.optim.lr=tag(log, interval(1e-5, 1e-2))",
    )
    longest = min(sweeping.run(folder / "calm", *words), 16.0)
    root = folder / "killed"
    killed = 0
    for seconds in sweeping.moments(KILLS, longest, seed=7):
        killed += sweeping.kill_after(sweeping.start(root, *words), seconds)
    sweeping.finish(sweeping.start(root, *words), root)
    same = _told(sweeping.trials(folder / "calm")) == _told(sweeping.trials(root))
    statuses = [status for _, status, _ in sweeping.runs(root)]
    once = _finished(root) == list(range(12))
    running = statuses.count("RUNNING")
    note = (
        f"trials, values and best {'the same' if same else 'NOT the same'} as undisturbed; "
        f"{len(_finished(root))} "
        f"trials FINISHED, each {'once' if once else 'NOT once'}; {running} runs RUNNING of "
        f"{len(statuses)}"
    )
    good = killed == KILLS and same and once and not running and sweeping.sweeps(root) == 1
    gate = "10; trials and best as undisturbed, each once, none RUNNING"
    return [
        Row("kill -9 of a sweep of 12 trials", killed, None, "kills survived", 0, gate, note, good)
    ]


def memory(folder: Path, _: int) -> list[Row]:
    """Resident memory of what lives as long as a sweep, after three trials and after thirty."""
    rates = ",".join(f"{1e-5 * 1.2**place:.3g}" for place in range(32))
    process = sweeping.start(folder, "trainer.max_steps=2", f"model.optim.lr={rates}")
    after: dict[int, int] = {}
    while process.poll() is None and 30 not in after:
        time.sleep(0.2)
        done = sum(each.state == "finished" for each in sweeping.trials(folder))
        for mark in (3, 30):
            if done >= mark and mark not in after:
                after[mark] = sweeping.resident(process.pid)
    sweeping.finish(process, folder)
    growth = 100 * (after[30] / after[3] - 1)
    note = (
        f"{after[3] / 1e6:.0f} MB after 3 trials, {after[30] / 1e6:.0f} MB after 30: the "
        "sweep's and the warm process"
    )
    return [
        Row(
            "resident memory, 30 trials against 3",
            growth,
            None,
            "% more",
            0,
            "under 5 %",
            note,
            growth < 5,
        )
    ]


def processes(folder: Path, _: int) -> list[Row]:
    """Four processes on one sweep of forty trials."""
    rate = "model.optim.lr=tag(log, interval(1e-5, 1e-2))"
    words = ("trainer.max_steps=2", "search/sampler=tpe", "search.max_trials=40", rate)
    began = time.monotonic()
    for each in [sweeping.start(folder, *words) for _ in range(4)]:
        sweeping.finish(each, folder)
    seconds = time.monotonic() - began
    numbers = [row.number for row in sweeping.trials(folder) if row.state == "finished"]
    once = numbers == list(range(40)) and _finished(folder) == numbers
    locked = (folder / "said.log").read_text().count("database is locked")
    note = (
        f"{len(_finished(folder))} runs FINISHED, each trial {'once' if once else 'NOT once'}; "
        f"{locked} times locked; "
        f"{seconds:.0f} s"
    )
    good = once and not locked and sweeping.sweeps(folder) == 1
    return [
        Row(
            "4 processes, one sweep",
            len(numbers),
            None,
            "trials of 40",
            0,
            "each once, never locked",
            note,
            good,
        )
    ]


def pruning(folder: Path, seeds: int) -> list[Row]:
    """TPE with median pruning against a grid of as many trials on the quickstart: steps to the
    grid's best.
    """
    steady = sweeping.STEADY
    sweeping.run(folder, sweep=False, task=("+experiment=mlm_quickstart", *steady))
    origin = sweeping.runs(folder)[-1][0]
    rates = ",".join(
        f"{10 ** (-6 + 3 * (place + 0.5) / GRID_SIDE):.3g}" for place in range(GRID_SIDE)
    )
    dropouts = ",".join(f"{0.3 * place / (GRID_SIDE - 1):.2g}" for place in range(GRID_SIDE))
    grid = (f"model.optim.lr={rates}", f"model.encoder.dropout={dropouts}")
    learnt = (
        "search/sampler=tpe",
        "search/pruner=median",
        f"search.max_trials={GRID_SIDE**2}",
        "model.optim.lr=tag(log, interval(1e-6, 1e-3))",
        "model.encoder.dropout=interval(0, 0.3)",
    )
    shares: list[float] = []
    notes: list[str] = []
    for seed in range(1, seeds + 1):
        task = (
            "+experiment=quickstart",
            f"init_from={origin}",
            *steady,
            f"seed={seed}",
            "search.jobs=2",
        )
        sweeping.run(folder, *grid, task=task)
        listed = sweeping.trials(folder)
        sweeping.run(folder, *learnt, f"search.sampler.seed={seed}", task=task)
        drawn = sweeping.trials(folder)
        aim, whole = max(map(_value, listed)), sum(map(_steps, listed))
        spent, reached = 0, math.inf
        for each in sorted(drawn, key=lambda row: row.ended_at or 0.0):
            spent += _steps(each)
            if _value(each) >= aim:
                reached = spent
                break
        shares.append(reached / whole)
        pruned = sum(each.state == "pruned" for each in drawn)
        best = max(map(_value, drawn))
        notes.append(
            f"seed {seed}: grid {aim:.4f} in {whole} steps; TPE {best:.4f} in "
            f"{sum(map(_steps, drawn))}, "
            f"{pruned} pruned, the grid's best after {reached}"
        )
        print(notes[-1], flush=True)
    middle = statistics.median(shares)
    return [
        Row(
            f"TPE with median pruning, {GRID_SIDE**2} trials, against a grid of as many",
            middle,
            None,
            "of the grid's steps",
            0,
            f"at most half (median of {seeds} seeds)",
            "; ".join(notes),
            middle <= 0.5,
        )
    ]


def study(folder: Path, _: int) -> list[Row]:
    """The study alone, without trainings: the start of a large grid, and reading many trials."""
    storage = SweepStorage(None, folder)
    space, _fixed = parse_space(["seed=range(0,100)", "model.layers=range(1,101)"], {})
    claim_seconds = []
    for name in ("grid", "read"):
        began = time.monotonic()
        storage.create_study(name, ["min"], {})
        opened = storage.open_study(name, space=space, sampler=Grid())
        opened.claim_trial("benchmark", max_trials=None)
        claim_seconds.append(time.monotonic() - began)
    study_id = storage.optuna_storage.get_study_id_from_name("read")
    for number in range(READ_TRIALS):
        ended = optuna.trial.create_trial(
            values=[1.0],
            params=space.grid_point(number),
            distributions=build_distributions(space, Grid()),
            intermediate_values={validation: 1 / validation for validation in range(1, 5)},
            user_attrs={"run_id": "0" * 32, "point": number, "complete": True, "steps": 100},
        )
        storage.rdb.create_new_trial(study_id, ended)
    opened = SweepStorage(None, folder).open_study("read")
    began = time.monotonic()
    opened.load_trials()
    first_seconds = time.monotonic() - began
    began = time.monotonic()
    for _repetition in range(20):
        opened.load_trials()
    again_seconds = (time.monotonic() - began) / 20
    reading = f"reading {READ_TRIALS:,} trials that have ended"
    return [
        Row(
            f"a sweep of a grid of {space.grid_size:,} points until its first trial is claimed",
            claim_seconds[0],
            None,
            "s",
            0,
            "5 s",
            "the study is made and opened",
            claim_seconds[0] <= 5,
        ),
        Row(f"{reading}, the first time", first_seconds, None, "s", 0, "", "by a new process"),
        Row(f"{reading}, again", again_seconds, None, "s", 0, "", "as the table of a sweep does"),
    ]


def _value(row: TrialRow) -> float:
    return row.values[0] if row.state == "finished" and row.values else -math.inf


def _steps(row: TrialRow) -> int:
    return int(row.attributes.get("steps", 0))


def _finished(root: Path) -> list[int]:
    """The trial of every FINISHED run, in order: a trial with two such runs stands there twice."""
    return sorted(
        int(tags["search.trial"])
        for _, status, tags in sweeping.runs(root)
        if status == "FINISHED" and "search.trial" in tags
    )


def _told(found: list[TrialRow]) -> list[tuple[object, ...]]:
    return [(row.number, row.state, row.params, row.values) for row in found]


PARTS: dict[str, Callable[[Path, int], list[Row]]] = {
    "overhead": overhead,
    "kills": kills,
    "memory": memory,
    "processes": processes,
    "pruning": pruning,
    "study": study,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
