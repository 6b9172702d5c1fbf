"""What is told of a masked language model's tokens, against sums by hand."""

import math

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from src.core.batch import MaskedBatch, build_tokens
from src.data.tokenization.token_counts import TokenCounts
from src.data.tokenization.word_joints import find_word_joints
from src.evaluation.report_plots import draw_picture
from src.evaluation.token_report import judge_tokens
from src.evaluation.token_tally import WORD_PARTS, TokenTally, find_word_parts
from src.model.objectives import TokenScores

# 0 a mask, 1 "un", 2 "##done", 3 "cat"
JOINTS = np.array([0, 2, 3, 2], dtype=np.uint8)
UNIGRAM = np.array([9.0, 1.0, 2.0, 3.0])


def tally_two_batches() -> TokenTally:
    """Masked are: un (first, at 0), done (later, at 1), cat (whole, at 0), cat (whole, at 2)."""
    tally = TokenTally(4, UNIGRAM, JOINTS)
    for ids, lengths, at, targets, losses, right in (
        # un ##done cat | cat
        ([0, 0, 3, 0], [3, 1], [0, 1, 3], [1, 2, 3], [1.0, 2.0, 4.0], [True, False, False]),
        # un ##done cat, the last one kept as it is
        ([1, 2, 3], [3], [2], [3], [0.5], [True]),
        # a row of special tokens alone
        ([0], [1], [], [], [], []),
    ):
        tokens = build_tokens(torch.tensor(ids), torch.tensor(lengths))
        tally.add(
            MaskedBatch(
                tokens, torch.tensor(at, dtype=torch.long), torch.tensor(targets, dtype=torch.long)
            ),
            TokenScores(torch.tensor(losses), torch.tensor(right, dtype=torch.bool)),
        )
    return tally


def test_sums_by_position_token_and_part_of_word() -> None:
    tally = tally_two_batches()
    assert tally.count == 4
    assert tally.by_position.count.tolist() == [2, 1, 1, 0]
    assert tally.by_position.loss.tolist() == [5.0, 2.0, 0.5, 0]
    assert tally.by_position.right.tolist() == [1, 0, 1, 0]
    assert tally.by_token.count.tolist() == [0, 1, 1, 2]
    assert tally.by_token.squared_loss.tolist() == [0, 1.0, 4.0, 16.25]
    assert tally.by_token.unigram_loss.tolist() == [0, 1.0, 2.0, 6.0]
    assert dict(zip(WORD_PARTS, tally.by_part.count.tolist(), strict=True)) == {
        "whole word": 2,
        "first piece": 1,
        "later piece": 1,
    }
    assert tally.by_part.loss.tolist() == [4.5, 1.0, 2.0]


def test_ranks_have_together_what_one_has() -> None:
    one, other = tally_two_batches(), tally_two_batches()
    one.merge(other)
    assert one.count == 8 and one.by_part.loss.tolist() == [9.0, 2.0, 4.0]


def test_the_tables_of_a_report() -> None:
    """Tokens stand 0, 1, 9 and 1,000 times in the training text."""
    judged = judge_tokens(tally_two_batches(), np.array([0, 1, 9, 1000]))
    table = judged.tables["token_frequency"]
    assert table["times_in_training"] == ["1 to 9", "1,000 to 9,999"]
    assert table["tokens"] == [2, 2]
    assert table["loss"] == [1.5, 2.25] and table["accuracy"] == [0.5, 0.5]
    assert table["unigram_loss"] == [1.5, 3.0]
    # of 1 and 2: a deviation of sqrt(0.5), over sqrt(2)
    half = 1.96 * math.sqrt(0.5) / math.sqrt(2)
    assert table["loss_low"][0] == pytest.approx(1.5 - half)
    assert table["loss_high"][0] == pytest.approx(1.5 + half)
    # Wilson's, of one of two
    assert table["low"][0] == pytest.approx(0.0945, abs=1e-4)
    assert judged.tables["token_position"]["position"] == ["0 to 0", "1 to 1", "2 to 2"]
    assert judged.tables["word_part"]["part_of_word"] == list(WORD_PARTS)
    # of one token the loss has no interval
    assert judged.tables["word_part"]["loss_low"][1:] == [None, None]
    assert [section.figure for section in judged.sections] == list(judged.figures)
    assert all(draw_picture(figure).startswith(b"\x89PNG") for figure in judged.figures.values())


def test_without_marks_of_words_there_is_no_part_of_them() -> None:
    tally = TokenTally(4, UNIGRAM, None)
    tokens = build_tokens(torch.tensor([0]), torch.tensor([1]))
    scores = TokenScores(torch.tensor([1.0]), torch.tensor([True]))
    tally.add(MaskedBatch(tokens, torch.tensor([0]), torch.tensor([3])), scores)
    judged = judge_tokens(tally, np.array([0, 1, 9, 1000]))
    assert set(judged.tables) == {"token_position", "token_frequency"}


def test_memory_does_not_grow_with_the_split() -> None:
    tally = tally_two_batches()
    sizes = [len(values) for values in vars(tally.by_token).values()]
    tally.merge(tally_two_batches())
    assert [len(values) for values in vars(tally.by_token).values()] == sizes == [4] * 5


def _build_wordpiece() -> Tokenizer:
    vocabulary = {"[UNK]": 0, "un": 1, "##done": 2, "cat": 3}
    return Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))


def _build_byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE({"<s>": 0, "Ġun": 1, "done": 2, "Ġcat": 3}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _build_sentencepiece() -> Tokenizer:
    pieces = [("<unk>", 0.0), ("▁un", -1.0), ("done", -1.0), ("▁cat", -1.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


@pytest.mark.parametrize("build", [_build_wordpiece, _build_byte_level, _build_sentencepiece])
def test_parts_of_words_in_every_kind_of_vocabulary(build: object) -> None:
    """undone cat | done: the last begins a row, and so begins a word."""
    assert callable(build)
    joints = find_word_joints(build(), 4, (0,))
    starts = torch.tensor([0, 4, 5], dtype=torch.int32)
    parts = find_word_parts(np.array([0, 1, 2, 3, 2]), starts, joints)
    assert [WORD_PARTS[part] for part in parts[1:]] == [
        "first piece",
        "later piece",
        "whole word",
        "whole word",
    ]


def test_the_loss_of_frequencies_alone() -> None:
    """Three a and no b beside two special tokens: 4 and 1 of 5, with one added to each."""
    counts = TokenCounts(np.array([7, 3, 0, 2]), [0, 3], None)
    losses = counts.compute_unigram_losses()
    assert losses[1:3].tolist() == pytest.approx([-math.log(4 / 5), -math.log(1 / 5)])
    assert np.isfinite(losses).all()
