"""Facts about the data that a model must know before it can be built."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np

# what rows of text are for: to have words masked or to go on, to have words masked in pairs of
# segments, to be freed of noise, or to be given a label, labels or a number, or a tag for each word
Task = Literal[
    "masked_lm",
    "causal_lm",
    "masked_lm_with_next_sentence",
    "denoising",
    "classification",
    "multi_label",
    "regression",
    "token_classification",
]
# those that judge a whole text, or a pair of them
WHOLE_TEXT_TASKS: tuple[Task, ...] = ("classification", "multi_label", "regression")
# those that learn from text alone
TEXT_TASKS: tuple[Task, ...] = (
    "masked_lm",
    "causal_lm",
    "masked_lm_with_next_sentence",
    "denoising",
)
# and the choice of `data/batching` that is made for each
TEXT_BATCHINGS: dict[str, str] = {
    "masked_lm": "masked",
    "causal_lm": "causal",
    "masked_lm_with_next_sentence": "sentence_pairs",
    "denoising": "denoising",
}


@dataclass(frozen=True)
class DatasetInfo:
    """Facts that are known once the data have been read and tokenised (`prepare_data`); the model
    checks them against its config.

    Args:
        vocab_size: ids that a batch may hold run from 0 to this, exclusive.
        own_vocab_size: ids of the tokenizer's own vocabulary run from 0 to this, exclusive; those
            beyond are of tokens that were added to it. None: there are no others.
        mask_id: None if the tokenizer has no mask token.
        special_ids: ids that are never masked and never predicted.
        max_tokens: of the longest sequence.
        label_names: empty unless rows carry class labels.
        batches_per_epoch: training batches of all ranks together, before accumulation.
        sample_tokens: a few hundred tokens with their ids, enough to tell if an encoder has the
            same vocabulary.
        unigram_entropy: where tokens are predicted, the loss (in nats) of a model that knows
            token frequencies alone.
        label_counts: training rows of each label, in the order of `label_names`; empty where rows
            carry no labels.
        num_train_rows: None where it is not known.
        end_id: the special token behind every text, by which a decoder stops; None where there is
            not one such token.
    """

    vocab_size: int
    pad_id: int
    mask_id: int | None
    special_ids: tuple[int, ...]
    max_tokens: int
    label_names: tuple[str, ...]
    batches_per_epoch: int
    sample_tokens: dict[str, int]
    unigram_entropy: float | None = None
    own_vocab_size: int | None = None
    label_counts: tuple[int, ...] = ()
    num_train_rows: int | None = None
    end_id: int | None = None


class TokenVectors(NamedTuple):
    """What the training rows tell of each token of the vocabulary, for an encoder that begins
    fresh.

    Attributes:
        vectors: of its neighbours, [V, D] float32; zeros for a token that has none.
        frequencies: how often it occurs, [V]; 0 for special tokens.
        num_tokens: those of which neighbours were counted.
    """

    vectors: "np.ndarray"
    frequencies: "np.ndarray"
    num_tokens: int
