"""The environment of a run: machine, versions, state of the code, and command."""

import getpass
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from src.core.command_names import CONSOLE_VARIABLE
from src.core.files import PROJECT_ROOT
from src.core.redaction import redact_arguments, redact_source

_MAX_PATCH_BYTES = 5_000_000
# The lines of a description that are no packages.
MACHINE_LINES = (
    "python",
    "platform",
    "host",
    "processor",
    "cores",
    "memory",
    "torch threads",
    "gpus",
)


class GitState(NamedTuple):
    """The state of the project in git.

    `patch` is the difference to the commit; it names untracked files without their contents.
    """

    commit: str
    branch: str
    is_dirty: bool
    patch: str


def read_git_state(root: Path) -> GitState | None:
    """Return the state of the project; None if it is not under git or has no commit yet."""
    commit = _run_git(root, "rev-parse", "HEAD")
    if commit is None:
        return None
    changes = (_run_git(root, "status", "--porcelain", "--", ".") or "").splitlines()
    return GitState(
        commit=commit.strip(),
        branch=(_run_git(root, "rev-parse", "--abbrev-ref", "HEAD") or "").strip(),
        is_dirty=bool(changes),
        patch=_build_patch(root, changes) if changes else "",
    )


def read_code_state(root: Path) -> GitState | None:
    """Return the state of the code that runs: of the project whose runs are kept in `root` where
    that is under git, else of this program's own checkout.
    """
    return read_git_state(root) or read_git_state(PROJECT_ROOT)


def _build_patch(root: Path, changes: list[str]) -> str:
    """Return the difference to the commit, with secrets starred out.

    Args:
        changes: lines of `git status --porcelain`.
    """
    untracked = [line[3:] for line in changes if line.startswith("??")]
    patch = "".join(f"# not in git, not in this patch: {name}\n" for name in untracked)
    diff = _run_git(root, "diff", "HEAD", "--", ".") or ""
    if len(diff) > _MAX_PATCH_BYTES:
        patch += f"# cut after {_MAX_PATCH_BYTES} of {len(diff)} characters\n"
    patch += diff[:_MAX_PATCH_BYTES]
    redacted = redact_source(patch)
    if redacted == patch:
        return patch
    return f"# secrets are starred out, so this patch does not apply as it is\n{redacted}"


def _run_git(root: Path, *arguments: str) -> str | None:
    """Return what git prints; None if it fails."""
    # without optional locks, since a person may be committing at this moment
    variables = os.environ | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        result = subprocess.run(
            ["git", "-C", str(root), *arguments], env=variables, capture_output=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.decode(errors="replace") if result.returncode == 0 else None


def format_command_line() -> str:
    """Return the command line of this process with secrets starred out."""
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    program = (
        ["python", "-m", main.name.removesuffix(".__main__")] if main else ["python", sys.argv[0]]
    )
    if CONSOLE_VARIABLE in os.environ:
        program = ["palimpsest"]
    return shlex.join(program + redact_arguments(sys.argv[1:]))


def get_user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # in a container, a user may have no name
        return str(os.getuid())


def describe_environment() -> str:
    """Describe the machine and the versions of all installed packages, as text."""
    import psutil

    cores = f"cores: {os.cpu_count()}"
    if hasattr(os, "sched_getaffinity"):
        cores += f", of which this process may use {len(os.sched_getaffinity(0))}"
    lines = [
        f"python: {platform.python_version()} ({sys.executable})",
        f"platform: {platform.platform()}",
        f"host: {platform.node()}",
        f"processor: {_read_processor_name()}",
        cores,
        f"memory: {psutil.virtual_memory().total / 1e9:.1f} GB",
        *_describe_torch(),
        "",
    ]
    return "\n".join(lines + _list_packages()) + "\n"


def parse_environment(text: str) -> dict[str, str]:
    """The lines `name: value` and `package==version` of what `describe_environment` has written."""
    facts = {}
    for line in text.splitlines():
        package, equals, version = line.partition("==")
        name, colon, value = line.partition(": ")
        if equals:
            facts[package] = version
        elif colon:
            # the interpreter's path is no difference
            facts[name] = value.partition(" (")[0] if name == "python" else value
    return facts


def _list_packages() -> list[str]:
    """List the installed packages by the names of their folders.

    Parsing their metadata would take half a second.
    """
    folders = {info.stem for path in sys.path for info in Path(path or ".").glob("*.dist-info")}
    pairs = [folder.partition("-") for folder in folders]
    return sorted(
        (f"{name.replace('_', '-')}=={version}" for name, _, version in pairs), key=str.lower
    )


def _read_processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _describe_torch() -> list[str]:
    """Describe torch if it is imported already; importing it would take a second."""
    torch = sys.modules.get("torch")
    if torch is None:
        return []
    lines = [f"torch threads: {torch.get_num_threads()}"]
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(gpu) for gpu in range(torch.cuda.device_count())]
        lines.append(f"gpus: {', '.join(names)} (CUDA {torch.version.cuda})")
    return lines


def read_global_rank() -> int:
    """Return the rank of this process as Lightning finds it before anything is set up."""
    names = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
    return next((int(os.environ[name]) for name in names if name in os.environ), 0)
