"""What a trial on Ray costs beyond its training: `python -m benchmarks.ray_trials`.

Twenty trials of two seconds of training each, on a cluster of two nodes of one core; beside it the
same trials by Hydra's own Ray launcher, where that can be had.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import sweeping
from benchmarks.ray_nodes import RayNodes
from benchmarks.setting import ROOT, write

TRIALS, NODES, TRAINING_SECONDS = 20, 2, 2.0
GATE_SECONDS = 2.5
PEER = "hydra-ray-launcher==1.2.2"
RATES = ",".join(f"{1e-5 * 1.3**place:.3g}" for place in range(TRIALS))
TIMED = (
    f"trainer.max_minutes={TRAINING_SECONDS / 60}",
    "trainer.max_epochs=1000",
    "callbacks.progress.style=off",
)


def main() -> int:
    """The exit code: 0; 1 where a gate is missed."""
    with tempfile.TemporaryDirectory(prefix="ray-trials-") as folder:
        root = Path(folder)
        # files and caches of the system
        sweeping.run(root / "first", "trainer.max_steps=1", sweep=False)
        nodes = RayNodes()
        try:
            nodes.start(NODES)
            words = ("search.launcher=ray", f"search.ray.address={nodes.address}")
            load = os.getloadavg()[0]
            rates = f"model.optim.lr={RATES}"
            ours = sweeping.run(root / "ours", *TIMED, rates, *words)
            local = sweeping.run(root / "local", *TIMED, rates, f"search.jobs={NODES}")
            theirs = _run_peer(root, nodes.address)
        finally:
            nodes.stop()
        assert {trial.state for trial in sweeping.trials(root / "ours")} == {"finished"}
    return report(ours, local, theirs, load)


def report(ours: float, local: float, theirs: float | str, load: float) -> int:
    """Write the result; returns the exit code.

    Args:
        ours, local, theirs: seconds of the whole command; of theirs why it could not be measured.
        load: of the machine by other programs, before.
    """
    cost = _cost(ours)
    gates = [("at most 2.5 s", cost <= GATE_SECONDS)]
    lines = [
        f"{TRIALS} trials that each train for {TRAINING_SECONDS:g} s by the clock, on {NODES} "
        "nodes of one core each, from the command to its end. The cost of a trial is the time for "
        "which its node is its own, less its training; the cluster ran before. Other programs kept "
        f"{load:.1f} of the {os.cpu_count()} cores busy, which stretches all of it.",
        "",
        "| launcher | whole command | a trial beyond its training |",
        "| --- | --- | --- |",
        f"| `search.launcher=ray` | {ours:.1f} s | {cost:.2f} s |",
        f"| `search.jobs={NODES}`, without Ray | {local:.1f} s | {_cost(local):.2f} s |",
    ]
    if isinstance(theirs, float):
        lines.append(f"| {PEER} | {theirs:.1f} s | {_cost(theirs):.2f} s |")
        gates.append((f"at most half of {PEER}", cost <= _cost(theirs) / 2))
    else:
        lines += ["", f"{PEER} was not measured: {theirs}"]
    lines += ["", "| asked | reached |", "| --- | --- |"]
    lines += [f"| {asked} | {'yes' if reached else '**no**'} |" for asked, reached in gates]
    write("ray_trials", "Trials on Ray: what they cost", "python -m benchmarks.ray_trials", lines)
    return 0 if all(reached for _, reached in gates) else 1


def _cost(seconds: float) -> float:
    return seconds * NODES / TRIALS - TRAINING_SECONDS


def _run_peer(root: Path, address: str) -> float | str:
    """The same trials as jobs of Hydra's launcher; seconds, or why there are none."""
    folder = root / "peer"
    # its pin of cloudpickle<3 does not go with ours
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    done = subprocess.run([*install, str(folder), PEER], capture_output=True, text=True)
    if done.returncode:
        return f"it cannot be installed ({done.stderr.strip().splitlines()[-1]})"
    command = sweeping.command(root / "theirs", *TIMED, f"model.optim.lr={RATES}")
    place = command.index("src.run")
    command[place : place + 1] = ["benchmarks.ray_peer", address]
    command += ["hydra/sweeper=basic", "hydra/launcher=ray"]
    command += [f"hydra.sweep.dir={root / 'theirs' / 'hydra'}"]
    began = time.monotonic()
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{folder}"},
    )
    if done.returncode:
        return f"it ended with exit code {done.returncode}: {done.stderr[-500:]}"
    seconds = time.monotonic() - began
    finished = [status for _, status, _ in sweeping.runs(root / "theirs")].count("FINISHED")
    if finished != TRIALS:
        return f"{finished} of {TRIALS} trials finished"
    return seconds


if __name__ == "__main__":
    sys.exit(main())
