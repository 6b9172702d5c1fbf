"""A sweep on Ray whose nodes die: `python -m benchmarks.node_loss`.

Forty trials on two nodes; five times, at a random moment, all processes of one node are killed and
another node joins. The same sweep undisturbed says what must come out.
"""

import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks import sweeping
from benchmarks.ray_nodes import RayNodes
from benchmarks.setting import write
from src.search.trials import TrialRecord

TRIALS, NODES, KILLS = 40, 2, 5
RATES = ",".join(f"{1e-5 * 1.2**place:.3g}" for place in range(TRIALS))
WORDS = (
    f"model.optim.lr={RATES}",
    "trainer.max_epochs=null",
    "trainer.max_steps=60",
    "trainer.val_check_steps=30",
    "callbacks.checkpoint.every_steps=10",
    "callbacks.progress.style=off",
)


def main() -> int:
    """The exit code: 0; 1 where a trial was lost or is another."""
    with tempfile.TemporaryDirectory(prefix="node-loss-") as folder:
        calm, disturbed = Path(folder, "calm"), Path(folder, "disturbed")
        seconds = sweeping.run(calm, *WORDS, "search.jobs=2")
        nodes = RayNodes()
        try:
            nodes.start(NODES)
            words = (*WORDS, "search.launcher=ray", f"search.ray.address={nodes.address}")
            began = time.monotonic()
            sweep = sweeping.start(disturbed, *words)
            killed = _kill_nodes(nodes, sweep, seconds)
            sweeping.finish(sweep, disturbed)
            lasted = time.monotonic() - began
        finally:
            nodes.stop()
        return report(calm, disturbed, killed, seconds, lasted)


def _kill_nodes(nodes: RayNodes, sweep: "subprocess.Popen[bytes]", seconds: float) -> list[float]:
    """Kill a node at random moments of the sweep; returns these, in seconds from its start."""
    draw, began = random.Random(7), time.monotonic()
    moments = sorted(draw.uniform(10.0, 10.0 + seconds) for _ in range(KILLS))
    killed = []
    for moment in moments:
        try:
            sweep.wait(max(0.0, began + moment - time.monotonic()))
            break
        except subprocess.TimeoutExpired:
            nodes.kill_node(draw.choice(nodes.nodes))
            killed.append(time.monotonic() - began)
            nodes.add_node()
    return killed


def report(calm: Path, disturbed: Path, killed: list[float], seconds: float, lasted: float) -> int:
    """Write the result; returns the exit code."""
    trials, runs = sweeping.trials(disturbed), sweeping.runs(disturbed)
    owned = Counter(tags["search.trial"] for _, _, tags in runs if "search.trial" in tags)
    statuses = Counter(status for _, status, _ in runs)
    losses = [int(trial.attributes.get("lost_nodes", 0)) for trial in trials]
    best, expected = _best(trials), _best(sweeping.trials(calm))
    gates = [
        (f"{KILLS} nodes killed while it ran", len(killed) == KILLS),
        (
            f"{TRIALS} trials finished, each with one run",
            [trial.state for trial in trials] == ["finished"] * TRIALS
            and owned == Counter(str(number) for number in range(TRIALS)),
        ),
        (
            "the same trials with the same values as undisturbed",
            _values(trials) == _values(sweeping.trials(calm)),
        ),
        (f"the same best (trial {expected})", best == expected),
        ("no run says RUNNING", not statuses["RUNNING"]),
    ]
    moments = ", ".join(f"{moment:.0f}" for moment in killed)
    lines = [
        f"{TRIALS} trials on {NODES} nodes of one core each, {lasted:.0f} s (undisturbed, as two "
        f"processes of this machine: {seconds:.0f} s). Nodes were killed {moments} s after the "
        f"start, each time another joined; {sum(losses)} attempts of "
        f"{sum(loss > 0 for loss in losses)} trials were lost with them. Runs: "
        + ", ".join(f"{count} {status}" for status, count in sorted(statuses.items())),
        "",
        "| asked | reached |",
        "| --- | --- |",
        *(f"| {asked} | {'yes' if reached else '**no**'} |" for asked, reached in gates),
    ]
    write("node_loss", "A sweep on Ray whose nodes die", "python -m benchmarks.node_loss", lines)
    return 0 if all(reached for _, reached in gates) else 1


def _values(trials: list[TrialRecord]) -> list[tuple[object, ...]]:
    return sorted((*trial.params.values(), *(trial.values or ())) for trial in trials)


def _best(trials: list[TrialRecord]) -> int:
    """The number of the best trial by accuracy, the earliest of equals."""
    return max(trials, key=lambda trial: ((trial.values or (0.0,))[0], -trial.number)).number


if __name__ == "__main__":
    sys.exit(main())
