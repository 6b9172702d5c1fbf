"""What is tried in benchmarks/fast_finetune.py: each is the default of its experiment but for a few
keys.
"""

from typing import NamedTuple


class Contestant(NamedTuple):
    """Overrides of an experiment, and in words what they do."""

    what: str
    overrides: tuple[str, ...] = ()


CONTESTANTS = {
    "default": Contestant("the experiment as it is"),
    "half": Contestant("half of the rows", ("data.train_share=0.5",)),
}
