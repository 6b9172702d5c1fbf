"""The classes of transformers that have a head for each task."""

from typing import Any, Literal

from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from src.model.discriminator import AutoDiscriminator
from src.model.reading_direction import keeps_one_direction, knows_both_directions

# A new kind of head is a name here and its class of transformers below. Of whole texts, `sequence`
# has an output for each label or one for a number, and `binary` one for the second of two labels
# (src/model/head_outputs.py).
HeadType = Literal[
    "masked_lm",
    "causal_lm",
    "replaced_tokens",
    "masked_lm_with_next_sentence",
    "denoising",
    "sequence",
    "binary",
    "ordinal",
    "token_classification",
]
TEXT_HEADS: tuple[HeadType, ...] = ("sequence", "binary", "ordinal")
AUTO_MODEL_CLASSES: dict[HeadType, Any] = {
    "masked_lm": AutoModelForMaskedLM,
    "causal_lm": AutoModelForCausalLM,
    "replaced_tokens": AutoDiscriminator,
    "masked_lm_with_next_sentence": AutoModelForPreTraining,
    "denoising": AutoModelForSeq2SeqLM,
    **dict.fromkeys(TEXT_HEADS, AutoModelForSequenceClassification),
    "token_classification": AutoModelForTokenClassification,
}


def find_model_class(head: HeadType, family: str) -> Any:
    """The auto class of transformers for a head of a family.

    Of families that know both directions, transformers has a causal class for some alone. The
    masked-LM head is the same, so that the others have that, in a body that reads in one.
    """
    model_class = AUTO_MODEL_CLASSES[head]
    if head == "causal_lm" and knows_both_directions(family) and not keeps_one_direction(family):
        return AUTO_MODEL_CLASSES["masked_lm"]
    return model_class
