"""Trials for tests of their processes: they do next to nothing, and import no library."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from src.search.run.worker_pool import TrialJob

_SLEEP = (
    "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
)


def run_trial_job(job: TrialJob) -> int:
    return DEEDS[job.config["do"]](job.config)


def end(config: Mapping[str, Any]) -> int:
    print("to stdout")
    print("to stderr", file=sys.stderr)
    os.system("echo of a child")
    code: int = config["code"]
    return code


def tell(config: Mapping[str, Any]) -> int:
    """The process as it finds itself."""
    threads = sorted(thread.name for thread in threading.enumerate())
    print(
        os.environ["PALIMPSEST_TRIAL"],
        os.environ["SHARE"],
        os.getpgid(0) == os.getpid(),
        sys.stdin.read(),
        threads,
    )
    return 0


def draw(config: Mapping[str, Any]) -> int:
    """What a copy of the real imports has of its own."""
    import gc
    import random

    import numpy
    import torch

    about = {
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.is_initialized(),
        "collecting": gc.isenabled(),
        "drawn": [random.random(), float(numpy.random.random()), float(torch.rand(()))],
        "late": [name for name in config["modules"] if name not in sys.modules],
    }
    print(json.dumps(about))
    return 0


def fail(config: Mapping[str, Any]) -> int:
    raise ValueError("no such thing")


def leave(config: Mapping[str, Any]) -> int:
    sys.exit(4)


def die(config: Mapping[str, Any]) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def wait(config: Mapping[str, Any]) -> int:
    """Until a signal, as a run does: it ends in good order."""

    def say(signum: int, _: FrameType | None) -> None:
        print(f"heard {signal.Signals(signum).name}", flush=True)
        sys.exit(128 + signum)

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, say)
    return _sleep(config)


def stay(config: Mapping[str, Any]) -> int:
    """Whatever comes."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return _sleep(config)


def help_oneself(config: Mapping[str, Any]) -> int:
    """With a helper that would stay for ever, and one in a session of its own that ends when its
    pipe closes.
    """
    command = [sys.executable, "-c", _SLEEP]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE)
    courier = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"print(1, flush=True); input(); open({config['delivered']!r}, 'w')",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    for helper in (worker, courier):
        assert helper.stdout is not None
        helper.stdout.readline()
    assert courier.stdin is not None
    courier.stdin.write(b"\n")
    courier.stdin.flush()
    Path(config["helper"]).write_text(str(worker.pid))
    os._exit(3)


def _sleep(config: Mapping[str, Any]) -> int:
    Path(config["begun"]).write_text(str(os.getpid()))
    while True:
        time.sleep(60)


DEEDS = {
    deed.__name__: deed for deed in (end, tell, draw, fail, leave, die, wait, stay, help_oneself)
}
