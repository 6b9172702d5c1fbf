"""Types an entry's command into the program, in this process, and reads the answer."""

import importlib
import re
import shlex
import shutil
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from src.config import compose, groups, hydra_errors, override_errors
from tests.faults.entry import Entry
from tests.faults.models import BROKEN

_END = re.compile(r"run (?P<run>[0-9a-f]{32}) FAILED.*\n((resume: |begin again, ).*\n)?$")


_compose = Hydra.compose_config
_composed: dict[Any, DictConfig] = {}


def _compose_once(self: Hydra, *arguments: Any, **options: Any) -> DictConfig:
    """Hydra's own composition, but each only once: most of what an entry would cost."""
    key = repr((groups.CONF, arguments, options))
    if key not in _composed:
        _composed[key] = _compose(self, *arguments, **options)
    return deepcopy(_composed[key])


class Answer(NamedTuple):
    """What came of a command. `failed` is the id of the run that it ended; none where no run had
    begun.
    """

    code: int
    # everything, on both streams
    shown: str
    # on standard error behind "error: ", without the last lines, which name the run
    said: str
    failed: str | None


def make(entry: Entry, here: Path, model: Path) -> None:
    """Put into the folder `here` what the entry says lies there; `model` is a sound model
    folder.
    """
    for name, content in entry.files.items():
        place = here / name
        (place if name.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            place.write_bytes(content.encode() if isinstance(content, str) else content)
    if entry.model:
        shutil.copytree(model, here / "m")
        BROKEN[entry.model](here / "m")


def walk(
    entry: Entry, here: Path, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Answer:
    """The answer to an entry's command, typed where the project would be `here`."""
    program = importlib.import_module(f"src.{entry.program}")
    for module in (program, compose):
        patch.setattr(module, "PROJECT_ROOT", here, raising=False)
    patch.chdir(here)
    patch.setenv("HYDRA_FULL_ERROR", "1")
    if (here / "conf").is_dir():
        shutil.copytree(groups.CONF, here / "conf", dirs_exist_ok=True)
        for module in (program, groups, compose, override_errors, hydra_errors):
            patch.setattr(module, "CONF", here / "conf")
    groups.list_groups.cache_clear()
    patch.setattr(Hydra, "compose_config", _compose_once)
    GlobalHydra.instance().clear()
    arguments = [each.replace("HERE", str(here)) for each in shlex.split(entry.typed)]
    capsys.readouterr()
    try:
        if entry.program == "run":
            patch.setattr(sys, "argv", ["run", *arguments])
            code = program.run_program() or 0
        else:
            code = program.main(arguments)
    except SystemExit as end:
        code = end.code
    finally:
        GlobalHydra.instance().clear()
        groups.list_groups.cache_clear()
    shown = capsys.readouterr()
    said = shown.err.replace(str(here), "HERE")
    end = _END.search(said)
    said = said[: end.start()] if end else said
    # a bar of progress may stand before it
    said = said.rpartition("error: ")[2].rstrip("\n")
    return Answer(int(code or 0), shown.out + shown.err, said, end["run"] if end else None)
