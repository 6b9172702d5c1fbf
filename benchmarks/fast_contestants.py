"""What is tried in benchmarks/fast_finetune.py: each is the default of its experiment but for a few
keys.
"""

from typing import NamedTuple


class Contestant(NamedTuple):
    """Overrides of an experiment, and in words what they do."""

    what: str
    overrides: tuple[str, ...] = ()


# half of the rows, which alone is the plainest way to half of the time
HALF = "data.train_share=0.5"
# as the experiment `imdb` has it anyway
ONCE = ("trainer.max_epochs=1", "model.encoder.dropout=0.0")
SMALL = "data.batching.batch_size=8"

CONTESTANTS = {
    "default": Contestant("the experiment as it is"),
    "half": Contestant("half of the rows", (HALF,)),
    "once": Contestant("every row once, without dropout", ONCE),
    "small batches": Contestant("half of the rows, four times as many steps", (HALF, *ONCE, SMALL)),
    "once in small batches": Contestant(
        "every row once, without dropout, four times as many steps", (*ONCE, SMALL)
    ),
    "short": Contestant(
        "texts of at most 128 tokens, once", ("data.batching.max_tokens=128", *ONCE)
    ),
    "short first": Contestant(
        "texts of at most 64 tokens in 0.75 of the steps, once",
        (
            "data.batching.length_warmup_tokens=64",
            "data.batching.length_warmup_fraction=0.75",
            *ONCE,
        ),
    ),
    "short first in small batches": Contestant(
        "texts of at most 64 tokens in 0.75 of the steps, which are four times as many",
        (
            "data.batching.length_warmup_tokens=64",
            "data.batching.length_warmup_fraction=0.75",
            *ONCE,
            SMALL,
        ),
    ),
    "frozen": Contestant(
        "two thirds of the rows, embeddings and the two lowest layers as they are",
        ("data.train_share=0.68", "model.freeze=2"),
    ),
}
