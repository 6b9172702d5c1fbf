"""The collector rests while a program starts and when it ends, and only then."""

import gc
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.core import startup
from src.core.files import PROJECT_ROOT

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    yield
    gc.enable()
    gc.unfreeze()


def test_a_program_collects_from_its_imports_on() -> None:
    gc.unfreeze()
    with startup.run_without_gc():
        assert not gc.isenabled()
        startup.resume_gc()
        assert gc.isenabled()
        frozen = gc.get_freeze_count()
        assert frozen > 0
        # a second run: what the first has left is not kept alive
        startup.resume_gc()
        assert gc.get_freeze_count() <= frozen


def test_a_program_ends_frozen_however_it_ends() -> None:
    gc.unfreeze()
    with pytest.raises(SystemExit), startup.run_without_gc():
        sys.exit(2)
    assert gc.get_freeze_count() > 0


def test_a_late_import_leaves_the_collector_as_it_was() -> None:
    with startup.pause_gc():
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    with startup.pause_gc():
        pass
    assert not gc.isenabled()


SCRIPT = """
import sys
import src.pipeline.prediction.predictor
assert not {"lightning", "mlflow", "torchmetrics", "pandas"} & set(sys.modules), sorted(sys.modules)
from src.core.startup import import_lightning
import_lightning()
assert "lightning.pytorch" in sys.modules and "torchmetrics" in sys.modules
assert "scipy.signal" not in sys.modules
import scipy.signal
assert scipy.signal.windows.hamming(3).tolist()[1] == 1.0 and scipy.signal.__file__
"""


def test_nothing_heavy_is_imported_that_is_not_used() -> None:
    """Answering needs neither Lightning nor MLflow; Lightning does not need `scipy.signal`, which
    comes when asked.
    """
    subprocess.run([sys.executable, "-c", SCRIPT], cwd=PROJECT, check=True)


@pytest.mark.parametrize("flags", [["--help"], ["--info"], ["--cfg", "job"], ["--hydra-help"]])
def test_whoever_reads_one_line_gets_no_traceback(flags: list[str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "src.run", *flags],
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None and program.stderr is not None
        assert program.stdout.readline()
        program.stdout.close()
        assert program.stderr.read() == ""


def test_a_closed_output_is_no_fault() -> None:
    closed = [sys.executable, "-m", "src.run", "--cfg", "job"]
    command = f"{shlex.join(closed)} >&-"
    done = subprocess.run(command, shell=True, cwd=PROJECT_ROOT, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("asked", "level"), [(None, "error"), ("info", "info"), ("x", "error")])
def test_transformers_is_silent_though_it_was_imported_before(
    asked: str | None, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.utils import logging

    before = logging.get_verbosity()
    monkeypatch.delenv("TRANSFORMERS_VERBOSITY", raising=False)
    if asked is not None:
        monkeypatch.setenv("TRANSFORMERS_VERBOSITY", asked)
    try:
        logging.set_verbosity_warning()
        startup.silence_transformers()
        assert logging.get_verbosity() == logging.log_levels[level]
    finally:
        logging.set_verbosity(before)
