"""The smallest encoder of every family, and batches for it.

Weights are drawn wide, so that attention is far from uniform and a leak between neighbours would
show. The plain Hugging Face model, called with ordinary padding, is the reference everywhere.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel

from src.core.batch import Tokens, build_tokens
from src.core.dataset_info import DatasetInfo
from src.model.encoder_families import TOKEN_HEADS
from src.model.model_classes import HeadType, find_model_class

VOCABULARY = 60
# fewer than the tokens of most batches: positions count within a sequence
POSITIONS = 40
_ROBERTA = {"max_position_embeddings": POSITIONS + 2, "pad_token_id": 1, "type_vocab_size": 1}
_DEBERTA = {
    "relative_attention": True,
    "position_buckets": 8,
    "pos_att_type": ["c2p", "p2c"],
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "position_biased_input": False,
    "type_vocab_size": 0,
}
_MODERNBERT = {
    "local_attention": 6,
    "num_hidden_layers": 4,
    "global_attn_every_n_layers": 3,
    "initializer_range": 0.5,
}
_MODERNBERT |= {f"{name}_token_id": 2 for name in ("bos", "eos", "cls", "sep")}
OWN: dict[str, dict[str, Any]] = {
    "albert": {"embedding_size": 8},
    "camembert": _ROBERTA,
    "deberta-v2": _DEBERTA,
    "distilbert": {"sinusoidal_pos_embds": False},
    "electra": {"embedding_size": 8},
    "modernbert": _MODERNBERT,
    "mpnet": {"max_position_embeddings": POSITIONS + 2, "pad_token_id": 1},
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
}
FAMILIES = sorted(TOKEN_HEADS)
assert len(FAMILIES) == 10


END, PAD = 2, 1
_SMALL = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16}
_ENCODER = _SMALL | {"intermediate_size": 32, "max_position_embeddings": 42}
_DECODER = {"d_model": 16, "num_layers": 2, "num_heads": 2, "d_kv": 8, "d_ff": 32}
_BART = {
    f"{side}_{name}": size
    for side in ("encoder", "decoder")
    for name, size in (("layers", 2), ("attention_heads", 2), ("ffn_dim", 32))
}
# the smallest config of each, and the side of the padding that it bears
TINY: dict[str, tuple[dict[str, Any], str | None]] = {
    "bart": (_BART | {"d_model": 16, "max_position_embeddings": 40}, "right"),
    # drawn by random.Random(14).choice from the sorted families that transformers 5.23 can classify
    # with and that are not named here
    "deepseek_v2": (
        _ENCODER
        | {
            "moe_intermediate_size": 16,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 1,
            "topk_group": 1,
            "n_shared_experts": 1,
            "first_k_dense_replace": 1,
            "kv_lora_rank": 8,
            "q_lora_rank": 8,
            "qk_nope_head_dim": 8,
            "qk_rope_head_dim": 8,
            "v_head_dim": 8,
        },
        "right",
    ),
    "fnet": (_ENCODER, None),
    "funnel": (
        {"block_sizes": [2, 2], "d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 32},
        None,
    ),
    "gpt2": ({"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 40}, "right"),
    "longformer": (_ENCODER | {"attention_window": 8}, "right"),
    "t5": (_DECODER | {"decoder_start_token_id": PAD}, "right"),
    "xlm": ({"n_layers": 2, "n_heads": 2, "emb_dim": 16, "max_position_embeddings": 40}, "right"),
    "xlnet": ({"n_layer": 2, "n_head": 2, "d_model": 16, "d_inner": 32}, "left"),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `family` runs for every one that is supported."""
    if "family" in metafunc.fixturenames and not any(
        "family" in str(mark.args[0]) for mark in metafunc.definition.iter_markers("parametrize")
    ):
        metafunc.parametrize("family", FAMILIES)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(7)


