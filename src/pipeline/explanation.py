"""Why a run's model answered as it did about a text: the tokens that counted, and how far to trust
that.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import AutoTokenizer

from src.core.pretrained_files import load_from_hub_or_folder
from src.core.user_errors import UserError, format_suggestion
from src.data.preparation.cleaning import Cleaning
from src.data.rows.records import RawRecord
from src.data.tokenization.text_encoder import find_token_types
from src.data.tokenization.tokenizer import TextTokenizer
from src.model.attributions import (
    ExplainedNetwork,
    Faithfulness,
    Gradients,
    choose_baseline_id,
    measure_faithfulness,
)

# the gradients are taken along a longer path where they do not add up
_FIRST_STEPS, _MAX_STEPS = 50, 800
COMPLETENESS_TOLERANCE = 0.05
# orders drawn by chance, which any ranking has to beat
_RANDOM_ORDERS = 5
# before the first token of a word: of byte-level BPE, and of SentencePiece
_BLANK_MARKS = ("\u0120", "\u2581")
_MASKED_TASKS = ("masked_lm", "masked_lm_with_next_sentence")


class Word(NamedTuple):
    """A word of an explained text: its tokens together.

    Attributes:
        score: sum of the integrated gradients of its tokens.
        rollout: sum of their attention rollout.
        is_special: a token that stands for no text, such as [CLS].
    """

    text: str
    score: float
    rollout: float | None
    is_special: bool


class Explanation(NamedTuple):
    """The parts that the tokens of a text have in one answer.

    Attributes:
        tokens: as they are read, special ones included.
        is_special: of each.
        continues: of each, whether it goes on with the word of the token before it.
        answer: the label or token that is explained; "" for a value.
        probability: of the answer; of a value, the value itself.
        gradients: integrated gradients of the answer's score.
        baseline: the token that stood in every place of the text the gradients begin at.
        rollout: of each token, by attention rollout; None where the family gives no attention.
        faithfulness: of the gradients' ranking; None for a value, which has no probability.
        chance: the same of rankings drawn by chance, the mean of five.
    """

    tokens: list[str]
    is_special: list[bool]
    continues: list[bool]
    answer: str
    probability: float
    gradients: Gradients
    baseline: str
    rollout: list[float] | None
    faithfulness: Faithfulness | None
    chance: Faithfulness | None

    @property
    def is_complete(self) -> bool:
        """Whether the scores add up to what they explain."""
        return self.gradients.completeness_error <= COMPLETENESS_TOLERANCE

    @property
    def words(self) -> list[Word]:
        """The text word by word."""
        words: list[Word] = []
        flows: list[float | None] = [None] * len(self.tokens)
        for token, score, flow, special, goes_on in zip(
            self.tokens,
            self.gradients.scores.tolist(),
            self.rollout or flows,
            self.is_special,
            self.continues,
            strict=True,
        ):
            if goes_on and words:
                last = words.pop()
                flow = None if flow is None or last.rollout is None else last.rollout + flow
                words.append(Word(last.text + token, last.score + score, flow, last.is_special))
            else:
                words.append(Word(token, score, flow, special))
        return words


class Explainer:
    """Explains answers of the model of a run.

    Args:
        folder: the model artifact of the run.
        inference_config: how texts are prepared for it.

    Raises:
        UserError: a model of this kind or family cannot be explained.
    """

    def __init__(self, folder: Path, inference_config: Mapping[str, Any]) -> None:
        task = inference_config["task"]
        head = inference_config.get("head", "sequence")
        self.fills_masks = task in _MASKED_TASKS and head != "replaced_tokens"
        if not self.fills_masks and head not in ("sequence", "binary", "ordinal"):
            raise UserError(
                f"a model with a head of the kind {head} gives no one answer for a text",
                key="run",
                expected="a run of classification, regression or masked language modelling",
            )
        self.inference_config = inference_config
        self.label_names: list[str] = inference_config.get("label_names") or []
        self.has_many_labels = task == "multi_label"
        self.network = ExplainedNetwork(folder, "masked_lm" if self.fills_masks else head)
        self.tokenizer = TextTokenizer(
            load_from_hub_or_folder(AutoTokenizer.from_pretrained, str(folder), key="run")
        )
        self.cleaning = Cleaning(**inference_config["cleaning"])
        huggingface = self.tokenizer.huggingface
        # an unknown token stands for some text
        self._special_ids = {*huggingface.all_special_ids} - {huggingface.unk_token_id}

    def explain(
        self,
        text: str,
        pair: str | None = None,
        label: str | None = None,
        *,
        gradients_alone: bool = False,
    ) -> Explanation:
        """Explain the likeliest label, or another one.

        Args:
            text: of a masked LM, with one mask, whose likeliest token is explained.
            pair: the second text, where the model judges pairs.
            label: the label, or of a masked LM the token, that is explained instead.
            gradients_alone: neither faithfulness nor rollout, nor a longer path where the gradients
                do not add up: a tenth of the time.

        Raises:
            UserError: there is no such label or token, or the text has no mask or several.
        """
        ids, types, at = self._encode(text, pair)
        with torch.inference_mode():
            scores = self.network.compute_scores(ids[None], types, at)[0]
        output = self._choose_output(scores, label)
        baseline_id = choose_baseline_id(self.tokenizer.huggingface)
        special = torch.tensor([int(token) in self._special_ids for token in ids])
        baseline = torch.where(special, ids, baseline_id)
        most_steps = _FIRST_STEPS if gradients_alone else _MAX_STEPS
        gradients = self._attribute(ids, baseline, types, output, at, most_steps)
        faithfulness = chance = rollout = None
        if not gradients_alone:
            rollout = self.network.roll_out_attention(ids, types, at or 0)
            if self.fills_masks or self.label_names:
                faithfulness, chance = self._judge(ids, types, special, output, at, gradients)
        return Explanation(
            tokens=[self._read_token(int(token)) for token in ids],
            is_special=special.tolist(),
            continues=self._find_continuations(ids, special),
            answer=self._name_output(output),
            probability=self._to_probability(scores, output),
            gradients=gradients,
            baseline=self._read_token(baseline_id),
            rollout=None if rollout is None else rollout.tolist(),
            faithfulness=faithfulness,
            chance=chance,
        )

    def _encode(self, text: str, pair: str | None) -> tuple[Tensor, Tensor | None, int | None]:
        """The ids [L] and segments of the text as training would have them, and where its mask
        stands.
        """
        if self.fills_masks:
            text = self._write_mask(text)
        record = self.cleaning.normalize_record(RawRecord(text, pair, None, "the text given"))
        if not record.text or record.pair == "":
            raise UserError("nothing is left of the text once it is cleaned as in training")
        [row], begins, _ = self.tokenizer.encode(
            [record.text],
            None if record.pair is None else [record.pair],
            self.inference_config["max_tokens"],
            self.inference_config["truncation"],
        )
        ids = torch.from_numpy(row).long()
        types = find_token_types(torch.tensor(begins).numpy(), torch.tensor([len(row)]).numpy())
        at = None
        if self.fills_masks:
            places = torch.eq(ids, self.tokenizer.mask_id or -1).nonzero().flatten().tolist()
            if len(places) != 1:
                raise UserError(
                    f"the text has {len(places)} masks where it is cut to length",
                    key="text",
                    expected="one",
                )
            at = places[0]
        return ids, None if types is None else torch.from_numpy(types).long(), at

    def _write_mask(self, text: str) -> str:
        """The text with the tokenizer's own mask in the place of [MASK] or <mask>."""
        mask = str(self.tokenizer.huggingface.mask_token)
        if mask not in text:
            text = text.replace("[MASK]", mask).replace("<mask>", mask)
        if self.tokenizer.mask_id is None or text.count(mask) != 1:
            raise UserError(
                "this run pretrained an encoder, which fills masks",
                key="text",
                expected=f'one mask in it, as in text="The film was {mask}."',
            )
        return text

    def _choose_output(self, scores: Tensor, label: str | None) -> int:
        """Which of the scores is explained."""
        if label is None or not (self.fills_masks or self.label_names):
            if label is not None:
                raise UserError("this model gives a value and no labels", key="label", value=label)
            return int(scores.argmax())
        if not self.fills_masks:
            if label not in self.label_names:
                raise UserError(
                    "there is no such label",
                    key="label",
                    value=label,
                    hint=format_suggestion(label, self.label_names),
                )
            return self.label_names.index(label)
        for word in (f" {label}", label):
            ids = self.tokenizer.huggingface.encode(word, add_special_tokens=False)
            if len(ids) == 1 and ids[0] != self.tokenizer.huggingface.unk_token_id:
                return int(ids[0])
        raise UserError("is not one token of the vocabulary", key="label", value=label, colon=False)

    def _attribute(
        self,
        ids: Tensor,
        baseline: Tensor,
        types: Tensor | None,
        output: int,
        at: int | None,
        most_steps: int,
    ) -> Gradients:
        """Integrated gradients, along a longer path where they do not add up yet."""
        steps = _FIRST_STEPS
        while True:
            found = self.network.attribute(ids, baseline, types, output, at=at, steps=steps)
            if found.completeness_error <= COMPLETENESS_TOLERANCE or steps >= most_steps:
                return found
            steps *= 2

    def _judge(
        self,
        ids: Tensor,
        types: Tensor | None,
        special: Tensor,
        output: int,
        at: int | None,
        gradients: Gradients,
    ) -> tuple[Faithfulness, Faithfulness]:
        """The faithfulness of the gradients' ranking and of rankings drawn by chance."""

        @torch.inference_mode()
        def probability(kept: Tensor) -> Tensor:
            place = None if at is None else int(kept[:at].sum())
            chosen = None if types is None else types[kept]
            scores = self.network.compute_scores(ids[kept][None], chosen, place)[0]
            return torch.tensor(self._to_probability(scores, output))

        movable = ~special
        found = measure_faithfulness(probability, ids, movable, gradients.scores)
        random = torch.Generator().manual_seed(0)
        others = [
            measure_faithfulness(probability, ids, movable, torch.rand(len(ids), generator=random))
            for _ in range(_RANDOM_ORDERS)
        ]
        means = (sum(values) / len(others) for values in zip(*others, strict=True))
        return found, Faithfulness(*means)

    def _to_probability(self, scores: Tensor, output: int) -> float:
        """The probability of an output, or the value of a regression."""
        if not (self.fills_masks or self.label_names):
            return scores[output].item()
        shares = scores.float().sigmoid() if self.has_many_labels else scores.float().softmax(-1)
        return shares[output].item()

    def _name_output(self, output: int) -> str:
        if self.fills_masks:
            return self._read_token(output)
        return self.label_names[output] if self.label_names else ""

    def _find_continuations(self, ids: Tensor, special: Tensor) -> list[bool]:
        """Whether each token goes on with a word, by the tokenizer's own marks: ## before a part of
        a word, or a mark for the blank before a whole one.
        """
        pieces = self.tokenizer.huggingface.convert_ids_to_tokens(ids.tolist())
        marks_blanks = any(piece.startswith(_BLANK_MARKS) for piece in pieces)
        found = []
        for place, piece in enumerate(pieces):
            goes_on = not piece.startswith(_BLANK_MARKS) if marks_blanks else piece[:2] == "##"
            after_text = place > 0 and not special[place - 1]
            found.append(bool(goes_on and after_text and not special[place]))
        return found

    def _read_token(self, token_id: int) -> str:
        """A token as a person reads it, without the marks of the tokenizer."""
        huggingface = self.tokenizer.huggingface
        piece = str(huggingface.convert_ids_to_tokens(token_id))
        return str(huggingface.decode([token_id])).strip().removeprefix("##") or piece
