"""Which trial a process is: plain values that pass through its environment."""

import base64
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# in the environment of a trial's process, and of the other ranks of its run
TRIAL_VARIABLE = "PALIMPSEST_TRIAL"


@dataclass(frozen=True)
class TrialSpec:
    """What the process of a trial must know of it.

    Args:
        address: of the storage that has the study.
        folder: of the sweep's files.
        study: name of the study, which is also the id of the sweep.
        number: of the trial in the study.
        parent: id of the sweep's run.
        monitors: the metrics that are optimised; pruning goes by the first.
        modes: `min` or `max` for each of them.
        pruner: its config node; None prunes nothing.
        shown_overrides: overrides, as they are to stand in the run's name.
        resume: id of the run with which the trial goes on.
        halvings: how many times the batch is halved and the accumulation doubled.
        may_halve: out of memory means one more attempt with one more halving.
        full_precision: train in fp32, since a loss or gradient in bf16 was not finite.
        resume_command: the command that goes on with the sweep.
        owner: identity of the coordinator that has taken the trial; empty if nobody asks.
    """

    address: str
    folder: str
    study: str
    number: int
    parent: str
    monitors: list[str]
    modes: list[str]
    pruner: dict[str, Any] | None = None
    shown_overrides: list[str] | None = None
    resume: str | None = None
    halvings: int = 0
    may_halve: bool = False
    full_precision: bool = False
    resume_command: str | None = None
    owner: str = ""

    def to_base64(self) -> str:
        """Text of letters, digits, `-` and `_`, which also passes through an override of Hydra."""
        return base64.urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode().rstrip("=")

    @classmethod
    def from_base64(cls, text: str) -> "TrialSpec":
        return cls(**json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))))

    @property
    def progress_file(self) -> Path:
        """Holds "STEP TOTAL" in optimizer steps while the trial trains."""
        return Path(self.folder) / f"{self.number}.progress"


def current_trial() -> TrialSpec | None:
    """The trial that this process runs, alone or as one rank of several; None if it runs none."""
    text = os.environ.get(TRIAL_VARIABLE)
    return None if not text else TrialSpec.from_base64(text)
