"""The package that `pip install .` makes, used from a folder of somebody's own."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from src import __version__
from src.core import command_names
from src.core.command_names import CONSOLE_VARIABLE, name_commands
from src.core.files import CONF, PROJECT_ROOT

_BUILD = "import sys, setuptools.build_meta as build; build.build_wheel(sys.argv[1])"
_PACKED = ("src", "conf", "hydra_plugins", "palimpsest")
_SMALL = (
    "+experiment=quickstart_scratch",
    "trainer=cpu",
    "trainer.max_epochs=null",
    "trainer.max_steps=2",
    "data.source.train=40",
    "data.source.validation=20",
    "data.source.test=20",
    "callbacks.progress.style=off",
)


def test_every_command_of_a_checkout_has_its_name() -> None:
    files = {path.stem for path in (PROJECT_ROOT / "src").glob("*.py")} - {"__init__", "run"}
    assert sorted(files) == list(command_names.COMMANDS)


def test_make_does_not_take_a_folder_for_what_is_done() -> None:
    if shutil.which("make") is None:
        pytest.skip("there is no make")

    def make(target: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "-n", target], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False
        )

    assert "python -m pytest" in make("tests").stdout
    for folder in ("docs", "benchmarks", "src"):
        assert f"{folder} is a folder and no target" in make(folder).stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the content of the wheel lies."""
    pytest.importorskip("setuptools")
    checkout = tmp_path_factory.mktemp("checkout")
    for name in _PACKED:
        shutil.copytree(
            PROJECT_ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(PROJECT_ROOT / name, checkout)
    subprocess.run(
        [sys.executable, "-c", _BUILD, str(checkout)], cwd=checkout, check=True, capture_output=True
    )
    [wheel] = checkout.glob("*.whl")
    folder = tmp_path_factory.mktemp("site-packages")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A project of somebody's own, which has a package `src` too."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "__init__.py").write_text("raise SystemExit('not this one')")
    return tmp_path


def say(installed: Path, place: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, "-m", "palimpsest", *words],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_what_is_installed(installed: Path) -> None:
    names = {path.name for path in installed.iterdir()}
    assert names == {"palimpsest", f"palimpsest-{__version__}.dist-info"}
    code = installed / "palimpsest" / "_code"
    assert {path.name for path in code.iterdir()} == {"src", "conf", "hydra_plugins"}
    for folder in (CONF, PROJECT_ROOT / "src"):
        files = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
        packed = {file for file in files if file.suffix in (".py", ".yaml")}
        assert len(packed) > 40
        assert {file for file in packed if not (code / folder.name / file).exists()} == set()


def test_commands_are_named_as_they_are_typed(installed: Path, place: Path) -> None:
    said = say(installed, place, "--help").stdout
    assert "palimpsest +experiment=imdb" in said and "palimpsest predict" in said
    assert "python -m src" not in said and "make ui" not in said
    assert say(installed, place, "--version").stdout == f"palimpsest {__version__}\n"
    said = say(installed, place, "runs").stdout
    assert said == f"no run has been kept yet in {place}/mlruns/mlflow.db\n"
    wrong = say(installed, place, "+experiment=imbd")
    assert wrong.returncode == 2 and "imdb" in wrong.stderr
    assert not (place / "mlruns").exists()


def test_a_run_is_kept_in_the_folder_where_it_was_typed(
    installed: Path, place: Path, blank_database: Path
) -> None:
    (place / "mlruns").mkdir()
    shutil.copy(blank_database, place / "mlruns" / "mlflow.db")
    done = say(installed, place, *_SMALL)
    assert done.returncode == 0, done.stderr
    assert f"{place}/mlruns/mlflow.db" in done.stdout
    assert "see: palimpsest ui" in done.stdout
    assert "predict: palimpsest predict run=" in done.stdout
    assert (place / ".cache").is_dir()


def test_the_names_of_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "python -m src.run -m sweep=1; python -m src.predict run=2; make ui; python -m src"
    monkeypatch.delenv(CONSOLE_VARIABLE, raising=False)
    monkeypatch.setattr(command_names, "IS_INSTALLED", False)
    assert name_commands(text) == text
    monkeypatch.setenv(CONSOLE_VARIABLE, "1")
    assert name_commands(text) == (
        "palimpsest -m sweep=1; palimpsest predict run=2; palimpsest ui; python -m src"
    )
