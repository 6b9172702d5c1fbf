"""A training that is told to end does so between two optimizer steps, where its state is whole and can be kept."""

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from lightning.pytorch import Callback


class Signals(Protocol):
    """What this room must know of the run's signals (src/tracking/ending.py)."""

    received: int | None
    patient: bool

    def take_back(self) -> None: ...


def obeying(signals: Signals) -> "Callback":
    """Ends the training at the next border between optimizer steps after a signal has come.

    The keeper of checkpoints is asked to write one there and to leave; without one, Lightning's own way out is taken.
    Lightning's handler of SIGTERM is not: it would leave in the middle of an accumulation too, and ask the other ranks
    of a distributed run from within a signal handler. A validation under way is left after its batch: the weights are
    those of the border.
    """
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    class Obeying(Callback):
        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            signals.take_back()
            signals.patient = True

        def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            signals.take_back()  # nothing to wait for: a test is repeated whole

        def on_train_batch_end(
            self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            if signals.received is not None:
                _leave(trainer, at_border=not trainer.fit_loop._should_accumulate())

        def on_validation_batch_end(
            self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int,
            dataloader_idx: int = 0,
        ) -> None:  # fmt: skip
            if signals.patient and signals.received is not None:
                _leave(trainer, at_border=True)

        def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            signals.patient = False
            if signals.received is not None:  # it came after the last step
                raise SIGTERMException

    def _leave(trainer: Trainer, *, at_border: bool) -> None:
        leave = getattr(trainer.checkpoint_callback, "leave", None)
        if leave is not None:
            leave(SIGTERMException())
        elif at_border:
            trainer._signal_connector.received_sigterm = True

    return Obeying()
