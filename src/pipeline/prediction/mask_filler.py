"""What a pretrained encoder puts in the place of masked words."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import AutoTokenizer

from src.core.batch import build_tokens
from src.core.pretrained_files import load_from_hub_or_folder
from src.core.user_errors import UserError
from src.data.preparation.cleaning import Cleaning
from src.data.rows.records import RawRecord
from src.data.tokenization.tokenizer import TextTokenizer
from src.model.stored_encoder import load_encoder
from src.pipeline.prediction.predictor import TextPrediction

# As people write it whatever the tokenizer calls it.
_COMMON_MASKS = ("[MASK]", "<mask>")


class Filling(NamedTuple):
    """A token for the place of a mask.

    Args:
        mask: the number of the mask in its text, from 1.
    """

    mask: int
    token: str
    probability: float


class MaskFiller:
    """Fills the masks of texts, in fp32.

    Args:
        folder: the model artifact of a run that pretrained an encoder.
        inference_config: how texts are prepared for it.
        count: how many tokens are given for each mask.
        batch_tokens: size of a batch; one text may be longer.
    """

    precision_reason = "fp32"
    tagger = None
    label_names: Sequence[str] = ()

    def __init__(
        self,
        folder: Path,
        inference_config: Mapping[str, Any],
        *,
        count: int = 5,
        batch_tokens: int = 8192,
    ) -> None:
        self.inference_config = inference_config
        self.tokenizer = TextTokenizer(
            load_from_hub_or_folder(AutoTokenizer.from_pretrained, str(folder), key="run")
        )
        self.mask = str(self.tokenizer.huggingface.mask_token)
        self._count, self._batch_tokens = count, batch_tokens
        self._cleaning = Cleaning(**inference_config["cleaning"])
        self._encoder = load_encoder(folder, "masked_lm").eval()

    def describe_cuts(self) -> None:
        """Nothing: a text that loses a mask where it is cut has no answer."""

    def fill_text(self, text: str) -> list[Filling]:
        """The likeliest tokens for each mask of a text, likeliest first.

        Args:
            text: with the tokenizer's mask, or [MASK], in the place of words.

        Raises:
            UserError: the text has no mask, or loses one where it is cut to length.
        """
        text = self._prepare_text(text)
        if self.tokenizer.mask_id is None or self.mask not in text:
            raise UserError(
                "this run pretrained an encoder, which fills masks, and there is none in the text",
                key="text",
                hint=f'the mask is {self.mask}, as in text="The film was {self.mask}."',
            )
        [answer] = self.predict_texts([text])
        if answer is None or answer.fillings is None:
            limit = self.inference_config["max_tokens"]
            raise UserError(f"a mask is lost where the text is cut to {limit} tokens", key="text")
        return answer.fillings

    def predict_texts(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        words: object = None,
        on_batch_done: Callable[[int], object] = lambda count: None,
    ) -> list[TextPrediction | None]:
        """Fill the masks of each text, in their order; None for a text without masks, or one that
        loses a mask where it is cut to length.
        """
        prepared = [self._prepare_text(text) for text in texts]
        counts = [text.count(self.mask) for text in prepared]
        answers: list[TextPrediction | None] = [None] * len(texts)
        filled = [number for number, count in enumerate(counts) if count]
        rows, _, _ = self.tokenizer.encode(
            [prepared[number] for number in filled],
            None,
            self.inference_config["max_tokens"],
            self.inference_config["truncation"],
        )
        for batch in self._iter_batches(rows):
            masks = [np.flatnonzero(rows[place] == self.tokenizer.mask_id) for place in batch]
            found = self._find_tokens([rows[place] for place in batch], masks)
            for place, own in zip(batch, masks, strict=True):
                fillings = [
                    filling._replace(mask=mask)
                    for mask in range(1, len(own) + 1)
                    for filling in next(found)
                ]
                if len(own) == counts[filled[place]]:
                    answers[filled[place]] = TextPrediction("", {}, fillings=fillings)
            on_batch_done(len(batch))
        return answers

    def _prepare_text(self, text: str) -> str:
        if self.mask not in text:
            for common in _COMMON_MASKS:
                text = text.replace(common, self.mask)
        return self._cleaning.normalize_record(RawRecord(text, None, None, "the text given")).text

    def _iter_batches(self, rows: Sequence[np.ndarray]) -> Iterator[list[int]]:
        """The numbers of the rows of each batch."""
        batch: list[int] = []
        size = 0
        for place, row in enumerate(rows):
            if batch and size + len(row) > self._batch_tokens:
                yield batch
                batch, size = [], 0
            batch.append(place)
            size += len(row)
        if batch:
            yield batch

    def _find_tokens(
        self, rows: Sequence[np.ndarray], masks: Sequence[np.ndarray]
    ) -> Iterator[list[Filling]]:
        """The likeliest tokens for each mask of all rows, one after the other.

        Args:
            masks: the places of the masks in each row.
        """
        lengths = np.array([len(row) for row in rows])
        starts = np.cumsum(lengths) - lengths
        at = np.concatenate([start + own for start, own in zip(starts, masks, strict=True)])
        with torch.inference_mode():
            tokens = build_tokens(
                torch.from_numpy(np.concatenate(rows)), torch.from_numpy(lengths), None
            )
            logits = self._encoder.compute_logits(tokens, torch.from_numpy(at))
            best = logits.float().softmax(-1).topk(self._count)
        for ids, probabilities in zip(best.indices.tolist(), best.values.tolist(), strict=True):
            yield [
                Filling(0, str(self.tokenizer.huggingface.decode([one])).strip(), probability)
                for one, probability in zip(ids, probabilities, strict=True)
            ]
