"""How often each token stands in a split, and what follows from it."""

from typing import NamedTuple, Protocol

import numpy as np

from src.data.tokenization.tokenizer import TextTokenizer


class CountedTokens(Protocol):
    """A tokenised split, such as a `TokenStore`."""

    def count_tokens(self, vocab_size: int) -> np.ndarray: ...


class TokenCounts(NamedTuple):
    """The tokens of a split.

    Args:
        counts: how often each id of the vocabulary occurs, [V] int64.
        special_ids: of the tokenizer's special tokens.
        unknown_id: of its unknown token; None if it has none.
    """

    counts: np.ndarray
    special_ids: list[int]
    unknown_id: int | None

    @classmethod
    def from_store(cls, store: CountedTokens, tokenizer: TextTokenizer) -> "TokenCounts":
        """Count all tokens of a split."""
        counts = store.count_tokens(tokenizer.vocab_size)
        return cls(counts, list(tokenizer.special_ids), tokenizer.unknown_id)

    @property
    def num_unknown(self) -> int:
        """How many tokens are the unknown one."""
        return 0 if self.unknown_id is None else int(self.counts[self.unknown_id])

    @property
    def num_known(self) -> int:
        """How many tokens are neither special nor the unknown one."""
        known = int(self._ordinary().sum())
        return known if self.unknown_id in self.special_ids else known - self.num_unknown

    @property
    def unknown_share(self) -> float:
        """The unknown tokens among all, without the other special ones."""
        return self.num_unknown / max(1, self.num_unknown + self.num_known)

    def compute_entropy(self) -> float:
        """The entropy of the tokens without special ones, in nats. It is the loss of a model that
        knows only how frequent each token is.
        """
        counts = self._ordinary()
        shares = counts[counts > 0] / counts.sum()
        return float(-(shares * np.log(shares)).sum())

    def compute_unigram_losses(self) -> np.ndarray:
        """The loss of a model that knows only how frequent each token is, at each token [V], in
        nats. One is added to every count, so that it is finite where a token never occurs.
        """
        counts = self.counts.astype(np.float64)
        counts[self.special_ids] = 0
        return -np.log((counts + 1) / (counts.sum() + len(self._ordinary())))

    def _ordinary(self) -> np.ndarray:
        return np.delete(self.counts, self.special_ids)
