"""The program of one checkout does not run where that of another was typed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from src.core.checkout import check_checkout, find_checkout
from src.core.command_names import CONSOLE_VARIABLE
from src.core.files import PROJECT_ROOT
from src.core.user_errors import UserError


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """What tells a checkout, with the commands of this one."""
    for name in ("conf", "src/pipeline", "docs"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("pyproject.toml", "conf/config.yaml", "src/pipeline/run.py"):
        (tmp_path / name).touch()
    for name in ("run.py", "runs.py"):
        shutil.copy(PROJECT_ROOT / "src" / name, tmp_path / "src")
    return tmp_path


@pytest.mark.parametrize("name", ["run.py", "runs.py"])
def test_a_script_of_another_checkout(name: str, other: Path) -> None:
    done = subprocess.run(
        [sys.executable, other / "src" / name],
        cwd=other.parent,
        env={"PYTHONPATH": str(PROJECT_ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == (
        f"error: {other}/src/{name} was typed, but Python has found the program of {PROJECT_ROOT}; "
        f"python -m src.NAME in {other} runs the code there and keeps its runs there\n"
    )


def test_the_working_folder_of_another_checkout(
    other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_checkout()
    monkeypatch.chdir(other / "docs")
    with pytest.raises(UserError, match="the working folder lies in another checkout"):
        check_checkout()
    monkeypatch.setenv(CONSOLE_VARIABLE, "1")
    check_checkout()


def test_other_projects_are_no_checkouts(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "pyproject.toml").touch()
    assert find_checkout(tmp_path / "src") is None
    assert find_checkout(Path(__file__)) == PROJECT_ROOT


@pytest.mark.parametrize(
    "name", [path.name for path in sorted(PROJECT_ROOT.glob("src/*.py")) if path.stem[0] != "_"]
)
def test_a_script_runs_without_an_installation(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        # -I: neither the working folder nor PYTHONPATH is searched
        [sys.executable, "-I", PROJECT_ROOT / "src" / name, "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stderr == "" and "src." in done.stdout
