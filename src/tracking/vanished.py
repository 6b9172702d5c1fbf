"""Runs whose process is gone without a word (SIGKILL, no memory, no power): noticed when the store is next opened."""

import os
import platform
import time
from pathlib import Path

import psutil
from mlflow import MlflowClient
from mlflow.entities import Run

REASON = "the process vanished without a word: killed, out of memory, or the power failed"


def this_process() -> str:
    """This process among all of all machines: host, boot, process namespace, id and start."""
    return " ".join((*_machine(), str(os.getpid()), f"{psutil.Process().create_time():.2f}"))


def close_vanished(client: MlflowClient, experiment_id: str) -> None:
    """FAILED for every run that says it is running and whose process is certainly gone."""
    for run in client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
        if _is_gone(run.data.tags.get("process", "")):
            client.set_tag(run.info.run_id, "failure.reason", REASON)
            client.set_terminated(run.info.run_id, "FAILED", _last_sign(run))
            print(f"tracking: run {run.info.run_id} ({run.info.run_name}) is now FAILED: {REASON}")


def _machine() -> tuple[str, str, str]:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        boot, namespace = f"{psutil.boot_time():.0f}", "-"
    return platform.node().replace(" ", "_"), boot, namespace


def _is_gone(process: str) -> bool:
    """Only what is certain: another machine's process, or one of another container, cannot be seen from here."""
    words = process.split()
    if len(words) != 5 or words[0] != _machine()[0]:
        return False
    if words[1] != _machine()[1]:
        return True  # this machine was started again since
    if words[2] != _machine()[2]:
        return False
    try:
        return f"{psutil.Process(int(words[3])).create_time():.2f}" != words[4]
    except psutil.NoSuchProcess:
        return True


def _last_sign(run: Run) -> int:
    """When the run was last heard of, in milliseconds: its console file's last change, else its start."""
    console = Path(run.info.artifact_uri) / "console.log"
    written = console.stat().st_mtime if console.exists() else run.info.start_time / 1000
    return int(min(written, time.time()) * 1000)
