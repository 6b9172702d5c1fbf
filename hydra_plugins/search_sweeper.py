"""The door by which Hydra's `-m` comes into src/search: Hydra looks for its plugins in this folder
alone.
"""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction

if TYPE_CHECKING:
    from omegaconf import DictConfig


class SearchSweeper(Sweeper):
    """Hands what Hydra has composed to `src.search.run.multirun.run_search_sweep`.

    Args:
        params: overrides with several values by key, as the sweeper that comes with Hydra takes
            them.
        sweep: what `sweep=` on the command line says.
    """

    def __init__(self, params: Mapping[str, str] | None = None, sweep: str | None = None) -> None:
        self._params = dict(params or {})
        self._sweep_id = sweep

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: "DictConfig"
    ) -> None:
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def sweep(self, arguments: list[str]) -> int:
        """Run the sweep; returns exit code 0.

        Another exit code ends the program here, since `hydra.main` would not pass it on.
        """
        from src.search.run.multirun import run_search_sweep

        assert self.config is not None and self.hydra_context is not None
        typed = [*(f"{key}={text}" for key, text in self._params.items()), *arguments]
        code = run_search_sweep(
            typed,
            config=self.config,
            context=self.hydra_context,
            task=self.task_function,
            sweep=self._sweep_id,
        )
        return sys.exit(code) if code else 0
