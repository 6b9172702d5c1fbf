"""Messages of the libraries below that say nothing to a person, or say it at the wrong time."""

import logging
import os
import sys
import warnings

from src.training.lightly import import_lightning


def quiet_transformers() -> None:
    """Silence what Hugging Face's libraries say; called before they are imported. All that `src.predict` needs."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # fresh heads are reported as missing weights
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "0" if sys.stderr.isatty() else "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


def quiet() -> None:
    """Silence known chatter; every other warning and error stays. Called before anything else imports the libraries."""
    quiet_transformers()
    import_lightning()  # sets the levels of its loggers on import, so they are lowered after it
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # which devices there are, and advertisements
    for message in (
        ".*does not have many workers.*",  # batches are made in less time than a worker takes to hand them over
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*The number of training batches .* is smaller than the logging interval.*",
        ".*It is recommended to use `self.log.*sync_dist=True.*",  # epoch values are reduced over ranks before
        ".*FSDP2-wrapped module .* returned a view tensor.*",  # nothing is done to hidden states in place
        ".*in eval mode at the start of training.*",  # frozen parts are meant to be
        ".*`training_step` returned `None`.*",  # a batch that is left out (trainer.on_non_finite)
        ".*Metric `Spearman.*",  # it keeps all targets in memory: two numbers a row
        ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",  # torch's own pytree, called by Lightning
    ):
        warnings.filterwarnings("ignore", message=message)
