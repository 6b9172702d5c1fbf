"""What every figure is shown with: date, commit, hardware, versions."""

import os
import platform
import subprocess
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"


class Row(NamedTuple):
    """One line of a comparison.

    `ratio` is how many times better ours is (0 where there is nobody to compare with: then `gate`
    is about `ours`); `gate` is in words what was to be reached, and `reached` whether it was (None:
    no gate). `note` says what else a reader must know.
    """

    name: str
    ours: float
    theirs: float | None
    unit: str
    ratio: float
    gate: str
    note: str
    reached: bool | None = None

    @property
    def verdict(self) -> str:
        return {True: "yes", False: "**no**", None: ""}[self.reached]


def setting(commit: str = "") -> str:
    """One line for the top of a result file; `commit` is for a tree that travels without its
    history.
    """
    commit = commit or _output("git", "rev-parse", "--short", "HEAD") or "no commit"
    dirty = (
        " with changes" if _output("git", "status", "--porcelain", "--untracked-files=no") else ""
    )
    named = (name for name in ("torch", "lightning", "transformers", "mlflow") if find_spec(name))
    versions = ", ".join(f"{name} {version(name)}" for name in named)
    return (
        f"{date.today().isoformat()}, commit {commit}{dirty}, {os.cpu_count()} cores of "
        f"{_processor()}, {versions}"
    )


def write(
    name: str,
    title: str,
    command: str,
    lines: list[str],
    folder: Path = RESULTS,
    at_start: str | None = None,
) -> Path:
    """A result file, and its content on the terminal."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.md"
    text = "\n".join([f"# {title}", "", at_start or AT_START, "", f"    {command}", "", *lines, ""])
    path.write_text(text, encoding="utf-8")
    print(text)
    print(f"written to {os.path.relpath(path)}")
    return path


def _output(*command: str) -> str:
    try:
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False
        ).stdout.strip()
    except OSError:
        # a machine without git
        return ""


def _processor() -> str:
    """The processor's name and what makes bf16 fast or slow on it."""
    try:
        content = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in content.splitlines() if ":" in line)
    named = {key.strip(): value.strip() for key, value in fields.items()}
    units = [flag for flag in ("amx_bf16", "avx512_bf16") if flag in named.get("flags", "").split()]
    about = [", ".join(units) or "no bf16 units"]
    if "cpu family" in named:
        # two generations under one name may differ by half
        about.append(f"family {named['cpu family']}, model {named.get('model', '?')}")
    return f"{named.get('model name', platform.machine())} ({'; '.join(about)})"


# a benchmark may run for an hour, in which the tree moves on
AT_START = setting()
