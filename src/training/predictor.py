"""A trained model at work: texts in, labels and probabilities out. Reads texts as its training did."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from transformers import AutoTokenizer

from src.data.cleaning import Cleaning
from src.data.formats import Record
from src.data.plan import Plan
from src.data.tokenizer import TextTokenizer
from src.model.encoder import Encoder, opened
from src.terms.batch import Tokens, lay_out
from src.terms.fault import Fault
from src.terms.loading import from_hub_or_folder
from src.training.export import READING
from src.training.precision import fastest

WINDOW_TEXTS = 4096  # answered in one call: plenty to find neighbours of like length, and a bound on memory


class Answer(NamedTuple):
    """What a model says of a text: the likeliest label, or the value, and the probability of every label."""

    said: str
    probabilities: dict[str, float]


class Predictor:
    """Answers with the model of a run's folder.

    Texts of like length go through together, without padding, in batches of at most `batch_tokens` (or of one text that
    is longer). An answer does not depend on its neighbours but for rounding.

    Args:
        precision: of the products; `auto` takes bf16 where this machine is clearly faster at it. `arithmetic` then says
            which, and why.

    Raises Fault where the folder holds no model that judges whole texts.
    """

    def __init__(
        self, folder: Path, *, batch_tokens: int = 8192, precision: Literal["auto", "fp32", "bf16"] = "auto"
    ) -> None:
        reading = folder / READING
        if not reading.is_file():
            raise Fault(f"{folder} holds no {READING}: it was not written by a run of this program")
        self.reading = json.loads(reading.read_text(encoding="utf-8"))
        if self.reading["task"] == "masked_lm":
            raise Fault("this run pretrained an encoder and judges nothing; fine-tune it first, with init_from=RUN")
        self.batch_tokens = batch_tokens
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer = TextTokenizer(from_hub_or_folder(AutoTokenizer.from_pretrained, str(folder), key="run"))
        self.encoder: Encoder = opened(folder, "sequence").eval().to(self.device)
        self.names: list[str] = self.reading["label_names"]
        self.cleaning = replace(Cleaning(**self.reading["cleaning"]), empty_text="drop")
        chosen, reason = fastest(self.device.type) if precision == "auto" else (precision, "as asked")
        self.bf16 = chosen == "bf16"
        self.arithmetic = f"{chosen}: {reason}"

    def answers(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        done: Callable[[int], object] = lambda count: None,
    ) -> list[Answer]:
        """One answer for each text, in their order. `done` is told how many more there are after each batch."""
        if not texts:
            return []
        texts = [self._cleaned(text) for text in texts]
        pairs = [self._cleaned(pair) for pair in pairs] if pairs is not None else None
        rows, begins, _ = self.tokenizer.encode(texts, pairs, self.reading["max_tokens"], self.reading["truncation"])
        lengths = np.array([len(row) for row in rows])
        plan = Plan(len(rows), len(rows), seed=0, training=False, lengths=lengths, batch_tokens=self.batch_tokens)
        order, outputs = [], []
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            for _, places in plan:
                tokens = self._tokens([rows[place] for place in places], np.array(begins)[places])
                order.append(places)
                outputs.append(self._outputs(tokens))
                done(len(places))
            found = torch.cat(outputs)[torch.from_numpy(np.concatenate(order)).argsort()]
        return [self._answer(each) for each in found.tolist()]

    def _cleaned(self, text: str) -> str:
        record = Record(text or " ", None, None, "the text given")
        kept = list(self.cleaning.clean([record], split="predict", labelled=False, counts=Counter()))
        return kept[0].text if kept else ""  # an empty text gets an answer too: every row of a file has one

    def _tokens(self, rows: list[np.ndarray], begins: np.ndarray) -> Tokens:
        lengths = np.array([len(row) for row in rows])
        types = None
        if begins.any():
            second = np.concatenate([np.arange(length) >= begin for length, begin in zip(lengths, begins, strict=True)])
            types = torch.from_numpy(second.astype(np.int64))
        return lay_out(torch.from_numpy(np.concatenate(rows)), torch.from_numpy(lengths), types)

    def _outputs(self, tokens: Tokens) -> torch.Tensor:
        """Probabilities [B, C], or values [B, 1]."""
        there = [field.to(self.device) if isinstance(field, torch.Tensor) else field for field in tokens]
        tokens = Tokens._make(there)
        logits = self.encoder.sequence_logits(self.encoder.encode_sequences(tokens)).float()
        return (logits.softmax(-1) if self.names else logits).cpu()

    def _answer(self, outputs: list[float]) -> Answer:
        if not self.names:
            return Answer(f"{outputs[0]:.4f}", {})
        best = max(range(len(outputs)), key=outputs.__getitem__)
        return Answer(self.names[best], dict(zip(self.names, outputs, strict=True)))
