"""A few sentences with a gap, which a model that learns to fill masks is asked at every validation:
what it answers, and how likely the expected word is to it.
"""

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from src.core.batch import build_tokens
from src.core.printing import print_line
from src.data.rows.records import RawRecord
from src.evaluation.report_config import MASK, parse_fill_in
from src.model.objectives.masked_lm import MaskedLM
from src.model.objectives.masked_lm_with_next_sentence import MaskedLMWithNextSentence
from src.training.lightning_internals import is_fitting
from src.training.undisturbed import undisturbed_evaluation

if TYPE_CHECKING:
    from src.data.datamodule import TextDataModule
    from src.pipeline.run_parts import RunParts
    from src.tracking.run_record import RunRecord

TABLE = "report/fill_in.json"
_NUM_ANSWERS = 5
# between two times that the whole table is written
_WRITE_SECONDS = 60.0
_COLUMNS = ("step", "text", "expected", "probability", "rank", "answers")


class _Gap(NamedTuple):
    """A sentence that is asked.

    Args:
        text: with `MASK` in it, as the config has it.
        expected: the word that is expected there, if one is.
        ids: the tokens of the text with the mask.
        place: of the mask among them.
        expected_id: the token of that word; None if it is not one token.
    """

    text: str
    expected: str | None
    ids: np.ndarray
    place: int
    expected_id: int | None


def watch_fill_ins(parts: "RunParts") -> list[Callback]:
    """The callback that asks the sentences of `report.fill_in_probes`; none for objectives that do
    not fill masks.
    """
    if not isinstance(parts.module.objective, MaskedLM | MaskedLMWithNextSentence):
        return []
    return [FillInCallback(parts.report.fill_in_probes, parts.record)]


class FillInCallback(Callback):
    """Asks at every validation, and keeps all answers in checkpoints and as a table of the run.

    `fill_in/probability` is the mean probability of the expected words. The table is written about
    once a minute and at the end, when the last answers are printed.
    """

    state_key = "FillIn"

    def __init__(self, probes: tuple[str, ...], record: "RunRecord") -> None:
        self._probes, self._record = probes, record
        self._datamodule: TextDataModule
        self._gaps: list[_Gap] | None = None
        self._rows: list[list[Any]] = []
        self._written_at = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self._rows} if self._rows else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._rows = [list(row) for row in state_dict["rows"]]

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._probes or not is_fitting(trainer):
            return
        if self._gaps is None:
            self._datamodule = trainer.datamodule  # type: ignore[attr-defined]
            self._gaps = list(self._prepare(trainer.is_global_zero))
        if not self._gaps:
            return
        # on every rank, since divided weights are gathered for it
        with undisturbed_evaluation(trainer, pl_module):
            probabilities = self._answer(pl_module)
        if not trainer.is_global_zero:
            return
        step = trainer.global_step
        # a validation that is repeated after a checkpoint counts once
        rows = [row for row in self._rows if row[0] < step]
        known = []
        for gap, chances in zip(self._gaps, probabilities, strict=True):
            probability, rank, answers = self._describe(gap, chances)
            rows.append([step, gap.text, gap.expected, probability, rank, answers])
            if probability is not None:
                known.append(probability)
        self._rows = rows
        if known:
            metrics = {"fill_in/probability": sum(known) / len(known)}
            self._record.log_metrics(metrics, step=step)
        if time.monotonic() - self._written_at >= _WRITE_SECONDS:
            self._write()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._rows or not trainer.is_global_zero:
            return
        self._write()
        last = self._rows[-1][0]
        print_line(f"fill-in probes at step {last}, all validations in {TABLE}:")
        for _, text, expected, probability, rank, answers in (
            row for row in self._rows if row[0] == last
        ):
            wanted = "" if probability is None else f"; {expected}: {probability:.3f}, rank {rank}"
            print_line(f"  {text}  {answers}{wanted}")

    def _write(self) -> None:
        columns = zip(*self._rows, strict=True)
        self._record.log_table(dict(zip(_COLUMNS, map(list, columns), strict=True)), TABLE)
        self._written_at = time.monotonic()

    def _prepare(self, is_first_rank: bool) -> "list[_Gap]":
        """The sentences as tokens; what cannot be asked is said."""
        gaps = []
        for probe in self._probes:
            text, expected = parse_fill_in(probe)
            tokenizer = self._datamodule.tokenizer
            ids = self._encode(text.replace(MASK, str(tokenizer.huggingface.mask_token)))
            places = np.flatnonzero(ids == tokenizer.mask_id)
            problem, expected_id = "", None
            if len(places) != 1:
                limit = self._datamodule.config.batching.max_tokens
                problem = f"is not asked: its mask is lost in the tokens, of which {limit} are kept"
            elif expected is not None:
                expected_id = self._find_expected(text, expected, ids, int(places[0]))
                if expected_id is None:
                    problem = f"has no probability: {expected} is not one token of the vocabulary"
            if problem and is_first_rank:
                print_line(f"the fill-in probe '{text}' {problem}")
            if len(places) == 1:
                gaps.append(_Gap(text, expected, ids, int(places[0]), expected_id))
        return gaps

    def _encode(self, text: str) -> np.ndarray:
        config = self._datamodule.config
        record = config.cleaning.normalize_record(RawRecord(text, None, None, "a fill-in probe"))
        [ids], _, _ = self._datamodule.tokenizer.encode(
            [record.text], None, config.batching.max_tokens, "head"
        )
        return ids

    def _find_expected(self, text: str, word: str, ids: np.ndarray, place: int) -> int | None:
        """The token that stands at the mask where the word does; None if it is not one."""
        filled = self._encode(text.replace(MASK, word))
        if len(filled) != len(ids) or (np.delete(filled, place) != np.delete(ids, place)).any():
            return None
        found = int(filled[place])
        return None if found == self._datamodule.tokenizer.unknown_id else found

    def _answer(self, module: Any) -> torch.Tensor:
        """The probability of every token [G, V] in the gap of each sentence."""
        assert self._gaps is not None
        lengths = np.array([len(gap.ids) for gap in self._gaps])
        starts = np.cumsum(lengths) - lengths
        at = torch.from_numpy(starts + np.array([gap.place for gap in self._gaps]))
        ids = torch.from_numpy(np.concatenate([gap.ids for gap in self._gaps]))
        tokens = build_tokens(ids, torch.from_numpy(lengths))
        moved, at = module.transfer_batch_to_device((tokens, at), module.device, 0)
        return module.encoder.compute_logits(moved, at).float().softmax(-1).cpu()

    def _describe(self, gap: _Gap, chances: torch.Tensor) -> tuple[float | None, int | None, str]:
        """Probability and rank of the expected token, and the likeliest ones in words."""
        best = chances.topk(min(_NUM_ANSWERS, len(chances)))
        tokenizer = self._datamodule.tokenizer.huggingface
        words = [
            str(tokenizer.decode([index])).strip() or str(tokenizer.convert_ids_to_tokens(index))
            for index in best.indices.tolist()
        ]
        answers = ", ".join(
            f"{word} {share:.3f}" for word, share in zip(words, best.values.tolist(), strict=True)
        )
        if gap.expected_id is None:
            return None, None, answers
        chance = chances[gap.expected_id]
        return float(chance), 1 + int((chances > chance).sum()), answers
