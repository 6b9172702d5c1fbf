"""What a pretrained encoder puts in the place of masked words."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoTokenizer

from src.core.batch import build_tokens
from src.core.pretrained_files import load_from_hub_or_folder
from src.core.user_errors import UserError
from src.data.preparation.cleaning import Cleaning
from src.data.rows.records import RawRecord
from src.data.tokenization.tokenizer import TextTokenizer
from src.model.stored_encoder import load_encoder

# As people write it whatever the tokenizer calls it.
_COMMON_MASKS = ("[MASK]", "<mask>")


class Candidate(NamedTuple):
    """A token for the place of a mask, and its probability."""

    token: str
    probability: float


def fill_masks(
    folder: Path, inference_config: Mapping[str, Any], text: str, *, count: int = 5
) -> list[list[Candidate]]:
    """The likeliest tokens for each mask of a text, likeliest first, in fp32.

    Args:
        folder: the model artifact of a run that pretrained an encoder.
        inference_config: how texts are prepared for it.
        text: with the tokenizer's mask, or [MASK], in the place of words.

    Raises:
        UserError: the text has no mask, or loses one where it is cut to length.
    """
    tokenizer = TextTokenizer(
        load_from_hub_or_folder(AutoTokenizer.from_pretrained, str(folder), key="run")
    )
    mask = str(tokenizer.huggingface.mask_token)
    if mask not in text:
        for common in _COMMON_MASKS:
            text = text.replace(common, mask)
    if tokenizer.mask_id is None or mask not in text:
        raise UserError(
            "this run pretrained an encoder, which fills masks, and there is none in the text",
            key="text",
            hint=f'the mask is {mask}, as in text="The film was {mask}."',
        )
    cleaning = Cleaning(**inference_config["cleaning"])
    text = cleaning.normalize_record(RawRecord(text, None, None, "the text given")).text
    limit = inference_config["max_tokens"]
    [ids], _, _ = tokenizer.encode([text], None, limit, inference_config["truncation"])
    [places] = (ids == tokenizer.mask_id).nonzero()
    if len(places) < text.count(mask):
        raise UserError(f"a mask is lost where the text is cut to {limit} tokens", key="text")
    encoder = load_encoder(folder, "masked_lm").eval()
    with torch.inference_mode():
        tokens = build_tokens(torch.from_numpy(ids), torch.tensor([len(ids)]), None)
        logits = encoder.compute_logits(tokens, torch.from_numpy(places))
        best = logits.float().softmax(-1).topk(count)
    return [
        [
            Candidate(str(tokenizer.huggingface.decode([token_id])).strip(), probability)
            for token_id, probability in zip(token_ids, probabilities, strict=True)
        ]
        for token_ids, probabilities in zip(
            best.indices.tolist(), best.values.tolist(), strict=True
        )
    ]
