"""The report of a run that learnt to fill masks: how well each kind of token is predicted, added up
while the model is tested.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from src.core.printing import print_line
from src.core.retry import describe_error
from src.core.user_errors import UserError
from src.data.tokenization.token_counts import TokenCounts
from src.evaluation.token_tally import TokenTally
from src.model.objectives.masked_lm import MaskedLM
from src.model.objectives.masked_lm_with_next_sentence import MaskedLMWithNextSentence
from src.pipeline.report.run_report import log_page
from src.pipeline.run_parts import RunParts


class TokenTallyCallback(Callback):
    """Adds the batches of a test, or of a pass without metrics, to a tally."""

    def __init__(self, tally: TokenTally) -> None:
        self._tally = tally

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._tally.add(batch, outputs["token_scores"])

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._tally.add(batch, outputs)


@contextmanager
def tally_masked_tokens(
    parts: RunParts, module: Any, trainer: Trainer
) -> Iterator[TokenTally | None]:
    """A tally of the masked tokens that are tested inside of this, of all ranks after it; without a
    test, of one more pass over the validation. None for other objectives, and where no page is
    wanted. To be called on every rank.
    """
    from src.training.distributed import gather_from_ranks
    from src.training.validation_answers import PlainBatches

    if not isinstance(module.objective, MaskedLM | MaskedLMWithNextSentence) or (
        not parts.report.page
    ):
        yield None
        return
    tally = _build_tally(parts)
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    callback = TokenTallyCallback(tally)
    callbacks.append(callback)
    try:
        yield tally
        if "test" not in parts.datamodule.token_stores:
            loader = parts.datamodule.build_loader("validation")
            trainer.predict(module, dataloaders=PlainBatches(loader), return_predictions=False)
    finally:
        callbacks.remove(callback)
    for other in gather_from_ranks(tally)[1:]:
        tally.merge(other)


def _build_tally(parts: RunParts) -> TokenTally:
    """An empty tally of the run's vocabulary; where this does not tell words, that is said."""
    datamodule = parts.datamodule
    joints = None
    try:
        joints = datamodule.tokenizer.word_joints
    except UserError as error:
        if parts.is_first_rank:
            print_line(f"report/ has no parts of words: {error.problem}")
    counts = _count_training_tokens(parts)
    return TokenTally(datamodule.dataset_info.max_tokens, counts.compute_unigram_losses(), joints)


def _count_training_tokens(parts: RunParts) -> TokenCounts:
    datamodule = parts.datamodule
    return TokenCounts.from_store(datamodule.split_tokens["train"], datamodule.tokenizer)


def log_token_report(parts: RunParts, tally: TokenTally, metrics: Mapping[str, float]) -> None:
    """Write tables, pictures and page of a tally. A report that cannot be made is said and tagged,
    and does not end the run.

    Args:
        metrics: of the run, for the head of the page.
    """
    from src.evaluation.token_report import judge_tokens

    if not tally.count:
        return
    try:
        judged = judge_tokens(tally, _count_training_tokens(parts).counts)
        for title, table in judged.tables.items():
            parts.record.log_table(table, f"report/{title}.json")
        log_page(parts, metrics, judged.sections, judged.tables, judged.figures)
    except Exception as error:
        reason = f"report/ has no page: {describe_error(error)}"
        print_line(reason)
        parts.record.set_tag("report/failure", reason)
