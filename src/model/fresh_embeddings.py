"""Embeddings of a fresh encoder that begin with what the training rows tell of each token.

Training finds the same in its first thousands of steps: which tokens stand in for each other, and
how often each one occurs (Levy and Goldberg, 2014: word vectors that are learnt factorise such
counts).
"""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from src.core.dataset_info import TokenVectors
from src.core.notices import Notices

# The scores of a tied output layer have this standard deviation for states of norm sqrt(D) in no
# particular direction: smaller ones are soon overwritten, larger ones are hard to change.
_SCORE_STD = 1.6


@torch.no_grad()
def set_embeddings(network: PreTrainedModel, load: Callable[[int], TokenVectors]) -> Notices:
    """Write vectors into the embeddings of a network, in place, and the logarithm of how often each
    token occurs into the bias of its output layer, where it has one for each token. Returns how the
    embeddings begin, for the screen and the record of the run.

    Vectors are turned by chance (torch's global generator), so that no unit has more of them than
    another one and seeds differ. A token without neighbours keeps its random vector.

    Args:
        load: called with the width of the embeddings, gives vectors that are as wide.
    """
    table = cast(Tensor, network.get_input_embeddings().weight)
    width = table.shape[1]
    known = load(width)
    vectors = torch.from_numpy(known.vectors).to(table)
    has_neighbours = vectors.any(dim=1)
    vectors = vectors[has_neighbours]
    if (vectors == vectors[:1]).all():
        # of no token or of a single one there is nothing to tell
        return Notices((), {})
    turn, _ = torch.linalg.qr(torch.randn(width, width))
    vectors = (vectors - vectors.mean(dim=0)) @ turn.to(table)
    own_std = table.std()
    std = own_std.clamp(min=_SCORE_STD / width**0.5)
    table.mul_(std / own_std)
    table[has_neighbours] = vectors * (std / vectors.std())
    bias: Tensor | None = getattr(network.get_output_embeddings(), "bias", None)
    if bias is not None and len(bias) == len(known.frequencies):
        counts = torch.from_numpy(known.frequencies + 1.0)
        bias.copy_((counts / counts.sum()).log())
    said = f"embeddings begin with each token's neighbours, counted in {known.num_tokens:,} tokens"
    return Notices((said,), {"model/embeddings": said})
