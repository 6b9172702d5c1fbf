"""Every objective that a config names with every family of the tests that has a head for it: it
composes, builds, and trains two steps.
"""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from src.config.build_nodes import build_node
from src.core.batch import (
    DenoisingBatch,
    LabelledBatch,
    MaskedBatch,
    NextTokenBatch,
    SentencePairBatch,
    TaggedBatch,
    Tokens,
)
from src.core.dataset_info import TEXT_TASKS
from src.model.model_classes import HeadType
from src.model.model_config import ModelConfig
from tests.conftest import CONF
from tests.model.conftest import FAMILIES
from tests.model.test_families import NAMED, list_able_families

LABELS = ("negative", "positive")
CLASSES = torch.tensor([0, 1, 1, 0, 1])


def _label(labels: torch.Tensor) -> Callable[[Tokens], LabelledBatch]:
    return lambda texts: LabelledBatch(texts, labels, torch.arange(len(labels)))


def _mask(texts: Tokens) -> MaskedBatch:
    at = torch.arange(1, 59, 4)
    return MaskedBatch(texts._replace(ids=texts.ids.index_fill(0, at, 4)), at, texts.ids[at])


def _tag(texts: Tokens) -> TaggedBatch:
    at = torch.arange(1, 59, 4)
    places = torch.arange(len(at))
    return TaggedBatch(texts, at, places, places % 2, places)


def _continue(texts: Tokens) -> NextTokenBatch:
    at = torch.arange(8)
    return NextTokenBatch(texts, at, texts.ids[at + 1])


def _pair(texts: Tokens) -> SentencePairBatch:
    return SentencePairBatch(*_mask(texts), CLASSES)


def _write(texts: Tokens) -> DenoisingBatch:
    return DenoisingBatch(texts, texts, texts.ids > 30, len(texts.ids))


# by the name of the config in conf/model: what a batch of five texts is
BATCHES: dict[str, Callable[[Tokens], Any]] = {
    "binary": _label(CLASSES),
    "causal_lm": _continue,
    "classification": _label(CLASSES),
    "denoising": _write,
    "masked_lm": _mask,
    "masked_lm_with_next_sentence": _pair,
    "multi_label": _label(torch.stack([CLASSES, 1 - CLASSES], 1).byte()),
    "ordinal": _label(CLASSES),
    "regression": _label(CLASSES.float()),
    "replaced_tokens": _mask,
    "token_classification": _tag,
}

WITHOUT_LABELS = ("masked_lm", "causal_lm", "replaced_tokens", "regression")
# A student is a classifier of any family; that it learns from a teacher is shown in
# test_distillation.py.
WITH_TEACHER = {"distillation"}
# those that read in one direction, and those that can be kept to one (test_one_direction.py); the
# others of transformers' causal models are refused (test_causal_lm.py)
CAUSAL = (*FAMILIES, "gpt2", "deepseek_v2")
# the others are refused (test_masked_lm_with_next_sentence.py)
WITH_PAIR_HEAD = ("albert", "bert")


def list_families(head: HeadType) -> list[str]:
    if head == "causal_lm":
        return [*CAUSAL]
    families = list_able_families(head)
    return [
        family
        for family in families
        if head != "masked_lm_with_next_sentence" or family in WITH_PAIR_HEAD
    ]


def compose_model(composed: Callable[..., dict[str, Any]], name: str) -> dict[str, Any]:
    overrides = [f"model={name}", "model/encoder=pretrained", "model.encoder.name_or_path=HERE"]
    model: dict[str, Any] = composed(*overrides)["model"]
    return model


def build_config(model: dict[str, Any], folder: str) -> ModelConfig:
    config: ModelConfig = build_node(
        model | {"encoder": model["encoder"] | {"name_or_path": folder}}
    )
    return config


def test_every_objective_of_a_config_is_tried(composed):
    names = {file.stem for file in (CONF / "model").glob("[!_]*.yaml")}
    assert names - WITH_TEACHER == set(BATCHES), "an objective without a batch here"
    heads = {
        name: build_config(compose_model(composed, name), "HERE").objective.head for name in BATCHES
    }
    pairs = sum(len(list_families(head)) for head in heads.values())
    # five for texts, with all families; one for masks and one for tags of words, each with those
    # that have a class for it; one for those that read in one direction, at least when they are
    # told to, one for discriminators, one for the two that judge pairs of segments, and one for
    # the two with a decoder
    assert (len(NAMED), pairs) == (19, 5 * 19 + 15 + 17 + 12 + 1 + 2 + 2)


@pytest.mark.parametrize("name", BATCHES)
def test_two_steps(name, composed, make, texts, facts, tmp_path):
    model = compose_model(composed, name)
    labels = () if name in (*TEXT_TASKS, "replaced_tokens", "regression") else LABELS
    head = build_config(model, "HERE").objective.head
    for family in list_families(head):
        # Funnel's body for tokens has layers that its body for texts lacks
        of_tokens = (*TEXT_TASKS, "replaced_tokens", "token_classification")
        stored = head if head in of_tokens else "sequence"
        network: PreTrainedModel = make(family, stored)
        network.save_pretrained(tmp_path / family)
        config = build_config(model, str(tmp_path / family))
        config.check()
        module = config.build()
        pad_id = network.config.get_text_config().pad_token_id
        module.set_dataset_info(
            facts(label_names=labels, label_counts=(2, 3), pad_id=pad_id, max_tokens=20), 2
        )
        module.configure_model()
        encoder = module.encoder.train()
        optimizer = module.configure_optimizers()["optimizer"]
        losses = []
        for _ in range(2):
            loss = module.objective.forward(encoder, BATCHES[name](texts)).loss
            loss.backward()
            assert any(weight.grad is not None for weight in encoder.parameters()), family
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        assert all(map(math.isfinite, losses)) and losses[0] != losses[1], family
