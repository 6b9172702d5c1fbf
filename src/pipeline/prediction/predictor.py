"""Inference with the model of a run: texts in, labels and probabilities out, or entities.

Texts are prepared as they were in training.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from transformers import AutoTokenizer

from src.core.batch import Tokens, build_tokens
from src.core.dataset_info import TEXT_TASKS
from src.core.formatting import format_quantity
from src.core.pretrained_files import load_from_hub_or_folder
from src.core.user_errors import UserError
from src.data.batches.batch_sampler import DistributedBatchSampler
from src.data.preparation.cleaning import Cleaning
from src.data.rows.records import RawRecord
from src.data.rows.token_labels import WordSpan, find_words
from src.data.tokenization.text_encoder import find_token_types
from src.data.tokenization.token_store import TokenStore
from src.data.tokenization.tokenizer import TextTokenizer
from src.model.decision_rule import DecisionRule
from src.model.encoder import Encoder
from src.model.head_outputs import choose_ranks, compute_class_scores
from src.model.model_classes import HeadType
from src.model.stored_encoder import load_encoder
from src.pipeline.export import INFERENCE_CONFIG_NAME
from src.pipeline.palimpsest_model import find_runtime_file
from src.pipeline.palimpsest_runtime import RUNTIME_BATCH_TOKENS, RuntimeNetwork
from src.pipeline.prediction.word_tagger import Entity, WordTagger
from src.training.precision import choose_precision

if TYPE_CHECKING:
    from src.pipeline.prediction.mask_filler import Filling

# Enough to find texts of similar length for each batch, and a bound on memory.
MAX_TEXTS_PER_CALL = 4096


class TextPrediction(NamedTuple):
    """The likeliest label of a text, the median of labels in an order, or its value, and the
    probability of every label.

    Where a text may have several labels these are joined by commas, and there may be none; `labels`
    has them one by one. Where
    words have tags, `entities` are those of the text, and `fillings` the tokens for its masks where
    these are filled (`MaskFiller`).
    """

    predicted: str
    probabilities: dict[str, float]
    entities: list[Entity] | None = None
    fillings: "list[Filling] | None" = None
    labels: tuple[str, ...] = ()


class Predictor:
    """Predicts labels or values of texts with the model of a run.

    Texts of similar length go through the model together, without padding. But for rounding, a
    prediction does not depend on the other texts of its batch.

    Args:
        folder: the model artifact of the run, or what `src.export` made of it.
        batch_tokens: size of a batch; one text may be longer. Runtimes have smaller ones.
        precision: of matrix products; `auto` takes bf16 where this machine is clearly faster at it,
            and `precision_reason` says which and why. An export for a runtime has one of its own.
        decision_rule: whether temperature and thresholds that the run has fitted are applied.

    Raises:
        UserError: the folder holds no model that judges whole texts, or is an export that needs a
            package that is missing, or has another precision.
    """

    def __init__(
        self,
        folder: Path,
        *,
        batch_tokens: int = 8192,
        precision: Literal["auto", "fp32", "bf16", "int8"] = "auto",
        decision_rule: bool = True,
    ) -> None:
        reading = folder / INFERENCE_CONFIG_NAME
        if not reading.is_file():
            raise UserError(
                f"{folder} holds no {INFERENCE_CONFIG_NAME}: it was not written by a run of this "
                "program"
            )
        self.inference_config = json.loads(reading.read_text(encoding="utf-8"))
        if self.inference_config["task"] in TEXT_TASKS:
            raise UserError(
                "this run pretrained an encoder and judges nothing; fine-tune it first, with "
                "init_from=ID"
            )
        self.batch_tokens = batch_tokens
        # texts that were longer than those of training
        self.num_cut = 0
        runtime_file = find_runtime_file(folder)
        if precision == "int8" and runtime_file is None:
            raise UserError(
                "goes with backend=openvino", key="precision", value="int8", colon=False
            )
        has_gpu = torch.cuda.is_available() and runtime_file is None
        self.device = torch.device("cuda" if has_gpu else "cpu")
        self.tokenizer = TextTokenizer(
            load_from_hub_or_folder(AutoTokenizer.from_pretrained, str(folder), key="run")
        )
        # models of earlier versions have no other
        self._head: HeadType = self.inference_config.get("head", "sequence")
        # takes the place of the encoder
        self._runtime: RuntimeNetwork | None = None
        if runtime_file is not None:
            self._runtime = self._load_runtime(runtime_file, precision)
        else:
            self.encoder: Encoder = load_encoder(folder, self._head).eval().to(self.device)
        tags_words = self._head == "token_classification"
        self.label_names: list[str] = self.inference_config["label_names"]
        # None where texts are judged as a whole
        self.tagger: WordTagger | None = None
        if tags_words:
            self.tagger = WordTagger(
                self.tokenizer.encoder,
                self.label_names,
                self.inference_config["max_tokens"],
                compute_logits=self._compute_logits,
                run_batches=self._run_batches,
            )
        # of a text; each then has a probability of its own
        self.has_many_labels = self.inference_config["task"] == "multi_label"
        self.rule = DecisionRule()
        if decision_rule:
            self.rule = DecisionRule.read(folder, len(self.label_names))
        self.cleaning = replace(
            Cleaning(**self.inference_config["cleaning"]), empty_text="drop", duplicates="keep"
        )
        chosen, reason = str(precision), "as asked"
        if self._runtime is not None:
            chosen, reason = self._runtime.precision, f"an export for {self._runtime.name}"
        elif precision == "auto":
            chosen, reason = choose_precision(self.device.type)
        self.use_bf16 = chosen == "bf16"
        self.precision_reason = f"{chosen}: {reason}"

    def _load_runtime(self, file: Path, precision: str) -> RuntimeNetwork:
        """Raises UserError if its package is missing, or another precision is asked for."""
        tokenizer, max_tokens = self.tokenizer.huggingface, self.inference_config["max_tokens"]
        try:
            runtime = RuntimeNetwork(file, tokenizer, max_tokens)
        except ModuleNotFoundError as error:
            extra = "onnx" if error.name == "onnxruntime" else "openvino"
            raise UserError(
                f"needs the package {error.name}: pip install -e '.[{extra}]'",
                key="model",
                value=file.parent,
                colon=False,
            ) from error
        if precision not in ("auto", runtime.precision):
            raise UserError(
                f"{file.parent} was exported in {runtime.precision}",
                key="precision",
                value=precision,
                hint="leave it out, or export the run again",
            )
        return runtime

    def describe_rule(self) -> Iterator[str]:
        """What the run has fitted and is applied to all answers; nothing where there is none."""
        if said := self.rule.describe(self.label_names):
            yield f"{said}; decision_rule=false answers without"

    def describe_cuts(self) -> str | None:
        """How many texts have been cut to the length of training; None if none was."""
        if not self.num_cut:
            return None
        return (
            f"{format_quantity(self.num_cut, 'text')} cut to {self.inference_config['max_tokens']} "
            "tokens, as in training (data.batching.max_tokens)"
        )

    def predict_texts(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        words: Sequence[Sequence[WordSpan] | None] | None = None,
        on_batch_done: Callable[[int], object] = lambda count: None,
    ) -> list[TextPrediction | None]:
        """Return one prediction for each text, in their order.

        It is None where the text or its pair is empty: training leaves such rows out, so the model
        has learnt nothing of them.

        Args:
            texts: at most `MAX_TEXTS_PER_CALL` at once is a good number.
            pairs: the second text of each, if the model takes two.
            words: where the words of each text stand, for a model that tags them; None for a text
                whose words are to be found.
            on_batch_done: called after each batch with the number of texts in it.
        """
        cleaned = self._clean_texts(texts, pairs)
        answers: list[TextPrediction | None] = [None] * len(texts)
        if cleaned and self.tagger is not None:
            kept = [record.text for record in cleaned.values()]
            given = words or [None] * len(texts)
            spans = [given[index] or find_words(record.text) for index, record in cleaned.items()]
            for index, found in zip(cleaned, self.tagger.find_entities(kept, spans), strict=True):
                answers[index] = TextPrediction("", {}, found)
            on_batch_done(len(cleaned))
        elif cleaned:
            outputs = self._predict_cleaned(list(cleaned.values()), on_batch_done)
            for index, row in zip(cleaned, outputs, strict=True):
                answers[index] = self._build_prediction(row)
        return answers

    def _predict_cleaned(
        self, records: Sequence[RawRecord], on_batch_done: Callable[[int], object]
    ) -> list[list[float]]:
        """The outputs of the model for each record, in their order."""
        pairs = [str(record.pair) for record in records] if records[0].pair is not None else None
        rows, begins, num_cut = self.tokenizer.encode(
            [record.text for record in records],
            pairs,
            self.inference_config["max_tokens"],
            self.inference_config["truncation"],
        )
        self.num_cut += num_cut
        values: list[list[float]] = self._judge_rows(rows, np.array(begins), on_batch_done).tolist()
        return values

    def compute_losses(self, store: TokenStore, places: np.ndarray) -> np.ndarray:
        """The cross-entropy of rows of a store with their labels, [N] float64; the sum of those of
        all labels where a text may have several.

        Args:
            places: [N], which rows.
        """
        rows = [
            store.ids[store.offsets[place] : store.offsets[place + 1]].astype(np.int64)
            for place in places
        ]
        outputs = self._judge_rows(rows, np.asarray(store.begins)[places]).double()
        targets = torch.from_numpy(np.asarray(store.targets)[places])
        if self.has_many_labels:
            shares = torch.where(targets.bool(), outputs, 1 - outputs)
            losses = -shares.clamp_min(1e-12).log().sum(1)
        else:
            losses = -outputs.gather(1, targets[:, None].long())[:, 0].clamp_min(1e-12).log()
        values: np.ndarray = losses.numpy()
        return values

    def _judge_rows(
        self,
        rows: list[np.ndarray],
        begins: np.ndarray,
        on_batch_done: Callable[[int], object] = lambda count: None,
    ) -> torch.Tensor:
        """The outputs of the model [N, C] for rows of ids, in their order."""
        if self._runtime is not None:
            inputs = [
                _build_inputs(row, int(begin)) for row, begin in zip(rows, begins, strict=True)
            ]
            tokens = min(self.batch_tokens, RUNTIME_BATCH_TOKENS)
            return self._apply_head(self._runtime.compute_logits(inputs, tokens, on_batch_done))
        order, outputs = [], []

        def judge_batch(indices: np.ndarray, tokens: Tokens) -> None:
            order.append(indices)
            outputs.append(self._apply_head(self._compute_logits(tokens)))
            on_batch_done(len(indices))

        self._run_batches(rows, begins, judge_batch)
        return torch.cat(outputs)[torch.from_numpy(np.concatenate(order)).argsort()]

    def _run_batches(
        self,
        rows: list[np.ndarray],
        begins: np.ndarray,
        handle_batch: Callable[[np.ndarray, Tokens], None],
    ) -> None:
        """Call a function with the numbers of the rows of each batch and with their tokens.

        Args:
            rows: the ids of each text.
            begins: where the second segment of each begins.
        """
        lengths = np.array([len(row) for row in rows])
        batches = DistributedBatchSampler(
            len(rows),
            len(rows),
            seed=0,
            training=False,
            lengths=lengths,
            batch_tokens=self.batch_tokens,
        )
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.use_bf16),
        ):
            for _, _, indices in batches:
                tokens = self._batch_tokens([rows[index] for index in indices], begins[indices])
                handle_batch(indices, tokens)

    def _clean_texts(
        self, texts: Sequence[str], pairs: Sequence[str] | None
    ) -> dict[int, RawRecord]:
        """The records that training would have kept, by their position among the texts."""
        records = [
            RawRecord(text, None if pairs is None else pairs[index], None, str(index))
            for index, text in enumerate(texts)
        ]
        kept = self.cleaning.clean_records(
            records, split="predict", labelled=False, counts=Counter()
        )
        return {int(record.where): record for record in kept}

    def _batch_tokens(self, rows: list[np.ndarray], begins: np.ndarray) -> Tokens:
        lengths = np.array([len(row) for row in rows])
        types = find_token_types(begins, lengths)
        return build_tokens(
            torch.from_numpy(np.concatenate(rows)),
            torch.from_numpy(lengths),
            None if types is None else torch.from_numpy(types),
        )

    def _apply_head(self, logits: torch.Tensor) -> torch.Tensor:
        """Return probabilities [B, C], or values [B, 1]."""
        logits = logits.float()
        if not self.label_names:
            return logits.cpu()
        if self.has_many_labels:
            return self.rule.apply_temperature(logits).sigmoid().cpu()
        scores = compute_class_scores(self._head, logits)
        return self.rule.apply_temperature(scores).softmax(-1).cpu()

    def _compute_logits(self, tokens: Tokens, at: torch.Tensor | None = None) -> torch.Tensor:
        """What the head gives for each text, or for some tokens of all."""
        tokens = Tokens._make(
            field.to(self.device) if isinstance(field, torch.Tensor) else field for field in tokens
        )
        return self.encoder.compute_logits(tokens, None if at is None else at.to(self.device))

    def _build_prediction(self, outputs: list[float]) -> TextPrediction:
        if not self.label_names:
            return TextPrediction(_format_value(outputs[0]), {})
        probabilities = dict(zip(self.label_names, outputs, strict=True))
        if self.has_many_labels:
            [chosen] = self.rule.choose_labels(
                torch.tensor([outputs], dtype=torch.float64)
            ).tolist()
            pairs = zip(self.label_names, chosen, strict=True)
            names = tuple(name for name, is_chosen in pairs if is_chosen)
            return TextPrediction(",".join(names), probabilities, labels=names)
        if self._head == "ordinal":
            rank = int(choose_ranks(torch.tensor([outputs])))
            return TextPrediction(self.label_names[rank], probabilities)
        index = int(self.rule.choose_label(torch.tensor([outputs], dtype=torch.float64)))
        return TextPrediction(self.label_names[index], probabilities)


def _build_inputs(row: np.ndarray, begin: int) -> dict[str, np.ndarray]:
    """The ids of a text with their types, 1 from where its second segment begins (0: nowhere)."""
    types = np.zeros_like(row)
    if begin:
        types[begin:] = 1
    return {"input_ids": row, "token_type_ids": types}


def _format_value(value: float) -> str:
    """Four decimals, or four digits of a number that would have few left of it."""
    return f"{value:.4f}" if value == 0 or abs(value) >= 0.1 else f"{value:.4g}"
