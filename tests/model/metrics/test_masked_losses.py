"""Losses under a fixed mask, on a network whose answers are known."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from src.core.batch import Tokens
from src.model.metrics import masked_losses as module
from src.model.metrics.masked_losses import draw_fixed_mask, measure_masked_losses
from src.pipeline.audit import audit_text_membership

MASK, VOCABULARY = 3, 20


class Knowing:
    """Gives the word 10 half of the probability in every place, and the others the rest alike."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def compute_logits(self, tokens: Tokens, at: torch.Tensor) -> torch.Tensor:
        assert (tokens.ids[at] == MASK).all() and (tokens.ids == MASK).sum() == len(at)
        self.seen.append(tokens.ids)
        probabilities = torch.full((len(at), VOCABULARY), 0.5 / (VOCABULARY - 1))
        probabilities[:, 10] = 0.5
        return probabilities.log()


def test_a_mask_is_fixed_and_spares_special_tokens():
    ids = np.array([0, *range(5, 45), 1])
    mask = draw_fixed_mask(ids, (0, 1), 0.15, seed=4)
    assert len(mask) == 6 and not {0, 41} & set(mask.tolist()) and (np.diff(mask) > 0).all()
    assert draw_fixed_mask(ids, (0, 1), 0.15, seed=4).tolist() == mask.tolist()
    assert draw_fixed_mask(ids, (0, 1), 0.15, seed=5).tolist() != mask.tolist()
    assert len(draw_fixed_mask(np.array([0, 7, 1]), (0, 1), 0.15, seed=1)) == 1
    assert len(draw_fixed_mask(np.array([0, 1]), (0, 1), 0.15, seed=1)) == 0


@pytest.mark.parametrize("tokens", [1, 8, 8192])
def test_the_loss_of_each_text(monkeypatch: pytest.MonkeyPatch, tokens: int) -> None:
    monkeypatch.setattr(module, "_TOKENS_PER_BATCH", tokens)
    texts = [np.array([0, 10, 11, 12, 1]), np.array([0, 10, 1]), np.array([0, 5, 6, 1])]
    masks = [np.array([1, 2]), np.array([1]), np.array([2])]
    network: Any = Knowing()
    known, other = math.log(2), math.log(2 * (VOCABULARY - 1))
    found = measure_masked_losses(network, texts, masks, MASK)
    assert found.tolist() == pytest.approx([(known + other) / 2, known, other])
    assert len(network.seen) == {1: 3, 8: 2, 8192: 1}[tokens]
    assert texts[0].tolist() == [0, 10, 11, 12, 1]


def test_training_texts_are_told_from_others() -> None:
    """All words of train are known and none of the test."""

    def make_store(word: int, rows: int) -> Any:
        ids = np.array([[0, *[word] * 10, 1]] * rows).flatten()
        return type("Store", (), {"__len__": lambda _: rows, "ids": ids})()

    stores = {"train": make_store(10, 30), "test": make_store(11, 20)}
    for store in stores.values():
        store.offsets = np.arange(len(store) + 1) * 12
    tokenizer = SimpleNamespace(mask_id=MASK, special_ids=(0, 1))
    datamodule: Any = SimpleNamespace(token_stores=stores, tokenizer=tokenizer)
    network: Any = Knowing()
    found = audit_text_membership(datamodule, network, 8)
    assert (found.auc, found.advantage) == (1, 1)
    assert found.train_loss == pytest.approx(math.log(2))
    assert found.held_out_loss == pytest.approx(math.log(38))
    # the first 8 tokens of each
    assert sum(len(ids) for ids in network.seen) == 8 * 50
