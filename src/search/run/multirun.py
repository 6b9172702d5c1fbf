"""From Hydra's `-m` to a search: its command line, the config of each trial, Hydra's launchers."""

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

from src.config.allowed_changes import diff_configs, find_newer_keys, is_result_neutral
from src.config.build_nodes import Schema, build_node
from src.config.compose import prefix_optional_inputs, to_plain_config
from src.config.groups import list_groups
from src.config.hydra_composition import apply_overrides
from src.config.overrides import MAX_CHECKED_VALUES, drop_sweep_id, parse_sweep_id
from src.config.resume import dump_config, load_stored_config
from src.config.validate_config import validate_config
from src.core.files import CONF, PROJECT_ROOT
from src.core.pretrained_files import ENCODER_KEY, resolve_local_folder
from src.core.run_ending import TerminatedBySignal
from src.pipeline.early_checks import check_without_torch
from src.pipeline.run import read_task_schema
from src.search.run.find_sweep import SweepRequest, parse_storage_location, restore_overrides
from src.search.run.search_check import build_search
from src.search.space import SearchSpace, parse_space

# of which a value may name a file, a folder or a device that is not there
_PLACE_KEYS = ("data.source.path", "data.source.hub", ENCODER_KEY, "trainer.accelerator")
_BASIC_LAUNCHER_TARGET = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
_SLURM_LAUNCHER_TARGET = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"


def run_multirun(typed: Sequence[str], task: Schema, function: TaskFunction) -> int:
    """Run a sweep as `hydra.main` would with `-m`, but compose once; returns the exit code.

    Args:
        typed: the command line without its flags. `sweep=ID` stands for all that the sweep was
            begun with.
        task: the schema of a run's config.
        function: the task function, for launchers of Hydra's.
    """
    sweep = parse_sweep_id(typed)
    typed = drop_sweep_id(typed)
    if sweep is not None and sweep != "new":
        from src.search.sweep_study import SweepStorage

        address, folder = parse_storage_location(typed, PROJECT_ROOT)
        typed = restore_overrides(SweepStorage(address, folder, must_exist=True), sweep, typed)
    overrides = prefix_optional_inputs(typed, task)
    if sweep is not None:
        overrides.append(f"hydra.sweeper.sweep='{sweep}'")
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF), job_name="run"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        return int(hydra.multirun("config", function, overrides) or 0)


def run_search_sweep(
    typed: Sequence[str],
    *,
    config: DictConfig,
    context: HydraContext,
    task: TaskFunction,
    sweep: str | None,
) -> int:
    """Search as a composed config says; returns the exit code.

    Args:
        typed: the overrides of the command line, but for Hydra's own.
        config: composed without those that have several values.
        task: the task function, for a launcher of Hydra's.
        sweep: None, `new`, or the id of the sweep to go on with.
    """
    from src.search.run.sweep import Sweep

    search = build_search(config)
    space, fixed_overrides = parse_space(typed, search.space)
    composer = TrialComposer(config, context, fixed_overrides, task)
    search_node: Any = OmegaConf.to_container(config.search, resolve=True)
    base_config = composer.base_config()
    store = build_node(base_config["tracking"])
    store.check()
    if search.launcher in (None, "local") and composer.launcher_target is None:
        # another machine may have other files and devices
        _check_places(space, composer)
    store.announce_environment()
    request = SweepRequest(
        overrides=list(typed),
        space=space.to_plain_dict(),
        search=search_node,
        config=dump_config(base_config),
        compare_configs=find_significant_changes,
        sweep=sweep,
    )
    return Sweep(
        request,
        search=search,
        space=space,
        base_config=base_config,
        composer=composer,
        store=store,
    ).run()


def _check_places(space: SearchSpace, composer: "TrialComposer") -> None:
    """Raise UserError for data, devices or an encoder's folder that are not there, of any listed
    value, before the first trial.
    """
    first = space.first_point()
    points = [first] + [
        {**first, dimension.key: value}
        for dimension in space.dimensions
        if dimension.key in _PLACE_KEYS
        for value in dimension.values[1:MAX_CHECKED_VALUES]
    ]
    for point in points:
        trial = composer.compose_trial(space.format_overrides(point))
        check_without_torch(build_node(trial["data"]), build_node(trial["trainer"]))
        name = trial["model"]["encoder"].get("name_or_path")
        if isinstance(name, str) and not name.startswith("run:"):
            resolve_local_folder(name, ENCODER_KEY)


