"""What is known of encoder families beyond what transformers says of them: the heads that are run
on chosen tokens alone, how positions are counted, and which have token types. Any other family of
transformers runs by its own forward (src/model/padded_rows.py).

Shape legend: B sequences, T real tokens, K chosen tokens, D width, C labels.
"""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from src.core.batch import Tokens
from src.core.user_errors import UserError

# For each family, the part of its masked-LM head before the product with the vocabulary: hidden
# states [K, D] to [K, D].
TOKEN_HEADS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "albert": lambda m, h: m.predictions.LayerNorm(
        m.predictions.activation(m.predictions.dense(h))
    ),
    "bert": lambda m, h: m.cls.predictions.transform(h),
    "camembert": lambda m, h: _roberta_head(m.lm_head, h),
    "deberta-v2": lambda m, h: (
        m.cls.predictions.transform(h) if m.legacy else _deberta_head(m.lm_predictions.lm_head, h)
    ),
    "distilbert": lambda m, h: m.vocab_layer_norm(m.activation(m.vocab_transform(h))),
    "electra": lambda m, h: m.generator_predictions(h),
    "modernbert": lambda m, h: m.head(h),
    "mpnet": lambda m, h: _roberta_head(m.lm_head, h),
    "roberta": lambda m, h: _roberta_head(m.lm_head, h),
    "xlm-roberta": lambda m, h: _roberta_head(m.lm_head, h),
}


def _roberta_head(head: Any, hidden: Tensor) -> Tensor:
    return head.layer_norm(nn.functional.gelu(head.dense(hidden)))


def _deberta_head(head: Any, hidden: Tensor) -> Tensor:
    return head.LayerNorm(head.transform_act_fn(head.dense(hidden)))


# For each family, its classification head: what represents a sequence, as [B, 1, D], to logits
# [B, C].
SEQUENCE_HEADS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "albert": lambda m, h: m.classifier(
        m.dropout(m.albert.pooler_activation(m.albert.pooler(h[:, 0])))
    ),
    "bert": lambda m, h: m.classifier(m.dropout(m.bert.pooler(h))),
    "camembert": lambda m, h: m.classifier(h),
    "deberta-v2": lambda m, h: m.classifier(m.dropout(m.pooler(h))),
    "distilbert": lambda m, h: m.classifier(m.dropout(m.pre_classifier(h[:, 0]).relu())),
    "electra": lambda m, h: m.classifier(h),
    "modernbert": lambda m, h: m.classifier(m.drop(m.head(h[:, 0]))),
    "mpnet": lambda m, h: m.classifier(h),
    "roberta": lambda m, h: m.classifier(h),
    "xlm-roberta": lambda m, h: m.classifier(h),
}


def _tag_head(network: Any, hidden: Tensor) -> Tensor:
    """Hidden states [K, D] to logits [K, C]; ModernBERT has the first and the last of these layers
    before its last one, the other families have the second.
    """
    for name in ("head", "dropout", "drop"):
        hidden = getattr(network, name, nn.Identity())(hidden)
    logits: Tensor = network.classifier(hidden)
    return logits


# For each family that is trained on pairs of segments, the head that judges them: what represents a
# pair, as [B, 1, D], to logits [B, 2].
PAIR_HEADS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "albert": lambda m, h: m.sop_classifier(m.albert.pooler_activation(m.albert.pooler(h[:, 0]))),
    "bert": lambda m, h: m.cls.seq_relationship(m.bert.pooler(h)),
}

# The families whose decoder is trained to write what noise has hidden (src/model/decoder_rows.py).
DECODER_FAMILIES = (
    "bart",
    "led",
    "longt5",
    "mbart",
    "mt5",
    "mvp",
    "pegasus",
    "plbart",
    "t5",
    "umt5",
)

