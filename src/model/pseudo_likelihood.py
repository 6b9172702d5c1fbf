"""How likely a masked language model finds a sentence: each token is masked by itself and predicted
from all others (Salazar et al. 2020).
"""

from collections.abc import Callable, Sequence
from difflib import SequenceMatcher

import torch

from src.core.batch import build_tokens
from src.model.encoder import Encoder

_TOKENS_PER_BATCH = 8192


def find_shared_tokens(first: Sequence[int], second: Sequence[int]) -> tuple[list[int], list[int]]:
    """The places of the tokens that two sentences have in common, in their order (Nangia et al.
    2020, section 4): what is left are the words that were exchanged.
    """
    matcher = SequenceMatcher(None, list(first), list(second), autojunk=False)
    blocks = matcher.get_matching_blocks()
    return (
        [block.a + step for block in blocks for step in range(block.size)],
        [block.b + step for block in blocks for step in range(block.size)],
    )


@torch.inference_mode()
def score_tokens(
    encoder: Encoder,
    ids: Sequence[int],
    places: Sequence[int],
    mask_id: int,
    on_batch: Callable[[int], object] = lambda count: None,
) -> float:
    """Sum of the logarithms of the probabilities of the tokens at `places`, each masked alone.

    Args:
        ids: of the whole sentence, with special tokens.
    """
    text = torch.tensor(ids)
    copies = max(_TOKENS_PER_BATCH // len(text), 1)
    total = 0.0
    for begin in range(0, len(places), copies):
        chosen = torch.tensor(places[begin : begin + copies])
        rows = text.repeat(len(chosen), 1)
        numbers = torch.arange(len(chosen))
        rows[numbers, chosen] = mask_id
        tokens = build_tokens(rows.flatten(), torch.full((len(chosen),), len(text)), None)
        logits = encoder.compute_logits(tokens, numbers * len(text) + chosen).float()
        total += logits.log_softmax(-1)[numbers, text[chosen]].double().sum().item()
        on_batch(len(chosen))
    return total
