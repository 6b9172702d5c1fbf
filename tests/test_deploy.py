"""What deploy/ holds for other machines: files that their tools would take, command lines that
compose, and the script that begins a run once and resumes it from then on.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
SCRIPT = "deploy/run_or_resume.sh"


def read_yaml(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


def read_job() -> tuple[Any, Any]:
    """The specification of the Kubernetes Job, and its only container."""
    job = read_yaml("kubernetes.yaml")["spec"]
    [container] = job["template"]["spec"]["containers"]
    return job, container


def list_command_lines() -> list[list[str]]:
    """The overrides of every training in deploy/, those in comments too."""
    lines = [read_job()[1]["args"]]
    for name in ("slurm.sh", "skypilot.yaml", "compose.yaml"):
        text = re.sub(r"\\\n#\s+", "", (DEPLOY / name).read_text())
        lines += [shlex.split(found) for found in re.findall(r'\+experiment=[^"\n]*', text)]
    return lines


def test_every_command_line_composes(composed: Callable[..., dict[str, Any]]) -> None:
    lines = list_command_lines()
    assert len(lines) == 6 and all(any("+experiment=" in word for word in line) for line in lines)
    for line in lines:
        composed(*line, "++tags.job=managed-2026-11-29-23-00-00-1234_palimpsest_1-0")


def test_the_job_of_kubernetes() -> None:
    job, container = read_job()
    assert container["command"] == [SCRIPT, "$(JOB)"] and job["template"]["spec"]["restartPolicy"]
    fail, ignore = job["podFailurePolicy"]["rules"]
    assert fail["onExitCodes"]["containerName"] == container["name"]
    assert ignore["action"] == "Ignore"
    volumes = {volume["name"] for volume in job["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_the_job_of_kubernetes_by_its_schema() -> None:
    validator = pytest.importorskip("kubernetes_validate")
    job = read_yaml("kubernetes.yaml")
    # the validator wants a name
    job["metadata"]["name"] = job["metadata"].pop("generateName") + "1"
    validator.validate(job, "1.33", strict=True)


def test_the_task_of_skypilot() -> None:
    task = read_yaml("skypilot.yaml")
    assert shlex.split(task["run"]) == [SCRIPT, "$SKYPILOT_TASK_ID", "$OVERRIDES"]
    assert task["envs"]["MLFLOW_TRACKING_URI"] is None
    sky = pytest.importorskip("sky")
    sky.Task.from_yaml_config(task, env_overrides=[("MLFLOW_TRACKING_URI", "http://lab:5000")])


# mlflow's own
@pytest.mark.filterwarnings("ignore:.*Any type hint:UserWarning")
def test_the_server_of_compose_takes_its_options() -> None:
    from mlflow.cli import cli

    services = read_yaml("compose.yaml")["services"]
    _, name, *options = shlex.split(services["mlflow"]["command"])
    # those that compose would put in
    plain = [word.replace("${ARTIFACTS:-/artifacts}", "/artifacts") for word in options]
    server = cli.commands[name]
    assert server.make_context(name, plain).params["artifacts_destination"] == "/artifacts"
    assert set(services["mlflow"]["depends_on"]) < set(services)


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., tuple[int, list[str]]]:
    """Starts the script with an interpreter that answers for the store; returns its exit code and
    what it was asked, without what finds runs.
    """
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/bash\necho "$@" >> asked\n'
        'case "$*" in\n'
        '  *"--status RUNNING"*) [ -e running ] && rm running && echo 12ab;;\n'
        '  *"--status FINISHED"*) [ -e finished ] && echo 12ab;;\n'
        "  *src.runs*) [ -e broken ] && exit 2; [ -e known ] && echo 12ab;;\n"
        "esac\nexit 0\n"
    )
    python.chmod(0o755)
    # nobody waits in a test
    (tmp_path / "sleep").symlink_to("/bin/true")

    def run(*states: str) -> tuple[int, list[str]]:
        for state in states:
            (tmp_path / state).touch()
        done = subprocess.run(
            [DEPLOY.parent / SCRIPT, "7", "+experiment=imdb", "name=a b"],
            cwd=tmp_path,
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHON": str(python)},
        )
        asked = (tmp_path / "asked").read_text().splitlines()
        return done.returncode, [line for line in asked if "src.runs" not in line]

    return run


@pytest.mark.parametrize(
    ("states", "code", "begun"),
    [
        ((), 0, ["-m src.run +experiment=imdb name=a b tags.job=7"]),
        (("known",), 0, ["-m src.run resume=12ab"]),
        # its machine was lost: it is waited for until the store knows that
        (("known", "running"), 0, ["-m src.run resume=12ab"]),
        (("known", "finished"), 0, []),
        # no second run because a store did not answer
        (("broken",), 1, []),
    ],
)
def test_a_job_begins_its_run_once(
    start: Callable[..., tuple[int, list[str]]],
    states: tuple[str, ...],
    code: int,
    begun: list[str],
) -> None:
    assert start(*states) == (code, begun)
