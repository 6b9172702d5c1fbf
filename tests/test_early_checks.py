"""Mistaken paths, columns and devices are answered before torch is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

# what the program would do, and then whether torch has been imported
_PROGRAM = """
import runpy, sys
try:
    runpy.run_module("src.run", run_name="__main__")
finally:
    print("torch" in sys.modules)
"""


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _PROGRAM, "+experiment=files", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("data.source.path={folder}/reviws.csv", "did you mean 'reviews.csv'?"),
        ("data.source.path={folder}/reviews.csv data.source.text=txt", "did you mean 'text'?"),
        ("data.source.path={folder}/reviews.csv data.source.label=stars", "no such column"),
    ],
)
def test_data_are_checked_without_torch(tmp_path: Path, typed: str, says: str) -> None:
    (tmp_path / "reviews.csv").write_text("text,label\ngood,1\nbad,0\n", encoding="utf-8")
    done = _run(*typed.format(folder=tmp_path).split())
    assert done.returncode == 2 and says in done.stderr
    assert done.stdout.split()[-1] == "False"


@pytest.mark.skipif(
    sys.platform != "linux" or any(Path("/dev").glob("nvidia*")), reason="needs Linux without a GPU"
)
def test_a_missing_gpu_is_told_with_the_other_mistakes_without_torch(tmp_path: Path) -> None:
    done = _run(f"data.source.path={tmp_path}/none.csv", "trainer=gpu")
    assert done.returncode == 2 and done.stdout.split()[-1] == "False"
    assert "none.csv" in done.stderr and "torch sees no GPU here" in done.stderr
