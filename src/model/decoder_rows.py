"""Networks with an encoder and a decoder: what they write for texts, by their own forward in
transformers.

Both sides are padded on the right. An encoder's padding is masked, and what a decoder writes at a
place depends on the places before it alone, so that padding behind a text changes nothing.

Shape legend: B sequences, T tokens of all of them, U tokens that are written, L places of a row,
V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from src.core.batch import Tokens
from src.core.user_errors import UserError

# what transformers takes for no target
_NO_TARGET = -100


def compute_decoder_logits(network: PreTrainedModel, tokens: Tokens, targets: Tokens) -> Tensor:
    """Scores over the vocabulary [U, V] for each target from the text and the targets before it.

    Args:
        tokens: the texts.
        targets: what is to be written for each.
    """
    caller: Any = network
    labels, places = pad_rows(targets, _NO_TARGET)
    # any id will do where attention is masked
    input_ids, is_token = pad_rows(tokens, network.config.pad_token_id or 0)
    mask = torch.zeros_like(input_ids).flatten().index_fill(0, is_token, 1).view_as(input_ids)
    logits = caller(
        input_ids=input_ids,
        attention_mask=mask,
        # shifted to the right, behind the token that a decoder begins with
        decoder_input_ids=caller.prepare_decoder_input_ids_from_labels(labels),
        use_cache=False,
    ).logits
    flat: Tensor = logits.flatten(0, 1).index_select(0, places)
    return flat


def pad_rows(tokens: Tokens, fill: int) -> tuple[Tensor, Tensor]:
    """Ids [B, L], and the place of each token [T] in them, row by row. No device is waited for."""
    shape = (tokens.num_sequences, tokens.max_seqlen)
    lengths = tokens.cu_seqlens.diff().long()
    rows = torch.arange(shape[0], device=lengths.device)
    owners = rows.repeat_interleave(lengths, output_size=len(tokens.ids))
    places = owners * shape[1] + tokens.positions
    padded = tokens.ids.new_full((shape[0] * shape[1],), fill).index_copy(0, places, tokens.ids)
    return padded.view(shape), places


def check_decoder(network: PreTrainedModel) -> None:
    """Raise UserError if config.json does not say what a decoder begins with."""
    if network.config.decoder_start_token_id is None:
        raise UserError(
            "model.encoder: config.json names no decoder_start_token_id, the token that a decoder "
            f"begins with; the family '{network.config.model_type}' needs one (T5's is that of its "
            "pad_token_id)"
        )
