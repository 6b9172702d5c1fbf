"""Where a run happened: the machine, the versions, the code and the command."""

import getpass
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from src.tracking.redaction import hidden, hidden_arguments, hidden_source

_MOST_PATCH_BYTES = 5_000_000


class Code(NamedTuple):
    """The project's state in git. `patch` is what differs from the commit; untracked files are named, not held."""

    commit: str
    branch: str
    dirty: bool
    patch: str


def code(root: Path) -> Code | None:
    """None where the project is not under git, or has no commit yet."""
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None
    changes = (_git(root, "status", "--porcelain", "--", ".") or "").splitlines()
    return Code(
        commit=commit.strip(),
        branch=(_git(root, "rev-parse", "--abbrev-ref", "HEAD") or "").strip(),
        dirty=bool(changes),
        patch=_shown(_patch(root, changes)) if changes else "",
    )


def _patch(root: Path, changes: list[str]) -> str:
    untracked = "".join(f"# not in git, not in this patch: {line[3:]}\n" for line in changes if line.startswith("??"))
    diff = _git(root, "diff", "HEAD", "--", ".") or ""
    if len(diff) <= _MOST_PATCH_BYTES:
        return untracked + diff
    return f"{untracked}# cut after {_MOST_PATCH_BYTES} of {len(diff)} characters\n{diff[:_MOST_PATCH_BYTES]}"


def _shown(patch: str) -> str:
    """The patch without secrets; where it had some it no longer applies, and says so."""
    shown = hidden_source(patch)
    return shown if shown == patch else f"# secrets are starred out, so this patch does not apply as it is\n{shown}"


def _git(root: Path, *words: str) -> str | None:
    # Without optional locks: a person may be committing at this moment.
    settings = os.environ | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(["git", "-C", str(root), *words], env=settings, capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def command() -> str:
    """The command line as it was typed, secrets starred out."""
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    program = ["python", "-m", main.name.removesuffix(".__main__")] if main else ["python", sys.argv[0]]
    return shlex.join(program + hidden_arguments(sys.argv[1:]))


def user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())


def environment() -> str:
    """The machine and the versions of everything installed, as text."""
    lines = [
        f"python: {platform.python_version()} ({sys.executable})",
        f"platform: {platform.platform()}",
        f"host: {platform.node()}",
        f"processor: {_processor()}",
        f"cores: {os.cpu_count()}, of which this process may use {len(os.sched_getaffinity(0))}"
        if hasattr(os, "sched_getaffinity")
        else f"cores: {os.cpu_count()}",
        f"memory: {_memory_gigabytes():.1f} GB",
        *_torch(),
        "",
    ]
    return hidden("\n".join(lines + _installed()) + "\n")


def _installed() -> list[str]:
    """Every distribution, read off the names of its folder: to parse their metadata would take half a second."""
    folders = {info.stem for place in sys.path for info in Path(place or ".").glob("*.dist-info")}
    pairs = [folder.partition("-") for folder in folders]
    return sorted((f"{name.replace('_', '-')}=={version}" for name, _, version in pairs), key=str.lower)


def _processor() -> str:
    try:
        described = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in described if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _memory_gigabytes() -> float:
    import psutil

    return float(psutil.virtual_memory().total) / 1e9


def _torch() -> list[str]:
    """Only what is loaded already: to import torch for a line of text would cost a second."""
    torch = sys.modules.get("torch")
    if torch is None:
        return []
    lines = [f"torch threads: {torch.get_num_threads()}"]
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(each) for each in range(torch.cuda.device_count())]
        lines.append(f"gpus: {', '.join(names)} (CUDA {torch.version.cuda})")
    return lines


def rank() -> int:
    """This process's place in a distributed run, as Lightning finds it before anything is set up."""
    names = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
    return next((int(os.environ[name]) for name in names if name in os.environ), 0)
