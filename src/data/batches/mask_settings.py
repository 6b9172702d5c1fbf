"""What the batchings that mask tokens have in common: their settings, as masking wants them."""

from typing import TYPE_CHECKING, Literal, Protocol

from src.core.user_errors import UserError

# NumPy and torch are imported where batches are made: reading a config does not need them.
if TYPE_CHECKING:
    import numpy as np

    from src.data.batches.masking import MaskingParams
    from src.data.tokenization.tokenizer import TextTokenizer

# Held-out masks have a seed and a fraction of their own: held-out losses then compare between runs,
# whatever these train with.
EVAL_MASK_SEED = 15_015
EVAL_MASK_FRACTION = 0.15
EVAL_MASK_SHARE, EVAL_RANDOM_SHARE = 0.8, 0.1


class MaskSettings(Protocol):
    """A batching that masks tokens; `Masked` says what the settings mean."""

    @property
    def mask_fraction(self) -> float: ...
    @property
    def mask_share(self) -> float: ...
    @property
    def random_share(self) -> float: ...
    @property
    def mask_unit(self) -> Literal["token", "word", "span"]: ...
    @property
    def span_probability(self) -> float: ...
    @property
    def max_span_words(self) -> int: ...
    @property
    def max_tokens(self) -> int: ...


def check_mask_shares(settings: MaskSettings) -> None:
    """Raise UserError if more tokens are to be replaced than are chosen."""
    if settings.mask_share + settings.random_share > 1:
        raise UserError(
            f"mask_share={settings.mask_share} and random_share={settings.random_share} add up to "
            "more than 1 "
            "(data.batching.mask_share, data.batching.random_share)"
        )


def check_mask_unit(settings: MaskSettings, tokenizer: "TextTokenizer") -> None:
    """Raise UserError if words are to be masked, and the vocabulary does not tell them."""
    if settings.mask_unit != "token":
        _ = tokenizer.word_joints


def build_masking_params(
    settings: MaskSettings, tokenizer: "TextTokenizer", *, seed: int, training: bool
) -> "MaskingParams[np.ndarray]":
    """The settings for one split; held-out ones are the same for all runs."""
    from src.data.batches.masking import MaskingParams
    from src.data.batches.packing import partition_vocabulary
    from src.data.batches.word_masking import build_unit_draws

    assert tokenizer.mask_id is not None
    unit = settings.mask_unit if training else "token"
    ordinary, special = partition_vocabulary(tokenizer.vocab_size, tokenizer.special_ids)
    return MaskingParams(
        seed=seed if training else EVAL_MASK_SEED,
        fraction=settings.mask_fraction if training else EVAL_MASK_FRACTION,
        mask_share=settings.mask_share if training else EVAL_MASK_SHARE,
        random_share=settings.random_share if training else EVAL_RANDOM_SHARE,
        mask_id=tokenizer.mask_id,
        ordinary=ordinary,
        special=special,
        joints=None if unit == "token" else tokenizer.word_joints,
        unit_draws=(
            None
            if unit == "token"
            else build_unit_draws(
                settings.span_probability,
                settings.max_span_words if unit == "span" else 1,
                settings.max_tokens,
            )
        ),
        has_spans=unit == "span",
    )
