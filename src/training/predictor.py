"""A trained model at work: texts in, labels and probabilities out. Reads texts as its training did."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from transformers import AutoTokenizer

from src.data.cleaning import Cleaning
from src.data.formats import Record
from src.data.tokenizer import TextTokenizer
from src.model.encoder import Encoder, opened
from src.terms.batch import lay_out
from src.terms.fault import Fault
from src.training.export import READING


class Answer(NamedTuple):
    """What a model says of a text: the likeliest label, or the value, and the probability of every label."""

    said: str
    probabilities: dict[str, float]


class Predictor:
    """Answers with the model of a run's folder.

    Raises Fault where the folder holds no model that judges whole texts.
    """

    def __init__(self, folder: Path, *, batch_size: int = 64) -> None:
        reading = folder / READING
        if not reading.is_file():
            raise Fault(f"{folder} holds no {READING}: it was not written by a run of this program")
        self.reading = json.loads(reading.read_text(encoding="utf-8"))
        if self.reading["task"] == "masked_lm":
            raise Fault("this run pretrained an encoder and judges nothing; fine-tune it first, with init_from=RUN")
        self.batch_size = batch_size
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer = TextTokenizer(AutoTokenizer.from_pretrained(folder, local_files_only=True))
        self.encoder: Encoder = opened(folder, "sequence").eval().to(self.device)
        self.names: list[str] = self.reading["label_names"]
        self.cleaning = Cleaning(**self.reading["cleaning"])

    def answers(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[Answer]:
        """One answer for each text, in their order; texts of like length go through together."""
        texts = [self._cleaned(text) for text in texts]
        pairs = [self._cleaned(pair) for pair in pairs] if pairs is not None else None
        rows, begins, _ = self.tokenizer.encode(texts, pairs, self.reading["max_tokens"], self.reading["truncation"])
        order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
        answers: dict[int, Answer] = {}
        for begin in range(0, len(order), self.batch_size):
            places = order[begin : begin + self.batch_size]
            outputs = self._outputs([rows[place] for place in places], [begins[place] for place in places])
            answers |= zip(places, map(self._answer, outputs), strict=True)
        return [answers[place] for place in range(len(rows))]

    def _cleaned(self, text: str) -> str:
        record = Record(text or " ", None, None, "the text given")
        kept = list(self.cleaning.clean([record], split="predict", labelled=False, counts=Counter()))
        return kept[0].text if kept else ""  # an empty text gets an answer too: every row of a file has one

    @torch.inference_mode()
    def _outputs(self, rows: list[np.ndarray], begins: list[int]) -> list[list[float]]:
        lengths = torch.tensor([len(row) for row in rows])
        types = np.concatenate(
            [(np.arange(len(row)) >= (begin or len(row))) for row, begin in zip(rows, begins, strict=True)]
        )
        tokens = lay_out(torch.from_numpy(np.concatenate(rows)), lengths, torch.from_numpy(types.astype(np.int64)))
        tokens = tokens._replace(
            **{name: getattr(tokens, name).to(self.device) for name in ("ids", "positions", "types", "starts")}
        )
        logits = self.encoder.sequence_logits(self.encoder.encode(tokens, at="first")).float()
        return (logits.softmax(-1) if self.names else logits).tolist()

    def _answer(self, outputs: list[float]) -> Answer:
        if not self.names:
            return Answer(f"{outputs[0]:.4f}", {})
        best = max(range(len(outputs)), key=outputs.__getitem__)
        return Answer(self.names[best], dict(zip(self.names, outputs, strict=True)))
