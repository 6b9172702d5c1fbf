"""One mistake: what is typed, what lies in the folder, and every word of the answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from src.core.files import CONF

# the choices of `model=`, as messages list them
MODELS = sorted(path.stem for path in (CONF / "model").glob("[!_]*.yaml"))
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


@dataclass(frozen=True)
class Entry:
    """A fault and its message.

    Args:
        typed: the command line behind `python -m src.run`; HERE stands for the folder that the
            program stands in.
        says: what follows "error: " on standard error, a line for each mistake.
        files: what lies in the folder: name -> content. A name that ends in a slash is an empty
            folder. What lies below `conf/` is added to a copy of the project's own.
        model: what is broken of the model folder HERE/m: a name in `models.BROKEN`; none: there is
            no such folder.
        program: the module behind `src.`.
        failed: the run has begun, since the fault is found while its data or its model are read: it
            is FAILED with this message as its reason, and the exit code is 1 instead of 2.
        name: in a few words, where the command line does not say it.
    """

    typed: str
    says: str
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    model: str = ""
    program: str = "run"
    failed: bool = False
    name: str = ""

    @property
    def title(self) -> str:
        return self.name or f"{'' if self.program == 'run' else f'{self.program} '}{self.typed}"
