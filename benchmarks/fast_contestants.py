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
# as the encoder was trained before
MEAN = "model.encoder.pooling=mean"
# ten times that of the body
HEAD_RATE = "model.optim.head_lr=1e-3"
FAST_HEAD = (MEAN, HEAD_RATE)


def cut_first(fraction: float, tokens: int = 64) -> tuple[str, ...]:
    """Texts of at most so many tokens in this share of the steps, every row once."""
    return (
        f"data.batching.length_warmup_tokens={tokens}",
        f"data.batching.length_warmup_fraction={fraction}",
        *ONCE,
    )


SHORT_FIRST = cut_first(0.75)
# with the usual straight line the whole texts are met at the last quarter of the rate
LATE_DECAY = ("model.optim.schedule=wsd", "model.optim.decay_fraction=0.3")

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
    "short first": Contestant("texts of at most 64 tokens in 0.75 of the steps, once", SHORT_FIRST),
    "short first in small batches": Contestant(
        "texts of at most 64 tokens in 0.75 of the steps, which are four times as many",
        (*SHORT_FIRST, SMALL),
    ),
    "short first with late decay": Contestant(
        "texts of at most 64 tokens in 0.75 of the steps, the whole rate for 0.7 of them",
        (*SHORT_FIRST, *LATE_DECAY),
    ),
    "short first at a higher rate": Contestant(
        "the same with late decay, at twice the rate",
        (*SHORT_FIRST, *LATE_DECAY, "model.optim.lr=2e-4"),
    ),
    "shorter first with late decay": Contestant(
        "texts of at most 40 tokens in 0.63 of the steps, the whole rate for 0.6 of them",
        (
            *cut_first(0.63, 40),
            "model.optim.schedule=wsd",
            "model.optim.decay_fraction=0.4",
        ),
    ),
    "short first and longer last": Contestant(
        "texts of at most 64 tokens in 0.85 of the steps, then 384; judged by 384 tokens as well",
        (
            "data.batching.max_tokens=384",
            *cut_first(0.85),
            *LATE_DECAY,
        ),
    ),
    "short first with average": Contestant(
        "texts of at most 64 tokens in 0.75 of the steps, an average of the last hundred steps",
        (*SHORT_FIRST, "callbacks=weight_averaging"),
    ),
    "short first and frozen": Contestant(
        "texts of at most 64 tokens in 0.55 of the steps, the lowest two layers as they are",
        (
            *cut_first(0.55),
            "model.freeze=2",
        ),
    ),
    "short first and mean": Contestant(
        "texts of at most 64 tokens in 0.75 of the steps, a text as the mean of its tokens",
        (*SHORT_FIRST, MEAN),
    ),
    "short first with a fast head": Contestant(
        "texts of at most 64 tokens in 0.75 of the steps, a text as the mean of its tokens, a head "
        "that learns ten times as fast",
        (*SHORT_FIRST, *FAST_HEAD),
    ),
    "shorter with a fast head": Contestant(
        "the same in 0.85 of the steps: of a text as its mean the last layer has more to compute",
        (
            *cut_first(0.85),
            *FAST_HEAD,
        ),
    ),
    "short first with a fast first token": Contestant(
        "texts of at most 64 tokens in 0.75 of the steps, and the head, pooler included, learns "
        "ten times as fast",
        (*SHORT_FIRST, HEAD_RATE),
    ),
    "shorter with a fast first token": Contestant(
        "the same in 0.8 of the steps",
        (
            *cut_first(0.8),
            HEAD_RATE,
        ),
    ),
    "default with a fast head": Contestant(
        "a text as the mean of its tokens, and the head learns ten times as fast", FAST_HEAD
    ),
    "frozen": Contestant(
        "two thirds of the rows, embeddings and the two lowest layers as they are",
        ("data.train_share=0.68", "model.freeze=2"),
    ),
}
