"""A real SLURM of one machine: slurmctld, slurmd and munged, for tests. It needs root and Debian's
packages `slurm-wlm` and `munge`.

Jobs of the partition `urgent` preempt those of the partition `normal`, which get SIGTERM, some
seconds of grace, and their place in the queue again.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.setting import ROOT

_PROGRAM = ("src", "conf", "hydra_plugins", "palimpsest", "deploy")
GRACE_SECONDS = 60
# SLURM's own are 120: so long lives a job's credential, and so long a requeued job waits
REQUEUE_SECONDS = 10
_MUNGE_FOLDER = Path("/run/munge")
_CONFIG = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={other_port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=cred_expire={requeue}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1
ReturnToService=2
KillWait=10
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=4000 State=UNKNOWN
PartitionName=normal Nodes={host} Default=YES PriorityTier=1 GraceTime={grace} State=UP
PartitionName=urgent Nodes={host} PriorityTier=10 State=UP
"""


def find_slurm() -> bool:
    """Whether SLURM can be started here."""
    programs = ("slurmctld", "slurmd", "munged", "sbatch")
    return os.geteuid() == 0 and all(map(shutil.which, programs))


class SlurmCluster:
    """One node with as many cores as this machine has."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        for name in ("state", "spool"):
            (self._folder / name).mkdir()
        config = self._folder / "slurm.conf"
        config.write_text(
            _CONFIG.format(
                host=socket.gethostname().split(".")[0],
                port=_find_port(),
                other_port=_find_port(),
                folder=self._folder,
                cpus=os.cpu_count(),
                grace=GRACE_SECONDS,
                requeue=REQUEUE_SECONDS,
            )
        )
        self.environment = os.environ | {"SLURM_CONF": str(config)}
        self._munge: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if not (_MUNGE_FOLDER / "munge.socket.2").exists():
            _MUNGE_FOLDER.mkdir(exist_ok=True)
            shutil.chown(_MUNGE_FOLDER, "munge", "munge")
            self._munge = subprocess.Popen(["munged", "--foreground"], user="munge", cwd="/")
        for program in ("slurmctld", "slurmd"):
            subprocess.run([program], env=self.environment, check=True, cwd=self._folder)
        wait_until(lambda: "idle" in self.call("sinfo", "--noheader", "--format=%T"), 60)

    def call(self, *command: str) -> str:
        """What a command of SLURM prints; empty if it fails."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    def submit(self, script: Path, *arguments: str, options: tuple[str, ...] = ()) -> str:
        """The number of a new job."""
        done = subprocess.run(
            ["sbatch", "--parsable", *options, str(script), *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()

    def list_jobs(self) -> list[str]:
        """The jobs that wait or run; those of an array one by one, as NUMBER_PLACE."""
        return sorted(self.call("squeue", "--array", "--noheader", "--format=%i").split())

    def read_state(self, job: str) -> str:
        """`RUNNING`, `PENDING`, `COMPLETED`, ...; SLURM forgets a job minutes after its end."""
        shown = self.call("scontrol", "show", "job", job, "--oneliner")
        return shown.partition("JobState=")[2].partition(" ")[0]

    def remove(self) -> None:
        """End it and delete its files."""
        self.call("scancel", "--user=root", "--signal=KILL")
        for name in ("slurmd", "slurmctld"):
            pid_file = self._folder / f"{name}.pid"
            if pid_file.exists():
                _end_daemon(int(pid_file.read_text()))
        if self._munge is not None:
            self._munge.terminate()
            self._munge.wait(10)
        shutil.rmtree(self._folder, ignore_errors=True)


def copy_program(project: Path) -> Path:
    """A copy of the program in a new folder, whose runs are its own."""
    for name in _PROGRAM:
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    (project / ".venv").symlink_to((ROOT / ".venv").resolve())
    return project


def wait_until(condition: Callable[[], object], seconds: float) -> None:
    """Raises TimeoutError where the condition does not come true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:.0f} s")
        time.sleep(0.5)


def _end_daemon(process: int) -> None:
    os.kill(process, signal.SIGTERM)
    # it writes its state before it ends
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: not Path(f"/proc/{process}").exists(), 10)


def _find_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])
