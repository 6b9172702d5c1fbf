"""Operations counted by formula, against those that torch counts while transformers' own models
run.
"""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig

from src.model.encoder import Encoder
from src.model.model_classes import AUTO_MODEL_CLASSES
from src.training.flops import ForwardCost, count_forward_cost, measure_peak_flops

MEASURES = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 40,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
_MODERN = {f"{name}_token_id": 2 for name in ("bos", "eos", "cls", "sep")}
FAMILIES: dict[str, dict[str, Any]] = {
    "albert": {"embedding_size": 8},
    "bert": {},
    "distilbert": {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 40},
    "electra": {"embedding_size": 8},
    "modernbert": {**_MODERN, "local_attention": 1000, "global_attn_every_n_layers": 2},
    "mpnet": {"max_position_embeddings": 66, "pad_token_id": 1},
    "roberta": {"max_position_embeddings": 66, "pad_token_id": 1},
}


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("lean", [True, False])
def test_as_many_as_torch_counts(family: str, lean: bool) -> None:
    """Every token wanted, so that nothing is left out; three texts of 20 tokens, forward and
    backward.
    """
    network = AUTO_MODEL_CLASSES["masked_lm"].from_config(
        AutoConfig.for_model(family, **(MEASURES | FAMILIES[family])), attn_implementation="eager"
    )
    counter = FlopCounterMode(display=False)
    with counter:
        network(input_ids=torch.randint(5, 60, (3, 20))).logits.sum().backward()
    encoder = Encoder(network, "masked_lm")
    encoder.uses_fast_path = encoder.uses_fast_path and lean
    expected = counter.get_total_flops()
    # its angles are a product too, without a backward
    if family == "modernbert":
        expected -= 2 * 2 * 20 * (16 // 2 // 2)
    assert count_forward_cost(encoder).count_step_flops(torch.full((3,), 20), 60) == pytest.approx(
        expected, rel=0.01
    )


def test_by_hand() -> None:
    """2 layers of width 4 and feed-forward 8: 4 * 16 + 2 * 32 = 128 weights each; the head 4 * 4 +
    4 * 10.
    """
    measures = {"num_hidden_layers": 2, "hidden_size": 4, "intermediate_size": 8, "vocab_size": 10}
    network = AUTO_MODEL_CLASSES["masked_lm"].from_config(
        AutoConfig.for_model("bert", **(MEASURES | measures))
    )
    found = count_forward_cost(Encoder(network, "masked_lm"))
    # of the last layer: wanted for chosen tokens alone
    behind_attention = 16 + 32 + 32
    assert found == ForwardCost(256 - behind_attention, 56 + behind_attention, 8, (None, None))
    pairs = 2 * (3**2 + 5**2)
    by_hand = 6 * (8 * (256 - behind_attention) + 8 * pairs + 2 * (56 + behind_attention))
    assert found.count_step_flops(torch.tensor([3, 5]), 2) == by_hand


def test_a_mean_needs_the_last_layer_of_every_token() -> None:
    costs = {}
    for pooling in ("cls", "mean"):
        config = AutoConfig.for_model(
            "modernbert", **(MEASURES | _MODERN | {"classifier_pooling": pooling})
        )
        costs[pooling] = count_forward_cost(
            Encoder(AUTO_MODEL_CLASSES["sequence"].from_config(config), "sequence")
        )
    assert (
        costs["mean"].per_token > costs["cls"].per_token
        and costs["mean"].per_target < costs["cls"].per_target
    )
    assert sum(costs["mean"][:2]) == sum(costs["cls"][:2])


@pytest.mark.parametrize("window", [0, 1, 3, 100])
def test_a_window_sees_its_neighbours(window: int) -> None:
    lengths = [1, 2, 5, 9]
    pairs = sum(
        abs(i - j) <= window for length in lengths for i in range(length) for j in range(length)
    )
    assert ForwardCost(0, 0, 1, (window,)).count_step_flops(torch.tensor(lengths), 0) == 6 * pairs


def test_the_peak_is_a_rate_of_this_machine() -> None:
    assert 1e8 < measure_peak_flops(torch.device("cpu"), torch.float32) < 1e15
