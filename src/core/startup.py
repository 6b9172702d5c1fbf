"""The start of a program: garbage collection while libraries are imported, signals before there is
a run, messages of libraries that help nobody, and a faster import of Lightning.

Importing torch, Lightning and MLflow makes hardly any garbage, but a million objects that live as
long as the process. Walking them again and again costs a sixth of the processor time until the
first training step, and a third of the time that a config error takes.
"""

import gc
import importlib
import importlib.util
import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import Any


@contextmanager
def run_without_gc() -> Iterator[None]:
    """Context manager around a whole program: garbage is not collected until `resume_gc` is called,
    nor when the interpreter ends, since the system then takes all memory back.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Context manager in which Ctrl-C and SIGTERM end the program at once, with the shell's exit
    codes (130, 143) and without a traceback.

    A run installs its own handlers later (src/core/run_ending.py); until then nothing can be lost.
    """
    before = {}
    for signum in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(signum) is not signal.SIG_IGN:
            before[signum] = signal.signal(signum, _exit_on_signal)
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def end_when_unread() -> Iterator[None]:
    """Context manager in which the system ends this process, without a word, when it prints and
    nobody reads any more (`| head`). For a program that only prints: a run goes on.
    """
    if not hasattr(signal, "SIGPIPE"):
        yield
        return
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        yield
    finally:
        # what is still to be printed, else Python would print it later and show a traceback
        if sys.stdout is not None:
            sys.stdout.flush()
        signal.signal(signal.SIGPIPE, before)


def _exit_on_signal(signum: int, _: FrameType | None) -> None:
    os._exit(128 + signum)


def resume_gc() -> None:
    """Collect garbage again, but only among objects made from now on: modules live as long as the
    process.

    Does nothing if the collector already runs, so that a second run in one process does not keep
    the objects of the first alive.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


@contextmanager
def pause_gc() -> Iterator[None]:
    """Context manager that stops garbage collection while libraries are imported in the middle of
    a program.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def silence_transformers() -> None:
    """Silence Hugging Face's libraries, also where something has imported them already."""
    # fresh heads are reported as missing weights, which our own line says
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if imported := sys.modules.get("transformers.utils.logging"):
        # it has read the variable by then
        level = imported.log_levels.get(os.environ["TRANSFORMERS_VERBOSITY"])
        imported.set_verbosity(imported.log_levels["error"] if level is None else level)
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "0" if sys.stderr.isatty() else "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


def silence_libraries() -> None:
    """Silence known warnings of the libraries that help nobody; every other one stays. Must be
    called before anything else imports the libraries.
    """
    silence_transformers()
    # sets the levels of its loggers on import, so they are lowered after it
    import_lightning()
    for name in ("lightning.pytorch", "lightning.fabric"):
        # which devices there are, and advertisements
        logging.getLogger(name).setLevel(logging.WARNING)
    # logs the table for which the callback was added
    logging.getLogger("lightning.pytorch.callbacks.model_summary").setLevel(logging.INFO)
    for message in (
        # batches are made in less time than a worker takes to hand them over
        ".*does not have many workers.*",
        # said in one line when training begins (data.num_workers)
        ".*This DataLoader will create .* worker processes.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*The number of training batches .* is smaller than the logging interval.*",
        # epoch values are reduced over ranks before
        ".*It is recommended to use `self.log.*sync_dist=True.*",
        # nothing is done to hidden states in place
        ".*FSDP2-wrapped module .* returned a view tensor.*",
        # the table's estimate of a size that nobody asked for
        ".*is not supported by the model summary.*",
        # the average is of a model that is whole on this device
        ".*WeightAveraging callback with a model that overrides.*",
        # frozen parts are meant to be
        ".*in eval mode at the start of training.*",
        # a batch that is left out (trainer.on_non_finite)
        ".*`training_step` returned `None`.*",
        # it keeps all targets in memory: two numbers a row
        ".*Metric `Spearman.*",
        # where SLURM is installed a run may still be one by itself
        ".*The `srun` command is available on your system but is not used.*",
        # torch's own pytree, called by Lightning
        ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
    ):
        warnings.filterwarnings("ignore", message=message)


_STUBBED_MODULE = "scipy.signal"


class _LazyModule(ModuleType):
    """Stands in for `scipy.signal` while Lightning is imported, and imports the real module when
    any name but `hamming` is asked for.

    torchmetrics 1.9 imports `scipy.signal` (1.1 s) only to see whether it has the name `hamming`,
    for the sake of another package, and gives it one where it has none.
    """

    hamming: Any = None

    def __getattr__(self, name: str) -> Any:
        # the import system's own questions
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_import_real_module(), name)


def import_lightning() -> None:
    """Import `lightning.pytorch` without `scipy.signal`, which stays importable for others."""
    stands_in = _STUBBED_MODULE not in sys.modules and importlib.util.find_spec("scipy") is not None
    if stands_in:
        sys.modules[_STUBBED_MODULE] = _LazyModule(_STUBBED_MODULE)
    try:
        importlib.import_module("lightning.pytorch")
    finally:
        if stands_in and isinstance(sys.modules.get(_STUBBED_MODULE), _LazyModule):
            del sys.modules[_STUBBED_MODULE]


def _import_real_module() -> ModuleType:
    if isinstance(sys.modules.get(_STUBBED_MODULE), _LazyModule):
        del sys.modules[_STUBBED_MODULE]
    return importlib.import_module(_STUBBED_MODULE)
