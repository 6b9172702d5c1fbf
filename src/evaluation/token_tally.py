"""What a masked language model lost at each kind of token: sums over a split by the token's
position, by the token itself and by its part in the word, of one size however large the split is.

Shape legend: T tokens of a batch, K masked ones, P positions, V vocabulary.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from src.data.tokenization.word_joints import JOINS_LEFT, JOINS_RIGHT

if TYPE_CHECKING:
    from torch import Tensor

    from src.model.objectives import TokenScores

WORD_PARTS = ("whole word", "first piece", "later piece")


class TokenSums:
    """Sums over tokens of some kinds, each array [kinds] float64."""

    def __init__(self, kinds: int) -> None:
        self.count, self.right = np.zeros(kinds), np.zeros(kinds)
        self.loss, self.squared_loss = np.zeros(kinds), np.zeros(kinds)
        self.unigram_loss = np.zeros(kinds)

    def add(self, kinds: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
        """Take in tokens by their kind [K], with their values [K] by the name of the sum."""
        self.count += np.bincount(kinds, minlength=len(self.count))
        for name, numbers in values.items():
            vars(self)[name] += np.bincount(kinds, weights=numbers, minlength=len(self.count))

    def merge(self, other: "TokenSums") -> None:
        """Take in what was added to another one."""
        for name, values in vars(self).items():
            values += vars(other)[name]

    def group(self, groups: np.ndarray, size: int) -> "TokenSums":
        """Sums over groups of kinds.

        Args:
            groups: the group of each kind [kinds], from 0 to `size`, exclusive.
        """
        grouped = TokenSums(size)
        for name, values in vars(self).items():
            vars(grouped)[name] = np.bincount(groups, weights=values, minlength=size)
        return grouped


class TokenTally:
    """Adds up how well masked tokens were predicted, batch by batch.

    Args:
        num_positions: P; a sequence has no more tokens.
        joints: of the vocabulary [V], as `find_word_joints` gives them; None: words are not told.
        unigram_losses: of a model that knows frequencies alone, at each token [V].
    """

    def __init__(
        self, num_positions: int, unigram_losses: np.ndarray, joints: np.ndarray | None
    ) -> None:
        self._joints, self._unigram_losses = joints, unigram_losses
        self.by_position = TokenSums(num_positions)
        self.by_token = TokenSums(len(unigram_losses))
        self.by_part = TokenSums(len(WORD_PARTS))

    @property
    def count(self) -> int:
        """How many masked tokens were added."""
        return int(self.by_token.count.sum())

    def add(self, batch: Any, scores: "TokenScores") -> None:
        """Take in a batch with masked positions, on any device.

        The position is that in the document, or in what of it stands in a row: what the model is
        told. A piece of a word that a row begins with counts as one that begins a word.
        """
        at, targets = batch.masked_positions.cpu().numpy(), batch.targets.cpu().numpy()
        if not len(at):
            return
        losses = scores.losses.cpu().double().numpy()
        values = {
            "right": scores.is_right.cpu().numpy(),
            "loss": losses,
            "squared_loss": losses * losses,
            "unigram_loss": self._unigram_losses[targets],
        }
        self.by_position.add(batch.tokens.positions.cpu().numpy()[at], values)
        self.by_token.add(targets, values)
        if self._joints is not None:
            ids = batch.tokens.ids.cpu().numpy().copy()
            ids[at] = targets
            parts = find_word_parts(ids, batch.tokens.cu_seqlens, self._joints)
            self.by_part.add(parts[at], values)

    def merge(self, other: "TokenTally") -> None:
        """Take in what was added to another one."""
        self.by_position.merge(other.by_position)
        self.by_token.merge(other.by_token)
        self.by_part.merge(other.by_part)


def find_word_parts(ids: np.ndarray, cu_seqlens: "Tensor", joints: np.ndarray) -> np.ndarray:
    """The index in `WORD_PARTS` of each token [T], by its neighbours in the text.

    Args:
        ids: [T], without masks.
        cu_seqlens: [B + 1], where sequences begin.
    """
    kinds = joints[ids]
    goes_on = np.zeros(len(ids) + 1, dtype=bool)
    goes_on[1:-1] = (kinds[1:] & JOINS_LEFT > 0) & (kinds[:-1] & JOINS_RIGHT > 0)
    goes_on[cu_seqlens.cpu().numpy()] = False
    is_later, is_gone_on = goes_on[:-1], goes_on[1:]
    return np.where(is_later, 2, np.where(is_gone_on, 1, 0))