class TrialComposer:
    """Composes the configs of trials, and runs them by a launcher of Hydra's.

    Args:
        config: composed of the overrides that are the same for all trials.
        fixed_overrides: these overrides.
        task: the task function, for the launcher.
    """

    def __init__(
        self,
        config: DictConfig,
        context: HydraContext,
        fixed_overrides: Sequence[str],
        task: TaskFunction,
    ) -> None:
        self._config = config
        self._context = context
        self._fixed_overrides = [
            override
            for override in fixed_overrides
            if not override.lstrip("+~").startswith(("hydra.", "hydra/"))
        ]
        self._task = task
        self._schema = read_task_schema()

    @property
    def launcher_target(self) -> str | None:
        """The launcher that was chosen with `hydra/launcher=`; None for Hydra's default."""
        target = str(self._config.hydra.launcher._target_)
        return None if target == _BASIC_LAUNCHER_TARGET else target

    @property
    def uses_slurm(self) -> bool:
        """Whether trials are jobs of SLURM."""
        return self.launcher_target == _SLURM_LAUNCHER_TARGET

    def base_config(self) -> dict[str, Any]:
        """The config in which nothing of the space is set."""
        return self._to_plain_trial(self._config.copy(), ())

    def compose_trial(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The config of one trial, checked.

        Raises:
            UserErrors: what is wrong with it.
        """
        parsed = [OverridesParser.create().parse_override(text) for text in overrides]
        groups = list_groups()
        if any(item.key_or_group in groups or item.package is not None for item in parsed):
            config = self._context.config_loader.load_sweep_config(
                self._config, [*self._fixed_overrides, *overrides]
            )
        else:
            # a composition costs a fifth of a second, and would come to the same
            config = self._config.copy()
            apply_overrides(config, parsed)
        plain_config = self._to_plain_trial(config, overrides)
        validate_config(plain_config, self._schema)
        return plain_config

    def _to_plain_trial(self, config: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
        with open_dict(config):
            config.pop("hydra", None)
        return to_plain_config(config, [*self._fixed_overrides, *overrides])

    def trial_arguments(self, overrides: Sequence[str]) -> list[str]:
        """The command line of a run that is one trial by itself."""
        fixed = [text for text in self._fixed_overrides if not text.startswith("search")]
        return [*fixed, *overrides]

    def launch_batch(
        self,
        batch: Sequence[tuple[Sequence[str], Mapping[str, str]]],
        first_job_number: int,
        folder: Path,
    ) -> None:
        """Run trials by Hydra's launcher, and return when they have ended.

        Args:
            batch: of each trial its overrides, and the variables for its environment.
            first_job_number: the number from which Hydra counts the jobs of this batch.
            folder: of the sweep's files.
        """
        config = copy.deepcopy(self._config)
        with open_dict(config):
            config.hydra.sweep.dir = str(folder)
            config.hydra.sweep.subdir = "."
            if self.uses_slurm:
                # the sweep gives the trial to another job; two of them would be at odds
                options = config.hydra.launcher.additional_parameters
                if "requeue" not in options:
                    options["no_requeue"] = True
        # Hydra's default launcher runs the trials in this very process
        in_process = self.launcher_target is None
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self._context,
            task_function=raise_on_signal_exit(self._task) if in_process else self._task,
            config=config,
        )
        jobs = [
            [
                *self._fixed_overrides,
                *overrides,
                *(f"++hydra.job.env_set.{name}='{text}'" for name, text in environment.items()),
            ]
            for overrides, environment in batch
        ]
        launcher.launch(jobs, initial_job_idx=first_job_number)


def raise_on_signal_exit(task: TaskFunction) -> TaskFunction:
    """A task that raises the exception of a signal when `task` returns its exit code.

    Ctrl-C in a trial that runs in this process is meant for all trials.
    """

    def run_task(config: DictConfig) -> Any:
        code = task(config)
        if code == 128 + signal.SIGINT:
            raise KeyboardInterrupt
        if isinstance(code, int) and code > 128:
            raise TerminatedBySignal(code - 128)
        return code

    return run_task


def find_significant_changes(before: str, after: str) -> dict[str, str]:
    """By key, the differences between two stored configs that may change a result."""
    old = load_stored_config(before)
    newer = find_newer_keys(old)
    return {
        change.key: str(change)
        for change in diff_configs(old, load_stored_config(after))
        if change.key not in newer and not is_result_neutral(change.key)
    }
