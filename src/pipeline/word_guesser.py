"""What a masked language model would put in the place of the words of a text, for the augmentation
of training texts (`data.augmentation.masked_lm`).

Shape legend: S places of a text, C candidates, K masks of a batch, V vocabulary.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from src.core.batch import build_tokens
from src.core.pretrained_files import load_from_hub_or_folder
from src.core.user_errors import UserError
from src.data.batches.augmentation import MASKED_LM_KEY
from src.data.tokenization.tokenizer import TextTokenizer
from src.data.tokenization.word_joints import JOINS_LEFT
from src.model.encoder_families import find_vocab_size
from src.model.stored_encoder import load_encoder, load_encoder_config

# Every seventh word is masked at a time: about as many as the model was trained to guess.
_WORDS_PER_MASK = 7
_BATCH_TOKENS = 8192
_LONGEST_TEXT = 512


def check_masked_lm(name_or_path: str) -> None:
    """Raise UserError if there is no masked language model in a folder or under a hub name."""
    load_encoder_config(name_or_path, "masked_lm", MASKED_LM_KEY)


class MaskedText(NamedTuple):
    """A text with some of its words masked."""

    ids: np.ndarray
    masks: np.ndarray  # where the masks stand in the ids
    text: int  # its number
    places: list[int]  # of the masked words among the places of the text


class MaskedWordGuesser:
    """Names whole words of the model's vocabulary that could stand in the place of others, in fp32.

    Args:
        name_or_path: a folder or hub name.
        count: C.

    Raises:
        UserError: the folder holds no masked language model, or its tokenizer has no mask or does
            not tell which tokens are words.
    """

    def __init__(self, name_or_path: str, count: int) -> None:
        from transformers import AutoTokenizer

        self._tokenizer = TextTokenizer(
            load_from_hub_or_folder(AutoTokenizer.from_pretrained, name_or_path, key=MASKED_LM_KEY)
        )
        if self._tokenizer.mask_id is None:
            raise UserError(
                "its tokenizer has no mask token", key=MASKED_LM_KEY, value=name_or_path
            )
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._encoder = load_encoder(name_or_path, "masked_lm", MASKED_LM_KEY).eval()
        self._encoder.to(self._device)
        digest = hashlib.sha256(self._tokenizer.fingerprint.encode())
        for weight in self._encoder.state_dict().values():
            digest.update(weight.cpu().contiguous().view(torch.uint8).numpy().data)
        self.fingerprint = digest.hexdigest()
        self.vocabulary = self._list_words(find_vocab_size(self._encoder.config))
        is_word = torch.tensor([bool(word) for word in self.vocabulary])
        self._others = (~is_word).nonzero().flatten().to(self._device)
        self._count = min(count, int(is_word.sum()) - 1)
        self._width = count
        self._ids_by_word: dict[str, list[int]] = defaultdict(list)
        for token_id, word in enumerate(self.vocabulary):
            self._ids_by_word[word.casefold()].append(token_id)

    def _list_words(self, size: int) -> list[str]:
        """The word that each id stands for; empty where it is a piece of one, or no word."""
        words = [""] * size
        joints, special = self._tokenizer.word_joints, set(self._tokenizer.special_ids)
        for token_id in set(self._tokenizer.backend.get_vocab().values()) - special:
            if token_id < size and not joints[token_id] & JOINS_LEFT:
                word = str(self._tokenizer.huggingface.decode([token_id])).strip()
                words[token_id] = word if word.isalpha() else ""
        if sum(map(bool, words)) < 2:
            raise UserError("its vocabulary has no words", key=MASKED_LM_KEY)
        return words

    def guess(
        self, texts: Sequence[str], spans: Sequence[Sequence[tuple[int, int]]]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """As `src.data.batches.substitutes.WordGuesser` says. Words behind the longest text that
        the model reads have no candidates.
        """
        numbers = [np.zeros((len(places), self._width), np.int32) for places in spans]
        shares = [np.zeros((len(places), self._width), np.float32) for places in spans]
        for batch in self._batch(self._mask_texts(texts, spans)):
            words = [
                texts[one.text][slice(*spans[one.text][place])]
                for one in batch
                for place in one.places
            ]
            best, likely = self._find_likeliest(batch, words)
            where = [(one.text, place) for one in batch for place in one.places]
            for row, (text, place) in enumerate(where):
                numbers[text][place, : self._count] = best[row]
                shares[text][place, : self._count] = likely[row]
        return zip(numbers, shares, strict=True)

    def _mask_texts(
        self, texts: Sequence[str], spans: Sequence[Sequence[tuple[int, int]]]
    ) -> Iterator[MaskedText]:
        mask = str(self._tokenizer.huggingface.mask_token)
        limit = min(self._encoder.max_tokens or _LONGEST_TEXT, _LONGEST_TEXT)
        for number, (text, places) in enumerate(zip(texts, spans, strict=True)):
            words = [place for place, (begin, end) in enumerate(places) if begin < end]
            # masks that stand in the text itself would be taken for others
            for first in range(_WORDS_PER_MASK if mask not in text else 0):
                if not (chosen := words[first::_WORDS_PER_MASK]):
                    continue
                pieces, before = [], 0
                for place in chosen:
                    begin, end = places[place]
                    pieces += [text[before:begin], mask]
                    before = end
                masked = "".join([*pieces, text[before:]])
                [ids], _, _ = self._tokenizer.encode([masked], None, limit, "head")
                [masks] = (ids == self._tokenizer.mask_id).nonzero()
                yield MaskedText(ids, masks, number, chosen[: len(masks)])

    def _batch(self, masked: Iterator[MaskedText]) -> Iterator[list[MaskedText]]:
        """As many texts together as have so many tokens."""
        batch: list[MaskedText] = []
        for one in masked:
            if batch and sum(len(other.ids) for other in batch) + len(one.ids) > _BATCH_TOKENS:
                yield batch
                batch = []
            batch.append(one)
        if batch:
            yield batch

    def _find_likeliest(
        self, batch: list[MaskedText], words: list[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The likeliest other words [K, C] for each mask and their shares of the probability of
        all C; no word stands for itself.
        """
        lengths = [len(one.ids) for one in batch]
        begins = np.cumsum([0, *lengths[:-1]])
        places = np.concatenate(
            [one.masks[: len(one.places)] + begin for one, begin in zip(batch, begins, strict=True)]
        )
        own = [
            (row, token_id)
            for row, word in enumerate(words)
            for token_id in self._ids_by_word.get(word.casefold(), ())
        ]
        ids = torch.from_numpy(np.concatenate([one.ids for one in batch]))
        tokens: Any = build_tokens(ids, torch.tensor(lengths))
        moved = [part.to(self._device) if isinstance(part, Tensor) else part for part in tokens]
        with torch.inference_mode():
            at = torch.from_numpy(places).to(self._device)
            logits = self._encoder.compute_logits(tokens._make(moved), at).float()
            logits.index_fill_(1, self._others, -torch.inf)
            if own:
                logits[tuple(torch.tensor(own, device=self._device).T)] = -torch.inf
            best = logits.topk(self._count)
            return best.indices.cpu().numpy(), best.values.softmax(-1).cpu().numpy()
