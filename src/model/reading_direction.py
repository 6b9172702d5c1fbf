"""In which direction a network reads a text: in both, or as causal language modelling needs it, so
that no token sees those after it.

Most families know one of these alone. Those whose attention is told the borders of sequences here
(`src/model/attention/ragged_layout.py`) can be kept to one direction, and go back to both: their
config has `is_decoder`, which is true in the folder of a network that has learnt to read in one.
transformers has a causal class for some of them, and of the others it would open such a folder as a
network that reads in both.
"""

import transformers
from transformers import PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from src.core.user_errors import UserError
from src.model.encoder_families import TOKEN_HEADS, build_decoder_error


def knows_both_directions(family: str) -> bool:
    """True for a family that reads in both directions, and whose tokens can be kept from seeing
    those after them here (`RaggedLayout`).
    """
    return family in TOKEN_HEADS


def keeps_one_direction(family: str) -> bool:
    """True if transformers opens a network of this family that has learnt to read in one direction
    as such.
    """
    return family in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def set_direction(config: PreTrainedConfig, is_causal: bool) -> str:
    """Write into the config of a family that knows both directions in which it reads; returns what
    changes by that, in a clause.
    """
    if not knows_both_directions(config.model_type):
        return ""
    before = bool(getattr(config, "is_decoder", False))
    config.is_decoder = is_causal
    if before == is_causal:
        return ""
    new, old = "only those before them", "all"
    if before:
        new, old = old, new
    return f"tokens see {new}, where they have seen {old}"


def check_kept_direction(family: str) -> None:
    """Raise UserError if a run must not end with a network of this family that has learnt to read
    in one direction: nothing would open it as what it is.
    """
    if keeps_one_direction(family):
        return
    fitting = ", ".join(filter(keeps_one_direction, sorted(TOKEN_HEADS)))
    raise UserError(
        f"model.encoder: transformers {transformers.__version__} opens the family '{family}' as "
        "one that reads in both directions, so it would give other answers than it has learnt by "
        "model=causal_lm; expected a later phase with another objective, such as masked_lm "
        f"(phases), or a family that it opens as what it is: {fitting}",
    )


def build_direction_error(family: str, where: str, key: str = "") -> UserError:
    """The error of a family that is to predict the next token, and sees it. Arguments as for
    `check_config_json`.
    """
    return UserError(
        f"{where}the family '{family}' reads a text in both directions, so it would see the token "
        "that it is to predict; causal language modelling needs one that reads in one direction, "
        f"such as gpt2{key}"
    )


def check_direction(config: PreTrainedConfig, is_causal: bool, *, can_be_told: bool) -> None:
    """Raise UserError if a network's tokens would see others than its head is for.

    Args:
        is_causal: the network is of a family that knows both directions, and is kept to one.
        can_be_told: its attention is told the borders of sequences, and so which tokens come later.
    """
    is_decoder = getattr(config, "is_decoder", False)
    if is_decoder and not is_causal:
        raise build_decoder_error("model.encoder: ")
    if is_causal and not is_decoder:
        raise build_direction_error(config.model_type, "model.encoder: ")
    if is_causal and not can_be_told:
        raise UserError(
            f"model.encoder: the family '{config.model_type}' is kept to one direction by this "
            "program's own arithmetic, which model.lean=false, trainer=fsdp and a convolution "
            "beside the first layer leave out; its tokens would see the one that they are to "
            "predict"
        )
