"""How well a masked language model guesses words of texts, text by text, under a fixed mask.

Shape legend: N texts.
"""

from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from src.core.batch import build_tokens
from src.model.encoder import Encoder

_TOKENS_PER_BATCH = 8192


def draw_fixed_mask(
    ids: np.ndarray, special_ids: Collection[int], fraction: float, *, seed: int
) -> np.ndarray:
    """The places of a share of the tokens of a text, at least one, in their order; empty where all
    are special.

    Args:
        ids: [L].
        seed: of the draw; equal ones give equal masks.
    """
    places = np.flatnonzero(~np.isin(ids, list(special_ids)))
    count = min(max(1, round(fraction * len(places))), len(places))
    return np.sort(np.random.default_rng(seed).permutation(places)[:count])


@torch.inference_mode()
def measure_masked_losses(
    encoder: Encoder, texts: Sequence[np.ndarray], masks: Sequence[np.ndarray], mask_id: int
) -> np.ndarray:
    """The mean loss of the masked tokens of each text, [N] float64.

    Args:
        texts: the ids of each.
        masks: the places that are masked, at least one of each text.
    """
    losses = np.zeros(len(texts))
    order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    begin = 0
    while begin < len(order):
        # texts of similar length, whose longest is the last
        end = begin + 1
        while end < len(order) and (end + 1 - begin) * len(texts[order[end]]) <= _TOKENS_PER_BATCH:
            end += 1
        batch = order[begin:end]
        lengths = np.array([len(texts[number]) for number in batch])
        starts = np.cumsum(lengths) - lengths
        at = np.concatenate(
            [start + masks[number] for start, number in zip(starts, batch, strict=True)]
        )
        ids = torch.from_numpy(np.concatenate([texts[number] for number in batch]).astype(np.int64))
        places = torch.from_numpy(at)
        targets = ids[places]
        ids[places] = mask_id
        tokens = build_tokens(ids, torch.from_numpy(lengths), None)
        logits = encoder.compute_logits(tokens, places).float()
        found = cross_entropy(logits, targets, reduction="none").double().numpy()
        counts = np.array([len(masks[number]) for number in batch])
        losses[batch] = np.add.reduceat(found, np.cumsum(counts) - counts) / counts
        begin = end
    return losses