@pytest.fixture
def tiny() -> Callable[..., PreTrainedModel]:
    """A random network of a family, in eval mode; `changes` go into its config."""

    def make(family: str, head: HeadType = "masked_lm", **changes: Any) -> PreTrainedModel:
        measures = {
            "vocab_size": VOCABULARY,
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "max_position_embeddings": POSITIONS,
            "pad_token_id": 0,
            "initializer_range": 0.3,
            # of a pair there is nothing else to say
            "num_labels": 2 if head == "masked_lm_with_next_sentence" else 3,
        }
        config = AutoConfig.for_model(family, **(measures | OWN.get(family, {}) | changes))
        network: PreTrainedModel = find_model_class(head, family).from_config(config)
        for parameter in network.parameters():
            # biases begin at 0 and norms at 1, where mistakes do not show
            if parameter.ndim == 1:
                parameter.data += 0.1 * torch.randn_like(parameter)
        return network.eval()

    return make


@pytest.fixture
def laid() -> Callable[..., Tokens]:
    """Random sequences of these lengths; with `pairs`, the second half of each is a second text."""

    def make(lengths: list[int], *, row: int = 0, pairs: bool = False) -> Tokens:
        ids = torch.randint(5, VOCABULARY, (sum(lengths),))
        types = torch.cat([(torch.arange(n) >= n // 2).long() for n in lengths]) if pairs else None
        return build_tokens(ids, torch.tensor(lengths), types, row_tokens=row)

    return make


@pytest.fixture
def make(tiny) -> Callable[..., PreTrainedModel]:
    """A random network of any family, in eval mode, with large weights."""

    def build(family: str, head: HeadType) -> PreTrainedModel:
        if family in FAMILIES:
            return tiny(family, head)
        ids = {"pad_token_id": PAD, "eos_token_id": END, "bos_token_id": 0}
        config = AutoConfig.for_model(
            family, vocab_size=60, num_labels=3, **(ids | TINY[family][0])
        )
        network: PreTrainedModel = find_model_class(head, family).from_config(config)
        for parameter in network.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
        return network.eval()

    return build


@pytest.fixture
def texts(laid) -> Tokens:
    """Five texts of four lengths, each with one end token behind it."""
    tokens = laid([9, 20, 4, 17, 9])
    tokens.ids[tokens.cu_seqlens[1:].long() - 1] = END
    return tokens


@pytest.fixture
def padded() -> Callable[[PreTrainedModel, Tokens], dict[str, Tensor]]:
    """The same sequences as Hugging Face's models want them: a padded rectangle and its mask."""

    def make(network: PreTrainedModel, tokens: Tokens) -> dict[str, Tensor]:
        lengths = tokens.cu_seqlens.diff().tolist()

        def rectangle(flat: Tensor, fill: int) -> Tensor:
            return torch.nn.utils.rnn.pad_sequence(
                list(flat.split(lengths)), batch_first=True, padding_value=fill
            )

        inputs = {
            "input_ids": rectangle(tokens.ids, network.config.pad_token_id),
            "attention_mask": rectangle(torch.ones_like(tokens.ids), 0),
        }
        if tokens.type_ids.any():
            inputs["token_type_ids"] = rectangle(tokens.type_ids, 0)
        return inputs

    return make


@pytest.fixture
def twin() -> Callable[[PreTrainedModel], PreTrainedModel]:
    """A copy that stays a plain Hugging Face model when an Encoder takes the original."""
    return copy.deepcopy


@pytest.fixture
def facts() -> Callable[..., DatasetInfo]:
    def make(**changes: Any) -> DatasetInfo:
        known: dict[str, Any] = {
            "vocab_size": VOCABULARY,
            "pad_id": 0,
            "mask_id": 4,
            "special_ids": (0, 1, 2, 3, 4),
            "max_tokens": POSITIONS,
            "label_names": (),
            "batches_per_epoch": 2,
            "sample_tokens": {},
        }
        return DatasetInfo(**(known | changes))

    return make
