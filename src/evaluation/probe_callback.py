"""Puts labelled texts through an encoder that is being trained, and logs what their vectors are
worth.

Shape legend: N texts, D width.
"""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from src.core.batch import Tokens, build_tokens
from src.core.printing import print_line
from src.core.user_errors import UserError
from src.data.batches.batching import Labelled
from src.data.preparation.splitting import Split
from src.data.rows.records import DataSource
from src.data.surveyed_corpus import survey_corpus
from src.data.tokenization.text_encoder import find_token_types
from src.evaluation.embedding_quality import (
    compute_knn_accuracy,
    compute_linear_accuracy,
    compute_rankme,
)
from src.evaluation.probe_errors import name_probe_keys
from src.model.attention.ragged_layout import mean_pool
from src.training.lightning_internals import is_fitting
from src.training.undisturbed import undisturbed_evaluation

if TYPE_CHECKING:
    from src.data.datamodule import TextDataModule

_BATCH_TOKENS = 8192
# every third row of a label is judged by the others
_JUDGED_EVERY = 3


class ProbeRows(NamedTuple):
    """Labelled texts as tokens: the ids of each, where its second segment begins (0: it has none),
    the class of each [N], and whether it is judged by the others [N].
    """

    ids: list[np.ndarray]
    begins: np.ndarray
    labels: np.ndarray
    is_judged: np.ndarray


class EmbeddingProbeCallback(Callback):
    """Logs as `src.evaluation.embedding_probe.EmbeddingProbe` describes.

    Every rank puts all rows through its encoder, since divided weights are gathered for it.
    """

    def __init__(self, source: DataSource, *, rows: int, neighbors: int) -> None:
        self._source, self._num_rows, self._neighbors = source, rows, neighbors
        self._rows: ProbeRows | None = None
        self._has_told_time = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        self._rows = read_probe_rows(datamodule, self._source, self._num_rows)
        if trainer.is_global_zero:
            labels = self._rows.labels
            judged = int(self._rows.is_judged.sum())
            share = np.bincount(labels[self._rows.is_judged]).max() / judged
            print_line(
                f"probe: {len(labels) - judged:,} rows of {self._source.name} to learn from, "
                f"{judged:,} to judge, {labels.max() + 1} labels; the most frequent one is right "
                f"for {share:.3f} of these"
            )
        if trainer.global_step == 0:
            self._log(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if is_fitting(trainer):
            metrics = self._log(trainer, pl_module)
            # for checkpoints, milestones and early stopping; the logger has them already
            pl_module.log_dict(metrics, logger=False, sync_dist=False, batch_size=1)

    def _log(self, trainer: Trainer, module: LightningModule) -> dict[str, float]:
        started_at = time.perf_counter()
        rows = self._rows
        assert rows is not None
        with undisturbed_evaluation(trainer, module):
            vectors = embed_rows(module, rows)
        if not np.isfinite(vectors).all():
            raise UserError("the encoder's vectors of the probe's texts are not finite")
        known, judged = ~rows.is_judged, rows.is_judged
        parts = vectors[known], rows.labels[known], vectors[judged], rows.labels[judged]
        metrics = {
            "probe/knn_accuracy": compute_knn_accuracy(*parts, neighbors=self._neighbors),
            "probe/linear_accuracy": compute_linear_accuracy(*parts),
            "probe/rankme": compute_rankme(vectors),
        }
        seconds = time.perf_counter() - started_at
        if trainer.logger is not None:
            values = {**metrics, "probe/seconds": seconds}
            trainer.logger.log_metrics(values, step=trainer.global_step)
        if not self._has_told_time and trainer.is_global_zero:
            self._has_told_time = True
            told = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
            print_line(f"{told} (took {seconds:.1f} s, as at every validation)")
        return metrics


def read_probe_rows(datamodule: "TextDataModule", source: DataSource, count: int) -> ProbeRows:
    """Read up to `count` training rows of a source, evenly from all labels, cleaned as those of a
    run and as its tokens.

    Raises:
        UserError: they have no labels that are classes, or fewer than two.
    """
    config = dataclasses.replace(
        datamodule.config,
        task="classification",
        source=source,
        cleaning=dataclasses.replace(datamodule.config.cleaning, missing_label="drop"),
        split=Split(validation=0.0, test=0.0),
        batching=Labelled(),
        augmentation=None,
        label_names=None,
        num_labels=None,
        label_values=None,
        label_map=None,
        train_rows=count,
        train_share=None,
        on_device=None,
    )
    try:
        corpus, survey, _ = survey_corpus(config, datamodule.cache)
        found = [row for _, row in corpus.iter_rows(survey, ("train",))]
    except UserError as error:
        raise name_probe_keys(error) from error
    pairs = [row.pair or "" for row in found] if found[0].pair is not None else None
    ids, begins, _ = datamodule.tokenizer.encode(
        [row.text for row in found], pairs, datamodule.config.batching.max_tokens, "head"
    )
    labels = np.array([row.target for row in found], dtype=np.int64)
    is_judged = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        is_judged[np.flatnonzero(labels == label)[_JUDGED_EVERY - 1 :: _JUDGED_EVERY]] = True
    return ProbeRows(ids, np.array(begins), labels, is_judged)


def embed_rows(module: Any, rows: ProbeRows) -> np.ndarray:
    """The mean of the hidden states of each text, special tokens included, [N, D] in fp32."""
    vectors: np.ndarray | None = None
    for places, tokens in _iter_batches(rows):
        moved = module.transfer_batch_to_device(tokens, module.device, 0)
        means = mean_pool(module.encoder.encode(moved).float(), moved).cpu().numpy()
        if vectors is None:
            vectors = np.zeros((len(rows.ids), means.shape[1]), np.float32)
        vectors[places] = means
    assert vectors is not None
    return vectors


def _iter_batches(rows: ProbeRows) -> "Iterator[tuple[Sequence[int], Tokens]]":
    """The places of the rows of each batch, longest first, and their tokens."""
    lengths = np.array([len(ids) for ids in rows.ids])
    places = np.argsort(-lengths, kind="stable")
    begin = 0
    while begin < len(places):
        # none is longer than the first
        end = begin + max(1, _BATCH_TOKENS // int(lengths[places[begin]]))
        batch = places[begin:end]
        types = find_token_types(rows.begins[batch], lengths[batch])
        yield (
            batch.tolist(),
            build_tokens(
                torch.from_numpy(np.concatenate([rows.ids[place] for place in batch])),
                torch.from_numpy(lengths[batch]),
                None if types is None else torch.from_numpy(types),
            ),
        )
        begin = end