# For each kind of head, the families whose head is run by itself.
HEADS: dict[str, dict[str, Callable[[Any, Tensor], Tensor]]] = {
    "masked_lm": TOKEN_HEADS,
    # the same head, in a body whose tokens see only those before them
    "causal_lm": TOKEN_HEADS,
    "replaced_tokens": {"electra": lambda m, h: m.discriminator_predictions(h)},
    "masked_lm_with_next_sentence": {family: TOKEN_HEADS[family] for family in PAIR_HEADS},
    "sequence": SEQUENCE_HEADS,
    "token_classification": dict.fromkeys(TOKEN_HEADS, _tag_head),
}
# their first position is the padding's index plus one
_FAMILIES_WITH_OFFSET_POSITIONS = {"camembert", "roberta", "xlm-roberta"}
# where their config has more than one; RoBERTa's relatives usually have not
_FAMILIES_WITH_TOKEN_TYPES = {
    "albert",
    "bert",
    "electra",
    "deberta-v2",
} | _FAMILIES_WITH_OFFSET_POSITIONS
_DROPOUT_NAMES = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "dropout",
    "attention_dropout",
    "embedding_dropout",
    "mlp_dropout",
    "classifier_dropout",
    "classifier_dropout_prob",
    "seq_classif_dropout",
)
# by their names in the body; the last two are ELECTRA's and ALBERT's own
EMBEDDING_MODULES = ("embeddings", "embeddings_project", "encoder.embedding_hidden_mapping_in")


def check_encoder_config(config: PreTrainedConfig, model_class: Any) -> None:
    """Raise UserError if an encoder cannot be given the head of a task.

    Args:
        model_class: the auto class of transformers for the task.
    """
    check_family(config.model_type, model_class, "model.encoder: ")
    check_config_json(config.to_dict(), "model.encoder: ")


def check_family(family: str, model_class: Any, where: str, key: str = "") -> None:
    """Raise UserError if transformers has no class for a task of this family, for pairs of segments
    no head in it, or for writing no decoder.

    Args:
        model_class: the auto class of transformers for the task.
        where, key: as in `check_config_json`.
    """
    # transformers has a class of this name for others too, but without a head for pairs
    if model_class is transformers.AutoModelForPreTraining and family not in PAIR_HEADS:
        raise UserError(
            f"{where}the family '{family}' has no head here that judges two segments; expected "
            f"{' or '.join(sorted(PAIR_HEADS))}, or model=masked_lm, which masks alone{key}"
        )
    if model_class is transformers.AutoModelForSeq2SeqLM and family not in DECODER_FAMILIES:
        raise UserError(
            f"{where}the family '{family}' has no decoder here that writes a text; expected "
            f"{', '.join(DECODER_FAMILIES[:-1])} or {DECODER_FAMILIES[-1]}{key}"
        )
    known = model_class._model_mapping._model_mapping
    if family not in known:
        several = "one that has, such as bert, roberta, deberta-v2 or modernbert"
        raise UserError(
            f"{where}the family '{family}' cannot do this: transformers {transformers.__version__} "
            f"has no {model_class.__name__} for it; expected "
            f"{several if 'bert' in known else ' or '.join(known)}{key}"
        )


def build_decoder_error(where: str, key: str = "") -> UserError:
    """The error of a network that is to see all tokens, and does not. Arguments as for
    `check_config_json`.
    """
    return UserError(
        f"{where}is_decoder=true, so its tokens see only those before them; expected an encoder, "
        f"whose tokens see all{key}"
    )


def check_config_json(settings: Mapping[str, Any], where: str, key: str = "") -> None:
    """Raise UserError if a config.json asks for something that is not supported here.

    Args:
        settings: its entries; those with the usual value may be absent.
        where: how the message begins.
        key: how it ends.
    """
    family = settings["model_type"]
    if settings.get("is_decoder") and family not in TOKEN_HEADS:
        raise build_decoder_error(where, key)
    # transformers took these out in version 5, and passes over the entry and its weights
    if (kind := str(settings.get("position_embedding_type"))).startswith("relative_key"):
        raise UserError(
            f"{where}position_embedding_type={kind}, which transformers 5 computes no longer; "
            f"expected absolute{key}"
        )
    if settings.get("quantization_config"):
        raise UserError(
            f"{where}quantization_config, so its weights are rounded to a few bits and cannot be "
            f"trained; expected the model from which it was made{key}"
        )
    if settings.get("add_cross_attention"):
        raise UserError(
            f"{where}add_cross_attention=true, so it reads the states of another network beside "
            f"the text; expected an encoder, which reads the text alone{key}"
        )
    if family in _FAMILIES_WITH_OFFSET_POSITIONS and settings.get("pad_token_id", 0) is None:
        raise UserError(
            f"{where}pad_token_id is null, but the positions of the family '{family}' are counted "
            f"from it; expected the id of the tokenizer's padding{key}"
        )


