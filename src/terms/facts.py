"""What the model must know of the data before it can be built: found in `prepare_data`, verified against the config."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """Known only once the data have been read and tokenised.

    `vocab_size` counts every id that a batch may hold; `special_ids` are never masked and never predicted.
    `label_names` is empty unless rows carry class labels. `batches_per_epoch` counts before accumulation.
    `some_tokens` are a few hundred tokens with their ids, enough to tell whether an encoder speaks the same vocabulary.
    `unigram_entropy` (nats) is the loss of a model that knows token frequencies alone; for masked language modelling.
    """

    vocab_size: int
    pad_id: int
    mask_id: int | None
    special_ids: tuple[int, ...]
    max_tokens: int
    label_names: tuple[str, ...]
    batches_per_epoch: int
    some_tokens: dict[str, int]
    unigram_entropy: float | None = None
