"""The files of deploy/ name the versions that are tested together."""

import re
from pathlib import Path

import yaml

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
