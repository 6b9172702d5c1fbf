"""The files of deploy/: versions that are tested together, what scripts ask for."""

import re
from pathlib import Path

import pytest
import yaml

from src.runs import main

ROOT = Path(__file__).resolve().parents[2]


def test_the_server_has_the_versions_that_are_tested() -> None:
    services = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]
    image = services["mlflow"]["build"]["dockerfile_inline"]
    pinned = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line
    )
    named = dict(re.findall(r"([a-z0-9]+)(?:\[\w+\])?==([\d.]+)", image))
    assert named == {name: pinned[name] for name in ("mlflow", "psycopg", "boto3")}
    assert services["database"]["environment"]["POSTGRES_INITDB_ARGS"] == "--encoding=UTF8"


def test_a_script_that_asks_for_ids_gets_none_of_an_empty_project(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As deploy/slurm.sh does."""
    assert main(["--tag", "job=5", "--limit", "1", "--ids", "--root", str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""
