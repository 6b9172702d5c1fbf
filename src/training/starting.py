"""How long a run took to begin: what its first optimizer step cost from the start of the process on."""

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning.pytorch import Callback

_begun = False  # a process begins once: what later runs of a multirun waited for is no start


def starting(log: Callable[[Mapping[str, float]], None]) -> "list[Callback]":
    """A callback that logs, after the first optimizer step of this process, what it took to get there.

    Written: system/start_seconds, the wall time since the process began, and system/start_processor_seconds, the
    processor time of the process and of those that it waited for. No callback where the process has had a run before.
    """
    if _begun:
        return []
    from lightning.pytorch import Callback, LightningModule, Trainer

    class Starting(Callback):
        def on_train_batch_end(
            self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            global _begun
            if not _begun and trainer.global_step > 0:
                _begun = True
                log(cost())

    return [Starting()]


def cost() -> dict[str, float]:
    """Wall and processor seconds of this process until now."""
    import psutil

    times = os.times()
    return {
        "system/start_seconds": time.time() - psutil.Process().create_time(),
        "system/start_processor_seconds": times.user + times.system + times.children_user + times.children_system,
    }
