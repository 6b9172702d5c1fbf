"""Training rows that are tokenised anew in every epoch, from texts that are changed."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from src.data.batches.augmentation import Augmentation, Substitution
from src.data.batches.substitutes import Substitutes
from src.data.tokenization.text_encoder import TextEncoder, Truncation
from src.data.tokenization.text_store import TextStore
from src.data.tokenization.token_store import TokenStore


@dataclass(frozen=True, kw_only=True)
class AugmentedRows:
    """Makes the rows of a token store anew, as the augmentation changes their texts.

    Args:
        texts: of the rows of `store`, in its order.
        store: what is known of them beside their tokens.
        has_pairs: whether rows have a second text.
        max_tokens, truncation: as they were tokenised for `store`.
        substitutes: of a masked language model, where there is one.
    """

    augmentation: Augmentation
    texts: TextStore
    store: TokenStore
    encoder: TextEncoder
    has_pairs: bool
    max_tokens: int
    truncation: Truncation
    seed: int
    substitutes: Substitutes | None = None

    def build_store(self, rows: np.ndarray, epoch: int) -> TokenStore:
        """These rows as they are in an epoch, numbered from 0."""
        texts, pairs = [], []
        for row in rows.tolist():
            both = self.texts.read_row(row)
            changed = [
                self.augmentation.change_text(
                    text,
                    seed=self.seed,
                    epoch=epoch,
                    row=row,
                    part=part,
                    substitute=self._find_substitution(row, part),
                )
                for part, text in enumerate(both)
            ]
            texts.append(changed[0])
            pairs.append(changed[1])
        encoded = self.encoder.encode(
            texts, pairs if self.has_pairs else None, self.max_tokens, self.truncation
        )
        return replace(
            self.store,
            ids=encoded.ids,
            offsets=np.concatenate([[0], np.cumsum(encoded.lengths)]),
            begins=encoded.begins,
            targets=self.store.targets[rows],
            identities=self.store.identities[rows],
            num_truncated=encoded.num_truncated,
        )

    def _find_substitution(self, row: int, part: int) -> Substitution | None:
        return None if self.substitutes is None else partial(self.substitutes.choose, row, part)
