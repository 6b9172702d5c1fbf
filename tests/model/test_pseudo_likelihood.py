"""Pseudo-likelihoods of sentences, against transformers' own model, token by token."""

import pytest
import torch

from src.model.encoder import Encoder
from src.model.pseudo_likelihood import find_shared_tokens, score_tokens


def test_the_shared_tokens_of_two_sentences() -> None:
    first, second = [1, 5, 6, 7, 2], [1, 5, 8, 9, 7, 2]
    assert find_shared_tokens(first, second) == ([0, 1, 3, 4], [0, 1, 4, 5])
    assert find_shared_tokens([1, 2], [3]) == ([], [])


def test_the_sum_is_that_of_tokens_masked_one_by_one(make, twin) -> None:
    network = make("bert", "masked_lm")
    plain, encoder = twin(network), Encoder(network, "masked_lm").eval()
    ids, places = [1, 7, 9, 11, 8, 2], [1, 3, 4]
    expected = 0.0
    for place in places:
        masked = torch.tensor([ids])
        masked[0, place] = 4
        with torch.no_grad():
            scores = plain(masked).logits[0, place].log_softmax(-1)
        expected += scores[ids[place]].item()
    done: list[int] = []
    found = score_tokens(encoder, ids, places, 4, done.append)
    assert found == pytest.approx(expected, abs=1e-4) and done == [3]
    assert score_tokens(encoder, ids, [], 4) == 0
