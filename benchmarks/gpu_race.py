"""What is raced on a GPU, and the watch: shared by the contestants of `benchmarks/gpu.py`."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from src.core.dataset_info import DatasetInfo
from src.data.tokenization.token_store import TokenStore
from src.model.encoder_config import Scratch
from src.model.model_config import ModelConfig
from src.model.module import EncoderModule
from src.model.objectives.masked_lm import MaskedLM
from src.model.optim import AdamW

VOCABULARY = 30_522
# the first ids: padding, unknown, beginning, end, mask
SPECIAL = 5
MASK, BEGIN, END = 4, 2, 3
LR = 1e-4


@dataclass(frozen=True)
class Race:
    """What is trained, on rows that hold one document each or, with `real_lengths`, pieces of
    several.
    """

    name: str
    layers: int
    width: int
    heads: int
    row_tokens: int
    batch_size: int
    real_lengths: bool = False
    vocabulary: int = VOCABULARY
    # of the corpus
    batches: int = 40

    def lengths(self) -> np.ndarray:
        """Tokens of each document: a whole row, or drawn lognormally with a median of 90, as
        paragraphs are.
        """
        total = self.batches * self.batch_size * self.row_tokens
        if not self.real_lengths:
            return np.full(total // self.row_tokens, self.row_tokens)
        drawn = (
            np.random.default_rng(1)
            .lognormal(4.5, 0.8, 2 * total // 90)
            .astype(int)
            .clip(8, self.row_tokens)
        )
        return drawn[: int(np.searchsorted(np.cumsum(drawn), total))]

    def store(self) -> TokenStore:
        lengths = self.lengths()
        draw, offsets = np.random.default_rng(2), np.concatenate(([0], np.cumsum(lengths)))
        ids = SPECIAL + draw.zipf(1.3, offsets[-1]) % (self.vocabulary - SPECIAL)
        ids[offsets[:-1]], ids[offsets[1:] - 1] = BEGIN, END
        nothing = np.zeros(len(lengths), dtype=np.int64)
        kind = np.uint16 if self.vocabulary <= 2**16 else np.uint32
        return TokenStore(Path(), ids.astype(kind), offsets, nothing, nothing, nothing, 0)

    def module(self, steps: int) -> EncoderModule:
        """The same weights for everyone."""
        torch.manual_seed(1)
        shape = Scratch(
            layers=self.layers,
            width=self.width,
            heads=self.heads,
            max_tokens=max(512, self.row_tokens),
        )
        optim = AdamW(lr=LR, schedule="constant", warmup_fraction=0.0)
        module = ModelConfig(encoder=shape, objective=MaskedLM(), optim=optim).build()
        module.set_dataset_info(
            DatasetInfo(
                vocab_size=self.vocabulary,
                pad_id=0,
                mask_id=MASK,
                special_ids=tuple(range(SPECIAL)),
                max_tokens=self.row_tokens,
                label_names=(),
                batches_per_epoch=self.batches,
                sample_tokens={},
            ),
            steps,
        )
        module.configure_model()
        return module

    def tiny(self) -> "Race":
        """As small as it goes: shows that everything runs, and nothing of how fast."""
        small: Any = {
            "layers": 1,
            "width": 16,
            "heads": 2,
            "row_tokens": 32,
            "batch_size": 4,
            "vocabulary": 100,
        }
        return replace(self, name=f"{self.name}, tiny", batches=3, **small)


# the most telling first: time may end before they do
RACES = {
    "base128": Race("BERT-base, 256 x 128", 12, 768, 12, 128, 256),
    "small128": Race("4 layers x 256, 512 x 128, as CUDA graphs", 4, 256, 4, 128, 512),
    "base512_real": Race(
        "BERT-base, 64 x 512, real lengths packed", 12, 768, 12, 512, 64, real_lengths=True
    ),
    "base512": Race("BERT-base, 64 x 512", 12, 768, 12, 512, 64),
}


class Words(NamedTuple):
    """What batching must know of a tokenizer."""

    vocab_size: int
    mask_id: int = MASK
    special_ids: tuple[int, ...] = tuple(range(SPECIAL))


class Timed(NamedTuple):
    # of `steps` steps
    seconds: float
    # real ones, in them
    tokens: int
    # most that was held of the device's memory while they ran, that of CUDA graphs included
    bytes: int


class Stopwatch:
    """Times the steps after a warm-up; the device's own clock where it has one."""

    def __init__(self, device: torch.device, warm_up: int, steps: int) -> None:
        self._device, self._warm_up, self._steps = device, warm_up, steps
        self._done = 0
        self._tokens: int | Tensor = 0
        self._marks: list[Any] = []

    def step(self, tokens: int | Tensor) -> None:
        """Called after every step; a count on the device stays there."""
        self._done += 1
        if self._done == self._warm_up:
            if self._device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(self._device)
            self._mark()
        elif self._warm_up < self._done <= self._warm_up + self._steps:
            self._tokens = self._tokens + tokens
            if self._done == self._warm_up + self._steps:
                self._mark()

    def _mark(self) -> None:
        if self._device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append(event)
        else:
            self._marks.append(time.perf_counter())

    def read(self) -> Timed:
        begin, end = self._marks
        if self._device.type != "cuda":
            return Timed(end - begin, int(self._tokens), 0)
        torch.cuda.synchronize(self._device)
        return Timed(
            begin.elapsed_time(end) / 1000,
            int(self._tokens),
            torch.cuda.max_memory_reserved(self._device),
        )
