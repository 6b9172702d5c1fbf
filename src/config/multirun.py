"""From Hydra's `-m` to a search: the space and what is fixed, the config of each trial, Hydra's own launchers."""

import copy
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from src.config.build import build
from src.config.changes import compare, unimportant
from src.config.check import check
from src.config.choices import CONF, groups
from src.config.compose import added, lay_on, plain
from src.config.resuming import stored, written
from src.config.signature import Signature, task_signature
from src.config.sweeps import searched, sweep_of, without_sweep
from src.search.identity import Asked, command, storage_folder
from src.search.space import read
from src.tracking.ending import Terminated

ROOT = Path(__file__).resolve().parents[2]
BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


def swept(typed: Sequence[str], task: Signature, function: TaskFunction) -> int:
    """What `hydra.main` does with `-m`, but composed once. The exit code.

    Args:
        typed: the command line without its flags. `sweep=ID` stands for all that the sweep was begun with.
        task: the signature of the task function.
        function: the task function, for launchers of Hydra's.
    """
    sweep = sweep_of(typed)
    typed = without_sweep(typed)
    if sweep not in (None, "new"):
        typed = _begun_with(str(sweep), typed)
    asked = [] if sweep is None else [f"hydra.sweeper.sweep='{sweep}'"]
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF), job_name="run"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        return int(hydra.multirun("config", function, [*added(typed, task), *asked]) or 0)


def _begun_with(sweep: str, typed: Sequence[str]) -> list[str]:
    """The whole command line of a sweep that goes on: what it was begun with, and what is typed now."""
    from src.search.study import Storage

    address, folder = storage_folder(typed, ROOT)
    return command(Storage(address, folder, must_exist=True), sweep, typed)


def multirun(
    typed: Sequence[str], *, config: DictConfig, context: HydraContext, task: TaskFunction, sweep: str | None
) -> int:
    """Search as a composed config says. The exit code.

    Args:
        typed: the overrides of the command line, but for Hydra's own.
        config: composed without those that have several values.
        task: the task function, for a launcher of Hydra's.
        sweep: None, `new`, or the id of the sweep to go on with.
    """
    from src.search.sweep import Sweep

    search = searched(config)
    space, fixed = read(typed, search.space)
    trials = Trials(config, context, fixed, task)
    node: Any = OmegaConf.to_container(config.search, resolve=True)
    base = trials.base()
    store = build(base["tracking"])
    store.check()
    asked = Asked(
        typed=list(typed),
        space=space.plain(),
        search=node,
        config=written(base),
        differences=differences,
        sweep=sweep,
    )
    return Sweep(asked, search=search, node=node, space=space, base=base, trials=trials, store=store).run()


class Trials:
    """Configs of trials, and Hydra's launcher where one is asked for.

    Args:
        config: composed of the overrides that are the same for all.
        fixed: these overrides.
    """

    def __init__(self, config: DictConfig, context: HydraContext, fixed: Sequence[str], task: TaskFunction) -> None:
        self._config = config
        self._context = context
        self._fixed = [each for each in fixed if not each.lstrip("+~").startswith(("hydra.", "hydra/"))]
        self._task = task
        self._schema = task_signature()

    @property
    def launcher(self) -> str | None:
        """The launcher that was chosen with `hydra/launcher=`; None where it is Hydra's default."""
        target = str(self._config.hydra.launcher._target_)
        return None if target == BASIC else target

    def base(self) -> dict[str, Any]:
        """The config in which nothing of the space is set."""
        return self._plain(self._config.copy())

    def config(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The config of one trial, checked. Raises Faults."""
        parsed = [OverridesParser.create().parse_override(each) for each in overrides]
        if any(each.key_or_group in groups() or each.package is not None for each in parsed):
            made = self._context.config_loader.load_sweep_config(self._config, [*self._fixed, *overrides])
        else:  # a composition costs a fifth of a second, and would come to the same
            made = self._config.copy()
            lay_on(made, parsed)
        found = self._plain(made)
        check(found, self._schema)
        return found

    @staticmethod
    def _plain(config: DictConfig) -> dict[str, Any]:
        with open_dict(config):
            config.pop("hydra", None)
        return plain(config)

    def arguments(self, overrides: Sequence[str]) -> list[str]:
        """The command line of a run that is one trial by itself."""
        return [*(each for each in self._fixed if not each.startswith("search")), *overrides]

    def launch(self, batch: Sequence[tuple[Sequence[str], Mapping[str, str]]], first: int, folder: Path) -> None:
        """Run trials by Hydra's launcher: of each its overrides, and what its environment gets. Comes back at the end.

        Args:
            first: the number that Hydra counts this batch's jobs from.
            folder: of the sweep's files.
        """
        config = copy.deepcopy(self._config)
        with open_dict(config):
            config.hydra.sweep.dir = str(folder)
            config.hydra.sweep.subdir = "."
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self._context,
            task_function=self._task if self.launcher is not None else stopping(self._task),
            config=config,
        )
        jobs = [
            [
                *self._fixed,
                *overrides,
                *(f"++hydra.job.env_set.{name}='{text}'" for name, text in environment.items()),
            ]
            for overrides, environment in batch
        ]
        launcher.launch(jobs, initial_job_idx=first)


def stopping(task: TaskFunction) -> TaskFunction:
    """A task whose exit code of a signal is that signal again: Ctrl-C in a trial in this process is for all of them."""

    def stopped(config: DictConfig) -> Any:
        code = task(config)
        if isinstance(code, int) and code > 128:
            raise KeyboardInterrupt if code == 128 + signal.SIGINT else Terminated(code - 128)
        return code

    return stopped


def differences(before: str, after: str) -> dict[str, str]:
    """What of importance is not the same in two configs as `written` writes them."""
    changes = compare(stored(before), stored(after))
    return {each.key: str(each) for each in changes if not unimportant(each.key)}