def find_vocab_size(config: PreTrainedConfig) -> int:
    """The number of ids that a network knows. Raises UserError if it reads no tokens."""
    size = getattr(config.get_text_config(), "vocab_size", None)
    if size is None:
        raise UserError(
            f"model.encoder: the family '{config.model_type}' has no vocabulary, so it cannot read "
            "the tokens of a text"
        )
    return int(size)


def find_dropout_names(config: PreTrainedConfig) -> list[str]:
    """The entries of a config that are shares of dropout; every family has names of its own."""
    if config.model_type in TOKEN_HEADS:
        return [name for name in _DROPOUT_NAMES if hasattr(config, name)]
    return [
        name
        for name, value in vars(config).items()
        if ("dropout" in name or name.endswith("_pdrop"))
        and (value is None or type(value) in (int, float))
    ]


def check_dropout(config: PreTrainedConfig, key: str, value: float) -> None:
    """Raise UserError, for a key that makes two passes of a text, if nothing is dropped."""
    if not any(getattr(config, name) for name in find_dropout_names(config)):
        raise UserError(
            "two passes are the same where nothing is dropped",
            key=key,
            value=f"{value:g}",
            hint="model.encoder.dropout=0.1 drops a tenth",
        )


def find_longest_sequence(network: PreTrainedModel) -> int | None:
    """The tokens that a network has positions for; None: it counts distances, of any length."""
    config = network.config
    if config.model_type in TOKEN_HEADS:
        return int(config.max_position_embeddings) - first_position_id(config)
    most = getattr(config.get_text_config(), "max_position_embeddings", None)
    if most is None or most < 1:
        return None
    for name, module in network.named_modules():
        # its first position is behind the padding's, as in RoBERTa
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None):
            return int(most) - module.padding_idx - 1
    return int(most)


def has_token_types(network: PreTrainedModel) -> bool:
    """True if a network tells the tokens of a pair's second text from those of the first."""
    config, family = network.config, network.config.model_type
    if getattr(config, "type_vocab_size", 0) < 2:
        return False
    if family in TOKEN_HEADS:
        return family in _FAMILIES_WITH_TOKEN_TYPES
    return "token_type_ids" in signature(network.forward).parameters


def first_position_id(config: PreTrainedConfig) -> int:
    """The index of a sequence's first position."""
    padding_id = _find_uncounted_id(config)
    return 0 if padding_id is None else padding_id + 1


def _find_uncounted_id(config: PreTrainedConfig) -> int | None:
    """The token that is passed over when positions are counted; None: there is none."""
    if config.model_type == "mpnet":
        # its code has this number, whatever its padding is
        return 1
    if config.model_type in _FAMILIES_WITH_OFFSET_POSITIONS:
        return int(config.pad_token_id)
    return None


def compute_position_ids(tokens: Tokens, config: PreTrainedConfig) -> Tensor:
    """Index [T] of each token among the learnt positions.

    RoBERTa and its relatives count the tokens that are not padding. A padding token that is written
    out in a text stands at the padding's own position and is not counted: [a <pad> b], with padding
    1, stands at [2 1 3].
    """
    positions = tokens.positions + first_position_id(config)
    padding_id = _find_uncounted_id(config)
    if padding_id is None:
        return positions
    is_padding = tokens.ids == padding_id
    # not asked on a GPU, which would have to be waited for
    if is_padding.device.type == "cpu" and not is_padding.any():
        return positions
    count = is_padding.cumsum(0)
    # [T]: where each token's sequence begins
    begins = torch.arange(len(is_padding), device=is_padding.device) - tokens.positions
    # [T]: paddings in the token's own sequence up to it
    passed = count - (count - is_padding.long())[begins]
    return torch.where(is_padding, padding_id, positions - passed)
